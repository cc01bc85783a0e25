"""What an access log line says. No query, no header value, no token: users and devices are keyed hashes.

Bytes from the wire are written as ASCII with backslash escapes; JSON escapes what is below U+0020.
"""

import hashlib
from typing import Final

import orjson

from edge.contract.exchange import Exchange
from edge.contract.identity import Level

MAX_PATH_BYTES: Final = 1024
_MAX_CACHED: Final = 20_000
_LEVELS: Final = tuple(level.name.lower() for level in sorted(Level))  # by number


class Ended:
    """What a line says of an exchange that ended. No header, token or body is kept with it."""

    __slots__ = (
        "actions",
        "bytes_in",
        "bytes_out",
        "detail",
        "device",
        "edge_s",
        "host",
        "id",
        "method",
        "origin_s",
        "outcome",
        "path",
        "peer",
        "reason",
        "rescheduled",
        "resolution",
        "route",
        "status",
        "time",
        "user",
    )

    def __init__(
        self,
        exchange: Exchange,
        *,
        status: int,
        outcome: str,
        edge_s: float,
        origin_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        request = exchange.request
        self.time = exchange.now
        self.id = exchange.id
        self.peer = request.peer
        self.method = request.method
        self.host = request.host
        self.path = request.path
        self.route = exchange.route.id
        self.status = status
        self.outcome = outcome
        self.reason = exchange.reason
        self.detail = exchange.reason_detail
        self.resolution = exchange.resolution
        self.user = exchange.user
        self.device = exchange.device
        self.rescheduled = exchange.rescheduled_count
        self.actions = exchange.actions
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.edge_s = edge_s
        self.origin_s = origin_s


class LineWriter:
    """Formats one exchange as a JSON line. `key`: 32 secret bytes, the same in all workers, so that hashes agree."""

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(key=key, digest_size=8)
        self._users: dict[int, str] = {}
        self._devices: dict[str, str] = {}

    def __repr__(self) -> str:
        return "LineWriter()"

    def line(self, ended: Ended) -> bytes:
        """Return the line of one finished exchange, with its line end. docs/operating.md lists its keys."""
        user, device = ended.user, ended.device
        source, result, where = ended.resolution
        return orjson.dumps(
            {
                "time": ended.time,
                "id": ended.id.decode(),
                "peer": ended.peer,
                "method": ended.method.decode(),
                "host": ended.host.decode("ascii", "backslashreplace"),
                "path": ended.path[:MAX_PATH_BYTES].decode("ascii", "backslashreplace"),
                "route": ended.route,
                "status": ended.status,
                "outcome": ended.outcome,
                "reason": ended.reason,
                "detail": ended.detail,
                "source": source,
                "result": result,
                "where": where,
                "level": "" if user is None else _LEVELS[user.level],
                "user": "" if user is None else self._users.get(user.customer_id) or self.user(user.customer_id),
                "device": "" if device is None else self._devices.get(device.esn) or self.device(device.esn),
                "device_type": 0 if device is None else device.device_type,
                "rescheduled": ended.rescheduled,
                "actions": ended.actions,
                "bytes_in": ended.bytes_in,
                "bytes_out": ended.bytes_out,
                "edge_us": int(ended.edge_s * 1e6),
                "origin_us": int(ended.origin_s * 1e6),
            },
            option=orjson.OPT_APPEND_NEWLINE,
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

    def user(self, customer_id: int) -> str:
        """Return the hash of a user."""
        if len(self._users) >= _MAX_CACHED:
            self._users.clear()
        hashed = self._users[customer_id] = self._hashed(f"user {customer_id}")
        return hashed

    def device(self, esn: str) -> str:
        """Return the hash of a device."""
        if len(self._devices) >= _MAX_CACHED:
            self._devices.clear()
        hashed = self._devices[esn] = self._hashed(f"device {esn}")
        return hashed

    def _hashed(self, subject: str) -> str:
        context = self._hash.copy()
        context.update(subject.encode())
        return context.hexdigest()
