"""What a service asks of a Passport that has been verified: docs/for_service_owners.md."""

from passport.identity import Level
from passport.introspector import PassportIntrospector
from passport.refusals import PassportRefusal, PassportRefused


class RequirementNotMet(PassportRefused):
    """A good Passport that does not say enough. The adapters answer with `status`."""

    @property
    def status(self) -> int:
        """401 when there is no user; 403 when there is no device, or a level is too low: as the edge answers."""
        return 401 if self.reason is PassportRefusal.NO_USER else 403


def require(
    passport: PassportIntrospector, *, level: Level = Level.LOW, user: bool = True, device: bool = False
) -> None:
    """Raise RequirementNotMet unless there is a user, a device, or both, of at least `level`.

    Level UNSPECIFIED never passes. Where user and device need different levels, ask twice. The reasons are `no_user`,
    `no_device` and `level_too_low`. Raises ValueError when neither is asked for.
    """
    if user:
        if passport.customer_id is None:
            raise RequirementNotMet(PassportRefusal.NO_USER)
        _require_level(passport.user_level, level)
    if device:
        if passport.esn is None:
            raise RequirementNotMet(PassportRefusal.NO_DEVICE)
        _require_level(passport.device_level, level)
    if not user and not device:
        raise ValueError("a requirement asks for a user, a device, or both")


def _require_level(found: Level, asked: Level) -> None:
    if found is Level.UNSPECIFIED or found < asked:
        raise RequirementNotMet(PassportRefusal.LEVEL_TOO_LOW)
