"""A KMS, an origin and a whole edge in front of it, one of each for all tests of a module that asks for them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge_process.edge import Edge, running_edge
from tests.edge_process.origin import Origin, origin_running
from tests.services.kms_calls import Kms, kms_running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kms]:
    async with kms_running(tmp_path_factory.mktemp("kms")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[Origin]:
    async with origin_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(kms: Kms, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(kms, tmp_path_factory.mktemp("edge"), origin.address) as running:
        yield running
