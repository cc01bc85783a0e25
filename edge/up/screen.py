"""What `edge up` prints: lines with their process's name, a table of what runs where, three things to try."""

import shlex
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.control.values import Address
from edge.up.run import Up

_COLOURS: Final = {  # ANSI
    "kms": 35,
    "subscriber": 34,
    "cookie": 33,
    "auth": 36,
    "api": 32,
    "ui": 96,
    "edge": 37,
    "": 31,
}
DEMO_USER = '{"email": "demo@example.com", "password": "correct horse battery staple"}'


class Screen:
    """One terminal for all processes."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        coloured = self._console.is_terminal
        self._prefixes = {
            name: f"\x1b[{colour}m{label(name)}\x1b[0m" if coloured else label(name)
            for name, colour in _COLOURS.items()
        }

    def line(self, name: str, line: str) -> None:
        """Print one line of a child, or, without a name, of `edge up` itself.

        A child's text never acts on the terminal: escape sequences are printed as they are written.
        """
        text = line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
        # Not through rich: an access log line for each request passes here.
        self._console.file.write(f"{self._prefixes.get(name, label(name))} {text}\n")
        self._console.file.flush()

    def ready(self, up: Up) -> None:
        """Print the table and the curl lines."""
        table = Table(title="Edge Passport is up", title_justify="left")
        for column in ("process", "address", "what", "pid"):
            table.add_column(column, overflow="fold")
        for running in up.parts:
            part, child = running.part, running.child
            pid = "" if child is None else str(child.pid)
            scheme = "https" if part.name == "edge" and up.tls else "http"
            table.add_row(part.name, f"{scheme}://{up.addresses[part.name]}", part.what, pid)
            if part.name == "edge":
                table.add_row("admin", f"http://{up.addresses['admin']}", "/metrics and /health", pid)
        self._console.print(table)
        self._console.print("Try, in another terminal:")
        for command in curl_lines(up.addresses["edge"], up.tls, up.dev_ca):
            self._console.print(f"  {escape(command)}")
        self._console.print("Ctrl-C stops all of it.")


def label(name: str) -> str:
    """Return the name as the first column of a line."""
    return f"{name or 'edge up':<10} |"


def curl_lines(edge: Address, tls: bool, dev_ca: Path) -> list[str]:
    """Return three commands: what an origin sees of nobody, signing in, and browsing signed in."""
    base, jar = f"{'https' if tls else 'http'}://{edge}", "/tmp/edge-passport.jar"  # noqa: S108 - for a demo cookie
    curl = f"curl -s --cacert {shlex.quote(str(dev_ca))}" if tls and dev_ca.exists() else "curl -s"
    return [
        f"{curl} {base}/echo",
        f"{curl} -c {jar} -H 'Content-Type: application/json' -d '{DEMO_USER}' {base}/login",
        f"{curl} -b {jar} {base}/browse",
    ]
