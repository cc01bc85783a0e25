"""The catalogue of actions for JavaScript, and its types: what `actions.py` makes of its rows."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]
Effects = tuple[str, Mapping[str, str]]

_HEAD = (
    "// Every action that a returned Passport may carry. Made by `make proto` from proto/passport/v1/actions.yaml.\n"
)
_TYPES = """\
import type { Level, Part } from "./index.js";

/** What the edge does with a device's tokens. */
export type Effect = "nothing" | "update" | "create" | "clear";

/** What the part that an action stands on must be. */
export type PartIs = "nobody" | "checked" | "same" | "registered";

/** What becomes void besides, on all edges. */
export type Revokes = "none" | "session" | "others" | "customer" | "device";

/** One action; `level` is null where it stays as sent, `byKind` holds the kinds of token that differ from `effect`. */
export interface CatalogueEntry {
  readonly name: UserAction | DeviceAction;
  readonly number: number;
  readonly part: Part;
  readonly effect: Effect;
  readonly byKind: Readonly<Record<string, Effect>>;
  readonly partIs: PartIs;
  /** Fields of UserInfo or DeviceInfo in which the part may differ from what was sent. */
  readonly changes: readonly string[];
  readonly level: Level | null;
  readonly revokes: Revokes;
  readonly meaning: string;
}

/** Every action by its name. */
export declare const CATALOGUE: Readonly<Record<Exclude<UserAction | DeviceAction, "UNKNOWN">, CatalogueEntry>>;
"""
_PARTS = ("user", "device")
_LEVELS = {"none": "Level.UNSPECIFIED", "same": "null"}


def module(rows: list[Row], effects: Mapping[str, Effects]) -> str:
    """Return catalogue.js. `effects` has for each action what it does with tokens, and with which kinds differently."""
    return "\n".join([_HEAD + 'import { Level } from "./identity.js";\n', *_enums(rows), *_catalogue(rows, effects)])


def types(rows: list[Row]) -> str:
    """Return catalogue.d.ts."""
    return "\n".join([_HEAD + _TYPES, *_enum_types(rows)])


def _of(rows: list[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


def _enums(rows: list[Row]) -> Iterator[str]:
    for part in _PARTS:
        yield f"/** A change of the {part} that the edge turns into token updates: docs/actions.md. */"
        yield f"export const {part.capitalize()}Action = Object.freeze({{"
        yield '  UNKNOWN: "UNKNOWN",'
        yield from (f'  {row["name"]}: "{row["name"]}",' for row in _of(rows, part))
        yield "});\n"


def _catalogue(rows: list[Row], effects: Mapping[str, Effects]) -> Iterator[str]:
    yield "/** Every action by its name. */"
    yield "export const CATALOGUE = Object.freeze({"
    for row in rows:
        effect, by_kind = effects[row["name"]]
        yield f"  {row['name']}: Object.freeze({{"
        yield f'    name: "{row["name"]}",'
        yield f"    number: {row['number']},"
        yield f'    part: "{row["part"]}",'
        yield f'    effect: "{effect}",'
        yield f"    byKind: Object.freeze({json.dumps(by_kind)}),"
        yield f'    partIs: "{row["part_is"]}",'
        yield f"    changes: Object.freeze({json.dumps(sorted(row.get('changes', ())))}),"
        yield f"    level: {_LEVELS.get(row['level'], 'Level.' + row['level'])},"
        yield f'    revokes: "{row["revokes"]}",'
        yield f"    meaning: {json.dumps(row['meaning'])},"
        yield "  }),"
    yield "});\n"


def _enum_types(rows: list[Row]) -> Iterator[str]:
    for part in _PARTS:
        name = f"{part.capitalize()}Action"
        yield f"/** A change of the {part} that the edge turns into token updates: docs/actions.md. */"
        yield f"export declare const {name}: {{"
        yield "  /** A number that this version does not know. */"
        yield '  readonly UNKNOWN: "UNKNOWN";'
        for row in _of(rows, part):
            yield f"  /** {row['meaning']} */"
            yield f'  readonly {row["name"]}: "{row["name"]}";'
        yield "};"
        yield f"export type {name} = (typeof {name})[keyof typeof {name}];\n"
