"""Where the master key comes from: a file, or AWS KMS, which seals one that lies in the database.

A store has a master key of one kind for good: what would start it with another one is refused before any key is made.
"""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.kit.callers import read_secret
from services.kit.database import Database
from services.kit.process import StartError
from services.kms.config import AwsKms
from services.kms.sealing import MASTER_KEY_LENGTH
from services.kms.tables import VersionRow, WrappedMasterKeyRow


class Wrapping(Protocol):
    """What seals a master key and opens it again. Each raises StartError that says why it cannot."""

    def new(self) -> tuple[bytes, bytes]:
        """Return a new master key, and the same sealed."""

    def open(self, wrapped: bytes) -> bytes:
        """Return the master key."""


def read_master_key(path: Path) -> bytes:
    """Return the master key in a file: 32 bytes as one line of base64. StartError when it is not that."""
    try:
        key = base64.b64decode(read_secret(path), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != MASTER_KEY_LENGTH:
        raise StartError(f"{path} holds no master key: 32 random bytes as one line of base64 are expected")
    return key


def master_key(database: Database, path: Path, aws: AwsKms | None, wrapping: Callable[[AwsKms], Wrapping]) -> bytes:
    """Return the master key of the store in `database`, whose schema is up to date; a new store gets one from AWS KMS.

    Raises StartError when it cannot be had, or is of the other kind.
    """
    with database.exclusive() as session:
        wrapped = _wrapped(session)
    if aws is None:
        if wrapped is not None:
            raise StartError(f"{database} has a master key that AWS KMS seals: name its key in aws_kms")
        return read_master_key(path)
    kms = wrapping(aws)
    if wrapped is not None:
        return kms.open(wrapped)
    return _first(database, path, *kms.new(), kms)


def _first(database: Database, path: Path, key: bytes, sealed: bytes, kms: Wrapping) -> bytes:
    with database.exclusive() as session:
        wrapped = _wrapped(session)
        if wrapped is None:
            if session.scalars(select(VersionRow).limit(1)).first() is not None:
                raise StartError(f"{database} is sealed under the master key of {path}: start it without aws_kms")
            session.add(WrappedMasterKeyRow(id=1, wrapped=sealed))
            return key
    return kms.open(wrapped)  # another instance was first


def _wrapped(session: Session) -> bytes | None:
    row = session.get(WrappedMasterKeyRow, 1)
    return None if row is None else row.wrapped
