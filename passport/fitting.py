"""Whether a part of a returned Passport is what its actions say: docs/actions.md, "The catalogue"."""

from collections.abc import Sequence

from passport.effects import CatalogueEntry, Effect, PartIs
from passport.identity import Level, Source
from passport.introspector import PassportIntrospector


def contradicts(entries: Sequence[CatalogueEntry]) -> bool:
    """Tell whether tokens would have to be both made and cleared."""
    effects = {effect for entry in entries for effect in (entry.effect, *entry.by_kind.values())}
    return effects >= {Effect.CREATE, Effect.CLEAR}


def user_fits(entries: Sequence[CatalogueEntry], was: PassportIntrospector, now: PassportIntrospector) -> bool:
    """Tell whether the user of `now` is what actions make of that of `was`, which was sent."""
    part_is = _decisive(entries).part_is
    if part_is is PartIs.NOBODY:
        return now.user_source is Source.NONE
    if (now.customer_id or 0) <= 0:
        return False
    if part_is is PartIs.CHECKED:
        return now.user_source is Source.USER_CREDENTIALS and now.user_level >= Level.HIGH
    changes = _changes(entries)
    kept = {"customer_id", "account_owner_id", "profile_id", "session_id", "rescheduled"} - changes
    return (
        was.customer_id is not None
        and (not changes or was.user_level >= Level.HIGH)  # the whole session would change, by half of its token
        and all(getattr(now, field) == getattr(was, field) for field in kept)
        and (now.user_source is was.user_source or (_raises(entries) and now.user_source is Source.USER_CREDENTIALS))
        and now.user_level <= _most(entries, was.user_level)
    )


def device_fits(entries: Sequence[CatalogueEntry], was: PassportIntrospector, now: PassportIntrospector) -> bool:
    """Tell whether the device of `now` is what actions make of that of `was`, which was sent."""
    part_is = _decisive(entries).part_is
    if part_is is PartIs.NOBODY:
        return now.device_source is Source.NONE
    if not now.esn:
        return False
    if part_is is PartIs.REGISTERED and was.esn is None:
        return now.device_level <= Level.HIGH
    changes = _changes(entries)
    if changes and was.device_level < Level.HIGH:
        return False
    kept = {"esn", "device_type", "device_source"} - changes
    return all(getattr(now, field) == getattr(was, field) for field in kept) and now.device_level <= _most(
        entries, was.device_level
    )


def _decisive(entries: Sequence[CatalogueEntry]) -> CatalogueEntry:
    """Return the action whose effect is the strongest, the last of such: what the part has become by it is decisive."""
    return max(reversed(entries), key=lambda entry: entry.effect)


def _changes(entries: Sequence[CatalogueEntry]) -> set[str]:
    return {field for entry in entries for field in entry.changes}


def _raises(entries: Sequence[CatalogueEntry]) -> bool:
    return any(entry.level is Level.HIGHEST for entry in entries)


def _most(entries: Sequence[CatalogueEntry], was: Level) -> Level:
    """Return the highest level that the part may have."""
    return max(was, *(entry.level for entry in entries if entry.level is not None), Level.UNSPECIFIED)
