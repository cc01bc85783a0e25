"""One path for rule, log and origin: what can be read in two ways is refused, or has one normal form."""

from pathlib import Path

import pytest

from tests.edge.raw import answering, connected, get, ok, raw_origin, request
from tests.edge.running import running_edge

pytestmark = pytest.mark.usefixtures("every_delivery")

TRICKS = [
    *(b"/public/../account", b"/public/%2e%2e/account", b"/%2E%2e%2faccount", b"/..%2faccount", b"/%252e%252e/account"),
    *(b"//account", b"/\\account", b"/%5caccount", b"/%2faccount", b"/echo//account"),
    *(b"/.;/account", b"/..;/account", b"/echo;/../account", b"/account;x=1", b"/account%3bx"),
    *(b"/account#/public", b"/account%23", b"/account%3f"),
    *(b"/%c0%ae%c0%ae/account", b"/account%00", b"/%zz", b"/%", b"/%u002e/account", b"/account\xff", b"/%ff"),
    *(b"*", b"account", b"", b"http:/account", b"ftp://edge.test/account", b"http://", b"http://edge.test"),
]
# Paths that are not one of the routes with a policy, and that no party reads as one: they pass as they came.
HARMLESS = [
    b"/?/../account",
    b"/?x=%zz%00",
    b"/a%20b",
    b"/.well-known/x",
    b"/a:b@c",
    b"/?a=//b\\c",
    b"/ACCOUNTS",
    b"/%E2%82%AC",
]


@pytest.mark.parametrize("target", TRICKS)
async def test_p1_to_p8_a_path_with_two_readings_never_reaches_a_guarded_page(target: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(target))
        if target == b"http://edge.test":
            assert (answer.status, origin.requests[0].target) == (200, b"/")
        else:
            assert answer.status in {400, 401}
            assert origin.requests == []


@pytest.mark.parametrize("target", HARMLESS)
async def test_p5_p9_a_target_with_one_reading_passes_byte_for_byte(target: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(target))).status == 200
        assert origin.requests[0].target == target


@pytest.mark.parametrize(
    "target", [b"/account", b"/account/", b"/account/x", b"/%61ccount", b"/accoun%74/x", b"/account?x"]
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PROPFIND"])
async def test_p9_p11_a_guarded_path_is_guarded_in_each_spelling_and_method(target: bytes, method: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(method, target))
        assert answer.status == 401
        assert origin.requests == []


@pytest.mark.parametrize("signed_in", [False, True])
async def test_p12_a_preflight_is_a_request_like_any_other(signed_in: bool) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        lines = [b"Origin: https://evil.test", b"Access-Control-Request-Method: POST"]
        if signed_in:
            lines.append(b"Cookie: " + edge.keys.cookies(7).encode())
        answer = await client.ask(request(b"OPTIONS", b"/account", *lines))
        assert answer.status == (200 if signed_in else 401)
        assert len(origin.requests) == signed_in
        assert answer.get(b"access-control-allow-origin") is None


@pytest.mark.parametrize("path", [b"/health", b"/healthz", b"/ready", b"/metrics", b"/ping", b"/account/health"])
@pytest.mark.parametrize("agent", [b"kube-probe/1.29", b"ELB-HealthChecker/2.0", b"GoogleHC/1.0"])
async def test_p13_nothing_that_looks_like_a_health_check_passes_without_the_chain(path: bytes, agent: bytes) -> None:
    async with (
        raw_origin(answering(ok(b"the origin's"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(path, b"User-Agent: " + agent))
        if path.startswith(b"/account"):
            assert (answer.status, origin.requests) == (401, [])
        else:  # not the edge's own page: that is on another listener
            assert answer.body == b"the origin's"
            assert origin.requests[0].get(b"x-passport") is not None


@pytest.mark.parametrize("method", [b"get", b"Get", b"BREW", b"G\xc9T", b"GET\x00"])
async def test_p11_a_method_that_is_none_is_a_400(method: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(method, b"/echo"))
        assert (await client.response()).status == 400
        assert origin.requests == []


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://edge.test/echo", b"edge.test", 200),
        (b"HTTP://EDGE.test/echo?a", b"edge.TEST", 200),
        (b"http://other.test/echo", b"edge.test", 400),
        (b"http://edge.test:81/echo", b"edge.test", 400),
        (b"http://user@edge.test/echo", b"edge.test", 400),
        (b"http://edge.test/../account", b"edge.test", 400),
        (b"http://edge.test//account", b"edge.test", 400),
        (b"https://edge.test/echo", b"edge.test", 200),
    ],
)
async def test_p7_an_absolute_target_must_name_the_host_that_host_names(
    target: bytes, host: bytes, status: int
) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(target, host=host))
        assert answer.status == status
        if status == 200:
            assert origin.requests[0].target.startswith(b"/echo")
            assert origin.requests[0].get(b"host") == b"edge.test"


@pytest.mark.parametrize(
    "host", [b"edge.test.", b"user@edge.test", b"edge.test:port", b"edge.test,other", b"", b"[::1", b"\xc3\xa9.test"]
)
async def test_p7_a_host_that_is_none_is_a_400(host: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(host=host))).status == 400
        assert origin.requests == []


@pytest.mark.parametrize("size", [8 * 1024, 16 * 1024, 64 * 1024])
async def test_p14_a_very_long_path_is_refused(size: int) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(b"/" + b"a" * size))
        assert answer.status in {414, 431}
        assert await client.rest() == b""
        assert origin.requests == []


ROUTES = """
routes:
  - {id: open, path: /, origin: api, auth: {user: none, device: none}, normalise_path: true}
  - {id: guarded, path: /account, origin: api, auth: {user: high, device: none}, normalise_path: true}
  - {id: strict, path: /strict, origin: api, auth: {user: none, device: none}}
"""


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve other routes from a copy of the repository's config."""
    from tests.edge import running

    for file in running.CONFIG.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "routes.yaml").write_text(ROUTES)
    monkeypatch.setattr(running, "CONFIG", tmp_path)


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize(
    ("target", "status", "seen"),
    [
        (b"/a/../b?q=/../c", 200, b"/b?q=/../c"),
        (b"//a///b", 200, b"/a/b"),
        (b"/a%2fb", 200, b"/a/b"),
        (b"/a\\b", 200, b"/a/b"),
        (b"/a;x=1/b", 200, b"/a/b"),
        (b"/%2e%2e/%2e/a", 200, b"/a"),
        (b"/x/../account", 401, None),
        (b"/x/%2e%2e/account", 401, None),
        (b"//account", 401, None),
        (b"/;/account", 401, None),
        (b"/account/../open", 200, b"/open"),
        (b"/x/../strict", 400, None),
        (b"/%252e%252e/account", 400, None),
        (b"/a%00", 400, None),
        (b"/%c0%ae", 400, None),
        (b"http://edge.test/a/../account", 401, None),
        (b"http://edge.test//b", 200, b"/b"),
    ],
)
async def test_p1_a_route_that_normalises_gives_rule_and_origin_the_same_form(
    target: bytes, status: int, seen: bytes | None
) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(target))
        assert answer.status == status
        assert [asked.target for asked in origin.requests] == ([] if seen is None else [seen])


async def test_p14_long_targets_are_not_remembered() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        for target in (b"/short", b"/" + b"a" * 8000, b"/?" + b"q" * 300):
            assert (await client.ask(get(target))).status == 200
        assert [key[0] for key in edge.engine._known_targets] == [b"/short"]
