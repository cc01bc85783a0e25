"""Addresses from DNS: A and AAAA records, looked up beside the requests, and the two answers made into one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edge.control.origins_file import DnsDiscovery
from edge.control.values import Address
from edge.upstream.discovery.look import Look, Problem, Result

RecordType: TypeAlias = Literal["A", "AAAA"]


@dataclass(slots=True, frozen=True)
class Answer:
    """The answer for one record type: IP literals, or why there are none. `ttl_s` says how long it is good."""

    hosts: tuple[str, ...]
    ttl_s: float = 0.0
    problem: Problem | None = None

    @property
    def definite(self) -> bool:
        """Whether the name server knows: there are these records, or there are none."""
        return self.problem is None or self.problem.result in {Result.EMPTY, Result.NXDOMAIN}


Answers: TypeAlias = Mapping[RecordType, Answer]
LookUp: TypeAlias = Callable[[DnsDiscovery], Awaitable[Answers]]


class DnsSource:
    """Looks one name up; `executor` loads what does it, with the first look."""

    def __init__(self, settings: DnsDiscovery, executor: Executor) -> None:
        self._settings = settings
        self._executor = executor
        self._look_up: LookUp | None = None
        self._known: dict[RecordType, tuple[str, ...]] = {}

    async def look(self) -> Look:
        """Ask for every record type at once."""
        if self._look_up is None:
            self._look_up = await asyncio.get_running_loop().run_in_executor(self._executor, _load)
        answers = await self._look_up(self._settings)
        look = joined(answers, self._known, self._settings.name.port)
        if look.addresses is not None:
            self._known.update({each: answer.hosts for each, answer in answers.items() if answer.definite})
        return look


def joined(answers: Answers, known: Mapping[RecordType, tuple[str, ...]], port: int) -> Look:
    """Return the answers for all record types as one.

    A type that could not be looked up keeps its `known` hosts beside the new ones of the other. No host at all leaves
    everything as it is: an origin without an address is more likely a mistake than a wish.
    """
    found = [answer for answer in answers.values() if answer.hosts]
    problems = [answer.problem for answer in answers.values() if answer.problem is not None]
    unknown = next((answer.problem for answer in answers.values() if not answer.definite), None)
    if not found:
        return Look(None, unknown or next((each for each in problems if each.result is Result.NXDOMAIN), problems[0]))
    hosts = [
        host
        for record_type, answer in answers.items()
        for host in (answer.hosts if answer.definite else known.get(record_type, ()))
    ]
    addresses = tuple(sorted({Address(host, port) for host in hosts}))
    return Look(addresses, unknown, min(answer.ttl_s for answer in found))


def _load() -> LookUp:
    # Takes 50 ms and three megabytes, so: in a thread, and only where DNS is used.
    from edge.upstream.discovery.dns_lookup import look_up  # noqa: PLC0415

    return look_up
