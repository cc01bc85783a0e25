"""authorise: the route's required levels against who was found to be asking."""

from typing import ClassVar

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Refuse, Verdict
from edge.contract.identity import DeviceIdentity, Level, UserIdentity
from edge.contract.reasons import Reason


class AuthoriseFilter:
    """Refuses whoever is not known well enough for the route: the user first, then the device."""

    id: ClassVar[str] = "authorise"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def inbound(self, exchange: Exchange) -> Verdict:
        """Compare levels; UNSPECIFIED on a route asks for nothing, on an identity satisfies nothing."""
        policy = exchange.route.auth
        if policy.user:
            user = exchange.user
            if user is None:
                return Refuse(401, Reason.AUTHENTICATION_REQUIRED, "no_user")
            if user.level < policy.user:
                return _too_low("user", user, policy.user)
        if policy.device:
            device = exchange.device
            if device is None:
                return Refuse(403, Reason.DEVICE_REQUIRED, "no_device")
            if device.level < policy.device:
                return _too_low("device", device, policy.device)
        return CONTINUE


def _too_low(who: str, identity: UserIdentity | DeviceIdentity, required: Level) -> Refuse:
    detail = f"{who}_{identity.level.name}_below_{required.name}".lower()
    return Refuse(403, Reason.LEVEL_TOO_LOW, detail)
