"""Renewals shared through a real Redis: one for all, whoever dies or hangs; without Redis, one for each worker."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.clients.redis_pipeline import RedisPipeline, redis_pipeline
from edge.clients.renewals import RedisRenewals
from edge.contract.ports import CookiePair, RenewalOutcome, RenewedCookie
from edge.control.service_sections import RenewalSharing
from edge.control.tls import ServiceTls
from edge.telemetry.metrics import WorkerMetrics
from tests.certificates import TestAuthority
from tests.clients.serving import breaker
from tests.processes import eventually, free_port
from tests.redis_server import NEEDS_REDIS, RedisServer, redis_running

pytestmark = [NEEDS_REDIS, pytest.mark.asyncio(loop_scope="module")]

KEEP_S = 10.0
PATIENT_S = 20.0  # for a busy machine: where time is what is tried, a test says so


def renewed(number: int) -> RenewedCookie:
    """Return a pair that no other renewal brings."""
    pair = CookiePair(b"insecure-canary-%d" % number, b"secure-canary-%d" % number, 1_800_000_000, number)
    return RenewedCookie(RenewalOutcome.RENEWED, pair)


class Renewing:
    """What a worker would do by itself: counts, waits until it may go on, brings `result`."""

    def __init__(self, result: RenewedCookie) -> None:
        self.result = result
        self.calls = 0
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> RenewedCookie:
        self.calls += 1
        self.called.set()
        await self.gate.wait()
        return self.result


class Worker:
    """One worker's sharing, with its metrics."""

    def __init__(self, sharing: RedisRenewals, redis: RedisPipeline, metrics: WorkerMetrics) -> None:
        self.sharing = sharing
        self.redis = redis
        self.metrics = metrics

    @property
    def counted(self) -> dict[str, float]:
        return {str(outcome): number for (_, outcome), number in self.metrics.remote_calls.items()}

    def once(self, token: bytes, renew: Callable[[], Coroutine[None, None, RenewedCookie]]) -> Any:
        return asyncio.ensure_future(self.sharing.once(token, renew, KEEP_S))


@asynccontextmanager
async def worker(
    url: str,
    *,
    timeout_s: float = PATIENT_S,
    lock_s: float = PATIENT_S,
    environment: str = "local",
    password: str | None = None,
    tls: ServiceTls | None = None,
) -> AsyncIterator[Worker]:
    settings = RenewalSharing(redis_url=url, timeout_s=min(timeout_s, 1.0))
    redis = redis_pipeline(settings, password, None if tls is None else tls.context())
    redis._timeout_s = timeout_s
    metrics = WorkerMetrics()
    guard = breaker(metrics)
    sharing = RedisRenewals(redis, environment, lock_s=lock_s, breaker=guard, metrics=metrics)
    try:
        yield Worker(sharing, redis, metrics)
    finally:
        await sharing.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis() -> AsyncIterator[RedisServer]:
    async with redis_running() as running:
        yield running


@pytest.fixture
def token(request: pytest.FixtureRequest) -> bytes:
    """Return a token that no other test shows."""
    return f"token-canary-{request.node.name}".encode()


async def held(on: Worker, token: bytes, kind: str = "lock") -> bytes | None:
    """Return what lies under a key of the token."""
    value = await on.redis.run("GET", f"edge-passport:local:renewal:{{{sha256(token).hexdigest()}}}:{kind}")
    assert value is None or isinstance(value, bytes)
    return value


async def test_r1_twenty_workers_make_one_call_and_get_the_same_pair(redis: RedisServer, token: bytes) -> None:
    renewing = Renewing(renewed(1))
    renewing.gate.clear()
    async with worker(redis.url) as one, worker(redis.url) as other:
        waiting = [each.once(token, renewing) for each in [one, other] * 10]
        await renewing.called.wait()
        renewing.gate.set()
        results = await asyncio.gather(*waiting)
        assert renewing.calls == 1
        assert set(results) == {renewed(1)}
        together = {outcome: one.counted.get(outcome, 0) + other.counted.get(outcome, 0) for outcome in one.counted}
        assert sum(each.counted.get("led", 0) for each in (one, other)) == 1, together
        assert sum(each.counted.get("followed", 0) for each in (one, other)) == 19, together


@pytest.mark.parametrize("outcome", [RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED])
async def test_r1_a_definitive_answer_is_shared_too(redis: RedisServer, token: bytes, outcome: RenewalOutcome) -> None:
    renewing = Renewing(RenewedCookie(outcome))
    async with worker(redis.url) as one, worker(redis.url) as other:
        assert await one.once(token, renewing) == await other.once(token, renewing) == RenewedCookie(outcome)
    assert renewing.calls == 1


