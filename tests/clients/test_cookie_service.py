"""The cookie service's client: every failure is an outcome, never an exception."""

import asyncio
import socket
import time

import aiohttp
import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from edge.clients.cookie_service import CookieServiceClient
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.ports import RenewalOutcome, RenewedCookie, Revocation, RevocationReason
from edge.contract.session_changes import SessionChanges
from edge.telemetry.metrics import WorkerMetrics
from tests.clients.serving import breaker, serving

USER = UserIdentity(Source.USER_CREDENTIALS, Level.HIGH, 11, 12, profile_id="p")
SESSION = Revocation(RevocationReason.LOGOUT, 11, session_id="s")
PAIR = pb.CookiePair(insecure=b"aaa", secure=b"bbb", expires_at=1_700_000_000, generation=2)


def client(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout_s: float = 5.0,
    create_timeout_s: float | None = None,
    concurrency: int = 4,
    open_s: float = 0.05,
) -> tuple[CookieServiceClient, WorkerMetrics]:
    metrics = WorkerMetrics()
    made = CookieServiceClient(
        session,
        url,
        "token-canary",
        timeout_s=timeout_s,
        create_timeout_s=create_timeout_s or timeout_s,
        concurrency=concurrency,
        breaker=breaker(metrics, open_s=open_s),
        sign_in_breaker=breaker(WorkerMetrics(), open_s=open_s),
        sign_out_breaker=breaker(WorkerMetrics(), open_s=open_s),
        metrics=metrics,
    )
    return made, metrics


@pytest.mark.parametrize(
    ("revocation", "sent"),
    [
        (SESSION, pb.RevokeRequest(reason=pb.LOGOUT, customer_id=11, session_id="s")),
        (
            Revocation(RevocationReason.SIGN_OUT_EVERYWHERE, 11, except_session_id="s"),
            pb.RevokeRequest(reason=pb.SIGN_OUT_EVERYWHERE, customer_id=11, except_session_id="s"),
        ),
        (
            Revocation(RevocationReason.DEVICE_REMOVED, 11, esn="ESN-1"),
            pb.RevokeRequest(reason=pb.DEVICE_REMOVED, customer_id=11, esn="ESN-1"),
        ),
    ],
)
async def test_what_is_revoked_is_said_to_the_service(revocation: Revocation, sent: pb.RevokeRequest) -> None:
    async with serving() as (service, session):
        cookies, metrics = client(session, service.url)
        assert await cookies.revoke(revocation)
        assert [(path, pb.RevokeRequest.FromString(body)) for path, _, body in service.requests] == [
            ("/v1/revocations", sent)
        ]
        assert metrics.remote_calls == {("cookie", "revocation_taken"): 1}


async def test_a_signed_in_user_gets_a_pair() -> None:
    async with serving() as (service, session):
        service.body = pb.CreateResponse(pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url)
        pair = await cookies.create(USER, DeviceIdentity(Source.COOKIE, Level.HIGH, "ESN-1", 3))
        assert pair is not None
        assert (pair.insecure, pair.secure, pair.expires_at, pair.generation) == (b"aaa", b"bbb", 1_700_000_000, 2)
        ((path, authorization, body),) = service.requests
        assert (path, authorization) == ("/v1/create", "Bearer token-canary")
        sent = pb.CreateRequest.FromString(body)
        assert (sent.customer_id, sent.account_owner_id, sent.profile_id) == (11, 12, "p")
        assert (sent.esn, sent.device_type, sent.level) == ("ESN-1", 3, 2)
        assert metrics.remote_calls == {("cookie", "created"): 1}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (pb.RENEWED, RenewalOutcome.RENEWED),
        (pb.NOT_A_MEMBER, RenewalOutcome.NOT_A_MEMBER),
        (pb.REVOKED, RenewalOutcome.REVOKED),
        (pb.REFUSED, RenewalOutcome.REFUSED),
        (pb.UNAVAILABLE, RenewalOutcome.UNAVAILABLE),
        (pb.RENEW_OUTCOME_UNSPECIFIED, RenewalOutcome.UNAVAILABLE),
    ],
)
async def test_every_outcome_of_a_renewal_is_passed_on(sent: pb.RenewOutcome, expected: RenewalOutcome) -> None:
    async with serving() as (service, session):
        service.body = pb.RenewResponse(outcome=sent, pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url)
        renewed = await cookies.renew(b"old")
        assert renewed.outcome is expected
        assert (renewed.pair is not None) == (expected is RenewalOutcome.RENEWED)
        assert metrics.remote_calls == {("cookie", expected.value): 1}
        assert metrics.renewals == {(expected.value,): 1}


