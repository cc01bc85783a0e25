"""The commands `edge passport …`: look at Passports, compare them, make some for a test."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Annotated, TypeVar

import typer

from edge.cli_options import CONFIG, VAR, ConfigOption, SetOption, VarOption, load_snapshot
from edge.clients.tls import service_session, service_tls
from edge.control.snapshot import Snapshot
from edge.control.token_file import read_token
from passport import DEVICE_PURPOSE, NO_DEVICE, NO_USER, DevicePart, Level, PassportBuilder, Source, UserPart
from passport.differences import differences
from passport.inspect import inspect_passport
from passport.keys import USER_PURPOSE, PassportKeys
from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from passport.returned import Grant

EXIT_NOT_VERIFIED = 1
EXIT_NO_KEYS = 3

Chosen = TypeVar("Chosen", Source, Level)

passport_app = typer.Typer(help="Look at Passports, compare them, make some for tests.", no_args_is_help=True)


def _source(name: str | Source) -> Source:
    known = {source.name: source for source in Source if source > Source.NONE}
    return _chosen(name, known)


def _level(name: str | Level) -> Level:
    return _chosen(name, {level.name: level for level in Level})


def _chosen(name: str | Chosen, known: Mapping[str, Chosen]) -> Chosen:
    if not isinstance(name, str):
        return name  # the default
    if name.upper() not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}")
    return known[name.upper()]


SourceOption = Annotated[Source, typer.Option(parser=_source, metavar="SOURCE", help="How they were resolved.")]
LevelOption = Annotated[Level, typer.Option(parser=_level, metavar="LEVEL", help="How far they may be trusted.")]


@passport_app.command()
def inspect(
    value: Annotated[str, typer.Argument(metavar="BASE64", help="The value of an X-Passport header.")],
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
) -> None:
    """Decode a Passport, say what it means, and verify it with the KMS's keys; exit code 0 only if it is good now."""
    snapshot = load_snapshot(config, var, overrides)
    keys = _keys_to_verify_with(snapshot)
    inspection = inspect_passport(value, keys, now=time.time(), trust_domain=snapshot.edge.trust_domain)
    typer.echo(inspection.text)
    raise typer.Exit(0 if inspection.verified else EXIT_NOT_VERIFIED)


@passport_app.command()
def diff(
    sent: Annotated[str, typer.Argument(metavar="SENT", help="The X-Passport that went to a service.")],
    returned: Annotated[str, typer.Argument(metavar="RETURNED", help="The one that came back.")],
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
) -> None:
    """Say in what two Passports differ, and what an edge with these grants does when the second answers the first.

    The exit code is 0 unless the edge refuses it.
    """
    snapshot = load_snapshot(config, var, overrides)
    grants = {purpose: Grant.named(grant.parts, grant.actions) for purpose, grant in snapshot.grants.items()}
    found = differences(sent, returned, _keys_to_verify_with(snapshot), grants, now=time.time())
    typer.echo(found.text)
    raise typer.Exit(0 if found.taken else EXIT_NOT_VERIFIED)


@passport_app.command()
def make(  # noqa: PLR0917 - one option each
    customer_id: Annotated[int, typer.Option(min=0, help="The user; 0 for nobody.")] = 0,
    account_owner_id: Annotated[int, typer.Option(min=0, help="The account's owner; 0: the user.")] = 0,
    profile_id: Annotated[str, typer.Option(help="The profile in use.")] = "",
    session_id: Annotated[str, typer.Option(help="The session; empty: a new one.")] = "",
    user_source: SourceOption = Source.COOKIE,
    user_level: LevelOption = Level.HIGH,
    rescheduled: Annotated[bool, typer.Option(help="The user's token has expired and was not renewed.")] = False,
    esn: Annotated[str, typer.Option(help="The device's serial number; empty for no device.")] = "",
    device_type: Annotated[int, typer.Option(min=0, help="As in config/device_types.yaml.")] = 0,
    device_source: SourceOption = Source.COOKIE,
    device_level: LevelOption = Level.HIGH,
    ttl_s: Annotated[int, typer.Option("--ttl-s", min=1, max=300, help="How long it lives, in seconds.")] = 60,
    config: ConfigOption = CONFIG,
    var: VarOption = VAR,
    overrides: SetOption = None,
) -> None:
    """Make a Passport for a test, signed in this edge's name with the KMS's keys, and print its X-Passport value.

    Who may read the edge's token for the KMS can do this, and nobody else: keep that file from other people.
    """
    snapshot = load_snapshot(config, var, overrides)
    keys = asyncio.run(_passport_keys(snapshot))
    if isinstance(keys, str):
        typer.echo(f"there are no keys to sign with: {keys}", err=True)
        raise typer.Exit(EXIT_NO_KEYS)
    signers = keys.signer(USER_PURPOSE), keys.signer(DEVICE_PURPOSE)
    if signers[0] is None or signers[1] is None:
        typer.echo("there are no keys to sign with: the KMS gives none that protects", err=True)
        raise typer.Exit(EXIT_NO_KEYS)
    user, device = NO_USER, NO_DEVICE
    if customer_id:
        user = UserPart.of(
            user_source,
            user_level,
            customer_id,
            account_owner_id or customer_id,
            profile_id=profile_id,
            session_id=session_id or secrets.token_hex(16),
            rescheduled=rescheduled,
        )
    if esn:
        device = DevicePart.of(device_source, device_level, esn, device_type)
    builder = PassportBuilder(snapshot.edge.id, snapshot.edge.trust_domain, signers[0], signers[1], ttl_s)
    typer.echo(builder.header_value(secrets.token_hex(16).encode(), user, device, int(time.time())).decode())


def _keys_to_verify_with(snapshot: Snapshot) -> PassportKeys | None:
    found = asyncio.run(_passport_keys(snapshot))
    if isinstance(found, str):
        typer.echo(f"not verified, for the keys cannot be had: {found}", err=True)
        return None
    return found


async def _passport_keys(snapshot: Snapshot) -> PassportKeys | str:
    """Fetch the Passport keys in the edge's name, or say why not."""
    kms = snapshot.services.kms
    purposes = [purpose for purpose in kms.purposes if purpose.startswith("passport-")]
    try:
        token = read_token(kms.token_file)
        async with service_session(service_tls(kms)) as session:
            answer = await KmsClient(session, kms.url, token, kms.timeout_s).key_sets(purposes)
        return PassportKeys.from_key_sets(answer.key_sets)
    except (KmsUnavailable, KmsRefused, ValueError) as error:
        return str(error)
    except OSError as error:
        return f"{kms.token_file}: {error.strerror}"
