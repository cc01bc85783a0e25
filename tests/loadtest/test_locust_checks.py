"""What is expected of answers, what is counted, and the checks: each fails when what it names has gone wrong."""

import json
from dataclasses import replace

import pytest

from loadtest.locust.checks import check
from loadtest.locust.device_table import read_table
from loadtest.locust.edge_counters import RESOLUTIONS, EdgeCounters
from loadtest.locust.expectations import Answer, Sign, judge
from loadtest.locust.figures import Figures, Speed
from loadtest.locust.jar import Jar, Taken
from loadtest.locust.report import as_json, progress_line, result_lines
from loadtest.locust.scenarios import SCENARIOS
from loadtest.locust.tally import Tally
from loadtest.locust.visits import Step

NOTHING = Taken()
TYPES = ("television", "ios_phone")
OK = Answer(200, customer_id=1001)
PAGE = """\
# HELP edge_identity_resolutions_total How
edge_identity_resolutions_total{result="ok",source="cookie",where="local"} 940
edge_identity_resolutions_total{result="absent",source="none",where="local"} 10
edge_identity_resolutions_total{result="renewed",source="cookie",where="remote"} 50
edge_remote_calls_total{service="cookie",outcome="renewed"} 60
edge_remote_calls_total{service="kms",outcome="ok"} 2
edge_actions_total{action="cookie:cleared"} 1
edge_connections{side="device"} 7
"""


def _judged(step: Step, answer: Answer, taken: Taken = NOTHING, *, high: bool = True, full: bool = True) -> Sign:
    return judge(step, answer, taken, customer_id=1001, high=high, full=full)


@pytest.mark.parametrize(
    ("step", "answer", "taken", "sign"),
    [
        (Step.SIGN_IN, Answer(200), Taken(given=True), Sign.EXPECTED),
        (Step.SIGN_IN, Answer(503, "overloaded"), Taken(), Sign.BUSY),
        (Step.SIGN_IN, Answer(503, "auth_unavailable"), Taken(), Sign.BUSY),
        (Step.SIGN_IN, Answer(503, "token_service_unavailable"), Taken(), Sign.UNEXPECTED),
        (Step.SIGN_IN, Answer(401, "wrong_credentials"), Taken(), Sign.UNEXPECTED),
        (Step.BROWSE, OK, Taken(given=True), Sign.EXPECTED),
        (Step.BROWSE, Answer(200, customer_id=1002), Taken(), Sign.SOMEBODY_ELSE),
        (Step.BROWSE, Answer(503, "origin_unavailable"), Taken(), Sign.UNEXPECTED),
        (Step.BROWSE, Answer(0, "ConnectionRefusedError"), Taken(), Sign.UNEXPECTED),
        (Step.BROWSE, Answer(401, "authentication_required"), Taken(), Sign.SIGNED_OUT),
        (Step.BROWSE, OK, Taken(cleared=True), Sign.SIGNED_OUT),
        (Step.ACCOUNT, Answer(403, "level_too_low"), Taken(), Sign.UNEXPECTED),
        (Step.SWITCH, Answer(200), Taken(given=True), Sign.EXPECTED),
        (Step.SIGN_OUT, Answer(200), Taken(cleared=True), Sign.EXPECTED),
        (Step.SIGN_OUT, Answer(200), Taken(), Sign.UNEXPECTED),
        (Step.SIGNED_OUT, Answer(401, "authentication_required"), Taken(), Sign.EXPECTED),
        (Step.SIGNED_OUT, OK, Taken(), Sign.UNEXPECTED),
    ],
)
def test_an_answer_is_expected_or_not_by_what_the_device_did(
    step: Step, answer: Answer, taken: Taken, sign: Sign
) -> None:
    assert _judged(step, answer, taken) is sign


def test_a_device_that_keeps_half_of_the_pair_gets_no_account() -> None:
    assert _judged(Step.ACCOUNT, Answer(403, "level_too_low"), high=False) is Sign.EXPECTED
    assert _judged(Step.ACCOUNT, OK, high=False) is Sign.UNEXPECTED


def test_a_sign_in_that_brings_half_of_the_cookies_is_none() -> None:
    assert _judged(Step.SIGN_IN, Answer(200), Taken(given=True), full=False) is Sign.UNEXPECTED


def test_a_jar_keeps_what_its_device_has_a_place_for_and_takes_what_is_renewed_or_cleared() -> None:
    whole, half = Jar(("EdgeId", "SecureEdgeId")), Jar(("EdgeId",))
    lines = ["EdgeId=one; Path=/; HttpOnly", "SecureEdgeId=two; Path=/", "other=x"]
    for jar in (whole, half):
        assert not jar
        assert jar.take(lines) == Taken(given=True)
        assert jar.full
    assert (whole.header, half.header) == ("EdgeId=one; SecureEdgeId=two", "EdgeId=one")
    assert whole.take(["EdgeId=three"]) == Taken(given=True)
    assert whole.header == "EdgeId=three; SecureEdgeId=two"
    assert whole.take(["EdgeId=; Max-Age=0", "SecureEdgeId=; max-age=0"]) == Taken(cleared=True)
    assert not whole
    assert "three" not in repr(whole)


def test_the_edges_counters_are_read_compared_and_summed() -> None:
    counters = EdgeCounters.read(PAGE)
    assert counters.local_percent == 95.0
    assert counters.total(RESOLUTIONS, where="remote") == 50
    assert counters.by("edge_remote_calls_total", "outcome", service="cookie") == {"renewed": 60}
    assert counters.since(counters).local_percent is None
    assert EdgeCounters.read(PAGE.replace(" 50\n", " 80\n")).since(counters).total(RESOLUTIONS) == 30


