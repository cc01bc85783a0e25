"""What many ask for at once is asked in few calls, and each gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from services.kit.together import Together


class Calls:
    """Doubles numbers, when it is let."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self.going_on = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.made.append(list(numbers))
        self.going_on.set()
        await self.go_on.wait()
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


async def test_what_comes_while_a_call_is_under_way_is_asked_together_and_no_more_at_a_time_than_allowed() -> None:
    calls = Calls()
    together = Together(calls, most=3, at_once=1)
    first = asyncio.create_task(together(0))
    await calls.going_on.wait()
    others = asyncio.gather(*(together(number) for number in range(1, 8)))
    calls.go_on.set()
    assert await first == 0
    assert await others == [2 * number for number in range(1, 8)]
    assert calls.made == [[0], [1, 2, 3], [4, 5, 6], [7]]


async def test_nobody_waits_for_company() -> None:
    calls = Calls()
    calls.go_on.set()
    together = Together(calls, most=3, at_once=1)
    assert [await together(number) for number in range(3)] == [0, 2, 4]
    assert calls.made == [[0], [1], [2]]


async def test_a_call_that_fails_fails_for_those_who_share_it_only() -> None:
    calls = Calls()
    calls.go_on.set()
    together = Together(calls, most=2, at_once=2)
    answers = await asyncio.gather(*(together(number) for number in (1, 2, 12, 13, 3)), return_exceptions=True)
    assert [str(each) for each in answers] == ["2", "4", "13", "13", "6"]


async def test_one_who_stops_waiting_takes_nothing_from_the_others() -> None:
    calls = Calls()
    together = Together(calls, most=3, at_once=1)
    waiting = [asyncio.create_task(together(number)) for number in (1, 2)]
    await calls.going_on.wait()
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    calls.go_on.set()
    assert await waiting[1] == 4
