"""Who calls: service identities and their bearer tokens (docs/keys.md, Identities)."""

import hashlib
import hmac
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from services.kit.process import StartError

_MIN_TOKEN_LENGTH = 32
_log = structlog.get_logger()


def read_secret(path: Path) -> str:
    """Return the one line of a secret file; StartError says what is wrong with the file, never what is in it."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise StartError(f"the secret file {path} cannot be read: {why}") from None
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        _log.warning("secret_file_open_to_everybody", path=str(path))
    return text


def read_token(path: Path) -> str:
    """Return the bearer token in a file; StartError when it is too short or not printable ASCII."""
    token = read_secret(path)
    if len(token) < _MIN_TOKEN_LENGTH or not token.isprintable() or " " in token:
        raise StartError(f"{path} holds no token: one line of at least {_MIN_TOKEN_LENGTH} characters is expected")
    return token


class Callers:
    """The identities that may call a service. Holds digests of their tokens only."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Take a token for each identity; StartError when two share one."""
        self._digests = {identity: _digest(token) for identity, token in tokens.items()}
        if len(set(self._digests.values())) != len(self._digests):
            raise StartError("two identities have the same token")

    @classmethod
    def from_directory(cls, secrets: Path, identities: Iterable[str]) -> "Callers":
        """Read `<identity>.token` for each identity."""
        return cls({identity: read_token(secrets / f"{identity}.token") for identity in identities})

    def identify(self, authorization: str | None) -> str | None:
        """Return the identity that an `Authorization: Bearer` value (RFC 6750 §2.1) proves, or None."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        presented, found = _digest(token.strip(" ")), None
        # Every digest is compared, so that the time taken names nobody.
        for identity, digest in self._digests.items():
            if hmac.compare_digest(presented, digest):
                found = identity
        return found

    def __repr__(self) -> str:
        return f"Callers({', '.join(self._digests)})"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