def _tally() -> Tally:
    tally = Tally()
    for kind in TYPES:
        tally.events.update({"devices": 1, f"devices {kind}": 1, "signed_in": 1})
        tally.count(kind, Step.SIGN_IN, OK, Sign.EXPECTED)
        tally.count(kind, Step.BROWSE, OK, Sign.EXPECTED)
    tally.count("ios_phone", Step.SIGN_IN, Answer(503, "overloaded"), Sign.BUSY)
    tally.events["sign_outs_asked"] += 1
    return tally


def _figures() -> Figures:
    counters = EdgeCounters.read(PAGE)
    return Figures("reference", 2, 30.0, counters, counters, _tally(), {"all": Speed(5, 0.2, 1, 2, 3, 4)})


def _failed(figures: Figures, scenario: str = "reference", tolerance: float = 1.0) -> list[str]:
    return [one.name for one in check(figures, SCENARIOS[scenario], TYPES, tolerance) if not one.met]


def _with(**counts: int) -> Figures:
    figures = _figures()
    figures.tally.events.update(counts)
    return figures


def test_a_good_run_meets_every_check() -> None:
    assert _failed(_figures()) == []


def test_each_check_fails_by_what_it_names() -> None:
    assert _failed(replace(_figures(), window_s=0.0)) == ["measured"]
    assert _failed(_with(somebody_else=1)) == ["nobody_mistaken"]
    assert _failed(_with(signed_out=1)) == ["nobody_signed_out"]
    assert _failed(_with(devices=1)) == ["everybody_signed_in"]
    assert _failed(replace(_figures(), users=3)) == ["everybody_signed_in"]
    assert _failed(replace(_figures(), window=None)) == ["local_share"]
    assert _failed(_figures(), "sign_outs") == ["scenario_shown"]


def test_one_unexpected_answer_is_one_too_many_and_is_named() -> None:
    figures = _figures()
    figures.tally.count("television", Step.BROWSE, Answer(503, "origin_unavailable"), Sign.UNEXPECTED)
    (failed,) = [one for one in check(figures, SCENARIOS["reference"], TYPES) if not one.met]
    assert failed.name == "no_unexpected_answers"
    assert "1 times television browse: 503 origin_unavailable" in failed.says


def test_a_run_in_which_nothing_was_asked_has_not_gone_well() -> None:
    silent = replace(_figures(), tally=Tally())
    assert {"no_unexpected_answers", "everybody_signed_in", "scenario_shown"} <= set(_failed(silent))


def test_a_type_whose_devices_were_never_answered_is_missed() -> None:
    assert _failed(_with(**{"devices ios_phone": 0, "devices television": 1})) == []
    figures = _with()
    for name in [name for name in figures.tally.answers if name.startswith("ios_phone")]:
        del figures.tally.answers[name]
    assert _failed(figures) == ["all_types_asked"]


@pytest.mark.parametrize(("remote", "met"), [(28, False), (41, True), (50, True), (60, True), (73, False)])
def test_the_local_share_may_be_a_point_off(remote: int, met: bool) -> None:
    figures = replace(_figures(), window=EdgeCounters.read(PAGE.replace(" 50\n", f" {remote}\n")))
    assert _failed(figures) == ([] if met else ["local_share"])
    assert _failed(figures, tolerance=5.0) == []


@pytest.mark.parametrize(
    "line", ['edge_user_reauth_errors_total{cause="stale"} 1', 'edge_actions_total{action="cookie:cleared"} 2']
)
def test_what_the_edge_counted_says_so_too_when_somebody_was_signed_out(line: str) -> None:
    page = PAGE.replace('edge_actions_total{action="cookie:cleared"} 1\n', "") + line
    assert _failed(replace(_figures(), run=EdgeCounters.read(page))) == ["nobody_signed_out"]


def test_a_renewal_storm_that_did_not_come_is_missed() -> None:
    assert _failed(_figures(), "renewal_storm") == []
    calm = EdgeCounters.read(PAGE.replace(" 50\n", " 1\n"))
    assert _failed(replace(_figures(), window=calm), "renewal_storm") == ["storm_came"]


def test_counts_of_other_processes_are_added_and_handed_over_once() -> None:
    worker, master = _tally(), _tally()
    master.add(worker.hand_over())
    assert master.events["devices"] == 4
    assert master.of_step(Step.BROWSE) == 4
    master.add(worker.hand_over())
    assert master.of_type("television") == 4


def test_the_result_says_what_failed_and_is_kept_as_json() -> None:
    figures = _with(signed_out=1)
    checks = check(figures, SCENARIOS["reference"], TYPES)
    assert list(result_lines(figures, checks))[-1] == "Failed: nobody_signed_out"
    kept = json.loads(json.dumps(as_json(figures, checks, seed=1, table=read_table())))
    assert kept["local_percent"] == 95.0
    assert kept["devices"]["all"]["p99_ms"] == 3
    assert [one["name"] for one in kept["checks"] if not one["met"]] == ["nobody_signed_out"]
    assert (
        list(result_lines(_figures(), check(_figures(), SCENARIOS["reference"], TYPES)))[-1] == "Every check was met."
    )


def test_progress_says_whether_it_is_measured_yet() -> None:
    assert progress_line(3, 9.6, None, None, _tally()).startswith("warming up")
    assert "95.0 % local" in progress_line(3, 9.6, 5.0, EdgeCounters.read(PAGE), _tally())
