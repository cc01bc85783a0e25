"""The sign-outs of one worker that the cookie service has yet to take. A reload makes the filter anew; these go on.

A sign-out is tried at once, beside its response. Where that fails it is tried again, one at a time for each worker, so
that a service that is coming back is not asked by all at once: after one that failed the next waits, twice as long each
time, with jitter; after one that was taken the next follows. Each is tried for a bounded time.
"""

import asyncio
import contextlib
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from edge.contract.ports import CookieService, Revocation

RETRY_S: Final = 300.0
MAX_PENDING: Final = 4096
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0


class _Times(NamedTuple):
    """On the loop's clock."""

    asked: float
    until: float


class SignOuts:
    """Implements `edge.contract.ports.SignOuts`. For one event loop.

    `counts` says how sign-outs ended: `done` at once, `done_later`, `given_up` when their time was over or the worker
    left, `pushed_out` by newer ones.
    """

    def __init__(
        self,
        service: CookieService,
        *,
        retry_s: float = RETRY_S,
        max_pending: int = MAX_PENDING,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Try for `retry_s` seconds, and at most `max_pending` at a time; `chance` tells a number from 0 up to 1."""
        self.use(service, retry_s=retry_s, max_pending=max_pending)
        self._chance = chance
        self._pending: dict[Revocation, _Times] = {}  # the oldest first
        self._again: dict[Revocation, None] = {}  # those that have failed, in the order in which they are tried
        self._first_tries: set[asyncio.Task[None]] = set()
        self._retrying: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self.counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"SignOuts({len(self._pending)} pending)"

    def __len__(self) -> int:
        """Return how many are not yet taken."""
        return len(self._pending)

    def use(self, service: CookieService, *, retry_s: float, max_pending: int) -> None:
        """Go on with another service and other limits."""
        self._service = service
        self._retry_s = retry_s
        self._max_pending = max_pending

    def end(self, revocation: Revocation) -> None:
        """Have something revoked beside the caller.

        Once at a time: a cookie that is shown many times at once must not take the places of those who sign in.
        """
        if revocation in self._pending:
            return
        loop = asyncio.get_running_loop()
        while len(self._pending) >= self._max_pending:
            self._drop(next(iter(self._pending)), "pushed_out")
        self._pending[revocation] = _Times(loop.time(), loop.time() + self._retry_s)
        task = loop.create_task(self._first_try(revocation), name="revocation")
        self._first_tries.add(task)
        task.add_done_callback(self._first_tries.discard)

    async def first_tries(self) -> None:
        """Wait for those that are tried for the first time."""
        if self._first_tries:
            await asyncio.wait(self._first_tries)

    def hurry(self) -> None:
        """Try each that has failed once more, without a pause."""
        self._woken.set()

    async def finish(self, within_s: float) -> int:
        """Try what is left once more, for `within_s` seconds at most; return how many are given up then."""
        if self._retrying is not None:
            self._retrying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._retrying
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(within_s, 0.0)):
                await self.first_tries()
                await self._pass(every=True)
        for task in self._first_tries:
            task.cancel()
        left = len(self._pending)
        for revocation in tuple(self._pending):
            self._drop(revocation, "given_up")
        return left

    async def _first_try(self, revocation: Revocation) -> None:
        if await self._service.revoke(revocation):
            self._drop(revocation, "done")
        elif revocation in self._pending:
            self._again[revocation] = None
            if self._retrying is None or self._retrying.done():
                self._retrying = asyncio.get_running_loop().create_task(self._retry(), name="revocations-again")

    async def _retry(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._again:
            with contextlib.suppress(TimeoutError):
                # Half to whole: workers that lost the service together do not come back together.
                await asyncio.wait_for(self._woken.wait(), pause_s * (0.5 + self._chance() / 2))
            every = self._woken.is_set()
            self._woken.clear()
            worked = await self._pass(every=every)
            pause_s = _FIRST_PAUSE_S if worked else min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _pass(self, *, every: bool) -> bool:
        """Try again until one fails, or `every` one; return whether any was taken."""
        self._give_up_old()
        worked = False
        for revocation in tuple(self._again):
            times = self._pending.get(revocation)
            if times is None:
                continue
            age_s = math.ceil(asyncio.get_running_loop().time() - times.asked) or 1
            if await self._service.revoke(revocation, age_s=age_s):
                self._drop(revocation, "done_later")
                worked = True
                continue
            if revocation in self._again:  # unless it was pushed out meanwhile
                del self._again[revocation]
                self._again[revocation] = None
            if not every:
                break
        return worked

    def _give_up_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for revocation in tuple(self._again):
            if self._pending[revocation].until <= now:
                self._drop(revocation, "given_up")

    def _drop(self, revocation: Revocation, result: str) -> None:
        self._again.pop(revocation, None)
        if self._pending.pop(revocation, None) is not None:
            self.counts[result] += 1
