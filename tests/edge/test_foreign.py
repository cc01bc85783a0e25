"""The edge between parsers that are not ours: aiohttp on both sides, and h11 as the judge of hostile bytes."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator

import aiohttp
import h11
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.edge.raw import OriginConnection, RawRequest, connected, get, ok, raw_origin, response
from tests.edge.running import running_edge
from tests.http1.hostile import tampered, valid_request, valid_response
from tests.http1.test_request import NEARLY
from tests.http1.wire import requests_by_h11, responses_by_h11


def read_by_h11(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return method and body of every whole request that h11 finds in a device's bytes."""
    found: list[tuple[bytes, bytes]] = []
    left = data
    while True:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(left)
        parser.receive_data(b"")
        method, body = b"", b""
        try:
            while True:
                event = parser.next_event()
                if isinstance(event, h11.Request):
                    method = event.method
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return found
        except h11.RemoteProtocolError:
            return found
        found.append((method, body))
        left = parser.trailing_data[0]


@given(data=st.lists(NEARLY, min_size=1, max_size=3).map(b"".join), size=st.sampled_from([None, 1, 13]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(data=b"POST / HTTP/1.0\r\nContent-Length: 26\r\n\r\nGET /evil HTTP/1.1\r\nHost:\r\n\r\n", size=None)
@example(
    data=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    size=None,
)
async def test_s_the_origin_never_sees_a_request_that_h11_does_not_read_in_the_devices_bytes(
    data: bytes, size: int | None
) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            seen.append((asked.method, asked.body))
            await connection.send(ok())

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(data, size=size)
        client.half_close()
        raw = await client.rest()
        expected = read_by_h11(data)
        assert seen == expected[: len(seen)]
        assert len(seen) <= raw.count(b"HTTP/1.1 ") <= len(expected) + 1


@given(data=tampered(valid_request()), size=st.sampled_from([None, 1, 13]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_s_of_a_tampered_pipeline_the_origin_sees_bodies_and_trailers_as_another_parser_does(
    data: bytes, size: int | None
) -> None:
    seen: list[RawRequest] = []

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            seen.append(asked)
            await connection.send(response(b"204 No Content"))

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        with contextlib.suppress(ConnectionError, RuntimeError):  # it may have been refused before it was all sent
            await client.send(data, size=size)
            client.half_close()
            await client.rest()
    for asked, judged in zip(seen, requests_by_h11(data), strict=False):
        assert (asked.method, asked.body) == (judged.start[0], judged.body)
        assert set(asked.trailers) <= set(judged.trailers)
    assert len(seen) <= len(requests_by_h11(data))


@given(data=tampered(valid_response()), size=st.sampled_from([None, 1, 13]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(data=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", size=None)
@example(data=b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nab", size=1)
async def test_s8_s9_a_device_sees_the_answer_that_another_parser_reads_or_an_error_or_a_reset(
    data: bytes, size: int | None
) -> None:
    async def script(connection: OriginConnection) -> None:
        if await connection.request() is not None:
            await connection.send(data, size=size)
            connection.half_close()
            await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get(b"/", b"Connection: close"))
        try:
            raw = await client.rest()
        except ConnectionResetError:
            return  # half an answer that does not look whole
    (answer,) = (message for message in responses_by_h11(raw, [b"GET"]) if message.start > (199,))
    if answer.start == (502,):
        assert b'"reason":"origin_' in answer.body
        return
    judged = next(message for message in responses_by_h11(data, [b"GET"]) if message.start > (199,))
    assert (answer.start, answer.body) == (judged.start, judged.body)
    assert set(answer.trailers) <= set(judged.trailers)


async def test_many_devices_and_bodies_of_all_kinds_pass_unchanged_between_aiohttp_and_aiohttp() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if "stream" not in request.query:
            return web.Response(body=body, headers={"X-Sum": hashlib.sha256(body).hexdigest()})
        response = web.StreamResponse(headers={"X-Sum": hashlib.sha256(body).hexdigest()})
        await response.prepare(request)
        for start in range(0, len(body), 7001):
            await response.write(body[start : start + 7001])
        await response.write_eof()
        return response

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 5000):
            yield body[start : start + 5000]

    async def device(session: aiohttp.ClientSession, url: str, number: int) -> None:
        for turn in range(6):
            body = os.urandom((number * 997 + turn * 40_009) % 200_000)
            payload = pieces(body) if (number + turn) % 2 else body
            target = f"{url}/upload{'?stream' if turn % 3 else ''}"
            async with session.post(target, data=payload) as answer:
                assert answer.status == 200
                assert await answer.read() == body
                assert answer.headers["X-Sum"] == hashlib.sha256(body).hexdigest()
            async with session.head(url) as answer:
                assert (answer.status, await answer.read()) == (200, b"")

    try:
        async with running_edge(f"127.0.0.1:{port}") as edge, aiohttp.ClientSession() as session:
            await asyncio.gather(*(device(session, edge.url, number) for number in range(20)))
            assert edge.metrics.refusals == {}
    finally:
        await runner.cleanup()
