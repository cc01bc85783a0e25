"""Which route a request takes, and that no spelling of a guarded path takes the route of an open one."""

import timeit
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.contract.identity import Level
from edge.contract.reasons import Reason
from edge.contract.route import AuthPolicy, Route
from edge.control.load import load_config
from edge.control.routes import Entry, RouteTable
from edge.control.snapshot import Snapshot
from tests.control.conftest import SHIPPED


def route(name: str) -> Route:
    return Route(name, "api", AuthPolicy(Level.LOW, Level.UNSPECIFIED), False, 1, 1.0, 1.0, 1.0)


def entry(
    name: str, path: str, *, exact: bool = False, hosts: tuple[bytes, ...] | None = None, methods: str = ""
) -> Entry:
    named = tuple(method.encode() for method in methods.split()) or None
    return Entry(route(name), path.encode(), exact=exact, hosts=hosts, methods=named)


def found(table: RouteTable, path: bytes, method: bytes = b"GET", host: bytes = b"any.example") -> str:
    """Return the id of the route, or of the reason."""
    matched = table.match(host, path, method)
    return matched.id if isinstance(matched, Route) else matched.value


TABLE = RouteTable(
    [
        entry("root", "/"),
        entry("account", "/account"),
        entry("password", "/account/settings/password"),
        entry("browse-exact", "/browse", exact=True),
        entry("films", "/films"),
        entry("film-search", "/films", exact=True),
    ]
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/", "root"), (b"/other", "root"), (b"/other/", "root"), (b"", "root"), (b"*", "no_route"),
        (b"/account", "account"), (b"/account/", "account"), (b"/account/x", "account"), (b"/account//", "account"),
        (b"/accounts", "root"), (b"/accoun", "root"), (b"/Account", "root"), (b"/x/account", "root"),
        (b"/account/settings", "account"), (b"/account/settings/password", "password"),
        (b"/account/settings/password/x", "password"), (b"/account/settings/passwords", "account"),
        (b"/browse", "browse-exact"), (b"/browse/", "browse-exact"), (b"/browse/x", "root"),
        (b"/films", "film-search"), (b"/films/", "film-search"), (b"/films/x", "films"),
    ],
)  # fmt: skip
def test_the_longest_path_in_whole_segments_wins(path: bytes, name: str) -> None:
    assert found(TABLE, path) == name


def test_without_a_root_a_path_that_matches_nothing_has_no_route() -> None:
    table = RouteTable([entry("account", "/account")])
    assert found(table, b"/") == found(table, b"/accounts") == "no_route"
    assert table.match(b"h", b"/x", b"GET") is Reason.NO_ROUTE


def test_p11_a_method_that_is_not_named_never_falls_back_to_a_shorter_path() -> None:
    table = RouteTable(
        [entry("root", "/"), entry("read", "/a", methods="GET"), entry("write", "/a", methods="POST PUT")]
    )
    assert found(table, b"/a/b", b"GET") == found(table, b"/a", b"HEAD") == "read"
    assert found(table, b"/a", b"PUT") == "write"
    for method in (b"DELETE", b"OPTIONS", b"get", b"TRACE", b"", b"X" * 100):
        assert table.match(b"h", b"/a", method) is Reason.METHOD_NOT_ALLOWED
    assert found(table, b"/b", b"DELETE") == "root"
    assert table.allowed(b"h", b"/a/b") == (b"GET", b"HEAD", b"POST", b"PUT")
    assert table.allowed(b"h", b"/b") == ()


def test_a_route_for_head_wins_over_the_get_routes_own() -> None:
    for rows in (("HEAD", "GET"), ("GET", "HEAD")):
        table = RouteTable([entry(name, "/a", methods=name) for name in rows])
        assert found(table, b"/a", b"HEAD") == "HEAD"


def test_a_host_has_its_own_routes_and_no_others() -> None:
    table = RouteTable([
        entry("any", "/"), entry("admin", "/admin", hosts=(b"admin.example",)),
        entry("wide", "/", hosts=(b"*.example",)), entry("deep", "/", hosts=(b"*.eu.example", b"[::1]")),
    ])  # fmt: skip
    assert found(table, b"/admin", host=b"admin.example") == "admin"
    assert found(table, b"/", host=b"admin.example") == "no_route"
    assert found(table, b"/", host=b"www.example") == "wide"
    assert found(table, b"/", host=b"a.b.eu.example") == "deep"
    assert found(table, b"/", host=b"[::1]") == "deep"
    assert found(table, b"/", host=b"example") == found(table, b"/", host=b"") == found(table, b"/", host=b".") == "any"


@pytest.mark.parametrize(
    "path",
    [
        b"/%61ccount", b"/a%63count/x", b"/account;x=1", b"/account;x=1/y", b"/account%3bx", b"/accoun%74;x",
        b"/;x/account", b"/;a/;b/account", b"/account%2Fx", b"/account/settings/password;v=1",
    ],
)  # fmt: skip
def test_p1_p3_a_spelling_that_two_parties_route_differently_is_ambiguous(path: bytes) -> None:
    assert TABLE.match(b"h", path, b"GET") is Reason.AMBIGUOUS_PATH


def test_a_spelling_on_which_all_readings_agree_takes_its_route() -> None:
    assert found(TABLE, b"/account/caf%C3%A9;x=1/b%20c") == "account"
    assert found(TABLE, b"/films/100%25") == "films"
    assert found(TABLE, b"/other%20path") == "root"


@given(st.text("acount/;%6125x.", max_size=24).map(lambda text: b"/" + text.encode()))
@example(b"/%61ccount")
@example(b"/account;")
def test_no_spelling_of_a_guarded_path_takes_an_open_route(path: bytes) -> None:
    """What an origin reads as below /account has the guarded route, or none."""
    table = RouteTable([entry("open", "/"), entry("guarded", "/account")])
    read = (path, unquote_to_bytes(path), path.partition(b";")[0], unquote_to_bytes(path).partition(b";")[0])
    if any(spelling == b"/account" or spelling.startswith(b"/account/") for spelling in read):
        assert found(table, path) != "open"


def test_a_route_path_beyond_ascii_matches_its_encoded_form() -> None:
    table = RouteTable([entry("café", "/café"), entry("root", "/")])
    assert found(table, b"/caf%C3%A9/x") == found(table, b"/caf%c3%a9") == "café"
    assert found(table, b"/%63af%C3%A9") == "ambiguous_path"
    assert found(table, b"/caf%C3") == "root"


def test_d3_a_target_made_of_slashes_costs_no_more_than_the_longest_path() -> None:
    long = b"/" * 65_536
    assert found(TABLE, long) == "root"
    assert min(timeit.repeat(lambda: TABLE.match(b"h", long, b"GET"), number=10, repeat=5)) / 10 < 1e-3


def test_the_shipped_routes_match_in_microseconds() -> None:
    snapshot = load_config(SHIPPED, var=Path("/v"))
    assert isinstance(snapshot, Snapshot)
    match = snapshot.routes.match
    # Many short turns: on a busy machine, one of them has the core to itself.
    assert min(timeit.repeat(lambda: match(b"h", b"/account", b"GET"), number=100, repeat=140)) / 100 < 5e-6
    assert min(timeit.repeat(lambda: match(b"h", b"/browse/a/b", b"GET"), number=100, repeat=140)) / 100 < 10e-6


def test_a_table_lists_its_routes_in_order_and_by_id() -> None:
    assert [listed.id for listed in TABLE.all][:2] == ["root", "account"]
    assert TABLE.by_id["films"].origin == "api"
    assert repr(RouteTable([entry("a", "/")])) == "RouteTable(a)"
