"""A run for people and for machines. Pure: figures in, lines or JSON out."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from loadtest.locust.check import Check
from loadtest.locust.device_table import DeviceTable
from loadtest.locust.edge_counters import RESOLUTIONS, EdgeCounters
from loadtest.locust.expectations import Sign
from loadtest.locust.figures import Figures
from loadtest.locust.rollout_checks import found, seeded, shares
from loadtest.locust.tally import Tally

_COLUMNS = ("requests", "per s", "p50 ms", "p95 ms", "p99 ms", "max ms")


def progress_line(users: int, rps: float, since_s: float | None, window: EdgeCounters | None, tally: Tally) -> str:
    """Return one line on how a run goes; `since_s` is None while it warms up."""
    devices = f"{users} devices"
    if tally.events["signed_in"] < users:
        devices = f"{tally.events['signed_in']} of {devices} signed in"
    when = "warming up " if since_s is None else f"{since_s:4.0f} s     "
    percent = None if window is None else window.local_percent
    local = "" if percent is None else f", {percent:.1f} % local"
    return f"{when}{devices}, {rps:.0f} requests/s{local}, {tally.unexpected.total()} unexpected answers"


def result_lines(figures: Figures, checks: Sequence[Check]) -> Iterator[str]:
    """Yield what is shown at the end: speeds by type of device, what else was counted, the checks."""
    yield ""
    yield f"{figures.scenario}: {figures.users} devices, measured for {figures.window_s:.0f} s"
    yield f"{'':16}" + "".join(f"{column:>10}" for column in _COLUMNS)
    for name, speed in figures.speeds.items():
        whole = (speed.p50_ms, speed.p95_ms, speed.p99_ms, speed.max_ms)
        yield f"{name:16}{speed.requests:>10}{speed.rps:>10.1f}" + "".join(f"{value:>10.0f}" for value in whole)
    yield ""
    tally = figures.tally
    if busy := tally.events[Sign.BUSY.value]:
        yield f"{busy} sign-ins were told to wait, and asked again"
    if figures.window is not None:
        calls = figures.window.by("edge_remote_calls_total", "outcome", service="cookie")
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(calls.items()))
        yield f"the edge called the cookie service: {said or 'never'}"
    if figures.turns:
        yield from rollout_lines(figures)
    for one in checks:
        yield f"{'met' if one.met else 'NOT MET':8}{one.name}: {one.says}"
    failed = [one.name for one in checks if not one.met]
    yield f"Failed: {', '.join(failed)}" if failed else "Every check was met."


def rollout_lines(figures: Figures) -> Iterator[str]:
    """Yield how many devices were in legacy mode at each position of a dial, and which wrong identities were found."""
    for device_type, by_percent in shares(figures.tally).items():
        for percent, (legacy, all_) in by_percent.items():
            yield f"{device_type:16}{percent:>4} %: {legacy} of {all_} in legacy mode, {100 * legacy / all_:.1f} %"
    wanted, got = seeded(figures.tally), {} if figures.settled is None else found(figures.settled)
    for name in sorted(wanted.keys() | got.keys()):
        device_type, _, difference = name.partition(" ")
        yield f"{device_type:16}{difference}: {wanted.get(name, 0)} seeded, {got.get(name, 0)} found"


def html_section(document: Mapping[str, Any]) -> str:
    """Return checks, and what became of dials, of the kept figures, for the end of Locust's page."""
    rows = [("met" if one["met"] else "NOT MET", one["name"], one["says"]) for one in document["checks"]]
    parts = [_table("Checks", rows)]
    if rollout := document.get("rollout"):
        turns = [(f"{one['at_s']:.0f} s", one["said"]) for one in rollout["turns"]]
        modes = [
            (device_type, f"{percent} %", f"{legacy} of {all_} devices in legacy mode")
            for device_type, by_percent in rollout["devices_in_legacy"].items()
            for percent, (legacy, all_) in by_percent.items()
        ]
        names = sorted({*rollout["seeded"], *rollout["found"]})
        wrong = [
            (one, f"{rollout['seeded'].get(one, 0)} seeded", f"{rollout['found'].get(one, 0)} found") for one in names
        ]
        parts += [_table("Dials", turns), _table("Positions", modes), _table("Wrong identities", wrong)]
    return f'<section style="font-family: sans-serif; margin: 2em">{"".join(parts)}</section>\n'


def _table(title: str, rows: Iterable[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<h2>{title}</h2><table cellpadding="4">{lines}</table>'


def as_json(figures: Figures, checks: Sequence[Check], *, seed: int, table: DeviceTable) -> dict[str, object]:
    """Return the figures to keep."""
    window, tally = figures.window, figures.tally
    return {
        "scenario": figures.scenario,
        "users": figures.users,
        "seed": seed,
        "window_s": round(figures.window_s, 1),
        "cookie_life_s": table.life_s,
        "cores": os.cpu_count(),
        "local_percent": None if window is None else window.local_percent,
        "resolutions": {} if window is None else window.by(RESOLUTIONS, "where", "source", "result"),
        "cookie_calls": {} if window is None else window.by("edge_remote_calls_total", "outcome", service="cookie"),
        "reauth_errors": {} if figures.run is None else figures.run.by("edge_user_reauth_errors_total", "cause"),
        "devices": {name: asdict(speed) for name, speed in figures.speeds.items()},
        "answers": dict(sorted(tally.answers.items())),
        "unexpected": dict(tally.unexpected.most_common()),
        "events": dict(tally.events),
        "checks": [asdict(one) for one in checks],
        **({"rollout": _rollout(figures)} if figures.turns else {}),
    }


def _rollout(figures: Figures) -> dict[str, object]:
    return {
        "turns": [asdict(one) for one in figures.turns],
        "devices_in_legacy": shares(figures.tally),
        "answers": dict(sorted(figures.tally.modes.items())),
        "seeded": seeded(figures.tally),
        "found": {} if figures.settled is None else found(figures.settled),
    }
