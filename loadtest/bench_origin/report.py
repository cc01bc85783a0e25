"""What a run found: a row for each middleware, the origin that opens cookies itself, and their JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from loadtest.bench_origin.settings import Reads

Spent = Mapping[Reads, Sequence[float]]
"""µs of processor time per request, round by round."""


@dataclass(slots=True, frozen=True)
class Row:
    """Two variants of one app: medians over the rounds in µs per request, and the range of single rounds' ratios."""

    id: str
    title: str
    without_us: float
    with_us: float
    added_us: float
    ratio: float
    ratio_low: float
    ratio_high: float


def row(subject: str, title: str, without: Sequence[float], beside: Sequence[float]) -> Row:
    """Compare the rounds of an app `without` with those of the app `beside` it."""
    ratios = [two / one for one, two in zip(without, beside, strict=True)]
    return Row(
        id=subject,
        title=title,
        without_us=round(median(without), 1),
        with_us=round(median(beside), 1),
        added_us=round(median(beside) - median(without), 1),
        ratio=round(median(beside) / median(without), 3),
        ratio_low=round(min(ratios), 3),
        ratio_high=round(max(ratios), 3),
    )


@dataclass(slots=True, frozen=True)
class Report:
    """Everything a run found. `cookies`: the origin that opens cookies, and the same one reading Passports."""

    rows: list[Row]
    cookies: Row | None
    left_out: Mapping[str, str]


def report(titles: Mapping[str, str], found: Mapping[str, Spent], left_out: Mapping[str, str]) -> Report:
    """Make the rows; `titles` and `found` by subject id, `left_out` with why."""
    rows = [row(name, titles[name], spent[Reads.NOTHING], spent[Reads.PASSPORT]) for name, spent in found.items()]
    opening = next((spent for spent in found.values() if Reads.COOKIES in spent), None)
    cookies = None
    if opening is not None:
        cookies = row("origin", "the stub origin", opening[Reads.COOKIES], opening[Reads.PASSPORT])
    return Report(rows, cookies, left_out)


def verdict(cookies: Row) -> str:
    """Say what the origin saves, or does not."""
    share = abs(1 - cookies.ratio) * 100
    less = "less" if cookies.ratio < 1 else "more"
    return (
        f"Reading a Passport, the origin takes {cookies.with_us:.0f} µs of processor time per request; opening the "
        f"cookie pair itself, {cookies.without_us:.0f} µs: {share:.0f} % {less} "
        f"(ratio {cookies.ratio:.2f}, {cookies.ratio_low:.2f} to {cookies.ratio_high:.2f} over the rounds)."
    )


def show(found: Report, console: Console) -> None:
    """Print the table and what it says."""
    table = Table(title="Processor time per request, medians over the rounds", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("without µs", "with µs", "added µs", "ratio", "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.rows:
        table.add_row(
            one.title, f"{one.without_us:.1f}", f"{one.with_us:.1f}", f"{one.added_us:.1f}",
            f"{one.ratio:.2f}", f"{one.ratio_low:.2f} to {one.ratio_high:.2f}",
        )  # fmt: skip
    console.print(table)
    for name, why in found.left_out.items():
        console.print(f"• {name} was left out: {why}", highlight=False, soft_wrap=True)
    if found.cookies is not None:
        console.print(f"• {verdict(found.cookies)}", highlight=False, soft_wrap=True)


def as_json(found: Report, context: Mapping[str, object]) -> str:
    """Return the report as JSON, with `context` (machine, versions, settings) beside it."""
    body = {
        "rows": [asdict(one) for one in found.rows],
        "passport_instead_of_cookies": None if found.cookies is None else asdict(found.cookies),
        "left_out": dict(found.left_out),
        **context,
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
