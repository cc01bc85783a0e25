"""The golden vectors: what every implementation of the Passport must accept and refuse."""

import json
from pathlib import Path
from typing import TypedDict

import pytest
from edgepb.kms.v1 import kms_pb2

from passport import PassportIntrospector, PassportKeys, PassportRefused
from tests.passport import make_vectors


class Vector(TypedDict, total=False):
    name: str
    passport: str
    now: int
    accept_v1: bool
    expect: dict[str, object]
    refused: str


class Document(TypedDict):
    provenance: str
    now: int
    trust_domain: str
    key_material_hex: dict[str, str]
    vectors: list[Vector]


def load(name: str) -> Document:
    document: Document = json.loads((make_vectors.DIRECTORY / name).read_text(encoding="utf-8"))
    return document


VALID, INVALID = load("valid.json"), load("invalid.json")


def keys_of(document: Document) -> PassportKeys:
    return PassportKeys.from_key_sets(
        kms_pb2.KeySet(
            purpose=name.partition(":")[0],
            versions=[
                kms_pb2.KeyVersion(
                    key_id=int(name.partition(":")[2], 16), state=kms_pb2.ACTIVE, material=bytes.fromhex(material)
                )
            ],
        )
        for name, material in document["key_material_hex"].items()
    )


def read(document: Document, vector: Vector) -> PassportIntrospector:
    return PassportIntrospector.from_base64(
        vector["passport"],
        keys_of(document),
        now=vector.get("now", document["now"]),
        trust_domain=document["trust_domain"],
        accept_v1=vector.get("accept_v1", False),
    )


def facts(passport: PassportIntrospector) -> dict[str, object]:
    """Return what a vector expects: 64-bit numbers as text, since JSON readers round them."""
    return {
        "request_id": passport.request_id,
        "issuer": passport.issuer,
        "user_source": passport.user_source.name,
        "user_level": passport.user_level.name,
        "customer_id": None if passport.customer_id is None else str(passport.customer_id),
        "account_owner_id": None if passport.account_owner_id is None else str(passport.account_owner_id),
        "profile_id": passport.profile_id,
        "session_id": passport.session_id,
        "device_source": passport.device_source.name,
        "device_level": passport.device_level.name,
        "esn": passport.esn,
        "device_type": passport.device_type,
        "actions": [action.name for action in passport.actions],
    }


@pytest.mark.parametrize("vector", VALID["vectors"], ids=lambda vector: str(vector["name"]))
def test_a_valid_vector_is_read(vector: Vector) -> None:
    assert facts(read(VALID, vector)) == vector["expect"]


@pytest.mark.parametrize("vector", INVALID["vectors"], ids=lambda vector: str(vector["name"]))
def test_an_invalid_vector_is_refused_for_its_reason(vector: Vector) -> None:
    with pytest.raises(PassportRefused) as caught:
        read(INVALID, vector)
    assert caught.value.reason == vector["refused"]


@pytest.mark.parametrize(
    ("path", "content"), make_vectors.files().items(), ids=lambda value: getattr(value, "name", "")
)
def test_the_vectors_are_what_their_script_makes(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content
