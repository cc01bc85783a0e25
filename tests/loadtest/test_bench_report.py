"""Medians, ratios, verdicts, and the files and tables they go into."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.bench import report
from loadtest.bench.contenders import NAMES, round_position
from loadtest.bench.filter_costs import FilterCounters
from loadtest.bench.load import Sample
from loadtest.bench.rounds import Measured
from loadtest.bench.table import show
from loadtest.bench.verdicts import verdicts


def _measured(
    name: str, *rates: int, p99_ms: float = 3.0, cpu: float = 1.0, idle: float = 0.0, broken: int = 0
) -> Measured:
    samples = [Sample(rate, 1.0, 1.0, p99_ms, 5.0, 0, broken) for rate in rates]
    return Measured(name, samples, [cpu] * len(rates), [idle] * len(rates), rss_mib=50.04)


def _found(edge: int = 20_000, envoy: int = 15_000, relay: int = 40_000) -> report.Report:
    return report.report([
        _measured("edge", edge), _measured("envoy_jwt_hs256_cached", envoy),
        _measured("envoy_jwt_es256", 6_000), _measured("nginx", relay),
    ])  # fmt: skip


def test_a_row_holds_the_medians_so_that_one_disturbed_round_does_not_count() -> None:
    row = report.row(_measured("edge", 20_000, 2_000, 21_000))
    assert (row.name, row.rps, row.rps_min, row.rps_max) == ("edge", 20_000, 2_000, 21_000)
    assert (row.p50_ms, row.p99_ms, row.rss_mib) == (1.0, 3.0, 50.0)


def test_processor_time_is_told_per_request() -> None:
    row = report.row(_measured("edge", 10_000, cpu=0.5, idle=0.5))
    assert (row.cpu_us, row.cpu, row.idle) == (50.0, 0.5, 0.5)


def test_ratios_are_those_of_the_medians() -> None:
    assert _found().ratios == {
        "edge_vs_envoy_jwt_hs256_cached": 1.333,
        "edge_vs_envoy_jwt_es256": 3.333,
        "edge_vs_nginx": 0.5,
    }


def test_the_range_of_a_ratio_compares_neighbours_in_time() -> None:
    found = report.report([_measured("edge", 10, 20), _measured("nginx", 20, 25)])
    assert found.ratio_ranges == {"edge_vs_nginx": (0.5, 0.8)}


def test_a_peer_that_was_left_out_has_no_ratio() -> None:
    found = report.report([_measured("edge", 10), _measured("nginx", 20)])
    assert list(found.ratios) == ["edge_vs_nginx"]
    assert report.report([_measured("nginx", 20)]).ratios == {}


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        (20_000, "1.33: the goal of 1.30 is met"),
        (16_000, "1.07: the floor of 1.00 is met, the goal of 1.30 is not"),
        (9_000, "0.60: neither the floor of 1.00 nor the goal of 1.30 is met"),
    ],
)
def test_goals_and_floors_are_spoken_of_in_words(edge: int, words: str) -> None:
    assert f"edge_vs_envoy_jwt_hs256_cached is {words}" in verdicts(_found(edge=edge))


def test_a_third_of_nginx_is_the_floor() -> None:
    sentence = next(line for line in verdicts(_found(relay=55_000)) if line.startswith("edge_vs_nginx"))
    assert sentence == "edge_vs_nginx is 0.36: the floor of 0.33 is met, the goal of 0.45 is not"


@pytest.mark.parametrize(("p99_ms", "words"), [(2.9, "no worse than"), (3.1, ", worse than")])
def test_the_edge_p99_is_compared_with_that_of_the_cached_envoy(p99_ms: float, words: str) -> None:
    found = report.report([_measured("edge", 10, p99_ms=p99_ms), _measured("envoy_jwt_hs256_cached", 10)])
    assert any(words in sentence for sentence in verdicts(found) if "p99" in sentence)


def test_a_proxy_that_waited_for_the_load_is_named() -> None:
    found = report.report([_measured("nginx", 10, cpu=0.7, idle=0.3, broken=1)])
    assert verdicts(found) == [
        "Waited for wrk or the origin, so faster than shown: nginx proxy_pass",
        "Had broken connections or timeouts: nginx proxy_pass",
    ]


def test_a_proxy_whose_core_was_not_its_own_is_named() -> None:
    found = report.report([_measured("edge", 10, cpu=0.7, idle=0.05)])
    assert verdicts(found) == ["Shared its core with other programs: edge"]


def test_the_json_has_rows_ratios_and_filters() -> None:
    edge = _measured("edge", 20_000)
    edge.filters.append((FilterCounters(), FilterCounters({"cookie": 0.3}, {"cookie": 100_000})))
    body = json.loads(report.as_json(report.report([edge]), {"machine": "this"}))
    assert body["filters_us"] == {"cookie": 3.0}
    assert body["machine"] == "this"
    assert {"name", "rps", "p50_ms", "p99_ms", "rss_mib"} <= set(body["rows"][0])


def test_the_report_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "bench" / "latest.json"
    report.write(file, "old")
    report.write(file, "new")
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_the_table_names_every_row_and_ratio() -> None:
    out = StringIO()
    show(_found(), Console(file=out, width=100))
    shown = out.getvalue()
    assert all(words in shown for words in ("nginx proxy_pass", "envoy jwt_authn ES256", "20,000", "edge_vs_nginx"))


def test_rounds_ask_everybody_in_one_fixed_order() -> None:
    assert [round_position(name) for name in NAMES] == list(range(len(NAMES)))
