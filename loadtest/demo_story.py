"""What the demo tells: each step sends something, expects something, and shows what the origin saw of it."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.demo_accounts import activate, sign_out_everywhere, sign_up, switch_profile
from loadtest.demo_checks import (
    IDENTITY_HEADERS,
    Check,
    calls_of_cookie_service,
    hides_passport,
    no_cookies,
    plain,
    reaches_origin,
    reason,
    status,
    tampered,
)
from loadtest.demo_device import Device, Json, Received, Sent

DEMO_LOGIN = {"email": "demo@example.com", "password": "correct horse battery staple"}
WRONG_LOGIN = {"email": "demo@example.com", "password": "a guess"}
SPOOFED = [(name, "Zm9yZ2Vk") for name in ("X-Passport", "x-passport", "X_Passport", "X-PASSPORT", "passport-bin")]
BROWSES = 10
_ORIGIN_REASONS = {"wrong_credentials", "auth_unavailable"}


@dataclass(slots=True, frozen=True)
class Step:
    """One step as it happened. `origin_saw` is the echo of the same headers; None: the edge answered itself."""

    title: str
    sent: Sent
    received: Received
    origin_saw: Json | None
    checks: list[Check]


@dataclass(slots=True, frozen=True)
class Stack:
    """What the story can do to the processes behind the edge; only when the demo has started them."""

    pause_auth: Callable[[], None]
    resume_auth: Callable[[], None]


Tell = Callable[[Step], None]


class Story:
    """Plays the steps in order and tells each of them to `tell`."""

    def __init__(self, device: Device, tell: Tell, metrics: Device | None, stack: Stack | None) -> None:
        """Take the device, and, where they are within reach, the edge's admin listener and its stack."""
        self._device = device
        self._tell = tell
        self._metrics = metrics
        self._stack = stack
        self.failed: list[Check] = []

    def play(self) -> None:
        """Play the whole story; what did not hold is in `failed`."""
        self._anonymous()
        self._anonymous_is_not_enough()
        self._wrong_password()
        self._login()
        self._signed_in()
        self._account()
        switch_profile(self._device, self._step)
        if self._metrics is not None:
            self._all_local(self._metrics)
        self._half_a_pair()
        self._tampered()
        self._spoofed()
        if self._stack is not None:
            self._auth_down(self._stack)
        newcomer, television = self._device.another(), self._device.another()
        sign_up(newcomer, self._step)
        activate(television, newcomer, self._step)
        sign_out_everywhere(newcomer, television, self._step)
        self._logout()
        self._signed_out()

    def _anonymous(self) -> None:
        sent, received = self._device.send("GET", "/echo")
        self._step(
            "Nobody yet: an anonymous request gets a signed Passport too",
            sent,
            received,
            [
                *reaches_origin(received, "NONE", "UNSPECIFIED"),
            ],
        )

    def _anonymous_is_not_enough(self) -> None:
        sent, received = self._device.send("GET", "/browse")
        self._step(
            "A route that asks for a user answers the anonymous with 401",
            sent,
            received,
            [
                status(received, 401),
                reason(received, "authentication_required"),
            ],
        )

    def _wrong_password(self) -> None:
        sent, received = self._device.send("POST", "/login", body=WRONG_LOGIN)
        self._step(
            "A wrong password: a clean 401 and no cookie",
            sent,
            received,
            [
                status(received, 401),
                reason(received, "wrong_credentials"),
                no_cookies(received),
            ],
        )

    def _login(self) -> None:
        sent, received = self._device.send("POST", "/login", body=DEMO_LOGIN)
        self._step(
            "Login: the origin answers with an action, the edge makes two cookies of it",
            sent,
            received,
            [
                status(received, 200),
                Check("two cookies are set", len(received.values("set-cookie")) == 2),
                Check("both are HttpOnly", all("httponly" in line.lower() for line in received.values("set-cookie"))),
                Check("nothing may store the response", "no-store" in ",".join(received.values("cache-control"))),
            ],
        )

    def _signed_in(self) -> None:
        cookies = {"theme": "dark"} | self._device.cookies
        sent, received = self._device.send("GET", "/echo", cookies=cookies)
        seen = received.json
        cookie_lines = [value for name, value in seen.pairs("headers") if name.lower() == "cookie"]
        self._step(
            "Signed in: the origin sees the user, and of the cookies only the site's own",
            sent,
            received,
            [
                *reaches_origin(received, "COOKIE", "HIGH"),
                Check("the user is customer 1001", seen.at("passport.user.customer_id") == 1001),
                Check("the origin sees only `theme=dark`", cookie_lines == ["theme=dark"]),
            ],
        )

    def _account(self) -> None:
        sent, received = self._device.send("GET", "/account")
        self._step(
            "A route that asks for HIGH lets the pair pass",
            sent,
            received,
            [
                status(received, 200),
                Check("it is this customer's account", received.json.at("customer_id") == 1001),
            ],
        )

    def _all_local(self, metrics: Device) -> None:
        before = calls_of_cookie_service(metrics)
        answers = [self._device.send("GET", "/browse") for _ in range(BROWSES)]
        after = calls_of_cookie_service(metrics)
        self._step(
            f"{BROWSES} requests with valid cookies: not one call of the cookie service",
            *answers[-1],
            [
                Check("all answered 200", all(received.status == 200 for _, received in answers)),
                Check(f"the edge has called the cookie service {after} times, as before", 0 < after == before),
            ],
        )

    def _half_a_pair(self) -> None:
        first = dict([next(iter(self._device.cookies.items()), ("EdgeId", ""))])
        sent, received = self._device.send("GET", "/account", cookies=first)
        self._step(
            "The first cookie alone is worth LOW: not enough for the account",
            sent,
            received,
            [
                status(received, 403),
                reason(received, "level_too_low"),
            ],
        )

    def _tampered(self) -> None:
        bad = {name: tampered(value) for name, value in self._device.cookies.items()}
        sent, received = self._device.send("GET", "/browse", cookies=bad)
        self._step(
            "One character of each cookie changed: refused, not taken for nobody",
            sent,
            received,
            [
                status(received, 401),
                reason(received, "token_refused"),
            ],
        )

    def _spoofed(self) -> None:
        sent, received = self._device.send("GET", "/echo", headers=SPOOFED, cookies={})
        seen = received.json
        names = [name for name, _ in seen.pairs("headers") if plain(name) in IDENTITY_HEADERS]
        self._step(
            "A device sends a Passport of its own, in many spellings",
            sent,
            received,
            [
                *reaches_origin(received, "NONE", "UNSPECIFIED"),
                Check("the origin got exactly one Passport, the edge's", seen.at("passport.received") == 1),
                Check("no other spelling came through", not names),
            ],
        )

    def _auth_down(self, stack: Stack) -> None:
        stack.pause_auth()
        try:
            sent, received = self._device.send("POST", "/login", body=DEMO_LOGIN, cookies={})
            browse = self._device.send("GET", "/browse")[1]
        finally:
            stack.resume_auth()
        self._step(
            "The auth service hangs: login fails cleanly, who is signed in stays so",
            sent,
            received,
            [
                status(received, 503),
                reason(received, "auth_unavailable"),
                no_cookies(received),
                Check("meanwhile /browse still answers 200", browse.status == 200),
            ],
        )

    def _logout(self) -> None:
        names = list(self._device.cookies)
        sent, received = self._device.send("POST", "/logout")
        self._step(
            "Logout: an action again, and both cookies are cleared",
            sent,
            received,
            [
                status(received, 200),
                Check("both cookies are cleared", len(names) == 2 and not self._device.cookies),
            ],
        )

    def _signed_out(self) -> None:
        sent, received = self._device.send("GET", "/browse")
        self._step(
            "Signed out",
            sent,
            received,
            [
                status(received, 401),
                reason(received, "authentication_required"),
            ],
        )

    def _step(self, title: str, sent: Sent, received: Received, checks: list[Check]) -> None:
        checks = [*checks, hides_passport(received)]
        self.failed += [check for check in checks if not check.holds]
        self._tell(Step(title, sent, received, self._origin_saw(sent, received), checks))

    def _origin_saw(self, sent: Sent, received: Received) -> Json | None:
        if sent.target == "/echo" and received.status == 200:
            return received.json
        if received.status >= 400 and received.reason not in _ORIGIN_REASONS:
            return None
        lines = [value for name, value in sent.headers if name == "Cookie"]
        cookies = dict(pair.split("=", 1) for line in lines for pair in line.split("; "))
        return self._device.another().send("GET", "/echo", cookies=cookies)[1].json
