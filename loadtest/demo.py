"""`python -m loadtest.demo`: drive the login story through an edge and show each step.

Without `--edge` it starts a whole stack of its own, on free ports and with its state in a directory of its own, and
ends it afterwards. Exits with 1 if anything did not come out as told.
"""

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.demo_checks import Check
from loadtest.demo_device import Device, Json, Received, Sent, shorten, shorten_cookies
from loadtest.demo_stack import StackFailedError, own_stack
from loadtest.demo_story import Stack, Step, Story

_COOKIE_HEADERS = {"cookie", "set-cookie"}
_QUIET_HEADERS = {"date", "server", "accept", "content-type", "content-length", "x-request-id", "traceparent"}
_SECRET_KEYS = {"password", "poll_token"}


class Narrator:
    """Shows each step on a terminal: what was sent, what the origin saw, what came back, what held."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._number = 0

    def __call__(self, step: Step) -> None:
        """Show one step."""
        self._number += 1
        self._console.rule(f"[bold]{self._number}. {escape(step.title)}", align="left")
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("the device sent", escape("\n".join(_sent_lines(step.sent))))
        table.add_row("the origin saw", escape("\n".join(_seen_lines(step.origin_saw))))
        table.add_row("came back", escape("\n".join(_received_lines(step.received))))
        table.add_row("so", "\n".join(_check_line(check) for check in step.checks))
        self._console.print(table)
        self._console.print()


def main() -> int:
    """Play the story; return the exit code."""
    parser = argparse.ArgumentParser(prog="edge demo", description="Drive the login story through an edge.")
    parser.add_argument("--edge", default=None, metavar="URL", help="an edge that runs already; else one is started")
    parser.add_argument("--admin", default=None, metavar="URL", help="its admin listener, to count remote calls with")
    parser.add_argument("--config", type=Path, default=Path("config"), metavar="DIR", help="for the stack of its own")
    options = parser.parse_args()
    console = Console(highlight=False)
    try:
        if options.edge:
            return _play(console, options.edge, options.admin, None)
        console.print("Starting keys, services, origins and the edge on free ports …")
        with own_stack(options.config) as running:
            stack = Stack(running.pause_auth, running.resume_auth)
            return _play(console, running.edge_url, running.admin_url, stack)
    except (StackFailedError, OSError) as problem:
        console.print(f"[red]The demo could not run:[/] {escape(str(problem))}")
        return 1


def _play(console: Console, edge_url: str, admin_url: str | None, stack: Stack | None) -> int:
    metrics = Device(urlsplit(admin_url)) if admin_url else None
    story = Story(Device(urlsplit(edge_url)), Narrator(console), metrics, stack)
    story.play()
    if story.failed:
        console.print(f"[bold red]{len(story.failed)} expectations did not hold.[/]")
        return 1
    console.print("[bold green]Every step came out as told.[/]")
    return 0


def _sent_lines(sent: Sent) -> list[str]:
    lines = [f"{sent.method} {sent.target}", *_header_lines(sent.headers)]
    if isinstance(sent.body, dict):
        shown = {key: "…" if key in _SECRET_KEYS else value for key, value in sent.body.items()}
        lines.append(f"{shown}")
    return lines


def _seen_lines(seen: Json | None) -> list[str]:
    if seen is None:
        return ["nothing: the edge answered itself"]
    lines = [f"X-Passport {'verified' if seen.at('passport.verified') else 'NOT VERIFIED'}"]
    for part in ("user", "device"):
        facts = seen.at(f"passport.{part}")
        if isinstance(facts, dict):
            shown = ", ".join(f"{name} {_fact(name, value)}" for name, value in facts.items() if value)
            lines.append(f"  {part}: {shown}")
    cookies = [value for name, value in seen.pairs("headers") if name.lower() == "cookie"]
    lines.append(f"Cookie: {shorten_cookies(cookies[0])}" if cookies else "no cookie")
    return lines


def _fact(name: str, value: object) -> str:
    return shorten(f"{value}") if name == "session_id" else f"{value}"


def _received_lines(received: Received) -> list[str]:
    lines = [f"{received.status}", *_header_lines(received.headers)]
    if received.reason:
        lines.append(f"reason {received.reason}")
    return lines


def _header_lines(headers: list[tuple[str, str]]) -> list[str]:
    shown = [(name, value) for name, value in headers if name.lower() not in _QUIET_HEADERS]
    return [f"{name}: {shorten_cookies(value) if name.lower() in _COOKIE_HEADERS else value}" for name, value in shown]


def _check_line(check: Check) -> str:
    return f"[green]✓[/] {escape(check.says)}" if check.holds else f"[bold red]✗ {escape(check.says)}[/]"


if __name__ == "__main__":
    sys.exit(main())
