"""A device that is not rolled out: its origin gets what it sent, and what it gets is the origin's own answer."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from edge.contract.dials import Feature
from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.identity import DeviceIdentity, Level, Peeked, Reported, Source
from edge.contract.rollout import Comparison
from filters.outbound.shadow import ShadowFilter
from tests.dials import LEGACY, ON, SHADOW, SHADOWED, TERMINATE, just_in
from tests.edge.raw import (
    OriginConnection,
    RawClient,
    RawOrigin,
    Script,
    answering,
    connected,
    get,
    ok,
    raw_origin,
    request,
    response,
    until,
)
from tests.edge.running import Filters, Keys, RunningEdge, running_edge
from tests.edge.test_identity_headers import SPELLINGS, introspect
from tests.edge.test_upgrade import ACCEPT, KEY, WEBSOCKET

ACCEPTS = "origins.api.accepts_legacy=true"
CALM = "shedding.enabled=false"  # each request counts here, however busy the machine is
# What the edge says as the proxy that it is, in either mode: docs/rollout.md, "What differs".
HOP = frozenset(
    {
        *(b"host", b"via", b"x-request-id", b"x-request-timeout-ms", b"traceparent", b"connection"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
        *(b"content-length", b"transfer-encoding"),
    }
)
every_delivery = pytest.mark.usefixtures("every_delivery")


@asynccontextmanager
async def legacy(
    script: Script, *overrides: str, shadow: bool = False
) -> AsyncIterator[tuple[RawOrigin, RunningEdge, RawClient]]:
    """Run an edge whose dial of termination is off for all, before an origin that accepts that."""
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, ACCEPTS, CALM, *overrides) as edge,
        connected(edge.port) as client,
    ):
        edge.dials.table = SHADOWED if shadow else LEGACY
        yield origin, edge, client


def lines_of(received: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return the first line, the fields that are not the hop's, and the body, as they were received.

    Blanks around a value are not part of it (RFC 9110 section 5.5).
    """
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
    return first, [field for field in fields if field[0].lower() not in HOP], body


def requests_of(keys: Keys) -> dict[str, bytes]:
    """Return what devices send."""
    cookie = b"Cookie: " + keys.cookies().encode()
    expired = b"Cookie: " + keys.cookies(issued_at=int(time.time()) - 50_000).encode()
    odd = (b"X-ODD-case: 1", b"x-twice: a", b"X-Twice: b", b"Accept:*/*", b"X-Empty:", b"X-Blank:  two  blanks ")
    chunked = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    return {
        "pair": get(b"/browse?a=1&a=2", cookie, *odd),
        "pair_in_lines": get(b"/browse", cookie.replace(b"; ", b"\r\ncOOkie: "), b"Cookie: theirs=1; bad cookie"),
        "pair_among_others": get(b"/account", cookie + b'; theirs="a;b"; =; EdgeId2=x', *odd),
        "expired": get(b"/account", expired, *odd),
        "garbage": get(b"/browse", b"Cookie: EdgeId=garbage; SecureEdgeId=%00; EdgeId=twice", *odd),
        "none": get(b"/account", *odd),
        "head": request(b"HEAD", b"/browse", cookie),
        "post": request(b"POST", b"/upload", cookie, b"Content-Length: 5", b"Content-Type: text/X", body=b"hello"),
        "chunked": request(b"POST", b"/upload", cookie, b"Transfer-Encoding: chunked", body=chunked),
    }


NAMES = tuple(requests_of(Keys()))