async def test_r1_a_straggler_gets_the_same_pair_for_as_long_as_it_is_kept(redis: RedisServer, token: bytes) -> None:
    async with worker(redis.url) as one, worker(redis.url) as other:
        await one.once(token, Renewing(renewed(1)))
        assert await other.once(token, Renewing(renewed(2))) == renewed(1)
        digest = sha256(token).hexdigest()
        left_ms = await one.redis.run("PTTL", f"edge-passport:local:renewal:{{{digest}}}:result")
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= KEEP_S * 1000
        assert await held(one, token) is None


async def test_r4_what_an_update_made_takes_the_place_of_what_was_renewed_for_all_workers(
    redis: RedisServer, token: bytes
) -> None:
    made = RenewedCookie(RenewalOutcome.RENEWED, renewed(9).pair, moved_to=12)
    async with worker(redis.url) as one, worker(redis.url) as other:
        assert await one.once(token, Renewing(renewed(1))) == renewed(1)
        await other.sharing.replace(token, made, 7.0)
        assert other.counted == {"replaced": 1}
        assert await one.once(token, Renewing(renewed(2))) == made
        digest = sha256(token).hexdigest()
        left_ms = await one.redis.run("PTTL", f"edge-passport:local:renewal:{{{digest}}}:result")
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= 7000
        assert b"canary" not in (await held(one, token, "result") or b"")


async def test_r4_a_renewal_that_is_under_way_during_an_update_brings_what_the_update_made(
    redis: RedisServer, token: bytes
) -> None:
    slow = Renewing(renewed(1))
    slow.gate.clear()
    async with worker(redis.url) as one, worker(redis.url) as other:
        leader = one.once(token, slow)
        await slow.called.wait()
        await other.sharing.replace(token, renewed(9), KEEP_S)
        follower = await other.once(token, Renewing(renewed(2)))
        slow.gate.set()
        assert await leader == follower == renewed(9)
        assert one.counted == {"led": 1, "late": 1}
        assert await held(one, token) is None


async def test_an_update_is_shared_with_nobody_where_there_is_no_redis_and_that_is_no_error(token: bytes) -> None:
    async with worker(f"redis://127.0.0.1:{free_port()}") as one:
        for _ in range(6):
            await one.sharing.replace(token, renewed(1), KEEP_S)
        assert one.counted["unreachable"] >= 4
        assert one.counted.get("breaker_open", 0) >= 1
        assert "replaced" not in one.counted


async def test_r1_f3_two_tokens_and_two_environments_are_renewed_apart(redis: RedisServer, token: bytes) -> None:
    async with worker(redis.url) as one, worker(redis.url, environment="other") as elsewhere:
        assert await one.once(token, Renewing(renewed(1))) == renewed(1)
        assert await one.once(token + b"x", Renewing(renewed(2))) == renewed(2)
        assert await elsewhere.once(token, Renewing(renewed(3))) == renewed(3)


async def test_r2_a_leader_that_is_gone_is_followed_by_another_once_its_lock_ends(
    redis: RedisServer, token: bytes
) -> None:
    dies = Renewing(renewed(1))
    dies.gate.clear()
    async with worker(redis.url, lock_s=0.3) as one, worker(redis.url) as other:
        leader = one.once(token, dies)
        await dies.called.wait()
        leader.cancel()
        assert await held(one, token) is not None
        assert await other.once(token, Renewing(renewed(2))) == renewed(2)
        assert other.counted == {"took_over": 1}


async def test_r3_a_leader_slower_than_its_lock_yields_to_the_first_result_and_lets_go_of_no_others_lock(
    redis: RedisServer, token: bytes
) -> None:
    slow, quick = Renewing(renewed(1)), Renewing(renewed(2))
    slow.gate.clear()
    quick.gate.clear()
    async with worker(redis.url, lock_s=0.1) as one, worker(redis.url) as other:
        leader = one.once(token, slow)
        await slow.called.wait()
        successor = other.once(token, quick)
        await quick.called.wait()
        lock = await held(one, token)
        quick.gate.set()
        assert await successor == renewed(2)
        slow.gate.set()
        assert await leader == renewed(2)
        assert one.counted == {"led": 1, "late": 1}
        assert lock is not None


