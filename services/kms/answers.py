"""What the service answers with: protobuf with material for services, JSON without for operators."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from edgepb.kms.v1 import kms_pb2

from services.kms.audit import Check, Entry
from services.kms.config import Use
from services.kms.holders import Holder
from services.kms.rotation import Standing, Version
from services.kms.states import State
from services.kms.store import Listing, OpenVersion

JsonObject: TypeAlias = Mapping[str, "str | int | float | bool | Sequence[str] | Sequence[JsonObject] | None"]

_WIRE_STATE = {
    State.PRE_ACTIVE: kms_pb2.PRE_ACTIVE,
    State.ACTIVE: kms_pb2.ACTIVE,
    State.DEACTIVATED: kms_pb2.DEACTIVATED,
    State.DESTROYED: kms_pb2.DESTROYED,
}
_WIRE_USE = {Use.PROTECT: kms_pb2.PROTECT, Use.OPEN: kms_pb2.OPEN}


def key_sets_message(
    grants: Mapping[str, frozenset[Use]], purposes: Sequence[str], versions: Sequence[OpenVersion], revision: int
) -> kms_pb2.GetKeySetsResponse:
    """Return the key sets in the order of `purposes`, with material and with what `grants` allow."""
    answer = kms_pb2.GetKeySetsResponse(revision=revision)
    sets = {}
    for purpose in purposes:
        uses = [_WIRE_USE[use] for use in Use if use in grants[purpose]]
        sets[purpose] = answer.key_sets.add(purpose=purpose, uses=uses)
    for opened in versions:
        version = opened.version
        sets[version.purpose].versions.add(
            key_id=version.key_id,
            state=_WIRE_STATE[version.state],
            material=opened.material,
            created=version.created,
            primary=version.primary,
        )
    return answer


def version_json(version: Version) -> JsonObject:
    """Return a version as an operator sees it: times in epoch seconds, no material."""
    return {
        "key_id": f"{version.key_id:08x}",
        "purpose": version.purpose,
        "state": version.state.value,
        "primary": version.primary,
        "created": version.created,
        "since": version.state_since,
    }


def standing_json(standing: Standing) -> JsonObject:
    """Return a version with its use and with the names of those who are behind it."""
    use = standing.use
    return {
        **version_json(standing.version),
        "lagging": [str(each) for each in standing.lagging],
        "last_used": None if use is None else use.last_used,
        "last_used_by": None if use is None else use.by,
        "uses": 0 if use is None else use.count,
    }


def listing_json(listing: Listing) -> JsonObject:
    """Return all that an operator sees."""
    return {
        "revision": listing.revision,
        "versions": [standing_json(each) for each in listing.standings],
        "holders": [_holder_json(each) for each in listing.holders],
    }


def entry_json(entry: Entry) -> JsonObject:
    """Return a row of the audit log."""
    access = entry.access
    return {
        "id": entry.id,
        "at": access.at,
        "identity": access.identity,
        "peer": access.peer,
        "action": access.action,
        "subject": access.subject,
        "outcome": access.outcome,
        "code": entry.code.hex(),
    }


def check_json(check: Check) -> JsonObject:
    """Return what a check of the audit log found; `place` is where the next one goes on."""
    place = f"{check.place.id}:{check.place.code.hex()}"
    return {"rows": check.rows, "place": place, "done": check.done, "problems": list(check.problems)}


def _holder_json(holder: Holder) -> JsonObject:
    return {
        "holder": str(holder),
        "purposes": list(holder.purposes),
        "seen": holder.seen,
        "revision_held": holder.revision_held,
    }
