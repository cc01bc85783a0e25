"""What a device does from one visit to the next. Pure: chance comes from outside, times are those of real life."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from loadtest.locust.device_table import HOUR_S, DeviceType


class Step(StrEnum):
    """A request, by what it is for."""

    SIGN_IN = "sign_in"
    BROWSE = "browse"
    ACCOUNT = "account"
    PROFILES = "profiles"
    SWITCH = "switch"
    SIGN_OUT = "sign_out"
    SIGNED_OUT = "signed_out"
    """Browsing after one's own sign-out: to be told to sign in."""


@dataclass(slots=True, frozen=True)
class Habits:
    """What a scenario changes of all devices' habits; None leaves that to the table."""

    switch: float | None = None
    switch_each: float = 0.0
    sign_out: float | None = None
    away_h: tuple[float, float] | None = None


USUAL = Habits()


@dataclass(slots=True, frozen=True)
class Visit:
    """Steps, each with the seconds of thought after it, and the seconds until the next visit."""

    steps: tuple[tuple[Step, float], ...]
    away_s: float


def plan_visit(device: DeviceType, chance: Random, *, signed_in: bool, habits: Habits = USUAL) -> Visit:
    """Return the next visit of a device that has, or has not, cookies."""
    steps = list(_steps(device, chance, habits, signed_in=signed_in))
    return Visit(
        tuple((step, chance.uniform(*device.think_s)) for step in steps),
        chance.uniform(*(habits.away_h or device.away_h)) * HOUR_S,
    )


def _steps(device: DeviceType, chance: Random, habits: Habits, *, signed_in: bool) -> Iterator[Step]:
    if not signed_in:
        yield Step.SIGN_IN
    switch = device.switch if habits.switch is None else habits.switch * device.high
    if chance.random() < switch:
        yield from (Step.BROWSE, Step.PROFILES, Step.SWITCH)
    for _ in range(round(chance.uniform(*device.requests))):
        if device.high and chance.random() < habits.switch_each:
            yield Step.SWITCH
        else:
            yield Step.ACCOUNT if chance.random() < device.account else Step.BROWSE
    sign_out = device.sign_out if habits.sign_out is None else habits.sign_out
    if chance.random() < sign_out:
        yield Step.SIGN_OUT
        yield Step.SIGNED_OUT
