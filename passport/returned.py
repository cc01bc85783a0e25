"""Decides what a returned Passport may change: the edge's side of actions. docs/passport.md, "Actions".

A returned Passport counts for the exchange it was sent on and for nothing else: its header bytes must be those
that were sent. Whatever is not allowed changes nothing at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from passport.catalogue import CATALOGUE, Action
from passport.effects import CatalogueEntry
from passport.fitting import contradicts, device_fits, user_fits
from passport.identity import Part
from passport.integrity import Envelope, split_envelope, verify
from passport.introspector import SKEW_S, PassportIntrospector, check_expiry, decode_base64
from passport.keys import PassportKeys
from passport.refusals import PassportRefusal, PassportRefused


@dataclass(slots=True, frozen=True)
class Grant:
    """What a key may change: parts, and the actions it may ask for, by name."""

    parts: frozenset[Part]
    actions: frozenset[str]

    @classmethod
    def named(cls, parts: Iterable[str], actions: Iterable[str]) -> "Grant":
        """Make a grant from names as config/grants.yaml has them; KeyError or ValueError for an unknown one."""
        return cls(frozenset(Part(part) for part in parts), frozenset(CATALOGUE[action].name for action in actions))


Grants = Mapping[str, Grant]
"""Key purpose to grant, as in config/grants.yaml. A purpose that is not in it may change nothing."""


class ReturnedRefusal(StrEnum):
    """Why a well-made returned Passport changes nothing; beside these, every PassportRefusal is possible."""

    HEADER_CHANGED = "header_changed"
    STALE = "stale"
    ACTION_NOT_GRANTED = "action_not_granted"
    CHANGED_WITHOUT_ACTION = "changed_without_action"
    REPEATED_ACTION = "repeated_action"
    CONTRADICTORY_ACTIONS = "contradictory_actions"
    USER_DOES_NOT_FIT = "user_does_not_fit"
    DEVICE_DOES_NOT_FIT = "device_does_not_fit"


@dataclass(slots=True, frozen=True)
class Unchanged:
    """The Passport came back as it was sent."""


@dataclass(slots=True, frozen=True)
class Accepted:
    """User or device changed: `actions` say how, in order, the user's first; `passport` who they are now."""

    actions: tuple[CatalogueEntry, ...]
    passport: PassportIntrospector


@dataclass(slots=True, frozen=True)
class RefusedAction:
    """The returned Passport must be ignored."""

    reason: ReturnedRefusal | PassportRefusal


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: ReturnedRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


def check_returned(
    sent: bytes, returned: bytes, keys: PassportKeys, grants: Grants, *, now: float
) -> Accepted | Unchanged | RefusedAction:
    """Compare what came back with what was sent on this exchange; both are `X-Passport` values.

    `now` is the start of the exchange in epoch seconds. `sent` is trusted, since it is the edge's own.
    """
    if returned == sent:
        return Unchanged()
    try:
        original = decode_base64(sent)
        before = split_envelope(original)
        raw = decode_base64(returned)
        after = split_envelope(raw)
        if after.header != before.header:
            return RefusedAction(ReturnedRefusal.HEADER_CHANGED)
        changed = {part for part in Part if _bytes_of(after, part) != _bytes_of(before, part)}
        if not changed:
            return Unchanged()
        if Part.DEVICE in changed:
            changed.add(Part.USER)  # whose MAC covers the device, too
        purposes = {part: _verified_with(before, after, part, keys, grants) for part in changed}
        was, is_now = (PassportIntrospector.from_verified(*each) for each in ((original, before), (raw, after)))
        actions: list[CatalogueEntry] = []
        if Part.USER in changed and after.user_info != before.user_info:
            actions += _user_actions(was, is_now, grants[purposes[Part.USER]].actions, now)
        if Part.DEVICE in changed and after.device_info != before.device_info:
            actions += _device_actions(was, is_now, grants[purposes[Part.DEVICE]].actions, now)
        if contradicts(actions):
            return RefusedAction(ReturnedRefusal.CONTRADICTORY_ACTIONS)
        return Accepted(tuple(actions), is_now) if actions else Unchanged()
    except (PassportRefused, _Refused) as refused:
        return RefusedAction(refused.reason)


def _bytes_of(envelope: Envelope, part: Part) -> tuple[bytes, bytes]:
    if part is Part.USER:
        return envelope.user_info, envelope.user_integrity.field
    return envelope.device_info, envelope.device_integrity.field


def _verified_with(before: Envelope, after: Envelope, part: Part, keys: PassportKeys, grants: Grants) -> str:
    """Return the purpose of the key that signed a changed part: one with a grant for it."""
    # What is not bound to this exchange could be a change that somebody saw on another one.
    if not (before.is_bound and after.is_bound):
        raise PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED)
    purposes = frozenset(purpose for purpose, grant in grants.items() if part in grant.parts)
    return verify(after, part, keys, purposes, accept_v1=False).purpose


def _user_actions(
    was: PassportIntrospector, is_now: PassportIntrospector, granted: frozenset[str], now: float
) -> list[CatalogueEntry]:
    _check_times(was.user_created, is_now.user_created, is_now.expires, now)
    entries = _entries(is_now.actions, granted)
    if not user_fits(entries, was, is_now):
        raise _Refused(ReturnedRefusal.USER_DOES_NOT_FIT)
    return entries


def _device_actions(
    was: PassportIntrospector, is_now: PassportIntrospector, granted: frozenset[str], now: float
) -> list[CatalogueEntry]:
    _check_times(was.device_created, is_now.device_created, is_now.device_expires, now)
    entries = _entries(is_now.device_actions, granted)
    if not device_fits(entries, was, is_now):
        raise _Refused(ReturnedRefusal.DEVICE_DOES_NOT_FIT)
    return entries


def _check_times(sent_at: int, created: int, expires: int, now: float) -> None:
    # The header ties it to this exchange; how long the service took is not held against it.
    check_expiry(created, expires, now)
    if created < sent_at - SKEW_S:
        raise _Refused(ReturnedRefusal.STALE)


def _entries(actions: Iterable[Action], granted: frozenset[str]) -> list[CatalogueEntry]:
    """Return what the catalogue says of actions, all of which must be granted."""
    names = [action.name for action in actions]
    if not names:
        raise _Refused(ReturnedRefusal.CHANGED_WITHOUT_ACTION)
    if not set(names) <= granted & CATALOGUE.keys():
        raise _Refused(ReturnedRefusal.ACTION_NOT_GRANTED)
    if len(set(names)) < len(names):
        raise _Refused(ReturnedRefusal.REPEATED_ACTION)
    entries = [CATALOGUE[name] for name in names]
    if contradicts(entries):
        raise _Refused(ReturnedRefusal.CONTRADICTORY_ACTIONS)
    return entries
