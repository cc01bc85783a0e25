"""Load with dials that are turned: who must be served how, and the checks, each of which fails by what it names."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from edge.contract.dials import Dial, DialTable, Feature
from loadtest.locust.checks import check
from loadtest.locust.device_table import read_table
from loadtest.locust.dialled import LEGACY, PASSPORT, Board, Standing, bucket_of, serial
from loadtest.locust.edge_counters import EdgeCounters
from loadtest.locust.expectations import Answer, Sign, judge
from loadtest.locust.figures import Figures
from loadtest.locust.jar import Taken
from loadtest.locust.report import as_json, html_section, result_lines
from loadtest.locust.rollout_checks import shares
from loadtest.locust.scenarios import SCENARIOS
from loadtest.locust.tally import Tally
from loadtest.locust.turning import Turn, Turning
from loadtest.locust.visits import Step
from tests.loadtest.test_locust_checks import OK
from tests.processes import REPOSITORY

SCENARIO = SCENARIOS["rollout"]
ROLLOUT = SCENARIO.rollout
COURSE = (5, 50, 100, 50, 5, 0)
PAGE = """\
edge_rollout_decisions_total{feature="terminate-cookie",device_type="television",on="true"} 3
edge_rollout_decisions_total{feature="terminate-cookie",device_type="television",on="false"} 7
edge_rollout_decisions_total{feature="shadow-cookie",device_type="television",on="true"} 7
edge_shadow_comparisons_total{device_type="television",token="cookie",result="same"} 4
edge_shadow_comparisons_total{device_type="television",token="cookie",result="not_compared"} 1
edge_shadow_comparisons_total{device_type="television",token="cookie",result="other_user"} 2
"""
UNREPORTED = 'edge_shadow_comparisons_total{device_type="phone",token="none",result="unreported"} 1\n'
MODES = {
    "television legacy": 7,
    "television passport": 3,
    "television reported other_user": 2,
    "television at 0 legacy": 20,
    "television at 5 legacy": 19,
    "television at 5 passport": 1,
    "television at 50 legacy": 11,
    "television at 50 passport": 9,
    "television at 100 passport": 20,
    "phone at 50 legacy": 10,
    "phone at 50 passport": 10,
}


def _figures(page: str = PAGE, **modes: int) -> Figures:
    tally = Tally()
    tally.events.update({"devices": 1, "devices television": 1, "signed_in": 1})
    for step in (Step.SIGN_IN, Step.BROWSE):
        tally.count("television", step, OK, Sign.EXPECTED)
    tally.modes.update(MODES)
    for name, count in modes.items():
        tally.modes[name.replace("_at_", " at ").replace("__", " ")] = count
    counters = EdgeCounters.read(page)
    standing = Turn(0.0, "phone", 0, 50, "", done=True)
    turns = tuple(Turn(1.0, "television", 0, percent, "2 of 2 workers serve", done=True) for percent in COURSE)
    return Figures("rollout", 1, 60.0, counters, counters, tally, {}, (standing, *turns), counters)


def _failed(figures: Figures) -> list[str]:
    return [one.name for one in check(figures, SCENARIO, ("television",)) if not one.met]


def test_a_good_rollout_meets_every_check() -> None:
    assert _failed(_figures()) == []


def test_an_answer_in_the_mode_that_the_dial_does_not_say_is_one_too_many() -> None:
    figures = _figures(television__against_dial=1)
    assert _failed(figures) == ["served_as_the_dial_says"]


def test_a_share_that_is_not_the_dials_fails_and_so_does_a_position_at_which_nobody_was_seen() -> None:
    figures = _figures()
    figures.tally.modes.update({"television at 50 legacy": -4, "television at 50 passport": 4})
    assert _failed(figures) == ["share_in_legacy"]
    figures = _figures()
    del figures.tally.modes["phone at 50 legacy"], figures.tally.modes["phone at 50 passport"]
    assert _failed(figures) == ["share_in_legacy"]


def test_the_edge_and_the_devices_must_have_counted_the_same() -> None:
    assert _failed(_figures(PAGE.replace('on="true"} 3', 'on="true"} 4'))) == ["decisions_agree"]
    assert _failed(replace(_figures(), settled=None)) == ["decisions_agree"]


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (PAGE.replace('"other_user"} 2', '"other_user"} 1'), "1 missed, 0 invented"),
        (PAGE.replace('"other_user"} 2', '"other_user"} 3'), "0 missed, 1 invented"),
        (PAGE.replace('"other_user"', '"other_level"'), "2 missed, 2 invented"),
        (
            PAGE + 'edge_shadow_comparisons_total{device_type="phone",token="none",result="unreported"} 1\n',
            "1 invented",
        ),
    ],
)
def test_a_wrong_identity_that_was_missed_or_invented_fails_by_device_type(page: str, says: str) -> None:
    (failed,) = [one for one in check(_figures(page), SCENARIO, ("television",)) if not one.met]
    assert failed.name == "wrong_identities_found"
    assert says in failed.says


def test_a_run_in_which_nothing_wrong_was_reported_has_shown_nothing() -> None:
    figures = _figures(PAGE.replace('"other_user"} 2', '"other_user"} 0'))
    del figures.tally.modes["television reported other_user"]
    assert _failed(figures) == ["wrong_identities_found"]


def test_a_dial_that_could_not_be_turned_fails_and_says_why() -> None:
    figures = _figures()
    refused = replace(figures.turns[-1], said="another change came first", done=False)
    (failed,) = [
        one
        for one in check(replace(figures, turns=(*figures.turns[:-1], refused)), SCENARIO, ("television",))
        if not one.met
    ]
    assert (failed.name, "another change came first" in failed.says) == ("dials_turned", True)
    assert _failed(replace(figures, turns=figures.turns[:-1])) == ["dials_turned"]


def test_the_devices_of_the_load_are_in_as_the_edge_finds_them_and_evenly() -> None:
    table = DialTable(1, {Dial(Feature.TERMINATE_COOKIE, None, 4): 5000})
    esns = [serial("LOAD", number) for number in range(64)]
    assert len(set(esns)) == 64
    on = [table.is_on(Feature.TERMINATE_COOKIE, "api", 4, esn.encode()) for esn in esns]
    assert on == [Standing(50, 50).allows(PASSPORT, bucket_of(esn)) for esn in esns]
    for many in (8, 20, 64):
        assert abs(sum(on[:many]) - many / 2) <= 1
    of_two = [serial("LOAD", number, worker) for worker in range(2) for number in range(3)]
    assert sum(bucket_of(esn) < 5000 for esn in of_two) == 3


def test_while_a_dial_is_turned_either_mode_is_right_for_those_in_between_and_for_no_others() -> None:
    board = Board()
    asked = board.of("television")
    board.told("television", 5, 50)
    turned = asked.or_at(board.of("television"))
    assert turned == Standing(0, 50)
    assert not turned.settled
    assert [turned.allows(LEGACY, at) for at in (0, 4999, 5000)] == [True, True, True]
    assert [turned.allows(PASSPORT, at) for at in (0, 4999, 5000)] == [True, True, False]
    still = Standing(5, 5)
    assert [still.allows(LEGACY, at) for at in (0, 499, 500)] == [False, False, True]
    assert [still.allows(PASSPORT, at) for at in (0, 499, 500)] == [True, True, False]
    board.clear()
    assert board.of("television") == Standing(0, 0)


def _said_by(text: str, code: int) -> Callable[..., SimpleNamespace]:
    return lambda *_, **__: SimpleNamespace(stdout=text, stderr="", returncode=code)


@pytest.mark.parametrize(
    ("text", "code", "done"),
    [
        ("terminate-cookie: 0 % → 5 %, revision 1\n2 of 2 workers serve revision 1\n", 0, True),
        ("terminate-cookie: 0 % → 5 %, revision 1\n1 of 2 workers serve revision 1\n", 0, False),
        ("no edge runs with var\n", 3, False),
    ],
)
def test_devices_are_told_before_a_dial_is_turned_and_once_all_workers_serve_it(
    text: str, code: int, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROLLOUT is not None
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(subprocess, "run", _said_by(text, code))
    one = Turning(replace(ROLLOUT, course=(0, 5)), "var", lambda *what: told.append(what), lambda _: None)
    one.go(0.0)
    assert told == [("television", 0, 5)] + [("television", 5, 5)] * done
    assert [turn.done for turn in one.turns] == [done]


def test_a_command_that_gives_no_answer_is_a_turn_that_was_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(line: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(line, 30)

    assert ROLLOUT is not None
    monkeypatch.setattr(subprocess, "run", never)
    one = Turning(replace(ROLLOUT, course=(0, 5)), "var", lambda *_: None, lambda _: None)
    one.go(0.0)
    assert [(turn.done, turn.said) for turn in one.turns] == [(False, "no answer in 30 s")]


def test_an_origin_in_legacy_mode_tells_who_has_signed_out_that_more_is_needed() -> None:
    def sign(answer: Answer, *, legacy: bool) -> Sign:
        return judge(Step.SIGNED_OUT, answer, Taken(), customer_id=1, high=True, full=False, legacy=legacy)

    assert sign(Answer(403, "level_too_low"), legacy=True) is Sign.EXPECTED
    assert sign(Answer(401, "authentication_required"), legacy=True) is Sign.UNEXPECTED
    assert sign(Answer(403, "level_too_low"), legacy=False) is Sign.UNEXPECTED


def test_the_types_of_the_table_are_those_of_the_shipped_configuration() -> None:
    shipped = yaml.safe_load((REPOSITORY / "config/device_types.yaml").read_text())["device_types"]
    ours = yaml.safe_load((REPOSITORY / "loadtest/locust/devices.yaml").read_text())["device_types"]
    assert ours.items() <= {name: number for number, name in shipped.items()}.items()


def test_the_report_has_dials_shares_and_what_was_found_for_people_and_for_machines() -> None:
    figures = _figures()
    checks = check(figures, SCENARIO, ("television",))
    lines = "\n".join(result_lines(figures, checks))
    assert "television        50 %: 11 of 20 in legacy mode, 55.0 %" in lines
    assert "television      other_user: 2 seeded, 2 found" in lines
    assert shares(figures.tally)["phone"] == {50: (10, 20)}
    page = html_section(as_json(figures, checks, seed=1, table=read_table()))
    assert "<td>11 of 20 devices in legacy mode</td>" in page
    assert "<td>wrong_identities_found</td>" in page
    assert "<td>2 of 2 workers serve</td>" in page
    assert "<script" not in html_section({"checks": [{"name": "<script>", "says": "", "met": True}]})
