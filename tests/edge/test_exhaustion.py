"""What costs the sender little must cost the edge little: no call, no memory and no answer but a refusal."""

import base64
import os

import pytest

from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, response
from tests.edge.running import Keys, RunningEdge, running_edge

STORM = 2000


def forged(keys: Keys, change: slice, noise: int) -> bytes:
    """Return a cookie pair whose halves have other bytes at a place: the key's id, or the sealed content."""
    halves = []
    for half in keys.cookies(7).encode().split(b"; "):
        name, _, text = half.partition(b"=")
        token = bytearray(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
        token[change] = noise.to_bytes(change.stop - change.start, "big")
        halves.append(name + b"=" + base64.urlsafe_b64encode(token).rstrip(b"="))
    return b"; ".join(halves)


async def storm(edge: RunningEdge, change: slice) -> int:
    """Send many forged pairs in pipelines, each another one; return how many were refused with 401."""
    refused = 0
    for start in range(0, STORM, 100):
        async with connected(edge.port) as client:
            for number in range(start, start + 100):
                await client.send(get(b"/account", b"Cookie: " + forged(edge.keys, change, number + 1000)))
            for _ in range(100):
                refused += (await client.response()).status == 401
    return refused


@pytest.mark.parametrize(("change", "detail"), [(slice(1, 5), "unknown_key"), (slice(20, 24), "bad_tag")])
async def test_d1_d2_a_storm_of_forged_tokens_asks_nobody_and_counts_as_one(change: slice, detail: str) -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        assert await storm(edge, change) == STORM
        assert (origin.connections, edge.service.calls) == ([], 0)
        assert edge.metrics.refusals == {("token_refused", detail): STORM}


@pytest.mark.parametrize("size", [4096, 31_000, 64 * 1024])
@pytest.mark.parametrize("name", [b"EdgeId", b"SecureEdgeId", b"other"])
async def test_c9_d4_a_huge_cookie_is_refused_or_passed_but_never_an_error(name: bytes, size: int) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(b"/echo", b"Cookie: " + name + b"=" + b"A" * size))
        if size > 32 * 1024:
            assert answer.status == 431
        elif name == b"other":
            assert (answer.status, origin.requests[0].get(b"cookie")) == (200, b"other=" + b"A" * size)
        elif name == b"SecureEdgeId":  # alone it is nobody's
            assert (answer.status, origin.requests[0].get(b"cookie")) == (200, None)
        else:
            assert answer.status == 401


async def test_d4_five_hundred_cookies_hide_none_of_ours() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        many = b"; ".join(b"c%d=%d" % (number, number) for number in range(500))
        assert (await client.ask(get(b"/account", b"Cookie: " + many))).status == 401
        assert (
            await client.ask(get(b"/account", b"Cookie: " + many + b"; " + edge.keys.cookies().encode()))
        ).status == 200
        assert origin.requests[0].get(b"cookie") == many


@pytest.mark.parametrize(
    "nested", [b"\x7b" * 6000, b"\x0a\x7f" * 4000, os.urandom(6000)], ids=["groups", "strings", "noise"]
)
async def test_d6_a_passport_of_any_depth_that_an_origin_returns_is_dropped(nested: bytes) -> None:
    value = base64.b64encode(nested)

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(response(b"200 OK", b"Content-Length: 2", b"X-Passport: " + value) + b"ok")

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get(b"/echo"))
        assert (answer.status, answer.body, answer.get(b"x-passport")) == (200, b"ok", None)
        assert all(str(action[0]).startswith("refused:") for action in edge.metrics.actions)
