"""The API stub as a process, asked as an edge asks it."""

import asyncio
import hashlib
import io

import aiohttp
import pytest
from yarl import URL

from origins_stub.api.bodies import pattern
from passport import Level
from passport.aiohttp import HEADER
from tests.origins_stub.conftest import DEVICE, Edge, Origins, user_of_level


async def test_echo_shows_target_headers_and_body_as_received(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    url = URL(f"{origins.api.url}/echo?q=%41%20&r=%7e", encoded=True)
    headers = {HEADER: edge.passport(), "X_Passport": "odd", "Cookie": "theme=dark"}
    answer = await session.put(url, data=b"abc", headers=headers)
    seen = await answer.json()
    assert answer.status == 200
    assert (seen["method"], seen["target"]) == ("PUT", "/echo?q=%41%20&r=%7e")
    assert ["Cookie", "theme=dark"] in seen["headers"]
    assert ["X_Passport", "odd"] in seen["headers"]
    assert seen["body"] == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}


async def test_echo_shows_the_facts_of_the_passport_and_not_the_passport(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    passport = edge.passport(user_of_level(Level.HIGH), DEVICE)
    answer = await session.get(f"{origins.api.url}/echo", headers={HEADER: passport})
    seen = (await answer.json())["passport"]
    assert passport not in await answer.text()
    assert (seen["received"], seen["verified"], seen["refusal"]) == (1, True, None)
    assert (seen["user"]["source"], seen["user"]["level"], seen["user"]["customer_id"]) == ("COOKIE", "HIGH", 1001)
    assert seen["device"] == {"source": "COOKIE", "level": "HIGH", "esn": "ESN-1", "device_type": 7}
    assert seen["request_id"] == "0123456789abcdef0123456789abcdef"


async def test_echo_says_why_a_passport_is_not_believed(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    async def refusal(*values: str) -> tuple[bool, str]:
        answer = await session.get(f"{origins.api.url}/echo", headers=[(HEADER, value) for value in values])
        seen = (await answer.json())["passport"]
        assert "user" not in seen
        return seen["verified"], seen["refusal"]

    good = edge.passport()
    assert await refusal() == (False, "missing")
    assert await refusal(good, good) == (False, "repeated")
    assert await refusal(edge.passport(age_s=3600)) in {(False, "too_old"), (False, "expired")}
    assert await refusal(edge.passport(trust_domain="elsewhere")) == (False, "trust_domain")
    assert (await refusal("Zm9yZ2Vk"))[0] is False


@pytest.mark.parametrize("path", ["/", "/browse", "/account", "/download?bytes=1", "/slow?seconds=0", "/early"])
async def test_x5_without_exactly_one_good_passport_nothing_is_served(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, path: str
) -> None:
    good = edge.passport(user_of_level(Level.HIGH))
    for values in ([], ["Zm9yZ2Vk"], [good, good], [good, "x"]):
        answer = await session.get(origins.api.url + path, headers=[(HEADER, value) for value in values])
        assert answer.status == 401
        assert await answer.json() == {"reason": "passport_refused"}


@pytest.mark.parametrize(
    "case",
    [
        ("/", Level.UNSPECIFIED, 200),
        ("/browse", Level.UNSPECIFIED, 403),
        ("/browse", Level.LOW, 200),
        ("/account", Level.LOW, 403),
        ("/account", Level.HIGH, 200),
        ("/account", Level.HIGHEST, 200),
    ],
)
async def test_the_origin_asks_for_levels_itself(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, case: tuple[str, Level, int]
) -> None:
    path, level, status = case
    answer = await session.get(origins.api.url + path, headers={HEADER: edge.passport(user_of_level(level))})
    assert answer.status == status


@pytest.mark.parametrize("path", ["/browse", "/account"])
async def test_nobody_is_refused_where_a_user_is_needed(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, path: str
) -> None:
    answer = await session.get(origins.api.url + path, headers={HEADER: edge.passport(device=DEVICE)})
    assert answer.status == 403


@pytest.mark.parametrize("total", [0, 1, 65_536, 65_537, 3_000_001])
async def test_a_download_is_its_pattern_to_the_byte(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, total: int
) -> None:
    answer = await session.get(f"{origins.api.url}/download?bytes={total}", headers={HEADER: edge.passport()})
    assert answer.headers["Content-Length"] == str(total)
    assert await answer.read() == b"".join(pattern(total))


@pytest.mark.parametrize("bad", ["-1", "x", "nan", "1e30", ""])
async def test_a_download_of_no_number_is_a_400(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, bad: str
) -> None:
    answer = await session.get(f"{origins.api.url}/download?bytes={bad}", headers={HEADER: edge.passport()})
    assert answer.status == 400


async def test_an_upload_is_counted_and_hashed(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    body = b"".join(pattern(5_000_000))
    answer = await session.post(f"{origins.api.url}/upload", data=io.BytesIO(body), headers={HEADER: edge.passport()})
    assert await answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_slow_answers_after_its_time(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    before = asyncio.get_running_loop().time()
    answer = await session.get(f"{origins.api.url}/slow?seconds=0.2", headers={HEADER: edge.passport()})
    assert answer.status == 200
    assert asyncio.get_running_loop().time() - before >= 0.2


async def test_a_stream_comes_piece_by_piece(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    url = f"{origins.api.url}/stream?pieces=3&interval_ms=20"
    answer = await session.get(url, headers={HEADER: edge.passport()})
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert [line async for line in answer.content] == [b"piece 0\n", b"piece 1\n", b"piece 2\n"]


async def raw(origins: Origins, request: bytes) -> bytes:
    """Send bytes to the API and return all that comes until it closes."""
    host, _, port = origins.api.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("path", [b"/download?bytes=100000", b"/stream?pieces=3&interval_ms=1"])
async def test_head_has_no_body(origins: Origins, edge: Edge, path: bytes) -> None:
    passport = edge.passport().encode()
    answer = await raw(
        origins, b"HEAD %s HTTP/1.1\r\nHost: a\r\nX-Passport: %s\r\nConnection: close\r\n\r\n" % (path, passport)
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


async def test_early_answers_before_the_body_and_closes(origins: Origins, edge: Edge) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nX-Passport: %s\r\n\r\n"
    host, _, port = origins.api.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head % edge.passport().encode() + b"only a piece")
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()
    writer.close()
    await writer.wait_closed()


async def test_h7_a_trailer_never_becomes_a_header_of_the_next_request(origins: Origins, edge: Edge) -> None:
    passport = edge.passport(user_of_level(Level.HIGH)).encode()
    first = (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Passport: %s\r\n\r\n" % passport
    )
    answer = await raw(origins, first + b"GET /browse HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"refusal":"missing"' in answer


async def test_health_needs_no_passport(origins: Origins, session: aiohttp.ClientSession) -> None:
    for running in (origins.api, origins.auth):
        assert await (await session.get(f"{running.url}/health")).json() == {"status": "ok"}
