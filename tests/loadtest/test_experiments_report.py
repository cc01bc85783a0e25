"""What the experiments make of their figures: ratios, the bar, tables, plots, and the exit code."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.bench.filter_costs import FilterCounters
from loadtest.bench.load import Sample
from loadtest.bench.settings import Cores
from loadtest.experiments import __main__ as command
from loadtest.experiments import costs, growth, latency, memory, remote, workers
from loadtest.experiments.facts import left_out
from loadtest.experiments.ground import Programs, samples
from loadtest.experiments.latencies import Outcomes, point
from loadtest.experiments.memory import Weighed, Weight
from loadtest.experiments.plots import draw
from loadtest.experiments.result import Check, Result, Table
from loadtest.experiments.settings import NAMES, QUICK, USUAL, Settings, cores_of_two_workers
from loadtest.experiments.slices import Slices
from loadtest.experiments.spread import ratios, spread
from loadtest.experiments.tables import blocks, markdown, place, show

REPOSITORY = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n"


def slices(rps: Sequence[float], cpu_us: float = 60.0) -> Slices:
    made = [Sample(int(one), 1.0, 1.0, 4.0, 9.0, 0, 0) for one in rps]
    return Slices(made, [cpu_us] * len(made), [0.02] * len(made))


def of_costs(both: float) -> Result:
    found = {
        costs.BOTH: slices([1000 * both] * 4, 66), costs.NO_LOG: slices([980] * 4, 62),
        costs.NO_METRICS: slices([960] * 4, 64), costs.NEITHER: slices([1000] * 4, 60),
    }  # fmt: skip
    counters = FilterCounters({"cookie": 0.5, "scrub": 0.1}, {"cookie": 100_000, "scrub": 100_000})
    return costs.result(found, FilterCounters(), counters)


def of_latency(after: float | None = 990.0) -> Result:
    points = [
        point(1000 * each, 8.0, Outcomes([0.002] * 90, [0.5] * 10, [late], 90, 0, 0, 0))
        for each, late in zip(QUICK.fractions, (0.0, 0.0, 0.5), strict=True)
    ]
    return latency.result(QUICK, points, (1000.0, after), 32)


def of_remote() -> Result:
    found = {
        name: slices([1000, 1100], cpu) for name, cpu in ((remote.LOCAL, 60), (remote.DUE, 80), (remote.EXPIRED, 90))
    }
    points = {name: point(300, 2.0, Outcomes([0.001], [], [], 1, 0, 0, 0)) for name in found}
    return remote.result(found, points, {name: [0.05, 0.06] for name in found}, {"renewed": 110.0})


def of_memory() -> Result:
    weights = [Weight(0, 70_000_000, 60_000_000), Weight(10_000, 110_000_000, 101_000_000)]
    return memory.result({"plain": Weighed(weights, Weight(0, 80_000_000, 70_000_000))})


def of_growth() -> Result:
    sizes = {10: slices([1000, 1010]), 10_000: slices([990, 1000], 61)}
    return growth.result(
        dict.fromkeys(growth.UNITS, sizes), {axis: dict.fromkeys(sizes, 80.0) for axis in growth.UNITS}
    )


def of_workers() -> Result:
    return workers.result({"1": slices([1000, 1010]), "2": slices([1500, 1515])}, shared=True)


ALL = (of_latency, of_workers, lambda: of_costs(0.95), of_remote, of_memory, of_growth)


class TestRatios:
    def test_are_those_of_pairs_not_of_medians(self) -> None:
        assert ratios([10, 40], [10, 20]).median == 1.5
        assert spread([1, 2, 3, 4, 5]).text(0) == "3 (2 to 4)"
        assert spread([7.0]).low == spread([7.0]).high == 7.0


class TestTheBar:
    @pytest.mark.parametrize(("both", "good"), [(0.95, True), (0.9, True), (0.899, False), (0.5, False)])
    def test_metrics_and_log_may_take_a_tenth_of_the_throughput(self, both: float, *, good: bool) -> None:
        (check,) = of_costs(both).checks
        assert check.good is good

    def test_each_part_is_compared_with_neither(self) -> None:
        kept = of_costs(0.95).figures["kept"]
        assert isinstance(kept, dict)
        assert {name: one[1] for name, one in kept.items()} == {
            "metrics": 0.98, "access log": 0.96, "metrics and access log": 0.95,
        }  # fmt: skip


class TestMemory:
    def test_is_that_of_a_connection_over_an_edge_without_any(self) -> None:
        one = Weighed([Weight(0, 10_000, 0), Weight(4, 50_000, 8_000)], Weight(0, 30_000, 0))
        assert (one.each_kb("rss"), one.each_kb("pss")) == (10.0, 2.0)
        assert one.left_kb("rss") == 5.0


class TestReports:
    def test_every_table_is_drawn_for_a_terminal_and_has_a_place_in_the_page(self, tmp_path: Path) -> None:
        results = [make() for make in ALL]
        assert tuple(one.name for one in results) == NAMES
        console = Console(width=200, record=True)
        for one in results:
            show(one, console)
        said = console.export_text()
        assert all(table.title in said for one in results for table in one.tables)
        page = tmp_path / "performance.md"
        page.write_text((REPOSITORY / "docs" / "performance.md").read_text())
        assert place(page, {**blocks(results), "machine": "here"}) == []
        assert "| `cookie` | 5.00 | 8.1% |" in page.read_text()

    def test_every_plot_is_written_and_shown_in_the_page(self, tmp_path: Path) -> None:
        results = [make() for make in ALL]
        files = draw((plot for one in results for plot in one.plots), tmp_path / "images")
        assert all(file.read_bytes().startswith(PNG) for file in files)
        text = (REPOSITORY / "docs" / "performance.md").read_text()
        assert [file.name for file in files] == [f"performance_{name}.png" for name in NAMES]
        assert all(f"images/{file.name}" in text for file in files)
        assert all(panel.x_label and panel.y_label for one in results for plot in one.plots for panel in plot.panels)

    def test_late_points_are_marked(self) -> None:
        (table,) = of_latency().tables
        assert [row[0] for row in table.rows] == ["20%", "50%", "80% *"]

    def test_a_table_goes_between_its_marks_and_nowhere_else(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- one -->\nold\n<!-- end -->\nafter\n")
        table = Table("one", "", ["a", "b"], [["x", "1"]])
        assert place(page, {"one": markdown(table), "two": "nowhere"}) == ["two"]
        assert page.read_text() == "before\n<!-- one -->\n| a | b |\n| --- | ---: |\n| x | 1 |\n<!-- end -->\nafter\n"

    def test_samples_of_one_metric_are_read_with_their_labels(self) -> None:
        text = '# TYPE a_total counter\na_total{b="c"} 3\na_total{b="d"} 4\n# TYPE e gauge\ne 5\n'
        assert samples(text, "a_total") == [({"b": "c"}, 3.0), ({"b": "d"}, 4.0)]


class TestTheCommand:
    @pytest.fixture
    def _no_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "missing_programs", lambda *_: {})
        monkeypatch.setattr(command, "programs_for", lambda *_: Programs("", "/bin/true", None, None))
        monkeypatch.setattr(command, "assign_cores", lambda: Cores(0, 1, 1))
        monkeypatch.setattr(command, "left_out", lambda *_: {})

    @pytest.mark.usefixtures("_no_programs")
    @pytest.mark.parametrize(("good", "failed", "code"), [(True, {}, 0), (False, {}, 1), (True, {"memory": "no"}, 1)])
    def test_a_check_that_does_not_hold_fails_the_run(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: dict[str, str], code: int, *, good: bool
    ) -> None:
        async def measure(*_: object) -> tuple[list[Result], dict[str, str]]:
            return [Result("costs", [], checks=[Check("it holds", good, "0.5")])], failed

        monkeypatch.setattr(command, "measure", measure)
        assert command.main(["--quick", "--var", str(tmp_path)]) == code
        read = json.loads((tmp_path / "latest.json").read_text())
        assert read["experiments"]["costs"]["checks"] == [{"what": "it holds", "good": good, "found": "0.5"}]
        assert read["left_out"] == failed
        assert read["machine"]["cpu"]
        assert read["settings"]["quick"]

    def test_experiments_are_chosen_by_name_and_keep_their_order(self, capsys: pytest.CaptureFixture[str]) -> None:
        chosen = command.settings_from(command.options_from(["memory", "latency", "--quick"]))
        assert chosen.names == ("latency", "memory")
        assert chosen.length is QUICK
        assert Settings().names == NAMES == tuple(command.EXPERIMENTS)
        assert Settings().length is USUAL
        with pytest.raises(SystemExit):
            command.options_from(["speed"])
        assert "there is no experiment speed" in capsys.readouterr().err

    def test_what_cannot_be_measured_is_left_out_with_the_reason(self) -> None:
        assert left_out(NAMES, {}, 2) == {}
        assert set(left_out(NAMES, {}, 1)) == set(NAMES)
        no_wrk = left_out(NAMES, {"wrk": "install wrk"}, 2)
        assert set(no_wrk) == set(NAMES) - {"memory"}
        assert no_wrk["costs"] == "install wrk"
        assert set(left_out(["memory"], {"gcc": "no compiler"}, 2)) == {"memory"}

    def test_a_second_worker_gets_a_core_that_nobody_has(self) -> None:
        assert cores_of_two_workers(Cores(0, 1, 2), {0, 1, 2, 3}) == (0, 3)
        assert cores_of_two_workers(Cores(0, 1, 1), {0, 1}) == (0, 1)


def test_points_stand_though_the_edge_still_refuses_after_them() -> None:
    kept = of_latency(after=None)
    assert kept.figures["capacity_rps"] == [1000.0, None]
    assert "after it the edge still refused some" in kept.notes[0]
    assert kept.tables[0].rows == of_latency().tables[0].rows
