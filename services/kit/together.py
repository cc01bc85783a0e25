"""Makes one call of what many ask for at once.

A call to a database costs the same for one as for many, or nearly: what is asked for while calls are under way is
collected, and asked together when one of them is done. Nobody waits while there is nothing under way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class _Batch(Generic[ItemT, ResultT]):
    """What is asked together; `task` returns a result for each item, in their order."""

    def __init__(self) -> None:
        self.items: list[ItemT] = []
        self.task: asyncio.Task[Sequence[ResultT]]


class Together(Generic[ItemT, ResultT]):
    """Calls `call` with `most` items at most, `at_once` times at once at most."""

    def __init__(
        self, call: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]], *, most: int, at_once: int
    ) -> None:
        self._call = call
        self._most = most
        self._free = asyncio.Semaphore(at_once)
        self._collecting: _Batch[ItemT, ResultT] | None = None

    async def __call__(self, item: ItemT) -> ResultT:
        """Return the result of `item`; raises what the call raised for all of them.

        Whoever stops waiting takes nothing from the others.
        """
        batch = self._collecting
        if batch is None or len(batch.items) == self._most:
            batch = self._collecting = _Batch()
            batch.task = asyncio.create_task(self._make(batch), name="together")
            batch.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        at = len(batch.items)
        batch.items.append(item)
        return (await asyncio.shield(batch.task))[at]

    async def _make(self, batch: _Batch[ItemT, ResultT]) -> Sequence[ResultT]:
        async with self._free:
            if self._collecting is batch:
                self._collecting = None
            return await self._call(batch.items)
