"""The tables of docs/configuration.md: every key with its default and meaning, from the schema itself."""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge.control.values import Section


def reference_table(model: type[Section]) -> str:
    """Return a Markdown table of every key below `model`: path, default, description."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{key}` | {_default(field)} | {field.description or ''} |" for key, field in keys(model)]
    return "\n".join(rows)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key that holds a plain value, as a path.

    `[]` stands for an item of a list; `<name>` and `<number>` for a key of your own, or one of several alike.
    """
    for name, field in model.model_fields.items():
        inner, step = _section(field.annotation)
        path = f"{prefix}{name}{step}"
        if inner is None:
            yield (path, field)
        else:
            yield from keys(inner, f"{path}.")


def _section(annotation: object) -> tuple[type[BaseModel] | None, str]:
    """Return the section that a field holds, if any, and how its path goes on."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        alike = {field.annotation for field in annotation.model_fields.values()}
        only = alike.pop() if len(alike) == 1 else None
        if isinstance(only, type) and issubclass(only, BaseModel):
            return only, ".<name>"
        return annotation, ""
    arguments = [argument for argument in get_args(annotation) if argument not in {Ellipsis, NoneType}]
    if get_origin(annotation) in {Union, UnionType}:
        return _section(arguments[0])
    if get_origin(annotation) is Mapping:
        return _section(arguments[1])[0], ".<number>" if int in get_args(arguments[0]) else ".<name>"
    if get_origin(annotation) is tuple and _section(arguments[0])[0] is not None:
        return _section(arguments[0])[0], "[]"
    return None, ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default()
    if default is None:
        return "`null`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple) and not hasattr(default, "_fields"):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`"
