"""Before anything is measured: does each proxy really do what its row says?"""

from dataclasses import dataclass

import aiohttp

from loadtest.bench.check_origin import Seen
from loadtest.bench.failure import BenchError
from loadtest.bench.jwts import tampered

ENDED_AT_THE_EDGE = ("Cookie", "Authorization")


@dataclass(slots=True, frozen=True)
class Target:
    """A proxy to check: its name, and where to ask."""

    name: str
    url: str


async def check_tokens(target: Target, session: aiohttp.ClientSession, seen: Seen, good: str) -> None:
    """Raise `BenchError` unless the good token alone reaches the origin, and leaves there no trace of itself.

    The bad token is shown before and after the good one: a cache must not let it in.
    """
    before = len(seen.heads)
    await _expect(target, session, tampered(good), 401)
    await _expect(target, session, good, 200)
    await _expect(target, session, good, 200)
    await _expect(target, session, tampered(good), 401)
    if len(seen.heads) != before + 2:
        raise BenchError(f"{target.name}: {len(seen.heads) - before} of 4 requests reached the origin, not 2")
    left = [name for name in ENDED_AT_THE_EDGE if name in seen.heads[-1]]
    if left:
        raise BenchError(f"{target.name}: the origin received {' and '.join(left)}")


async def check_relay(target: Target, session: aiohttp.ClientSession, seen: Seen, token: str | None) -> None:
    """Raise `BenchError` unless a request with this header field, or none, reaches the origin."""
    before = len(seen.heads)
    await _expect(target, session, token, 200)
    if len(seen.heads) != before + 1:
        raise BenchError(f"{target.name}: the request did not reach the origin")


async def _expect(target: Target, session: aiohttp.ClientSession, token: str | None, status: int) -> None:
    headers = dict([token.split(": ", 1)]) if token else {}
    async with session.get(target.url, headers=headers) as answer:
        text = await answer.text()
        if answer.status != status:
            kind = {200: "good", 401: "bad"}[status]
            raise BenchError(f"{target.name}: a {kind} request got {answer.status}, not {status}: {text[:200]}")
