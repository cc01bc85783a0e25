"""Renewals that workers and edges share through Redis: one call to the cookie service, one new pair for all.

Theory of operation. Who finds neither result nor lock of a token takes the lock and *leads*: it renews, and stores what
came of it. The first result that is stored is everybody's. Who finds the lock *follows*: it looks again, less and less
often, until there is a result, or no lock any more and it leads itself. A leader that dies leaves a lock that expires;
who has followed for as long as a lock lasts renews, whatever it finds. Where the session is updated, what the update
made takes the place of the result, or is the first one for a leader that is still at it.

Redis knows no token: its keys are digests, and a result is sealed under a key that is derived from the token. It is
asked under a deadline and a breaker. Where it cannot be had, a worker renews for itself, as it does without.
"""

import asyncio
import os
import time
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from google.protobuf.message import DecodeError
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from edge.clients.cookie_service import read_renewal, write_renewal
from edge.clients.redis_pipeline import RedisPipeline
from edge.contract.ports import Renew, RenewalOutcome, RenewedCookie
from edge.telemetry.metrics import WorkerMetrics
from resilience.breaker import Breaker

_NONCE_BYTES: Final = 12
_MAX_RESULT_BYTES: Final = 16 * 1024
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.04
_SHARED: Final = frozenset((RenewalOutcome.RENEWED, RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED))
# Another's result is better than these; a definitive answer to this worker's own call stands.
_YIELDS: Final = frozenset((RenewalOutcome.RENEWED, RenewalOutcome.UNAVAILABLE))

# KEYS: result, lock. ARGV: owner, life of the lock in ms.
_LOOK: Final = """
local result = redis.call('GET', KEYS[1])
if result then return result end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
# KEYS: result, lock. ARGV: owner, result, life of the result in ms. An update is newer than what was renewed before it.
_REPLACE: Final = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
# KEYS: result, lock. ARGV: owner, result or nothing, life of the result in ms. A lock is released by its owner only.
_END: Final = """
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return redis.call('GET', KEYS[1])
"""


class _Seen(Enum):
    FREE = 1  # and now locked by who looked
    HELD = 0


class _Failed(Exception):  # noqa: N818 - never leaves this module; `outcome` is the metric's label
    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class RedisRenewals:
    """Implements `edge.contract.ports.SharedRenewals`. Counts what it does as calls of service `renewals`."""

    def __init__(
        self,
        redis: RedisPipeline,
        environment: str,
        *,
        lock_s: float,
        breaker: Breaker,
        metrics: WorkerMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Share through `redis` with the edges of the same `environment`.

        `lock_s` is how long a leader may take before another does it.
        """
        self._redis = redis
        self._environment = environment
        self._lock_s = lock_s
        self._breaker = breaker
        self._metrics = metrics
        self._clock = clock

    def __repr__(self) -> str:
        return f"RedisRenewals({self._environment}, {self._breaker!r})"

    async def once(self, presented: bytes, renew: Renew, keep_s: float) -> RenewedCookie:
        """Return what the renewal of `presented` brought: by `renew` here, or just now elsewhere."""
        flight = _Flight(presented, self._environment)
        give_up, pause_s, role = self._clock() + self._lock_s, _FIRST_PAUSE_S, "led"
        try:
            seen = await self._look(flight)
            while seen is _Seen.HELD and self._clock() < give_up:
                await asyncio.sleep(pause_s)
                pause_s, role = min(2 * pause_s, _LONGEST_PAUSE_S), "took_over"
                seen = await self._look(flight)
        except _Failed as failed:
            self._metrics.remote_call("renewals", failed.outcome)
            return await renew()
        if isinstance(seen, RenewedCookie):
            self._metrics.remote_call("renewals", "followed")
            return seen
        self._metrics.remote_call("renewals", role if seen is _Seen.FREE else "waited_in_vain")
        own = await renew()
        try:
            return await self._end(flight, own, keep_s)
        except _Failed as failed:
            self._metrics.remote_call("renewals", failed.outcome)
            return own

    async def replace(self, presented: bytes, updated: RenewedCookie, keep_s: float) -> None:
        """Give `updated` to who renews the EdgeId value `presented` in the next `keep_s` seconds, if that can be."""
        flight = _Flight(presented, self._environment)
        try:
            done = await self._run(_REPLACE, flight, flight.sealed(updated), max(1, round(1000 * keep_s)))
            self._metrics.remote_call("renewals", "replaced" if done == 1 else "bad_answer")
        except _Failed as failed:
            self._metrics.remote_call("renewals", failed.outcome)

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.close()

    async def _look(self, flight: "_Flight") -> _Seen | RenewedCookie:
        answer = await self._run(_LOOK, flight, round(1000 * self._lock_s))
        if isinstance(answer, bytes):
            return flight.opened(answer)
        try:
            return _Seen(answer)
        except ValueError:
            raise _Failed("bad_answer") from None

    async def _end(self, flight: "_Flight", own: RenewedCookie, keep_s: float) -> RenewedCookie:
        """Store a result if it is the first, let go of the lock, and return the result that counts."""
        sealed = flight.sealed(own) if own.outcome in _SHARED else b""
        first = await self._run(_END, flight, sealed, max(1, round(1000 * keep_s)))
        if not isinstance(first, bytes) or first == sealed or own.outcome not in _YIELDS:
            return own
        self._metrics.remote_call("renewals", "late")
        return flight.opened(first)

    async def _run(self, script: str, flight: "_Flight", *arguments: bytes | int) -> object:
        permit = self._breaker.permit()
        if permit is None:
            raise _Failed("breaker_open")
        try:
            with permit:
                return await self._redis.run("EVAL", script, len(flight.keys), *flight.keys, flight.owner, *arguments)
        except (TimeoutError, RedisTimeoutError):
            raise _Failed("timeout") from None
        except (AuthenticationError, AuthorizationError, NoPermissionError):
            raise _Failed("refused") from None
        except (RedisConnectionError, OSError):
            raise _Failed("unreachable") from None
        except Exception:  # noqa: BLE001 - whatever the parser makes of an answer that is none
            raise _Failed("bad_answer") from None


class _Flight:
    """The renewal of one token by one worker: its keys in Redis, and what seals its result."""

    __slots__ = ("_aead", "keys", "owner")

    def __init__(self, presented: bytes, environment: str) -> None:
        # In braces, so that a cluster keeps both in one place.
        name = f"edge-passport:{environment}:renewal:{{{sha256(presented).hexdigest()}}}"
        self.keys = f"{name}:result", f"{name}:lock"
        self.owner = os.urandom(16)
        info = f"edge-passport|v1|shared-renewal|{environment}".encode()
        self._aead = AESGCMSIV(HKDF(SHA256(), 32, salt=None, info=info).derive(presented))

    def sealed(self, result: RenewedCookie) -> bytes:
        """Return what may lie in Redis."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, write_renewal(result).SerializeToString(), None)

    def opened(self, stored: bytes) -> RenewedCookie:
        """Return what `sealed` was given; raises _Failed for what it never returned."""
        try:
            if len(stored) > _MAX_RESULT_BYTES:
                raise _Failed("bad_answer")
            text = self._aead.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], None)
            result = read_renewal(pb.RenewResponse.FromString(text))
        except (InvalidTag, ValueError, DecodeError):
            raise _Failed("bad_answer") from None
        if result is None or result.outcome not in _SHARED:
            raise _Failed("bad_answer")
        return result

    def __repr__(self) -> str:
        return f"_Flight({self.keys[0]})"
