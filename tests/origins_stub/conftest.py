"""KMS, subscriber, auth and API as real processes, and an edge's hand to make Passports with."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from passport import (
    NO_DEVICE,
    NO_USER,
    DevicePart,
    Level,
    PassportBuilder,
    PassportKeys,
    Source,
    UserPart,
)
from passport.kms import KmsClient
from tests.processes import REPOSITORY, Process, free_port, make_secrets, process

TRUST_DOMAIN = "edge-passport.local"
REQUEST_ID = b"0123456789abcdef0123456789abcdef"
PURPOSES = ["passport-user", "passport-device", "passport-auth"]
DEVICE = DevicePart.of(Source.COOKIE, Level.HIGH, "ESN-1", 7)


@dataclass(slots=True, frozen=True)
class Edge:
    """What an edge has in hand: the keys, and through them any Passport."""

    keys: PassportKeys

    def passport(
        self,
        user: UserPart = NO_USER,
        device: DevicePart = NO_DEVICE,
        *,
        age_s: int = 0,
        request_id: bytes = REQUEST_ID,
        trust_domain: str = TRUST_DOMAIN,
    ) -> str:
        """Return an X-Passport value."""
        user_key, device_key = self.keys.signer("passport-user"), self.keys.signer("passport-device")
        assert user_key is not None
        assert device_key is not None
        builder = PassportBuilder("edge-test", trust_domain, user_key, device_key, 60)
        return builder.header_value(request_id, user, device, int(time.time()) - age_s).decode()


def user_of_level(level: Level) -> UserPart:
    return UserPart.of(Source.COOKIE, level, 1001, 1001, session_id="s1")


@dataclass(slots=True, frozen=True)
class Origins:
    """The running processes."""

    api: Process
    auth: Process
    subscriber: Process
    kms: Process
    var: Path


def identity_arguments(var: Path, kms: Process, identity: str) -> tuple[str, ...]:
    """Return what a stub needs to fetch its keys."""
    token_file = var / "secrets" / f"{identity}.token"
    return ("--kms", kms.url, "--token-file", str(token_file), "--var", str(var))


def auth_arguments(var: Path, kms: Process, subscriber: str) -> tuple[str, ...]:
    """Return what the auth service needs."""
    return (*identity_arguments(var, kms, "auth"), "--subscriber", subscriber)


def api_arguments(var: Path, kms: Process, auth: str, subscriber: str) -> tuple[str, ...]:
    """Return what the API needs."""
    return (*identity_arguments(var, kms, "api"), "--auth", auth, "--subscriber", subscriber)


@asynccontextmanager
async def running_kms(var: Path) -> AsyncIterator[Process]:
    """Run a KMS with its state, and new secrets, in `var`."""
    secrets = make_secrets(var / "secrets")
    config = ("--config", str(REPOSITORY / "config/kms.yaml"))
    async with process("services.kms", *config, "--secrets", str(secrets), "--var", str(var)) as kms:
        yield kms


async def edge_of(var: Path, kms: Process, session: aiohttp.ClientSession) -> Edge:
    """Fetch the keys of this moment as the edge does."""
    token = (var / "secrets" / "edge.token").read_text().strip()
    answer = await KmsClient(session, kms.url, token).key_sets(PURPOSES)
    return Edge(PassportKeys.from_key_sets(answer.key_sets))


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def origins(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Origins]:
    var = tmp_path_factory.mktemp("origins")
    async with (
        running_kms(var) as kms,
        process("origins_stub.subscriber", *identity_arguments(var, kms, "subscriber")) as subscriber,
        process("origins_stub.auth", *auth_arguments(var, kms, subscriber.url)) as auth,
        process("origins_stub.api", *api_arguments(var, kms, auth.url, subscriber.url)) as api,
    ):
        yield Origins(api, auth, subscriber, kms, var)


@pytest.fixture
async def api_without_auth(origins: Origins) -> AsyncIterator[Process]:
    """An API whose auth service is not there."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    arguments = api_arguments(origins.var, origins.kms, nowhere, nowhere)
    async with process("origins_stub.api", *arguments) as api:
        yield api


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def edge(origins: Origins, session: aiohttp.ClientSession) -> Edge:
    return await edge_of(origins.var, origins.kms, session)
