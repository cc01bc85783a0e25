"""`edge keys`: what an operator does with the keys of the KMS, over its interface for operators (docs/keys.md).

Exit codes: 0 done; 1 refused, because it would harm someone, or not as it should be; 2 the command or the configuration
is wrong; 3 the KMS cannot be reached.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from edge.cli_options import CONFIG, EXIT_BAD_CONFIG, VAR, ConfigOption, SetOption, VarOption, load_snapshot
from edge.clients.kms_operator import AuditEntry, KmsOperator, Listing, Move
from edge.clients.tls import service_session, service_tls
from edge.control.token_file import read_token
from passport.kms import KmsRefused, KmsUnavailable

EXIT_REFUSED: Final = 1
EXIT_NO_KMS: Final = 3
_CALL_TIMEOUT_S: Final = 30.0
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0
_GRANTED: Final = "granted"

keys_app = typer.Typer(help="List, rotate and destroy keys, and check the audit log.", no_args_is_help=True)

UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The KMS, if not services.kms.url of the configuration.")
]
TokenFileOption = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="Token of an operator: VAR/secrets/operator.token.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Even if that harms those who hold or use the key.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyIdArgument = Annotated[str, typer.Argument(metavar="KEY_ID", help="Eight hex digits, as `edge keys list` shows.")]


@keys_app.command("list")
def list_keys(
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all versions of all key sets, their use, and who holds which revision."""

    async def work(kms: KmsOperator) -> int:
        listing = await kms.listing()
        if as_json:
            typer.echo(listing.model_dump_json(indent=2))
        else:
            typer.echo("\n".join(_listing_lines(listing, time.time())))
        return 0

    _run(work, config, var, overrides, url=url, token_file=token_file)


@keys_app.command()
def rotate(
    key_set: Annotated[str, typer.Argument(metavar="SET", help="The key set, such as `cookie`.")],
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for those who hold the key set.")] = False,
    patience_s: Annotated[float, typer.Option("--wait-s", metavar="SECONDS", help="How long to wait for them.")] = 900,
) -> None:
    """Add a version to a key set, wait until everyone who is alive holds it, and make it the one that protects."""

    async def work(kms: KmsOperator) -> int:
        added = await kms.add(key_set)
        typer.echo(f"added {added.key_id} to {key_set}")
        moved = await _activated(kms, added.key_id, force=force, patience_s=patience_s)
        if moved.reason != _GRANTED:
            _say_refusal(moved)
            typer.echo(f"it stays PRE_ACTIVE; later: edge keys activate {added.key_id}", err=True)
            return EXIT_REFUSED
        typer.echo(f"{added.key_id} is ACTIVE and protects {key_set}; the one before only opens")
        return 0

    _run(work, config, var, overrides, url=url, token_file=token_file)


@keys_app.command()
def activate(
    key_id: KeyIdArgument,
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    force: ForceOption = False,
) -> None:
    """Make a version the one that protects; the one before only opens from then on."""
    _run(_mover(key_id, "ACTIVE", force=force), config, var, overrides, url=url, token_file=token_file)


