"""Make the table of docs/metrics.md and Grafana's dashboards, or check both.

python config/generate.py           # write them
python config/generate.py --check   # exit 1 and name the files that are out of date
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "grafana"))

from dashboards import dashboards

from edge.telemetry.catalogue import METRICS

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics -->", "<!-- end -->"


def made() -> dict[Path, str]:
    """Return what belongs into which file of the repository."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    return {PAGE: f"{before}{BEGIN}\n{_table()}\n{END}{rest.partition(END)[2]}", **dashboards()}


def _table() -> str:
    rows = ["| metric | type | labels | of several workers | |", "| --- | --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.merge} | {metric.help} |")
    return "\n".join(rows)


def main() -> None:
    """Write what is made, or compare it with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    checking = parser.parse_args().check
    stale = [file for file, text in made().items() if not file.exists() or file.read_text() != text]
    if checking and stale:
        names = ", ".join(str(file.relative_to(REPOSITORY)) for file in stale)
        sys.exit(f"Out of date; run `make monitoring` and commit: {names}")
    for file in stale:
        file.write_text(made()[file])


if __name__ == "__main__":
    main()