@every_delivery
@pytest.mark.parametrize("name", NAMES)
async def test_a_legacy_devices_bytes_at_its_origin_are_the_same_with_and_without_the_edge(name: str) -> None:
    answer = ok(b"hello", b"Set-Cookie: EdgeId=theirs; Path=/", b"X-CASE: 1", b"x-twice: a", b"X-Twice: b")
    if name == "head":
        answer = response(b"200 OK", b"Content-Length: 5", b"X-CASE: 1")
    async with legacy(answering(answer)) as (origin, edge, client):
        sent = requests_of(edge.keys)[name]
        method = sent.split(b" ", 1)[0]
        through = await client.ask(sent)
        async with connected(int(origin.address.partition(":")[2])) as straight:
            direct = await straight.ask(sent)
        by_edge, by_device = (bytes(connection.received) for connection in origin.connections)
        if name == "chunked":  # pieces are framed anew, as for every request
            assert origin.requests[0].body == origin.requests[1].body == b"hello world"
            by_edge, by_device = by_edge.partition(b"\r\n\r\n")[0], by_device.partition(b"\r\n\r\n")[0]
        assert lines_of(by_edge) == lines_of(by_device)
        assert origin.requests[0].get(b"host") == origin.requests[1].get(b"host")
        assert (through.status, through.body) == (direct.status, direct.body)
        hop = {b"connection", b"date"}
        assert [each for each in through.headers if each[0] not in hop] == sorted(
            direct.headers, key=lambda each: each[0] == b"content-length"
        )
        assert method == b"HEAD" or through.get(b"set-cookie") == b"EdgeId=theirs; Path=/"
        assert edge.service.calls == 0


@every_delivery
async def test_cookies_in_trailers_do_not_pass_in_legacy_mode_either() -> None:
    chunks = b"Transfer-Encoding: chunked"
    answer = response(b"200 OK", chunks) + b"1\r\na\r\n0\r\nSet-Cookie: EdgeId=late\r\nX-Sum: 1\r\n\r\n"
    async with legacy(answering(answer)) as (origin, _, client):
        body = b"1\r\na\r\n0\r\nCookie: EdgeId=late\r\nX-Check: 2\r\n\r\n"
        through = await client.ask(request(b"POST", b"/upload", chunks, b"TE: trailers", b"Connection: TE", body=body))
        assert origin.requests[0].trailers == [(b"x-check", b"2")]
        assert through.trailers == [(b"x-sum", b"1")]


@every_delivery
@pytest.mark.parametrize("name", SPELLINGS)
async def test_h12_a_client_cannot_say_who_it_is_to_a_legacy_origin_either(name: str) -> None:
    async with legacy(answering(ok())) as (origin, edge, client):
        cookie = b"Cookie: " + edge.keys.cookies().encode()
        assert (await client.ask(get(b"/echo", *SPELLINGS[name], cookie))).status == 200
        assert b"forged" not in origin.connections[0].received
        assert origin.requests[0].all(b"x-passport") == []
        assert origin.requests[0].all(b"cookie") == ([] if name == "h8_nominated_cookie" else [cookie[8:]])


@pytest.mark.parametrize("name", [b"X-Origin-Identity", b"x_origin.identity", b"XOriginIdentity-2"])
async def test_h1_what_a_legacy_origin_would_report_is_never_a_clients_to_say(name: bytes) -> None:
    async with legacy(answering(ok(b"", name + b": v=1, customer=1")), shadow=True) as (origin, edge, client):
        answer = await client.ask(get(b"/echo", name + b": v=1, customer=2"))
        assert origin.requests[0].all(name.lower()) == []
        assert answer.all(name.lower()) == []
        await until(lambda: edge.metrics.stripped_headers == 1)


@every_delivery
async def test_x7_a_passport_that_a_legacy_origin_returns_is_stripped_and_its_actions_are_ignored() -> None:
    async with legacy(answering(ok())) as (origin, edge, client):
        cookie = b"Cookie: " + edge.keys.cookies().encode()
        edge.dials.table = ON
        assert (await client.ask(get(b"/echo", cookie))).status == 200
        (passport,) = origin.requests[0].all(b"x-passport")
        introspect(origin.requests[0], edge.keys)
        edge.dials.table = LEGACY
        origin._script = answering(ok(b"", b"X-Passport: " + passport, b"Passport-Bin: " + passport))
        for connection in origin.connections:
            connection.close()
        await until(lambda: all(connection.ended for connection in origin.connections))
        answer = await client.ask(get(b"/echo", cookie))
        assert answer.status == 200
        assert (answer.all(b"x-passport"), answer.all(b"passport-bin"), answer.all(b"set-cookie")) == ([], [], [])
        assert edge.metrics.actions == {("refused:not_expected",): 1}
        assert edge.service.calls == 0


