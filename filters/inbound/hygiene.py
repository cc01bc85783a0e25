"""hygiene: the client's head is cleared of everything that only the edge may say, and gets what the edge says.

Runs first, so that no later filter, and no error path, sees a client's identity header (THREATS H, F1).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from edge.contract.exchange import Exchange, Request
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.headers import Headers
from filters.header_names import NameClass, classify, harmless_names

_Field = tuple[bytes, bytes, bytes]

# W3C Trace Context, version 00; an all-zero id is invalid.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_FORWARDED_FOR: Final = b"x-forwarded-for"
_FORWARDED_PROTO: Final = b"x-forwarded-proto"
_FORWARDED_HOST: Final = b"x-forwarded-host"
_PROTO_FIELDS: Final = {
    "http": (_FORWARDED_PROTO, _FORWARDED_PROTO, b"http"),
    "https": (_FORWARDED_PROTO, _FORWARDED_PROTO, b"https"),
}
_REWRITTEN: Final = frozenset({_FORWARDED_FOR, _FORWARDED_PROTO, _FORWARDED_HOST, b"traceparent", b"forwarded"})
_BELIEVED: Final = frozenset({NameClass.FORWARDED, NameClass.MESH})


class HygieneFilter:
    """Strips identity, forwarding and override headers; adds request id, trace parent and forwarding headers."""

    id = "hygiene"
    on_error = OnError.CLOSED
    deadline_s = 1.0
    concurrency = 1

    def __init__(self, trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()) -> None:
        """`trusted_proxies` tells which addresses in a trusted peer's X-Forwarded-For are proxies of ours too."""
        self._trusted_proxies = tuple(trusted_proxies)

    def inbound(self, exchange: Exchange) -> Verdict:
        """Clean the request's head."""
        request = exchange.request
        fields = request.headers.fields
        believed: list[_Field] = []
        harmless = harmless_names
        for field in fields:
            if field[0] not in harmless:
                fields, believed = _sift(exchange, fields)
                break
        if request.peer_trusted:
            added = self._continue_chain(exchange, believed)
        else:
            id_ = exchange.id
            added = [
                (b"x-request-id", b"x-request-id", id_),
                (b"traceparent", b"traceparent", b"00-%b-%b-00" % (id_, id_[16:])),
                (_FORWARDED_FOR, _FORWARDED_FOR, request.peer.encode() or b"unknown"),
                _PROTO_FIELDS[request.scheme],
                (_FORWARDED_HOST, _FORWARDED_HOST, request.host),
            ]
        request.headers.fields = fields + added
        return CONTINUE

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:
        """Let through only trailers that mean nothing to the edge or to an origin's framing (THREATS H7)."""
        kept = []
        for field in trailers.fields:
            judged = classify(field[0])
            if judged is NameClass.HARMLESS:
                kept.append(field)
            elif judged is NameClass.INTERNAL:
                exchange.stripped_headers += 1
        trailers.fields = kept

    def _continue_chain(self, exchange: Exchange, believed: list[_Field]) -> list[_Field]:
        """Believe a trusted peer's forwarding headers, and add this hop to them."""
        request = exchange.request
        connection_peer = request.peer
        hops = [hop for value in _values(believed, _FORWARDED_FOR) for hop in value.split(b",")]
        request.peer = self._client(hops, connection_peer)
        scheme = _only(believed, _FORWARDED_PROTO)
        if scheme in (b"http", b"https"):
            request.scheme = scheme.decode()
            exchange.secure = exchange.secure or scheme == b"https"
        kept = [field for field in believed if field[0] not in _REWRITTEN]
        chain = b", ".join([*(hop.strip() for hop in hops), connection_peer.encode() or b"unknown"])
        host = _only(believed, _FORWARDED_HOST) or request.host
        return [
            *kept,
            *_forwarded(believed, request, connection_peer),
            (b"x-request-id", b"x-request-id", exchange.id),
            (b"traceparent", b"traceparent", _trace_parent(exchange.id, _only(believed, b"traceparent"))),
            (_FORWARDED_FOR, _FORWARDED_FOR, chain),
            _PROTO_FIELDS[request.scheme],
            (_FORWARDED_HOST, _FORWARDED_HOST, host),
        ]

    def _client(self, hops: list[bytes], connection_peer: str) -> str:
        """Return the last address in the chain that is not one of our proxies; what can't be read ends the walk."""
        client = connection_peer
        for hop in reversed(hops):
            address = _address(hop.strip())
            if address is None:
                break
            client = str(address)
            if not any(address in network for network in self._trusted_proxies):
                break
        return client


def _sift(exchange: Exchange, fields: list[_Field]) -> tuple[list[_Field], list[_Field]]:
    """Split fields into those that pass and those that a trusted peer is believed; count the stripped identities."""
    trusted = exchange.request.peer_trusted
    passed: list[_Field] = []
    believed: list[_Field] = []
    for field in fields:
        name = field[0]
        judged = classify(name)
        if judged is NameClass.HARMLESS:
            passed.append(field)
        elif judged is NameClass.INTERNAL:
            exchange.stripped_headers += 1
        elif trusted and _plainly_spelled(name) and (judged in _BELIEVED or name == b"traceparent"):
            believed.append(field)
    return passed, believed


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


def _plainly_spelled(name: bytes) -> bool:
    return name.replace(b"-", b"").isalnum()


def _values(fields: list[_Field], name: bytes) -> list[bytes]:
    return [value for lower, _, value in fields if lower == name]


def _only(fields: list[_Field], name: bytes) -> bytes | None:
    values = _values(fields, name)
    return values[0] if len(values) == 1 else None


def _trace_parent(id_: bytes, received: bytes | None) -> bytes:
    """Continue a valid trace with a span of ours, or start one that bears the request id."""
    trace = _TRACEPARENT.fullmatch(received) if received is not None else None
    return b"00-%b-%b-%b" % ((id_, id_[16:], b"00") if trace is None else (trace[1], id_[16:], trace[2]))


def _forwarded(believed: list[_Field], request: Request, connection_peer: str) -> list[_Field]:
    """Add this hop to a `Forwarded` chain, if there is one (RFC 7239)."""
    chain = _values(believed, b"forwarded")
    if not chain:
        return []
    node = f'"[{connection_peer}]"' if ":" in connection_peer else connection_peer
    hop = f"for={node};proto={request.scheme}".encode()
    return [(b"forwarded", b"forwarded", b", ".join([*chain, hop]))]
