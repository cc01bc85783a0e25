"""The key ring: who may protect, who may open, and that nobody sees key bytes."""

import copy
import pickle
from pathlib import Path

import pytest
from edgepb.kms.v1 import kms_pb2

from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, claims, ring_of, version
from tokens.cookie import PURPOSE, Claims, ProtectNotGrantedError, open_insecure, seal_pair
from tokens.envelope import Refusal, open_envelope, seal
from tokens.keys.ring import Key, KeyRing, Place

PRE_ACTIVE, ACTIVE, DEACTIVATED, DESTROYED = (
    kms_pb2.PRE_ACTIVE,
    kms_pb2.ACTIVE,
    kms_pb2.DEACTIVATED,
    kms_pb2.DESTROYED,
)
PLACE = Place("cookie", "EdgeId", ENVIRONMENT)

# One rotation from key 1 to key 2, as the KMS publishes it: announced, switched, retired.
SNAPSHOTS = [
    ring_of(version(1), revision=1),
    ring_of(version(1), version(2, PRE_ACTIVE, primary=False), revision=2),
    ring_of(version(1, DEACTIVATED, primary=False), version(2), revision=3),
    ring_of(version(1, DESTROYED, primary=False), version(2), revision=4),
]


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("service", range(4))
def test_rule_23_rotation_matrix_of_every_edge_and_service_snapshot(edge: int, service: int) -> None:
    """Neighbouring snapshots always understand each other; only key 1 destroyed, or key 2 not announced, refuses."""
    insecure, _ = seal_pair(SNAPSHOTS[service], NAMES, ENVIRONMENT, claims(), NONCES)
    sealed_with = 1 if service < 2 else 2
    opens = edge < 3 if sealed_with == 1 else edge > 0
    opened = open_insecure(SNAPSHOTS[edge], NAMES, ENVIRONMENT, insecure, NOW)
    assert isinstance(opened, Claims) == opens
    if isinstance(opened, Claims):
        assert not opened.due(NOW)
    else:
        assert opened is Refusal.UNKNOWN_KEY
    assert opens or abs(edge - service) > 1


@pytest.mark.parametrize("state", [PRE_ACTIVE, DEACTIVATED, DESTROYED, kms_pb2.KEY_STATE_UNSPECIFIED])
def test_rule_23_only_an_active_primary_protects(state: kms_pb2.KeyState) -> None:
    ring = ring_of(version(1, state, primary=True))
    assert ring.primary(PURPOSE) is None
    assert ring_of(version(1, ACTIVE, primary=False)).primary(PURPOSE) is None


def test_rule_23_a_key_that_does_not_protect_seals_nothing() -> None:
    key = ring_of(version(1, DEACTIVATED)).find(PURPOSE, b"\0\0\0\1")
    assert key is not None
    with pytest.raises(ValueError, match="must not seal"):
        seal(key, PLACE, b"x", bytes(12))


def test_c6_a_token_under_a_deactivated_key_is_accepted_and_due_at_its_usual_time() -> None:
    insecure, _ = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, claims(), NONCES)
    rotated = ring_of(version(1, DEACTIVATED, primary=False), version(2))
    opened = open_insecure(rotated, NAMES, ENVIRONMENT, insecure, NOW)
    assert isinstance(opened, Claims)
    assert not opened.due(opened.renew_after - 1)
    assert opened.due(opened.renew_after)
    assert not opened.expired(opened.renew_after)


def test_c6_a_token_under_a_destroyed_key_is_refused_even_if_its_material_is_still_listed() -> None:
    insecure, _ = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, claims(), NONCES)
    retired = ring_of(version(1, DESTROYED, primary=False), version(2))
    assert open_insecure(retired, NAMES, ENVIRONMENT, insecure, NOW) is Refusal.UNKNOWN_KEY


def test_c6_a_token_of_an_unknown_key_is_refused() -> None:
    insecure, _ = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, claims(), NONCES)
    assert open_insecure(ring_of(version(2)), NAMES, ENVIRONMENT, insecure, NOW) is Refusal.UNKNOWN_KEY


def test_c6_the_right_key_id_with_the_wrong_key_is_refused() -> None:
    insecure, _ = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, claims(), NONCES)
    assert open_insecure(ring_of(version(1, seed="x")), NAMES, ENVIRONMENT, insecure, NOW) is Refusal.BAD_TAG


class CountingCipher:
    """Counts what a key is asked to open, and opens it."""

    opened = 0

    def __init__(self, key: Key) -> None:
        self._aead = key.aead

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        CountingCipher.opened += 1
        return self._aead.decrypt(nonce, data, associated_data)


def test_c6_rule_2_among_200_keys_exactly_one_is_tried() -> None:
    ring = ring_of(*(version(number, primary=number == 200) for number in range(1, 201)))
    insecure, _ = seal_pair(ring, NAMES, ENVIRONMENT, claims(), NONCES)
    for number in range(1, 201):
        key = ring.find(PURPOSE, number.to_bytes(4, "big"))
        assert key is not None
        object.__setattr__(key, "aead", CountingCipher(key))
    CountingCipher.opened = 0
    assert isinstance(open_insecure(ring, NAMES, ENVIRONMENT, insecure, NOW), Claims)
    assert CountingCipher.opened == 1
    assert open_insecure(ring, NAMES, ENVIRONMENT, insecure[:-4] + b"AAAA", NOW) is Refusal.BAD_TAG
    assert CountingCipher.opened == 2


