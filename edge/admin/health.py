"""Whether the edge serves: the value behind GET /health."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """READY answers 200, the others 503."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True, frozen=True)
class WorkerHealth:
    """One worker slot. `pid` is None while no process serves it; `config` is the revision that it serves."""

    slot: int
    state: str
    pid: int | None
    restarts: int
    config: int


@dataclass(slots=True, frozen=True)
class KeysHealth:
    """The stalest keys of a worker: from the `kms` or from a `snapshot`, and how long ago the KMS gave them.

    `store_lost` says that the KMS answers as if it had lost its store, to any worker.
    """

    source: str
    age_s: float
    store_lost: bool


@dataclass(slots=True, frozen=True)
class Health:
    """The whole edge: ready while at least one worker is. `keys` is None as long as no worker has any."""

    status: Status
    workers: tuple[WorkerHealth, ...]
    keys: KeysHealth | None
