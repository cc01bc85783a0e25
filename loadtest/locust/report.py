"""A run for people and for machines. Pure: figures in, lines or JSON out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from loadtest.locust.checks import Check
from loadtest.locust.device_table import DeviceTable
from loadtest.locust.edge_counters import RESOLUTIONS, EdgeCounters
from loadtest.locust.expectations import Sign
from loadtest.locust.figures import Figures
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
    for one in checks:
        yield f"{'met' if one.met else 'NOT MET':8}{one.name}: {one.says}"
    failed = [one.name for one in checks if not one.met]
    yield f"Failed: {', '.join(failed)}" if failed else "Every check was met."


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
    }
