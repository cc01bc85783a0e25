"""Bearer tokens between processes: read from files, compared in constant time, never shown."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from origins_stub.kit.process import StartError

_SCHEME = "Bearer "


def read_token(path: Path) -> str:
    """Return the one line of a token file; raise StartError when there is none."""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise StartError(f"the token file {path} cannot be read; `edge up` makes it on its first run") from None
    if not token:
        raise StartError(f"the token file {path} is empty")
    return token


@dataclass(slots=True, frozen=True)
class Callers:
    """The identities that may call, each with its bearer token."""

    tokens: dict[str, bytes] = field(repr=False)

    @classmethod
    def from_files(cls, secrets: Path, identities: Iterable[str]) -> "Callers":
        """Read `<identity>.token` in `secrets` for each identity; raise StartError when one is missing."""
        return cls({identity: read_token(secrets / f"{identity}.token").encode() for identity in identities})

    def identity(self, request: web.Request) -> str | None:
        """Return who calls, by the one `Authorization: Bearer` header, or None."""
        values = request.headers.getall("Authorization", [])
        if len(values) != 1 or not values[0].startswith(_SCHEME):
            return None
        given = values[0].removeprefix(_SCHEME).encode("utf-8", "surrogateescape")
        found: str | None = None
        for identity, token in self.tokens.items():
            if hmac.compare_digest(token, given):
                found = identity
        return found
