"""The address of the device, as the edge says it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def client_address(forwarded_for: str, trusted_proxies: Sequence[Network]) -> str | None:
    """Return the last address in an `X-Forwarded-For` of the edge's that is no trusted proxy; None where none is known.

    The edge writes the peer of its connection last, and keeps what stands before only from a trusted proxy of its own:
    `trusted_proxies` must be those of its listener.
    """
    client = None
    for hop in reversed(forwarded_for.split(",")):
        address = _address(hop.strip())
        if address is None:
            break
        client = str(address)
        if not any(address in network for network in trusted_proxies):
            break
    return client


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without a zone, an IPv4-mapped one as IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
