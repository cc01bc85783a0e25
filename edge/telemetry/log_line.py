"""What an access log line says. No query, no header value, no token: users and devices are keyed hashes.

Bytes from the wire are written as ASCII with backslash escapes; JSON escapes what is below U+0020.
"""

import hashlib
from json.encoder import encode_basestring_ascii
from typing import Final, TypeAlias

import orjson

from edge.contract.exchange import Exchange
from edge.contract.identity import Level
from edge.telemetry.finished import Alike

MAX_PATH_BYTES: Final = 1024
_MAX_ASKED: Final = 1_000
_MAX_WHO: Final = 20_000
_quoted: Final = encode_basestring_ascii
_LEVELS: Final = tuple(level.name.lower() for level in sorted(Level))  # by number


Asked: TypeAlias = tuple[bytes, bytes]
"""Method and host."""

Who: TypeAlias = tuple[int, str]
"""Customer id and ESN, 0 and empty where there is none."""


class Ended:
    """What a line says of an exchange that ended. No header, token or body is kept with it."""

    __slots__ = (
        "actions",
        "alike",
        "bytes_in",
        "bytes_out",
        "device",
        "edge_s",
        "host",
        "id",
        "method",
        "origin_s",
        "path",
        "peer",
        "time",
        "user",
    )

    def __init__(
        self, exchange: Exchange, alike: Alike, *, edge_s: float, origin_s: float, bytes_in: int, bytes_out: int
    ) -> None:
        request = exchange.request
        self.time = exchange.now
        self.id = exchange.id
        self.peer = request.peer
        self.path = request.path
        self.method = request.method
        self.host = request.host
        self.alike = alike
        self.user = exchange.user
        self.device = exchange.device
        self.actions = exchange.actions
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.edge_s = edge_s
        self.origin_s = origin_s


class LineWriter:
    """Formats one exchange as a JSON line. `key`: 32 secret bytes, the same in all workers, so that hashes agree."""

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(key=key, digest_size=8)
        self._asked: dict[Asked, str] = {}
        self._second = 0
        self._second_text = "0"
        self._who: dict[Who, str] = {}

    def __repr__(self) -> str:
        return "LineWriter()"

    def line(self, ended: Ended) -> str:
        """Return the line of one finished exchange, with its line end. docs/operating.md lists its keys."""
        # Put together by hand, since a dict of two dozen keys costs more than all else of a line. What a client can
        # choose is escaped; all other text is code's own words, hashes, addresses and numbers.
        user, device, alike = ended.user, ended.device, ended.alike
        asked: Asked = (ended.method, ended.host)
        who: Who = (0 if user is None else user.customer_id, "" if device is None else device.esn)
        actions = orjson.dumps(ended.actions).decode() if ended.actions else "[]"
        second = int(ended.time)
        if second != self._second:
            self._second, self._second_text = second, str(second)
        return (
            f'{{"time":{self._second_text}.{str(1_000_000 + int((ended.time - second) * 1e6))[1:]},'
            f'"id":"{ended.id.decode()}","peer":{_quoted(ended.peer)},"path":{_quoted(_path(ended.path))},'
            f"{self._asked.get(asked) or self._said_asked(asked)},{alike.said or self._said_alike(alike)},"
            f'{self._who.get(who) or self._said_of(who)},"actions":{actions},'
            f'"bytes_in":{ended.bytes_in},"bytes_out":{ended.bytes_out},'
            f'"edge_us":{int(ended.edge_s * 1e6)},"origin_us":{int(ended.origin_s * 1e6)}}}\n'
        )

    def early_line(self, now: float, peer: str, status: int, reason: str, detail: str) -> bytes:
        """Return the line of a request that was refused before it became an exchange."""
        return orjson.dumps(
            {
                "time": now,
                "peer": peer,
                "route": "",
                "status": status,
                "outcome": "refused",
                "reason": reason,
                "detail": detail,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def _said_asked(self, asked: Asked) -> str:
        if len(self._asked) >= _MAX_ASKED:
            self._asked.clear()
        method, host = asked
        said = self._asked[asked] = _members({"method": _text(method), "host": _text(host)})
        return said

    def _said_alike(self, alike: Alike) -> str:
        route, status, outcome, resolution, level, reason, detail, _, device_type, rescheduled = alike.ending
        source, result, where = resolution
        alike.said = _members(
            {
                "route": route,
                "status": status,
                "outcome": outcome,
                "reason": reason,
                "detail": detail,
                "source": source,
                "result": result,
                "where": where,
                "level": _LEVELS[level] if level >= 0 else "",
                "device_type": device_type,
                "rescheduled": rescheduled,
            }
        )
        return alike.said

    def _said_of(self, who: Who) -> str:
        if len(self._who) >= _MAX_WHO:
            self._who.clear()
        customer_id, esn = who
        said = f'"user":"{self.user(customer_id) if customer_id else ""}","device":"{self.device(esn) if esn else ""}"'
        self._who[who] = said
        return said

    def user(self, customer_id: int) -> str:
        """Return the hash of a user."""
        return self._hashed(f"user {customer_id}")

    def device(self, esn: str) -> str:
        """Return the hash of a device."""
        return self._hashed(f"device {esn}")

    def _hashed(self, subject: str) -> str:
        context = self._hash.copy()
        context.update(subject.encode())
        return context.hexdigest()


def _text(wire: bytes) -> str:
    return wire.decode("ascii", "backslashreplace")


def _path(path: bytes) -> str:
    return _text(path if len(path) <= MAX_PATH_BYTES else path[:MAX_PATH_BYTES])


def _members(of: dict[str, object]) -> str:
    return orjson.dumps(of).decode()[1:-1]
