"""What this library makes of every golden vector: `python -m tests.passport.conformance`.

For comparing implementations of the Passport line by line. Files are those of `tests/vectors/passport/*.json`, in the
order of their names, and their vectors in the order they stand. A file has `now`, `trust_domain`, `key_material_hex`
(by key name) and `vectors`; a vector has `name` and `passport` (an `X-Passport` value), and may have

    now             instead of the file's
    accept_v1       true: integrity 1 is accepted too
    user_signers    purposes whose keys may have signed the user part, beside `passport-user`
    device_signers  purposes whose keys may have signed the device part, beside `passport-device`

Each makes one line, compact JSON in UTF-8 with its keys in this order, as `JSON.stringify` writes it (no space, nothing
escaped but quotes, backslashes and control characters):

    {"file":"valid.json","name":"nobody","verdict":"ok","reason":null,"passport":{…}}
    {"file":"invalid.json","name":"empty","verdict":"refused","reason":"missing","passport":null}

`passport` has these keys in this order. Numbers of 64 bits are text, since JSON readers round them; what is absent is
null; enumerations are their names, UNKNOWN for a number that is not known (a level that is not known is UNSPECIFIED).

    request_id issuer trust_domain created
    user_source user_level user_created user_expires customer_id account_owner_id profile_id session_id rescheduled
    actions
    device_source device_level device_created device_expires esn device_type device_actions

64 bits: created, user_created, user_expires, customer_id, account_owner_id, device_created, device_expires.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from edgepb.kms.v1 import kms_pb2

from passport import PassportIntrospector, PassportKeys, PassportRefused

DIRECTORY = Path(__file__).parent.parent / "vectors" / "passport"


class Vector(TypedDict, total=False):
    name: str
    passport: str
    now: int
    accept_v1: bool
    user_signers: list[str]
    device_signers: list[str]
    expect: dict[str, object]
    refused: str


class Document(TypedDict):
    provenance: str
    now: int
    trust_domain: str
    key_material_hex: dict[str, str]
    vectors: list[Vector]


def load(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


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
        user_signers=frozenset(vector.get("user_signers", ())),
        device_signers=frozenset(vector.get("device_signers", ())),
    )


def facts(passport: PassportIntrospector) -> dict[str, object]:
    return {
        "request_id": passport.request_id,
        "issuer": passport.issuer,
        "trust_domain": passport.trust_domain,
        "created": str(passport.created),
        "user_source": passport.user_source.name,
        "user_level": passport.user_level.name,
        "user_created": str(passport.user_created),
        "user_expires": str(passport.expires),
        "customer_id": _text(passport.customer_id),
        "account_owner_id": _text(passport.account_owner_id),
        "profile_id": passport.profile_id,
        "session_id": passport.session_id,
        "rescheduled": passport.rescheduled,
        "actions": [action.name for action in passport.actions],
        "device_source": passport.device_source.name,
        "device_level": passport.device_level.name,
        "device_created": str(passport.device_created),
        "device_expires": str(passport.device_expires),
        "esn": passport.esn,
        "device_type": passport.device_type,
        "device_actions": [action.name for action in passport.device_actions],
    }


def lines() -> Iterator[str]:
    for path in sorted(DIRECTORY.glob("*.json")):
        document = load(path)
        for vector in document["vectors"]:
            line = {"file": path.name, "name": vector["name"]} | _verdict(document, vector)
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def _verdict(document: Document, vector: Vector) -> dict[str, object]:
    try:
        return {"verdict": "ok", "reason": None, "passport": facts(read(document, vector))}
    except PassportRefused as refused:
        return {"verdict": "refused", "reason": refused.reason.value, "passport": None}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


if __name__ == "__main__":
    for each in lines():
        sys.stdout.buffer.write(each.encode() + b"\n")