OURS = (b"Set-Cookie: EdgeId=theirs; Path=/", b"Set-Cookie: SecureEdgeId=theirs; Secure", b"Cache-Control: max-age=60")


@every_delivery
async def test_a_legacy_origin_sets_our_cookies_itself_and_another_one_does_not() -> None:
    async with legacy(answering(ok(b"", *OURS))) as (_, edge, client):
        answer = await client.ask(get(b"/echo"))
        assert answer.all(b"set-cookie") == [b"EdgeId=theirs; Path=/", b"SecureEdgeId=theirs; Secure"]
        assert answer.get(b"cache-control") == b"max-age=60"
        edge.dials.table = ON
        answer = await client.ask(get(b"/echo"))
        assert answer.all(b"set-cookie") == []
        assert edge.metrics.actions == {("cookie:origin_dropped",): 1}


@pytest.mark.parametrize("cookie", ["", "EdgeId=garbage", "pair", "expired"])
async def test_f1_an_origin_that_does_not_accept_legacy_traffic_never_sees_a_raw_cookie(cookie: str) -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        edge.dials.table = SHADOWED
        issued_at = int(time.time()) - (50_000 if cookie == "expired" else 0)
        value = edge.keys.cookies(issued_at=issued_at) if cookie in ("pair", "expired") else cookie
        async with connected(edge.port) as client:
            lines = [b"Cookie: " + value.encode()] if value else []
            assert (await client.ask(get(b"/", *lines))).status == 200
        assert b"EdgeId" not in origin.connections[0].received
        introspect(origin.requests[0], edge.keys)
        assert edge.metrics.rollout.decisions == {}


async def test_the_levels_of_a_route_are_the_legacy_origins_to_enforce() -> None:
    async with legacy(answering(ok())) as (origin, edge, client):
        assert (await client.ask(get(b"/account"))).status == 200
        edge.dials.table = ON
        assert (await client.ask(get(b"/account"))).status == 401
        assert len(origin.requests) == 1


async def test_what_is_metered_of_a_legacy_request() -> None:
    async with legacy(answering(ok())) as (_, edge, client):
        lines = b"Cookie: " + edge.keys.cookies(device_type=4).encode()
        assert (await client.ask(get(b"/echo", lines))).status == 200
        assert (await client.ask(get(b"/echo"))).status == 200
        assert edge.metrics.resolutions == {("none", "legacy", "none"): 2}
        expected = {
            (feature.value, kind, "false"): 1 for feature in (TERMINATE, SHADOW) for kind in ("television", "unknown")
        }
        assert edge.metrics.rollout.decisions == expected
        assert edge.metrics.rollout.comparisons == {}


def slow_origin(go_on: asyncio.Event) -> Script:
    """Return an origin that answers once it may, and then says in a cookie of ours what it was asked."""

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request(head_only=False)) is not None:
            await go_on.wait()
            mode = b"new" if asked.all(b"x-passport") else b"old"
            await connection.send(ok(mode, b"Set-Cookie: EdgeId=" + mode))

    return script


@every_delivery
@pytest.mark.parametrize("began", ["legacy", "rolled_out"])
async def test_f8_a_dial_that_is_turned_midway_changes_neither_half_of_the_exchange(began: str) -> None:
    go_on = asyncio.Event()
    async with legacy(slow_origin(go_on)) as (origin, edge, client):
        if began == "rolled_out":
            edge.dials.table = ON
        cookie = b"Cookie: " + edge.keys.cookies().encode()
        whole = request(b"POST", b"/upload", cookie, b"Content-Length: 10", body=b"0123456789")
        await client.send(whole[:-5])
        await until(lambda: origin.connections and origin.connections[0].received.endswith(b"01234"))
        if began == "legacy":
            edge.dials.table = ON
        else:
            edge.dials.table = LEGACY
        await client.send(whole[-5:])
        await until(lambda: origin.requests and origin.requests[0].body)
        go_on.set()
        answer = await client.response(b"POST")
        if began == "legacy":
            assert (answer.body, answer.all(b"set-cookie")) == (b"old", [b"EdgeId=old"])
            assert origin.requests[0].all(b"cookie") == [cookie[8:]]
        else:
            assert (answer.body, answer.all(b"set-cookie")) == (b"new", [])
            assert origin.requests[0].all(b"cookie") == []
        assert edge.metrics.rollout.decisions.get((TERMINATE.value, "unknown", "false"), 0) == (began == "legacy")


