"""`Set-Cookie` lines: what browsers keep, what they would drop, and what others may not set."""

import pytest

from tokens.cookie import CookieNames
from tokens.set_cookie import MAX_LINE_BYTES, CookieAttributes, SetCookies

HOST = CookieNames("__Host-EdgeId", "__Host-SecureEdgeId")
DEFAULT = SetCookies(CookieAttributes(CookieNames()))


def test_rule_20_the_default_lines() -> None:
    assert DEFAULT.issue(b"aaa", b"bbb") == [
        b"EdgeId=aaa; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax",
        b"SecureEdgeId=bbb; Max-Age=34560000; Path=/; Secure; HttpOnly; SameSite=Lax",
    ]


def test_rule_20_deletion_uses_the_same_name_path_and_domain() -> None:
    cookies = SetCookies(CookieAttributes(CookieNames(), path="/app", domain="example.com"))
    for cleared, issued in zip(cookies.clear(), cookies.issue(b"a", b"b") or [], strict=True):
        name, _, attributes = cleared.partition(b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
        assert name.endswith(b"=")
        assert issued.startswith(name)
        assert issued.endswith(attributes)
        assert b"; Path=/app; Domain=example.com" in attributes


def test_rule_20_prefixed_names_and_same_site_none_are_always_secure() -> None:
    for attributes in (CookieAttributes(HOST), CookieAttributes(CookieNames(), same_site="None")):
        for line in SetCookies(attributes).issue(b"a", b"b") or []:
            assert b"; Secure; HttpOnly" in line


def test_local_plain_http_drops_secure_and_nothing_else() -> None:
    lines = SetCookies(CookieAttributes(CookieNames(), secure=False)).issue(b"a", b"b")
    assert lines is not None
    assert lines[1] == b"SecureEdgeId=b; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax"


def test_the_secure_half_can_be_left_alone() -> None:
    lines = DEFAULT.issue(b"a", None)
    assert lines is not None
    assert [line.partition(b"=")[0] for line in lines] == [b"EdgeId"]


@pytest.mark.parametrize("value", [b"", b"a;b", b"a b", b"a\r\nb", b"a\n", b'"a"', b"a,b", b"\xff", b"a="])
def test_x7_a_value_that_is_not_base64url_is_never_set(value: bytes) -> None:
    assert DEFAULT.issue(value, b"good") is None
    assert DEFAULT.issue(b"good", value) is None


def test_rule_20_no_line_exceeds_4096_octets() -> None:
    room = MAX_LINE_BYTES - len(
        (DEFAULT.issue(b"", b"b") or [b"EdgeId=; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax"])[0]
    )
    lines = DEFAULT.issue(b"a" * room, b"b")
    assert lines is not None
    assert len(lines[0]) == MAX_LINE_BYTES
    assert DEFAULT.issue(b"a" * (room + 1), b"b") is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"names": HOST, "domain": "example.com"}, "no domain"),
        ({"names": HOST, "path": "/app"}, "path '/'"),
        ({"names": HOST, "secure": False}, "secure"),
        ({"names": CookieNames("__Secure-A", "B"), "secure": False}, "secure"),
        ({"names": CookieNames("a b", "c")}, "not a cookie name"),
        ({"names": CookieNames("a;", "c")}, "not a cookie name"),
        ({"names": CookieNames("", "c")}, "not a cookie name"),
        ({"names": CookieNames("Same", "same")}, "two names"),
        ({"path": "app"}, "path"),
        ({"path": "/a;b"}, "path"),
        ({"path": "/\r\nSet-Cookie: x=y"}, "path"),
        ({"domain": ".com"}, "domain"),
        ({"domain": "com"}, "domain"),
        ({"domain": ".example.com"}, "domain"),
        ({"domain": "exa mple.com"}, "domain"),
        ({"domain": "example.com; Secure"}, "domain"),
        ({"same_site": "lax"}, "same_site"),
        ({"same_site": "None", "secure": False}, "same_site"),
        ({"max_age_s": 0}, "max_age_s"),
        ({"max_age_s": 401 * 86_400}, "max_age_s"),
    ],
)
def test_rule_20_attributes_that_browsers_would_drop_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CookieAttributes(**{"names": CookieNames()} | wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"EdgeId=x",
        b"edgeid=x; Path=/",
        b" EdgeId =x",
        b"SecureEdgeId=",
        b"EdgeId",
        b"=EdgeId=x",
        b"= EdgeId=x",
        b"EdgeId; a",
    ],
)
def test_x8_a_line_that_would_set_ours_collides(line: bytes) -> None:
    assert DEFAULT.collides(line)


@pytest.mark.parametrize("line", [b"theme=dark", b"EdgeId2=x", b"a=EdgeId", b"", b";EdgeId=x", b"theme=; EdgeId=x"])
def test_any_other_line_does_not_collide(line: bytes) -> None:
    assert not DEFAULT.collides(line)
