"""Sign-outs that the cookie service does not take: tried again for a while, and never in anybody's way."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from edge.clients import sign_outs as module
from edge.clients.sign_outs import SignOuts
from edge.contract.ports import Revocation, RevocationReason
from tests.clients.serving import Service, serving
from tests.clients.test_cookie_service import PAIR, USER, client
from tests.filters.cookies import CookieServiceAtThePort, Rings
from tests.processes import eventually


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.04)


def revocation(number: int) -> Revocation:
    return Revocation(RevocationReason.LOGOUT, number, session_id=f"session-{number}")


class Refusing(CookieServiceAtThePort):
    """Takes no sign-out while `down`; `tried` has the session of each try, and whether it was a later one."""

    def __init__(self) -> None:
        super().__init__(Rings())
        self.down = True
        self.tried: list[tuple[int, bool]] = []
        self.ages: list[int] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0

    async def revoke(self, revocation: Revocation, *, age_s: int = 0) -> bool:
        again = age_s > 0
        self.ages.append(age_s)
        self.tried.append((revocation.customer_id, again))
        self.times.append(time.monotonic())
        if again:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
        return not self.down

    async def has(self, tries: int) -> None:
        async def tried() -> bool:
            return len(self.tried) >= tries

        await eventually(tried, f"the service was asked {tries} times")


async def none_is_left(made: SignOuts) -> None:
    async def none() -> bool:
        return not len(made)

    await eventually(none, "no sign-out is left")


async def test_c11_a_sign_out_that_was_not_taken_is_tried_again_until_it_is() -> None:
    service = Refusing()
    made = SignOuts(service)
    for number in (1, 2, 3):
        made.end(revocation(number))
    await service.has(6)
    assert len(made) == 3
    service.down = False
    await none_is_left(made)
    assert made.counts == {"done_later": 3}
    assert service.most_at_once == 1
    made.end(revocation(4))
    await made.first_tries()
    assert made.counts == {"done_later": 3, "done": 1}


async def test_c11_one_that_fails_again_and_again_keeps_no_other_from_being_taken() -> None:
    service = Refusing()
    made = SignOuts(service)
    take = service.revoke

    async def take_all_but_the_first(revocation: Revocation, *, age_s: int = 0) -> bool:
        return await take(revocation, age_s=age_s) and revocation.customer_id != 1

    service.revoke = take_all_but_the_first  # type: ignore[method-assign]
    for number in (1, 2, 3):
        made.end(revocation(number))
    await made.first_tries()
    service.down = False

    async def the_others_are_taken() -> bool:
        return made.counts["done_later"] == 2

    await eventually(the_others_are_taken, "the others are taken")
    assert len(made) == 1
    await made.finish(5.0)


async def test_a_session_that_is_tried_again_is_not_tried_beside_that() -> None:
    service = Refusing()
    made = SignOuts(service)
    for _ in range(100):
        made.end(revocation(1))
    await made.first_tries()
    for _ in range(100):
        made.end(revocation(1))
    assert [again for _, again in service.tried].count(False) == 1
    await made.finish(5.0)


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, (0.005, 0.01, 0.02, 0.02)), (1.0, (0.01, 0.02, 0.04, 0.04))])
async def test_c11_the_pauses_grow_and_are_not_the_same_for_all(chance: float, pauses: tuple[float, ...]) -> None:
    service = Refusing()
    made = SignOuts(service, chance=lambda: chance)
    made.end(revocation(1))
    await service.has(5)
    await made.finish(0.0)
    waited = [after - before for before, after in itertools.pairwise(service.times)]
    assert all(took >= pause * 0.9 for took, pause in zip(waited, pauses, strict=False)), waited


async def test_c11_a_sign_out_is_given_up_when_its_time_is_over() -> None:
    service = Refusing()
    made = SignOuts(service, retry_s=0.05)
    made.end(revocation(1))
    await none_is_left(made)
    assert made.counts == {"given_up": 1}
    assert len(service.tried) > 1


async def test_d8_the_oldest_make_room_for_new_ones_and_are_counted() -> None:
    service = Refusing()
    made = SignOuts(service, max_pending=10)
    for number in range(100):
        made.end(revocation(number))
        await asyncio.sleep(0)
    assert len(made) == 10
    assert made.counts == {"pushed_out": 90}
    service.down = False
    await none_is_left(made)
    assert made.counts == {"pushed_out": 90, "done_later": 10}
    assert {number for number, again in service.tried if again} <= set(range(100))


async def test_w2_who_leaves_tries_each_once_more_and_says_how_many_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 3600.0)
    service = Refusing()
    made = SignOuts(service)
    for number in range(5):
        made.end(revocation(number))
    await made.first_tries()
    assert len(service.tried) == 5
    made.hurry()
    await service.has(10)
    assert len(made) == 5
    service.down = False
    assert await made.finish(30.0) == 0
    assert made.counts == {"done_later": 5}


async def test_w2_who_leaves_does_not_wait_longer_than_it_may() -> None:
    async with hanging() as (service, made):
        made.end(revocation(1))
        await service.asked.wait()
        assert await asyncio.wait_for(made.finish(0.05), 5.0) == 1
        assert made.counts == {"given_up": 1}


@asynccontextmanager
async def hanging() -> AsyncIterator[tuple[Service, SignOuts]]:
    """Yield a real client's sign-outs at a service that answers nothing."""
    async with serving() as (service, session):
        service.hang = True
        cookies, _ = client(session, service.url, timeout_s=20.0)
        yield service, SignOuts(cookies)


async def test_s3_sign_outs_that_are_tried_again_take_neither_places_nor_breaker_of_those_who_sign_in() -> None:
    async with serving() as (service, session):
        service.status = 500
        cookies, metrics = client(session, service.url, concurrency=1, open_s=3600.0)
        for _ in range(20):
            assert not await cookies.revoke(revocation(1), age_s=1)
        assert metrics.remote_calls == {("cookie", "status_5xx"): 4, ("cookie", "breaker_open"): 16}
        service.status, service.body = 200, pb.CreateResponse(pair=PAIR).SerializeToString()
        assert await cookies.create(USER, None) is not None
    async with serving() as (service, session):
        service.hang = True
        cookies, _ = client(session, service.url, concurrency=1)
        trying = asyncio.create_task(cookies.revoke(revocation(1), age_s=1))
        await service.asked.wait()
        service.hang, service.body = False, pb.CreateResponse(pair=PAIR).SerializeToString()
        assert await cookies.create(USER, None) is not None
        service.released.set()
        await trying


async def test_c11_one_that_is_taken_late_says_how_late() -> None:
    """Else it would sign out who has signed in since it was asked for."""
    service = Refusing()
    made = SignOuts(service)
    made.end(revocation(1))
    await service.has(4)
    service.down = False
    await none_is_left(made)
    assert service.ages[0] == 0
    assert all(age == 1 for age in service.ages[1:]), "a second at least: of the first try the answer may be lost"
