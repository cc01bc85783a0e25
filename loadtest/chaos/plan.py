"""What the client is to send: streams of requests, each at a rate of its own, whatever becomes of the answers."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 10))


@dataclass(slots=True, frozen=True)
class Stream:
    """Requests of one kind: `rate` a second from `start_s` to `stop_s` after the plan's start, at random distances.

    `size`, `wait_ms` and `work_ms` are what the origin is asked for, `body_bytes` is sent. Without an answer after
    `timeout_s` a request counts as failed. `fresh` gives each request a connection of its own. `source` is an index
    into the plan's addresses; None takes them in turn.
    """

    name: str
    rate: float
    path: str
    method: str = "GET"
    size: int = 512
    wait_ms: int = 0
    work_ms: int = 0
    body_bytes: int = 0
    chunked: bool = False
    timeout_s: float = 10.0
    signed_in: bool = True
    fresh: bool = False
    start_s: float = 0.0
    stop_s: float = float("inf")
    source: int | None = None


@dataclass(slots=True, frozen=True)
class Plan:
    """A client's whole work. `start_at` is of the machine's monotonic clock, which all its processes share.
    Ids count from `first_id`. `kept_connections` are opened before the start; a request that finds none
    free opens another. With `jars`, each line of `cookies` is a device's, which takes every cookie that it is given."""

    port: int
    start_at: float
    duration_s: float
    seed: int
    streams: tuple[Stream, ...]
    cookies: str  # a file with a header field in each line
    log: str
    ca: str | None = None  # a file: speak TLS, and trust these
    server_name: str = "localhost"
    sources: tuple[str, ...] = SOURCES
    first_id: int = 0
    kept_connections: int = 0
    jars: bool = False

    def write(self, file: Path) -> None:
        """Write it for the client's process."""
        file.write_text(json.dumps(asdict(self)))


def read_plan(file: Path) -> Plan:
    """Read what `Plan.write` wrote."""
    values = json.loads(file.read_text())
    streams = tuple(Stream(**stream) for stream in values.pop("streams"))
    return Plan(**{**values, "streams": streams, "sources": tuple(values["sources"])})


def arrivals(stream: Stream, start_at: float, duration_s: float, chance: random.Random) -> Iterator[float]:
    """Yield when each request of a stream is due (monotonic seconds): a Poisson process, the same for a seed."""
    due = stream.start_s
    end = min(stream.stop_s, duration_s)
    while stream.rate > 0:
        due += chance.expovariate(stream.rate)
        if due >= end:
            return
        yield start_at + due
