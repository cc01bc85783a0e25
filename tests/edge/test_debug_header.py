"""Who shows the debug key is told in a header why the edge answers itself: docs/reasons.md."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.contract.exchange import Exchange
from edge.contract.filters import OnError, Refuse
from edge.contract.reasons import Reason
from tests.edge.raw import RawClient, RawOrigin, Script, answering, connected, get, ok, raw_origin, request, response
from tests.edge.running import RunningEdge, running_edge

KEY = b"6c1f0a7be0d94f7f"
SHOWN = b"X-Edge-Debug: " + KEY
NAME = b"x-edge-debug"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    made = tmp_path / "debug.key"
    made.write_bytes(KEY + b"\n")
    return made


@asynccontextmanager
async def served(script: Script, key_file: Path) -> AsyncIterator[tuple[RawOrigin, RunningEdge, RawClient]]:
    """Run an origin and an edge that reads its debug key from `key_file`, and connect."""
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, f"debug.key_file={key_file}") as edge,
        connected(edge.port) as client,
    ):
        yield origin, edge, client


async def test_a_refusal_names_its_reason_and_the_filter_that_decided(key_file: Path) -> None:
    async with served(answering(ok()), key_file) as (_, _, client):
        answer = await client.ask(get(b"/browse", SHOWN))
        assert (answer.status, answer.all(NAME)) == (401, [b"authentication_required;filter=authorise"])
        answer = await client.ask(get(b"/account", b"Cookie: EdgeId=forged", SHOWN))
        assert (answer.status, answer.all(NAME)) == (401, [b"token_refused;filter=cookie"])
        answer = await client.ask(request(b"HEAD", b"/browse", SHOWN))
        assert (answer.status, answer.all(NAME)) == (401, [b"authentication_required;filter=authorise"])


@pytest.mark.parametrize(
    "shown", [[], [b"X-Edge-Debug: 6c1f0a7be0d94f70"], [b"X-Edge-Debug: "], [b"X_Edge_Debug: " + KEY]]
)
async def test_a5_nobody_is_told_without_the_key(shown: list[bytes], key_file: Path) -> None:
    async with served(answering(ok()), key_file) as (_, _, client):
        await client.ask(get(b"/browse", SHOWN))  # who showed it is not remembered with the connection
        answer = await client.ask(get(b"/browse", *shown))
        assert (answer.status, answer.all(NAME)) == (401, [])


async def test_a5_without_a_key_file_nothing_shown_is_the_key() -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge, connected(edge.port) as it:
        for shown in (SHOWN, b"X-Edge-Debug: ", b"X-Edge-Debug: None"):
            answer = await it.ask(get(b"/browse", shown))
            assert (answer.status, answer.all(NAME)) == (401, [])


async def test_a5_where_the_key_went_since_it_was_accepted_the_edge_starts_and_nobody_is_told(tmp_path: Path) -> None:
    async with served(answering(ok()), tmp_path / "gone.key") as (_, _, client):
        for shown in (SHOWN, b"X-Edge-Debug: "):
            answer = await client.ask(get(b"/browse", shown))
            assert (answer.status, answer.all(NAME)) == (401, [])


async def test_a5_no_origin_sees_the_key_and_none_can_answer_with_the_field(key_file: Path) -> None:
    spoken = response(b"200 OK", b"Content-Length: 0", b"X-Edge-Debug: from the origin")
    async with served(answering(spoken), key_file) as (origin, _, client):
        answer = await client.ask(get(b"/echo", SHOWN))
        assert (answer.status, answer.all(NAME)) == (200, [])
        assert KEY not in origin.connections[0].received


async def test_what_no_filter_decided_names_the_reason_alone(key_file: Path) -> None:
    async with served(answering(b"nonsense\r\n\r\n"), key_file) as (_, _, client):
        answer = await client.ask(get(b"/", SHOWN))
        assert (answer.status, answer.all(NAME)) == (502, [b"origin_protocol_error"])


async def test_a_filter_of_the_response_is_named_too(key_file: Path) -> None:
    class Refusing:
        id = "refusing"
        on_error = OnError.CLOSED
        deadline_s = 1.0
        concurrency = 1

        def outbound(self, exchange: Exchange) -> Refuse:
            return Refuse(502, Reason.FILTER_ERROR, "no")

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(
            origin.address,
            f"debug.key_file={key_file}",
            change=lambda filters: (filters[0], [Refusing(), *filters[1]]),
        ) as edge,
        connected(edge.port) as client,
    ):
        for target in (b"/echo", b"/browse"):  # the last word is the last to decide
            answer = await client.ask(get(target, SHOWN))
            assert answer.all(NAME) == [b"filter_error;filter=refusing"]
