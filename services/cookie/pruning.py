"""Removes what need not be remembered any longer: at the start, and every hour or so."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from services.cookie.store import Store
from services.kit.database_calls import DatabaseUnavailable

_EVERY_S: Final = 3600.0
_log = structlog.get_logger()


@asynccontextmanager
async def pruning(store: Store, rescheduled_keep_s: int, updates_keep_s: int) -> AsyncIterator[None]:
    """Prune until the block ends."""
    going_on = asyncio.create_task(_prune(store, rescheduled_keep_s, updates_keep_s), name="pruning")
    try:
        yield
    finally:
        going_on.cancel()
        await asyncio.wait({going_on})


async def _prune(store: Store, rescheduled_keep_s: int, updates_keep_s: int) -> None:
    while True:
        try:
            rows = await store.prune(rescheduled_keep_s, updates_keep_s)
            _log.info("pruned", rows=rows)
        except DatabaseUnavailable as problem:
            _log.warning("not_pruned", problem=str(problem))
        # A tenth either way, so that the instances of a service do not do it all at once.
        await asyncio.sleep(_EVERY_S * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
