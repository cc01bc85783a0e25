"""Time per filter out of a Prometheus exposition."""

from loadtest.bench.filter_costs import FilterCounters, microseconds, parse

EXPOSITION = """# HELP edge_filter_seconds_total Time spent in a filter.
# TYPE edge_filter_seconds_total counter
edge_filter_seconds_total{filter="cookie"} 0.25
edge_filter_seconds_total{filter="passport"} 0.5
# HELP edge_filter_calls_total Calls of a filter.
# TYPE edge_filter_calls_total counter
edge_filter_calls_total{filter="cookie"} 100000.0
edge_filter_calls_total{filter="passport"} 100000.0
# HELP edge_requests_total Requests.
# TYPE edge_requests_total counter
edge_requests_total{route="browse",status="200"} 100000.0
"""


def test_counters_are_read_by_filter() -> None:
    counters = parse(EXPOSITION)
    assert counters.seconds == {"cookie": 0.25, "passport": 0.5}
    assert counters.calls == {"cookie": 100000.0, "passport": 100000.0}


def test_only_what_happened_between_two_scrapes_counts() -> None:
    before = FilterCounters({"cookie": 10.0}, {"cookie": 1000.0})
    after = FilterCounters({"cookie": 10.003}, {"cookie": 2000.0})
    assert microseconds([(before, after)]) == {"cookie": 3.0}


def test_several_spans_are_weighed_by_their_calls() -> None:
    empty = FilterCounters()
    spans = [
        (empty, FilterCounters({"cookie": 0.001}, {"cookie": 1000.0})),
        (empty, FilterCounters({"cookie": 0.006}, {"cookie": 2500.0})),
    ]
    assert microseconds(spans) == {"cookie": 2.0}


def test_a_filter_that_was_not_called_is_left_out() -> None:
    counters = parse(EXPOSITION)
    assert microseconds([(counters, counters)]) == {}
