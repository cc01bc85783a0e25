"""Request targets: which are accepted as they came, which are read in more than one way, and their one normal form.

A target goes to the origin byte for byte, so rule, log and origin must read the same path in it. What proxies,
frameworks and file systems are known to read differently is a problem, never a guess: dot segments, empty
segments, backslashes, path parameters (`/admin;x=1` is `/admin` to some), escapes of separators and delimiters,
escapes of escapes, control characters, text that is not UTF-8. An escaped letter is no such thing: RFC 3986 §6.2.2
makes `/%61` and `/a` one path, so `Target.path` holds that one form, and rules see it whatever was sent.

The query is opaque here: no rule reads it, and it passes as it came. docs/targets.md lists it all.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from edge.contract.reasons import Reason

_ALPHANUMERIC: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_UNRESERVED: Final = _ALPHANUMERIC + b"-._~"
# RFC 3986 §3.3, what browsers leave unescaped in a path, and the backslash, which has an answer of its own below.
_PATH: Final = _UNRESERVED + b"!$&'()*+,;=:@%/" + b"[]^|" + b"\\"
_QUERY: Final = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))

# Nearly every target: no escape, parameter, empty segment or segment that begins with a dot. Possessive: linear.
_PLAIN: Final = re.compile(rb"((?:/(?![/.])[-A-Za-z0-9._~!$&'()*+,=:@\[\]^|]*+)++)(?:\?([!-\x22$-~]*+))?").fullmatch
_LONE_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE_FORM: Final = re.compile(
    rb"((?i:https?)://((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?))(/.*)?", re.DOTALL
)

# Each row: the private detail, and what is looked for in the path as it came.
_BEYOND_NORMALISING: Final = (("encoded_delimiter", re.compile(rb"%(?:3f|23)", re.IGNORECASE)),)
_NORMALISABLE: Final = (
    ("backslash", re.compile(rb"\\")),
    ("encoded_separator", re.compile(rb"%(?:2f|5c)", re.IGNORECASE)),
    ("path_parameter", re.compile(rb";|%3b", re.IGNORECASE)),
    ("empty_segment", re.compile(rb"//")),
)
# And in the path once decoded.
_BEYOND_NORMALISING_DECODED: Final = (
    ("control_character", re.compile(rb"[\x00-\x1f\x7f]")),
    ("double_encoding", re.compile(rb"%(?:[0-9a-f]{2}|u[0-9a-f]{4})", re.IGNORECASE)),
)
# Blanks around the dots: Windows file systems and some frameworks trim them.
_NORMALISABLE_DECODED: Final = (("dot_segment", re.compile(rb"/ *\.\.? *(?:/|\Z)")),)

_SEPARATOR: Final = re.compile(rb"[/\\]|%2f|%5c", re.IGNORECASE)
_PARAMETER: Final = re.compile(rb"(?:;|%3b).*", re.IGNORECASE | re.DOTALL)
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_NORMAL_ESCAPE: Final = {
    b"%%%02X" % byte: bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte for byte in range(256)
}


class Target(NamedTuple):
    """A request target with exactly one reading.

    `path` is what rules and logs see: in RFC 3986 §6.2.2 form (no escaped unreserved character, upper-case hex).
    `query` is what follows the first `?`, or None without one. `authority` is that of an absolute-form target, as
    it came, else None; the caller compares it with Host. `origin_form` is what the origin is sent.
    """

    path: bytes
    query: bytes | None
    authority: bytes | None
    origin_form: bytes


@dataclass(slots=True, frozen=True)
class TargetProblem:
    """Why a target is refused: BAD_TARGET or AMBIGUOUS_PATH. `detail` is private: for log and metrics."""

    reason: Reason
    detail: str


_MAX_KNOWN: Final = 1024
_MAX_KNOWN_BYTES: Final = 128
_known: dict[bytes, Target] = {}


class _Parts(NamedTuple):
    """A target taken apart, nothing decoded. `prefix` is an absolute-form's scheme and authority, else empty."""

    prefix: bytes
    authority: bytes | None
    path: bytes
    query: bytes | None


