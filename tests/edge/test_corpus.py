"""Known attacks on framing over real sockets: an origin sees whole requests that were asked for, and nothing else."""

import pytest

from tests.edge.raw import OriginConnection, connected, get, ok, raw_origin, request, until
from tests.edge.running import running_edge
from tests.http1.corpus import request_cases, response_cases

EVERY_WAY = pytest.mark.parametrize("size", [None, 1, 5], ids=["whole", "bytes", "pieces"])


@EVERY_WAY
async def test_s1_s2_s3_s4_s5_s6_s7_of_a_known_attack_an_origin_sees_what_has_one_reading(size: int | None) -> None:
    seen: list[tuple[bytes, bytes, bytes]] = []

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            seen.append((asked.method, asked.target, asked.body))
            await connection.send(ok(b""))

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        for name, case in request_cases().items():
            seen.clear()
            async with connected(edge.port) as client:
                await client.send(case.data, size=size)
                if not case.refused:
                    client.half_close()
                raw = await client.rest()
            assert seen == case.requests, name
            assert raw.count(b"HTTP/1.1 200 OK\r\n") == len(case.requests), name
            assert (
                raw.count(b"\r\nconnection: close\r\n") > 0 and b"application/problem+json" in raw
            ) == case.refused, name
            await until(lambda: not edge.engine.connections)


@EVERY_WAY
async def test_s8_s9_of_a_known_trick_of_an_origin_a_device_sees_what_has_one_reading(size: int | None) -> None:
    bad = [b""]

    async def script(connection: OriginConnection) -> None:
        if await connection.request() is not None:
            await connection.send(bad[0], size=size)
            connection.half_close()
            await connection.end()

    patient = "origins.api.breaker.min_calls=100000"
    async with raw_origin(script) as origin, running_edge(origin.address, patient) as edge:
        for name, case in response_cases().items():
            bad[0] = case.data
            final = next((answer for answer in case.answers if answer[0] >= 200), (502, b""))
            async with connected(edge.port) as client:
                await client.send(get() if case.methods[0] == b"GET" else request(b"HEAD", b"/"))
                if case.refused and "_chunk_" in name:  # its head was relayed before the chunk came that is none
                    try:
                        answer = await client.response()
                    except ConnectionResetError:
                        continue
                else:
                    answer = await client.response(case.methods[0])
            assert answer.status == final[0], name
            if not case.refused:
                assert answer.body == final[1], name
            await until(lambda: edge.engine.origin_connections == 0)
