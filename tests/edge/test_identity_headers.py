"""What a client says about its identity never reaches an origin; the Passport there is ours, and only there."""

import time

import pytest

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.headers import Headers
from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from passport.introspector import PassportIntrospector
from tests.edge.raw import OriginConnection, RawRequest, answering, connected, get, ok, raw_origin, request, response
from tests.edge.running import CONFIG, Filters, Keys, running_edge

pytestmark = pytest.mark.usefixtures("every_delivery")

FORGED = b"forged-by-the-client"
TRUST_DOMAIN = next(
    line.split(":", 1)[1].split("#")[0].strip()
    for line in (CONFIG / "edge.yaml").read_text().splitlines()
    if line.strip().startswith("trust_domain:")
)


def introspect(seen: RawRequest, keys: Keys) -> PassportIntrospector:
    """Verify the one Passport that an origin got."""
    values = seen.all(b"x-passport")
    assert len(values) == 1
    return PassportIntrospector.from_base64(values[0], keys.passport_keys, now=time.time(), trust_domain=TRUST_DOMAIN)


SPELLINGS = {
    "h1_plain": [b"X-Passport: " + FORGED],
    "h2_twice": [b"X-Passport: " + FORGED, b"X-Passport: " + FORGED],
    "h4_case": [b"x-PASSPORT: " + FORGED],
    "h5_underscore": [b"X_Passport: " + FORGED],
    "h5_mixed": [b"X-Pass_port: " + FORGED],
    "h5_dots": [b"X.Passport: " + FORGED],
    "h5_tilde": [b"X~Passport: " + FORGED],
    "h5_doubled": [b"X--Passport: " + FORGED],
    "h5_other_names": [b"Passport-Bin: " + FORGED, b"X-Edge-User: " + FORGED, b"X_Edge_Level: " + FORGED],
    "h6_joined": [b"X-Passport: " + FORGED + b", " + FORGED],
    "h8_nominated": [b"Connection: X-Passport, x-request-id, via", b"X-Passport: " + FORGED],
    "h8_nominated_cookie": [b"Connection: cookie, authorization, x-forwarded-for, x-passport"],
    "h9_upgrade": [b"Connection: upgrade, x-passport", b"Upgrade: websocket", b"X-Passport: " + FORGED],
    "h13_high_bytes": [b"X-Passport: " + FORGED + b"\x80\xff"],
    "h13_tab": [b"X-Passport: \t" + FORGED + b"\tx"],
    "h15_forwarding": [
        *(b"X-Forwarded-%b: %b" % (each, FORGED) for each in (b"For", b"Host", b"Proto", b"Port", b"Prefix", b"Uri")),
        *(b"%b: %b" % (each, FORGED) for each in (b"Forwarded", b"X-Real-IP", b"X-Original-URL", b"X-Rewrite-URL")),
        *(
            b"%b: %b" % (each, FORGED)
            for each in (b"X-HTTP-Method-Override", b"X-Envoy-Original-Path", b"X_Forwarded_For")
        ),
    ],
    "h17_device_type": [b"X-Device-Type: " + FORGED, b"X-ESN: " + FORGED, b"X_Esn: " + FORGED],
    "h18_marker": [b"X-Edge-Degraded: " + FORGED, b"X-Edge-Auth-Failed: " + FORGED],
    "h19_many": [
        b"X%bPassport: %b" % (b"-_.~!"[turn % 5 : turn % 5 + 1] * (turn // 5 + 1), FORGED) for turn in range(80)
    ],
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("signed_in", [False, True])
async def test_h_no_spelling_of_an_identity_header_reaches_the_origin(name: str, signed_in: bool) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        cookie = [b"Cookie: " + edge.keys.cookies(7).encode()] if signed_in else []
        answer = await client.ask(get(b"/echo", *SPELLINGS[name], *cookie))
        assert answer.status == 200
        assert FORGED not in origin.connections[0].received
        facts = introspect(origin.requests[0], edge.keys)
        nominated_away = name == "h8_nominated_cookie"
        assert facts.customer_id == (7 if signed_in and not nominated_away else None)
        assert origin.requests[0].get(b"via") == b"1.1 edge"
        assert len(origin.requests[0].all(b"x-request-id")) == 1
        assert answer.get(b"x-passport") is None


@pytest.mark.parametrize(
    "line", [b"X-Passport : a", b"X-Passport\t: a", b" X-Passport: a", b"X-Passport\x00: a", b"X\xc2\xa0Passport: a"]
)
async def test_h14_tricks_around_the_colon_are_a_400(line: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/echo", b"X-First: 1", line))).status == 400
        assert origin.requests == []


async def test_h13_a_folded_identity_header_is_a_400() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/echo", b"X-Harmless: a", b"\tX-Passport: b"))).status == 400
        assert origin.requests == []


@pytest.mark.parametrize(
    "name", [b"X-Passport", b"x_passport", b"X-Edge-User", b"Cookie", b"X-Forwarded-For", b"Content-Length"]
)
async def test_h7_trailers_that_name_an_identity_never_reach_the_origin(name: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        body = b"5\r\nhello\r\n0\r\n" + name + b": " + b"99999" + b"\r\nX-Checksum: 1\r\n\r\n"
        lines = (b"Transfer-Encoding: chunked", b"TE: trailers", b"Connection: TE", b"Trailer: " + name)
        answer = await client.ask(request(b"POST", b"/upload", *lines, body=body))
        assert answer.status == 200
        seen = origin.requests[0]
        assert (seen.body, seen.trailers) == (b"hello", [(b"x-checksum", b"1")])
        introspect(seen, edge.keys)


@pytest.mark.parametrize("target", [b"/", b"/echo", b"/browse"])
async def test_h10_a_public_route_strips_and_signs_like_any_other(target: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(target, b"X-Passport: " + FORGED))
        if target == b"/browse":
            assert (answer.status, origin.requests) == (401, [])
        else:
            assert introspect(origin.requests[0], edge.keys).customer_id is None
        assert FORGED not in b"".join(bytes(connection.received) for connection in origin.connections)


@pytest.mark.parametrize(
    "switch",
    [
        *("filters.hygiene=null", "filters.hygiene.enabled=false", "filters.hygiene.on_error=open"),
        *("filters.scrub=null", "filters.scrub.enabled=false", "filters.passport.enabled=false"),
        *("routes.echo.hygiene=false", "routes.echo.filters=[]", "routes.echo.passport=false", "routes.echo.auth=null"),
    ],
)
def test_h12_no_switch_turns_the_stripping_or_the_signing_off(switch: str) -> None:
    assert isinstance(load_config(CONFIG, (switch,)), ConfigErrors)


@pytest.mark.parametrize(
    "target", [b"/", b"/login", b"/logout", b"/echo", b"/download", b"/upload", b"/slow", b"/stream"]
)
async def test_h12_whatever_a_route_asks_for_it_strips_and_signs(target: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        asked = request(b"POST", target, b"X-Passport: " + FORGED, b"x_edge_user: " + FORGED, b"Content-Length: 0")
        assert (await client.ask(asked)).status == 200
        assert FORGED not in origin.connections[0].received
        assert introspect(origin.requests[0], edge.keys).customer_id is None


class _OpenThatRaises:
    """A filter that fails and lets everything through."""

    id = "broken"
    on_error = OnError.OPEN
    deadline_s = 1.0
    concurrency = 1

    def inbound(self, exchange: Exchange) -> Verdict:
        """Fail."""
        raise RuntimeError(exchange.id)


@pytest.mark.parametrize("place", [0, 1, 3, 5])
async def test_h11_f1_a_filter_that_fails_open_anywhere_lets_no_forged_identity_through(place: int) -> None:
    def change(filters: Filters) -> Filters:
        inbound, outbound = filters
        return [*inbound[:place], _OpenThatRaises(), *inbound[place:]], outbound

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=change) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/echo", b"X_Passport: " + FORGED))).status == 200
        assert FORGED not in origin.connections[0].received
        introspect(origin.requests[0], edge.keys)


async def test_h11_a_bad_token_on_a_lenient_route_goes_on_as_nobody_and_is_stripped() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        lines = (b"X-Passport: " + FORGED, b"Cookie: EdgeId=" + FORGED + b"; other=kept")
        assert (await client.ask(get(b"/", *lines))).status == 200
        assert FORGED not in origin.connections[0].received
        assert origin.requests[0].get(b"cookie") == b"other=kept"
        assert introspect(origin.requests[0], edge.keys).customer_id is None
        assert (await client.ask(get(b"/browse", *lines))).status == 401


async def test_tokens_never_reach_the_origin() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        pair = edge.keys.cookies(7).encode()
        assert (await client.ask(get(b"/account", b"Cookie: a=1; " + pair, b"Cookie: b=2"))).status == 200
        assert introspect(origin.requests[0], edge.keys).customer_id == 7
        for half in pair.split(b"; "):
            assert half not in origin.connections[0].received


async def test_f7_interleaved_users_on_one_connection_are_never_mixed() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        users = [1, 2, None, 1, None, 3, 2, None]
        pairs = {user: edge.keys.cookies(user, session_id=str(user)).encode() for user in users if user is not None}
        for user in users * 3:
            await client.send(get(b"/echo", *([b"Cookie: " + pairs[user]] if user is not None else [])))
        for _ in users * 3:
            assert (await client.response()).status == 200
        assert [introspect(seen, edge.keys).customer_id for seen in origin.requests] == users * 3


@pytest.mark.parametrize("spelling", [b"X-Passport", b"x_passport", b"Passport-Bin", b"X-Edge-User"])
@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"500 Error", b"304 Not Modified", b"302 Found"])
async def test_x6_nothing_internal_comes_back_on_any_status(spelling: bytes, status: bytes) -> None:
    body = b"" if b"304" in status else b"hello"
    lines = (b"Content-Length: 5", spelling + b": leaked", b"X-Public: 1")
    async with (
        raw_origin(answering(response(status, *lines) + body)) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        raw = await client.receive_until(b"hello" if body else b"\r\n\r\n")
        assert b"leaked" not in raw
        assert b"X-Public: 1" in raw


async def test_x6_the_passport_an_origin_reflects_is_not_told_to_the_device() -> None:
    async def script(connection: object) -> None:
        seen = await connection.request()  # type: ignore[attr-defined]
        value = seen.get(b"x-passport")
        head = response(b"200 OK", b"Transfer-Encoding: chunked", b"X-Debug: " + value, b"X-Passport: " + value)
        chunks = b"5\r\nhello\r\n0\r\nX-Trail: " + value + b"\r\nX-Passport: a\r\nX-Sum: 1\r\n\r\n"
        await connection.send(head + chunks)  # type: ignore[attr-defined]
        await connection.end()  # type: ignore[attr-defined]

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert {name for name, _ in answer.headers} == {b"transfer-encoding"}
        assert answer.trailers == [(b"x-sum", b"1")]


class _GuardThatRaises:
    """A trailer guard that fails."""

    id = "guard"
    on_error = OnError.OPEN
    deadline_s = 1.0
    concurrency = 1

    def inbound(self, exchange: Exchange) -> Verdict:
        """Pass."""
        return CONTINUE

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:
        """Fail."""
        raise RuntimeError("no")


async def test_h7_trailers_that_no_guard_could_see_do_not_pass() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=lambda filters: ([*filters[0], _GuardThatRaises()], filters[1])) as edge,
        connected(edge.port) as client,
    ):
        body = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
        assert (await client.ask(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=body))).status == 200
        assert (origin.requests[0].body, origin.requests[0].trailers) == (b"hello", [])


async def test_x6_early_hints_never_carry_the_passport() -> None:
    async def echoing(connection: OriginConnection) -> None:
        while (seen := await connection.request()) is not None:
            passport = seen.get(b"x-passport") or b""
            hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: <" + passport + b">\r\nX-Passport: 1\r\n\r\n"
            await connection.send(hints + ok(b"done"))

    async with (
        raw_origin(echoing) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, answer.interim) == (200, [(103, [(b"link", b"</a>")])])
