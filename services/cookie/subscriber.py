"""Asking the subscriber service whether a user is a paying member.

Only a whole, readable answer about this very user is one. Everything else, a 404 included, is UNKNOWN: a wrong URL or
a service that has lost its table must not sign anybody out.

A service that keeps failing is left alone by a breaker, so that a renewal then waits for nothing. What it says of one
user or of this caller, with a status of 300 to 499, is no failure of it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resilience.breaker import Breaker

_MAX_ANSWER_BYTES = 16 * 1024


class Standing(StrEnum):
    """What the subscriber service says about a user."""

    MEMBER = "member"
    NOT_A_MEMBER = "not_a_member"
    UNKNOWN = "unknown"


@dataclass(slots=True, frozen=True)
class Membership:
    """The answer; `account_owner_id` counts for a MEMBER only, `problem` says why it is UNKNOWN."""

    standing: Standing
    account_owner_id: int = 0
    problem: str = ""


class _Subscriber(BaseModel):
    # Strict: "false" and 0 are no statements about a membership. More fields than ours may come.
    model_config = ConfigDict(strict=True, frozen=True)

    customer_id: int
    account_owner_id: Annotated[int, Field(ge=0, lt=2**63)]
    member: bool


class _NoAnswer(Exception):  # noqa: N818 - never leaves this module; a failure to the breaker
    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class SubscriberClient:
    """Calls `GET /v1/subscribers/{customer_id}` under a deadline and a breaker. Never raises for a failing service."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: str, timeout_s: float, breaker: Breaker
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._breaker = breaker

    async def membership(self, customer_id: int) -> Membership:
        """Return what is known about the user."""
        permit = self._breaker.permit()
        if permit is None:
            return _unknown("breaker open")
        try:
            with permit:
                return await self._ask(customer_id)
        except _NoAnswer as failure:
            return _unknown(failure.problem)
        except TimeoutError:
            return _unknown("timeout")
        except aiohttp.ClientError as error:
            return _unknown(type(error).__name__)

    def health(self) -> str:
        """Return whether the subscriber service is asked: `closed`, `open` or `half_open`."""
        return self._breaker.state.value

    async def _ask(self, customer_id: int) -> Membership:
        """Return what an answer says; raise for what a service does that is out of order."""
        async with self._session.get(
            f"{self._url}/v1/subscribers/{customer_id}",
            headers=self._headers,
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            if response.status >= 500:
                raise _NoAnswer(f"status {response.status}")
            if response.status != 200:
                return _unknown(f"status {response.status}")
            body = await _body(response.content)
        membership = _unknown("answer too long") if body is None else read_membership(body, customer_id)
        if membership.standing is Standing.UNKNOWN:
            raise _NoAnswer(membership.problem)
        return membership

    def __repr__(self) -> str:
        return f"SubscriberClient({self._url}, {self._breaker!r})"


def read_membership(body: bytes, customer_id: int) -> Membership:
    """Read an answer to the question about `customer_id`."""
    try:
        subscriber = _Subscriber.model_validate_json(body)
    except ValidationError:
        return _unknown("unreadable answer")
    if subscriber.customer_id != customer_id:
        return _unknown("answer about another user")
    standing = Standing.MEMBER if subscriber.member else Standing.NOT_A_MEMBER
    return Membership(standing, subscriber.account_owner_id)


async def _body(content: aiohttp.StreamReader) -> bytes | None:
    """Return the body, or None when it is too long to be an answer: the rest of it is not read."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > _MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _unknown(problem: str) -> Membership:
    return Membership(Standing.UNKNOWN, problem=problem)
