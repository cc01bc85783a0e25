"""Which keys of edge.yaml a reload cannot change, and what does. The other files, and the other keys, it can. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.control.snapshot import Snapshot

_OF_THE_SUPERVISOR: Final = ("edge.workers", "listener.address", "admin.address", "admin.beyond_loopback")
_OF_A_WORKER: Final = ("edge.certificate_check_s", "listener.", "services.kms.", "services.cookie.tls", "access_log.")
_RELOADED: Final = ("listener.trusted_proxies", "listener.local_plain_http")
_SECTIONS: Final = ("edge", "listener", "admin")


@dataclass(slots=True, frozen=True)
class Unreloadable:
    """Keys that differ: `edge` need the edge stopped and started, `workers` new worker processes (`edge restart`)."""

    edge: tuple[str, ...]
    workers: tuple[str, ...]


def unreloadable(old: Snapshot, new: Snapshot) -> Unreloadable:
    """Return the keys that differ and that a reload cannot change."""
    changed = set(_changed(old, new))
    edge = {key for key in changed if key in _OF_THE_SUPERVISOR}
    workers = {key for key in changed - edge if key.startswith(_OF_A_WORKER) and key not in _RELOADED}
    return Unreloadable(tuple(sorted(edge)), tuple(sorted(workers)))


def _changed(old: Snapshot, new: Snapshot) -> Iterator[str]:
    for section in _SECTIONS:
        before, after = getattr(old, section), getattr(new, section)
        yield from (f"{section}.{key}" for key in type(before).model_fields if _differ(before, after, key))
    before, after = old.services.kms, new.services.kms
    yield from (f"services.kms.{key}" for key in type(before).model_fields if _differ(before, after, key))
    if old.services.cookie.tls != new.services.cookie.tls:
        yield "services.cookie.tls"
    if old.access_log != new.access_log:
        yield "access_log.path"


def _differ(before: object, after: object, key: str) -> bool:
    return bool(getattr(before, key) != getattr(after, key))