async def test_f8_an_attempt_that_is_made_again_is_made_in_the_mode_of_the_first() -> None:
    edges: list[RunningEdge] = []

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if connection.number == 0:  # serves one, and breaks with the second
            await connection.send(ok())
            await connection.request()
            edges[0].dials.table = ON
            connection.reset()
            return
        await connection.send(ok(b"", OURS[0]))
        await connection.end()

    async with legacy(script) as (origin, edge, client):
        edges.append(edge)
        cookie = b"Cookie: " + edge.keys.cookies().encode()
        assert (await client.ask(get(b"/echo"))).status == 200
        answer = await client.ask(get(b"/echo", cookie))
        assert (answer.status, answer.all(b"set-cookie")) == (200, [OURS[0][12:]])
        first, broken, again = origin.requests
        assert broken.all(b"cookie") == again.all(b"cookie") == [cookie[8:]]
        assert [each.all(b"x-passport") for each in (first, broken, again)] == [[], [], []]
        assert edge.metrics.rollout.decisions[TERMINATE.value, "unknown", "false"] == 2


@every_delivery
async def test_an_upgrade_is_relayed_in_legacy_mode_too() -> None:
    switching = response(
        b"101 Switching Protocols",
        *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Accept: " + ACCEPT),
        *(b"Set-Cookie: EdgeId=theirs", b"X-Passport: theirs", b"X-Origin-Identity: v=1"),
    )

    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(switching)
        while data := await connection.read():
            await connection.send(data)

    async with legacy(script, 'routes.echo.upgrade=["websocket"]', shadow=True) as (origin, edge, client):
        cookie = b"Cookie: " + edge.keys.cookies().encode()
        await client.send(get(b"/echo", cookie, *WEBSOCKET))
        head = await client.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Set-Cookie: EdgeId=theirs\r\n" in head
        assert b"theirs" not in head.replace(b"Set-Cookie: EdgeId=theirs", b"")
        assert b"identity" not in head.lower()
        await client.send(b"\x81\x05hello")
        assert await client.receive(7) == b"\x81\x05hello"
        assert origin.requests[0].all(b"cookie") == [cookie[8:]]
        assert origin.requests[0].all(b"x-passport") == []
        assert origin.requests[0].get(b"sec-websocket-key") == KEY
        assert edge.metrics.rollout.comparisons == {("unknown", "cookie", "only_new"): 1}


@every_delivery
async def test_a_304_and_a_failure_of_the_origin_pass_as_they_are() -> None:
    failed = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\nSet-Cookie: EdgeId=gone; Max-Age=0\r\n\r\nfail"
    answers = answering(response(b"304 Not Modified", b"ETag: x", OURS[0]), failed)
    async with legacy(answers) as (_, _, client):
        answer = await client.ask(get(b"/echo", b"If-None-Match: x"))
        assert (answer.status, answer.all(b"set-cookie"), answer.get(b"etag")) == (304, [OURS[0][12:]], b"x")
        answer = await client.ask(get(b"/echo"))
        assert (answer.status, answer.body, answer.all(b"set-cookie")) == (500, b"fail", [b"EdgeId=gone; Max-Age=0"])


async def test_the_edges_own_error_pages_set_no_cookie_in_legacy_mode() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        connection.reset()

    async with legacy(script, shadow=True) as (_, edge, client):
        expired = edge.keys.cookies(issued_at=int(time.time()) - 50_000)
        answer = await client.ask(get(b"/echo", b"Cookie: " + expired.encode()))
        assert (answer.status, answer.all(b"set-cookie")) == (502, [])
        big = request(b"POST", b"/upload", b"Cookie: " + expired.encode(), b"Content-Length: 99999999999")
        answer = await client.ask(big)
        assert (answer.status, answer.all(b"set-cookie")) == (413, [])
        assert (edge.service.calls, edge.metrics.rollout.comparisons) == (0, {})


