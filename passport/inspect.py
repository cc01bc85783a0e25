"""Shows a Passport to a human: what it says, and whether that may be believed. Shows no MAC."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from passport.catalogue import CATALOGUE, DeviceAction, UserAction
from passport.explain import LEVELS, REASONS, SOURCES
from passport.identity import Level, Source
from passport.integrity import Envelope, split_envelope
from passport.introspector import PassportIntrospector, decode_base64
from passport.keys import PassportKeys
from passport.refusals import PassportRefused

Row = tuple[str, str]


@dataclass(slots=True, frozen=True)
class Inspection:
    """`verified` is True only when a service would accept the Passport now; `text` is a few lines, without colour."""

    verified: bool
    text: str


def inspect_passport(
    value: str, keys: PassportKeys | None, *, now: float, trust_domain: str | None = None
) -> Inspection:
    """Decode an `X-Passport` value and verify it at `now` (epoch seconds).

    Without `keys` nothing is verified, and the text says so. Without `trust_domain` the Passport's own is taken.
    Never raises for a bad Passport.
    """
    try:
        shown, envelope = read_unverified(value)
    except PassportRefused as refused:
        return Inspection(False, f"not a Passport: {refused.reason}: {REASONS[refused.reason]}")
    verdict, verified = _verdict(shown, keys, now, trust_domain)
    rows = chain([("verified", verdict)], facts_of(shown, now), _action_rows(shown), _integrity_rows(envelope))
    return Inspection(verified, "\n".join(f"{name:<18}{printable(text)}" for name, text in rows))


def read_unverified(value: str) -> tuple[PassportIntrospector, Envelope]:
    """Read an `X-Passport` value without checking its MACs; raise PassportRefused for what is no Passport."""
    raw = decode_base64(value.strip())
    envelope = split_envelope(raw)
    return PassportIntrospector.from_verified(raw, envelope), envelope


def _verdict(
    shown: PassportIntrospector, keys: PassportKeys | None, now: float, trust_domain: str | None
) -> tuple[str, bool]:
    if keys is None:
        return "no: no keys to verify with", False
    try:
        domain = shown.trust_domain if trust_domain is None else trust_domain
        PassportIntrospector.from_bytes(shown.received, keys, now=now, trust_domain=domain)
    except PassportRefused as refused:
        return f"NO: {refused.reason}: {REASONS[refused.reason]}; nothing below may be believed", False
    return "yes", True


def facts_of(passport: PassportIntrospector, now: float) -> list[Row]:
    """Return what a Passport says, fact by fact, always the same facts in the same order."""
    return [
        ("request id", passport.request_id),
        ("issuer", passport.issuer),
        ("trust domain", passport.trust_domain),
        ("created", _moment(passport.created, now)),
        ("user expires", _moment(passport.expires, now)),
        ("user source", _source(passport.user_source)),
        ("user level", _level(passport.user_level)),
        ("customer id", _or_none(passport.customer_id)),
        ("account owner id", _or_none(passport.account_owner_id)),
        ("profile id", _or_none(passport.profile_id)),
        ("session id", _or_none(passport.session_id)),
        ("rescheduled", "yes" if passport.rescheduled else "no"),
        ("user actions", ", ".join(action.name for action in passport.actions) or "-"),
        ("device source", _source(passport.device_source)),
        ("device level", _level(passport.device_level)),
        ("esn", _or_none(passport.esn)),
        ("device actions", ", ".join(action.name for action in passport.device_actions) or "-"),
        ("device type", _or_none(passport.device_type)),
    ]


def _source(source: Source) -> str:
    return f"{source.name}: {SOURCES[source]}"


def _level(level: Level) -> str:
    return f"{level.name}: {LEVELS[level]}"


def _action_rows(passport: PassportIntrospector) -> list[Row]:
    """Say what each action asks for."""
    asked: tuple[UserAction | DeviceAction, ...] = passport.actions + passport.device_actions
    known = (CATALOGUE[action.name] for action in asked if action.name in CATALOGUE)
    return [("action", f"{entry.name}: {entry.effect.name.lower()} tokens. {entry.meaning}") for entry in known]


def _integrity_rows(envelope: Envelope) -> list[Row]:
    return [
        (f"{part} integrity", f"v{integrity.version}, key {integrity.key_name}")
        for part, integrity in (("user", envelope.user_integrity), ("device", envelope.device_integrity))
    ]


def _moment(seconds: int, now: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} (not a date)"
    distance = round(seconds - now)
    return f"{moment} ({f'in {distance}' if distance >= 0 else -distance} s{'' if distance >= 0 else ' ago'})"


def _or_none(value: int | str | None) -> str:
    return "-" if value is None else str(value)


def printable(text: str) -> str:
    """Keep a signer's text from writing to the terminal: escape sequences, line ends, direction marks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
