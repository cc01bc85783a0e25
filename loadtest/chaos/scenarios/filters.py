"""Filters that fail while they find out who asks, and nothing gets past them: S8."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import aiohttp

from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most, is_true
from loadtest.chaos.setup import CALM, route
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import nothing, observe

FILTERS = ("hygiene", "rollout", "cookie", "renew", "device", "authorise", "passport")
AT_ONCE_BUGS = ("raise", "raise_later", "cancel", "cancel_later")
NEVER, HOLD = "never", "hold"
DEADLINE_S = 0.5
CROWD = 8  # for one place in each worker
LEAVES_AFTER_S = 0.1
USER, ANYBODY = "fails_user", "fails_anybody"
ROUTES = (
    route(USER, CALM, {}),
    route(ANYBODY, CALM, {"auth": {"user": "none", "device": "none", "on_bad_token": "anonymous"}}),
)
# Each filter has a deadline that does not take long to wait for, and one place.
LIMITS = {f"filters.{name}": {"deadline_s": DEADLINE_S, "concurrency": 1} for name in FILTERS}
REASONS = {"filter_error", "filter_timeout", "filter_overloaded"}
FORGED = {"X-Passport": "Zm9yZ2Vk"}


@dataclass(slots=True)
class Asked:
    """Requests whose filter failed, by their ids: the status of each answer, 0 for none, and why it was refused."""

    stage: Stage
    session: aiohttp.ClientSession
    status: dict[str, int] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    async def ask(self, name: str, at: str, bug: str, headers: Mapping[str, str]) -> int:
        """Ask on a route, so that the filter `at` fails; return the status."""
        request_id, target = self._target(name, at, bug)
        async with self.session.get(f"http://127.0.0.1:{self.stage.port}{target}", headers=headers) as answer:
            text = await answer.text()
        self.status[request_id] = answer.status
        if answer.status >= 400:
            self.reasons[text.partition('"reason":"')[2].partition('"')[0]] += 1
        return answer.status

    async def ask_in_turn(self, cases: Iterable[tuple[str, str, str, Mapping[str, str]]]) -> None:
        """Ask one after the other."""
        for case in cases:
            await self.ask(*case)

    async def leave(self, name: str, at: str, headers: Mapping[str, str]) -> None:
        """Ask, and reset the connection while the filter is at it, which cancels it."""
        _, target = self._target(name, at, HOLD)
        _, writer = await asyncio.open_connection("127.0.0.1", self.stage.port)
        fields = "".join(f"{field}: {value}\r\n" for field, value in headers.items())
        writer.write(f"GET {target} HTTP/1.1\r\nhost: chaos.test\r\n{fields}\r\n".encode())
        await asyncio.sleep(LEAVES_AFTER_S)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def _target(self, name: str, at: str, bug: str) -> tuple[str, str]:
        request_id = f"fails-{len(self.status)}"
        self.status[request_id] = 0
        return request_id, f"/{name}?id={request_id}&at={at}&bug={bug}"


async def filters_fail(stage: Stage) -> Result:
    """Let every filter on a request's way raise, be cancelled, come too late, have no place left."""
    cookie = stage.base.cookies.read_text().splitlines()[0].partition(": ")[2]
    askers: tuple[dict[str, str], ...] = (
        {"Cookie": cookie},
        {},
        {"Cookie": "EdgeId=forged; SecureEdgeId=forged", **FORGED},
    )
    crowds: dict[str, Counter[int]] = {}
    asked: list[Asked] = []

    async def fail() -> None:
        # A connection for each request: the kernel chooses a worker for each.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            asked.append(all_of_them := Asked(stage, session))
            by_filter = (all_of_them.ask_in_turn(_cases(at, askers)) for at in FILTERS)
            await asyncio.gather(*by_filter)
            for at in FILTERS:
                crowd = (all_of_them.ask(USER, at, HOLD, askers[0]) for _ in range(CROWD))
                crowds[at] = Counter(await asyncio.gather(*crowd))
            await asyncio.gather(*(all_of_them.leave(USER, at, askers[0]) for at in FILTERS))

    seen = await observe(stage, fail, nothing, Stream(CALM, stage.settings.rate, f"/{CALM}"))
    (found,) = asked
    reached = {one.id for one in stage.sightings_by_id(found.status)}
    passed = {one for one, status in found.status.items() if status == 200}
    waited = sum(crowd[200] for crowd in crowds.values())  # those who had the place
    return seen.result(
        extra={
            "asked": len(found.status), "statuses": dict(Counter(found.status.values())),
            "reasons": dict(found.reasons), "had_a_place": waited, "reached_origin": len(reached),
        },
        bars=[
            at_most("reached_origin_unchecked", len(reached - passed), 0),
            at_most("passed", len(passed) - waited, 0),
            at_least("had_a_place", waited, len(FILTERS)),
            is_true("limits", all(crowd[503] and crowd[200] + crowd[503] == CROWD for crowd in crowds.values()), "503"),
            is_true("reasons", found.reasons.keys() >= REASONS, ", ".join(sorted(REASONS))),
        ],
    )  # fmt: skip


def _cases(at: str, askers: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    for bug, name, headers in product((*AT_ONCE_BUGS, NEVER), (USER, ANYBODY), askers):
        yield name, at, bug, headers
