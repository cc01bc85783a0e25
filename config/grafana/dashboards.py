"""Grafana's dashboards from `panels/*.yaml`, one file for each: what is asked and shown. All else is the same for all.

A file has `uid`, `title` and `rows`; a row `title` and `panels`; a panel `title`, `about`, `unit` (Grafana's id) and
`queries` (legend → PromQL), maybe `kind` (`timeseries`, the default, `stat` or `table`), `width` (of 24), `max`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def dashboards() -> dict[Path, str]:
    """Return the text of each dashboard's file."""
    described = {source.stem: yaml.safe_load(source.read_text()) for source in sorted((HERE / "panels").glob("*.yaml"))}
    return {
        HERE / "dashboards" / f"{name}.json": json.dumps(_dashboard(page), indent=1, ensure_ascii=False) + "\n"
        for name, page in described.items()
    }


def _dashboard(page: Json) -> Json:
    return {
        "uid": page["uid"],
        "title": page["title"],
        "tags": ["edge-passport"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 38,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "links": [
            {"type": "dashboards", "tags": ["edge-passport"], "asDropdown": True, "includeVars": True, "title": "Edge"}
        ],
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": list(_panels(page["rows"])),
    }


def _panels(rows: list[Json]) -> Iterator[Json]:
    number = y = 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        yield {"id": number, "type": "row", "title": row["title"], "collapsed": False, "gridPos": place, "panels": []}
        x, y = 0, y + 1
        for panel in row["panels"]:
            number += 1
            width = panel.get("width", 8)
            if x + width > 24:
                x, y = 0, y + HEIGHT
            yield _panel(number, panel, {"x": x, "y": y, "w": width, "h": HEIGHT})
            x += width
        y += HEIGHT


def _panel(number: int, panel: Json, place: Json) -> Json:
    kind = panel.get("kind", "timeseries")
    defaults: Json = {"unit": panel["unit"], "min": 0}
    if "max" in panel:
        defaults["max"] = panel["max"]
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    options: Json = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "area"}
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["about"],
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {} if kind == "table" else options,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": kind == "table",
                "range": kind != "table",
                "format": "table" if kind == "table" else "time_series",
            }
            for at, (legend, expression) in enumerate(panel["queries"].items())
        ],
    }
