"""Which keys of edge.yaml a reload cannot change, and what does. The other keys, and the other files, it can. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from edge.control.snapshot import Snapshot

_OF_THE_SUPERVISOR: Final = (
    "edge.workers",
    "listener.address",
    "listener.tls.address",
    "admin.address",
    "admin.beyond_loopback",
)
# What a worker makes once: its listener, its sessions, its keys, its log, its watches.
_OF_A_WORKER: Final = (
    "access_log.",
    "edge.certificate_check_s",
    "edge.environment",
    "keys.",
    "listener.",
    "revocations.",
    "services.cookie.tls",
    "services.cookie.url",
    "services.kms.",
    "services.renewals.",
    "timeouts.loop_blocked_s",
    "timeouts.tls_handshake_s",
)
_RELOADED: Final = ("listener.trusted_proxies", "listener.local_plain_http")


@dataclass(slots=True, frozen=True)
class Unreloadable:
    """Keys that differ: `edge` need the edge stopped and started, `workers` new worker processes (`edge restart`)."""

    edge: tuple[str, ...]
    workers: tuple[str, ...]


def unreloadable(old: Snapshot, new: Snapshot) -> Unreloadable:
    """Return the keys that differ and that a reload cannot change."""
    changed = sorted(set(_changed(old, new)))
    edge = [key for key in changed if key.startswith(_OF_THE_SUPERVISOR)]
    workers = [key for key in changed if key.startswith(_OF_A_WORKER) and key not in _RELOADED and key not in edge]
    return Unreloadable(tuple(edge), tuple(workers))


def _changed(old: Snapshot, new: Snapshot) -> Iterator[str]:
    yield from _differing("edge", old.edge, new.edge)
    yield from _differing("listener", old.listener, new.listener)
    if old.listener.tls.address != new.listener.tls.address:
        yield "listener.tls.address"
    yield from _differing("admin", old.admin, new.admin)
    yield from _differing("timeouts", old.timeouts, new.timeouts)
    yield from _differing("keys", old.keys, new.keys)
    yield from _differing("revocations", old.revocations, new.revocations)
    yield from _differing("services.kms", old.services.kms, new.services.kms)
    yield from _differing("services.cookie", old.services.cookie, new.services.cookie)
    yield from _differing("services.renewals", old.services.renewals, new.services.renewals)
    if old.access_log != new.access_log:
        yield "access_log.path"


def _differing(section: str, old: BaseModel, new: BaseModel) -> Iterator[str]:
    yield from (f"{section}.{key}" for key in type(old).model_fields if getattr(old, key) != getattr(new, key))
