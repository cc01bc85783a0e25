"""What one client is, where clients have shares: a device that has shown which it is, else a network address."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from passport import Level, PassportIntrospector

_SITE_BITS = 48
"""The most that one site is given of IPv6 (RFC 6177): within it a client may choose its address."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where IPv4 addresses stand in IPv6 ones, in their last 32 bits (RFC 6052)."""


def client_of(passport: PassportIntrospector, address: IPv4Address | IPv6Address | None) -> str:
    """Return a name for who is asking. All whose address nobody knows are one."""
    # A lower level would let a client choose: another name each time, or that of another device.
    if passport.esn is not None and passport.device_level >= Level.HIGH:
        return f"device {passport.esn}"
    if isinstance(address, IPv6Address):
        address = _embedded(address) or address
    if isinstance(address, IPv6Address):
        return f"site {ip_network((address, _SITE_BITS), strict=False)}"
    return f"address {address}"


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped or a translated one is about: all of IPv4 would be one site."""
    return IPv4Address(address.packed[-4:]) if address in _NAT64 else address.ipv4_mapped
