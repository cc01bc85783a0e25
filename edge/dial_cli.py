"""`edge dial`: for which share of the devices a feature is on, by way of the running edge (docs/dials.md).

Exit codes: 0 done; 1 refused, because another change came first or it cannot be kept; 2 the command is wrong; 3 no edge
runs with that directory of state.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge.cli_options import VAR, VarOption
from edge.control.dial_answer import agreement_text
from edge.supervisor.config import Outcome, Result
from edge.supervisor.control_socket import ask

EXIT_NO_EDGE: Final = 3
_SHOWN: Final = 20
_HEAD: Final = ("feature", "origin", "device type", "percent", "since", "who", "how", "why")
_HISTORY_HEAD: Final = ("revision", "when", "who", "how", "feature", "origin", "device type", "from", "to", "why")

dial_app = typer.Typer(help="Move the dials, list them, and who moved them.", no_args_is_help=True)

FeatureArgument = Annotated[str, typer.Argument(metavar="FEATURE", help="terminate-cookie or shadow-cookie.")]
DeviceTypeOption = Annotated[
    str | None, typer.Option("--device-type", metavar="NAME", help="For this type only; `unknown` is one, too.")
]
OriginOption = Annotated[str | None, typer.Option("--origin", metavar="ID", help="For this origin only.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: kept with the change.")]
RevisionOption = Annotated[
    int | None, typer.Option("--revision", metavar="N", help="Only if no dial was changed since this revision.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dial_app.command("set")
def set_dial(
    feature: FeatureArgument,
    percent: Annotated[str, typer.Argument(metavar="PERCENT", help="0 to 100, at most two decimals.")],
    var: VarOption = VAR,
    *,
    reason: ReasonOption,
    device_type: DeviceTypeOption = None,
    origin: OriginOption = None,
    revision: RevisionOption = None,
) -> None:
    """Move a dial. All workers decide by it within a second, and nothing is restarted."""
    _change(var, feature, percent, reason, {"device_type": device_type, "origin": origin, "revision": revision})


@dial_app.command()
def unset(
    feature: FeatureArgument,
    var: VarOption = VAR,
    *,
    reason: ReasonOption,
    device_type: DeviceTypeOption = None,
    origin: OriginOption = None,
    revision: RevisionOption = None,
) -> None:
    """Remove a dial, so that the next less specific one counts."""
    _change(var, feature, None, reason, {"device_type": device_type, "origin": origin, "revision": revision})


@dial_app.command("list")
def list_dials(var: VarOption = VAR, *, as_json: JsonOption = False) -> None:
    """List all dials, who moved each last and why, and how many workers decide by them."""
    found = _asked(var, {"do": "dial-list"})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            row["feature"],
            row["origin"] or "*",
            row["device_type"] or "*",
            f"{row['percent']}",
            row["at"] or "as shipped",
            row["who"] or "",
            row["how"] or "",
            row["why"] or "",
        )
        for row in found["dials"]
    ]
    hints = [f"hint: {hint}" for hint in found["hints"]]
    lines = [agreement_text(found["workers"]), "", *_table(_HEAD, rows), *([""] if hints else []), *hints]
    typer.echo("\n".join(lines))


@dial_app.command()
def history(
    feature: Annotated[str | None, typer.Argument(metavar="FEATURE", help="Of this feature only.")] = None,
    var: VarOption = VAR,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the newest first.")] = _SHOWN,
    as_json: JsonOption = False,
) -> None:
    """Say who moved which dial, when, from where to where, and why; VAR/dials.jsonl has all of it."""
    found = _asked(var, {"do": "dial-history", "feature": feature, "limit": limit})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            str(row["revision"]),
            row["at"],
            row["who"],
            row["how"],
            row["feature"],
            row["origin"] or "*",
            row["device_type"] or "*",
            "" if row["from"] is None else str(row["from"]),
            f"salt {row['salt']}" if "salt" in row else "unset" if row["to"] is None else str(row["to"]),
            row["why"],
        )
        for row in found["changes"]
    ]
    typer.echo("\n".join(_table(_HISTORY_HEAD, rows)) if rows else "no dial was ever moved")


def _change(var: Path, feature: str, percent: str | None, why: str, more: Mapping[str, object]) -> None:
    outcome = _outcome(var, {"do": "dial-set", "feature": feature, "percent": percent, "why": why, **more})
    typer.echo(outcome.text, err=outcome.result is not Result.APPLIED)
    raise typer.Exit(outcome.result)


def _asked(var: Path, command: Mapping[str, object]) -> Mapping[str, Any]:
    outcome = _outcome(var, command)
    if outcome.result is not Result.APPLIED or outcome.data is None:
        typer.echo(outcome.text, err=True)
        raise typer.Exit(outcome.result or Result.INVALID)
    return outcome.data


def _outcome(var: Path, command: Mapping[str, object]) -> Outcome:
    outcome = ask(var, json.dumps(command))
    if outcome is None:
        typer.echo(f"no edge runs with {var}: name its directory of state with --var", err=True)
        raise typer.Exit(EXIT_NO_EDGE)
    return outcome


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines; what is not printable is escaped."""
    shown = [head, *(tuple(map(_printable, row)) for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
