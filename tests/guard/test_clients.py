"""What one address may take, as a function."""

from hypothesis import given
from hypothesis import strategies as st

from edge.guard.clients import Client, Clients


def clients(max_connections: int = 3, max_requests_per_s: int | None = None) -> Clients:
    made = Clients()
    made.limit(max_connections, max_requests_per_s)
    return made


def entered(made: Clients, address: str) -> Client:
    client = made.enter(address)
    assert client is not None
    return client


def test_an_address_has_its_cap_and_others_have_theirs() -> None:
    made = clients()
    assert all(made.enter("10.0.0.1") for _ in range(3))
    assert made.enter("10.0.0.1") is None
    assert made.enter("10.0.0.2") is not None


def test_a_connection_that_ends_makes_room() -> None:
    made = clients(1)
    made.leave(entered(made, "10.0.0.1"))
    assert made.enter("10.0.0.1") is not None


def test_ipv6_addresses_count_by_their_64() -> None:
    made = clients(1)
    assert made.enter("2001:db8::1") is not None
    assert made.enter("2001:db8::ffff:2") is None
    assert made.enter("2001:db8:0:1::1") is not None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_d8_no_address_without_connections_is_kept(turns: list[tuple[int, bool]]) -> None:
    made = clients(2)
    living: list[Client] = []
    for number, comes in turns:
        if comes:
            client = made.enter(f"10.0.0.{number}")
            living += [client] if client is not None else []
        elif living:
            made.leave(living.pop())
        assert len(made) == len({client.key for client in living})
        assert all(client.connections == living.count(client) for client in living)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=40), st.integers(1, 100))
def test_l2_a_client_makes_no_more_requests_than_its_rate_and_a_seconds_worth(wanted: list[int], rate: int) -> None:
    made = clients(max_requests_per_s=rate)
    client, passed = entered(made, "10.0.0.1"), 0
    for requests in wanted:
        for _ in range(requests):
            client.left -= 1
            passed += client.left >= 0
        made.refill(0.25, overloaded=False)
    assert passed <= rate + len(wanted) * max(round(rate / 4), 1)


def test_l2_connecting_anew_does_not_begin_a_new_second() -> None:
    made = clients(max_requests_per_s=10)
    client = entered(made, "10.0.0.1")
    client.left = 0
    made.leave(client)
    assert entered(made, "10.0.0.1").left == 0
    made.leave(client)
    for _ in range(8):
        made.refill(0.25, overloaded=False)
    assert len(made) == 0


def test_where_requests_are_not_limited_nothing_runs_out() -> None:
    made = clients()
    client = entered(made, "10.0.0.1")
    client.left -= 10**9
    made.refill(0.25, overloaded=False)
    assert client.left > 0


def test_l2_under_overload_who_asks_for_more_than_twice_the_mean_has_too_much() -> None:
    made = clients()
    noisy, *quiet = (entered(made, f"10.0.0.{number}") for number in range(8))
    made.refill(0.25, overloaded=True)  # from here on requests are counted
    for _ in range(2):
        noisy.left -= 500
        for client in quiet:
            client.left -= 50
        before = noisy.left, [client.left for client in quiet]
        made.refill(0.25, overloaded=True)
    assert before[0] < 0 <= min(before[1])


def test_l2_a_client_that_is_alone_has_all_there_is() -> None:
    made = clients()
    client = entered(made, "10.0.0.1")
    for _ in range(3):
        made.refill(0.25, overloaded=True)
        client.left -= 100_000
        assert client.left > 0


def test_l2_connecting_anew_under_overload_brings_nothing() -> None:
    made = clients()
    noisy, quiet = entered(made, "10.0.0.1"), entered(made, "10.0.0.2")
    made.refill(0.25, overloaded=True)
    noisy.left -= 100
    quiet.left -= 10
    made.refill(0.25, overloaded=True)
    noisy.left -= 200
    made.leave(noisy)
    assert entered(made, "10.0.0.1").left < 0
    made.refill(0.25, overloaded=False)
    assert quiet.left > 10**6
