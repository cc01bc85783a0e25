"""The command `edge`."""

import os
import resource
import signal
import sys
from functools import partial
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from edge.cli_options import CONFIG, EXIT_BAD_CONFIG, VAR, ConfigOption, SetOption, VarOption, load_snapshot
from edge.control.errors import ConfigErrors, render_errors
from edge.control.json_schema import write_json_schemas
from edge.control.load import load_config
from edge.dial_cli import dial_app
from edge.keys_cli import keys_app
from edge.net.tls import GROUPS_FILE
from edge.passport_cli import passport_app
from edge.supervisor.config import Result
from edge.supervisor.control_socket import ask
from edge.supervisor.process import WorkerCommand
from edge.supervisor.supervisor import Plan, Supervisor
from edge.supervisor.systemd import notifier, telling_that_it_lives, watchdog_s
from edge.telemetry.events import configure_events, keep_standard_streams
from edge.up.agreement import disagreements
from edge.up.dev_certs import how_to_use, make_dev_certs
from edge.up.node import OLDEST_VERSION, NoNode, find_node
from edge.up.run import Up, write_ready
from edge.up.screen import Screen
from edge.up.secrets import make_secrets
from edge.up.service_files import service_file_errors
from edge.up.stack import Settings, stack

EXIT_NO_EDGE = 3

app = typer.Typer(
    help="Edge Passport: ends external tokens at the edge and hands origins a signed identity.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(passport_app, name="passport")
app.add_typer(keys_app, name="keys")
app.add_typer(dial_app, name="dial")

ReadyOption = Annotated[
    int | None, typer.Option("--ready-fd", metavar="FD", help="Write the addresses here once everything serves.")
]


@app.command()
def up(
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Take free ports instead of the configured.")] = False,
    wrong_identities: Annotated[
        str, typer.Option("--wrong-identities", metavar="SHARE[:SEED]", help="For shadow to find (docs/rollout.md).")
    ] = "",
    ready_fd: ReadyOption = None,
) -> None:
    """Start the edge and everything behind it on this machine."""
    snapshot = load_snapshot(config, var, overrides)
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)  # a child that held it would keep it open
    screen = Screen()
    problems = disagreements(config, snapshot)
    for problem in problems:
        screen.line("", str(problem))
    if problems:
        raise typer.Exit(EXIT_BAD_CONFIG)
    os.umask(0o077)  # also for the children: stores and logs are for their owner only
    try:
        made = make_secrets(var / "secrets")
    except OSError as error:
        screen.line("", f"secrets cannot be made in {var / 'secrets'}: {error.strerror}; name a directory with --var")
        raise typer.Exit(EXIT_BAD_CONFIG) from None
    if made:
        screen.line("", f"first run: made {len(made)} secrets in {var / 'secrets'}")
    settings = Settings(
        config.absolute(), var.absolute(), tuple(overrides or ()), snapshot, ephemeral, wrong_identities
    )

    def ready(started: Up) -> None:
        screen.ready(started)
        if ready_fd is not None:
            write_ready(started, ready_fd)

    node = find_node() if "ui" in snapshot.origins else None
    if isinstance(node, NoNode):
        screen.line("", f"the pages of ui are not served: they need Node {OLDEST_VERSION} or newer, and {node.why}")
    parts = stack(settings, None if isinstance(node, NoNode) else node)
    raise typer.Exit(uvloop.run(Up(settings, parts, screen.line, ready).run()))


