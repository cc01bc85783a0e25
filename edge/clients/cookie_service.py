"""The cookie service, as filters call it: protobuf over HTTP, under a deadline, a concurrency limit and a breaker.

No failure of the service leaves this module as an exception: whoever waits gets UNAVAILABLE, or None. A renewal beyond
the limit is UNAVAILABLE at once: its token is honoured all the same. Sign-ins and updates would fail, so these and
sign-outs have as many places of their own, and wait for one. They have a breaker of their own, too: they may take
longer, and a service that is too slow for renewals still signs people in. A sign-out that is tried again takes no
place, as its caller tries one at a time, and has a breaker of its own: a service that takes none may still sign people
in.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final, TypeVar

import aiohttp
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from google.protobuf.message import DecodeError, Message

from edge.contract.identity import DeviceIdentity, UserIdentity
from edge.contract.ports import CookiePair, RenewalOutcome, RenewedCookie, Revocation, RevocationReason
from edge.contract.session_changes import SessionChanges
from edge.telemetry.metrics import WorkerMetrics
from resilience.breaker import Breaker, Permit

_MEDIA_TYPE: Final = "application/x-protobuf"
_MAX_ANSWER_BYTES: Final = 16 * 1024
_VALUE: Final = re.compile(rb"[A-Za-z0-9_-]{1,4096}\Z")
_OUTCOMES: Final = {
    pb.RENEWED: RenewalOutcome.RENEWED,
    pb.NOT_A_MEMBER: RenewalOutcome.NOT_A_MEMBER,
    pb.REVOKED: RenewalOutcome.REVOKED,
    pb.REFUSED: RenewalOutcome.REFUSED,
}
_WIRE: Final = {outcome: number for number, outcome in _OUTCOMES.items()} | {RenewalOutcome.UNAVAILABLE: pb.UNAVAILABLE}
_REASONS: Final = {
    RevocationReason.LOGOUT: pb.LOGOUT,
    RevocationReason.SIGN_OUT_EVERYWHERE: pb.SIGN_OUT_EVERYWHERE,
    RevocationReason.DEVICE_REMOVED: pb.DEVICE_REMOVED,
}
_UNAVAILABLE: Final = RenewedCookie(RenewalOutcome.UNAVAILABLE)
_UPDATES: Final = {
    pb.UPDATED: RenewalOutcome.RENEWED,
    pb.REVOKED: RenewalOutcome.REVOKED,
    pb.REFUSED: RenewalOutcome.REFUSED,
}

Answer = TypeVar("Answer", bound=Message)
Read = TypeVar("Read")


class _Failed(Exception):  # noqa: N818 - never leaves this module; `outcome` is the metric's label
    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class CookieServiceClient:
    """Implements `edge.contract.ports.CookieService`. Counts every call as service `cookie`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        timeout_s: float,
        create_timeout_s: float,
        concurrency: int,
        breaker: Breaker,
        sign_in_breaker: Breaker,
        sign_out_breaker: Breaker,
        metrics: WorkerMetrics,
    ) -> None:
        """Take the service's base `url`, this edge's bearer `token`, and the limits of the config."""
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE}
        self._timeout_s = timeout_s
        self._create_timeout_s = create_timeout_s
        self._free = concurrency
        self._turns = asyncio.Semaphore(concurrency)
        self._breaker = breaker
        self._sign_in_breaker = sign_in_breaker
        self._sign_out_breaker = sign_out_breaker
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"CookieServiceClient({self._url}, {self._free} renewals free)"

    async def create(self, user: UserIdentity, device: DeviceIdentity | None) -> CookiePair | None:
        """Return a new pair for a user who has just signed in, or None when the service is unavailable."""
        request = pb.CreateRequest(
            customer_id=user.customer_id,
            account_owner_id=user.account_owner_id,
            profile_id=user.profile_id,
            level=user.level,
            esn="" if device is None else device.esn,
            device_type=0 if device is None else device.device_type,
        )
        try:
            answer = await self._in_turn("/v1/create", request, pb.CreateResponse)
            pair = _good(_pair(answer.pair))
        except _Failed as failed:
            self._metrics.remote_call("cookie", failed.outcome)
            return None
        self._metrics.remote_call("cookie", "created")
        return pair

    async def renew(self, insecure: bytes) -> RenewedCookie:
        """Renew the pair that the EdgeId value `insecure` belongs to."""
        try:
            request = pb.RenewRequest(insecure=insecure)
            renewed = _good(read_renewal(await self._at_once(request)))
        except _Failed as failed:
            self._metrics.remote_call("cookie", failed.outcome)
            self._metrics.renewed(RenewalOutcome.UNAVAILABLE.value)
            return _UNAVAILABLE
        self._metrics.remote_call("cookie", renewed.outcome.value)
        self._metrics.renewed(renewed.outcome.value)
        return renewed

    async def update(self, insecure: bytes, changes: SessionChanges) -> RenewedCookie:
        """Return a pair that says `changes` of the session of the EdgeId value `insecure`, and lives no longer."""
        request = pb.UpdateRequest(
            insecure=insecure,
            customer_id=changes.customer_id,
            account_owner_id=changes.account_owner_id,
            profile_id=changes.profile_id,
            esn=changes.esn,
            device_type=changes.device_type,
            level=changes.level,
        )
        try:
            answer = await self._in_turn("/v1/update", request, pb.UpdateResponse)
            updated = _good(_result(answer, _UPDATES))
        except _Failed as failed:
            self._metrics.remote_call("cookie", failed.outcome)
            return _UNAVAILABLE
        self._metrics.remote_call("cookie", "updated" if updated.pair is not None else updated.outcome.value)
        return updated

    async def revoke(self, revocation: Revocation, *, age_s: int = 0) -> bool:
        """Revoke; tell whether that is done.

        `age_s`: not 0 when it was tried before: seconds since it was asked for. It must not take the place of one who
        signs in or out now, and revokes nothing that is newer.
        """
        request = pb.RevokeRequest(
            reason=_REASONS[revocation.reason],
            customer_id=revocation.customer_id,
            session_id=revocation.session_id,
            esn=revocation.esn,
            except_session_id=revocation.except_session_id,
            age_s=age_s,
        )
        path, answer = "/v1/revocations", pb.RevokeResponse
        try:
            if age_s:
                await self._call(self._sign_out_breaker, path, request, answer, self._create_timeout_s)
            else:
                await self._in_turn(path, request, answer)
        except _Failed as failed:
            self._metrics.remote_call("cookie", failed.outcome)
            return False
        self._metrics.remote_call("cookie", "revocation_taken")
        return True

    async def _at_once(self, request: pb.RenewRequest) -> pb.RenewResponse:
        """Renew, if there is a place."""
        if self._free <= 0:
            raise _Failed("overloaded")
        self._free -= 1
        try:
            return await self._call(self._breaker, "/v1/renew", request, pb.RenewResponse, self._timeout_s)
        finally:
            self._free += 1

    async def _in_turn(self, path: str, request: Message, answer: type[Answer]) -> Answer:
        """Make a call that somebody waits for, which may wait for a place for half of the time that it has."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._create_timeout_s
        try:
            async with asyncio.timeout(self._create_timeout_s / 2):
                await self._turns.acquire()
        except TimeoutError:
            raise _Failed("overloaded") from None
        try:
            left_s = until - loop.time()
            if left_s <= 0:  # the loop was late; aiohttp would take it for no limit at all
                raise _Failed("timeout")
            return await self._call(self._sign_in_breaker, path, request, answer, left_s)
        finally:
            self._turns.release()

    async def _call(
        self, breaker: Breaker, path: str, request: Message, answer: type[Answer], timeout_s: float
    ) -> Answer:
        permit = breaker.permit()
        if permit is None:
            raise _Failed("breaker_open")
        try:
            with permit:
                return answer.FromString(await self._post(path, request.SerializeToString(), timeout_s, permit))
        except DecodeError:
            raise _Failed("bad_answer") from None
        except TimeoutError:
            raise _Failed("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise _Failed("unreachable") from None

    async def _post(self, path: str, body: bytes, timeout_s: float, permit: Permit) -> bytes:
        async with self._session.post(
            self._url + path,
            data=body,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                if response.status < 500:
                    permit.worked()  # it minds this call, or this edge; that is no outage
                raise _Failed(f"status_{response.status // 100}xx")
            received = bytearray()
            async for piece in response.content.iter_any():
                received += piece
                if len(received) > _MAX_ANSWER_BYTES:
                    raise _Failed("bad_answer")
            return bytes(received)


def _good(read: Read | None) -> Read:
    if read is None:
        raise _Failed("bad_answer")
    return read


def read_renewal(answer: pb.RenewResponse) -> RenewedCookie | None:
    """Take a renewal from the wire; None when it says that there is a pair, and there is none."""
    return _result(answer, _OUTCOMES)


def write_renewal(renewed: RenewedCookie) -> pb.RenewResponse:
    """Return what `read_renewal` reads."""
    answer = pb.RenewResponse(outcome=_WIRE[renewed.outcome], moved_to=renewed.moved_to)
    if renewed.pair is not None:
        pair = renewed.pair
        answer.pair.MergeFrom(
            pb.CookiePair(
                insecure=pair.insecure, secure=pair.secure, expires_at=pair.expires_at, generation=pair.generation
            )
        )
    return answer


def _result(
    answer: pb.RenewResponse | pb.UpdateResponse, outcomes: Mapping[pb.RenewOutcome, RenewalOutcome]
) -> RenewedCookie | None:
    outcome = outcomes.get(answer.outcome, RenewalOutcome.UNAVAILABLE)
    if outcome is not RenewalOutcome.RENEWED:
        return RenewedCookie(outcome)
    pair = _pair(answer.pair)
    return None if pair is None else RenewedCookie(outcome, pair, max(answer.moved_to, 0))


def _pair(pair: pb.CookiePair) -> CookiePair | None:
    """Take a pair from the wire: values that are not base64url text never get near a header."""
    if not (_VALUE.match(pair.insecure) and _VALUE.match(pair.secure) and pair.expires_at > 0):
        return None
    return CookiePair(pair.insecure, pair.secure, pair.expires_at, pair.generation)
