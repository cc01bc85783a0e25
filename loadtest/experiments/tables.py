"""The tables: for a terminal, and in Markdown for docs/performance.md."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from loadtest.experiments.result import Check, Result, Table

END = "<!-- end -->"


def markdown(table: Table) -> str:
    """Return a table in Markdown: the first column to the left, figures to the right."""
    lines = [table.headings, ["---", *("---:" for _ in table.headings[1:])], *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(result: Result, console: Console) -> None:
    """Print the tables of an experiment, its notes and its checks."""
    for table in result.tables:
        shown = RichTable(title=table.title, title_justify="left")
        for number, heading in enumerate(table.headings):
            shown.add_column(heading, justify="left" if number == 0 else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for note in result.notes:
        console.print(f"• {note}", highlight=False, soft_wrap=True, markup=False)
    for check in result.checks:
        console.print(sentence(check), style="green" if check.good else "red", highlight=False, soft_wrap=True)


def sentence(check: Check) -> str:
    """Return a check as a line."""
    return f"{'✓' if check.good else '✗'} {check.what}: {check.found}"


def blocks(results: Iterable[Result]) -> dict[str, str]:
    """Return what stands at each place of the page: tables by their names; notes and checks under NAME-notes."""
    found = {}
    for result in results:
        found.update({table.name: markdown(table) for table in result.tables})
        said = [*(f"- {note}" for note in result.notes), *(f"- {sentence(check)}" for check in result.checks)]
        found[f"{result.name}-notes"] = "\n".join(said)
    return found


def place(page: Path, texts: dict[str, str]) -> list[str]:
    """Put each text between the lines `<!-- NAME -->` and `<!-- end -->` of a page; return those without a place."""
    text, homeless = page.read_text(), []
    for name, block in texts.items():
        mark = f"<!-- {name} -->\n"
        begin = text.find(mark)
        end = text.find(END, begin)
        if begin < 0 or end < 0:
            homeless.append(name)
            continue
        text = f"{text[: begin + len(mark)]}{block}\n{text[end:]}"
    page.write_text(text)
    return homeless