async def test_a_renewal_that_cannot_be_asked_for_is_counted_as_one_that_was_not_to_be_had() -> None:
    async with serving() as (service, session):
        service.status = 500
        cookies, metrics = client(session, service.url)
        await cookies.renew(b"old")
        assert metrics.remote_calls == {("cookie", "status_5xx"): 1}
        assert metrics.renewals == {("unavailable",): 1}


CHANGES = SessionChanges(profile_id="child", level=Level.LOW)


async def test_an_update_says_what_changes_and_nothing_of_the_rest() -> None:
    async with serving() as (service, session):
        service.body = pb.UpdateResponse(outcome=pb.UPDATED, pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url)
        updated = await cookies.update(b"old", CHANGES)
        assert (updated.outcome, updated.moved_to) == (RenewalOutcome.RENEWED, 0)
        pair = updated.pair
        assert pair is not None
        assert (pair.insecure, pair.secure, pair.expires_at, pair.generation) == (b"aaa", b"bbb", 1_700_000_000, 2)
        ((path, authorization, body),) = service.requests
        assert (path, authorization) == ("/v1/update", "Bearer token-canary")
        assert pb.UpdateRequest.FromString(body) == pb.UpdateRequest(insecure=b"old", profile_id="child", level=1)
        everything = SessionChanges(1, 0, "", "", 0, Level.HIGH)
        await cookies.update(b"old", everything)
        assert len(pb.UpdateRequest.FromString(service.requests[1][2]).ListFields()) == 7
        assert metrics.remote_calls == {("cookie", "updated"): 2}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (pb.UPDATED, RenewalOutcome.RENEWED),
        (pb.REVOKED, RenewalOutcome.REVOKED),
        (pb.REFUSED, RenewalOutcome.REFUSED),
        (pb.UNAVAILABLE, RenewalOutcome.UNAVAILABLE),
        (pb.RENEWED, RenewalOutcome.UNAVAILABLE),
        (pb.NOT_A_MEMBER, RenewalOutcome.UNAVAILABLE),
        (pb.RENEW_OUTCOME_UNSPECIFIED, RenewalOutcome.UNAVAILABLE),
    ],
)
async def test_every_outcome_of_an_update_is_passed_on(sent: pb.RenewOutcome, expected: RenewalOutcome) -> None:
    async with serving() as (service, session):
        service.body = pb.UpdateResponse(outcome=sent, pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url)
        updated = await cookies.update(b"old", CHANGES)
        assert updated.outcome is expected
        assert (updated.pair is not None) == (expected is RenewalOutcome.RENEWED)
        counted = "updated" if expected is RenewalOutcome.RENEWED else expected.value
        assert metrics.remote_calls == {("cookie", counted): 1}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, b"", "status_5xx"),
        (403, b"", "status_4xx"),
        (302, b"", "status_3xx"),
        (200, b"\xff\xff", "bad_answer"),
        (200, b"x" * 20_000, "bad_answer"),
        (200, b"", "unavailable"),
        (200, pb.UpdateResponse(outcome=pb.UPDATED).SerializeToString(), "bad_answer"),
    ],
)
async def test_r6_an_update_that_fails_is_unavailable_and_never_definitive(
    status: int, body: bytes, outcome: str
) -> None:
    async with serving() as (service, session):
        service.status, service.body = status, body
        cookies, metrics = client(session, service.url)
        assert await cookies.update(b"old", CHANGES) == RenewedCookie(RenewalOutcome.UNAVAILABLE)
        assert metrics.remote_calls == {("cookie", outcome): 1}


async def test_a_renewal_and_an_update_tell_whose_the_session_has_become() -> None:
    async with serving() as (service, session):
        service.body = pb.RenewResponse(outcome=pb.RENEWED, pair=PAIR, moved_to=12).SerializeToString()
        cookies, _ = client(session, service.url)
        assert (await cookies.renew(b"old")).moved_to == 12
        service.body = pb.RenewResponse(outcome=pb.RENEWED, pair=PAIR, moved_to=-12).SerializeToString()
        assert (await cookies.renew(b"old")).moved_to == 0
        service.body = pb.UpdateResponse(outcome=pb.UPDATED, pair=PAIR, moved_to=12).SerializeToString()
        assert (await cookies.update(b"old", CHANGES)).moved_to == 12


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, b"", "status_5xx"),
        (401, b"", "status_4xx"),
        (302, b"", "status_3xx"),
        (200, b"\xff\xff", "bad_answer"),
        (200, b"x" * 20_000, "bad_answer"),
        (200, pb.RenewResponse(outcome=pb.RENEWED).SerializeToString(), "bad_answer"),
    ],
)
async def test_r6_a_failing_service_is_unavailable_and_never_definitive(status: int, body: bytes, outcome: str) -> None:
    async with serving() as (service, session):
        service.status, service.body = status, body
        cookies, metrics = client(session, service.url)
        assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        assert await cookies.create(USER, None) is None
        assert metrics.remote_calls == {("cookie", outcome): 2}


