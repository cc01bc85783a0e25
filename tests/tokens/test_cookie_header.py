"""Reading `Cookie` headers by bytes: ours found and taken out, the others as they came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens.cookie_header import CookieScanner, Scan
from tokens.envelope import Refusal


def scan(*values: bytes, names: tuple[str, ...] = ("EdgeId", "SecureEdgeId")) -> Scan:
    return CookieScanner(names).scan(values)


def test_ours_are_found_and_the_others_go_on_byte_for_byte() -> None:
    assert scan(b"a=1; EdgeId=xx;  b= 2 ;c; SecureEdgeId=yy; d=\xff\x80=; ") == (
        [b"xx", b"yy"],
        [b"a=1;  b= 2 ;c; d=\xff\x80=;"],
    )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"EdgeId=x", b""),
        (b"EdgeId=x; a=1", b"a=1"),
        (b"a=1; EdgeId=x", b"a=1"),
        (b"a=1;EdgeId=x;b=2", b"a=1;b=2"),
        (b"a=1; EdgeId=x; b=2", b"a=1; b=2"),
        (b"EdgeId=x; ", b""),
        (b"\tEdgeId=x \t; a=1", b"a=1"),
    ],
)
def test_nothing_of_ours_is_left_wherever_it_stands(value: bytes, kept: bytes) -> None:
    assert scan(value) == ([b"x", None], [kept])


@pytest.mark.parametrize(
    "value", [b"", b"a=1", b" a = 1 ;; b", b"=; ==", b"theme=EdgeId=x", b"xEdgeId=1", b"EdgeId2=x", b";"]
)
def test_a_line_without_ours_goes_on_as_the_same_object(value: bytes) -> None:
    found, kept = scan(value)
    assert found == [None, None]
    assert kept[0] is value


def test_c7_rule_13_identical_duplicates_are_one_cookie() -> None:
    assert scan(b"EdgeId=x; EdgeId=x").found == [b"x", None]
    assert scan(b"EdgeId=x", b"a=1; EdgeId=x") == ([b"x", None], [b"", b"a=1"])


@pytest.mark.parametrize(
    "values",
    [
        (b"EdgeId=good; EdgeId=tossed",),
        (b"EdgeId=tossed; EdgeId=good",),
        (b"EdgeId=good", b"EdgeId=tossed"),
        (b"EdgeId=good; SecureEdgeId=s", b"b=2; SecureEdgeId=tossed"),
        (b"EdgeId=good; EdgeId=",),
        (b"EdgeId=good; a=1; EdgeId=good; EdgeId=tossed",),
        (b"EdgeId=one; EdgeId=two; EdgeId=one",),
    ],
)
def test_c7_rule_13_two_different_values_of_one_name_are_refused_in_either_order(values: tuple[bytes, ...]) -> None:
    found, kept = scan(*values)
    assert found is Refusal.DUPLICATE
    assert b"dgeId" not in b"".join(kept)


def test_c7_rule_13_two_cookie_lines_are_read_as_one() -> None:
    assert scan(b"EdgeId=x; a=1", b"SecureEdgeId=y; b=2") == ([b"x", b"y"], [b"a=1", b"b=2"])


@pytest.mark.parametrize(
    "sibling",
    [
        b"bad name=1",
        b"b@d=1",
        b'"=1',
        b'q="a;b"',
        b"\xff\xfe=\x80",
        b"=",
        b"",
        b"lonely",
        b"$Version=1",
        b"{json:1}",
        b"a=b=c",
        b"Path=/",
        b"expires=Thu, 01 Jan",
        b"\xc2\xa0",
    ],
)
def test_c7_rule_21_a_malformed_sibling_never_hides_ours(sibling: bytes) -> None:
    for line in (sibling + b"; EdgeId=x", b"EdgeId=x; " + sibling, sibling + b";EdgeId=x;" + sibling):
        assert scan(line).found == [b"x", None]


def test_c7_rule_21_quotes_and_version_have_no_meaning() -> None:
    assert scan(b'EdgeId="x"').found == [b'"x"', None]
    assert scan(b'$Version=1; EdgeId=x; $Path="/"') == ([b"x", None], [b'$Version=1; $Path="/"'])
    assert scan(b'a="1; EdgeId=x"').found == [b'x"', None]


@pytest.mark.parametrize(
    "lookalike",
    [
        b"edgeid=x",
        b"EDGEID=x",
        b"EdgeId =x",
        b"EdgeId\t=x",
        b'"EdgeId"=x',
        b"\xc2\xa0EdgeId=x",
        b"EdgeId\xa0=x",
        b"\x0bEdgeId=x",
        b"EdgeId",
        b"$EdgeId=x",
        b"secureedgeid=x",
    ],
)
def test_c7_rule_21_a_lookalike_is_never_read_and_never_goes_on(lookalike: bytes) -> None:
    assert scan(b"a=1; " + lookalike + b"; b=2") == ([None, None], [b"a=1; b=2"])
    assert scan(lookalike + b"; EdgeId=good").found == [b"good", None]


def test_c7_prefixed_names_are_names_like_any_other() -> None:
    names = ("__Host-EdgeId", "__Secure-EdgeId")
    assert scan(b"EdgeId=t; __Host-EdgeId=x", names=names) == ([b"x", None], [b"EdgeId=t"])


def test_c9_five_hundred_cookies_are_read() -> None:
    line = b"; ".join(b"n%d=%d" % (number, number) for number in range(500))
    assert scan(line + b"; EdgeId=x") == ([b"x", None], [line])


others = st.binary(max_size=20).filter(lambda piece: b";" not in piece and b"edgeid" not in piece.lower())


@given(st.lists(others, max_size=8), st.lists(others, max_size=8))
def test_among_any_other_bytes_ours_is_found_and_the_others_stay(before: list[bytes], after: list[bytes]) -> None:
    line = b";".join([*before, b" EdgeId=value", *after])
    assert scan(line) == ([b"value", None], [b";".join([*before, *after]).strip(b" \t")])


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_reading_raise(line: bytes) -> None:
    found, kept = scan(line, line)
    assert found == [None, None] or found is Refusal.DUPLICATE or b"EdgeId" in line
    assert len(kept) == 2


def test_names_are_remembered_for_a_bounded_number() -> None:
    scanner = CookieScanner(("EdgeId", "SecureEdgeId"))
    for number in range(3000):
        scanner.scan([b"n%d=1; " % number + b"x" * 100 + b"%d=1" % number])
    assert len(scanner._kinds) <= 1024
    assert max(map(len, scanner._kinds)) <= 64
    assert scanner.scan([b"new=1; EdgeId=x"]) == ([b"x", None], [b"new=1"])


def test_rule_24_the_repr_of_a_scan_shows_no_values() -> None:
    assert repr(scan(b"EdgeId=secret; a=private")) == "Scan(2, 1 values)"