async def test_r3_who_is_late_with_a_failure_leaves_the_lock_of_its_successor(redis: RedisServer, token: bytes) -> None:
    slow, quick = Renewing(RenewedCookie(RenewalOutcome.UNAVAILABLE)), Renewing(renewed(2))
    slow.gate.clear()
    quick.gate.clear()
    async with worker(redis.url, lock_s=0.1) as one, worker(redis.url) as other:
        leader = one.once(token, slow)
        await slow.called.wait()
        successor = other.once(token, quick)
        await quick.called.wait()
        lock = await held(one, token)
        slow.gate.set()
        assert (await leader).outcome is RenewalOutcome.UNAVAILABLE
        assert await held(one, token) == lock is not None
        quick.gate.set()
        assert await successor == renewed(2)


async def test_r6_a_renewal_that_failed_is_tried_by_the_next_at_once(redis: RedisServer, token: bytes) -> None:
    fails = Renewing(RenewedCookie(RenewalOutcome.UNAVAILABLE))
    fails.gate.clear()
    async with worker(redis.url) as one, worker(redis.url) as other:
        leader = one.once(token, fails)
        await fails.called.wait()
        follower = other.once(token, Renewing(renewed(2)))
        fails.gate.set()
        assert (await leader).outcome is RenewalOutcome.UNAVAILABLE
        assert await follower == renewed(2)


async def test_r6_a_definitive_answer_to_the_own_call_is_not_exchanged_for_anothers(
    redis: RedisServer, token: bytes
) -> None:
    slow = Renewing(RenewedCookie(RenewalOutcome.REVOKED))
    slow.gate.clear()
    async with worker(redis.url, lock_s=0.1) as one, worker(redis.url) as other:
        leader = one.once(token, slow)
        await slow.called.wait()
        assert await other.once(token, Renewing(renewed(2))) == renewed(2)
        slow.gate.set()
        assert await leader == RenewedCookie(RenewalOutcome.REVOKED)


async def test_r3_a_lock_that_nobody_lets_go_of_holds_nobody_for_longer_than_a_lock_may_last(
    redis: RedisServer, token: bytes
) -> None:
    async with worker(redis.url, lock_s=0.2) as one:
        await one.redis.run("SET", f"edge-passport:local:renewal:{{{sha256(token).hexdigest()}}}:lock", b"for ever")
        assert await one.once(token, Renewing(renewed(1))) == renewed(1)
        assert one.counted == {"waited_in_vain": 1}


async def test_rule_24_redis_holds_no_token_and_nothing_that_opens_without_it(redis: RedisServer, token: bytes) -> None:
    async with worker(redis.url) as one:
        await one.once(token, Renewing(renewed(1)))
        value = await held(one, token, "result")
        assert value is not None
        everything = b"\n".join([part async for part in _all(one.redis)])
        assert value in everything
        for secret in (token, b"canary"):
            assert secret not in everything
        # What was stored for one token is nothing for another, and nobody is worse off for it.
        other = token + b"-other"
        await one.redis.run("SET", f"edge-passport:local:renewal:{{{sha256(other).hexdigest()}}}:result", value)
        assert await one.once(other, Renewing(renewed(2))) == renewed(2)
        assert one.counted["bad_answer"] == 1
        assert "canary" not in repr(one.sharing)


async def _all(redis: RedisPipeline) -> AsyncIterator[bytes]:
    keys = await redis.run("KEYS", "*")
    assert isinstance(keys, list)
    for key in keys:
        yield key
        value = await redis.run("GET", key)
        assert isinstance(value, bytes)
        yield value


async def test_a_redis_that_is_not_there_is_no_error_and_is_soon_left_alone(token: bytes) -> None:
    async with worker(f"redis://127.0.0.1:{free_port()}") as one:
        renewing = Renewing(renewed(1))
        for _ in range(6):
            assert await one.once(token, renewing) == renewed(1)
        assert renewing.calls == 6
        assert one.counted["unreachable"] >= 4
        assert one.counted.get("breaker_open", 0) >= 1


