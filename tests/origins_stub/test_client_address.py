"""Which address a device asks from, by what the edge says."""

from ipaddress import ip_network

import pytest

from origins_stub.api.client_address import client_address


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.7, 10.0.0.8", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.8", "192.0.2.1"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("made up, 10.0.0.8", "10.0.0.8"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("", None),
    ],
)
def test_the_clients_address_is_the_last_that_is_no_trusted_proxy(forwarded_for: str, client: str | None) -> None:
    assert client_address(forwarded_for, [ip_network("10.0.0.0/8")]) == client
