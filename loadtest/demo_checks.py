"""What the demo expects of a response: each expectation is a value that says whether it held."""

from dataclasses import dataclass

from loadtest.demo_device import Device, Received

IDENTITY_HEADERS = {"xpassport", "passportbin"}


@dataclass(slots=True, frozen=True)
class Check:
    """One expectation and whether it held."""

    says: str
    holds: bool


def reaches_origin(received: Received, source: str, level: str) -> list[Check]:
    """Expect an echo of a request whose Passport verified and names a user of this source and level."""
    seen = received.json
    return [
        status(received, 200),
        Check("the Passport verifies at the origin", seen.at("passport.verified") is True),
        Check(f"the user's source is {source}", seen.at("passport.user.source") == source),
        Check(f"the user's level is {level}", seen.at("passport.user.level") == level),
    ]


def hides_passport(received: Received) -> Check:
    """Expect no spelling of the Passport's header in a response."""
    return Check(
        "the device sees no Passport", not any(plain(name) in IDENTITY_HEADERS for name, _ in received.headers)
    )


def status(received: Received, status: int) -> Check:
    """Expect a status."""
    holds = received.status == status
    return Check(f"status {status}" + ("" if holds else f", not {received.status}"), holds)


def reason(received: Received, reason: str) -> Check:
    """Expect the stable reason id of an error page."""
    holds = received.reason == reason
    return Check(f"reason `{reason}`" + ("" if holds else f", not `{received.reason}`"), holds)


def no_cookies(received: Received) -> Check:
    """Expect that no cookie is set."""
    return Check("no cookie is set", not received.values("set-cookie"))


def calls_of_cookie_service(metrics: Device) -> int:
    """Return how often the edge has called the cookie service, by its own count."""
    lines = metrics.send("GET", "/metrics")[1].body.decode("utf-8", "replace").splitlines()
    counted = (line for line in lines if line.startswith("edge_remote_calls_total{") and 'service="cookie"' in line)
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in counted))


def tampered(value: str) -> str:
    """Return the text with the character in its middle changed."""
    middle = len(value) // 2
    return value[:middle] + ("A" if value[middle : middle + 1] != "A" else "B") + value[middle + 1 :]


def plain(name: str) -> str:
    """Return a header name with case and everything but letters and digits taken away."""
    return "".join(character for character in name.lower() if character.isalnum())