async def test_a_redis_that_hangs_costs_its_deadline_and_is_used_again_when_it_is_back(
    redis: RedisServer, token: bytes
) -> None:
    async with worker(redis.url, timeout_s=0.05) as one, worker(redis.url) as other:
        redis.process.send(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for number in range(8):
                assert await one.once(token + b"%d" % number, Renewing(renewed(number))) == renewed(number)
            assert time.monotonic() - begun < 10.0
            assert one.counted["timeout"] >= 4
            assert one.counted.get("breaker_open", 0) >= 1
        finally:
            redis.process.send(signal.SIGCONT)
        await other.once(token, Renewing(renewed(77)))

        async def shared() -> bool:
            result = await one.once(token, Renewing(renewed(78)))
            return bool(result == renewed(77))

        await eventually(shared, "it is shared again")


async def test_a_redis_that_dies_in_the_middle_leaves_each_worker_to_itself(token: bytes) -> None:
    renewing, others = Renewing(renewed(1)), Renewing(renewed(2))
    renewing.gate.clear()
    async with redis_running() as dying, worker(dying.url) as one, worker(dying.url) as other:
        leader = one.once(token, renewing)
        await renewing.called.wait()
        follower = other.once(token, others)
        await dying.process.kill()
        assert await follower == renewed(2)
        renewing.gate.set()
        assert await leader == renewed(1)
        assert one.counted["unreachable"] == other.counted["unreachable"] == 1
        async with redis_running(port=dying.port):

            async def shared() -> bool:
                pair = await one.once(token, Renewing(renewed(3)))
                return bool(pair == await other.once(token, Renewing(renewed(4))))

            await eventually(shared, "it is shared again")


@pytest.mark.parametrize(
    "answer",
    [
        b"+OK\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"$5\r\nhello\r\n",
        b"$5\r\nhelloXY",
        b"-ERR no\r\n",
        b"-LOADING not yet\r\n",
        b"*2\r\n:1\r\n:1\r\n",
        b"*1\r\n" * 5000,
        b"%s\r\n" % (b"9" * 70_000),
        b"$-9\r\n",
        b"$x\r\n",
        b"*-7\r\n",
        b"\xff\x00\xff\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"$20000\r\n" + b"x" * 20_000 + b"\r\n",
        b"",
    ],
)
async def test_a_redis_that_answers_nonsense_is_no_error(token: bytes, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    async with (
        await asyncio.start_server(serve, sock=listening),
        worker(f"redis://127.0.0.1:{listening.getsockname()[1]}") as one,
    ):
        renewing = Renewing(renewed(1))
        assert await one.once(token, renewing) == renewed(1)
        assert renewing.calls == 1
        assert sum(one.counted.values()) == 1
        assert set(one.counted) <= {"bad_answer", "unreachable", "refused"}


async def test_d8_a_thousand_renewals_at_once_are_shared_over_one_connection(token: bytes) -> None:
    async with redis_running() as quiet, worker(quiet.url) as one, worker(quiet.url) as other:
        tokens = [token + b"%d" % number for number in range(1000)]
        renewing = Renewing(renewed(1))
        results = await asyncio.gather(*(each.once(token, renewing) for token in tokens for each in (one, other)))
        assert set(results) == {renewed(1)}
        assert renewing.calls == 1000
        clients = await one.redis.run("CLIENT", "LIST")
        assert isinstance(clients, bytes)
        assert clients.count(b"\n") == 2
        assert one.redis._waiting == other.redis._waiting == []


async def test_a_password_is_asked_for_and_a_wrong_one_is_no_error(token: bytes) -> None:
    async with redis_running("--requirepass", "right") as guarded:
        async with worker(guarded.url, password="right") as one:
            assert await one.once(token, Renewing(renewed(1))) == renewed(1)
            assert one.counted == {"led": 1}
        for password in ("wrong", None):
            async with worker(guarded.url, password=password) as two:
                assert await two.once(token, Renewing(renewed(2))) == renewed(2)
                assert two.counted == {"refused": 1}


async def test_t1_it_is_spoken_to_over_tls_with_certificates_on_both_sides(token: bytes, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path / "ca")
    authority.issue("redis", ["127.0.0.1"])
    authority.issue("edge")
    files = [f"--tls-{kind}-file {tmp_path}/ca/redis.{end}" for kind, end in (("cert", "crt"), ("key", "key"))]
    settings = " ".join([*files, f"--tls-ca-cert-file {authority.ca_file}", "--tls-auth-clients yes"]).split()
    own = ServiceTls(
        ca_file=authority.ca_file,
        certificate_file=tmp_path / "ca" / "edge.crt",
        key_file=tmp_path / "ca" / "edge.key",
    )
    other = TestAuthority(tmp_path / "other", "other")
    async with redis_running(*settings, tls=True) as guarded:
        async with worker(guarded.url, tls=own) as one:
            assert await one.once(token, Renewing(renewed(1))) == renewed(1)
            assert one.counted == {"led": 1}
        for bad in (ServiceTls(ca_file=other.ca_file), ServiceTls(ca_file=authority.ca_file)):
            async with worker(guarded.url, tls=bad) as two:
                assert await two.once(token, Renewing(renewed(2))) == renewed(2)
                assert two.counted == {"unreachable": 1}
