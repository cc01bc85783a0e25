"""The chapters of the demo in which more changes than who is signed in: profile, sign-up, a television, all devices."""

import secrets
import time
from collections.abc import Callable

from loadtest.demo_checks import Check, no_cookies, reaches_origin, reason, status
from loadtest.demo_device import Device, Json, Received, Sent

KIDS = "p-1001-kids"
REVOKED_WITHIN_S = 2.0

Tell = Callable[[str, Sent, Received, list[Check]], None]
"""Takes title, request, response and what is expected of it."""


def switch_profile(browser: Device, tell: Tell) -> None:
    """Go on as the kids' profile of the account."""
    before = browser.send("GET", "/echo")[1].json
    sent, received = browser.send("POST", "/profile", body={"profile_id": KIDS})
    after = browser.send("GET", "/echo")[1].json
    tell(
        "Another profile: the session goes on, in new cookies",
        sent,
        received,
        [
            status(received, 200),
            _two_cookies(received),
            Check(f"the next request carries {KIDS}", after.at("passport.user.profile_id") == KIDS),
            Check("the session is the same", _session(before) is not None and _session(before) == _session(after)),
        ],
    )


def sign_up(browser: Device, tell: Tell) -> None:
    """Make an account, choose a plan, become a member."""
    account = {"email": f"{secrets.token_hex(8)}@example.com", "password": secrets.token_urlsafe()}
    sent, received = browser.send("POST", "/signup", body=account)
    first = _session(browser.send("GET", "/echo")[1].json)
    tell(
        "Sign-up, first step: an account, and a session in which it can go on",
        sent,
        received,
        [
            status(received, 200),
            _two_cookies(received),
            Check("the subscriber service says: no member yet", received.json.at("member") is False),
        ],
    )
    sent, received = browser.send("POST", "/signup/plan", body={"plan": "standard"})
    checks = [status(received, 200), _two_cookies(received)]
    tell("Second step: a plan, which is in no Passport", sent, received, checks)
    sent, received = browser.send("POST", "/signup/complete")
    last = _session(browser.send("GET", "/echo")[1].json)
    tell(
        "Third step: a member, in a session of its own",
        sent,
        received,
        [
            status(received, 200),
            _two_cookies(received),
            Check("the subscriber service says, by the new Passport: a member", received.json.at("member") is True),
            Check("the session of the sign-up does not go on", None not in {first, last} and first != last),
        ],
    )


def activate(television: Device, browser: Device, tell: Tell) -> None:
    """Show a code on a television and enter it in a browser."""
    begun = television.send("POST", "/activation")[1].json
    shown, poll = begun.text("code"), {"poll_token": begun.text("poll_token")}
    sent, received = television.send("POST", "/activation/poll", body=poll)
    tell(
        f"A television shows {shown}, and asks whether somebody has entered it",
        sent,
        received,
        [status(received, 200), no_cookies(received)],
    )
    sent, received = browser.send("POST", "/activation/enter", body={"code": shown})
    tell("The member enters it in the browser", sent, received, [status(received, 200), no_cookies(received)])
    sent, received = television.send("POST", "/activation/poll", body=poll)
    here, there = (device.send("GET", "/echo")[1] for device in (browser, television))
    tell(
        "The television asks again, and is signed in",
        sent,
        received,
        [
            status(received, 200),
            _two_cookies(received),
            *reaches_origin(there, "COOKIE", "HIGH"),
            Check("as the same customer", _customer(here) == _customer(there)),
            Check("in a session of its own", _session(here.json) != _session(there.json)),
        ],
    )


def sign_out_everywhere(browser: Device, television: Device, tell: Tell) -> None:
    """Sign out in the browser, and see the television go too."""
    sent, received = browser.send("POST", "/logout-everywhere")
    began = time.monotonic()
    while (last := television.send("GET", "/account"))[1].status != 401 and time.monotonic() - began < REVOKED_WITHIN_S:
        time.sleep(0.05)
    tell(
        "Sign out everywhere, in the browser",
        sent,
        received,
        [status(received, 200), Check("both cookies are cleared", not browser.cookies)],
    )
    tell(
        f"The television's valid cookies are worth nothing within {REVOKED_WITHIN_S:.0f} seconds",
        *last,
        [status(last[1], 401), reason(last[1], "authentication_required")],
    )


def _two_cookies(received: Received) -> Check:
    return Check("two cookies are set", len(received.values("set-cookie")) == 2)


def _session(seen: Json) -> object:
    return seen.at("passport.user.session_id")


def _customer(received: Received) -> object:
    return received.json.at("passport.user.customer_id")
