"""`X-Origin-Identity` is read strictly, and each difference has one name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.exchange import TokenKind
from edge.contract.identity import DeviceIdentity, Level, Peeked, Reported, Source, UserIdentity
from edge.contract.rollout import Comparison
from filters.origin_identity import compare, read_origin_identity

WHOLE = b'v=1, customer=1001, esn="NFCDCH-02-A", level=high'


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        (WHOLE, Reported(1001, "NFCDCH-02-A", Level.HIGH)),
        (b"v=1", Reported(None, None, None)),
        (b"v=1, customer=1001", Reported(1001, None, None)),
        (b'v=1, esn=""', Reported(None, "", None)),
        (b'v=1, esn="A B~!#[]"', Reported(None, "A B~!#[]", None)),
        (b"v=1, level=low", Reported(None, None, Level.LOW)),
        (b"v=1, customer=9223372036854775807, level=highest", Reported(2**63 - 1, None, Level.HIGHEST)),
        (b'v=1, esn="' + b"x" * 256 + b'"', Reported(None, "x" * 256, None)),
    ],
)
def test_what_an_origin_says_is_read(value: bytes, reported: Reported) -> None:
    assert read_origin_identity([value]) == reported


@pytest.mark.parametrize(
    "values",
    [
        *([], [b""], [WHOLE, WHOLE], [b"v=2"], [b"v=1,"], [b"v=1, "], [b" v=1"], [b"v=1\n"], [b"V=1"]),
        *([b"customer=1"], [b"v=1, customer=0"], [b"v=1, customer=01"], [b"v=1, customer=-1"], [b"v=1, customer="]),
        *([b"v=1, customer=9223372036854775808"], [b"v=1, customer=" + b"9" * 20], [b"v=1, customer=1, customer=1"]),
        *([b"v=1, esn=A"], [b'v=1, esn="A'], [b'v=1, esn="A"B"'], [b'v=1, esn="A\\"'], [b'v=1, esn="\xc3\xa9"']),
        *(
            [b'v=1, esn="' + b"x" * 257 + b'"'],
            [b'v=1, esn="A", customer=1'],
            [b"v=1, level=HIGH"],
            [b"v=1, level=none"],
        ),
        *(
            [b"v=1;customer=1"],
            [b"v=1, customer=1;level=high"],
            [b"v=1,customer=1"],
            [b"v=1, user=1"],
            [WHOLE + b", x=1"],
        ),
    ],
)
def test_what_is_spelled_in_any_other_way_is_unreadable(values: list[bytes]) -> None:
    assert read_origin_identity(values) is None


@given(st.binary(max_size=600) | st.binary(max_size=300).map(lambda tail: WHOLE + tail))
def test_whatever_a_hostile_origin_sends_is_read_as_it_would_be_written_or_not_at_all(value: bytes) -> None:
    reported = read_origin_identity([value])
    if reported is not None:
        assert written(reported) == value


def written(reported: Reported) -> bytes:
    """Write what an origin reports."""
    text = "v=1"
    if reported.customer_id is not None:
        text += f", customer={reported.customer_id}"
    if reported.esn is not None:
        text += f', esn="{reported.esn}"'
    if reported.level is not None:
        text += f", level={reported.level.name.lower()}"
    return text.encode()


@given(
    st.none() | st.integers(1, 2**63 - 1),
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=256),
    st.none() | st.sampled_from([Level.LOW, Level.HIGH, Level.HIGHEST]),
)
def test_all_that_an_origin_can_say_is_read_back(customer_id: int | None, esn: str | None, level: Level | None) -> None:
    reported = Reported(customer_id, esn, level)
    assert read_origin_identity([written(reported)]) == reported


def peeked(customer_id: int | None = 7, esn: str = "A", level: Level = Level.HIGH) -> Peeked:
    """Return what the edge would say."""
    user = None if customer_id is None else UserIdentity(Source.COOKIE, level, customer_id, customer_id)
    device = DeviceIdentity(Source.COOKIE, level, esn) if esn else None
    return Peeked(user, device, TokenKind.COOKIE, settled=True)


@pytest.mark.parametrize(
    ("edge", "origin", "result"),
    [
        (peeked(), Reported(7, "A", Level.HIGH), Comparison.SAME),
        (peeked(), Reported(7, None, None), Comparison.SAME),
        (peeked(None, ""), Reported(None, "", None), Comparison.SAME),
        (peeked(None, ""), Reported(None, None, Level.LOW), Comparison.SAME),
        (peeked(None, "A"), Reported(None, "A", None), Comparison.SAME),
        (peeked(), Reported(8, "A", Level.HIGH), Comparison.OTHER_USER),
        (peeked(), Reported(8, "B", Level.LOW), Comparison.OTHER_USER),
        (peeked(), Reported(7, "B", Level.LOW), Comparison.OTHER_DEVICE),
        (peeked(), Reported(7, "A", Level.LOW), Comparison.OTHER_LEVEL),
        (peeked(level=Level.LOW), Reported(7, "A", Level.HIGH), Comparison.OTHER_LEVEL),
        (peeked(None, ""), Reported(7, "A", Level.HIGH), Comparison.ONLY_OLD),
        (peeked(None, "A"), Reported(7, "A", Level.HIGH), Comparison.ONLY_OLD),
        (peeked(esn=""), Reported(7, "A", Level.HIGH), Comparison.ONLY_OLD),
        (peeked(), Reported(None, "", None), Comparison.ONLY_NEW),
        (peeked(), Reported(None, "A", None), Comparison.ONLY_NEW),
        (peeked(), Reported(7, "", Level.HIGH), Comparison.ONLY_NEW),
    ],
)
def test_each_difference_has_one_name(edge: Peeked, origin: Reported, result: Comparison) -> None:
    assert compare(edge, origin) is result
