"""A service's database from its event loop: each call on one of as many threads as there are connections."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from services.kit.database import Database, DatabaseConfig

T = TypeVar("T")
BegunT = TypeVar("BegunT")


class DatabaseUnavailable(Exception):  # noqa: N818 - what it is, not that it is an error
    """The database did not do it, or not in time; the text says why, without values."""


class DatabaseCalls:
    """The transactions of a `Database`, awaited. Each raises DatabaseUnavailable."""

    def __init__(self, database: Database, config: DatabaseConfig) -> None:
        self._database = database
        # To connect, and to do it.
        self._timeout_s = 2 * config.timeout_s
        self._threads = ThreadPoolExecutor(max_workers=config.connections, thread_name_prefix="database")

    async def reading(self, call: Callable[[Connection], T]) -> T:
        """Return what `call` reads."""
        return await self._run(self._database.reading, call)

    async def writing(self, call: Callable[[Connection], T]) -> T:
        """Make a change of one statement."""
        return await self._run(self._database.writing, call)

    async def exclusive(self, call: Callable[[Session], T]) -> T:
        """Make a change that depends on what is there."""
        return await self._run(self._database.exclusive, call)

    def close(self) -> None:
        """Wait for the calls under way, then close the database."""
        self._threads.shutdown(cancel_futures=True)
        self._database.close()

    async def _run(
        self,
        transaction: Callable[[], AbstractContextManager[BegunT]],
        call: Callable[[BegunT], T],
    ) -> T:
        def work() -> T:
            with transaction() as begun:
                return call(begun)

        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise DatabaseUnavailable("timeout") from None
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise DatabaseUnavailable(type(cause).__name__) from None
