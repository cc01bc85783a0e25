"""What an access log line says. No query, no header value, no token: users and devices are keyed hashes."""

import hashlib
import os
import time
from pathlib import Path
from typing import Final

import orjson

from edge.contract.exchange import Exchange

MAX_PATH_BYTES: Final = 1024
_MAX_CACHED: Final = 20_000


class LineWriter:
    """Formats one exchange as a JSON line. `key`: 32 secret bytes, the same in all workers, so that hashes agree."""

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(key=key, digest_size=8)
        self._hashes: dict[str, str] = {}
        self._second = -1
        self._second_text = ""

    def __repr__(self) -> str:
        return "LineWriter()"

    def line(
        self,
        exchange: Exchange,
        *,
        status: int,
        outcome: str,
        edge_s: float,
        origin_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> bytes:
        """Return the line of one finished exchange, with its line end. docs/operating.md lists its keys."""
        request = exchange.request
        user, device = exchange.user, exchange.device
        source, result, where = exchange.resolution
        return orjson.dumps(
            {
                "time": self._time(exchange.now),
                "id": text(exchange.id),
                "peer": request.peer,
                "method": text(request.method),
                "host": text(request.host),
                "path": text(request.path[:MAX_PATH_BYTES]),
                "route": exchange.route.id,
                "status": status,
                "outcome": outcome,
                "reason": exchange.reason,
                "detail": exchange.reason_detail,
                "source": source,
                "result": result,
                "where": where,
                "level": int(user.level) if user is not None else 0,
                "user": self.hashed(f"u{user.customer_id}") if user is not None else "",
                "device": self.hashed(f"d{device.esn}") if device is not None else "",
                "device_type": device.device_type if device is not None else 0,
                "actions": exchange.actions,
                "bytes_in": bytes_in,
                "bytes_out": bytes_out,
                "edge_us": int(edge_s * 1e6),
                "origin_us": int(origin_s * 1e6),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def early_line(self, now: float, peer: str, status: int, reason: str, detail: str) -> bytes:
        """Return the line of a request that was refused before it became an exchange."""
        return orjson.dumps(
            {
                "time": self._time(now),
                "peer": peer,
                "route": "",
                "status": status,
                "outcome": "refused",
                "reason": reason,
                "detail": detail,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def hashed(self, subject: str) -> str:
        """Return the keyed hash of a user or device, 16 hex digits."""
        known = self._hashes.get(subject)
        if known is None:
            context = self._hash.copy()
            context.update(subject.encode())
            if len(self._hashes) >= _MAX_CACHED:
                self._hashes.clear()
            known = self._hashes[subject] = context.hexdigest()
        return known

    def _time(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"


def text(raw: bytes) -> str:
    """Return bytes from the wire as printable text; JSON escapes what is below U+0020, this the rest."""
    return raw.decode("ascii", "backslashreplace")


def load_hash_key(var: Path) -> bytes:
    """Return the key for user and device hashes from `var`/secrets/access-log.key, made when missing (mode 0600)."""
    path = var / "secrets" / "access-log.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(32))
        try:
            path.hardlink_to(fresh)  # of several workers that start together, the first one's key stays
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()
