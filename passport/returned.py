"""Decides what a returned Passport may change: the edge's side of actions. docs/passport.md, "Actions".

A returned Passport counts for the exchange it was sent on and for nothing else: its header bytes must be those
that were sent. Whatever is not allowed changes nothing at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from passport.identity import Level, Part, Source, UserAction
from passport.integrity import Envelope, split_envelope, verify
from passport.introspector import PassportIntrospector, check_expiry, decode_base64
from passport.keys import PassportKeys
from passport.refusals import PassportRefusal, PassportRefused


@dataclass(slots=True, frozen=True)
class Grant:
    """What a key may change: parts, and the actions it may ask for."""

    parts: frozenset[Part]
    actions: frozenset[UserAction]

    @classmethod
    def named(cls, parts: Iterable[str], actions: Iterable[str]) -> "Grant":
        """Make a grant from names as config/grants.yaml has them; KeyError or ValueError for an unknown one."""
        return cls(frozenset(Part(part) for part in parts), frozenset(UserAction[action] for action in actions))


Grants = Mapping[str, Grant]
"""Key purpose to grant, as in config/grants.yaml. A purpose that is not in it may change nothing."""


class ReturnedRefusal(StrEnum):
    """Why a well-made returned Passport changes nothing; beside these, every PassportRefusal is possible."""

    HEADER_CHANGED = "header_changed"
    DEVICE_CHANGED = "device_changed"
    ACTION_NOT_GRANTED = "action_not_granted"
    CHANGED_WITHOUT_ACTION = "changed_without_action"
    CONTRADICTORY_ACTIONS = "contradictory_actions"
    USER_DOES_NOT_FIT = "user_does_not_fit"


@dataclass(slots=True, frozen=True)
class Unchanged:
    """The Passport came back as it was sent."""


@dataclass(slots=True, frozen=True)
class Accepted:
    """The user changed: `action` says how, `passport` who it is now."""

    action: UserAction
    passport: PassportIntrospector


@dataclass(slots=True, frozen=True)
class RefusedAction:
    """The returned Passport must be ignored."""

    reason: ReturnedRefusal | PassportRefusal


def check_returned(
    sent: bytes, returned: bytes, keys: PassportKeys, grants: Grants, *, now: float
) -> Accepted | Unchanged | RefusedAction:
    """Compare what came back with what was sent on this exchange; both are `X-Passport` values.

    `now` is the start of the exchange in epoch seconds. `sent` is trusted, since it is the edge's own.
    """
    if returned == sent:
        return Unchanged()
    try:
        before = split_envelope(decode_base64(sent))
        raw = decode_base64(returned)
        after = split_envelope(raw)
        changed = _what_changed(before, after)
        if changed is not None:
            return RefusedAction(changed)
        if (after.user_info, after.user_integrity.field) == (before.user_info, before.user_integrity.field):
            return Unchanged()
        return _check_user(raw, after, keys, grants, now)
    except PassportRefused as refused:
        return RefusedAction(refused.reason)


def _what_changed(before: Envelope, after: Envelope) -> ReturnedRefusal | None:
    if after.header != before.header:
        return ReturnedRefusal.HEADER_CHANGED
    # No action changes a device yet, so no grant does.
    if (after.device_info, after.device_integrity.field) != (before.device_info, before.device_integrity.field):
        return ReturnedRefusal.DEVICE_CHANGED
    return None


def _check_user(
    raw: bytes, after: Envelope, keys: PassportKeys, grants: Grants, now: float
) -> Accepted | RefusedAction:
    purposes = frozenset(purpose for purpose, grant in grants.items() if Part.USER in grant.parts)
    # The header and the device are as sent, so the version that the edge signed with is the one to answer in.
    signed_with_v1 = after.device_integrity.version == 1
    if after.user_integrity.version != after.device_integrity.version:
        return RefusedAction(PassportRefusal.VERSION_NOT_ACCEPTED)
    key = verify(after, Part.USER, keys, purposes, accept_v1=signed_with_v1)
    passport = PassportIntrospector.from_verified(raw, after)
    # The header ties it to this exchange; how long the service took is not held against it.
    check_expiry(passport.user_created, passport.expires, now)
    refusal = _check_actions(passport, grants[key.purpose].actions)
    return RefusedAction(refusal) if refusal is not None else Accepted(passport.actions[0], passport)


def _check_actions(passport: PassportIntrospector, granted: frozenset[UserAction]) -> ReturnedRefusal | None:
    if not passport.actions:
        return ReturnedRefusal.CHANGED_WITHOUT_ACTION
    if not (granted - {UserAction.UNKNOWN}).issuperset(passport.actions):
        return ReturnedRefusal.ACTION_NOT_GRANTED
    if len(passport.actions) > 1:
        return ReturnedRefusal.CONTRADICTORY_ACTIONS
    if passport.actions[0] is UserAction.USER_LOGIN:
        fits = (
            passport.user_source is Source.USER_CREDENTIALS
            and passport.user_level >= Level.HIGH
            and (passport.customer_id or 0) > 0
        )
    else:
        fits = passport.user_source is Source.NONE
    return None if fits else ReturnedRefusal.USER_DOES_NOT_FIT
