"""What one finished exchange adds to metrics and access log."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.identity import DeviceIdentity, Level, Source
from edge.contract.reasons import Reason
from edge.telemetry.access_log import AccessLog
from edge.telemetry.catalogue import BUCKET_BOUNDS_S
from edge.telemetry.log_line import MAX_PATH_BYTES, Ended, LineWriter
from edge.telemetry.metrics import MAX_SERIES, Histograms, WorkerMetrics, count
from edge.telemetry.telemetry import LINES_AT_ONCE, Telemetry
from tests.telemetry.exchanges import alike, exchange

CANARIES = ("sealed-canary", "query-canary", "passport-canary", "session-canary", "ESN-CANARY", "70707070", "70707071")


def finish(telemetry: Telemetry, *, origin_s: float = 0.004, **changes: str | int) -> None:
    made = exchange()
    for name, value in changes.items():
        setattr(made, name, value)
    telemetry.finished(
        made, status=200, outcome="completed", edge_s=0.00007, origin_s=origin_s, bytes_in=5, bytes_out=11
    )


def logged(telemetry: Telemetry, path: Path) -> list[dict[str, object]]:
    telemetry.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


def test_a_finished_exchange_is_counted_by_route_status_and_outcome(metrics: WorkerMetrics) -> None:
    telemetry = Telemetry(metrics, None)
    finish(telemetry)
    finish(telemetry)
    values = metrics.snapshot(0.0).values
    assert values["edge_requests_total"] == [(("browse", "200", "completed"), 2)]
    assert values["edge_identity_resolutions_total"] == [(("cookie", "valid", "local"), 2)]
    assert values["edge_refusals_total"] == []
    assert dict(values["edge_user_levels_total"]) == {("none",): 0, ("low",): 0, ("high",): 2, ("highest",): 0}


def test_edge_and_origin_time_fall_into_their_own_histograms(metrics: WorkerMetrics) -> None:
    telemetry = Telemetry(metrics, None)
    finish(telemetry)
    finish(telemetry, origin_s=0.0)
    histograms = metrics.snapshot(0.0).histograms
    ((_, edge_row),) = histograms["edge_request_edge_seconds"]
    ((_, origin_row),) = histograms["edge_request_origin_seconds"]
    assert edge_row[1] == 2  # 70 µs: over 50 µs, under 100 µs
    assert edge_row[-1] == pytest.approx(0.00014)
    finish(telemetry, origin_s=0.0, reason=Reason.TOKEN_REFUSED)
    assert len(metrics.snapshot(0.0).histograms["edge_request_origin_seconds"]) == 1
    assert sum(origin_row[:-1]) == 1, "an exchange without an origin has no origin time"
    assert origin_row[-1] == pytest.approx(0.004)


def test_a_time_on_a_bound_falls_into_the_bucket_that_the_bound_ends() -> None:
    found = Histograms()
    for seconds in (*BUCKET_BOUNDS_S, 31.0):
        found.of("browse").observe(seconds)
    assert found.rows() == [
        (("browse",), [1] * (len(BUCKET_BOUNDS_S) + 1) + [pytest.approx(sum(BUCKET_BOUNDS_S) + 31)])
    ]


def test_refusals_carry_the_private_detail_in_metrics(metrics: WorkerMetrics) -> None:
    finish(Telemetry(metrics, None), reason=Reason.TOKEN_REFUSED, reason_detail="bad_tag")
    assert metrics.snapshot(0.0).values["edge_refusals_total"] == [(("token_refused", "bad_tag"), 1)]


def test_a_request_refused_before_it_has_a_route_is_counted_and_logged(metrics: WorkerMetrics, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    telemetry.refused_early(Reason.AMBIGUOUS_FRAMING, status=400, now=1.5, peer="192.0.2.1", detail="te_in_http10")
    assert metrics.snapshot(0.0).values["edge_refusals_total"] == [(("ambiguous_framing", "te_in_http10"), 1)]
    (line,) = logged(telemetry, path)
    assert (line["status"], line["reason"], line["time"]) == (400, "ambiguous_framing", 1.5)


def test_the_number_of_series_is_bounded() -> None:
    metrics = WorkerMetrics()
    for number in range(MAX_SERIES + 50):
        count(metrics.refusals, ("token_refused", f"detail {number}"))
    assert len(metrics.refusals) == MAX_SERIES + 1
    assert metrics.refusals["other", "other"] == 50


def test_the_key_ring_has_an_age_once_there_is_one(metrics: WorkerMetrics) -> None:
    assert "edge_key_ring_age_seconds" not in metrics.snapshot(100.0).values
    metrics.keys.ring(7, fetched_at=90.0, source="snapshot")
    values = metrics.snapshot(100.0).values
    assert values["edge_key_ring_revision"] == [((), 7)]
    assert values["edge_key_ring_age_seconds"] == [(("snapshot",), 10.0)]


def test_gauges_are_asked_for_when_a_snapshot_is_taken(metrics: WorkerMetrics) -> None:
    metrics.sources.append(lambda to: to.connections.update(downstream=12))
    assert metrics.snapshot(0.0).values["edge_connections"] == [(("downstream",), 12)]


def test_the_access_log_holds_one_json_line_per_exchange(metrics: WorkerMetrics, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    for _ in range(3):
        finish(telemetry)
    lines = logged(telemetry, path)
    assert len(lines) == 3
    assert lines[0]["path"] == "/browse"
    assert (lines[0]["edge_us"], lines[0]["origin_us"], lines[0]["bytes_out"]) == (70, 4000, 11)
    assert lines[0]["time"] == 1_700_000_000.25


def test_faults_24_no_token_query_passport_or_plain_identity_is_in_the_log(
    metrics: WorkerMetrics, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    finish(telemetry)
    telemetry.close()
    written = path.read_text()
    assert written
    assert not [canary for canary in CANARIES if canary in written]


def test_users_are_logged_as_a_keyed_hash(metrics: WorkerMetrics, tmp_path: Path) -> None:
    users = []
    for name, key in (("a", b"k" * 32), ("b", b"k" * 32), ("c", b"l" * 32)):
        path = tmp_path / name
        telemetry = Telemetry(metrics, AccessLog(path), LineWriter(key))
        finish(telemetry)
        users.append(logged(telemetry, path)[0]["user"])
    assert users[0] == users[1] != users[2]


def test_a4_control_and_escape_characters_never_reach_the_log_raw(metrics: WorkerMetrics, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    hostile = exchange(path=b"/a\r\n\x1b[31m\x9b31m\xc2\x9b")
    telemetry.finished(hostile, status=400, outcome="refused", edge_s=0.0, origin_s=0.0, bytes_in=0, bytes_out=0)
    telemetry.close()
    written = path.read_bytes()
    assert written.count(b"\n") == 1
    assert not set(written[:-1]) & {*range(0x20), *range(0x7F, 0x100)}


@given(path=st.binary(max_size=1100), host=st.binary(), method=st.binary(), peer=st.text(), esn=st.text())
def test_a4_a_line_is_one_json_object_whatever_a_client_sends(
    path: bytes, host: bytes, method: bytes, peer: str, esn: str
) -> None:
    hostile = exchange(path=path)
    hostile.request.host, hostile.request.method, hostile.request.peer = host, method, peer
    hostile.device = DeviceIdentity(Source.COOKIE, Level.HIGH, esn, 3)
    hostile.reason_detail = peer
    hostile.actions = [esn]
    line = LineWriter(b"k" * 32).line(
        Ended(hostile, alike(hostile), edge_s=0.00007, origin_s=0.004, bytes_in=5, bytes_out=11)
    )
    assert line.count("\n") == 1
    assert line.endswith("}\n")
    read = json.loads(line, object_pairs_hook=list)
    assert len(read) == len(dict(read)) == 24
    told = dict(read)
    assert told["path"] == path[:MAX_PATH_BYTES].decode("ascii", "backslashreplace")
    assert told["host"] == host.decode("ascii", "backslashreplace")
    assert told["method"] == method.decode("ascii", "backslashreplace")
    assert (told["peer"], told["detail"], told["actions"]) == (peer, peer, [esn])
    assert (told["status"], told["edge_us"], told["origin_us"]) == (200, 70, 4000)


def test_lines_are_written_in_the_order_in_which_requests_ended(metrics: WorkerMetrics, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    for _ in range(LINES_AT_ONCE + 1):
        finish(telemetry)
    telemetry.refused_early(Reason.AMBIGUOUS_FRAMING, status=400, now=1.5)
    finish(telemetry)
    lines = logged(telemetry, path)
    assert [line["status"] for line in lines] == [200] * (LINES_AT_ONCE + 1) + [400, 200]
    assert metrics.log_lines == len(lines)


def test_a_line_that_cannot_be_formatted_is_counted_as_dropped_and_costs_no_other(
    metrics: WorkerMetrics, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    for _ in range(3):
        finish(telemetry)
    finish(telemetry, reason_detail="\ud800")
    finish(telemetry)
    assert len(logged(telemetry, path)) == 4
    assert metrics.snapshot(0.0).values["edge_access_log_dropped_total"] == [((), 1)]


def test_a_line_is_written_with_the_sweep_after_its_request(metrics: WorkerMetrics, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    telemetry = Telemetry(metrics, log, LineWriter(b"k" * 32))
    finish(telemetry)
    telemetry.sweep()
    log.close()
    assert path.read_bytes().count(b"\n") == 1


def test_a_request_that_ended_before_another_key_is_hashed_with_the_old_one(
    metrics: WorkerMetrics, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    telemetry = Telemetry(metrics, AccessLog(path), LineWriter(b"k" * 32))
    finish(telemetry)
    telemetry.write_with(LineWriter(b"l" * 32))
    finish(telemetry)
    users = [line["user"] for line in logged(telemetry, path)]
    assert users == [LineWriter(b"k" * 32).user(70707070), LineWriter(b"l" * 32).user(70707070)]


def test_the_repr_of_the_line_writer_shows_no_key() -> None:
    assert "k" * 4 not in repr(LineWriter(b"k" * 32))


def test_identity_headers_that_a_client_sent_are_counted(metrics: WorkerMetrics) -> None:
    made = exchange()
    made.stripped_headers = 3
    telemetry = Telemetry(metrics, None)
    telemetry.finished(made, status=200, outcome="ok", edge_s=0.0, origin_s=0.0, bytes_in=0, bytes_out=0)
    assert metrics.snapshot(0.0).values["edge_stripped_headers_total"] == [((), 3)]


def test_an_access_log_without_a_line_writer_is_refused(metrics: WorkerMetrics, tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    with pytest.raises(ValueError, match="LineWriter"):
        Telemetry(metrics, log)
    log.close()


def test_c5_a_bad_token_that_a_route_lets_pass_is_counted_with_its_private_reason(metrics: WorkerMetrics) -> None:
    telemetry = Telemetry(metrics, None)
    finish(telemetry, bad_token="bad_tag")
    finish(telemetry, bad_token="bad_tag", reason=Reason.TOKEN_REFUSED, reason_detail="bad_tag")
    finish(telemetry, bad_token="bad_tag", reason=Reason.AUTHENTICATION_REQUIRED, reason_detail="no_user")
    metrics.refresh()
    assert metrics.refusals == {("token_refused", "bad_tag"): 3, ("authentication_required", "no_user"): 1}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"reason": Reason.KEYS_UNAVAILABLE}, "no_keys"),
        ({"reason": Reason.KEYS_STALE}, "stale_keys"),
        ({"reason": Reason.TOKEN_REFUSED, "bad_token": "unknown_key"}, "unknown_key"),
        ({"reason": Reason.TOKEN_REFUSED, "bad_token": "renewal_refused"}, "renewal_refused"),
        ({"reason": Reason.LEVEL_TOO_LOW, "rescheduled_count": 2}, "stale"),
        ({"reason": Reason.TOKEN_REFUSED, "bad_token": "bad_tag"}, None),
        ({"reason": Reason.LEVEL_TOO_LOW}, None),
        ({"rescheduled_count": 2}, None),
    ],
)
def test_who_is_turned_away_for_our_failure_is_counted_and_nobody_else(
    metrics: WorkerMetrics, changes: dict[str, Any], cause: str | None
) -> None:
    finish(Telemetry(metrics, None), **changes)
    expected = [] if cause is None else [((cause,), 1)]
    assert metrics.snapshot(0.0).values["edge_user_reauth_errors_total"] == expected


def test_no_exchange_is_lost_however_many_ways_there_are_to_end(metrics: WorkerMetrics) -> None:
    telemetry = Telemetry(metrics, None)
    ways = 5_000
    for number in range(ways):
        finish(telemetry, rescheduled_count=number % 2, reason=Reason.TOKEN_REFUSED, reason_detail=f"bad {number}")
        finish(telemetry)
    for _ in range(2):  # what was told once is not told again
        values = metrics.snapshot(0.0).values
        assert values["edge_requests_total"] == [(("browse", "200", "completed"), 2 * ways)]
        assert sum(number for _, number in values["edge_refusals_total"]) == ways
        assert dict(values["edge_user_levels_total"])[("high",)] == 2 * ways


def test_a_route_that_asks_no_origin_has_no_origin_time(metrics: WorkerMetrics) -> None:
    finish(Telemetry(metrics, None), origin_s=0.0)
    assert metrics.snapshot(0.0).histograms["edge_request_origin_seconds"] == []


def test_a_worker_with_nothing_to_do_gathers_nothing_for_its_log(metrics: WorkerMetrics, tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    telemetry = Telemetry(metrics, log, LineWriter(b"k" * 32))
    for _ in range(3):
        telemetry.sweep()
    assert log._texts == []
    telemetry.close()


def test_lines_are_right_however_many_hosts_and_people_there_are() -> None:
    lines, many = LineWriter(b"k" * 32), 21_000
    for number in [*range(many), 0, many - 1]:
        made = exchange()
        made.request.host = f"{number}.test".encode()
        made.device = DeviceIdentity(Source.COOKIE, Level.HIGH, f"ESN-{number}", 3)
        ended = Ended(made, alike(made), edge_s=0.0, origin_s=0.0, bytes_in=0, bytes_out=0)
        told = json.loads(lines.line(ended))
        assert (told["host"], told["device"]) == (f"{number}.test", lines.device(f"ESN-{number}"))
    assert len(lines._who) <= 20_000
    assert len(lines._asked) <= 1_000
