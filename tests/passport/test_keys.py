"""The MAC keys: states, purposes, and that key bytes stay inside."""

from pathlib import Path

import pytest
from edgepb.kms.v1 import kms_pb2

import passport
from passport import MacKey, Part, PassportBuilder, PassportKeys, PassportRefused
from tests.passport.samples import (
    DEVICE,
    DEVICE_ID,
    DOMAIN,
    ISSUER,
    NOW,
    REQUEST_ID,
    USER,
    USER_ID,
    key_sets,
    key_version,
    material,
    read,
    signer,
)


def one_set(*versions: kms_pb2.KeyVersion, purpose: str = "passport-user") -> PassportKeys:
    return PassportKeys.from_key_sets([kms_pb2.KeySet(purpose=purpose, versions=versions)])


@pytest.mark.parametrize(
    ("state", "verifies", "signs"),
    [
        (kms_pb2.PRE_ACTIVE, True, False),
        (kms_pb2.ACTIVE, True, True),
        (kms_pb2.DEACTIVATED, True, False),
        (kms_pb2.DESTROYED, False, False),
        (kms_pb2.KEY_STATE_UNSPECIFIED, False, False),
    ],
)
def test_rule_23_a_keys_state_says_what_it_may_do(state: kms_pb2.KeyState, verifies: bool, signs: bool) -> None:
    keys = one_set(key_version(1, "a", state, primary=True))
    assert (keys.find("passport-user:00000001") is not None) is verifies
    assert (keys.signer("passport-user") is not None) is signs


def test_an_active_key_that_is_not_primary_does_not_sign() -> None:
    keys = one_set(key_version(1, "a", primary=False), key_version(2, "b"))
    signer = keys.signer("passport-user")
    assert signer is not None
    assert signer.name == "passport-user:00000002"


def test_keys_of_other_purposes_are_left_out() -> None:
    assert one_set(key_version(1, "a"), purpose="cookie").find("cookie:00000001") is None


def test_rule_2_the_same_material_under_two_purposes_makes_two_keys() -> None:
    macs = set()
    for purpose in ("passport-user", "passport-device"):
        context = MacKey(purpose, 1, material("same")).context(1, Part.USER).copy()
        context.update(b"message")
        macs.add(context.finalize())
    assert len(macs) == 2


def test_a_key_id_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="passport-user:00000001 comes twice"):
        one_set(key_version(1, "a"), key_version(1, "b"))


def test_two_primaries_of_one_purpose_are_refused() -> None:
    with pytest.raises(ValueError, match="two primary keys"):
        one_set(key_version(1, "a"), key_version(2, "b"))


def test_material_of_a_wrong_size_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        one_set(kms_pb2.KeyVersion(key_id=1, state=kms_pb2.ACTIVE, material=b"secret-but-short"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uses", "verifies", "signs"),
    [
        ((), True, True),
        ((kms_pb2.OPEN,), True, False),
        ((kms_pb2.PROTECT,), False, True),
        ((kms_pb2.PROTECT, kms_pb2.OPEN), True, True),
        ((kms_pb2.USE_UNSPECIFIED,), False, False),
    ],
)
def test_a_set_is_used_as_it_was_granted_and_not_otherwise(
    uses: tuple[kms_pb2.Use, ...], verifies: bool, signs: bool
) -> None:
    keys = PassportKeys.from_key_sets(
        [kms_pb2.KeySet(purpose="passport-user", versions=[key_version(1, "a")], uses=uses)]
    )
    assert (keys.find("passport-user:00000001") is not None) is verifies
    assert (keys.signer("passport-user") is not None) is signs


def test_a_purpose_that_comes_twice_is_refused() -> None:
    sets = [
        kms_pb2.KeySet(purpose="passport-user", versions=[key_version(key_id, "a", primary=False)]) for key_id in (1, 2)
    ]
    with pytest.raises(ValueError, match="key set passport-user comes twice"):
        PassportKeys.from_key_sets(sets)


@pytest.mark.parametrize("version", [1, 2])
def test_uses_are_counted_by_key_and_only_those_that_were_real(version: int) -> None:
    keys = PassportKeys.from_key_sets(key_sets())
    signers = signer("passport-user", keys), signer("passport-device", keys)
    made = PassportBuilder(ISSUER, DOMAIN, *signers, integrity_version=version)
    raw = {made.build(REQUEST_ID, USER, DEVICE, NOW) for _ in range(3)}.pop()
    assert sorted(keys.take_uses()) == [("passport-device", DEVICE_ID, 1), ("passport-user", USER_ID, 1)]
    made.build(REQUEST_ID, USER, DEVICE, NOW + 1)  # with it come the others of the second before
    assert sorted(keys.take_uses()) == [("passport-device", DEVICE_ID, 3), ("passport-user", USER_ID, 3)]
    for _ in range(2):
        read(raw, keys=keys, accept_v1=version == 1)
    with pytest.raises(PassportRefused):
        read(raw[:-1] + bytes((raw[-1] ^ 1,)), keys=keys, accept_v1=version == 1)
    assert sorted(keys.take_uses()) == [("passport-device", DEVICE_ID, 2), ("passport-user", USER_ID, 2)]
    assert list(keys.take_uses()) == []


def test_rule_24_no_repr_shows_material() -> None:
    keys = PassportKeys.from_key_sets(key_sets())
    key = keys.signer("passport-user")
    shown = f"{keys!r} {key!r}"
    assert "passport-user:0000a001" in shown
    assert "user...." not in shown
    assert material("user").hex() not in shown


def test_rule_24_only_holders_of_keys_pass_key_sets_on() -> None:
    root = Path(passport.__file__).parents[1]
    importers = {
        path.relative_to(root).as_posix()
        for folder in ("edge", "filters", "origins_stub", "passport", "services", "tokens")
        for path in (root / folder).rglob("*.py")
        if "passport.key_snapshot" in (text := path.read_text()) or "passport.key_sets" in text
    }
    assert importers == {
        "edge/clients/kms.py",
        "edge/wiring.py",
        "origins_stub/api/legacy/keys.py",
        "passport/key_sets.py",
        "passport/key_source.py",
        "passport/kms.py",
        "services/kit/keys.py",
    }


def test_rule_24_only_the_key_modules_touch_material() -> None:
    root = Path(passport.__file__).parent
    readers = {path.name for path in root.rglob("*.py") if ".material" in path.read_text(encoding="utf-8")}
    assert readers == {"keys.py"}
