"""A cookie service in its own process beside a real key management service, and calls to it as the edge makes them."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgepb.cookie.v1 import cookie_service_pb2 as pb
from google.protobuf.message import Message

from tests.processes import REPOSITORY, Process, process
from tests.services.kms_calls import Kms
from tests.services.subscriber import MEMBER
from tokens.cookie import Claims, CookieNames, open_pair, seal_pair
from tokens.envelope import NONCE_BYTES, Refusal
from tokens.keys.ring import KeyRing

ENVIRONMENT = "local"
NAMES = CookieNames()
CONFIG = REPOSITORY / "config" / "cookie.yaml"
AnswerT = TypeVar("AnswerT", bound=Message)


@dataclass(slots=True)
class Cookies:
    """A running cookie service and its KMS."""

    process: Process
    kms: Kms
    database_url: str

    async def create(self, customer_id: int = MEMBER, **fields: str | int) -> pb.CookiePair:
        request = pb.CreateRequest(customer_id=customer_id, account_owner_id=7, esn="ESN-1", device_type=3, level=3)
        for name, value in fields.items():
            setattr(request, name, value)
        status, answer = await self.post("/v1/create", request, pb.CreateResponse)
        assert status == 200
        return answer.pair

    async def renew(self, insecure: bytes) -> pb.RenewResponse:
        status, answer = await self.post("/v1/renew", pb.RenewRequest(insecure=insecure), pb.RenewResponse)
        assert status == 200
        assert (answer.outcome == pb.RENEWED) == answer.HasField("pair")
        return answer

    async def update(self, insecure: bytes, **fields: str | int) -> pb.UpdateResponse:
        request = pb.UpdateRequest(insecure=insecure)
        for name, value in fields.items():
            setattr(request, name, value)
        status, answer = await self.post("/v1/update", request, pb.UpdateResponse)
        assert status == 200
        assert (answer.outcome == pb.UPDATED) == answer.HasField("pair")
        return answer

    async def revoke(self, reason: pb.RevocationReason, customer_id: int = MEMBER, **fields: str) -> pb.Revocation:
        request = pb.RevokeRequest(reason=reason, customer_id=customer_id, **fields)  # type: ignore[arg-type]
        status, answer = await self.post("/v1/revocations", request, pb.RevokeResponse, "auth")
        assert status == 200
        return answer.revocation

    async def feed(self, after: int = 0, wait_s: float = 0) -> pb.RevocationFeed:
        status, body = await self.follow(f"after={after}&wait_s={wait_s}")
        assert status == 200
        return pb.RevocationFeed.FromString(body)

    async def follow(self, query: str, identity: str = "edge") -> tuple[int, bytes]:
        """Ask for the feed; return status and body."""
        headers = {"Authorization": f"Bearer {self.kms.token(identity)}"}
        async with self.kms.session.get(f"{self.process.url}/v1/revocations?{query}", headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.read()

    async def post(
        self, path: str, message: Message | bytes, answer: type[AnswerT], identity: str = "edge"
    ) -> tuple[int, AnswerT]:
        """Post a message, or bytes that are none; return status and answer."""
        status, body = await self.send(
            path, message if isinstance(message, bytes) else message.SerializeToString(), identity
        )
        return status, answer.FromString(body)

    async def send(self, path: str, body: bytes, identity: str = "edge") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.kms.token(identity)}", "Content-Type": "application/x-protobuf"}
        async with self.kms.session.post(self.process.url + path, data=body, headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.read()

    async def ring(self) -> KeyRing:
        """Return the ring that the edge has."""
        answer = await self.kms.client("cookie").key_sets(["cookie"])
        return KeyRing.from_key_sets(answer.key_sets, answer.revision)

    async def opened(self, pair: pb.CookiePair) -> Claims:
        """Open a pair as the edge does."""
        claims = open_pair(await self.ring(), NAMES, ENVIRONMENT, (pair.insecure, pair.secure), time.time())
        assert not isinstance(claims, Refusal)
        return claims


def sealed(
    ring: KeyRing, customer_id: int = MEMBER, *, age_s: int = 0, names: CookieNames = NAMES, environment: str = "local"
) -> tuple[bytes, bytes]:
    """Seal a pair that is `age_s` old, with a life of four hours."""
    issued_at = int(time.time()) - age_s
    claims = Claims(
        customer_id=customer_id,
        account_owner_id=7,
        profile_id="profile",
        esn="ESN-1",
        device_type=3,
        session_id="0123456789abcdef",
        issued_at=issued_at,
        renew_after=issued_at + 7200,
        expires_at=issued_at + 14400,
        generation=4,
        level=3,
    )
    return seal_pair(ring, names, environment, claims, (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)))


@asynccontextmanager
async def cookies_running(
    kms: Kms, subscriber: str, directory: Path, database_url: str | None = None
) -> AsyncIterator[Cookies]:
    """Run the service with a quick key refresh, and with patience for a busy machine.

    Its state is beside that of the KMS, or in a database elsewhere.
    """
    url = database_url or f"sqlite:///{kms.secrets.parent / 'var' / 'cookie.sqlite'}"
    config = directory / "cookie.yaml"
    settings = "kms_refresh_s: 0.2\nsubscriber_timeout_s: 1.5\nrevocations: {check_timeout_s: 1.5}\n"
    config.write_text(f"{CONFIG.read_text()}{settings}database: {{url: '{url}'}}\n")
    async with process("services.cookie", *cookie_arguments(kms.process.url, subscriber, kms.secrets, config)) as it:
        yield Cookies(it, kms, url)


def cookie_arguments(kms: str, subscriber: str, secrets: Path, config: Path = CONFIG) -> list[str]:
    """Return the service's arguments."""
    where = ["--secrets", str(secrets), "--config", str(config), "--var", str(secrets.parent / "var")]
    return ["--kms", kms, "--subscriber", subscriber, *where]
