"""The filters that fail in front of the edge's own, on a whole data plane: nothing may get past one."""

import pytest

from filters import order
from loadtest.chaos.inside import sitecustomize as inside
from loadtest.chaos.scenarios.filters import AT_ONCE_BUGS, FILTERS, HOLD, NEVER, REASONS
from tests.edge.raw import answering, connected, get, ok, raw_origin
from tests.edge.running import Filters, running_edge
from tests.edge.test_relay import problem

DEADLINES = tuple(f"filters.{name}.deadline_s=0.05" for name in FILTERS)


def failing(filters: Filters) -> Filters:
    """Put one in front of each."""
    return [inside.failing(own) for own in filters[0]], filters[1]  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _on_every_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "FAILS", "")


def test_they_are_those_of_every_request() -> None:
    assert [str(kind.id) for kind, _ in order.INBOUND] == list(FILTERS)


async def test_nothing_gets_past_a_filter_that_fails() -> None:
    seen = set()
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *DEADLINES, change=failing) as edge,
        connected(edge.port) as client,
    ):
        for at in FILTERS:
            for bug in (*AT_ONCE_BUGS, NEVER):
                answer = await client.ask(get(f"/?at={at}&bug={bug}".encode()))
                assert answer.status == 500
                seen.add(problem(answer)["reason"])
        assert origin.requests == []
        assert seen == REASONS - {"filter_overloaded"}
        assert sum(edge.metrics.refusals.values()) == len(FILTERS) * (len(AT_ONCE_BUGS) + 1)


async def test_one_that_takes_its_time_lets_a_request_go_on() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=failing) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(f"/?at=cookie&bug={HOLD}".encode()))).status == 200
        assert len(origin.requests) == 1
