"""The address of the device, as the edge says it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from string import whitespace
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def client_address(forwarded_for: str, trusted_proxies: Sequence[Network]) -> str | None:
    """Return the last address in an `X-Forwarded-For` of the edge's that is no trusted proxy; None where none is known.

    The edge writes the peer of its connection last, and keeps what stands before only from a trusted proxy of its own:
    `trusted_proxies` must be those of its listener. What can't be read ends the walk, as it does at the edge:
    the client is then the proxy that said so.
    """
    client = None
    for hop in reversed(forwarded_for.split(",")):
        address = _address(hop.strip(whitespace))
        if address is None:
            break
        client = str(address)
        if not any(address in network for network in trusted_proxies):
            break
    return client


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, an IPv4-mapped one as IPv4; None for what is none, and for one with a zone or a port."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else address.ipv4_mapped or address
