"""The power of two choices, and the ramp of an address that is new."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edge.control.values import Address
from edge.upstream.balancer import choose
from edge.upstream.endpoint import Endpoint
from edge.upstream.warm_up import FIRST_WEIGHT, weight

DRAWS = st.floats(0, 1, exclude_max=True)


def endpoints(count: int) -> list[Endpoint]:
    """Return that many addresses with nothing in flight."""
    return [Endpoint(Address("127.0.0.1", port + 1), 0.0) for port in range(count)]


def shares(active: list[Endpoint], turns: int = 20_000) -> list[float]:
    """Return which part of `turns` each address gets while nothing is in flight."""
    draws = random.Random(7)  # noqa: S311
    chosen = Counter(id(choose(active, draws.random())) for _ in range(turns))
    return [chosen[id(each)] / turns for each in active]


@given(draw=DRAWS, loads=st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_the_one_chosen_is_never_the_most_loaded_unless_several_are(draw: float, loads: list[int]) -> None:
    active = endpoints(len(loads))
    for each, in_flight in zip(active, loads, strict=True):
        each.in_flight = in_flight
    assert choose(active, draw).in_flight <= sorted(loads)[-2]


@given(draw=DRAWS, count=st.integers(2, 40), avoided=st.integers(0, 39), weights=st.floats(0.1, 1))
def test_an_avoided_address_is_never_chosen_among_several(
    draw: float, count: int, avoided: int, weights: float
) -> None:
    active = endpoints(count)
    for each in active:
        each.share = weights
    avoid = active[avoided % count]
    assert choose(active, draw, avoid) is not avoid


@given(draw=DRAWS)
def test_the_only_address_is_chosen_even_when_it_is_to_be_avoided(draw: float) -> None:
    (only,) = active = endpoints(1)
    assert choose(active, draw, only) is only


def test_equal_addresses_get_equal_shares() -> None:
    assert all(abs(share - 0.2) < 0.02 for share in shares(endpoints(5)))


def test_an_address_that_warms_up_or_errs_gets_its_part() -> None:
    active = endpoints(4)
    for share, expected in ((0.1, 0.025), (0.5, 0.125), (1.0, 0.25)):
        active[0].share = share
        assert abs(shares(active)[0] - expected) < 0.02


def test_addresses_that_are_all_new_share_evenly() -> None:
    active = endpoints(4)
    for each in active:
        each.share = FIRST_WEIGHT
    assert all(abs(share - 0.25) < 0.02 for share in shares(active))


@given(age_s=st.floats(0, 100), later_s=st.floats(0, 100), warm_up_s=st.floats(0, 60))
def test_the_ramp_rises_from_a_tenth_to_all(age_s: float, later_s: float, warm_up_s: float) -> None:
    assert FIRST_WEIGHT <= weight(age_s, warm_up_s) <= weight(age_s + later_s, warm_up_s) <= 1.0
    assert weight(warm_up_s, warm_up_s) == 1.0
