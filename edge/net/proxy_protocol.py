"""The PROXY protocol, versions 1 and 2: what a load balancer says of the client before the client's own bytes.

Pure: bytes in, a value out. https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, sections 2.1 and 2.2. Stricter
than that: TCP only, numbers without leading zeros, extensions that fill the header, and nothing that must be guessed.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_BYTES: Final = 4096
"""The longest header that is read; version 1 has 107 bytes at most, version 2 16 and what its TLVs need."""

_V1_MAX_BYTES: Final = 107
_V1: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN( [ -~]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 12, _TCP6: 36}
_CRC32C: Final = 0x03
_CRC_TABLE: Final[list[int]] = []


@dataclass(slots=True, frozen=True)
class ProxyHeader:
    """A whole header of `size` bytes. `client` is None when it speaks for the proxy itself, or does not know."""

    size: int
    client: tuple[str, int] | None


@dataclass(slots=True, frozen=True)
class BadProxyHeader:
    """Bytes that are no PROXY header, and why not: a short text without them."""

    problem: str


def read_proxy_header(data: bytes) -> ProxyHeader | BadProxyHeader | None:
    """Return the header that `data` begins with, None while more is needed."""
    if data[:1] == SIGNATURE[:1]:
        return _read_v2(data)
    return _read_v1(data)


def _read_v1(data: bytes) -> ProxyHeader | BadProxyHeader | None:
    start = b"PROXY "
    if data[: len(start)] != start[: len(data)]:
        return BadProxyHeader("no header")
    end = data.find(b"\n", 0, _V1_MAX_BYTES)
    if end < 0:
        return None if len(data) < _V1_MAX_BYTES else BadProxyHeader("line too long")
    line = data[: end + 1]
    if _V1_UNKNOWN.fullmatch(line) is not None:
        return ProxyHeader(len(line), None)
    found = _V1.fullmatch(line)
    if found is None:
        return BadProxyHeader("malformed line")
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        source, destination = (ip_address(found[part].decode()) for part in (2, 3))
    except ValueError:
        return BadProxyHeader("malformed address")
    if not isinstance(source, kind) or not isinstance(destination, kind):
        return BadProxyHeader("address of another family")
    ports = found[4], found[5]
    if any(int(port) > 65535 or str(int(port)).encode() != port for port in ports):
        return BadProxyHeader("malformed port")
    return ProxyHeader(len(line), (str(source), int(ports[0])))


def _read_v2(data: bytes) -> ProxyHeader | BadProxyHeader | None:
    if data[:12] != SIGNATURE[: len(data)]:
        return BadProxyHeader("no header")
    if len(data) < 16:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if version_command not in (_LOCAL, _PROXY):
        return BadProxyHeader("unknown version or command")
    if family not in (_UNSPECIFIED, *_ADDRESS_BYTES):
        return BadProxyHeader("neither TCP over IPv4 nor over IPv6")
    if size > MAX_BYTES:
        return BadProxyHeader("header too long")
    addresses = _ADDRESS_BYTES.get(family, 0)
    if length < addresses:
        return BadProxyHeader("addresses cut short")
    if len(data) < size:
        return None
    # What an unspecified family is followed by has no form that could be checked.
    problem = _check_tlvs(data[:size], 16 + addresses) if family != _UNSPECIFIED else ""
    if problem:
        return BadProxyHeader(problem)
    if version_command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader(size, None)
    if family == _TCP4:
        return ProxyHeader(size, (str(IPv4Address(data[16:20])), struct.unpack_from("!H", data, 24)[0]))
    return ProxyHeader(size, (str(IPv6Address(data[16:32])), struct.unpack_from("!H", data, 48)[0]))


def _check_tlvs(header: bytes, start: int) -> str:
    """Return what is wrong with the extensions: they must fill the header, and their checksum must be right."""
    while start < len(header):
        if start + 3 > len(header):
            return "malformed extension"
        kind, length = struct.unpack_from("!BH", header, start)
        end = start + 3 + length
        if end > len(header):
            return "malformed extension"
        if kind == _CRC32C:
            if length != 4:
                return "malformed checksum"
            zeroed = header[: start + 3] + bytes(4) + header[end:]
            if header[start + 3 : end] != struct.pack("!I", crc32c(zeroed)):
                return "wrong checksum"
        start = end
    return ""


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`, RFC 9260 appendix A."""
    if not _CRC_TABLE:
        for byte in range(256):
            crc = byte
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
            _CRC_TABLE.append(crc)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
