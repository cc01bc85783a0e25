"""What the edge tells an origin about the way a request came: request id, trace, and X-Forwarded headers."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from edge.contract.exchange import Exchange, Request
from edge.contract.headers import Field, make_field

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# W3C Trace Context, version 00; an all-zero id is invalid.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_HOST: Final = b"x-forwarded-host"
_PROTO_FIELDS: Final = {"http": make_field(_PROTO, b"http"), "https": make_field(_PROTO, b"https")}
# Without hyphens, so that no variant of a name stands beside the one that is written here.
_REWRITTEN: Final = frozenset({b"xforwardedfor", b"xforwardedproto", b"xforwardedhost", b"traceparent", b"forwarded"})
_MAX_WAYS: Final = 4096
_ways: Final[dict[tuple[str, str, bytes], list[Field]]] = {}  # what is the same for each request of a device
_NO_ADDRESS: Final = b"unknown"


def first_hop(exchange: Exchange) -> list[Field]:
    """Return the fields for a request from an untrusted peer: nobody was before it."""
    request, id_ = exchange.request, exchange.id
    way = (request.peer, request.scheme, request.authority)
    fields = _ways.get(way)
    if fields is None:
        if len(_ways) >= _MAX_WAYS:
            _ways.clear()
        fields = _ways[way] = [
            make_field(_FOR, request.peer.encode() or _NO_ADDRESS),
            _PROTO_FIELDS[request.scheme],
            make_field(_HOST, request.authority),
        ]
    parent = b"00-%b-%b-00" % (id_, id_[16:])
    # Written out, because it is done for nearly every request and the values are of our own making.
    return [
        (b"x-request-id", b"x-request-id: %b\r\n" % id_, id_),
        (b"traceparent", b"traceparent: %b\r\n" % parent, parent),
        *fields,
    ]


def next_hop(exchange: Exchange, believed: list[Field], trusted_proxies: Sequence[Network]) -> list[Field]:
    """Believe a trusted peer's forwarding fields, and return them with this hop added.

    Sets the request's peer and scheme, and whether the exchange is secure, to what they say. The client is the last
    address in the chain that is not in `trusted_proxies`.
    """
    request = exchange.request
    connection_peer = request.peer
    hops = [hop.strip() for value in _values(believed, _FOR) for hop in value.split(b",")]
    request.peer = _client(hops, connection_peer, trusted_proxies)
    scheme = _only(believed, _PROTO)
    if scheme in (b"http", b"https"):
        locally_excepted = exchange.secure and request.scheme == "http"
        exchange.secure = scheme == b"https" or locally_excepted
        request.scheme = scheme.decode()
    return [
        *(field for field in believed if field[0].replace(b"-", b"") not in _REWRITTEN),
        *_forwarded(believed, request, connection_peer),
        make_field(b"x-request-id", exchange.id),
        make_field(b"traceparent", _trace_parent(exchange.id, _only(believed, b"traceparent"))),
        make_field(_FOR, b", ".join([*hops, connection_peer.encode() or _NO_ADDRESS])),
        _PROTO_FIELDS[request.scheme],
        make_field(_HOST, _only(believed, _HOST) or request.authority),
    ]


def _client(hops: list[bytes], connection_peer: str, trusted_proxies: Sequence[Network]) -> str:
    """Walk the chain from its near end; what can't be read ends the walk."""
    client = connection_peer
    for hop in reversed(hops):
        address = _address(hop)
        if address is None:
            break
        client = str(address)
        if not any(address in network for network in trusted_proxies):
            break
    return client


def _address(text: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4-mapped one as IPv4, or None; zones mean nothing here (THREATS H16)."""
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def _values(fields: list[Field], name: bytes) -> list[bytes]:
    return [value for lower, _, value in fields if lower == name]


def _only(fields: list[Field], name: bytes) -> bytes | None:
    values = _values(fields, name)
    return values[0] if len(values) == 1 else None


def _trace_parent(id_: bytes, received: bytes | None) -> bytes:
    """Continue a valid trace with a span of ours, or start one that bears the request id."""
    trace = _TRACEPARENT.fullmatch(received) if received is not None else None
    return b"00-%b-%b-%b" % ((id_, id_[16:], b"00") if trace is None else (trace[1], id_[16:], trace[2]))


def _forwarded(believed: list[Field], request: Request, connection_peer: str) -> list[Field]:
    """Add this hop to a `Forwarded` chain, if there is one (RFC 7239)."""
    chain = _values(believed, b"forwarded")
    if not chain:
        return []
    node = f'"[{connection_peer}]"' if ":" in connection_peer else connection_peer or "unknown"
    hop = f"for={node};proto={request.scheme}".encode()
    return [make_field(b"forwarded", b", ".join([*chain, hop]))]
