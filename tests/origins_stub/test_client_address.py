"""Which address a device asks from: what the edge says, by the edge's own rules."""

from ipaddress import ip_network

import pytest

from filters.forwarding import _client
from origins_stub.api.client_address import client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")]


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.8", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.7, 10.0.0.8", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.8, 10.0.0.7", "192.0.2.1"),
        ("::ffff:192.0.2.1, 10.0.0.8", "192.0.2.1"),
        ("192.0.2.1, 2001:DB8:FFFF::8, 10.0.0.8", "192.0.2.1"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("\t192.0.2.1 ,10.0.0.8", "192.0.2.1"),
        ("2001:DB8::0001, 10.0.0.8", "2001:db8::1"),
        ("made up, 10.0.0.8", "10.0.0.8"),
        ("unknown, 10.0.0.8", "10.0.0.8"),
        ("192.0.2.1,, 10.0.0.8", "10.0.0.8"),
        (", 10.0.0.8", "10.0.0.8"),
        ("192.0.2.1:4711, 10.0.0.8", "10.0.0.8"),
        ("[2001:db8::1]:443, 10.0.0.8", "10.0.0.8"),
        ("[2001:db8::1], 10.0.0.8", "10.0.0.8"),
        ("192.0.2.1%x, 10.0.0.8", "10.0.0.8"),
        ("fe80::1%eth0, 10.0.0.8", "10.0.0.8"),
        ("::ffff:192.0.2.1%1, 10.0.0.8", "10.0.0.8"),
        ("fe80::1%1.2.3.4, 10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("192.0.2.01, 10.0.0.8", "10.0.0.8"),
        ("3221225985, 10.0.0.8", "10.0.0.8"),
        ("192.0.2.1\xa0, 10.0.0.8", "10.0.0.8"),
        ("\u0661.2.3.4, 10.0.0.8", "10.0.0.8"),
    ],
)
def test_the_clients_address_is_the_last_that_is_no_trusted_proxy_as_the_edge_takes_it(
    forwarded_for: str, client: str
) -> None:
    assert client_address(forwarded_for, PROXIES) == client
    *hops, peer = (hop.strip() for hop in forwarded_for.encode().split(b","))
    assert _client(hops, peer.decode(), PROXIES) == client


def test_what_stands_before_a_peer_that_is_no_proxy_of_ours_counts_for_nothing() -> None:
    assert client_address("198.51.100.9, 192.0.2.1", PROXIES) == "192.0.2.1"


@pytest.mark.parametrize("forwarded_for", ["unknown", "", "192.0.2.1, unknown"])
def test_where_the_edge_knows_no_peer_no_client_is_known(forwarded_for: str) -> None:
    assert client_address(forwarded_for, PROXIES) is None