@pytest.mark.parametrize("value", [b"", b"a\r\nSet-Cookie: x", b"a;b", b"a,b", b"x" * 4097])
async def test_x7_a_value_that_is_not_base64url_is_a_bad_answer(value: bytes) -> None:
    async with serving() as (service, session):
        pair = pb.CookiePair(insecure=b"aaa", secure=value, expires_at=1, generation=1)
        service.body = pb.RenewResponse(outcome=pb.RENEWED, pair=pair).SerializeToString()
        cookies, _ = client(session, service.url)
        assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        service.body = pb.UpdateResponse(outcome=pb.UPDATED, pair=pair).SerializeToString()
        assert await cookies.update(b"old", CHANGES) == RenewedCookie(RenewalOutcome.UNAVAILABLE)


async def test_a_slow_service_is_unavailable_after_the_deadline() -> None:
    async with serving() as (service, session):
        service.hang = True
        cookies, metrics = client(session, service.url, timeout_s=0.05)
        assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        assert metrics.remote_calls == {("cookie", "timeout"): 1}


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with aiohttp.ClientSession() as session:
        cookies, metrics = client(session, f"http://127.0.0.1:{port}")
        assert await cookies.create(USER, None) is None
        assert metrics.remote_calls == {("cookie", "unreachable"): 1}


async def test_one_call_more_than_the_limit_is_unavailable_at_once_and_the_place_is_given_back() -> None:
    async with serving() as (service, session):
        service.hang = True
        service.body = pb.RenewResponse(outcome=pb.NOT_A_MEMBER).SerializeToString()
        cookies, metrics = client(session, service.url, concurrency=1)
        first = asyncio.create_task(cookies.renew(b"old"))
        await service.asked.wait()
        assert (await cookies.renew(b"other")).outcome is RenewalOutcome.UNAVAILABLE
        assert metrics.remote_calls == {("cookie", "overloaded"): 1}
        service.released.set()
        assert (await first).outcome is RenewalOutcome.NOT_A_MEMBER
        assert (await cookies.renew(b"other")).outcome is RenewalOutcome.NOT_A_MEMBER


async def test_s3_a_sign_in_an_update_and_a_sign_out_have_a_place_whatever_renewals_take() -> None:
    async with serving() as (service, session):
        service.hang = True
        service.body = pb.RenewResponse(outcome=pb.NOT_A_MEMBER).SerializeToString()
        cookies, metrics = client(session, service.url, concurrency=1)
        renewal = asyncio.create_task(cookies.renew(b"old"))
        await service.asked.wait()
        service.hang, service.body = False, pb.CreateResponse(pair=PAIR).SerializeToString()
        assert await cookies.create(USER, None) is not None
        service.body = pb.UpdateResponse(outcome=pb.REVOKED).SerializeToString()
        assert (await cookies.update(b"old", CHANGES)).outcome is RenewalOutcome.REVOKED
        service.body = b""
        assert await cookies.revoke(SESSION)
        service.released.set()
        await renewal
        assert ("cookie", "overloaded") not in metrics.remote_calls


async def test_a_sign_in_waits_for_its_turn() -> None:
    async with serving() as (service, session):
        service.hang = True
        service.body = pb.CreateResponse(pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url, concurrency=1)
        many = [asyncio.create_task(cookies.create(USER, None)) for _ in range(3)]
        await service.asked.wait()
        assert len(service.requests) == 1
        service.released.set()
        assert all([await each for each in many])
        assert metrics.remote_calls == {("cookie", "created"): 3}


async def test_a_sign_in_that_has_no_turn_in_time_fails_and_is_no_failure_of_the_service() -> None:
    async with serving() as (service, session):
        service.hang = True
        service.body = pb.CreateResponse(pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url, timeout_s=0.05, concurrency=1)
        assert await asyncio.gather(*(cookies.create(USER, None) for _ in range(20))) == [None] * 20
        assert metrics.remote_calls == {("cookie", "timeout"): 1, ("cookie", "overloaded"): 19}


async def test_a_sign_in_whose_turn_comes_after_its_time_is_not_made_and_so_waits_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as (service, session):
        service.hang = True
        service.body = pb.CreateResponse(pair=PAIR).SerializeToString()
        cookies, metrics = client(session, service.url, timeout_s=0.4, concurrency=1)
        first = asyncio.create_task(cookies.create(USER, None))
        await service.asked.wait()
        second = asyncio.create_task(cookies.create(USER, None))
        count = WorkerMetrics.remote_call

        def stop_the_loop(metrics: WorkerMetrics, service_name: str, outcome: str) -> None:
            if outcome == "created":
                service.released.clear()
                time.sleep(0.5)  # in the loop, on purpose: longer than the second call has
            count(metrics, service_name, outcome)

        monkeypatch.setattr(WorkerMetrics, "remote_call", stop_the_loop)
        service.released.set()
        assert await first is not None
        assert await asyncio.wait_for(second, 5.0) is None
        assert len(service.requests) == 1
        assert metrics.remote_calls == {("cookie", "created"): 1, ("cookie", "timeout"): 1}
        service.released.set()
        assert await cookies.create(USER, None) is not None


