"""`--set KEY=VALUE`: one value of one file, replaced before the whole is checked.

KEY is a path such as `origins.api.addresses`, `routes.browse.auth.user` or `routes[2].auth.user`; an item of a list is
named by its position or its `id`. VALUE is YAML, so also JSON: `--set listener.trusted_proxies='["10.0.0.0/8"]'`.
"""

import re
from typing import Final

from edge.control.errors import ConfigError, Place
from edge.control.yaml_text import Value, YamlProblem, read_yaml

_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+|\[[0-9]{1,6}\])*\Z")
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")


def parse_override(text: str) -> tuple[Place, Value] | ConfigError:
    """Split KEY=VALUE into the key's parts and the parsed value."""
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or _KEY.match(key) is None:
        return ConfigError("--set", 0, "", "must be KEY=VALUE, such as --set edge.workers=2")
    parsed = read_yaml(raw)
    if isinstance(parsed, YamlProblem):
        return ConfigError(f"--set {key}", 0, "", f"the value {parsed.message}")
    return tuple(_PART.findall(key)), parsed.value


def apply_override(document: dict[str | int, Value], key: Place, value: Value) -> Place | str:
    """Put `value` into `document` at `key`; return the place it went to, or what is wrong with the key."""
    place: list[str | int] = []
    at: Value = document
    for position, part in enumerate(key):
        last = position == len(key) - 1
        if isinstance(at, dict):
            step = _mapping_key(part)
            place.append(step)
            if last:
                at[step] = value
            elif at.get(step) is None:
                at[step] = {}
            at = at[step]
        elif isinstance(at, list):
            index = _index(at, str(part))
            if index is None:
                return f"the list has no item {part}: name one by its position or its id"
            place.append(index)
            if last:
                at[index] = value
            at = at[index]
        else:
            return f"there is nothing inside a plain value, so no {part} either"
    return tuple(place)


def _mapping_key(part: str | int) -> str | int:
    return int(part) if isinstance(part, str) and part.isdigit() else part


def _index(items: list[Value], part: str) -> int | None:
    if part.isdigit():
        return int(part) if int(part) < len(items) else None
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("id") == part:
            return index
    return None