class _Raises:
    """A rollout that is broken."""

    id = "rollout"
    on_error = OnError.CLOSED
    deadline_s = 1.0
    concurrency = 1

    def inbound(self, exchange: Exchange) -> Verdict:
        """Fail."""
        raise RuntimeError(exchange.id)


class _SkipsScrub(_Raises):
    """A filter of responses that would have those behind it skipped."""

    id = "shadow"

    def outbound(self, exchange: Exchange) -> Verdict:
        """Answer as only filters of requests may."""
        from edge.contract.filters import LEGACY

        return LEGACY  # type: ignore[return-value]


async def test_f1_a_rollout_that_fails_closes_the_way_to_a_legacy_origin() -> None:
    def broken(filters: Filters) -> Filters:
        inbound, outbound = filters
        return [inbound[0], _Raises(), *inbound[2:]], outbound

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, ACCEPTS, change=broken) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/", b"Cookie: EdgeId=x"))).status == 500
        assert origin.requests == []


async def test_f1_no_response_gets_past_the_scrub_by_that_verdict() -> None:
    def broken(filters: Filters) -> Filters:
        inbound, outbound = filters
        return inbound, [_SkipsScrub(), *outbound[1:]]

    async with (
        raw_origin(answering(ok(b"", b"X-Passport: theirs"))) as origin,
        running_edge(origin.address, ACCEPTS, change=broken) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, answer.all(b"x-passport")) == (500, [])


