"""Makes what is made from `passport/v1/actions.yaml`: enums, the catalogues, the table of docs/actions.md."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import actions_js
import yaml

ROOT = Path(__file__).parent
REPOSITORY = ROOT.parent
SOURCE = ROOT / "passport" / "v1" / "actions.yaml"
BEGIN, END = "<!-- actions -->", "<!-- end -->"
KINDS = ("cookie", "msl", "cticket", "partner")

Row = dict[str, Any]

_PROTO = """\
// What a service may ask the edge to do by returning a Passport. Made from actions.yaml by `make proto`: change that.
syntax = "proto3";

package edgepb.passport.v1;
"""
_PYTHON = '''\
"""Every action that a returned Passport may carry. Made by `make proto` from proto/passport/v1/actions.yaml."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from passport.effects import CatalogueEntry, Effect, PartIs, Revokes
from passport.identity import Level, Part
'''


def made() -> dict[Path, str]:
    """Return what belongs into which file of the repository."""
    rows: list[Row] = yaml.safe_load(SOURCE.read_text())["actions"]
    page = REPOSITORY / "docs" / "actions.md"
    javascript = REPOSITORY / "passport" / "js" / "src"
    return {
        ROOT / "passport" / "v1" / "actions.proto": _proto(rows),
        REPOSITORY / "passport" / "catalogue.py": _formatted(_python(rows)),
        javascript / "catalogue.js": actions_js.module(rows, {row["name"]: _effects(row) for row in rows}),
        javascript / "catalogue.d.ts": actions_js.types(rows),
        page: _placed(page.read_text(), _table(rows)),
    }


def _of(rows: list[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


def _proto(rows: list[Row]) -> str:
    lines = [_PROTO]
    for part in ("user", "device"):
        lines += [f"// A change of the {part}.", f"enum {part.capitalize()}Action {{"]
        lines.append(f"  {part.upper()}_ACTION_UNSPECIFIED = 0;")
        for row in _of(rows, part):
            lines += [f"  // {row['meaning']}", f"  {row['name']} = {row['number']};"]
        lines += ["}", ""]
    return "\n".join(lines)


def _python(rows: list[Row]) -> str:
    return "\n".join([_PYTHON, *_enum(rows, "user"), *_enum(rows, "device"), *_catalogue(rows)]) + "\n"


def _enum(rows: list[Row], part: str) -> Iterator[str]:
    yield f"class {part.capitalize()}Action(IntEnum):"
    yield f'    """A change of the {part} that the edge turns into token updates: docs/actions.md."""'
    yield ""
    yield "    UNKNOWN = -1"
    for row in _of(rows, part):
        yield f"    {row['name']} = {row['number']}"
        yield f'    """{row["meaning"]}"""'
    yield ""
    yield "    @classmethod"
    yield f'    def _missing_(cls, value: object) -> "{part.capitalize()}Action":  # noqa: ARG003 - any number'
    yield "        return cls.UNKNOWN"
    yield ""


def _catalogue(rows: list[Row]) -> Iterator[str]:
    yield "Action = UserAction | DeviceAction"
    yield "CATALOGUE: Final[Mapping[str, CatalogueEntry]] = {"
    for row in rows:
        effect, by_kind = _effects(row)
        kinds = ", ".join(f'"{kind}": Effect.{value.upper()}' for kind, value in by_kind.items())
        changes = ", ".join(f'"{field}"' for field in sorted(row.get("changes", ())))
        yield f'    "{row["name"]}": CatalogueEntry('
        yield f'        name="{row["name"]}",'
        yield f"        part=Part.{row['part'].upper()},"
        yield f"        effect=Effect.{effect.upper()},"
        yield f"        by_kind={{{kinds}}},"
        yield f"        part_is=PartIs.{row['part_is'].upper()},"
        yield f"        changes=frozenset({{{changes}}})," if changes else "        changes=frozenset(),"
        yield f"        level={_LEVELS.get(row['level'], 'Level.' + row['level'])},"
        yield f"        revokes=Revokes.{row['revokes'].upper()},"
        yield f'        meaning="{row["meaning"]}",'
        yield "    ),"
    yield "}"
    yield '"""By name: the numbers of the two enums are the same, and so equal."""'


_LEVELS = {"none": "Level.UNSPECIFIED", "same": "None"}


def _effects(row: Row) -> tuple[str, dict[str, str]]:
    """Return what an action does with tokens, and what it does differently with some kinds."""
    tokens = row["tokens"]
    if isinstance(tokens, str):
        return tokens, {}
    return tokens["default"], {kind: tokens[kind] for kind in KINDS if kind in tokens}


def _table(rows: list[Row]) -> str:
    lines = []
    for part in ("user", "device"):
        lines += [f"### Of the {part}", ""]
        lines += ["| action | number | tokens | the part must be | level afterwards | revokes | meaning |"]
        lines += ["| --- | ---: | --- | --- | --- | --- | --- |"]
        lines += [_line(row) for row in _of(rows, part)]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row) -> str:
    effect, by_kind = _effects(row)
    tokens = ", ".join([effect, *(f"{kind}: {value}" for kind, value in by_kind.items())])
    changes = ", ".join(f"`{field}`" for field in row.get("changes", ()))
    part_is = f"{row['part_is']}; {changes} may change" if changes else row["part_is"]
    cells = (f"`{row['name']}`", row["number"], tokens, part_is, row["level"], row["revokes"], row["meaning"])
    return f"| {' | '.join(map(str, cells))} |"


def _placed(page: str, table: str) -> str:
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.split(END, 1)[1]}"


def _formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(REPOSITORY / "passport" / "x.py"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
