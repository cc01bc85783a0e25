"""YAML text into plain values, with the line of every key.

A small, safe part of YAML: mappings, lists, texts, numbers, true and false, null. Scalars are read as YAML 1.2 says
(`off` is a text, `1:30` is no number). Refused: duplicate keys, aliases, tags, several documents, deep nesting.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml

from edge.control.errors import Place

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str | int, Value] | None"

_MAX_DEPTH: Final = 32
_MAX_CHARACTERS: Final = 1 << 20
_TAG: Final = "tag:yaml.org,2002:"
_CONSTANTS: Final[Mapping[str, bool]] = {"true": True, "false": False}


@dataclass(slots=True, frozen=True)
class Document:
    """A parsed text: its value, and the line (from 1) at which each key path stands."""

    value: Value
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """Return the line of `place`, or of the nearest part around it; 0 for an empty document."""
        for length in range(len(place), -1, -1):
            line = self.lines.get(place[:length])
            if line is not None:
                return line
        return 0


@dataclass(slots=True, frozen=True)
class YamlProblem:
    """Why a text could not be read; `line` counts from 1, 0 when it is not known."""

    message: str
    line: int = 0
    place: Place = ()


class _Composer(yaml.SafeLoader):
    """Builds the node tree; refuses what would make it deep or shared."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._refused("aliases are not supported: write the value out")
        if self.depth >= _MAX_DEPTH:
            raise self._refused(f"nested deeper than {_MAX_DEPTH} levels")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _refused(self, message: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=message, problem_mark=self.current_event.start_mark)


_Composer.yaml_implicit_resolvers = {}
_Composer.add_implicit_resolver(f"{_TAG}null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Composer.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Composer.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?[0-9]{1,30}\Z"), list("-+0123456789"))
_Composer.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"),
    list("-+.0123456789"),
)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values and notes the line of every key and item."""

    lines: dict[Place, int] = field(default_factory=dict)
    problem: YamlProblem | None = None

    def build(self, node: yaml.Node, place: Place) -> Value:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Value:
        built: dict[str | int, Value] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node, place) if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if isinstance(key, bool) or not isinstance(key, str | int):
                self._note("a key must be a text or a whole number: put it in quotes", line, place)
            elif key in built:
                first = self.lines[(*place, key)]
                self._note(f"is there twice, first on line {first}: keep one of them", line, (*place, key))
            else:
                self.lines[(*place, key)] = line
                built[key] = self.build(value_node, (*place, key))
        return built

    def _scalar(self, node: yaml.Node, place: Place) -> str | int | float | bool | None:
        text, kind = str(node.value), node.tag.removeprefix(_TAG)
        try:
            match kind:
                case "str":
                    return text
                case "int":
                    return int(text)
                case "float":
                    return float(text)
                case "bool":
                    return _CONSTANTS[text.lower()]
                case "null":
                    return None
        except (ValueError, KeyError):
            pass
        self._note(f"the tag {node.tag} is not supported here", node.start_mark.line + 1, place)
        return None

    def _note(self, message: str, line: int, place: Place) -> None:
        if self.problem is None:
            self.problem = YamlProblem(message, line, place)


def read_yaml(text: str) -> Document | YamlProblem:
    """Parse one document. An empty one has the value None."""
    if len(text) > _MAX_CHARACTERS:
        return YamlProblem(f"is longer than {_MAX_CHARACTERS} characters")
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(filter(None, (error.context, error.problem)))
        return YamlProblem(f"is not valid YAML: {why}", mark.line + 1 if mark else 0)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        return YamlProblem(f"holds a character that YAML does not allow: {error.reason}", line)
    if node is None:
        return Document(None, {})
    builder = _Builder()
    value = builder.build(node, ())
    return builder.problem or Document(value, builder.lines)


def _compose(text: str) -> yaml.Node | None:
    loader = _Composer(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