@app.command()
def run(
    config: ConfigOption = CONFIG, var: VarOption = VAR, overrides: SetOption = None, ready_fd: ReadyOption = None
) -> None:
    """Start the edge alone: its workers and the admin listener. It needs a KMS."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # tokens live in this process, and keys in its workers
    snapshot = load_snapshot(config, var, overrides, token_files=True)
    configure_events()
    where = ("--config", str(config.absolute()), "--var", str(var.absolute()))
    sets = tuple(word for text in overrides or () for word in ("--set", text))
    os.environ.setdefault("OPENSSL_CONF", str(GROUPS_FILE))  # for the workers: it is read when OpenSSL is loaded
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the supervisor takes it for a reload
    load = partial(load_config, config.absolute(), tuple(overrides or ()), var=var.absolute(), token_files=True)
    plan = Plan(snapshot, load, WorkerCommand("edge.worker", (*where, *sets)), ready_fd)
    raise typer.Exit(uvloop.run(_supervise(plan)))


async def _supervise(plan: Plan) -> int:
    notify = notifier(os.environ)
    async with telling_that_it_lives(notify, watchdog_s(os.environ, os.getpid())):
        return await Supervisor(plan, notify=notify).run()


@app.command()
def reload(var: VarOption = VAR) -> None:
    """Let the running edge serve the configuration as it is now, without losing a connection."""
    _command("reload", var)


@app.command()
def restart(var: VarOption = VAR) -> None:
    """Replace the worker processes of the running edge, one after the other, without losing a request."""
    _command("restart", var)


@app.command("check-config")
def check_config(config: ConfigOption = CONFIG, var: VarOption = VAR, overrides: SetOption = None) -> None:
    """Check the configuration and say every error with its place; of the services' files, those that are there."""
    loaded = load_config(config, overrides or (), var=var)
    errors = list(loaded.errors) if isinstance(loaded, ConfigErrors) else disagreements(config, loaded)
    errors += service_file_errors(config)
    if isinstance(loaded, ConfigErrors) or errors:
        typer.echo(render_errors(errors), err=True)
        raise typer.Exit(EXIT_BAD_CONFIG)
    # Token files are of the machine that runs the edge, which need not be this one.
    with_files = load_config(config, overrides or (), var=var, token_files=True)
    for warning in with_files.errors if isinstance(with_files, ConfigErrors) else ():
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{config} is valid: {len(loaded.routes.all)} routes to {len(loaded.origins)} origins.")


@app.command()
def schema(out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write them.")]) -> None:
    """Write the JSON schemas of the configuration files, for editors."""
    for path in write_json_schemas(out):
        typer.echo(str(path))


@app.command("dev-certs")
def dev_certs(
    var: VarOption = VAR,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="HOST", help="A name beside loopback's; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long they are good.")] = 365,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace those that are there.")] = False,
) -> None:
    """Make a CA and certificates for development under VAR/certs."""
    directory = var / "certs"
    try:
        paths = make_dev_certs(directory, names or (), days=days, force=force)
    except FileExistsError as there:
        typer.echo(f"{there} is there already: nothing was written; --force makes all of them anew", err=True)
        raise typer.Exit(1) from None
    for path in paths:
        typer.echo(str(path))
    typer.echo(how_to_use(directory))


@app.command()
def version() -> None:
    """Print the version, and whether the hot modules are compiled."""
    relay = find_spec("edge.relay.relay")  # not imported: no command relays anything
    compiled = relay is not None and not str(relay.origin).endswith(".py")
    typer.echo(f"{distribution_version('edge-passport')}, {'compiled' if compiled else 'interpreted'}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def demo(context: typer.Context) -> None:
    """Drive the login story, through a stack of its own or a running one, and show each step."""
    os.execv(sys.executable, [sys.executable, "-m", "loadtest.demo", *context.args])  # noqa: S606 - in its place


def main() -> None:
    """Run the command line."""
    keep_standard_streams()
    app()


def _command(command: str, var: Path) -> None:
    """Send a command to the running edge, say what came of it, and exit with its result."""
    outcome = ask(var, command)
    if outcome is None:
        typer.echo(f"no edge runs with {var}: name its directory of state with --var", err=True)
        raise typer.Exit(EXIT_NO_EDGE)
    typer.echo(outcome.text, err=outcome.result is not Result.APPLIED)
    raise typer.Exit(outcome.result)


if __name__ == "__main__":
    main()