@pytest.mark.parametrize("how", ["status", "garbage", "hang", "gone"])
async def test_s1_a_service_that_keeps_failing_is_left_alone_and_costs_nothing(how: str) -> None:
    async with serving() as (service, session):
        url, asked = service.url, 4
        if how == "status":
            service.status = 500
        elif how == "garbage":
            service.body = b"\xff\xff"
        elif how == "hang":
            service.hang = True
        else:
            with socket.create_server(("127.0.0.1", 0)) as gone:
                url, asked = f"http://127.0.0.1:{gone.getsockname()[1]}", 0
        cookies, metrics = client(session, url, timeout_s=0.05, open_s=3600.0)
        for _ in range(20):
            assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
            assert await cookies.create(USER, None) is None
        assert len(service.requests) == 2 * asked
        assert metrics.remote_calls[("cookie", "breaker_open")] == 2 * 16
        assert metrics.breaker_states == {"service:test": 2}


async def test_r9_s2_one_probe_at_a_time_finds_out_that_the_service_is_back() -> None:
    async with serving() as (service, session):
        service.status = 500
        service.body = pb.RenewResponse(outcome=pb.NOT_A_MEMBER).SerializeToString()
        cookies, metrics = client(session, service.url, concurrency=64)
        for _ in range(4):
            await cookies.renew(b"old")
        service.status, service.hang = 200, True
        await asyncio.sleep(0.06)
        many = [asyncio.create_task(cookies.renew(b"old")) for _ in range(50)]
        await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        service.released.set()
        outcomes = [(await each).outcome for each in many]
        assert outcomes.count(RenewalOutcome.NOT_A_MEMBER) == 1
        assert outcomes.count(RenewalOutcome.UNAVAILABLE) == 49
        assert len(service.requests) == 5
        assert (await cookies.renew(b"old")).outcome is RenewalOutcome.NOT_A_MEMBER
        assert metrics.breaker_states == {"service:test": 0}


async def test_s2_a_service_that_cannot_find_out_is_not_out_of_order_and_goes_on_signing_in() -> None:
    async with serving() as (service, session):
        service.body = pb.RenewResponse(outcome=pb.UNAVAILABLE).SerializeToString()
        cookies, metrics = client(session, service.url, open_s=3600.0)
        for _ in range(20):
            assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        assert metrics.remote_calls == {("cookie", "unavailable"): 20}
        service.body = pb.CreateResponse(pair=PAIR).SerializeToString()
        assert await cookies.create(USER, None) is not None


async def test_s3_a_service_that_is_too_slow_for_renewals_goes_on_signing_in_updating_and_signing_out() -> None:
    async with serving() as (service, session):
        service.hang = True
        cookies, metrics = client(session, service.url, timeout_s=0.02, create_timeout_s=5.0, open_s=3600.0)
        for _ in range(8):
            assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        assert metrics.breaker_states == {"service:test": 2}
        service.hang, service.body = False, pb.CreateResponse(pair=PAIR).SerializeToString()
        assert await cookies.create(USER, None) is not None
        service.body = pb.UpdateResponse(outcome=pb.REVOKED).SerializeToString()
        assert (await cookies.update(b"old", CHANGES)).outcome is RenewalOutcome.REVOKED
        service.body = b""
        assert await cookies.revoke(SESSION)
        assert (await cookies.renew(b"old")).outcome is RenewalOutcome.UNAVAILABLE
        assert metrics.remote_calls[("cookie", "breaker_open")] == 5


async def test_a_service_that_refuses_this_edge_is_not_out_of_order() -> None:
    async with serving() as (service, session):
        service.status = 403
        cookies, metrics = client(session, service.url)
        for _ in range(10):
            await cookies.renew(b"old")
        assert metrics.remote_calls == {("cookie", "status_4xx"): 10}


async def test_a_cancelled_call_gives_its_place_back() -> None:
    async with serving() as (service, session):
        service.hang = True
        cookies, _ = client(session, service.url, concurrency=1)
        first = asyncio.create_task(cookies.renew(b"old"))
        await service.asked.wait()
        first.cancel()
        await asyncio.wait({first})
        assert "1 renewals free" in repr(cookies)


async def test_the_repr_shows_no_token() -> None:
    async with serving() as (service, session):
        cookies, _ = client(session, service.url)
        assert "token-canary" not in repr(cookies)
