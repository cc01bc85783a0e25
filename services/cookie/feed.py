"""The feed of revocations: each follower waits at its cursor until there is something after it.

A process looks into the database for all of its followers, twenty times a second while there are any: an entry that
another process has stored is seen as soon, on every kind of database.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.store import Store
from services.kit.database_calls import DatabaseUnavailable

_LOOK_EVERY_S: Final = 0.05
_log = structlog.get_logger()


class Feed:
    """Pages of the feed. Made by `feed`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest = 0
        self._followers = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._reads: dict[int, asyncio.Task[pb.RevocationFeed]] = {}

    async def page(self, after: int, wait_s: float) -> pb.RevocationFeed:
        """Return what is after a cursor, as soon as there is something; nothing when the wait is over.

        Raises DatabaseUnavailable when that cannot be said.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        self._followers += 1
        try:
            while True:
                changed = self._changed  # taken first: what comes while the page is read is not missed
                page = await self._read(after)
                left_s = until - loop.time()
                if page.revocations or left_s <= 0 or self._ended:
                    return page
                after = page.cursor
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await changed.wait()
        finally:
            self._followers -= 1

    def stored(self, revocation: pb.Revocation) -> None:
        """Tell that this process has just stored one."""
        self._wake(revocation.id)

    def end(self) -> None:
        """Let every follower have its answer now."""
        self._ended = True
        self._wake(self._newest)

    async def look(self) -> None:
        """Look for new entries, for ever."""
        failing = False
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not self._followers:
                continue
            try:
                newest = await self._store.newest()
            except DatabaseUnavailable as problem:
                if not failing:
                    _log.warning("feed_unavailable", problem=str(problem))
                failing = True
                self._wake(self._newest)  # a follower must not take an old page for a new one
                continue
            failing = False
            if newest != self._newest:
                self._wake(newest)

    def _wake(self, newest: int) -> None:
        self._newest = newest
        self._reads.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _read(self, after: int) -> pb.RevocationFeed:
        """Read a page; those that ask for the same one at once get the same one."""
        reading = self._reads.get(after)
        if reading is None:
            reading = self._reads[after] = asyncio.create_task(self._store.page(after), name="feed-page")
            reading.add_done_callback(lambda task: self._forget(after, task))
        return await asyncio.shield(reading)

    def _forget(self, after: int, task: asyncio.Task[pb.RevocationFeed]) -> None:
        if self._reads.get(after) is task:
            del self._reads[after]
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more


@asynccontextmanager
async def feed(store: Store) -> AsyncIterator[Feed]:
    """Keep looking for new entries until the block ends."""
    following = Feed(store)
    looking = asyncio.create_task(following.look(), name="feed")
    try:
        yield following
    finally:
        looking.cancel()
        await asyncio.wait({looking})
