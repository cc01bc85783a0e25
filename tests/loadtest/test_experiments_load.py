"""The open-loop load of the experiments: when requests are due, and what is said of how long they took."""

import socket
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.experiments.generator import Generator, Plan, answer_length, requests_of
from loadtest.experiments.latencies import Outcomes, percentile, point
from loadtest.experiments.schedule import Arrivals, due_times

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
NOTHING = Outcomes([], [], [], 0, 0, 0, 0)


class TestTheSchedule:
    def test_constant_arrivals_are_equally_far_apart(self) -> None:
        assert list(due_times(4, 1.0, Arrivals.CONSTANT)) == [0.0, 0.25, 0.5, 0.75]

    def test_poisson_arrivals_have_the_rate_and_the_spread_of_one(self) -> None:
        due = due_times(1000, 20.0)
        gaps = [after - before for before, after in pairwise(due)]
        mean = sum(gaps) / len(gaps)
        assert len(due) == pytest.approx(20_000, rel=0.03)
        assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)

    def test_a_seed_gives_the_same_times_and_another_one_others(self) -> None:
        assert due_times(50, 2.0, seed=7) == due_times(50, 2.0, seed=7)
        assert due_times(50, 2.0, seed=7) != due_times(50, 2.0, seed=8)

    @given(st.sampled_from(Arrivals), st.floats(1, 500), st.floats(0.01, 2), st.integers(0, 5))
    def test_times_ascend_within_the_duration(self, kind: Arrivals, rate: float, seconds: float, seed: int) -> None:
        due = list(due_times(rate, seconds, kind, seed))
        assert due == sorted(due)
        assert all(0 <= one < seconds for one in due)

    @pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1)])
    def test_nothing_to_send_is_no_schedule(self, rate: float, seconds: float) -> None:
        with pytest.raises(ValueError, match="above 0"):
            due_times(rate, seconds)


class TestPercentiles:
    def test_are_values_that_were_seen(self) -> None:
        values = [float(one) for one in range(1, 1001)]
        assert [percentile(values, one) for one in (50, 99, 99.9, 100)] == [500, 990, 999, 1000]
        assert percentile([], 99) == 0.0
        assert percentile([3.0], 50) == 3.0

    def test_who_never_answers_is_not_taken_for_quick(self) -> None:
        found = replace(NOTHING, latencies=[0.001] * 90, given_up=[2.0] * 10, in_time=90)
        made = point(100, 1.0, found)
        assert (made.p50_ms, made.p99_ms, made.unanswered) == (1.0, 2000.0, 10)
        assert (made.answered, made.requests) == (90, 100)

    def test_refusals_are_no_latencies(self) -> None:
        made = point(10, 1.0, replace(NOTHING, latencies=[0.01] * 5, in_time=5, refused=4, broken=1))
        assert (made.p999_ms, made.refused, made.broken, made.requests) == (10.0, 4, 1, 10)

    @pytest.mark.parametrize(
        ("latency_s", "late_s", "unsent", "behind"),
        [
            (0.001, 0.0001, 0, False),
            (0.001, 0.0005, 0, True),
            (0.1, 0.005, 0, False),
            (0.1, 0.02, 0, True),
            (1, 0, 3, True),
        ],
    )
    def test_a_generator_that_is_late_itself_marks_the_point(
        self, latency_s: float, late_s: float, unsent: int, *, behind: bool
    ) -> None:
        found = replace(NOTHING, latencies=[latency_s] * 100, late=[late_s] * 100, in_time=100, unsent=unsent)
        assert point(100, 1.0, found).behind is behind


