"""The open-loop load generator, a process of its own: sends requests when they are due, however slow the answers are.

    python -m loadtest.experiments.generator PLAN

Latency counts from the moment a request was due, not from when it could be sent: a server that stalls cannot hide it by
holding up who asks it (coordinated omission). Requests that find no connection free wait in line, and that counts, too.
How late the generator itself was, because its core had other things to do, is kept apart.

One thread, one epoll, no event loop: what the generator costs is taken from the origin, which may share its core.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.experiments.latencies import Outcomes, Point, point
from loadtest.experiments.schedule import Arrivals, due_times

PR_SET_TIMERSLACK = 29  # prctl(2): the kernel may wake a sleeper 50 µs late, unless told otherwise
SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 10))
AT_ONCE = 64  # requests sent before answers are looked at
EVENTS = 256
PRIORITY = -10
RECEIVE_BYTES = 65_536


@dataclass(slots=True, frozen=True)
class Plan:
    """One load. `requests` is a file of header fields, one request a line, as `bench.load.write_requests` makes it.

    After `duration_s` nothing more becomes due, and answers under way have `grace_s`.
    """

    port: int
    path: str
    requests: str
    rate: float
    duration_s: float
    connections: int
    results: str
    seed: int = 1
    arrivals: str = Arrivals.POISSON
    grace_s: float = 2.0
    sources: tuple[str, ...] = SOURCES


class Connection:
    """One kept-alive connection, and the request on it: `due` is when it was due."""

    __slots__ = ("buffer", "due", "fd", "recv", "send", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self.send = sock.send
        self.recv = sock.recv
        self.due = 0.0
        self.buffer = b""


def answer_length(head: bytes) -> int:
    """Return how many bytes an answer has, head and body, 0 while that cannot be said; only Content-Length is read."""
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return 0
    fields = head[:end].lower()
    at = fields.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("an answer without Content-Length")
    stop = fields.find(b"\r", at + 2)
    return end + 4 + int(fields[at + 17 : stop if stop >= 0 else end])


class Generator:
    """Sends one plan's requests and keeps what came of them; `latencies` are of good answers, in seconds."""

    def __init__(self, plan: Plan, requests: Sequence[bytes], clock: Callable[[], float] = time.perf_counter) -> None:
        self._plan = plan
        self._requests = requests
        self._clock = clock
        self._poller = select.epoll()
        self._connections = {one.fd: one for one in (self._connected(number) for number in range(plan.connections))}
        self._idle = list(self._connections.values())
        self._waiting: deque[float] = deque()
        self.latencies = array("d")
        self._late = array("d")
        self._turn = self._in_time = self._refused = self._broken = 0
        self._stopping = False

    def stop(self) -> None:
        """Let nothing more become due."""
        self._stopping = True

    def run(self) -> Point:
        """Send everything that is due, wait for what is under way, close all."""
        plan = self._plan
        schedule = due_times(plan.rate, plan.duration_s, Arrivals(plan.arrivals), plan.seed)
        start = self._clock()
        sent = self._send_all(schedule, start)
        end = start + plan.duration_s
        while self._under_way() and self._clock() < end + plan.grace_s and not self._stopping:
            self._wait(0.05, end)
        now = self._clock()
        open_since = [now - one.due for one in self._connections.values() if one.due]
        found = Outcomes(
            self.latencies,
            [*open_since, *(now - due for due in self._waiting)],
            self._late,
            self._in_time,
            self._refused,
            self._broken,
            len(schedule) - sent,
        )
        for one in self._connections.values():
            one.socket.close()
        return point(plan.rate, plan.duration_s, found)

    def _send_all(self, schedule: Sequence[float], start: float) -> int:
        clock, late = self._clock, self._late
        end = start + self._plan.duration_s
        number, total = 0, len(schedule)
        while number < total and not self._stopping:
            due, burst = start + schedule[number], AT_ONCE
            while (now := clock()) >= due and burst:
                late.append(now - due)
                if self._idle:
                    self._send(self._idle.pop(), due)
                else:
                    self._waiting.append(due)
                number += 1
                if number == total:
                    break
                due = start + schedule[number]
                burst -= 1
            if now > end + self._plan.grace_s:
                break  # far behind: the rest counts as unsent
            self._wait(due - now, end)
        return number

    def _wait(self, seconds: float, end: float) -> None:
        """Take the answers that are there, or else wait so long for one."""
        events = self._poller.poll(0, EVENTS)
        if not events:
            if seconds <= 0:
                return
            # epoll's own timeout has whole milliseconds.
            select.select([self._poller], [], [], seconds)
            events = self._poller.poll(0, EVENTS)
        for fd, _ in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._answered(connection, end)

    def _send(self, connection: Connection, due: float) -> None:
        connection.due = due
        request = self._requests[self._turn % len(self._requests)]
        self._turn += 1
        try:
            connection.send(request)
        except OSError:
            self._replace(connection)

    def _answered(self, connection: Connection, end: float) -> None:
        try:
            data = connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._replace(connection)
            return
        if connection.buffer:
            data = connection.buffer + data
        length = answer_length(data)
        if not length or len(data) < length:
            connection.buffer = data
            return
        now = self._clock()
        connection.buffer = b""
        if data[9:10] in b"123":
            self.latencies.append(now - connection.due)
            self._in_time += now <= end
        else:
            self._refused += 1
        connection.due = 0.0
        if b"\r\nconnection: close" in data[: length - 1].lower():
            self._replace(connection)
            return
        self._free(connection)

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _replace(self, connection: Connection) -> None:
        """Open another connection in place of one that ended; a request on it has broken."""
        if connection.due:
            self._broken += 1
        elif connection in self._idle:
            self._idle.remove(connection)
        del self._connections[connection.fd]
        connection.socket.close()
        with suppress(OSError):
            fresh = self._connected(connection.fd)
            self._connections[fresh.fd] = fresh
            self._free(fresh)

    def _under_way(self) -> bool:
        return bool(self._waiting) or any(one.due for one in self._connections.values())

    def _connected(self, number: int) -> Connection:
        sources = self._plan.sources
        source = sources[number % len(sources)]
        sock = socket.create_connection(("127.0.0.1", self._plan.port), 5.0, (source, 0))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poller.register(sock.fileno(), select.EPOLLIN)
        return Connection(sock)


def requests_of(plan: Plan) -> list[bytes]:
    """Return the bytes of each request of the plan's file, with the header fields that wrk's script sends."""
    common = (
        f"GET {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\n"
        "User-Agent: bench-device/1.0 (television)\r\nAccept: application/json\r\n"
        "Accept-Language: en-GB,en;q=0.8\r\nAccept-Encoding: gzip, deflate\r\n"
    )
    lines = Path(plan.requests).read_text().splitlines()
    return [f"{common}{line}\r\n\r\n".encode() if line else f"{common}\r\n".encode() for line in lines]


def main() -> None:
    """Run the plan of the command line; write its point as JSON."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    generator = Generator(plan, requests_of(plan))
    gc.disable()  # nothing here makes cycles
    with suppress(PermissionError):  # an instrument: it goes before the origin on their core
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: generator.stop())
    found = generator.run()
    Path(plan.results).write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
