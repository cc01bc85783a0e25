"""Python and JavaScript make the same of every vector, and of many Passports that somebody signed wrongly."""

import json
import random
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from edgepb.passport.v1 import actions_pb2, passport_pb2

from passport import PassportRefusal, PassportRefused
from passport.catalogue import CATALOGUE
from tests.passport import conformance, make_vectors
from tests.passport_js.node import PACKAGE, node, run

SEEDS = range(4)
MANY = 400


def python(path: Path) -> list[str]:
    document = conformance.load(path)
    return [line(path.name, document, vector) for vector in document["vectors"]]


def line(file: str, document: conformance.Document, vector: conformance.Vector) -> str:
    try:
        read = conformance.facts(conformance.read(document, vector))
        said: dict[str, object] = {"verdict": "ok", "reason": None, "passport": read}
    except PassportRefused as refused:
        said = {"verdict": "refused", "reason": refused.reason.value, "passport": None}
    return json.dumps({"file": file, "name": vector["name"]} | said, ensure_ascii=False, separators=(",", ":"))


def javascript(*files: Path) -> list[str]:
    return run(node(), "test/conformance.js", *map(str, files)).splitlines()


def test_both_libraries_read_every_golden_vector_alike() -> None:
    expected = list(conformance.lines())
    assert len(expected) > 30
    assert javascript() == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_both_libraries_make_the_same_of_whatever_is_signed(seed: int, tmp_path: Path) -> None:
    """What a good MAC covers was parsed by both: strings, varints, duplicates, unknown fields, odd times."""
    document = conformance.load(conformance.DIRECTORY / "valid.json")
    document["vectors"] = [odd(random.Random(f"{seed} {number}"), number) for number in range(MANY)]  # noqa: S311
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    expected = python(path)
    verdicts = {json.loads(each)["reason"] for each in expected}
    assert {None, "malformed_part"} <= verdicts, "too little was tried"
    assert javascript(path) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_both_libraries_make_the_same_of_whatever_is_sent(seed: int, tmp_path: Path) -> None:
    document = conformance.load(conformance.DIRECTORY / "valid.json")
    good = b64decode(document["vectors"][0]["passport"])
    document["vectors"] = [sent(random.Random(f"{seed} {number}"), number, good) for number in range(MANY)]  # noqa: S311
    path = tmp_path / "sent.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    expected = python(path)
    verdicts = {json.loads(each)["reason"] for each in expected}
    assert {"malformed", "bad_mac", "not_canonical"} <= verdicts, "too little was tried"
    assert javascript(path) == expected


def test_both_libraries_know_the_same_reasons_and_actions() -> None:
    script = (
        'import { CATALOGUE, PassportRefusal } from "./src/index.js";'
        "const levels = ['UNSPECIFIED', 'LOW', 'HIGH', 'HIGHEST'];"
        "const rows = Object.values(CATALOGUE).map((each) => [each.name, each.number, each.part, each.effect,"
        "  each.byKind, each.partIs, each.changes, each.level === null ? null : levels[each.level],"
        "  each.revokes, each.meaning]);"
        "console.log(JSON.stringify({ reasons: Object.values(PassportRefusal), rows }));"
    )
    said = json.loads(run(node(), "--input-type=module", "--eval", script, cwd=PACKAGE))
    assert said["reasons"] == [reason.value for reason in PassportRefusal]
    numbers = actions_pb2.UserAction.items() + actions_pb2.DeviceAction.items()
    number_of = dict(numbers)
    assert said["rows"] == [
        [
            entry.name,
            number_of[entry.name],
            entry.part.value,
            entry.effect.name.lower(),
            {kind: effect.name.lower() for kind, effect in entry.by_kind.items()},
            entry.part_is.value,
            sorted(entry.changes),
            None if entry.level is None else entry.level.name,
            entry.revokes.value,
            entry.meaning,
        ]
        for entry in CATALOGUE.values()
    ]


def odd(dice: random.Random, number: int) -> conformance.Vector:
    """Return a Passport with good MACs, one part of which is not what any library would have written."""
    parts = [make_vectors.a_header(), make_vectors.a_user(), make_vectors.a_device()]
    raw = [part.SerializeToString() for part in parts]
    changed = dice.randrange(3)
    for _ in range(dice.randint(1, 2)):
        raw[changed] = mutated(dice, raw[changed])
    header, user, device = raw
    made = passport_pb2.PassportEnvelope(header=header, user_info=user, device_info=device)
    covered = (header, device, user)
    for field, key in (("user", make_vectors.USER_KEY), ("device", make_vectors.DEVICE_KEY)):
        integrity = made.user_integrity if field == "user" else made.device_integrity
        integrity.version, integrity.key_name = 2, key
        integrity.hmac = make_vectors.mac(2, field, key, covered)
    return {"name": f"odd {number}", "passport": make_vectors.text(made)}


def mutated(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    match dice.randrange(6):
        case 0:  # a field more: known or not, of any type
            field = dice.choice([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 99, (1 << 29) - 1, 1 << 29])
            return data + varint(field << 3 | dice.randrange(8)) + dice.randbytes(dice.randrange(5))
        case 1:  # a number more, great or padded
            value = dice.choice(
                [0, 1, 127, 128, 1 << 31, 1 << 32, (1 << 32) + 3, 1 << 53, 1 << 63, (1 << 64) - 1, 1 << 64]
            )
            padding = b"\x80\x00" if dice.random() < 0.1 else b""
            return data + varint(dice.choice([11, 12, 13, 8, 7]) << 3) + varint(value) + padding
        case 2:  # a text more, in or out of UTF-8
            text = dice.choice(
                [b"", b"\xef\xbb\xbfx", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\x80", b"\x00", b"\xff"]
            )
            wrapped = b"\x0a" + varint(len(text)) + text
            return data + varint(dice.choice([4, 6, 7, 99]) << 3 | 2) + varint(len(wrapped)) + wrapped
        case 3:  # actions, packed
            packed = b"".join(
                varint(dice.choice([0, 1, 2, 3, 300, 1 << 31])) for _ in range(dice.choice([0, 1, 3, 16, 17]))
            )
            return data + varint(dice.choice([7, 12]) << 3 | 2) + varint(len(packed)) + packed
        case 4:
            return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        case _:
            return data[:at] + data[at + dice.randrange(4) :]


def sent(dice: random.Random, number: int, good: bytes) -> conformance.Vector:
    """Return a value that a stranger may send: a good Passport that was changed, cut, put together anew, misspelt."""
    at = dice.randrange(len(good))
    raw = dice.choice(
        [
            good[:at],
            good[:at] + bytes([dice.randrange(256)]) + good[at + 1 :],
            good[:at] + dice.randbytes(dice.randrange(4)) + good[at:],
            good + good[at:],
            dice.randbytes(dice.randrange(60)),
            good + bytes(dice.choice([1, 15_900, 16_384])),
        ]
    )
    text = b64encode(raw).decode()
    where = dice.randrange(len(text) + 1)
    if dice.random() < 0.3:
        text = text[:where] + dice.choice(["=", "-", "_", " ", "\n", "\u00e9", "A", "\x00"]) + text[where:]
    return {"name": f"sent {number}", "passport": text}


def varint(value: int) -> bytes:
    """Return a varint, one that is too great too."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
