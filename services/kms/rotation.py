"""Which moves of a key version are due by age, and which must wait (docs/keys.md, Rotation by age).

Pure: what stands where comes in, what is to be done comes out. The store does it, in the transaction that it looked in,
so that instances that share a database never do it twice.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.kms.access import Outcome
from services.kms.config import Rotation
from services.kms.holders import Holder, Use
from services.kms.states import State

_LONGEST_WAIT_S: Final = 30.0
_log = structlog.get_logger()


@dataclass(slots=True, frozen=True)
class Version:
    """What may be said of a key version: everything but its material. Times are epoch seconds."""

    key_id: int
    purpose: str
    state: State
    primary: bool
    created: int
    state_since: int = 0


@dataclass(slots=True, frozen=True)
class Standing:
    """A version, who is alive and does not know its state yet, and its use, None when nobody said that they used it."""

    version: Version
    lagging: Sequence[Holder] = ()
    use: Use | None = None


@dataclass(slots=True, frozen=True)
class Step:
    """A move that is due; `standing` None: a new version."""

    standing: Standing | None
    wanted: State


@dataclass(slots=True, frozen=True)
class Wait:
    """A move that is due, and why it must wait."""

    key_id: int
    wanted: State
    why: Outcome


def obstacle(standing: Standing, wanted: State, now: int, unused_s: int) -> Outcome | None:
    """Return why a legal move would harm someone who is alive, None when it would not.

    Activated before every holder has it, a key seals what some cannot open. Destroyed before they know that it was
    deactivated, it still seals; destroyed while it is used, it signs people out.
    """
    state = standing.version.state
    if standing.lagging and (wanted is State.ACTIVE or (wanted is State.DESTROYED and state is State.DEACTIVATED)):
        return Outcome.NOT_DISTRIBUTED
    if wanted is State.DESTROYED and standing.use is not None and standing.use.last_used > now - unused_s:
        return Outcome.IN_USE
    return None


def due(policy: Rotation, standings: Sequence[Standing], now: int) -> list[Step]:
    """Return what the policy asks for in one key set.

    A set whose primary was taken away by an operator is left to the operator.
    """
    steps = []
    if any(each.version.primary and _age(each, now) >= policy.rotate_after_s for each in standings):
        next_one = max(_in_state(standings, State.PRE_ACTIVE), key=lambda each: each.version.state_since, default=None)
        if next_one is None:
            steps.append(Step(None, State.PRE_ACTIVE))
        elif _age(next_one, now) >= policy.distribute_s:
            steps.append(Step(next_one, State.ACTIVE))
    retired = _in_state(standings, State.DEACTIVATED)
    return steps + [Step(each, State.DESTROYED) for each in retired if _age(each, now) >= policy.retire_after_s]


def pace_s(policies: Iterable[Rotation]) -> float:
    """Return how often to look: the shortest time of any policy must not be missed by much."""
    times = [time for each in policies for time in (each.rotate_after_s, each.distribute_s, each.retire_after_s)]
    return min(_LONGEST_WAIT_S, min(times) / 4)


@asynccontextmanager
async def rotating(rotate: Callable[[], Awaitable[Sequence[Wait]]], every_s: float) -> AsyncIterator[None]:
    """Call `rotate` until the block ends."""
    going_on = asyncio.create_task(_rotate_for_ever(rotate, every_s), name="rotation")
    try:
        yield
    finally:
        going_on.cancel()
        await asyncio.wait({going_on})


async def _rotate_for_ever(rotate: Callable[[], Awaitable[Sequence[Wait]]], every_s: float) -> None:
    known: set[Wait] = set()
    while True:
        try:
            waits = set(await rotate())
            for wait in waits - known:
                _log.warning("rotation_waits", key_id=f"{wait.key_id:08x}", wanted=wait.wanted, why=wait.why)
            known = waits
        except SQLAlchemyError as problem:
            _log.warning("not_rotated", problem=type(problem).__name__)
        # A tenth either way, so that the instances of a service do not do it all at once.
        await asyncio.sleep(every_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load


def _in_state(standings: Sequence[Standing], state: State) -> list[Standing]:
    return [each for each in standings if each.version.state is state]


def _age(standing: Standing, now: int) -> int:
    return now - standing.version.state_since