def check_target(target: bytes) -> Target | TargetProblem:
    """Accept a target that every party reads alike, or say what is wrong with it.

    `target` is the second word of the request line, in origin-form or absolute-form (RFC 9112 §3.2); its length
    is the caller's to limit.
    """
    known = _known.get(target)
    if known is not None:
        return known
    plain = _PLAIN(target)
    if plain is not None:
        path, query = plain.groups()
        return _remember(Target(path, query, None, target))
    parts = _split(target)
    if isinstance(parts, TargetProblem):
        return parts
    problem = _beyond_normalising(parts.path) or _normalisable(parts.path)
    if problem is not None:
        return problem
    return Target(_normal_escapes(parts.path), parts.query, parts.authority, _join(parts.path, parts.query))


def normalise_target(target: bytes) -> bytes | TargetProblem:
    """Return the one normal form of a target, for routes that opt in, or why it has none.

    Both kinds of slash, escaped or not, separate segments; path parameters are dropped, empty and dot segments
    resolved, unreserved characters unescaped, hex written in upper case. The query stays as it is, and so does
    the form: an absolute-form target keeps its authority. `check_target` accepts every result.
    """
    parts = _split(target)
    if isinstance(parts, TargetProblem):
        return parts
    problem = _beyond_normalising(parts.path)
    if problem is not None:
        return problem
    return parts.prefix + _join(_resolve(parts.path), parts.query)


def _remember(target: Target) -> Target:
    """Keep a plain target: a site is asked for some of its paths again and again."""
    if len(target.origin_form) <= _MAX_KNOWN_BYTES:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[target.origin_form] = target
    return target


def _split(target: bytes) -> _Parts | TargetProblem:
    """Take a target apart; what has no path, or holds bytes that no target may hold, is bad."""
    prefix, authority, origin_form = b"", None, target
    if target[:1] != b"/":
        absolute = _ABSOLUTE_FORM.fullmatch(target)
        if absolute is None:
            return TargetProblem(Reason.BAD_TARGET, "asterisk_form" if target == b"*" else "no_path")
        prefix, authority, origin_form = absolute[1], absolute[2], absolute[3] or b"/"
    path, mark, query = origin_form.partition(b"?")
    illegal = path.translate(None, _PATH) + query.translate(None, _QUERY)
    if illegal:
        return TargetProblem(Reason.BAD_TARGET, "fragment" if b"#" in illegal else "illegal_character")
    if _LONE_PERCENT.search(path):
        return TargetProblem(Reason.BAD_TARGET, "lone_percent")
    return _Parts(prefix, authority, path, query if mark else None)


def _join(path: bytes, query: bytes | None) -> bytes:
    return path if query is None else path + b"?" + query


def _beyond_normalising(path: bytes) -> TargetProblem | None:
    """Find what has no safe normal form."""
    decoded = unquote_to_bytes(path)
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return TargetProblem(Reason.AMBIGUOUS_PATH, "not_utf8")
    return _first_match(_BEYOND_NORMALISING, path) or _first_match(_BEYOND_NORMALISING_DECODED, decoded)


def _normalisable(path: bytes) -> TargetProblem | None:
    """Find what is read in more than one way, but can be brought into one form."""
    return _first_match(_NORMALISABLE, path) or _first_match(_NORMALISABLE_DECODED, unquote_to_bytes(path))


def _first_match(rows: tuple[tuple[str, re.Pattern[bytes]], ...], path: bytes) -> TargetProblem | None:
    for detail, pattern in rows:
        if pattern.search(path):
            return TargetProblem(Reason.AMBIGUOUS_PATH, detail)
    return None


def _resolve(path: bytes) -> bytes:
    """Resolve separators, parameters, empty and dot segments (RFC 3986 §5.2.4), and escapes (§6.2.2)."""
    segments = [_normal_escapes(_PARAMETER.sub(b"", segment)) for segment in _SEPARATOR.split(path)]
    resolved: list[bytes] = []
    for segment in segments:
        dots = unquote_to_bytes(segment).strip(b" ")
        if dots == b"..":
            del resolved[-1:]
        elif segment and dots != b".":
            resolved.append(segment)
    ends_in_name = resolved[-1:] == segments[-1:]
    return b"/" + b"/".join(resolved) + (b"" if ends_in_name or not resolved else b"/")


def _normal_escapes(path: bytes) -> bytes:
    """Unescape unreserved characters and write the hex of every other escape in upper case."""
    return _ESCAPE.sub(lambda escape: _NORMAL_ESCAPE[escape[0].upper()], path) if b"%" in path else path