@keys_app.command()
def deactivate(
    key_id: KeyIdArgument,
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Let the version that protects only open: its set protects nothing until another one is activated."""
    _run(_mover(key_id, "DEACTIVATED", force=False), config, var, overrides, url=url, token_file=token_file)


@keys_app.command()
def destroy(
    key_id: KeyIdArgument,
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    force: ForceOption = False,
) -> None:
    """Destroy a version for good: what it protects is refused from then on."""
    _run(_mover(key_id, "DESTROYED", force=force), config, var, overrides, url=url, token_file=token_file)


@keys_app.command()
def audit(
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many of the newest rows.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check that no row was changed or removed.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID:CODE", help="Check on from this row, which was noted before.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the newest rows of the audit log, or check all of it."""

    async def work(kms: KmsOperator) -> int:
        if verify:
            return await _verified(kms, after)
        for entry in reversed(await kms.audit(limit)):
            typer.echo(entry.model_dump_json() if as_json else _entry_line(entry))
        return 0

    _run(work, config, var, overrides, url=url, token_file=token_file)


def _mover(key_id: str, state: str, *, force: bool) -> Callable[[KmsOperator], Awaitable[int]]:
    async def work(kms: KmsOperator) -> int:
        moved = await kms.move(key_id, state, force=force)
        if moved.reason != _GRANTED:
            _say_refusal(moved)
            return EXIT_REFUSED
        typer.echo(f"{moved.key_id} of {moved.purpose} is {moved.state}")
        return 0

    return work


async def _activated(kms: KmsOperator, key_id: str, *, force: bool, patience_s: float) -> Move:
    """Try until everyone holds the version, or patience is over; say who does not each time that changes."""
    give_up, wait_s, shown = time.monotonic() + patience_s, _FIRST_WAIT_S, None
    while True:
        moved = await kms.move(key_id, "ACTIVE", force=force)
        if moved.reason != "not_distributed" or time.monotonic() + wait_s > give_up:
            return moved
        if moved.lagging != shown:
            shown = moved.lagging
            typer.echo(f"waiting for {_names(shown)}")
        await asyncio.sleep(wait_s)
        wait_s = min(1.5 * wait_s, _LONGEST_WAIT_S)


async def _verified(kms: KmsOperator, after: str | None) -> int:
    rows, broken = 0, False
    while True:
        check = await kms.check_audit(after)
        rows, after, broken = rows + check.rows, check.place, broken or bool(check.problems)
        for problem in check.problems:
            typer.echo(problem, err=True)
        if check.done:
            break
    typer.echo(f"{rows} rows {'were checked' if broken else 'are as they were written'}; the last is {after}")
    return EXIT_REFUSED if broken else 0


def _run(
    work: Callable[[KmsOperator], Awaitable[int]],
    config: Path,
    var: Path,
    overrides: list[str] | None,
    *,
    url: str | None,
    token_file: Path | None,
) -> None:
    """Do `work` with the KMS that the options name, and exit with what comes of it."""
    here = [] if url is None else [f"services.kms.url={url}"]
    kms = load_snapshot(config, var, [*(overrides or ()), *here]).services.kms
    path = token_file or var / "secrets" / "operator.token"

    async def connected(token: str) -> int:
        async with service_session(service_tls(kms)) as session:
            return await work(KmsOperator(session, kms.url, token, _CALL_TIMEOUT_S))

    try:
        code = asyncio.run(connected(read_token(path)))
    except OSError as error:
        typer.echo(f"{path} cannot be read: {error.strerror}; name an operator's token with --token-file", err=True)
        code = EXIT_BAD_CONFIG
    except ValueError as error:
        typer.echo(str(error), err=True)
        code = EXIT_BAD_CONFIG
    except KmsRefused as refusal:
        typer.echo(f"{kms.url} refused: {refusal}", err=True)
        code = EXIT_BAD_CONFIG
    except KmsUnavailable as problem:
        typer.echo(str(problem), err=True)
        code = EXIT_NO_KMS
    raise typer.Exit(code)


def _say_refusal(move: Move) -> None:
    why = f"refused: {move.reason}"
    if move.reason == "not_distributed":
        why += f"; not everyone who is alive knows its state: {_names(move.lagging)}; --force does it all the same"
    elif move.reason == "in_use" and move.last_used is not None:
        why += f"; last used {_time(move.last_used)} by {move.last_used_by}; --force does it all the same"
    elif move.reason == "illegal_move":
        why += f"; {move.key_id} is {move.state}"
    typer.echo(why, err=True)


def _listing_lines(listing: Listing, now: float) -> Iterator[str]:
    versions = [("KEY SET", "KEY ID", "STATE", "SINCE", "USES", "LAST USED", "BY", "BEHIND")]
    versions += [
        (
            each.purpose,
            each.key_id,
            f"{each.state}, primary" if each.primary else each.state,
            _time(each.since),
            str(each.uses),
            "-" if each.last_used is None else _time(each.last_used),
            each.last_used_by or "-",
            str(len(each.lagging)),
        )
        for each in listing.versions
    ]
    holders = [("HOLDER", "SEEN", "REVISION", "KEY SETS")]
    holders += [
        (each.holder, f"{max(0, round(now - each.seen))} s ago", str(each.revision_held), ",".join(each.purposes))
        for each in listing.holders
    ]
    yield from _columns(versions)
    yield ""
    yield from _columns(holders)
    yield ""
    yield f"revision {listing.revision}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _entry_line(entry: AuditEntry) -> str:
    who = entry.identity or "?"
    return (
        f"{entry.id} {_time(entry.at)} {who} {entry.peer or '-'} {entry.action} {entry.subject or '-'} {entry.outcome}"
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
