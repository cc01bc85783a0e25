"""What became of one request, as the client saw it, and the logs that say so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Ending(StrEnum):
    """How a request ended."""

    OK = "ok"
    ORIGIN_ERROR = "origin_error"  # the origin's own answer, with its id, but not a success
    REFUSED = "refused"  # the edge's own answer
    CLOSED = "closed"  # the connection ended before any byte of an answer
    CUT = "cut"  # it ended inside the answer, and shows it
    UNCONNECTED = "unconnected"
    TIMED_OUT = "timed_out"
    CROSSED = "crossed"  # the answer carries another request's id
    TRUNCATED = "truncated"  # it is its own, looks complete, and is not as long as it must be
    ALTERED = "altered"  # it is no answer that an origin gave


WRONG = frozenset({Ending.CROSSED, Ending.TRUNCATED, Ending.ALTERED})


@dataclass(slots=True, frozen=True)
class Outcome:
    """One request. `due` is when it should have left (monotonic seconds); its latency counts from there.

    `status` is 0 without an answer; `reason` is the edge's, or empty. `cleared` says that the answer took a cookie
    away. `reused` says that the connection had carried requests before. `worker` is the process id of the one that has
    the connection, where answers name it. `device` is -1 for a client without jars; else `shown` is the number of the
    cookies in its jar that it showed.
    """

    id: str
    stream: str
    method: str
    due: float
    latency_ms: float
    kind: Ending
    status: int = 0
    reason: str = ""
    retry_after: bool = False
    cleared: bool = False
    reused: bool = False
    worker: str = ""
    device: int = -1
    shown: int = 0

    @property
    def failed(self) -> bool:
        """Whether the one who asked did not get what was asked for."""
        return self.kind is not Ending.OK

    @property
    def ended(self) -> float:
        """When it was over (monotonic seconds)."""
        return self.due + self.latency_ms / 1000

    @property
    def signed_out(self) -> bool:
        """Whether somebody who showed a valid cookie was treated as if not."""
        return self.status == 401 or self.cleared

    def line(self) -> str:
        """Return it as a line of the client's log, without its end."""
        flags = f"{self.retry_after:d}{self.cleared:d}{self.reused:d}"
        numbers = f"{self.due:.6f}\t{self.latency_ms:.3f}"
        answer = (self.kind, str(self.status), self.reason, flags, self.worker, str(self.device), str(self.shown))
        return "\t".join((self.id, self.stream, self.method, numbers, *answer))


@dataclass(slots=True, frozen=True)
class Sighting:
    """A request as one origin saw it; `answered` says that it got as far as answering."""

    id: str
    method: str
    origin: int
    at: float
    answered: bool


def read_outcomes(lines: Iterable[str]) -> list[Outcome]:
    """Read the lines of a client's log."""
    return [_outcome(line.split("\t")) for line in lines]


def read_sightings(logs: Iterable[Path]) -> list[Sighting]:
    """Read the logs of all origins, in their order; a last line that a kill has cut short is left out."""
    found = []
    for number, log in enumerate(logs):
        begun: list[tuple[str, str, float]] = []
        ended: set[str] = set()
        for line in log.read_text().splitlines(keepends=True):
            parts = line.split("\t")
            if len(parts) != 4 or not line.endswith("\n"):
                continue
            what, name, method, at = parts
            if what == "b":
                begun.append((name, method, float(at)))
            else:
                ended.add(name)
        found += [Sighting(name, method, number, at, name in ended) for name, method, at in begun]
    return found


def _outcome(parts: Sequence[str]) -> Outcome:
    name, stream, method, due, latency_ms, kind, status, reason, flags, worker, device, shown = parts
    retry_after, cleared, reused = (flag == "1" for flag in flags)
    return Outcome(
        id=name,
        stream=stream,
        method=method,
        due=float(due),
        latency_ms=float(latency_ms),
        kind=Ending(kind),
        status=int(status),
        reason=reason,
        retry_after=retry_after,
        cleared=cleared,
        reused=reused,
        worker=worker,
        device=int(device),
        shown=int(shown),
    )
