"""Where edge.yaml and the services' files must agree: else cookies that are good would be refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from edge.control.errors import ConfigError, Place, place_text
from edge.control.snapshot import Snapshot
from edge.control.yaml_text import Document, Value, read_yaml

_HOLDER_LIVE_S: Final = 300.0  # of the KMS, where its file does not say


def disagreements(directory: Path, snapshot: Snapshot) -> list[ConfigError]:
    """Return an error for each value of the services' files in `directory` that does not go with the edge's.

    Of cookies, what is left out is for the cookie service to judge; so is a file that cannot be read for its service.
    """
    return [*_cookies(directory / "cookie.yaml", snapshot), *_holders(directory / "kms.yaml", snapshot)]


def _holders(file: Path, snapshot: Snapshot) -> Iterator[ConfigError]:
    """A KMS that waits for a silent edge for less long may have made a key protect that the edge takes for forged."""
    found = _read(file)
    if found is None:
        return
    values, document = found
    live_s, ours = values.get("holder_live_s", _HOLDER_LIVE_S), snapshot.keys.stale_after_s
    if isinstance(live_s, int | float) and live_s < ours:
        message = f"is {live_s:g}, but the edge's keys.stale_after_s is {ours:g}: that must not be more"
        yield ConfigError(str(file), document.line(("holder_live_s",)), "holder_live_s", message)


def _cookies(cookie_file: Path, snapshot: Snapshot) -> list[ConfigError]:
    read = _read(cookie_file)
    if read is None:
        return []
    values, found = read
    names = values.get("names")
    names = names if isinstance(names, Mapping) else {}
    pairs: list[tuple[Place, Value, str, str]] = [
        (("environment",), values.get("environment"), "edge.environment", snapshot.edge.environment),
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


def _read(file: Path) -> tuple[Mapping[str | int, Value], Document] | None:
    try:
        found = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    if not isinstance(found, Document) or not isinstance(found.value, Mapping):
        return None
    return found.value, found
