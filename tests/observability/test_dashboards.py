"""Grafana's dashboards are made from what describes them, and are whole."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.observability.prometheus import DASHBOARDS
from tests.processes import REPOSITORY

FILES = sorted(DASHBOARDS.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((DASHBOARDS / name).read_text())
    return page


def test_what_is_made_from_catalogue_and_panels_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "config/generate.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_dashboards_have_ids_of_their_own_that_stay() -> None:
    uids = {file.stem: load(file.name)["uid"] for file in FILES}
    assert uids == {file.stem: f"edge-{file.stem}" for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_each_panel_has_a_unit_a_text_a_place_and_the_chosen_datasource(file: Any) -> None:
    page = load(file.name)
    assert [variable["type"] for variable in page["templating"]["list"]] == ["datasource"]
    panels = [panel for panel in page["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
