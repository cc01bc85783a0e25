"""The report for a reader at a terminal."""

from rich.console import Console
from rich.table import Table

from loadtest.bench.report import Report
from loadtest.bench.verdicts import verdicts


def show(found: Report, console: Console) -> None:
    """Print the table, the ratios, the filters and the verdicts."""
    console.print(_rows_table(found))
    if found.ratios:
        console.print(_ratios_table(found))
    if found.filters_us:
        costs = ", ".join(f"{name} {cost:.2f}" for name, cost in found.filters_us.items())
        console.print(
            f"µs per filter: {costs}; together {sum(found.filters_us.values()):.2f}", highlight=False, soft_wrap=True
        )
    for sentence in verdicts(found):
        console.print(f"• {sentence}", highlight=False, soft_wrap=True)


def _rows_table(found: Report) -> Table:
    table = Table(title="One worker on one core, medians over the rounds", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("req/s", "p50 ms", "p99 ms", "MiB", "CPU µs"):
        table.add_column(heading, justify="right")
    for one in found.rows.values():
        table.add_row(
            one.name, f"{one.rps:,.0f}", f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}", f"{one.rss_mib:.0f}", f"{one.cpu_us:.1f}",
        )  # fmt: skip
    return table


def _ratios_table(found: Report) -> Table:
    table = Table(title="Requests/s, the edge against its peers", title_justify="left")
    table.add_column("ratio")
    table.add_column("of medians", justify="right")
    table.add_column("over the rounds", justify="right")
    for name, ratio in found.ratios.items():
        low, high = found.ratio_ranges[name]
        table.add_row(name, f"{ratio:.2f}", f"{low:.2f} to {high:.2f}")
    return table
