"""PROXY protocol headers: the pure parser, against hand-made headers and any bytes."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.net.proxy_protocol import (
    MAX_BYTES,
    SIGNATURE,
    BadProxyHeader,
    ProxyHeader,
    crc32c,
    read_proxy_header,
)

PORTS = st.integers(0, 65535)
ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)


def v1(source: object, destination: object, ports: tuple[int, int]) -> bytes:
    kind = "TCP4" if isinstance(source, IPv4Address) else "TCP6"
    return f"PROXY {kind} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()


def v2(source: object, destination: object, ports: tuple[int, int], tlvs: bytes = b"", command: int = 0x21) -> bytes:
    assert isinstance(source, IPv4Address | IPv6Address)
    assert isinstance(destination, IPv4Address | IPv6Address)
    family = 0x11 if source.version == 4 else 0x21
    body = source.packed + destination.packed + struct.pack("!HH", *ports) + tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


@given(ADDRESSES, st.tuples(PORTS, PORTS), st.binary(max_size=20), st.booleans())
def test_a_whole_header_gives_the_client_and_leaves_what_follows(
    addresses: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address],
    ports: tuple[int, int],
    rest: bytes,
    binary: bool,
) -> None:
    header = (v2 if binary else v1)(*addresses, ports)
    found = read_proxy_header(header + rest)
    assert isinstance(found, ProxyHeader)
    assert found.size == len(header)
    assert found.client is not None
    assert (ip_address(found.client[0]), found.client[1]) == (addresses[0], ports[0])


@given(ADDRESSES, st.tuples(PORTS, PORTS), st.booleans())
def test_part_of_a_header_is_no_verdict_yet(
    addresses: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address], ports: tuple[int, int], binary: bool
) -> None:
    header = (v2 if binary else v1)(*addresses, ports)
    assert {read_proxy_header(header[:end]) for end in range(len(header))} == {None}


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda rest: SIGNATURE + rest)))
def test_any_bytes_are_one_header_one_refusal_or_too_few(data: bytes) -> None:
    found = read_proxy_header(data)
    if isinstance(found, ProxyHeader):
        assert 15 <= found.size <= len(data)
        if found.client is not None:
            ip_address(found.client[0])
            assert 0 <= found.client[1] <= 65535
        assert read_proxy_header(data[: found.size]) == found
    elif found is None:
        assert len(data) < MAX_BYTES


@given(st.binary(min_size=1, max_size=200), st.integers(0, 200))
def test_what_comes_in_pieces_is_read_as_what_comes_whole(data: bytes, cut: int) -> None:
    early, whole = read_proxy_header(data[:cut]), read_proxy_header(data)
    if early is not None:
        assert type(early) is type(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN \x00\r\n",
        b"PROXY TCP4 " + b"1" * 120,
    ],
)
def test_what_is_not_quite_version_1_is_refused(data: bytes) -> None:
    assert isinstance(read_proxy_header(data), BadProxyHeader)


LOOPBACK = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), (1, 2))


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE[:11] + b"\r" + b"\x21\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),  # version 1 in the binary form
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),  # a command that is none
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),  # UDP
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),  # a Unix socket
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535),
        v2(*LOOPBACK, b"\x04"),
        v2(*LOOPBACK, b"\x04\x00\x05abc"),
        v2(*LOOPBACK, tlv(3, bytes(4))),
        v2(*LOOPBACK, tlv(3, bytes(3))),
    ],
)
def test_what_is_not_quite_version_2_is_refused(data: bytes) -> None:
    assert isinstance(read_proxy_header(data), BadProxyHeader)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x21\x00\x00\x03abc",
        v2(*LOOPBACK, command=0x20),
    ],
)
def test_a_header_for_the_proxy_itself_or_for_nobody_known_names_no_client(data: bytes) -> None:
    assert read_proxy_header(data) == ProxyHeader(len(data), None)


def test_the_checksum_is_verified_and_other_extensions_are_skipped() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    blank = v2(*LOOPBACK, tlv(2, b"edge.test") + tlv(3, bytes(4)))
    good = blank[:-4] + struct.pack("!I", crc32c(blank))
    assert read_proxy_header(good) == ProxyHeader(len(good), ("192.0.2.1", 1))
    for place in {*range(16, len(good))} - {len(good) - 7}:  # without its type it is no checksum
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        assert isinstance(read_proxy_header(bad), BadProxyHeader), place
