"""Devices that are signed in, and what they held at each moment of a scenario: pure functions over their jars."""

import random
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from loadtest.bench.visitors import visitors
from loadtest.chaos.figures import Window
from loadtest.chaos.outcomes import Outcome
from tokens.cookie import Claims, CookieNames, open_insecure, seal_pair
from tokens.keys.ring import KeyRing

LEVEL_HIGH = 2
BUCKET_S = 2.0


@dataclass(slots=True, frozen=True)
class Lives:
    """How long cookies live, in seconds: full ones are due after `due_s`; `rescheduled_s` give or take a fifth."""

    life_s: int
    due_s: int
    rescheduled_s: int


@dataclass(slots=True, frozen=True)
class Held:
    """Cookies that a device was given at `at` (monotonic seconds; 0: it had them from the start)."""

    device: int
    version: int
    at: float
    claims: Claims

    @property
    def full(self) -> bool:
        """Whether they are not rescheduled."""
        return not self.claims.rescheduled_count


@dataclass(slots=True)
class Jars:
    """What all devices held, by device, oldest first. `lost` counts those that were left with nothing, or nonsense."""

    by_device: dict[int, list[Held]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0

    def __iter__(self) -> Iterator[Held]:
        for held in self.by_device.values():
            yield from held

    def given(self, window: Window) -> list[Held]:
        """Return what was given in a window."""
        return [one for one in self if one.version and window.start <= one.at < window.end]

    def last(self) -> list[Held]:
        """Return what each device holds at the end."""
        return [held[-1] for held in self.by_device.values() if held]

    def went_back(self) -> int:
        """Count the devices whose cookies' generation was once lower than before."""
        return sum(
            any(after.claims.generation < before.claims.generation for before, after in pairwise(held))
            for held in self.by_device.values()
        )

    def generations_twice(self) -> int:
        """Count the full pairs that were renewed from a token that had been renewed already."""
        renewed = {(one.device, one.claims.generation, one.claims.issued_at) for one in self if one.full}
        return len(renewed) - len({(device, generation) for device, generation, _ in renewed})


class Shown(StrEnum):
    """What a request showed: cookies that are to be left alone, that are due, that have expired; or none of ours."""

    FRESH = "fresh"
    DUE = "due"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


def sealed_jars(  # noqa: PLR0917
    ring: KeyRing,
    names: CookieNames,
    environment: str,
    ages_s: Sequence[int],
    lives: Lives,
    now: int,
    *,
    first: int = 0,
) -> list[str]:
    """Return the header field of as many devices as there are ages: each signed in so many seconds before `now`.

    They are the visitors from number `first` on.
    """
    fields = []
    for visitor, age_s in zip(visitors(first + len(ages_s))[first:], ages_s, strict=True):
        issued_at = now - age_s
        claims = Claims(
            customer_id=visitor.customer_id,
            account_owner_id=visitor.account_owner_id,
            profile_id=visitor.profile_id,
            esn=visitor.esn,
            device_type=visitor.device_type,
            session_id=visitor.session_id,
            issued_at=issued_at,
            renew_after=issued_at + lives.due_s,
            expires_at=issued_at + lives.life_s,
            generation=1,
            level=LEVEL_HIGH,
        )
        nonces = (secrets.token_bytes(12), secrets.token_bytes(12))
        insecure, secure = (value.decode() for value in seal_pair(ring, names, environment, claims, nonces))
        fields.append(f"Cookie: {names.insecure}={insecure}; {names.secure}={secure}")
    return fields


def spread_ages(devices: int, lives: Lives, seed: int) -> list[int]:
    """Return ages such that about as many cookies are due in each second."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [chance.randrange(lives.due_s) for _ in range(devices)]


def read_jars(lines: Iterable[str], rings: Sequence[KeyRing], names: CookieNames, environment: str, now: float) -> Jars:
    """Read what `write_jars` wrote; the first ring that opens a cookie says what it is."""
    jars = Jars()
    for line in lines:
        device, version, at, value = line.rstrip("\n").split("\t")
        opened = (open_insecure(ring, names, environment, value.encode(), now) for ring in rings)
        claims = next((one for one in opened if isinstance(one, Claims)), None)
        if claims is None:
            jars.lost += 1
        else:
            jars.by_device[int(device)].append(Held(int(device), int(version), float(at), claims))
    return jars


def showing(outcomes: Iterable[Outcome], jars: Jars, to_epoch_s: float) -> dict[Shown, list[Outcome]]:
    """Return the requests by what they showed when they were due; `to_epoch_s` is added to monotonic time."""
    claims = {(one.device, one.version): one.claims for one in jars}
    found: dict[Shown, list[Outcome]] = {kind: [] for kind in Shown}
    for one in outcomes:
        found[_shown(claims.get((one.device, one.shown)), one.due + to_epoch_s)].append(one)
    return found


def _shown(claims: Claims | None, now: float) -> Shown:
    if claims is None:
        return Shown.UNKNOWN
    if claims.expired(now):
        return Shown.EXPIRED
    return Shown.DUE if claims.due(now) else Shown.FRESH


def per_second(times: Iterable[float], window: Window) -> list[float]:
    """Return how many a second there were in each whole stretch of BUCKET_S of a window."""
    buckets = [0] * int(window.seconds / BUCKET_S)
    for at in times:
        number = int((at - window.start) / BUCKET_S)
        if at >= window.start and number < len(buckets):
            buckets[number] += 1
    return [count / BUCKET_S for count in buckets]
