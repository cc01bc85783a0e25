"""The golden vectors: tokens made without our code open with it, and bad ones are refused for the right reason."""

import base64
import json
from typing import TypedDict

import pytest
from edgepb.kms.v1 import kms_pb2

from tests.tokens.make_vectors import FILE, vectors
from tests.tokens.rings import NAMES, open_secure
from tokens.cookie import Claims, open_insecure, seal_pair
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing


class KeyVector(TypedDict):
    """A key of the ring; `material` in hex."""

    key_id: int
    state: str
    primary: bool
    material: str


class Valid(TypedDict):
    """A token that opens."""

    name: str
    cookie: str
    text: str
    claims: dict[str, int | str]


class Invalid(TypedDict):
    """A token that is refused."""

    name: str
    cookie: str
    text: str
    refusal: str


class Vectors(TypedDict):
    """The file."""

    environment: str
    now: int
    keys: list[KeyVector]
    valid: list[Valid]
    invalid: list[Invalid]


GOLDEN: Vectors = json.loads(FILE.read_text())
RING = KeyRing.from_key_sets(
    [
        kms_pb2.KeySet(
            purpose="cookie",
            versions=[
                kms_pb2.KeyVersion(
                    key_id=key["key_id"],
                    state=key["state"],
                    material=bytes.fromhex(key["material"]),
                    primary=key["primary"],
                )
                for key in GOLDEN["keys"]
            ],
        )
    ],
    1,
)
EMPTY = Claims(0, 0, "", "", 0, "", 0, 0, 0, 0, 0)


def opened(cookie: str, text: str) -> Claims | Refusal:
    open_half = open_insecure if cookie == NAMES.insecure else open_secure
    return open_half(RING, NAMES, GOLDEN["environment"], text.encode(), GOLDEN["now"])


@pytest.mark.parametrize("vector", GOLDEN["valid"], ids=lambda vector: vector["name"])
def test_a_valid_vector_opens(vector: Valid) -> None:
    expected = EMPTY._replace(**vector["claims"])  # type: ignore[arg-type]
    assert opened(vector["cookie"], vector["text"]) == expected


@pytest.mark.parametrize("vector", GOLDEN["invalid"], ids=lambda vector: vector["name"])
def test_an_invalid_vector_is_refused(vector: Invalid) -> None:
    assert opened(vector["cookie"], vector["text"]) is Refusal(vector["refusal"])


def test_our_code_seals_the_very_same_text() -> None:
    insecure, secure = GOLDEN["valid"][:2]
    nonces = [base64.urlsafe_b64decode(half["text"] + "==")[5:17] for half in (insecure, secure)]
    claims = EMPTY._replace(**insecure["claims"])  # type: ignore[arg-type]
    pair = seal_pair(RING, NAMES, GOLDEN["environment"], claims, (nonces[0], nonces[1]))
    assert pair == (insecure["text"].encode(), secure["text"].encode())


def test_the_file_is_what_its_generator_writes() -> None:
    assert json.loads(json.dumps(vectors())) == GOLDEN
