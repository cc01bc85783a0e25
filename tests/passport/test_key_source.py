"""The keys of a service: there before it serves, refreshed beside it, in a task and in a thread."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import aiohttp
import pytest
import pytest_asyncio
from edgepb.kms.v1 import kms_pb2

from passport.key_source import KeySource
from passport.kms import KmsRefused, KmsUnavailable
from tests.clients.serving import Service, serving
from tests.passport.samples import KEYS, key_sets
from tests.processes import eventually

TOKEN = "t" * 40


@pytest_asyncio.fixture
async def kms() -> AsyncIterator[tuple[Service, aiohttp.ClientSession]]:
    async with serving() as running:
        running[0].body = answer(1)
        yield running


def answer(revision: int, *, without: int = 0) -> bytes:
    sets = key_sets()
    return kms_pb2.GetKeySetsResponse(key_sets=sets[without:] or sets, revision=revision).SerializeToString()


async def test_a_service_has_keys_before_it_serves_and_newer_ones_beside(
    kms: tuple[Service, aiohttp.ClientSession],
) -> None:
    async with KeySource(kms[0].url, TOKEN, refresh_s=0.01) as keys:
        first = keys.passport_keys
        assert repr(first) == repr(KEYS)

        async def replaced() -> bool:
            return keys.passport_keys is not first

        await eventually(replaced, "a refresh")
    asked = len(kms[0].requests)
    assert kms_pb2.GetKeySetsRequest.FromString(kms[0].requests[-1][2]).purposes == ["passport-user", "passport-device"]
    await asyncio.sleep(0.03)
    assert len(kms[0].requests) == asked


async def test_a_refresh_that_fails_keeps_the_keys_and_is_said(kms: tuple[Service, aiohttp.ClientSession]) -> None:
    problems: list[Exception] = []
    async with KeySource(kms[0].url, TOKEN, refresh_s=0.01, on_problem=problems.append) as keys:
        first = keys.passport_keys
        kms[0].status = 503

        async def said() -> bool:
            return bool(problems)

        await eventually(said, "a problem")
        assert isinstance(problems[0], KmsUnavailable)
        assert repr(keys.passport_keys) == repr(first)


async def test_one_that_is_refused_does_not_start(kms: tuple[Service, aiohttp.ClientSession]) -> None:
    kms[0].status, kms[0].body = 403, kms_pb2.Error(reason="not_granted").SerializeToString()
    with pytest.raises(KmsRefused):
        async with KeySource(kms[0].url, TOKEN):
            pass


async def test_one_without_a_kms_does_not_start() -> None:
    with pytest.raises(KmsUnavailable):
        async with KeySource("http://127.0.0.1:1", TOKEN, patience_s=0):
            pass


async def test_a_threaded_service_has_keys_too(kms: tuple[Service, aiohttp.ClientSession]) -> None:
    def work() -> str:
        with KeySource(kms[0].url, TOKEN, refresh_s=0.01) as keys:
            return repr(keys.passport_keys)

    assert await asyncio.to_thread(work) == repr(KEYS)
    kms[0].status, kms[0].body = 403, kms_pb2.Error(reason="not_granted").SerializeToString()
    with pytest.raises(KmsRefused):
        await asyncio.to_thread(work)


def test_a_threaded_one_without_a_kms_does_not_start() -> None:
    with pytest.raises(KmsUnavailable):
        KeySource("http://127.0.0.1:1", TOKEN, patience_s=0).start()


def test_whatever_ends_the_thread_before_it_serves_is_raised_where_it_was_started() -> None:
    class Ending(KeySource):
        async def __aenter__(self) -> Self:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        Ending("http://kms", TOKEN).start()


def test_its_repr_has_no_token() -> None:
    assert TOKEN not in repr(KeySource("http://kms", TOKEN))
