"""Check an e-mail address and a password: off the event loop, a bounded number at a time, in the same time for all."""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from origins_stub.auth.users import User, UserStore

THREADS = 2
MAX_WAITING = 32
MAX_WAIT_S = 1.0


class NoUser(Enum):
    """Why there is nobody to sign in."""

    WRONG_CREDENTIALS = "wrong_credentials"
    EMAIL_TAKEN = "email_taken"
    OVERLOADED = "overloaded"


class Credentials:
    """Check credentials against `users`, and take new ones.

    argon2id takes 64 MiB and 30 to 300 ms of a core for each check, so that two run at a time, `MAX_WAITING` wait and
    one more is OVERLOADED: a flood of guesses must not take the memory of those who have a session. So is one that has
    waited for `MAX_WAIT_S`: its caller would be gone by its end, and so would, in a flood, that of every other.
    """

    def __init__(self, users: UserStore, hasher: PasswordHasher, clock: Callable[[], float] = time.monotonic) -> None:
        self._users = users
        self._hasher = hasher
        self._clock = clock
        self._nobody = hasher.hash(secrets.token_urlsafe())
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._unfinished = 0

    async def check(self, email: str, password: str) -> User | NoUser:
        """Return the user that these credentials belong to, or why there is none."""
        return await self._run(self._check, email, password) or NoUser.WRONG_CREDENTIALS

    async def register(self, email: str, password: str) -> User | NoUser:
        """Return the user of a new account with these credentials, or why there is none."""
        return await self._run(self._register, email, password) or NoUser.EMAIL_TAKEN

    def close(self) -> None:
        """Let the running checks end, free the threads and close the users."""
        self._threads.shutdown(cancel_futures=True)
        self._users.close()

    async def _run(self, work: Callable[[str, str], User | None], email: str, password: str) -> User | NoUser | None:
        if self._unfinished >= THREADS + MAX_WAITING:
            return NoUser.OVERLOADED
        self._unfinished += 1
        latest = self._clock() + MAX_WAIT_S
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._begin, latest, work, email, password)
        running.add_done_callback(self._finished)
        # Shielded: a caller that leaves must not make a running hash look finished.
        return await asyncio.shield(running)

    def _begin(
        self, latest: float, work: Callable[[str, str], User | None], email: str, password: str
    ) -> User | NoUser | None:
        return NoUser.OVERLOADED if self._clock() > latest else work(email, password)

    def _finished(self, running: "asyncio.Future[User | NoUser | None]") -> None:
        self._unfinished -= 1
        if not running.cancelled():
            running.exception()

    def _check(self, email: str, password: str) -> User | None:
        user = self._users.find(email)
        # An unknown address costs a hash too: the answer's time must not tell who has an account.
        matches = self._matches(user.password_hash if user else self._nobody, password)
        return user if matches else None

    def _register(self, email: str, password: str) -> User | None:
        return self._users.add(email, self._hasher.hash(password))

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
