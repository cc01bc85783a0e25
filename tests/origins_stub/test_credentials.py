"""Credentials: in the same time for all, off the event loop, a bounded number at a time."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from argon2 import PasswordHasher

from origins_stub.auth.credentials import MAX_WAIT_S, MAX_WAITING, THREADS, Credentials, NoUser
from origins_stub.auth.users import User, UserStore, read_seed
from origins_stub.kit.process import StartError

PASSWORD = "correct horse battery staple"


class WatchedHasher(PasswordHasher):
    """A cheap hasher that counts its checks and waits, in each, for the gate to open."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.gate = threading.Event()
        self.gate.set()
        self.checks = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
        self.checks += 1
        assert self.gate.wait(10)
        assert threading.current_thread() is not threading.main_thread()
        return super().verify(hash, password)


@pytest.fixture
def hasher() -> WatchedHasher:
    return WatchedHasher()


@pytest.fixture
def users(tmp_path: Path, hasher: WatchedHasher) -> Iterator[UserStore]:
    store = UserStore(tmp_path / "auth.sqlite", hasher)
    yield store
    store.close()


@dataclass
class Clock:
    now: float = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(users: UserStore, hasher: WatchedHasher, clock: Clock) -> Iterator[Credentials]:
    credentials = Credentials(users, hasher, lambda: clock.now)
    yield credentials
    hasher.gate.set()
    credentials.close()


async def test_a_seeded_user_is_known_by_the_password(credentials: Credentials) -> None:
    user = await credentials.check("demo@example.com", PASSWORD)
    assert isinstance(user, User)
    assert (user.email, user.customer_id) == ("demo@example.com", 1001)


async def test_an_unknown_address_costs_a_hash_as_a_wrong_password_does(
    credentials: Credentials, hasher: WatchedHasher
) -> None:
    assert await credentials.check("nobody@example.com", PASSWORD) is NoUser.WRONG_CREDENTIALS
    assert hasher.checks == 1
    assert await credentials.check("demo@example.com", "wrong") is NoUser.WRONG_CREDENTIALS
    assert hasher.checks == 2


async def test_more_logins_than_may_wait_are_turned_away_at_once(
    credentials: Credentials, hasher: WatchedHasher
) -> None:
    hasher.gate.clear()
    waiting = [
        asyncio.ensure_future(credentials.check("demo@example.com", PASSWORD)) for _ in range(THREADS + MAX_WAITING)
    ]
    await asyncio.sleep(0)
    assert await credentials.check("demo@example.com", PASSWORD) is NoUser.OVERLOADED
    hasher.gate.set()
    assert all(isinstance(user, User) for user in await asyncio.gather(*waiting))
    assert isinstance(await credentials.check("demo@example.com", PASSWORD), User)


async def test_a_check_that_has_waited_too_long_is_not_begun_any_more(
    credentials: Credentials, hasher: WatchedHasher, clock: Clock
) -> None:
    waiting = await _fill(credentials, hasher)
    async with asyncio.timeout(30):
        while hasher.checks < THREADS:  # noqa: ASYNC110 - what happens in a thread sets no event here
            await asyncio.sleep(0.001)
    clock.now += MAX_WAIT_S + 0.1
    hasher.gate.set()
    checked = await asyncio.gather(*waiting)
    assert all(isinstance(user, User) for user in checked[:THREADS])
    assert set(checked[THREADS:]) == {NoUser.OVERLOADED}
    assert hasher.checks == THREADS


async def test_a_caller_that_leaves_frees_its_place_only_when_its_hash_is_done(
    credentials: Credentials, hasher: WatchedHasher
) -> None:
    hasher.gate.clear()
    waiting = [
        asyncio.ensure_future(credentials.check("demo@example.com", PASSWORD)) for _ in range(THREADS + MAX_WAITING)
    ]
    await asyncio.sleep(0)
    for caller in waiting:
        caller.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await credentials.check("demo@example.com", PASSWORD) is NoUser.OVERLOADED
    hasher.gate.set()
    while await credentials.check("demo@example.com", PASSWORD) is NoUser.OVERLOADED:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def _fill(credentials: Credentials, hasher: WatchedHasher) -> list[asyncio.Task[User | NoUser]]:
    """Take every place with a check that waits for the gate."""
    hasher.gate.clear()
    waiting = [
        asyncio.ensure_future(credentials.check("demo@example.com", PASSWORD)) for _ in range(THREADS + MAX_WAITING)
    ]
    await asyncio.sleep(0)
    return waiting


def test_passwords_are_stored_as_argon2id_only(tmp_path: Path, users: UserStore) -> None:
    user = users.find("demo@example.com")
    assert user is not None
    assert user.password_hash.startswith("$argon2id$v=19$")
    assert not [path for path in tmp_path.iterdir() if PASSWORD.encode() in path.read_bytes()]


def test_a_hash_is_not_in_the_repr_of_its_user(users: UserStore) -> None:
    user = users.find("demo@example.com")
    assert "argon2" not in repr(user)


def test_a_password_is_in_no_repr_and_no_error_of_the_seed(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("- {email: a@example.com, password: hush-hush, customer_id: 1, account_owner_id: 1}")
    assert "hush-hush" not in repr(read_seed(seed))
    seed.write_text("- {email: a@example.com, password: hush-hush, customer_id: none}")
    with pytest.raises(StartError) as failure:
        read_seed(seed)
    assert "hush-hush" not in str(failure.value)


def test_a_user_who_is_there_already_is_not_seeded_again(tmp_path: Path, hasher: WatchedHasher) -> None:
    first = UserStore(tmp_path / "again.sqlite", hasher)
    kept = first.find("demo@example.com")
    first.close()
    second = UserStore(tmp_path / "again.sqlite", hasher)
    again = second.find("DEMO@example.com ")
    second.close()
    assert kept == again
