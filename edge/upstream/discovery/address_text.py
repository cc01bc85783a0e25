"""The text of an address file into addresses. Pure."""

from pathlib import PurePath
from typing import Final

from edge.control.values import Address, parse_connect_address
from edge.control.yaml_text import Value, YamlProblem, read_yaml

MAX_BYTES: Final = 1 << 16
_YAML: Final = frozenset({".yaml", ".yml", ".json"})


def read_addresses(path: PurePath, data: bytes) -> tuple[Address, ...] | str:
    """Return the addresses in a file, sorted and each once, or what is wrong with it.

    `.yaml`, `.yml` and `.json` hold a list of HOST:PORT, or a mapping with such a list as `addresses`; any other file
    one address per line, with `#` for comments. One bad address spoils the file: half a list is not a list.
    """
    if len(data) > MAX_BYTES:
        return f"is longer than {MAX_BYTES} bytes"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 text (byte {error.start})"
    entries = _yaml_entries(text) if path.suffix in _YAML else _line_entries(text)
    if isinstance(entries, str):
        return entries
    found: set[Address] = set()
    for where, entry in entries:
        try:
            found.add(parse_connect_address(entry))
        except ValueError as error:
            return f"{where}: {error}"
    return tuple(sorted(found)) or "has no address"


def _line_entries(text: str) -> list[tuple[str, Value]]:
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(f"line {number}", line) for number, line in lines if line]


def _yaml_entries(text: str) -> list[tuple[str, Value]] | str:
    document = read_yaml(text)
    if isinstance(document, YamlProblem):
        return f"line {document.line}: {document.message}" if document.line else document.message
    value = document.value
    place: tuple[str | int, ...] = ()
    if isinstance(value, dict):
        if set(value) != {"addresses"}:
            return "must have the key addresses and no other"
        value, place = value["addresses"], ("addresses",)
    if value is None:
        return []
    if not isinstance(value, list):
        return "must be a list of HOST:PORT"
    return [(f"line {document.line((*place, index))}", entry) for index, entry in enumerate(value)]
