"""Which route a request takes: the host's table first, then the longest path.

A host that any route names has a table of its own and never falls back to the routes without hosts. Paths match in
whole segments, bytes for bytes, case counts. A path that has percent-encoded bytes or path parameters is read in
each way an origin may read it; when the readings lead to different routes, the answer is AMBIGUOUS_PATH, so that no
spelling of a guarded path takes the route of an open one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from edge.contract.reasons import Reason
from edge.contract.route import Route

_Choice: TypeAlias = Route | dict[bytes, Route]
_ANY_HOST: Final = b""
_BEYOND_ASCII: Final = re.compile(rb"%[89A-Fa-f][0-9A-Fa-f]")


@dataclass(slots=True, frozen=True)
class Entry:
    """A route and what it matches: lower-case hosts and upper-case methods, None for all."""

    route: Route
    path: bytes
    exact: bool = False
    hosts: tuple[bytes, ...] | None = None
    methods: tuple[bytes, ...] | None = None


class _PathTable:
    """The routes of one host, by path without its last slash (the root is b"")."""

    __slots__ = ("at", "below", "longest")

    def __init__(self, entries: list[Entry]) -> None:
        self.below = _choices(entry for entry in entries if not entry.exact)  # a prefix of a request's path
        self.longest = max(map(len, self.below), default=0)
        whole = {**self.below, **_choices(entry for entry in entries if entry.exact)}
        self.at = whole | {path + b"/": choice for path, choice in whole.items()}  # a request's whole path

    def find(self, path: bytes) -> _Choice | None:
        """Return what the longest matching path offers."""
        choice = self.at.get(path)
        if choice is not None:
            return choice
        # Starting below the longest known path bounds the work for a target made of slashes.
        end = path.rfind(b"/", 0, self.longest + 1)
        while end >= 0:
            choice = self.below.get(path[:end])
            if choice is not None:
                return choice
            end = path.rfind(b"/", 0, end)
        return None


class RouteTable:
    """All routes of one snapshot. Immutable once made."""

    __slots__ = ("_any_host", "_hosts", "_wildcards", "all", "by_id")

    def __init__(self, entries: Iterable[Entry]) -> None:
        entries = tuple(entries)
        self.all: tuple[Route, ...] = tuple(entry.route for entry in entries)
        self.by_id: Mapping[str, Route] = MappingProxyType({route.id: route for route in self.all})
        by_host: dict[bytes, list[Entry]] = {}
        for entry in entries:
            for host in entry.hosts if entry.hosts is not None else (_ANY_HOST,):
                by_host.setdefault(host, []).append(entry)
        self._hosts = {host: _PathTable(listed) for host, listed in by_host.items()}
        self._any_host = self._hosts.pop(_ANY_HOST, None)
        self._wildcards = any(host.startswith(b"*.") for host in self._hosts)

    def match(self, host: bytes, path: bytes, method: bytes) -> Route | Reason:
        """Return the route of a request, or why there is none.

        `host` is lower-case without port, `path` the request path without query, `method` upper-case. The reasons are
        NO_ROUTE, METHOD_NOT_ALLOWED and AMBIGUOUS_PATH.
        """
        table = self._hosts.get(host)
        if table is None:
            table = self._beyond_named(host)
            if table is None:
                return Reason.NO_ROUTE
        choice = table.at.get(path)
        if type(choice) is Route:  # no route's path has anything in it that could be read in two ways
            return choice
        if b"%" in path or b";" in path:
            return _agreed(table, path, method)
        return _by_method(table.find(path), method)

    def allowed(self, host: bytes, path: bytes) -> tuple[bytes, ...]:
        """Return the methods named for a path that `match` answered with METHOD_NOT_ALLOWED (RFC 9110 §10.2.1)."""
        table = self._hosts.get(host) or self._beyond_named(host)
        choice = table.find(path) if table is not None else None
        return tuple(sorted(choice)) if isinstance(choice, dict) else ()

    def _beyond_named(self, host: bytes) -> _PathTable | None:
        """Return the table of the longest *.suffix that the host ends with, or that of every other host."""
        dot = host.find(b".") if self._wildcards else -1
        while dot >= 0:
            table = self._hosts.get(b"*" + host[dot:])
            if table is not None:
                return table
            dot = host.find(b".", dot + 1)
        return self._any_host

    def __repr__(self) -> str:
        return f"RouteTable({', '.join(self.by_id)})"


def _choices(entries: Iterable[Entry]) -> dict[bytes, _Choice]:
    """Return by path what the entries offer there: a route for all methods, or one for each."""
    table: dict[bytes, _Choice] = {}
    for entry in entries:
        key = entry.path.rstrip(b"/")
        choice = table.get(key)
        if entry.methods is None:
            table[key] = entry.route
        elif isinstance(choice, dict):
            choice.update(dict.fromkeys(entry.methods, entry.route))
        else:
            table[key] = dict.fromkeys(entry.methods, entry.route)
    for choice in table.values():
        if isinstance(choice, dict) and b"GET" in choice:
            choice.setdefault(b"HEAD", choice[b"GET"])
    return table


def _by_method(choice: _Choice | None, method: bytes) -> Route | Reason:
    if choice is None:
        return Reason.NO_ROUTE
    if isinstance(choice, dict):
        return choice.get(method, Reason.METHOD_NOT_ALLOWED)
    return choice


def _agreed(table: _PathTable, path: bytes, method: bytes) -> Route | Reason:
    found = {_by_method(table.find(reading), method) for reading in _readings(path)}
    return found.pop() if len(found) == 1 else Reason.AMBIGUOUS_PATH


def _readings(path: bytes) -> set[bytes]:
    """Return the path as it stands and decoded, both with path parameters and without.

    Encoded bytes beyond ASCII are decoded in all of them: they cannot stand in a target in any other way.
    """
    spellings = (_BEYOND_ASCII.sub(_decoded, path), unquote_to_bytes(path))
    return {*spellings, *(_without_parameters(spelling) for spelling in spellings if b";" in spelling)}


def _decoded(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[0][1:], 16),))


def _without_parameters(path: bytes) -> bytes:
    """Drop parameters, and with them the segments that held nothing else: some origins merge what is left."""
    segments = (segment.partition(b";")[0] for segment in path.split(b"/"))
    return b"/" + b"/".join(filter(None, segments))
