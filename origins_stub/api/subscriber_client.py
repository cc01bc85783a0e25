"""The subscriber service, which knows what is deliberately in no Passport."""

from origins_stub.api.services import Services


class SubscriberClient:
    """Asks the subscriber service at `url`."""

    def __init__(self, services: Services, url: str) -> None:
        self._services = services
        self._url = url.rstrip("/")

    async def is_member(self) -> bool | None:
        """Tell whether the user of the exchange, as of its newest Passport, is a member; None when nobody can say."""
        answer = await self._services.call("GET", f"{self._url}/v1/me")
        if answer is None or answer.status != 200:
            return None
        member = answer.document.get("member")
        return member if isinstance(member, bool) else None
