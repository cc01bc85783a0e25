"""What wrk is given to send, and what is read from its output."""

from pathlib import Path

import pytest

from loadtest.bench import load
from loadtest.bench.failure import BenchError

OUTPUT = """Running 1s test @ http://127.0.0.1:1234/browse
  1 threads and 32 connections
  Requests/sec:  19990.11
FIGURES {"requests":20000,"duration_us":1000500,"p50_us":1500,"p99_us":4250,"p999_us":9000,"refused":3,"connect":1,\
"read":2,"write":3,"timeout":4}
"""


def test_the_figures_of_a_run_are_read_in_seconds_and_milliseconds() -> None:
    sample = load.parse(OUTPUT)
    assert (sample.requests, sample.duration_s) == (20000, 1.0005)
    assert (sample.p50_ms, sample.p99_ms, sample.p999_ms) == (1.5, 4.25, 9.0)
    assert sample.rps == pytest.approx(19990.0, abs=0.1)


def test_refused_answers_are_kept_apart_from_broken_connections() -> None:
    sample = load.parse(OUTPUT)
    assert (sample.refused, sample.broken) == (3, 10)


def test_output_without_figures_is_a_failure_that_shows_it() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_run_of_no_length_has_no_rate() -> None:
    assert load.Sample(0, 0.0, 0, 0, 0, 0, 0).rps == 0.0


def test_requests_are_one_line_each_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = load.write_requests(tmp_path / "requests", ["Cookie: a=1", ""])
    assert file.read_text() == "Cookie: a=1\n\n"
    assert file.stat().st_mode & 0o077 == 0


def test_wrk_runs_one_thread_with_the_script_and_the_file() -> None:
    argv = load.command("wrk", "http://127.0.0.1:1/browse", Path("/r"), connections=32, seconds=5)
    assert argv[:7] == ["wrk", "-t", "1", "-c", "32", "-d", "5s"]
    assert argv[-3:] == ["http://127.0.0.1:1/browse", "--", "/r"]
    assert load.SCRIPT.exists()
