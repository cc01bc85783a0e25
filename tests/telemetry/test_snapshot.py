"""Values of several workers become one, and no counter ever goes backward."""

import pytest
from pydantic import ValidationError

from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.snapshot import Snapshot, WorkerValues
from edge.telemetry.snapshot_message import read_snapshot
from edge.telemetry.telemetry import Telemetry
from tests.telemetry.exchanges import exchange


def worker(requests: int, *, revision: int = 1, connections: int = 0) -> Snapshot:
    metrics = WorkerMetrics()
    metrics.keys.ring(revision, fetched_at=100.0 - revision, source="kms")
    metrics.connections["downstream"] = connections
    telemetry = Telemetry(metrics, None)
    for _ in range(requests):
        telemetry.finished(
            exchange(), status=200, outcome="completed", edge_s=0.001, origin_s=0.0, bytes_in=0, bytes_out=0
        )
    return metrics.snapshot(100.0)


def requests_in(values: WorkerValues) -> float:
    return values.merged().values["edge_requests_total"][("browse", "200", "completed")]


def test_counters_and_histograms_of_living_workers_add_up() -> None:
    values = WorkerValues()
    values.update(0, worker(3))
    values.update(1, worker(4))
    assert requests_in(values) == 7
    row = values.merged().histograms["edge_request_edge_seconds"][("browse",)]
    assert sum(row[:-1]) == 7
    assert row[-1] == pytest.approx(0.007)


def test_a_dead_workers_counters_stay_and_its_gauges_go() -> None:
    values = WorkerValues()
    values.update(0, worker(3, connections=5))
    values.update(1, worker(4, connections=6))
    values.retire(0)
    assert requests_in(values) == 7
    assert values.merged().values["edge_connections"] == {("downstream",): 6}
    values.update(0, worker(1))
    assert requests_in(values) == 8


def test_of_several_key_rings_the_oldest_and_the_longest_unfetched_show() -> None:
    values = WorkerValues()
    values.update(0, worker(0, revision=8))
    values.update(1, worker(0, revision=9))
    merged = values.merged().values
    assert merged["edge_key_ring_revision"] == {(): 8}
    assert merged["edge_key_ring_age_seconds"] == {("kms",): 9.0}


def test_merging_twice_gives_the_same_values() -> None:
    values = WorkerValues()
    values.update(0, worker(3))
    values.retire(0)
    values.update(0, worker(2))
    first = values.merged()
    assert values.merged().snapshot() == first.snapshot()


def test_what_is_no_snapshot_is_an_error() -> None:
    with pytest.raises(ValidationError):
        read_snapshot({"values": {"edge_requests_total": [[["a"], "many"]]}, "histograms": {}})
