"""A configuration that is wrong is refused whole: every error at once, each with its place, never a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.control.errors import ConfigError, ConfigErrors, render_errors
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from tests.control.conftest import SHIPPED

FILES = ("edge", "routes", "origins", "grants", "device_types")
ROUTE = "{id: a, path: /a, origin: api, auth: {user: none, device: none}}"


def errors_of(directory: Path, *overrides: str) -> list[ConfigError]:
    found = load_config(directory, overrides)
    assert isinstance(found, ConfigErrors), "loaded"
    assert found.errors
    return sorted(found.errors)


def only(directory: Path, *overrides: str) -> ConfigError:
    (error,) = errors_of(directory, *overrides)
    return error


def replace(directory: Path, name: str, old: str, new: str) -> None:
    path = directory / f"{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def line_of(directory: Path, name: str, text: str) -> int:
    lines = (directory / f"{name}.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_an_error_names_file_line_and_key(directory: Path) -> None:
    replace(directory, "routes", "user: high", "user: hihg")
    error = only(directory)
    assert error.file == str(directory / "routes.yaml")
    assert error.line == line_of(directory, "routes", "hihg")
    assert error.place == "routes[4].auth.user"
    assert error.message == "must be 'none', 'low', 'high' or 'highest'"
    assert str(error) == f"{error.file}:{error.line}: routes[4].auth.user: {error.message}"


def test_all_errors_of_all_files_come_together(directory: Path) -> None:
    replace(directory, "routes", "origin: api", "origin: apu")
    replace(directory, "edge", "id: edge-1", "id: Edge 1")
    replace(directory, "grants", "USER_LOGIN", "USER_LOGN")
    (directory / "device_types.yaml").write_text("device_types: {0: browser}")
    places = [error.place for error in errors_of(directory)]
    assert places == ["device_types[0]", "edge.id", "grants.passport-auth.actions[0]", "routes[0].origin"]


def test_the_printed_form_is_sorted_counted_and_one_line_each() -> None:
    listed = [ConfigError("b", 1, "", "is\nempty"), ConfigError("a", 10, "x", "n"), ConfigError("a", 2, "y.z", "m")]
    assert render_errors(listed).splitlines() == [
        "a:2: y.z: m", "a:10: x: n", "b:1: is\\nempty", "3 errors in the configuration.",
    ]  # fmt: skip
    assert str(ConfigErrors((listed[0],))).endswith("1 error in the configuration.")


def test_a4_control_characters_of_a_key_are_escaped(directory: Path) -> None:
    replace(directory, "edge", "  id: edge-1", '  id: edge-1\n  "a\\e[31m\\r\\nb": 1')
    text = render_errors(errors_of(directory))
    assert "\x1b" not in text
    assert "\r" not in text
    assert "edge.a\\x1b[31m\\r\\nb: is not a known key" in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- 1\n", "must be a mapping"),
        (b"text", "must be a mapping"),
        (b"a: [1, 2", "is not valid YAML"),
        (b"a: 1\n\tb: 2\n", "is not valid YAML"),
        (b"a: \xff\xfe\n", "is not UTF-8 text (byte 3)"),
        (b"a: 1\n---\nb: 2\n", "single document"),
        (b"a: \x00", "does not allow"),
        (b"[" * 5000, "nested deeper than 32 levels"),
        (b"a: " + b"x" * (1 << 20), "is longer than"),
    ],
)
def test_a6_a_broken_empty_or_half_written_file_is_an_error(
    directory: Path, name: str, content: bytes, says: str
) -> None:
    (directory / f"{name}.yaml").write_bytes(content)
    error = only(directory)
    assert error.file == str(directory / f"{name}.yaml")
    assert says in error.message


@pytest.mark.parametrize("name", FILES)
def test_a6_a_file_cut_off_anywhere_never_raises(directory: Path, name: str) -> None:
    path = directory / f"{name}.yaml"
    whole = path.read_bytes()
    for end in range(0, len(whole), 17):
        path.write_bytes(whole[:end])
        found = load_config(directory)
        assert isinstance(found, Snapshot | ConfigErrors)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / f"{name}.yaml").unlink()
    error = only(directory)
    assert error.file.endswith(f"{name}.yaml")
    assert error.message == "not found: every config directory needs this file"


def test_a_missing_directory_and_a_directory_for_a_file_are_errors(directory: Path, tmp_path: Path) -> None:
    assert "is not a directory" in only(tmp_path / "nowhere").message
    (directory / "edge.yaml").unlink()
    (directory / "edge.yaml").mkdir()
    assert "cannot be read" in only(directory).message


def test_a7_an_unknown_key_is_refused_and_the_likely_one_named(directory: Path) -> None:
    replace(directory, "edge", "local_plain_http", "local_plain_htp")
    error = only(directory)
    assert error.place == "listener.local_plain_htp"
    assert error.message == "is not a known key: did you mean local_plain_http?"


def test_a7_an_unknown_section_and_an_unknown_filter_are_refused(directory: Path) -> None:
    path = directory / "edge.yaml"
    path.write_text(path.read_text() + "tls: {verify: false}\nfilters: {renw: {deadline_s: 1}}\n")
    first, second = errors_of(directory)
    assert (first.place, second.place) == ("tls", "filters.renw")
    assert "known are edge, listener, admin" in first.message
    assert "did you mean renew?" in second.message


def test_a8_a_route_without_an_auth_policy_is_refused(directory: Path) -> None:
    (directory / "routes.yaml").write_text("routes:\n  - {id: a, path: /, origin: api}\n")
    error = only(directory)
    assert (error.line, error.place, error.message) == (2, "routes[0].auth", "is missing: add it")


@pytest.mark.parametrize("missing", ["user", "device"])
def test_a8_an_auth_policy_must_name_both_levels(directory: Path, missing: str) -> None:
    (directory / "routes.yaml").write_text(f"routes: [{ROUTE}]".replace(f"{missing}: none", "on_bad_token: refuse"))
    assert only(directory).place == f"routes[0].auth.{missing}"


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "::ffff:0:0/96", "::ffff:10.0.0.0/104"]
)
def test_a9_trusting_everybody_as_a_proxy_is_refused(directory: Path, network: str) -> None:
    error = only(directory, f'listener.trusted_proxies=["{network}"]')
    assert error.place == "listener.trusted_proxies[0]"
    assert error.file == "--set listener.trusted_proxies"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "fe80::1%eth0", "host", "10.0.0.0/33", "", "5"])
def test_h16_a_network_that_can_be_misread_is_refused(directory: Path, network: str) -> None:
    assert "must be a network" in only(directory, f"listener.trusted_proxies=['{network}']").message


def test_a1_an_admin_listener_off_loopback_must_be_asked_for(directory: Path) -> None:
    assert only(directory, "admin.address=0.0.0.0:8081").place == "admin.beyond_loopback"
    allowed = load_config(directory, ["admin.address=0.0.0.0:8081", "admin.beyond_loopback=true"])
    assert isinstance(allowed, Snapshot)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "10.1.2.3:80", "[::]:8080", "[2001:db8::1]:80"])
def test_plain_http_cookies_are_for_loopback_only(directory: Path, address: str) -> None:
    error = only(directory, f"listener.address='{address}'")
    assert error.place == "listener.local_plain_http"
    assert "loopback" in error.message


@pytest.mark.parametrize("section", ["edge", "limits", "timeouts", "services"])
@pytest.mark.parametrize("value", ["", "5", "text", "[]", "true"])
def test_a_section_that_is_no_mapping_is_an_error(directory: Path, section: str, value: str) -> None:
    assert only(directory, f"{section}={value}").message.startswith("must be a mapping of keys")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("edge.workers", "'2'", "must be a whole number"),
        ("edge.workers", "true", "must be a whole number"),
        ("edge.workers", "1.5", "must be a whole number"),
        ("edge.workers", "-1", "greater than or equal to 0"),
        ("edge.trust_domain", "5", "must be a text"),
        ("timeouts.idle_s", "0", "greater than 0"),
        ("timeouts.idle_s", "1e999", "finite"),
        ("timeouts.idle_s", ".nan", "must be a number"),
        ("timeouts.idle_s", "30s", "must be a number"),
        ("listener.local_plain_http", "yes", "must be true or false"),
        ("listener.local_plain_http", "1", "must be true or false"),
        ("listener.address", "8080", "must be HOST:PORT"),
        ("listener.address", "localhost:8080", "must be an IP address"),
        ("listener.address", "127.0.0.1:65536", "at most 65535"),
        ("listener.address", "'[1.2.3.4.5]:1'", "IPv6 address"),
        ("admin.address", "127.0.0.1:8080", "is also listener.address"),
        ("origins.api.addresses", "127.0.0.1:80", "must be a list"),
        ("origins.api.addresses", "[]", "at least one"),
        ("origins.api.addresses", "['127.0.0.1:0']", "1 to 65535"),
        ("origins.api.addresses", "['2130706433:80']", "host name"),
        ("origins.api.addresses", "['a:1', 'a:1']", "something twice"),
        ("services.kms.url", "http://user:secret@127.0.0.1:1", "must not hold a user"),
        ("services.kms.url", "http://kms.internal:1", "must be https://"),
        ("services.kms.url", "http://127.0.0.1:x", "must be http://HOST:PORT"),
        ("services.kms.url", "ftp://127.0.0.1", "must be http://HOST:PORT"),
        ("services.kms.token_file", "''", "must be a path"),
        ("services.renewals.redis_url", "redis://user:secret@127.0.0.1:1", "must not hold a user"),
        ("services.renewals.redis_url", "redis://redis.internal:1", "must be rediss://"),
        ("services.renewals.redis_url", "redis://127.0.0.1:1/x", "must be redis://HOST:PORT"),
        ("services.renewals.redis_url", "redis://127.0.0.1:1?db=1", "must be redis://HOST:PORT"),
        ("services.renewals.redis_url", "http://127.0.0.1:1", "must be redis://HOST:PORT"),
        ("services.renewals.lock_s", "0.7", "means nothing without redis_url"),
        ("cookies.domain", ".com", "without a leading dot"),
        ("cookies.domain", "com", "two labels"),
        ("cookies.domain", "127.0.0.1", "two labels"),
        ("cookies.domain", "-a.example", "two labels"),
        ("cookies.domain", "a-.example", "two labels"),
        ("cookies.domain", "a.example.", "two labels"),
        ("cookies.domain", ".".join(["a" * 63] * 4), "two labels"),
        ("cookies.path", "/" + "a" * 256, "at most 256"),
        ("cookies.same_site", "None", "'Lax' or 'Strict'"),
        ("cookies.insecure_name", "__Host-Id", "browsers drop it"),
        ("cookies.secure_name", "__hOST-Id", "local_plain_http"),
        ("cookies.secure_name", "EdgeId", "must differ"),
        ("cookies.secure_name", "edgeid", "more than case"),
        ("cookies.secure_name", "'a b'", "must match"),
        ("passport.integrity_version", "3", "must be 1 or 2"),
        ("passport.integrity_version", "1", "needs passport.integrity_version 2"),
        ("limits.max_target_bytes", "40000", "must not exceed limits.max_head_bytes"),
        ("device_types.1", "phone", "same name as 1"),
        ("device_types.x", "phone", "must be a whole number"),
        ("routes.root.methods", "[get]", "must match"),
        ("routes.root.methods", "[TRACE]", "never relayed"),
        ("routes.root.methods", "[]", "at least one"),
        ("routes.root.methods", "[GET, GET]", "something twice"),
        ("routes.root.hosts", "[Example.com]", "must match"),
        ("routes.root.hosts", "['example.com:80']", "must match"),
        ("routes.root.id", "login", "give each route its own"),
        ("routes.root.path", "/browse", "already taken by routes[0]"),
        ("routes.root.origin", "ap", "there is no origin 'ap': did you mean api?"),
        ("grants.passport-atuh", "{parts: [user], actions: []}", "did you mean passport-auth?"),
        ("grants.passport-user", "{parts: [user], actions: []}", "the edge's own key"),
        ("grants.passport-auth.parts", "[device]", "may not replace"),
        ("grants.passport-auth.parts", "[header]", "must be 'user' or 'device'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_said_where_it_stands(directory: Path, key: str, value: str, says: str) -> None:
    found = errors_of(directory, f"{key}={value}")
    assert any(says in error.message for error in found), render_errors(found)


@pytest.mark.parametrize(
    "path",
    ["", "a", "//a", "/a/", "/a//b", "/./a", "/a/..", "/%61", "/a?b", "/a#b", "/a;b", "/a\\b", "/a b", "/a*", "/a\x7f"],
)
def test_a_route_path_that_can_be_misread_is_refused(directory: Path, path: str) -> None:
    assert "plain segments" in only(directory, f"routes.root.path={path!r}").message


def test_a_host_prefixed_cookie_needs_its_attributes(directory: Path) -> None:
    plain = ("listener.local_plain_http=false", "cookies.secure_name=__Host-Id")
    assert isinstance(load_config(directory, plain), Snapshot)
    assert "cookies.path" in only(directory, *plain, "cookies.path=/a").message
    assert "cookies.domain" in only(directory, *plain, "cookies.domain=example.com").message


def test_overlapping_routes_are_told_from_those_that_share_a_path(directory: Path) -> None:
    def with_routes(*rows: str) -> Snapshot | ConfigErrors:
        path = directory / "routes.yaml"
        path.write_text("routes:\n" + "".join(f"  - {ROUTE[:-1]}, {row}}}\n" for row in rows))
        path.write_text("".join(
            line.replace("id: a", f"id: a{number}") for number, line in enumerate(path.read_text().splitlines(True))
        ))  # fmt: skip
        return load_config(directory)

    assert isinstance(with_routes("methods: [GET]", "methods: [POST]"), Snapshot)
    assert isinstance(with_routes("match: exact", "match: prefix"), Snapshot)
    assert isinstance(with_routes("hosts: [a.example]", "hosts: [b.example]", "match: prefix"), Snapshot)
    for rows in (
        ("methods: [GET, PUT]", "methods: [POST, GET]"),
        ("methods: [GET]", "match: prefix"),
        ("match: prefix", "methods: [GET]"),
        ("hosts: [a.example, b.example]", "hosts: [b.example]"),
    ):
        found = with_routes(*rows)
        assert isinstance(found, ConfigErrors)
        (error,) = found.errors
        assert (error.line, error.place) == (3, "routes[1].path")


def test_keys_are_not_stale_between_two_refreshes(directory: Path) -> None:
    assert isinstance(load_config(directory, ("services.kms.refresh_s=300",)), Snapshot)
    assert only(directory, "services.kms.refresh_s=301").place == "keys.stale_after_s"


def test_a_redis_needs_a_lock_that_outlasts_a_renewal_and_tls_only_where_its_url_says_so(directory: Path) -> None:
    url = "services.renewals.redis_url=redis://127.0.0.1:6379"
    assert isinstance(load_config(directory, (url,)), Snapshot)
    assert "services.cookie.timeout_s" in only(directory, url, "services.renewals.lock_s=0.3").message
    assert "make it rediss" in only(directory, url, "services.renewals.tls.ca_file=ca.crt").message
    tls = "services.renewals.redis_url=rediss://redis.internal:6380/3"
    assert isinstance(load_config(directory, (tls, "services.renewals.tls.ca_file=ca.crt")), Snapshot)
    assert "certificate_file" in only(directory, tls, "services.renewals.tls.key_file=edge.key").place


def test_no_value_is_repeated_in_an_error(directory: Path) -> None:
    """A token pasted in the wrong place must not reach a log."""
    secret = "kQ9-hunter2-Zx"
    keys = ("services.kms.token_file=[SECRET]", "services.kms.url=SECRET", "edge.workers=SECRET", "edge=SECRET",
            "services.cookie={token: SECRET}", "services.cookie.url=http://SECRET:SECRET@h",
            "services.renewals.redis_url=redis://:SECRET@h")  # fmt: skip
    for override in keys:
        assert secret not in render_errors(errors_of(directory, override.replace("SECRET", secret)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_content_of_any_file_raises(directory: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    whole = (SHIPPED / f"{name}.yaml").read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    piece = data.draw(st.binary(max_size=8) | st.text("{}[]:-&*!|>'\"%@`#,?<~ \n\t0a", max_size=8).map(str.encode))
    (directory / f"{name}.yaml").write_bytes(whole[:start] + piece + whole[start + data.draw(st.integers(0, 8)) :])
    found = load_config(directory)
    assert isinstance(found, Snapshot) or render_errors(found)
    (directory / f"{name}.yaml").write_bytes(whole)
