"""Where edge.yaml and cookie.yaml must say the same: else every cookie that is made would be refused."""

from collections.abc import Mapping
from pathlib import Path

from edge.control.errors import ConfigError, Place, place_text
from edge.control.snapshot import Snapshot
from edge.control.yaml_text import Document, Value, read_yaml


def disagreements(cookie_file: Path, snapshot: Snapshot) -> list[ConfigError]:
    """Return an error for each value of `cookie_file` that is not the edge's.

    A value that is left out, or a file that cannot be read, is for the cookie service to judge.
    """
    try:
        found = read_yaml(cookie_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    if not isinstance(found, Document) or not isinstance(found.value, Mapping):
        return []
    names = found.value.get("names")
    names = names if isinstance(names, Mapping) else {}
    pairs: list[tuple[Place, Value, str, str]] = [
        (("environment",), found.value.get("environment"), "edge.environment", snapshot.edge.environment),
        (("names", "insecure"), names.get("insecure"), "cookies.insecure_name", snapshot.cookies.insecure_name),
        (("names", "secure"), names.get("secure"), "cookies.secure_name", snapshot.cookies.secure_name),
    ]
    return [
        ConfigError(
            str(cookie_file),
            found.line(place),
            place_text(place),
            f"is {theirs!r}, but the edge's {edge_key} is {ours!r}: make them the same",
        )
        for place, theirs, edge_key, ours in pairs
        if theirs is not None and theirs != ours
    ]
