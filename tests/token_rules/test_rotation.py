"""Rule 23: through a rotation, whoever holds whichever snapshot of the keys understands what it must understand.

Two holders, each at one of the four states that a rotation from key 1 to key 2 goes through, exchange what is sealed
and signed for real: cookies, rescheduled cookies, and Passports of both integrity versions. A holder has its keys from
the KMS's answer, or from the sealed snapshot of it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from edgepb.kms.v1 import kms_pb2

from passport import NO_DEVICE, DevicePart, PassportBuilder, PassportIntrospector, PassportKeys, PassportRefused
from passport.key_snapshot import KeySnapshot, SnapshotFile, SnapshotSealer
from passport.refusals import PassportRefusal
from tests.passport.samples import DEVICE, DOMAIN, REQUEST_ID, USER
from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, claims, key_id_of, version
from tokens.cookie import PURPOSE, RESCHEDULED, Claims, open_insecure, open_pair, seal_pair
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing

PURPOSES = (PURPOSE, RESCHEDULED, "passport-user", "passport-device")
PRE_ACTIVE, ACTIVE, DEACTIVATED, DESTROYED = (
    kms_pb2.PRE_ACTIVE,
    kms_pb2.ACTIVE,
    kms_pb2.DEACTIVATED,
    kms_pb2.DESTROYED,
)
STATES = {
    "before": (ACTIVE, None),
    "distributed": (ACTIVE, PRE_ACTIVE),
    "activated": (DEACTIVATED, ACTIVE),
    "retired": (DESTROYED, ACTIVE),
}
Held = Callable[[kms_pb2.GetKeySetsResponse, Path], kms_pb2.GetKeySetsResponse]


def answer(state: str) -> kms_pb2.GetKeySetsResponse:
    """Return what the KMS says in one state of the rotation; ids are unique over all purposes."""
    key_sets = []
    for place, purpose in enumerate(PURPOSES):
        versions = [
            version(10 * place + number, of_key, primary=of_key == ACTIVE)
            for number, of_key in enumerate(STATES[state], start=1)
            if of_key is not None
        ]
        for each in versions:
            if each.state == DESTROYED:
                each.ClearField("material")
        key_sets.append(kms_pb2.KeySet(purpose=purpose, versions=versions))
    return kms_pb2.GetKeySetsResponse(key_sets=key_sets, revision=1 + list(STATES).index(state))


def from_the_kms(said: kms_pb2.GetKeySetsResponse, directory: Path) -> kms_pb2.GetKeySetsResponse:
    return said


def from_a_snapshot(said: kms_pb2.GetKeySetsResponse, directory: Path) -> kms_pb2.GetKeySetsResponse:
    file = SnapshotFile(directory / "keys.edge.snapshot", SnapshotSealer("t" * 40, "edge", ENVIRONMENT), 3600)
    file.save(KeySnapshot(said, NOW))
    loaded = file.load(NOW)
    assert isinstance(loaded, KeySnapshot)
    return loaded.answer


def ring_of(said: kms_pb2.GetKeySetsResponse) -> KeyRing:
    return KeyRing.from_key_sets(said.key_sets, said.revision)


def must_open(writer: str, reader: str) -> bool:
    """Key 1 protects until it is replaced. Who has not heard of key 2, or forgot key 1, knows none of its tokens."""
    return reader != "retired" if writer in {"before", "distributed"} else reader != "before"


def cookie(writer: kms_pb2.GetKeySetsResponse, reader: kms_pb2.GetKeySetsResponse) -> bool:
    pair = seal_pair(ring_of(writer), NAMES, ENVIRONMENT, claims(), NONCES)
    opened = open_pair(ring_of(reader), NAMES, ENVIRONMENT, pair, NOW)
    assert opened is Refusal.UNKNOWN_KEY or isinstance(opened, Claims)
    return isinstance(opened, Claims)


def rescheduled(writer: kms_pb2.GetKeySetsResponse, reader: kms_pb2.GetKeySetsResponse) -> bool:
    stand_in = claims(issued_at=NOW - 20_000).rescheduled(NOW, 300, 100)
    insecure, _ = seal_pair(ring_of(writer), NAMES, ENVIRONMENT, stand_in, NONCES)
    opened = open_insecure(ring_of(reader), NAMES, ENVIRONMENT, insecure, NOW)
    assert opened is Refusal.UNKNOWN_KEY or isinstance(opened, Claims)
    return isinstance(opened, Claims)


def passport(
    writer: kms_pb2.GetKeySetsResponse, reader: kms_pb2.GetKeySetsResponse, *, device: DevicePart, integrity: int
) -> bool:
    signing = PassportKeys.from_key_sets(writer.key_sets)
    user_key, device_key = signing.signer("passport-user"), signing.signer("passport-device")
    assert user_key is not None
    assert device_key is not None
    builder = PassportBuilder("edge-1", DOMAIN, user_key, device_key, integrity_version=integrity)
    raw, keys = builder.build(REQUEST_ID, USER, device, NOW), PassportKeys.from_key_sets(reader.key_sets)
    try:
        PassportIntrospector.from_bytes(raw, keys, now=NOW, trust_domain=DOMAIN, accept_v1=integrity == 1)
    except PassportRefused as refused:
        if refused.reason is not PassportRefusal.UNKNOWN_KEY:
            raise
        return False
    return True


@pytest.mark.parametrize("held", [from_the_kms, from_a_snapshot], ids=["kms", "snapshot"])
@pytest.mark.parametrize("reader", STATES)
@pytest.mark.parametrize("writer", STATES)
def test_k4_rule_23_what_two_holders_anywhere_in_a_rotation_make_of_each_other_s_tokens(
    writer: str, reader: str, held: Held, tmp_path: Path
) -> None:
    sealing, opening = held(answer(writer), tmp_path), held(answer(reader), tmp_path)
    opens = must_open(writer, reader)
    assert cookie(sealing, opening) is opens
    assert rescheduled(sealing, opening) is opens
    assert passport(sealing, opening, device=DEVICE, integrity=2) is opens
    assert passport(sealing, opening, device=NO_DEVICE, integrity=1) is opens


def test_k4_rule_23_neighbours_in_a_rotation_always_understand_each_other() -> None:
    order = list(STATES)
    for place, state in enumerate(order):
        for other in order[max(0, place - 1) : place + 2]:
            assert must_open(state, other), (state, other)


@pytest.mark.parametrize("reader", STATES)
def test_k4_rule_23_a_destroyed_key_s_tokens_are_refused_by_all_who_know_of_it(reader: str) -> None:
    before, after = answer("before"), answer("retired")
    assert cookie(before, answer(reader)) is (reader != "retired")
    assert not cookie(before, after)
    assert not rescheduled(before, after)
    assert not passport(before, after, device=DEVICE, integrity=2)


@pytest.mark.parametrize(("state", "newest"), [("before", 1), ("distributed", 1), ("activated", 2)])
def test_k4_rule_23_a_rotation_makes_no_cookie_due_and_the_next_renewal_is_under_the_newest_key(
    state: str, newest: int
) -> None:
    pair = seal_pair(ring_of(answer("distributed")), NAMES, ENVIRONMENT, claims(), NONCES)
    ring = ring_of(answer(state))
    opened = open_pair(ring, NAMES, ENVIRONMENT, pair, NOW)
    assert isinstance(opened, Claims)
    assert not opened.due(claims().renew_after - 1)
    assert opened.due(claims().renew_after)
    renewed = seal_pair(ring, NAMES, ENVIRONMENT, opened, NONCES)
    assert [key_id_of(half) for half in renewed] == [newest, newest]
