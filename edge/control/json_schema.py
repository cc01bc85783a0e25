"""JSON schemas of the config files, for editors: completion, hints and errors while typing."""

import json
from pathlib import Path

from edge.control.models import MODELS


def json_schema_text(name: str) -> str:
    """Return the JSON schema of config/`name`.yaml as text that ends in a new line."""
    schema = MODELS[name].model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


def write_json_schemas(directory: Path) -> list[Path]:
    """Write one `NAME.json` for each config file into `directory`, made if it is not there; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name in MODELS:
        path = directory / f"{name}.json"
        path.write_text(json_schema_text(name), encoding="utf-8")
        written.append(path)
    return written