class Origin:
    """Answers every request at once, but for one time when it answers nobody for `stall_s`. Ends with its socket."""

    def __init__(self, answer: bytes = ANSWER, *, stall_at: int = -1, stall_s: float = 0.0, drop_at: int = -1) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.asked = 0
        self.answer = answer
        self.stall_at, self.stall_s, self.drop_at = stall_at, stall_s, drop_at
        self._one_at_a_time = threading.Lock()

    def serve(self) -> None:
        """Take connections, a thread for each."""
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock:
            received = b""
            while True:
                try:
                    data = sock.recv(65_536)
                except OSError:
                    return
                if not data:
                    return
                received += data
                while b"\r\n\r\n" in received:
                    received = received.partition(b"\r\n\r\n")[2]
                    with self._one_at_a_time:
                        self.asked += 1
                        if self.asked == self.stall_at:
                            time.sleep(self.stall_s)
                    if self.asked == self.drop_at:
                        return
                    for piece in (self.answer[:20], self.answer[20:]):
                        sock.sendall(piece)


@contextmanager
def served(origin: Origin) -> Iterator[Origin]:
    thread = threading.Thread(target=origin.serve, daemon=True)
    thread.start()
    try:
        yield origin
    finally:
        origin.listening.shutdown(socket.SHUT_RDWR)
        origin.listening.close()
        thread.join(30)


def plan(origin: Origin, rate: float, seconds: float, connections: int = 4) -> Plan:
    return Plan(origin.port, "/browse", "", rate, seconds, connections, "", grace_s=30.0, sources=("127.0.0.1",))


REQUESTS = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]


class TestTheGenerator:
    def test_sends_as_many_as_are_due_and_keeps_every_answer(self) -> None:
        with served(Origin()) as origin:
            made = Generator(plan(origin, 200, 0.5), REQUESTS).run()
        assert made.requests == origin.asked == len(due_times(200, 0.5))
        assert (made.refused, made.broken, made.unanswered, made.unsent) == (0, 0, 0, 0)

    def test_a_stalled_server_shows_in_the_percentiles_of_all_who_were_due_meanwhile(self) -> None:
        # By a closed loop of two connections, two of some hundred answers were slow, and no p99 would show them.
        with served(Origin(stall_at=50, stall_s=0.6)) as origin:
            generator = Generator(plan(origin, 300, 1.0, connections=2), REQUESTS)
            made = generator.run()
        assert made.unanswered == made.unsent == 0
        assert made.p99_ms > 400
        assert percentile(sorted(generator.latencies), 75) > 0.15

    def test_refusals_and_broken_connections_are_counted_and_the_load_goes_on(self) -> None:
        with served(Origin(REFUSAL)) as origin:
            made = Generator(plan(origin, 200, 0.3), REQUESTS).run()
        assert made.refused == made.requests
        assert made.answered == 0
        with served(Origin(drop_at=10)) as origin:
            made = Generator(plan(origin, 200, 0.3), REQUESTS).run()
        assert made.broken == 1
        assert made.requests == len(due_times(200, 0.3))

    def test_a_clock_that_jumps_is_lateness_of_the_generator(self) -> None:
        times = array("d", [0.0, 0.0])

        def clock() -> float:
            times[0] += 0.001
            if times[0] > 0.1 and not times[1]:
                times[1] = times[0] = times[0] + 0.2  # it was not let run
            return times[0]

        with served(Origin()) as origin:
            made = Generator(plan(origin, 100, 0.3), REQUESTS, clock).run()
        assert made.late_p99_ms > 100
        assert made.behind

    def test_requests_carry_the_lines_of_their_file(self, tmp_path: Path) -> None:
        file = tmp_path / "requests"
        file.write_text("Cookie: a=1\n\n")
        one, other = requests_of(Plan(80, "/browse", str(file), 1, 1, 1, ""))
        assert one.startswith(b"GET /browse HTTP/1.1\r\n")
        assert one.endswith(b"\r\nCookie: a=1\r\n\r\n")
        assert other.count(b"\r\n\r\n") == 1

    def test_answers_end_where_their_length_says(self) -> None:
        assert answer_length(ANSWER) == len(ANSWER)
        assert answer_length(ANSWER + b"more") == len(ANSWER)
        assert answer_length(ANSWER[:30]) == 0
        with pytest.raises(ValueError, match="Content-Length"):
            answer_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
