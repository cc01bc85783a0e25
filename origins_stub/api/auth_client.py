"""The auth service, as the API asks it: in the name of the exchange's user, who may be another one afterwards."""

import structlog

from origins_stub.api.services import Answer, Services
from passport import current_exchange

_REFUSALS = frozenset(
    {
        "bad_body",
        "email_taken",
        "no_such_activation",
        "plan_missing",
        "signup_not_open",
        "too_many_activations",
        "too_many_guesses",
        "unknown_code",
        "unknown_profile",
        "wrong_credentials",
    }
)
"""What the device is told as the auth service said it. Everything else is none of its business."""
_log = structlog.get_logger("origins_stub.api")


class AuthClient:
    """Asks the auth service at `url`."""

    def __init__(self, services: Services, url: str) -> None:
        self._services = services
        self._url = url.rstrip("/")

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer | None:
        """Return what it answers: 200, or a refusal that the device may know; None when it is not available."""
        answer = await self._services.call(method, self._url + path, body)
        if answer is None or answer.status == 200 or (answer.status < 500 and answer.reason in _REFUSALS):
            return answer
        _log.warning("auth_unavailable", status=answer.status, reason=answer.reason)
        return None

    async def change(self, path: str, body: bytes = b"") -> Answer | None:
        """Ask for a change: a 200 that comes without a newer Passport is no answer."""
        exchange = current_exchange()
        before = exchange.raw
        answer = await self.ask("POST", path, body)
        if answer is not None and answer.status == 200 and exchange.raw == before:
            _log.warning("auth_unavailable", status=200, reason="no newer Passport")
            return None
        return answer
