"""The Host header: one form for rule, log and origin (THREATS P7)."""

import re

_HOST = re.compile(
    rb"((?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
_MAX_KNOWN = 1024
_MAX_HOST_BYTES = 260
_known: dict[bytes, tuple[bytes, bytes] | None] = {}


def parse_host(value: bytes) -> tuple[bytes, bytes] | None:
    """Return `(authority, host)` in lower case, the host without its port, or None when it is not a host.

    User information, a trailing dot, empty labels, non-ASCII names and ports over 65535 are refused. Answers for
    values seen before come from a bounded table, since a site has few hosts.
    """
    if value in _known:
        return _known[value]
    parsed = _parse(value)
    if len(value) <= _MAX_HOST_BYTES:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[value] = parsed
    return parsed


def _parse(value: bytes) -> tuple[bytes, bytes] | None:
    lower = value.lower()
    match = _HOST.fullmatch(lower) if len(lower) <= _MAX_HOST_BYTES else None
    if match is None or int(match[2] or 0) > 65535:
        return None
    return lower, match[1]
