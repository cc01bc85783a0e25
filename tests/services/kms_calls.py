"""A key management service in its own process, and calls to it as each identity makes them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient
from tests.processes import REPOSITORY, Process, eventually, make_secrets, process

CONFIG = REPOSITORY / "config" / "kms.yaml"
PURPOSES = ("cookie", "cookie-rescheduled", "passport-user", "passport-device", "passport-auth")


@dataclass(slots=True)
class Kms:
    """A running service, its directories, and a session to call it with."""

    process: Process
    session: aiohttp.ClientSession
    secrets: Path
    var: Path
    database_url: str

    def token(self, identity: str) -> str:
        return (self.secrets / f"{identity}.token").read_text().strip()

    def client(self, identity: str) -> KmsClient:
        return KmsClient(self.session, self.process.url, self.token(identity))

    async def key_set(self, purpose: str, identity: str = "edge") -> Sequence[kms_pb2.KeyVersion]:
        return (await self.client(identity).key_sets([purpose])).key_sets[0].versions

    async def primary(self, purpose: str) -> kms_pb2.KeyVersion:
        (primary,) = [version for version in await self.key_set(purpose) if version.primary]
        return primary

    async def metrics(self) -> Mapping[str, float]:
        """Return what /metrics says, by series as it is written there."""
        async with self.session.get(self.process.url + "/metrics") as response:
            assert response.status == 200
            lines = (await response.text()).splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    async def operate(
        self, path: str, body: object = None, identity: str = "operator", method: str = "POST"
    ) -> tuple[int, Mapping[str, object]]:
        """Make an operator's call; return status and JSON answer."""
        headers = {"Authorization": f"Bearer {self.token(identity)}"}
        async with self.session.request(method, self.process.url + path, json=body, headers=headers) as response:
            answer = await response.json()
            assert isinstance(answer, dict)
            return response.status, answer

    async def add(self, purpose: str) -> str:
        """Add a version; return its key id in hex."""
        status, answer = await self.operate(f"/v1/key-sets/{purpose}/versions")
        assert status == 200
        return str(answer["key_id"])

    async def move(self, key_id: str, state: str, *, force: bool = False) -> int:
        """Move a version; return the status."""
        return (await self.operate(f"/v1/keys/{key_id}/state", {"state": state, "force": force}))[0]

    async def activate(self, key_id: str) -> None:
        """Activate a version as soon as everyone who is alive works with it."""

        async def done() -> bool:
            return await self.move(key_id, "ACTIVE") == 200

        await eventually(done, "everyone works with the version")

    async def fetch(self, request: kms_pb2.GetKeySetsRequest, identity: str = "edge") -> kms_pb2.GetKeySetsResponse:
        """Ask for keys with just this message."""
        headers = {"Authorization": f"Bearer {self.token(identity)}", "Content-Type": "application/x-protobuf"}
        url = self.process.url + "/v1/key-sets"
        async with self.session.post(url, data=request.SerializeToString(), headers=headers) as response:
            assert response.status == 200
            return kms_pb2.GetKeySetsResponse.FromString(await response.read())


@asynccontextmanager
async def kms_running(
    directory: Path, *, listen: str = "127.0.0.1:0", database_url: str | None = None, config_text: str | None = None
) -> AsyncIterator[Kms]:
    """Run a service whose secrets and state are in `directory`; a second run there finds what the first left.

    With a `database_url` its store is there instead of in a file of its own; `config_text` replaces the shipped config.
    """
    secrets, var, config = directory / "secrets", directory / "var", CONFIG
    if not secrets.exists():
        make_secrets(secrets)
    if database_url is not None or config_text is not None:
        config = directory / "kms.yaml"
        elsewhere = "" if database_url is None else f"database:\n  url: {database_url}\n"
        config.write_text(f"{config_text or CONFIG.read_text()}{elsewhere}")
    async with (
        process("services.kms", *kms_arguments(secrets, var, config), listen=listen) as running,
        aiohttp.ClientSession() as session,
    ):
        yield Kms(running, session, secrets, var, database_url or f"sqlite:///{var / 'kms.sqlite'}")


def kms_arguments(secrets: Path, var: Path, config: Path = CONFIG) -> list[str]:
    """Return the service's arguments."""
    return ["--config", str(config), "--secrets", str(secrets), "--var", str(var)]