class _Incomparable(str):
    """A serial number that fails to be compared."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("a secret")


class _Breaks(_Raises):
    """Gives `shadow` something to compare with that cannot be."""

    def outbound(self, exchange: Exchange) -> Verdict:
        """Put it there."""
        assert exchange.shadow is not None
        device = DeviceIdentity(Source.COOKIE, Level.HIGH, _Incomparable("NFTV-1"))
        exchange.shadow = Peeked(exchange.shadow.user, device, "cookie", settled=True)
        return CONTINUE


class _CannotCount:
    """Whoever counts, and cannot."""

    def decided(self, feature: Feature, device_type: int, *, on: bool) -> None:
        """Fail."""
        raise RuntimeError("a secret")

    def compared(self, exchange: Exchange, peeked: Peeked, reported: Reported | None, result: Comparison) -> None:
        """Fail."""
        raise RuntimeError("a secret")


def _unchanged(filters: Filters) -> Filters:
    return filters


def _shadowed_by_what_cannot_be(filters: Filters) -> Filters:
    return filters[0], [_Breaks(), *filters[1]]


def _not_counted(filters: Filters) -> Filters:
    return filters[0], [ShadowFilter(_CannotCount()), *filters[1][1:]]


@every_delivery
@pytest.mark.parametrize(
    ("broken", "counted"),
    [(_shadowed_by_what_cannot_be, {("unknown", "cookie", "failed"): 2}), (_not_counted, {})],
    ids=["comparing", "counting"],
)
async def test_a_shadow_that_fails_changes_nothing_of_the_answer_and_is_heard_of(
    broken: Callable[[Filters], Filters], counted: dict[tuple[str, str, str], int]
) -> None:
    reported = b'X-Origin-Identity: v=1, customer=7, esn="NFTV-1"'
    answer = ok(b"hello", reported, b"Set-Cookie: EdgeId=theirs", b"X-CASE: 1", b"X-Passport: theirs")
    seen = []
    async with raw_origin(answering(answer)) as origin:
        for change in (_unchanged, broken):
            async with (
                running_edge(origin.address, ACCEPTS, CALM, change=change) as edge,
                connected(edge.port) as client,
            ):
                edge.dials.table = SHADOWED
                asked = get(b"/echo", b"Cookie: " + edge.keys.cookies(customer_id=7).encode())
                with capture_logs() as logs:
                    for _ in range(2):
                        got = await client.ask(asked)
                        seen.append((got.status, got.body, [each for each in got.headers if each[0] != b"date"]))
                if change is broken:
                    assert edge.metrics.rollout.comparisons == counted
                    assert edge.metrics.refusals == {}
                    failed = [each for each in logs if each["event"] == "filter_failed"]
                    assert [each["where"] for each in failed] == ["shadow", "shadow"]
                    assert "a secret" not in str(logs)
    assert seen == [seen[0]] * 4
    assert seen[0][0] == 200
    assert {b"set-cookie", b"x-case"} <= {name for name, _ in seen[0][2]}
    assert not {b"x-passport", b"x-origin-identity"} & {name for name, _ in seen[0][2]}


async def test_f1_no_filter_that_waits_can_have_those_behind_it_skipped() -> None:
    class Later(_Raises):
        verdict: object = None

        async def later(self, exchange: Exchange) -> Verdict:
            await asyncio.sleep(0)
            return self.verdict  # type: ignore[return-value]

        def inbound(self, exchange: Exchange) -> Verdict:
            return self.later(exchange)  # type: ignore[return-value]

    later = Later()
    of_no_use = later.later(None)  # type: ignore[arg-type]

    def change(filters: Filters) -> Filters:
        inbound, outbound = filters
        return [inbound[0], later, *inbound[1:]], outbound

    from edge.contract.filters import LEGACY as LEGACY_VERDICT

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, ACCEPTS, change=change) as edge,
        connected(edge.port) as client,
    ):
        for verdict, status in ((CONTINUE, 401), (LEGACY_VERDICT, 500), ("nonsense", 500), (of_no_use, 500)):
            later.verdict = verdict
            assert (await client.ask(get(b"/echo", b"Cookie: EdgeId=x"))).status == status
        assert origin.requests == []
    of_no_use.close()


# Shadow.

TYPES = {0: "unknown", 1: "browser", 2: "phone", 4: "television"}
REPORTS: dict[str, bytes] = {
    "other_user": b'v=1, customer=%d1, esn="%b", level=high',
    "other_device": b'v=1, customer=%d, esn="%b-X", level=high',
    "other_level": b'v=1, customer=%d, esn="%b", level=low',
    "only_new": b'v=1, esn="%.0d%b"',
    "unreadable": b'customer=%d; esn="%b"',
}
RIGHT = b'v=1, customer=%d, esn="%b", level=high'


def reporting(answers: dict[bytes, bytes]) -> Script:
    """Return an origin that reports for each path what the test has written down."""

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            said = answers[asked.target]
            await connection.send(ok(b"", *([b"X-Origin-Identity: " + said] if said else [])))

    return script


async def test_seeded_wrong_identities_are_all_found_by_class_and_device_type_and_none_is_invented() -> None:
    number, wrong = 1000, 10
    seeded = random.Random(1)  # noqa: S311 - the same ones each time
    plan: dict[int, str] = {}
    for place, each in enumerate(seeded.sample(range(number), wrong)):
        plan[each] = sorted(REPORTS)[place % len(REPORTS)]
    answers: dict[bytes, bytes] = {}
    expected: Counter[tuple[str, str, str]] = Counter()
    async with legacy(reporting(answers), "shadow.max_samples_per_s=1000", shadow=True) as (_, edge, client):
        local = "listener.local_plain_http"
        assert edge.engine._context.snapshot.listener.local_plain_http, local
        with capture_logs() as logs:
            for turn in range(number):
                customer_id, esn = 1000 + turn % 50, f"NF-{turn % 50}"
                device_type = (0, 1, 2, 4)[turn % 4]
                result = plan.get(turn, "same")
                target = b"/echo?turn=%d" % turn
                answers[target] = REPORTS.get(result, RIGHT) % (customer_id, esn.encode())
                pair = edge.keys.cookies(customer_id, esn=esn, device_type=device_type)
                answer = await client.ask(get(target, b"Cookie: " + pair.encode()))
                assert (answer.status, answer.all(b"x-origin-identity")) == (200, [])
                expected[TYPES[device_type], "cookie", result] += 1
        assert edge.metrics.rollout.comparisons == expected
        assert sum(count for key, count in expected.items() if key[2] != "same") == wrong
        found = [each for each in logs if each["event"] == "shadow_difference"]
        assert Counter(each["result"] for each in found) == Counter(plan.values())
        text = repr(found)
        assert "NF-" not in text
        assert not any(str(1000 + each % 50) in repr((line["edge"], line["legacy"])) for each in plan for line in found)


async def test_a_sample_shows_both_sides_under_the_hashes_of_the_access_log_and_no_more_than_allowed() -> None:
    answers = {b"/echo": REPORTS["other_user"] % (7, b"NFCDCH-02-TEST")}
    async with legacy(reporting(answers), "shadow.max_samples_per_s=2", shadow=True) as (_, edge, client):
        cookie = b"Cookie: " + edge.keys.cookies(device_type=4).encode()
        with capture_logs() as logs:
            for _turn in range(40):
                assert (await client.ask(get(b"/echo", cookie))).status == 200
        found = [each for each in logs if each["event"] == "shadow_difference"]
        assert 2 <= len(found) < 40
        assert edge.metrics.rollout.comparisons == {("television", "cookie", "other_user"): 40}
        assert edge.metrics.rollout.samples_dropped == 40 - len(found)
        one = found[0]
        assert (one["result"], one["device_type"], one["route"], one["origin"]) == (
            "other_user",
            "television",
            "echo",
            "api",
        )
        assert one["edge"]["user"] != one["legacy"]["user"]
        assert one["edge"]["device"] == one["legacy"]["device"] != ""
        assert (one["edge"]["level"], one["legacy"]["level"]) == ("high", "high")
        assert len(one["id"]) == 32


@pytest.mark.parametrize(
    ("cookie", "report", "key"),
    [
        ("", b"v=1", ("unknown", "none", "same")),
        ("", b"v=1, customer=7", ("unknown", "none", "only_old")),
        ("", b"", ("unknown", "none", "unreported")),
        ("garbage", b"v=1", ("unknown", "cookie", "same")),
        ("garbage", b"v=1, customer=7", ("unknown", "cookie", "only_old")),
        ("expired", b"v=1", ("unknown", "cookie", "not_compared")),
        ("expired", b"v=1, customer=8", ("unknown", "cookie", "not_compared")),
        ("expired", b"nonsense", ("unknown", "cookie", "unreadable")),
        ("pair", b"", ("unknown", "cookie", "unreported")),
        ("pair", b"v=1", ("unknown", "cookie", "only_new")),
        ("insecure", b'v=1, customer=7, esn="NFCDCH-02-TEST", level=high', ("unknown", "cookie", "other_level")),
        ("insecure", b'v=1, customer=7, esn="NFCDCH-02-TEST", level=low', ("unknown", "cookie", "same")),
    ],
)
async def test_what_is_compared_for_each_kind_of_token(cookie: str, report: bytes, key: tuple[str, ...]) -> None:
    async with legacy(reporting({b"/echo": report}), shadow=True) as (origin, edge, client):
        issued_at = int(time.time()) - (50_000 if cookie == "expired" else 0)
        value = edge.keys.cookies(issued_at=issued_at)
        value = {"": "", "garbage": "EdgeId=garbage", "insecure": value.partition(";")[0]}.get(cookie, value)
        lines = [b"Cookie: " + value.encode()] if value else []
        answer = await client.ask(get(b"/echo", *lines))
        assert (answer.status, answer.all(b"x-origin-identity"), answer.all(b"set-cookie")) == (200, [], [])
        assert origin.requests[0].all(b"cookie") == [line[8:] for line in lines]
        assert edge.metrics.rollout.comparisons == {key: 1}
        assert edge.service.calls == 0


async def test_nothing_is_compared_where_termination_is_on() -> None:
    async with legacy(reporting({b"/echo": b"v=1, customer=8"}), shadow=True) as (_, edge, client):
        edge.dials.table = just_in(b"NFCDCH-02-TEST")
        answer = await client.ask(get(b"/echo", b"Cookie: " + edge.keys.cookies().encode()))
        assert answer.all(b"x-origin-identity") == []
        assert edge.metrics.rollout.comparisons == {}
