"""The last good addresses are kept whatever a look brings, and what goes wrong is counted, aged and logged."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from edge.control.values import Address
from edge.telemetry.metrics import Series
from edge.upstream.discovery.look import Look, Problem, Result
from edge.upstream.discovery.origin_discovery import OriginDiscovery
from edge.upstream.discovery.refresh import SPREAD, Refresh

ONE, TWO = Address("10.0.0.1", 80), Address("10.0.0.2", 80)
NXDOMAIN = Look(None, Problem(Result.NXDOMAIN, "the name does not exist"))


class Looks:
    """A source that brings one look after another, then waits for ever; an exception is raised."""

    def __init__(self, *looks: Look | Exception) -> None:
        self._looks = list(looks)
        self.over = asyncio.Event()

    async def look(self) -> Look:
        """Bring the next."""
        if not self._looks:
            self.over.set()
            await asyncio.Event().wait()
        look = self._looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look


class Watched:
    """A discovery with a clock to turn, and all that it told."""

    def __init__(self, *looks: Look | Exception, refresh: Refresh = Refresh(1, 100)) -> None:  # noqa: B008
        self.now = 1000.0
        self.told: list[tuple[Address, ...]] = []
        self.counts: Series = {}
        self.source = Looks(*looks)
        self.discovery = OriginDiscovery(
            "api", self.source, refresh, found=self._found, counts=self.counts, clock=lambda: self.now
        )

    def _found(self, addresses: Sequence[Address]) -> None:
        self.told.append(tuple(addresses))


def test_a_new_list_is_told_once() -> None:
    watched = Watched()
    for addresses in ((ONE,), (ONE,), (ONE, TWO)):
        watched.discovery.take(Look(addresses))
    assert watched.told == [(ONE,), (ONE, TWO)]
    assert watched.counts == {("api", "changed"): 2, ("api", "unchanged"): 1}


def test_n1_a_failed_look_keeps_the_last_good_list_and_its_age_grows() -> None:
    watched = Watched()
    watched.discovery.take(Look((ONE,)))
    watched.now += 30
    watched.discovery.take(NXDOMAIN)
    assert watched.told == [(ONE,)]
    assert watched.discovery.addresses == (ONE,)
    assert watched.discovery.age_s == 30
    watched.discovery.take(Look((ONE,)))
    assert watched.discovery.age_s == 0
    assert watched.counts[("api", "nxdomain")] == 1


def test_n1_half_an_answer_is_taken_and_counted_as_what_it_lacks() -> None:
    watched = Watched()
    watched.discovery.take(Look((ONE,), Problem(Result.SERVFAIL, "")))
    assert watched.told == [(ONE,)]
    assert watched.counts == {("api", "servfail"): 1}


def test_n1_failures_are_retried_ever_later_while_a_list_is_held_and_soon_while_none_is() -> None:
    watched = Watched()
    assert all(1 <= watched.discovery.take(NXDOMAIN) <= 1 + SPREAD for _ in range(10))
    watched.discovery.take(Look((ONE,)))
    waits = [watched.discovery.take(NXDOMAIN) for _ in range(10)]
    assert waits[0] <= 1 + SPREAD
    assert waits[-1] >= 100
    watched.discovery.take(Look((ONE,)))
    assert watched.discovery.take(NXDOMAIN) <= 1 + SPREAD


def test_the_log_says_when_it_begins_to_fail_and_when_it_is_over() -> None:
    watched = Watched()
    with structlog.testing.capture_logs() as lines:
        for look in (Look((ONE,)), NXDOMAIN, NXDOMAIN, Look((ONE,)), Look((ONE,))):
            watched.discovery.take(look)
    assert [line["event"] for line in lines] == ["addresses_changed", "addresses_not_found", "addresses_found_again"]
    assert lines[0]["added"] == ["10.0.0.1:80"]
    assert (lines[1]["result"], lines[1]["kept"]) == ("nxdomain", 1)


async def test_n1_a_look_that_raises_is_not_the_last() -> None:
    watched = Watched(ValueError("a bug"), Look((ONE,)), refresh=Refresh(0.001, 0.001))
    task = asyncio.create_task(watched.discovery.run())
    await watched.source.over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.told == [(ONE,)]
    assert watched.counts[("api", "error")] == 1


LISTS = st.lists(st.sampled_from([ONE, TWO, Address("::1", 80)]), min_size=1, unique=True).map(
    lambda x: tuple(sorted(x))
)
PROBLEMS = st.sampled_from(sorted(set(Result) - {Result.CHANGED, Result.UNCHANGED})).map(lambda r: Problem(r, ""))
LOOKS = st.one_of(st.builds(Look, LISTS, st.none() | PROBLEMS, st.floats(0, 1e9)), st.builds(Look, st.none(), PROBLEMS))


@given(st.lists(LOOKS, max_size=30))
def test_n1_the_list_is_always_the_last_good_one(looks: list[Look]) -> None:
    watched = Watched()
    for number, look in enumerate(looks, 1):
        wait_s = watched.discovery.take(look)
        good = [each.addresses for each in looks[:number] if each.addresses is not None]
        assert watched.discovery.addresses == (good[-1] if good else ())
        assert 1 <= wait_s <= 100 * (1 + SPREAD)
    assert sum(watched.counts.values()) == len(looks)
    assert all(before != after for before, after in zip(watched.told, watched.told[1:], strict=False))