def test_rule_2_the_same_material_gives_every_purpose_a_key_of_its_own() -> None:
    ring = KeyRing.from_key_sets([kms_pb2.KeySet(purpose="cookie", versions=[version(1)])], 1)
    other = KeyRing.from_key_sets([kms_pb2.KeySet(purpose="cookie-rescheduled", versions=[version(1)])], 1)
    key = ring.primary("cookie")
    assert key is not None
    text = seal(key, PLACE, b"claims", bytes(12))
    assert open_envelope(ring, "cookie", PLACE, text) == b"claims"
    assert open_envelope(other, "cookie-rescheduled", PLACE, text) is Refusal.BAD_TAG
    assert open_envelope(ring, "cookie-rescheduled", PLACE, text) is Refusal.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("key_sets", "says"),
    [
        ([kms_pb2.KeySet(purpose="a", versions=[version(1), version(2)])], "more than one primary"),
        ([kms_pb2.KeySet(purpose="a", versions=[version(1), version(1)])], "listed twice"),
        ([kms_pb2.KeySet(purpose=purpose, versions=[version(1)]) for purpose in ("a", "b")], "listed twice"),
        ([kms_pb2.KeySet(purpose="a"), kms_pb2.KeySet(purpose="a")], "listed twice"),
        (
            [kms_pb2.KeySet(purpose="a", versions=[kms_pb2.KeyVersion(key_id=1, state=ACTIVE, material=b"short key")])],
            "9 bytes",
        ),
    ],
)
def test_key_sets_that_contradict_themselves_make_no_ring(key_sets: list[kms_pb2.KeySet], says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        KeyRing.from_key_sets(key_sets, 1)
    for key_set in key_sets:
        for listed in key_set.versions:
            assert listed.material.hex() not in str(raised.value)
            assert "short key" not in str(raised.value)


def test_rule_24_neither_ring_nor_key_shows_or_hands_out_key_bytes() -> None:
    ring = ring_of(version(1))
    key = ring.primary(PURPOSE)
    assert key is not None
    assert repr(ring) == "KeyRing(revision 1, cookie: 1)"
    assert repr(key) == "Key(cookie:00000001, ACTIVE, protects)"
    held = [getattr(key, slot) for slot in Key.__slots__]
    assert version(1).material not in [value for value in held if isinstance(value, bytes)]
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.deepcopy(key)


def test_rule_24_only_the_ring_reads_key_material() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("tokens", "filters") for path in (root / folder).rglob("*.py")]
    readers = {str(path.relative_to(root)) for path in sources if ".material" in path.read_text()}
    assert readers == {"tokens/keys/ring.py"}


def granted(*uses: kms_pb2.Use) -> KeyRing:
    """Return a ring of a key that protects and one that did, of which the holder may make these uses."""
    versions = [version(1, DEACTIVATED, primary=False), version(2)]
    return KeyRing.from_key_sets([kms_pb2.KeySet(purpose=PURPOSE, versions=versions, uses=uses)], 1)


def test_a_set_that_is_granted_to_open_only_seals_nothing_and_says_why() -> None:
    ring = granted(kms_pb2.OPEN)
    with pytest.raises(ProtectNotGrantedError, match="not granted to protect with the purpose 'cookie'") as raised:
        seal_pair(ring, NAMES, ENVIRONMENT, claims(), NONCES)
    assert raised.value.reason == "protect_not_granted"
    assert not ring.may_protect(PURPOSE)
    key = ring.find(PURPOSE, b"\0\0\0\2")
    assert key is not None
    with pytest.raises(ValueError, match="must not seal"):
        seal(key, PLACE, b"x", bytes(12))


def test_a_set_that_is_granted_to_open_only_opens_what_others_seal() -> None:
    for number in (1, 2):
        insecure, _ = seal_pair(ring_of(version(number)), NAMES, ENVIRONMENT, claims(), NONCES)
        assert isinstance(open_insecure(granted(kms_pb2.OPEN), NAMES, ENVIRONMENT, insecure, NOW), Claims)


def test_a_set_that_is_granted_to_protect_only_opens_nothing() -> None:
    insecure, _ = seal_pair(granted(kms_pb2.PROTECT), NAMES, ENVIRONMENT, claims(), NONCES)
    assert open_insecure(granted(kms_pb2.PROTECT), NAMES, ENVIRONMENT, insecure, NOW) is Refusal.UNKNOWN_KEY
    assert isinstance(open_insecure(granted(), NAMES, ENVIRONMENT, insecure, NOW), Claims)


def test_a_use_that_is_not_known_is_no_grant() -> None:
    ring = granted(kms_pb2.USE_UNSPECIFIED)
    assert not ring.may_protect(PURPOSE)
    assert not ring.has_keys(PURPOSE)


def test_uses_are_counted_by_key_and_only_those_that_were_real() -> None:
    old, ring = ring_of(version(1)), granted()
    made = [seal_pair(each, NAMES, ENVIRONMENT, claims(), NONCES)[0] for each in (old, ring)]
    assert list(ring.take_uses()) == [(PURPOSE, 2, 2)]
    for insecure in made:
        assert isinstance(open_insecure(ring, NAMES, ENVIRONMENT, insecure, NOW), Claims)
        assert open_insecure(ring, NAMES, ENVIRONMENT, insecure[:-4] + b"AAAA", NOW) is Refusal.BAD_TAG
        assert open_insecure(ring, NAMES, "elsewhere", insecure, NOW) is Refusal.BAD_TAG
    assert sorted(ring.take_uses()) == [(PURPOSE, 1, 1), (PURPOSE, 2, 1)]
    assert list(ring.take_uses()) == []


def test_an_empty_ring_opens_and_protects_nothing() -> None:
    ring = KeyRing.from_key_sets([], 0)
    assert ring.primary(PURPOSE) is None
    assert ring.find(PURPOSE, b"\0\0\0\1") is None
    assert not ring.has_keys(PURPOSE)
    assert repr(ring) == "KeyRing(revision 0, empty)"
