"""The operator's side of the key management service: JSON without material (docs/keys.md, The interface)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from passport.kms import KmsRefused, KmsUnavailable

_REFUSED: Final = frozenset({400, 401, 403, 404})
_MOVED: Final = frozenset({200, 409})


class _Refusal(BaseModel):
    reason: str = ""


class KeyVersion(BaseModel):
    """A key version. Times are epoch seconds; `lagging` and `last_used_by` are IDENTITY/HOLDER."""

    key_id: str
    purpose: str
    state: str
    primary: bool
    since: int
    lagging: Sequence[str] = ()
    last_used: int | None = None
    last_used_by: str | None = None
    uses: int = 0


class Holder(BaseModel):
    """A process that fetches keys, when it last did, and the revision it worked with then."""

    holder: str
    purposes: Sequence[str]
    seen: int
    revision_held: int


class Listing(BaseModel):
    """All versions of all key sets, and who is alive."""

    revision: int
    versions: Sequence[KeyVersion]
    holders: Sequence[Holder]


class Move(KeyVersion):
    """How a move ended: `reason` is `granted`, or why it was refused."""

    reason: str


class AuditEntry(BaseModel):
    """A row of the audit log."""

    id: int
    at: float
    identity: str
    peer: str
    action: str
    subject: str
    outcome: str
    code: str


class _AuditPage(BaseModel):
    entries: Sequence[AuditEntry]


class AuditCheck(BaseModel):
    """What the check of some rows found; `place` is ID:CODE of the last of them."""

    rows: int
    place: str
    done: bool
    problems: Sequence[str]


ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(slots=True, frozen=True, repr=False)
class KmsOperator:
    """Calls in an operator's name. Each raises KmsRefused with the reason, and KmsUnavailable."""

    session: aiohttp.ClientSession
    url: str
    token: str
    timeout_s: float

    async def listing(self) -> Listing:
        """Return what there is."""
        return await self._call(Listing, "GET", "/v1/key-sets")

    async def add(self, purpose: str) -> KeyVersion:
        """Add a PRE_ACTIVE version."""
        return await self._call(KeyVersion, "POST", f"/v1/key-sets/{quote(purpose, safe='')}/versions")

    async def move(self, key_id: str, state: str, *, force: bool = False) -> Move:
        """Move a version."""
        return await self._call(
            Move, "POST", f"/v1/keys/{quote(key_id, safe='')}/state", json={"state": state, "force": force}
        )

    async def audit(self, limit: int) -> Sequence[AuditEntry]:
        """Return the newest rows of the audit log, newest first."""
        return (await self._call(_AuditPage, "GET", "/v1/audit", params={"limit": str(limit)})).entries

    async def check_audit(self, after: str | None) -> AuditCheck:
        """Check some rows of the audit log after a place, or from the oldest on."""
        params = {} if after is None else {"after": after}
        return await self._call(AuditCheck, "GET", "/v1/audit/check", params=params)

    async def _call(
        self,
        kind: type[ModelT],
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
    ) -> ModelT:
        try:
            async with self.session.request(
                method,
                self.url.rstrip("/") + path,
                json=json,
                params=params,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except TimeoutError:
            raise KmsUnavailable(f"{self.url} did not answer in {self.timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            # Neither the text nor the chain: a ClientError may carry the request, and with it the token.
            raise KmsUnavailable(f"{self.url} cannot be reached: {type(error).__name__}") from None
        return _answer(kind, response.status, body)


def _answer(kind: type[ModelT], status: int, body: bytes) -> ModelT:
    try:
        if status in _REFUSED:
            raise KmsRefused(_Refusal.model_validate_json(body).reason or f"status {status}")
        if status not in _MOVED:
            raise KmsUnavailable(f"the KMS answered with status {status}")
        return kind.model_validate_json(body)
    except ValidationError:
        raise KmsUnavailable(f"the KMS answered with status {status} and not with what was asked for") from None
