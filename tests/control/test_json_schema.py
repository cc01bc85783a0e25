"""The committed JSON schemas are those of the models."""

import json
from pathlib import Path

import pytest

from edge.control.json_schema import json_schema_text, write_json_schemas
from edge.control.models import MODELS
from tests.control.conftest import SHIPPED


@pytest.mark.parametrize("name", MODELS)
def test_the_committed_schema_is_in_sync(name: str) -> None:
    committed = (SHIPPED / "schema" / f"{name}.json").read_text()
    assert committed == json_schema_text(name), "run `make schema`"


@pytest.mark.parametrize("name", MODELS)
def test_each_shipped_file_names_its_schema_for_editors(name: str) -> None:
    first = (SHIPPED / f"{name}.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=schema/{name}.json"


def test_a_schema_knows_required_keys_defaults_and_refuses_unknown_ones() -> None:
    schema = json.loads(json_schema_text("edge"))
    assert schema["required"] == ["edge", "services"]
    assert schema["additionalProperties"] is False
    listener = schema["$defs"]["Listener"]["properties"]
    assert listener["address"]["default"] == "127.0.0.1:8080"
    assert listener["local_plain_http"]["default"] is False


def test_schemas_are_written_one_for_each_file(tmp_path: Path) -> None:
    written = write_json_schemas(tmp_path / "new" / "schema")
    assert [path.stem for path in written] == list(MODELS)
    assert all(json.loads(path.read_text())["$schema"].startswith("https://json-schema.org/") for path in written)
