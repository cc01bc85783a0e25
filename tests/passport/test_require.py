"""What a service asks of a verified Passport."""

import pytest

from passport import (
    NO_DEVICE,
    NO_USER,
    DevicePart,
    Level,
    PassportIntrospector,
    PassportRefusal,
    RequirementNotMet,
    Source,
    UserPart,
    require,
)
from tests.passport.samples import CUSTOMER_ID, ESN, build, read


def of(user: Level | None = None, device: Level | None = None) -> PassportIntrospector:
    return read(
        build(
            NO_USER if user is None else UserPart.of(Source.COOKIE, user, CUSTOMER_ID, CUSTOMER_ID),
            NO_DEVICE if device is None else DevicePart.of(Source.COOKIE, device, ESN),
        )
    )


@pytest.mark.parametrize("found", [Level.LOW, Level.HIGH, Level.HIGHEST])
@pytest.mark.parametrize("asked", list(Level))
def test_a_user_of_at_least_the_level_passes(found: Level, asked: Level) -> None:
    if found >= asked:
        require(of(found), level=asked)
    else:
        with pytest.raises(RequirementNotMet) as caught:
            require(of(found), level=asked)
        assert (caught.value.reason, caught.value.status) == (PassportRefusal.LEVEL_TOO_LOW, 403)


@pytest.mark.parametrize("asked", list(Level))
def test_an_unspecified_level_passes_nothing(asked: Level) -> None:
    for passport, user in ((of(Level.UNSPECIFIED), True), (of(None, Level.UNSPECIFIED), False)):
        with pytest.raises(RequirementNotMet, match=r"^level_too_low$"):
            require(passport, level=asked, user=user, device=not user)


def test_nobody_is_no_user() -> None:
    with pytest.raises(RequirementNotMet) as caught:
        require(of(None, Level.HIGHEST))
    assert (caught.value.reason, caught.value.status) == (PassportRefusal.NO_USER, 401)


def test_a_user_is_no_device() -> None:
    with pytest.raises(RequirementNotMet) as caught:
        require(of(Level.HIGHEST), user=False, device=True)
    assert (caught.value.reason, caught.value.status) == (PassportRefusal.NO_DEVICE, 403)


def test_both_are_asked_for_the_level() -> None:
    require(of(Level.HIGH, Level.HIGH), level=Level.HIGH, device=True)
    with pytest.raises(RequirementNotMet, match="level_too_low"):
        require(of(Level.HIGH, Level.LOW), level=Level.HIGH, device=True)


def test_asking_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="a user, a device, or both"):
        require(of(Level.HIGH), user=False)
