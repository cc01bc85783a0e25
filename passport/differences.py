"""Compares two Passports for a human, and says what an edge would do if one were the answer to the other."""

from dataclasses import dataclass
from itertools import zip_longest

from passport.explain import REASONS
from passport.inspect import facts_of, printable, read_unverified
from passport.integrity import Envelope
from passport.keys import PassportKeys
from passport.refusals import PassportRefused
from passport.returned import Accepted, Grants, RefusedAction, check_returned

_WIDTH = 18


@dataclass(slots=True, frozen=True)
class Differences:
    """`taken` is False where an edge would refuse the second as an answer to the first; `text` a few lines."""

    taken: bool
    text: str


def differences(sent: str, returned: str, keys: PassportKeys | None, grants: Grants, *, now: float) -> Differences:
    """Compare two `X-Passport` values. Without `keys` nothing is said of what an edge would do.

    `now` is epoch seconds: an edge takes the start of the exchange. Never raises for a bad Passport.
    """
    try:
        before, after = read_unverified(sent), read_unverified(returned)
    except PassportRefused as refused:
        return Differences(False, f"not a Passport: {refused.reason}: {REASONS[refused.reason]}")
    lines = [f"{name:<{_WIDTH}}{text}" for name, text in _parts(before[1], after[1])]
    for was, is_now in zip_longest(facts_of(before[0], now), facts_of(after[0], now)):
        if was != is_now:
            lines.append(f"{was[0]:<{_WIDTH}}{printable(was[1])} -> {printable(is_now[1])}")
    taken, verdict = _verdict(sent, returned, keys, grants, now)
    return Differences(taken, "\n".join([*lines, f"{'as an answer':<{_WIDTH}}{verdict}"]))


def _parts(before: Envelope, after: Envelope) -> list[tuple[str, str]]:
    said = [("header", "the same bytes" if before.header == after.header else "DIFFERENT: of another exchange")]
    for part, was, is_now in (
        ("user", (before.user_info, before.user_integrity), (after.user_info, after.user_integrity)),
        ("device", (before.device_info, before.device_integrity), (after.device_info, after.device_integrity)),
    ):
        if was[0] == is_now[0] and was[1].field == is_now[1].field:
            text = "the same bytes"
        else:
            text = f"{'the same' if was[0] == is_now[0] else 'changed'}, signed with {printable(is_now[1].key_name)}"
        said.append((part, text))
    return said


def _verdict(sent: str, returned: str, keys: PassportKeys | None, grants: Grants, now: float) -> tuple[bool, str]:
    if keys is None:
        return False, "not known: no keys to verify with"
    outcome = check_returned(sent.strip().encode(), returned.strip().encode(), keys, grants, now=now)
    if isinstance(outcome, RefusedAction):
        return False, f"REFUSED: {outcome.reason}: {REASONS[outcome.reason]}"
    if not isinstance(outcome, Accepted):
        return True, "asks for nothing"
    return True, ", ".join(f"{entry.name} ({entry.effect.name.lower()} tokens)" for entry in outcome.actions)
