"""The secrets of the embedded default, made on first run: a master key, and a token for each identity."""

import base64
import os
import secrets
from pathlib import Path
from typing import Final

IDENTITIES: Final = ("edge", "cookie", "auth", "api", "legacy", "ui", "subscriber", "operator")


def make_secrets(directory: Path) -> list[str]:
    """Make what is missing in `directory` (mode 0700, files 0600); return the names of the files made.

    What is there stays: under another master key, the stored keys could never be opened again.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {"master.key": base64.b64encode(secrets.token_bytes(32)).decode()}
    wanted |= {f"{identity}.token": secrets.token_urlsafe(32) for identity in IDENTITIES}
    return [name for name, line in wanted.items() if _make(directory / name, line)]


def _make(path: Path, line: str) -> bool:
    """Write the file whole or not at all; False when there is one."""
    if path.exists():
        return False
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    return True
