"""Prometheus's own tool on the rules, and what it does not look at: runbooks, cases, and that all metrics exist."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from edge.telemetry.catalogue import METRICS, Kind
from tests.observability.prometheus import CONFIG, DASHBOARDS, needs_prometheus, quickened
from tests.processes import REPOSITORY

RULE_FILES = sorted(CONFIG.glob("*_rules.yml"))
CASES = sorted((CONFIG / "tests").glob("*.yml"))
PAGE = (REPOSITORY / "docs" / "alerts.md").read_text()


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"]: rule for rule in rules("alert")}
RECORDED = {rule["record"] for rule in rules("record")}


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_the_configuration_and_its_rules() -> None:
    said = promtool("check", "config", str(CONFIG / "prometheus.yml"))
    assert f"{len(RULE_FILES)} rule files found" in said
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULE_FILES))


@needs_prometheus
@pytest.mark.parametrize("file", CASES, ids=lambda file: str(file.stem))
def test_each_case_of_the_rules_comes_out(file: Any) -> None:
    promtool("test", "rules", str(file))


def test_each_alert_has_a_case_in_which_it_fires_alone_and_one_in_which_nothing_does() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for case in (case for file in CASES for case in yaml.safe_load(file.read_text())["tests"]):
        name = case["name"].split()[0]
        (asked,) = case["promql_expr_test"]
        assert asked["expr"] == 'count by (alertname) (ALERTS{alertstate="firing"})'
        if asked["exp_samples"]:
            assert asked["exp_samples"] == [{"labels": f'{{alertname="{name}"}}', "value": 1}]
        (fires if asked["exp_samples"] else quiet).add(name)
    assert fires == quiet == set(ALERTS)


def test_each_alert_says_what_it_is_how_urgent_and_where_to_read_on() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        assert [word for word in ("**Means**", "**Look at**", "**Do**") if word not in section] == [], section[:30]


def test_the_table_of_scenarios_says_which_alert_is_caused_by_which() -> None:
    said: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| ([A-Z]\w+(?:, \w+)*) \| (.*) \|$", PAGE, re.MULTILINE):
        scenarios = re.findall(r"`(\w+_\w+)`", row[1])
        said |= {(alert, scenario) for alert in row[0].split(", ") for scenario in scenarios}
    assert {alert for alert, _ in said} == set(ALERTS)
    files = sorted((REPOSITORY / "tests" / "observability").glob("alert_scenarios*.py"))
    source = "\n".join(file.read_text() for file in files)
    for alert, scenario in said:
        _, _, body = source.partition(f"async def test_{scenario}(")
        assert f'"{alert}"' in body.partition("async def test_")[0], (alert, scenario)


def known_metrics() -> set[str]:
    names = {metric.name for metric in METRICS if metric.kind is not Kind.HISTOGRAM}
    names |= {f"{metric.name}_bucket" for metric in METRICS if metric.kind is Kind.HISTOGRAM}
    for page in ("keys.md", "services.md"):
        names |= set(
            re.findall(r"^\| `((?:kms|cookie)_\w+)` \|", (REPOSITORY / "docs" / page).read_text(), re.MULTILINE)
        )
    return names | RECORDED


def test_every_metric_that_rules_and_dashboards_use_exists() -> None:
    used = "".join(file.read_text() for file in (*RULE_FILES, *DASHBOARDS.glob("*.json")))
    expressions = re.sub(r'"(description|title|uid|name|summary)": "[^"]*"', "", used)
    names = set(re.findall(r"\b(?:edge|kms|cookie)_\w+(?=[{\[ )*])", expressions))
    names |= set(re.findall(r"\b\w+:edge_\w+:\w+|\bedge:\w+:\w+", expressions))
    assert len(names) > 60
    assert names - known_metrics() == set()


def test_what_is_made_faster_is_every_duration_and_nothing_else() -> None:
    rule = "expr: rate(a[5m]) > 0.001 or b_age_seconds > 120 or c offset 15m > 2\nfor: 1h\n"
    assert (
        quickened(rule, 60)
        == "expr: rate(a[5000ms]) > 0.001 or b_age_seconds > 2.0 or c offset 15000ms > 2\nfor: 60000ms\n"
    )
    assert quickened(rule, 1) == rule
