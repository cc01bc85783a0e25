"""What the service answers with: protobuf with material for services, JSON without for operators."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from edgepb.kms.v1 import kms_pb2

from services.kms.states import State
from services.kms.store import OpenVersion, Version

JsonObject: TypeAlias = Mapping[str, "str | int | bool | Sequence[JsonObject]"]

_WIRE_STATE = {
    State.PRE_ACTIVE: kms_pb2.PRE_ACTIVE,
    State.ACTIVE: kms_pb2.ACTIVE,
    State.DEACTIVATED: kms_pb2.DEACTIVATED,
    State.DESTROYED: kms_pb2.DESTROYED,
}


def key_sets_message(
    purposes: Sequence[str], versions: Sequence[OpenVersion], revision: int
) -> kms_pb2.GetKeySetsResponse:
    """Return the key sets in the order of `purposes`, with material."""
    answer = kms_pb2.GetKeySetsResponse(revision=revision)
    sets = {purpose: answer.key_sets.add(purpose=purpose) for purpose in purposes}
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
    """Return a version as an operator sees it: `created` in epoch seconds, no material."""
    return {
        "key_id": f"{version.key_id:08x}",
        "purpose": version.purpose,
        "state": version.state.value,
        "primary": version.primary,
        "created": version.created,
    }
