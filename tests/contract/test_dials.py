"""Dials: who is in, who stays in, and that one dial says nothing of another."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.dials import (
    BUCKETS,
    Dial,
    Dials,
    DialTable,
    Feature,
    bucket,
    parse_percent,
    percent_text,
    salted,
)

TERMINATE, SHADOW = Feature.TERMINATE_COOKIE, Feature.SHADOW_COOKIE
TELEVISION, PHONE = 4, 2


DEVICES = 100_000
PERCENTAGES = ("0.1", "0.5", "1", "5", "12.34", "25", "50", "75", "95", "99.5")


def fleet(number: int, devices: int = DEVICES) -> list[bytes]:
    """Return the ESNs of some devices, whose numbers follow one another as in a factory."""
    return [f"FLEET{number}-{n:012X}".encode() for n in range(devices)]


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    return fleet(0)


@pytest.mark.parametrize("percent", PERCENTAGES)
def test_the_share_of_100000_devices_is_the_position_give_or_take_a_fifth_of_a_point(
    keys: list[bytes], percent: str
) -> None:
    table = DialTable(1, {Dial(TERMINATE): parse_percent(percent) or 0})
    share = sum(table.is_on(TERMINATE, "api", PHONE, key) for key in keys) / len(keys) * 100
    assert share == pytest.approx(float(percent), abs=0.2)


def test_the_shares_of_other_fleets_differ_by_chance_and_no_more() -> None:
    """The share of 100,000 at 50 % has a standard deviation of 0.16 points: some fleet is always more than 0.2 off."""
    hasher, all_inside = salted(TERMINATE), Counter[str]()
    for number in range(1, 6):
        counts = Counter(bucket(hasher, key) for key in fleet(number))
        for percent in PERCENTAGES:
            position = parse_percent(percent) or 0
            inside = sum(found for at, found in counts.items() if at < position)
            p = position / BUCKETS
            assert abs(inside - p * DEVICES) < 4 * math.sqrt(DEVICES * p * (1 - p))
            all_inside[percent] += inside
    assert {percent: all_inside[percent] / 5 / DEVICES * 100 for percent in PERCENTAGES} == {
        percent: pytest.approx(float(percent), abs=0.2) for percent in PERCENTAGES
    }


def test_who_is_in_stays_in_while_the_dial_goes_up_and_through_every_table_like_it(keys: list[bytes]) -> None:
    inside: set[bytes] = set()
    for at in (0, 1, 100, 500, 1000, 5000, 9999, BUCKETS):
        table, again = DialTable(1, {Dial(TERMINATE): at}), DialTable(2, {Dial(TERMINATE): at})
        now = {key for key in keys if table.is_on(TERMINATE, "api", PHONE, key)}
        assert now >= inside
        assert all(again.is_on(TERMINATE, "ui", TELEVISION, key) for key in now)
        inside = now
    assert len(inside) == len(keys)


def test_two_dials_choose_independently_of_each_other(keys: list[bytes]) -> None:
    one, other = salted(TERMINATE), salted(SHADOW)
    cells = [[0] * 10 for _ in range(10)]
    for key in keys:
        cells[bucket(one, key) // 1000][bucket(other, key) // 1000] += 1
    rows, columns = [sum(row) for row in cells], [sum(column) for column in zip(*cells, strict=True)]
    chi_square = sum(
        (cells[i][j] - rows[i] * columns[j] / len(keys)) ** 2 / (rows[i] * columns[j] / len(keys))
        for i in range(10)
        for j in range(10)
    )
    assert chi_square < 126.1  # 81 degrees of freedom: a chance of one in a thousand to be above


def test_buckets_are_even(keys: list[bytes]) -> None:
    hasher, counts = salted(TERMINATE), [0] * 100
    for key in keys:
        counts[bucket(hasher, key) // 100] += 1
    assert sum((found - 1000) ** 2 / 1000 for found in counts) < 148.2  # 99 degrees of freedom, one in a thousand


def test_a_bucket_is_the_same_in_every_release() -> None:
    assert [bucket(salted("terminate-cookie"), key) for key in (b"", b"ESN-1", b"ESN-2")] == [3868, 2311, 8796]


def test_a_salt_chooses_other_devices(keys: list[bytes]) -> None:
    at = {Dial(TERMINATE): 5000}
    one, other = DialTable(1, at), DialTable(1, at, {TERMINATE: "second experiment"})
    both = sum(one.is_on(TERMINATE, "api", 0, key) and other.is_on(TERMINATE, "api", 0, key) for key in keys[:20_000])
    assert 4500 < both < 5500


def test_the_most_specific_position_wins() -> None:
    table = DialTable(
        7,
        {
            Dial(TERMINATE): 1,
            Dial(TERMINATE, None, TELEVISION): 2,
            Dial(TERMINATE, "api"): 3,
            Dial(TERMINATE, "api", TELEVISION): 4,
            Dial(TERMINATE, "ui", PHONE): 5,
        },
    )
    asked = [("api", TELEVISION), ("api", PHONE), ("ui", PHONE), ("ui", TELEVISION), ("ui", 0), ("other", PHONE)]
    assert [table.position(TERMINATE, *one) for one in asked] == [4, 3, 5, 2, 1, 1]
    assert table.position(SHADOW, "api", TELEVISION) == 0
    assert table.revision == 7


def test_a_feature_stands_where_it_is_shipped_until_somebody_says_otherwise() -> None:
    table = Dials().table
    assert table.fully_on(TERMINATE)
    assert not table.fully_on(SHADOW)
    assert table.is_on(TERMINATE, "api", 0, b"")
    assert not table.is_on(SHADOW, "api", 0, b"")


def test_a_feature_is_fully_on_only_when_every_dial_of_it_is() -> None:
    almost = DialTable(1, {Dial(TERMINATE, "api", PHONE): BUCKETS - 1})
    assert not almost.fully_on(TERMINATE)
    assert DialTable(1, {Dial(TERMINATE, "api", PHONE): BUCKETS}).fully_on(TERMINATE)


@given(st.integers(0, BUCKETS))
def test_a_percentage_is_read_as_it_is_written(at: int) -> None:
    assert parse_percent(percent_text(at)) == at
    assert parse_percent(f"{at / 100:.2f}") == at


@given(st.text(max_size=8))
def test_text_is_a_percentage_of_at_most_two_decimals_or_nothing(text: str) -> None:
    at = parse_percent(text)
    assert at is None or (0 <= at <= BUCKETS and at == round(float(text) * 100))


@pytest.mark.parametrize(
    "text", ["", "5.", ".5", "-1", "+1", "5.001", "5.000", "100.01", "101", "1e1", "٣", "5 ", "nan"]
)
def test_what_is_no_percentage_is_refused(text: str) -> None:
    assert parse_percent(text) is None


def test_a_feature_is_fully_on_at_an_origin_when_it_is_for_all_types_there() -> None:
    assert DialTable().fully_on_at(TERMINATE, "api")
    assert not DialTable().fully_on_at(SHADOW, "api")
    for dial, at in {Dial(TERMINATE): 9_999, Dial(TERMINATE, None, 0): 0, Dial(TERMINATE, "api", PHONE): 0}.items():
        assert not DialTable(1, {dial: at}).fully_on_at(TERMINATE, "api")
    elsewhere = DialTable(1, {Dial(TERMINATE, "ui"): 0, Dial(TERMINATE, "ui", PHONE): 0, Dial(SHADOW): 0})
    assert elsewhere.fully_on_at(TERMINATE, "api")
    nearer = DialTable(1, {Dial(TERMINATE): 0, Dial(TERMINATE, None, PHONE): 0, Dial(TERMINATE, "api"): BUCKETS})
    assert nearer.fully_on_at(TERMINATE, "api")
    assert not nearer.fully_on_at(TERMINATE, "ui")
