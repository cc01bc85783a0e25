"""An edge that counts nothing: a copy of the sources out of which the counting was cut, for comparison only.

The product has no switch for its metrics: a switch would cost what it saves. What is cut are the counts and histograms
of a finished exchange and the watch on filters; the clock readings that the access log shows, too, stay.
"""

import ast
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.bench.failure import BenchError
from loadtest.compiled import ROOT, digest

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "var", "dist", "build", "tests", "docs", "node_modules", "__pycache__", "*.egg-info"
)


@dataclass(slots=True, frozen=True)
class Cut:
    """A function, `Class.name` or `name`, of a file: statements go whose text has one of `drop` in it, or all."""

    file: str
    function: str
    drop: tuple[str, ...] = ()
    guarded: tuple[tuple[str, str], ...] = ()
    """What statements have in them that stay under a condition, and the condition."""

    def stays(self, text: str) -> bool:
        """Return whether a statement stays."""
        return bool(self.drop) and not any(part in text for part in self.drop)


CUTS: Final = (
    Cut("edge/telemetry/metrics.py", "count"),
    Cut(
        "edge/telemetry/telemetry.py",
        "Telemetry.finished",
        drop=("_finished.count(",),
        guarded=(("_finished.alike(", "self._log is not None"),),  # the log's lines need it, too
    ),
    Cut("edge/relay/chain.py", "Chain.run", drop=("_until_timed",)),
)


def cut(source: str, what: Cut) -> str:
    """Return the source without the statements that do not stay; raise `BenchError` when there are none to cut."""
    function = _find(ast.parse(source), what)
    lines = source.splitlines(keepends=True)
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    going = [one for one in body if not what.stays(_text(lines, one))]
    conditional = [
        (one, condition) for one in body for part, condition in what.guarded if part in lines[one.lineno - 1]
    ]
    for one, condition in conditional:
        lines[one.lineno - 1] = f"{' ' * one.col_offset}if {condition}: {lines[one.lineno - 1].lstrip()}"
    if not going or len(conditional) != len(what.guarded):
        raise BenchError(f"{what.function} of {what.file} is not as it was: loadtest/experiments/unmetered.py")
    for one in going:
        for number in range(one.lineno - 1, one.end_lineno or one.lineno):
            lines[number] = ""
    if len(going) == len(body):
        lines[body[0].lineno - 1] = f"{' ' * body[0].col_offset}return\n"
    return "".join(lines)


def unmetered_tree(directory: Path, say: Callable[[str], None]) -> Path:
    """Return a copy of the repository's sources under `directory`, with the cuts made. Made once for each state."""
    cuts = hashlib.sha256(repr(CUTS).encode()).hexdigest()[:8]
    home = directory.resolve() / f"{digest()}-{cuts}"
    if home.exists():
        return home
    say("Copying the sources, to take the counting out of them")
    shutil.rmtree(directory, ignore_errors=True)
    scratch = home.with_suffix(".new")
    shutil.copytree(ROOT, scratch, ignore=_LEFT_OUT)
    for one in CUTS:
        file = scratch / one.file
        file.write_text(cut(file.read_text(), one))
    scratch.rename(home)
    return home


def _find(tree: ast.Module, what: Cut) -> ast.FunctionDef:
    nodes: list[ast.stmt] = tree.body
    *classes, name = what.function.split(".")
    for each in classes:
        nodes = next((one.body for one in nodes if isinstance(one, ast.ClassDef) and one.name == each), [])
    for one in nodes:
        if isinstance(one, ast.FunctionDef) and one.name == name:
            return one
    raise BenchError(f"There is no {what.function} in {what.file}: loadtest/experiments/unmetered.py")


def _text(lines: list[str], one: ast.stmt) -> str:
    return "".join(lines[one.lineno - 1 : one.end_lineno])
