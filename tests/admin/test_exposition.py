"""What Prometheus reads: parsed by its own parser."""

from prometheus_client.parser import text_string_to_metric_families

from edge.admin.exposition import exposition
from edge.telemetry.catalogue import METRICS
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.snapshot import Merged
from edge.telemetry.telemetry import Telemetry
from tests.telemetry.exchanges import exchange


def samples(metrics: WorkerMetrics) -> dict[tuple[str, str], float]:
    merged = Merged()
    merged.add(metrics.snapshot(100.0))
    families = text_string_to_metric_families(exposition(merged).decode())
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_metric_of_the_catalogue_is_announced_with_its_type() -> None:
    text = exposition(Merged()).decode()
    for metric in METRICS:
        assert f"# TYPE {metric.name} {metric.kind}" in text
        assert f"# HELP {metric.name} {metric.help}" in text


def test_counters_and_gauges_have_their_labels() -> None:
    metrics = WorkerMetrics()
    metrics.remote_call("cookie", "renewed")
    metrics.connections["downstream"] = 4
    metrics.filter_cost("hygiene")[:] = [2, 0.5]
    found = samples(metrics)
    assert found["edge_remote_calls_total", "outcome=renewed,service=cookie"] == 1
    assert found["edge_connections", "side=downstream"] == 4
    assert found["edge_filter_calls_total", "filter=hygiene"] == 2
    assert found["edge_filter_seconds_total", "filter=hygiene"] == 0.5


def test_counters_whose_first_one_is_an_alarm_are_there_from_the_start() -> None:
    metrics = WorkerMetrics()
    metrics.renewed("revoked")
    found = samples(metrics)
    assert found["edge_user_reauth_errors_total", "cause=stale"] == 0
    assert (found["edge_renewals_total", "outcome=revoked"], found["edge_renewals_total", "outcome=renewed"]) == (1, 0)
    assert all(len(metric.labels) == 1 for metric in METRICS if metric.known)


def test_histogram_buckets_are_cumulative_and_end_with_the_count() -> None:
    metrics = WorkerMetrics()
    telemetry = Telemetry(metrics, None)
    for edge_s in (0.00001, 0.0002, 99.0):
        telemetry.finished(
            exchange(), status=200, outcome="completed", edge_s=edge_s, origin_s=0.0, bytes_in=0, bytes_out=0
        )
    found = samples(metrics)
    name = "edge_request_edge_seconds"
    assert found[f"{name}_bucket", "le=5e-05,route=browse"] == 1
    assert found[f"{name}_bucket", "le=0.00025,route=browse"] == 2
    assert found[f"{name}_bucket", "le=30.0,route=browse"] == 2
    assert found[f"{name}_bucket", "le=+Inf,route=browse"] == 3
    assert found[f"{name}_count", "route=browse"] == 3
    assert found[f"{name}_sum", "route=browse"] == 99.00021


def test_a3_a_label_cannot_break_out_of_its_line() -> None:
    metrics = WorkerMetrics()
    hostile = 'x"} 1\nedge_requests_total{route="y'
    metrics.remote_call(hostile, "ok")
    found = samples(metrics)
    assert found["edge_remote_calls_total", f"outcome=ok,service={hostile}"] == 1
