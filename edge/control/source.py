"""One config file on its way from text to a checked model, and where each of its errors stands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from edge.control.errors import ConfigError, Place, place_text
from edge.control.values import Section
from edge.control.yaml_text import Document, Value, YamlProblem, read_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=Section)

_MESSAGES: Mapping[str, str] = {
    "missing": "is missing: add it",
    "model_type": "must be a mapping of keys, not empty and not a plain value",
    "mapping_type": "must be a mapping of keys, not empty and not a plain value",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text; put it in quotes if it looks like a number",
    "path_type": "must be a path",
    "list_type": "must be a list",
    "tuple_type": "must be a list, such as [a, b]",
    "too_short": "must have at least one entry",
    "string_too_short": "must not be empty",
    "invalid_key": "a key must be a text: put it in quotes",
}


@dataclass(slots=True)
class Source(Generic[M]):
    """A config file: its model, its raw value with overrides applied, and the document with the lines of its keys."""

    path: Path
    model: type[M]
    raw: dict[str | int, Value] = field(default_factory=dict)
    document: Document = field(default_factory=lambda: Document(None, {}))
    overridden: dict[Place, str] = field(default_factory=dict)
    text: str = ""
    needed: bool = True
    there: bool = True

    def read(self, texts: Mapping[str, str] | None = None) -> ConfigError | None:
        """Read the file from disk, or from `texts` by its name; return why that did not work, if it did not."""
        try:
            self.text = self.path.read_bytes().decode("utf-8") if texts is None else texts[self.path.name]
        except (FileNotFoundError, KeyError):
            if not self.needed:
                self.there = False
                return None
            return self._whole("not found: every config directory needs this file")
        except UnicodeDecodeError as error:
            return self._whole(f"is not UTF-8 text (byte {error.start})")
        except OSError as error:
            return self._whole(f"cannot be read: {error.strerror}")
        parsed = read_yaml(self.text)
        if isinstance(parsed, YamlProblem):
            return ConfigError(str(self.path), parsed.line, place_text(parsed.place), parsed.message)
        if parsed.value is None:
            return self._whole("is empty")
        if not isinstance(parsed.value, dict):
            return self._whole(f"must be a mapping with the keys {_listed(self.model.model_fields)}")
        self.raw, self.document = parsed.value, parsed
        return None

    def check(self, context: Mapping[str, object]) -> M | list[ConfigError]:
        """Validate the raw value against the model."""
        try:
            return self.model.model_validate(self.raw, context=dict(context))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            return [self.error(_place(detail), self._message(detail)) for detail in found if not _echo(detail, found)]

    def error(self, place: Place, message: str) -> ConfigError:
        """Say that something is wrong at `place`: on its line, or in the override that put it there."""
        for where, name in self.overridden.items():
            inside = place[: len(where)] == where
            around = where[: len(place)] == place and place not in self.document.lines
            if inside or around:
                return ConfigError(f"--set {name}", 0, place_text(place), message)
        return ConfigError(str(self.path), self.document.line(place), place_text(place), message)

    def _whole(self, message: str) -> ConfigError:
        return ConfigError(str(self.path), 0, "", message)

    def _message(self, detail: "ErrorDetails") -> str:
        kind, place = detail["type"], _place(detail)
        if kind == "extra_forbidden":
            return unknown_key(str(place[-1]), keys_at(self.model, place[:-1]))
        if kind == "value_error":
            return detail["msg"].removeprefix("Value error, ")
        if kind == "string_pattern_mismatch":
            return f"must match the pattern {detail['ctx']['pattern']}"
        message = _MESSAGES.get(kind)
        return message or detail["msg"].replace("Input should", "must").replace("must be a valid", "must be a")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that `key` is not known, and what may have been meant."""
    known = list(known)
    close = get_close_matches(key, known, n=1)
    return (
        f"is not a known key: did you mean {close[0]}?" if close else f"is not a known key: known are {_listed(known)}"
    )


def keys_at(model: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that `model` knows at `place`."""
    at: object = model
    for part in place:
        if isinstance(at, type) and issubclass(at, BaseModel):
            known = at.model_fields.get(str(part))
            at = _needed(known.annotation) if known is not None else None
        else:
            at = _item(at)
    return list(at.model_fields) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _item(annotation: object) -> object:
    """Return what a mapping or list holds."""
    inner = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return _needed(inner[-1]) if inner else None


def _needed(annotation: object) -> object:
    """Return what an optional value is when it is there."""
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    return next(argument for argument in get_args(annotation) if argument is not type(None))


def _echo(detail: "ErrorDetails", found: list["ErrorDetails"]) -> bool:
    """Say whether a list counts as too short only because its items are wrong, which is said already."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in found
    )


def _place(detail: "ErrorDetails") -> Place:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
