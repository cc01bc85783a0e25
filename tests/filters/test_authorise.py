"""authorise: every level that a route can ask for against everyone who can come."""

import pytest

from edge.contract.filters import CONTINUE, Refuse
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.on_bad_token import OnBadToken
from edge.contract.reasons import Reason
from edge.contract.route import AuthPolicy
from filters.inbound.authorise import AuthoriseFilter
from tests.filters.exchanges import an_exchange

LEVELS = list(Level)
HELD = [None, *LEVELS]


def judged(policy: AuthPolicy, user: Level | None, device: Level | None) -> object:
    exchange = an_exchange((b"X-Edge-Degraded", b"1"), auth=policy)
    if user is not None:
        exchange.user = UserIdentity(Source.COOKIE, user, 4711, 4711)
    if device is not None:
        exchange.device = DeviceIdentity(Source.COOKIE, device, "NFTV-1", 7)
    return AuthoriseFilter().inbound(exchange)


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("required", LEVELS)
def test_a_user_passes_exactly_when_known_as_well_as_the_route_asks(required: Level, held: Level | None) -> None:
    verdict = judged(AuthPolicy(user=required, device=Level.UNSPECIFIED), held, None)
    if required is Level.UNSPECIFIED:
        assert verdict is CONTINUE
    elif held is None:
        assert verdict == Refuse(401, Reason.AUTHENTICATION_REQUIRED, "no_user")
    elif held < required:
        expected = f"user_{held.name}_below_{required.name}".lower()
        assert verdict == Refuse(403, Reason.LEVEL_TOO_LOW, expected)
    else:
        assert verdict is CONTINUE


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("required", LEVELS)
def test_a_device_passes_exactly_when_known_as_well_as_the_route_asks(required: Level, held: Level | None) -> None:
    verdict = judged(AuthPolicy(user=Level.UNSPECIFIED, device=required), None, held)
    if required is Level.UNSPECIFIED:
        assert verdict is CONTINUE
    elif held is None:
        assert verdict == Refuse(403, Reason.DEVICE_REQUIRED, "no_device")
    elif held < required:
        expected = f"device_{held.name}_below_{required.name}".lower()
        assert verdict == Refuse(403, Reason.LEVEL_TOO_LOW, expected)
    else:
        assert verdict is CONTINUE


def test_an_identity_of_unspecified_level_satisfies_nothing() -> None:
    verdict = judged(AuthPolicy(user=Level.LOW, device=Level.LOW), Level.UNSPECIFIED, Level.HIGHEST)
    assert isinstance(verdict, Refuse)


def test_the_user_is_judged_before_the_device() -> None:
    verdict = judged(AuthPolicy(user=Level.LOW, device=Level.LOW), None, None)
    assert verdict == Refuse(401, Reason.AUTHENTICATION_REQUIRED, "no_user")


def test_a_strong_user_does_not_stand_in_for_a_weak_device() -> None:
    verdict = judged(AuthPolicy(user=Level.LOW, device=Level.HIGH), Level.HIGHEST, Level.LOW)
    assert verdict == Refuse(403, Reason.LEVEL_TOO_LOW, "device_low_below_high")


def test_h10_a_route_that_takes_bad_tokens_as_anonymous_still_asks_for_what_it_asks_for() -> None:
    policy = AuthPolicy(Level.LOW, Level.UNSPECIFIED, OnBadToken.ANONYMOUS)
    assert judged(policy, None, None) == Refuse(401, Reason.AUTHENTICATION_REQUIRED, "no_user")


def test_a_refusal_names_nobody() -> None:
    verdict = judged(AuthPolicy(user=Level.HIGHEST, device=Level.UNSPECIFIED), Level.LOW, None)
    assert "4711" not in repr(verdict)
