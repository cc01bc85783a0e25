"""The Passport keys of one process: fetched from the KMS before it serves, refreshed beside it. Needs aiohttp."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from time import time
from typing import Final, Self

import aiohttp

from passport.key_sets import KeySets
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, PassportKeys
from passport.kms import KmsClient, KmsUnavailable

_RETRY_S: Final = 0.25


class KeySource:
    """Holds the keys of `purposes` in `passport_keys`, which is replaced as a whole by each refresh.

    A service has it while it serves: `async with KeySource(…) as keys` in one of asyncio, `with KeySource(…) as keys`
    in one of threads, where it works in a thread of its own (start it after forking). Either raises KmsRefused, and
    KmsUnavailable when the KMS is not there for `patience_s`. Who has keys keeps them while the KMS is away.
    """

    def __init__(
        self,
        kms_url: str,
        token: str,
        purposes: Sequence[str] = (USER_PURPOSE, DEVICE_PURPOSE),
        *,
        refresh_s: float = 30.0,
        patience_s: float = 30.0,
        on_problem: Callable[[Exception], None] | None = None,
    ) -> None:
        """Ask the KMS at `kms_url` in the name of `token`'s identity; `on_problem` gets why a refresh went wrong."""
        self.passport_keys: PassportKeys | None = None
        self._kms_url = kms_url
        self._token = token
        self._purposes = purposes
        self._refresh_s = refresh_s
        self._patience_s = patience_s
        self._on_problem = on_problem
        self._session: aiohttp.ClientSession | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._thread: Thread | None = None
        self._end: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"KeySource({', '.join(self._purposes)})"

    async def __aenter__(self) -> Self:
        """Fetch the keys, and refresh them from now on."""
        self._session = aiohttp.ClientSession()
        sets = KeySets(KmsClient(self._session, self._kms_url, self._token), self._purposes)
        try:
            await self._fetch_first(sets)
        except BaseException:
            await self._session.close()
            raise
        self._refreshing = asyncio.create_task(self._refresh_for_ever(sets), name="passport-keys")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop refreshing."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await self._refreshing
        if self._session is not None:
            await self._session.close()

    def __enter__(self) -> Self:
        """Fetch the keys, and refresh them from now on in a thread."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop refreshing."""
        self.close()

    def start(self) -> None:
        """Do what `with` does at its beginning; the thread ends with the process at the latest."""
        started: Future[None] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._in_thread(started)), name="passport-keys", daemon=True)
        self._thread.start()
        started.result()

    def close(self) -> None:
        """Do what `with` does at its end."""
        if self._end is not None and self._thread is not None:
            self._end()
            self._thread.join()
            self._end = None

    async def _in_thread(self, started: "Future[None]") -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            async with self:
                self._end = lambda: loop.call_soon_threadsafe(ended.set)
                started.set_result(None)
                await ended.wait()
        except BaseException as error:  # who waits for the start must hear of any; later ones are the thread's own
            if started.done():
                raise
            started.set_exception(error)

    async def _fetch(self, sets: KeySets) -> None:
        self._count_uses(sets)
        fetched = await sets.fetch()
        keys = PassportKeys.from_key_sets(fetched.answer.key_sets)
        self._count_uses(sets)
        self.passport_keys = keys
        sets.taken(fetched, save=False)

    def _count_uses(self, sets: KeySets) -> None:
        if self.passport_keys is not None:
            for _, key_id, uses in self.passport_keys.take_uses():
                sets.uses.add(key_id, uses, time())

    async def _fetch_first(self, sets: KeySets) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_s
        while True:
            try:
                return await self._fetch(sets)
            except KmsUnavailable:
                if loop.time() > give_up:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _refresh_for_ever(self, sets: KeySets) -> None:
        while True:
            # Give or take a tenth: processes that started together do not go on asking together.
            await asyncio.sleep(self._refresh_s * random.uniform(0.9, 1.1))  # noqa: S311
            try:
                await self._fetch(sets)
            except Exception as problem:  # noqa: BLE001 - a refresh that goes wrong must not be the last one
                if self._on_problem is not None:
                    self._on_problem(problem)
