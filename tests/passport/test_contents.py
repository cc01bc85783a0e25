"""What may be in a Passport: the schema is held to docs/passport.md, and the code to both."""

import re
from pathlib import Path

import pytest
from edgepb.passport.v1 import actions_pb2, passport_pb2

import edge.contract.identity as contract
import filters.outbound
from passport import DeviceAction, Level, PassportIntrospector, PassportRefusal, Source, UserAction
from passport.returned import ReturnedRefusal

DOCS = (Path(__file__).parent.parent.parent / "docs" / "passport.md").read_text(encoding="utf-8")
MESSAGES = passport_pb2.DESCRIPTOR.message_types_by_name
FORBIDDEN = re.compile(r"member|plan|country|email|phone|address|birth|title|price|card|password|token")


def documented_reasons() -> set[str]:
    return set(re.findall(r"^\| `([a-z_0-9]+)` \|", DOCS, re.MULTILINE))


def test_the_schema_has_the_documented_fields_and_no_other() -> None:
    documented = set(re.findall(r"^\| (\w+) \| (\w+) \| (\d+) \|", DOCS, re.MULTILINE))
    schema = {
        (message.name, field.name, str(field.number))
        for message in MESSAGES.values()
        if message.name != "PassportEnvelope"
        for field in message.fields
    }
    assert schema == documented


def test_nothing_that_changes_often_or_is_nobodys_business_is_in_it() -> None:
    names = [field.name for message in MESSAGES.values() for field in message.fields]
    assert [name for name in names if FORBIDDEN.search(name)] == []


def test_the_envelope_has_the_numbers_of_the_passport() -> None:
    numbers = {field.name: field.number for field in MESSAGES["Passport"].fields}
    assert {field.name: field.number for field in MESSAGES["PassportEnvelope"].fields} == numbers


@pytest.mark.parametrize(
    ("mine", "schema", "prefix"),
    [
        (Source, passport_pb2.Source, "SOURCE_"),
        (Level, passport_pb2.AuthenticationLevel, "LEVEL_"),
        (UserAction, actions_pb2.UserAction, ""),
        (DeviceAction, actions_pb2.DeviceAction, ""),
    ],
)
def test_the_librarys_numbers_are_the_schemas(mine: type, schema: object, prefix: str) -> None:
    members = {f"{prefix}{name}": int(value) for name, value in mine.__members__.items() if value >= 0}  # type: ignore[attr-defined]
    numbers = dict(schema.items())  # type: ignore[attr-defined]
    members |= {name: 0 for name in numbers if name.endswith("_ACTION_UNSPECIFIED")}
    assert members == numbers


def test_the_filters_numbers_are_the_librarys() -> None:
    assert {m.name: m.value for m in contract.Source} == {m.name: m.value for m in Source if m >= 0}
    assert {m.name: m.value for m in contract.Level} == {m.name: m.value for m in Level}


def test_every_reason_is_documented_and_every_documented_reason_exists() -> None:
    folder = Path(filters.outbound.__path__[0])
    source = "".join((folder / name).read_text(encoding="utf-8") for name in ("passport_actions.py", "tokens.py"))
    in_filter = set(re.findall(r'"refused:([a-z_]+)"', source))
    assert documented_reasons() == {*PassportRefusal, *ReturnedRefusal, *in_filter}


def test_every_fact_that_the_introspector_offers_is_in_the_schema() -> None:
    offered = {name for name, value in vars(PassportIntrospector).items() if isinstance(value, property)}
    derived = {"received", "header_value", "is_authenticated", "user_created"}
    derived |= {f"device_{fact}" for fact in ("created", "expires", "actions")}
    renamed = {f"{part}_{fact}": fact for part in ("user", "device") for fact in ("source", "level")}
    fields = {field.name for message in MESSAGES.values() for field in message.fields} | {"level"}
    assert {renamed.get(name, name) for name in offered - derived} <= fields
