"""Reading the snapshots that workers send: a module of its own, since a worker, which sends them, needs no pydantic."""

from typing import Final

from pydantic import TypeAdapter

from edge.telemetry.snapshot import Snapshot

_SNAPSHOT: Final = TypeAdapter(Snapshot)


def read_snapshot(message: object) -> Snapshot:
    """Return the snapshot in a decoded control message; pydantic's ValidationError when it is none."""
    return _SNAPSHOT.validate_python(message)
