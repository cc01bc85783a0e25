"""Field lines: taken apart once, recognised afterwards.

llhttp has validated every line before it comes here. Most lines of most requests have been seen before (the device's
`User-Agent`, the origin's `Server`), so a table of whole lines saves taking them apart again. It is bounded, forgets
everything when it is full, and never holds a line that may carry a secret.
"""

from typing import Final

from edge.contract.headers import Field

# Never relayed (RFC 9110 §7.6.1); those that frame the message are written anew for the next hop.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_SECRET: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})
_MAX_KNOWN: Final = 4096
_MAX_KNOWN_LINE_BYTES: Final = 128

_end_to_end: dict[bytes, Field] = {}
_hop_by_hop: dict[bytes, Field] = {}


def split_fields(lines: list[bytes], hop: dict[bytes, list[bytes]]) -> list[Field]:
    """Return the end-to-end fields of valid field lines; put the values of the hop-by-hop ones into `hop`.

    Takes `lines` over. Look-ups run inside C; only lines that are new, or for this hop, are gone through here.
    """
    fields: list[Field | None] = [*map(_end_to_end.get, lines)]
    for _ in range(fields.count(None)):
        place = fields.index(None)
        line = lines[place]
        field = _hop_by_hop.get(line) or _take_apart(line)
        if field[0] in HOP_BY_HOP:
            hop.setdefault(field[0], []).append(field[2])
            del fields[place], lines[place]
        else:
            fields[place] = field
    return fields  # type: ignore[return-value]  # no None is left


def _take_apart(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    lower = name.lower()
    value = value.strip(b" \t")
    field = (lower, name + b": " + value + b"\r\n", value)
    if len(line) <= _MAX_KNOWN_LINE_BYTES and lower not in _SECRET and not lower.startswith(b"x-"):
        table = _hop_by_hop if lower in HOP_BY_HOP else _end_to_end
        if len(table) >= _MAX_KNOWN:
            table.clear()
        table[line] = field
    return field
