"""The simulation of an outage (docs/renewal.md): what must hold in it whatever the figures are."""

import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.guards import CookieBreakerSection
from edge.control.routing_files import AuthRow
from edge.control.service_sections import CookieClient
from filters import rescheduling
from filters.inbound.renew import RenewalLimits
from loadtest.simulation.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from loadtest.simulation.calibration import Calibration, load
from loadtest.simulation.closed_loop import closed_loop
from loadtest.simulation.pool import do_all, make_study
from loadtest.simulation.population import DAY_S, KINDS, Floats, daily, populate, steady
from loadtest.simulation.product import BreakerSettings, Product, product
from loadtest.simulation.record import Record
from loadtest.simulation.run import Outage, Run, Staleness
from loadtest.simulation.service import OVERLOADED, RENEWED, UNAVAILABLE, Asked, Condition, Fleet, Service
from loadtest.simulation.study import AS_BUILT, VARIANTS, Scenario, Study, Variant
from loadtest.simulation.tables import place
from loadtest.simulation.tokens import FULL, GONE, RESCHEDULED, Tokens
from resilience.breaker import Breaker as EdgeBreaker
from resilience.breaker import BreakerSettings as EdgeBreakerSettings
from services.kit.breaker import BreakerConfig

REPOSITORY = Path(__file__).resolve().parents[2]
STALENESS = Staleness(DAY_S, 0.005)
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def constants() -> Product:
    return product(REPOSITORY / "config")


@pytest.fixture(scope="module")
def measured() -> Calibration:
    return load()


def used_all_the_time(count: int, variant: Variant, constants: Product, seed: int = 1) -> Tokens:
    return Tokens(steady(count, 30.0), variant.rules(constants), np.random.default_rng(seed))


def of_full_tokens(times: Floats) -> Asked:
    return Asked(np.arange(len(times)), times, np.zeros(len(times), dtype=bool))


def passed(
    tokens: Tokens,
    constants: Product,
    measured: Calibration,
    *,
    hours: float,
    outage: Outage | None = None,
    variant: Variant = AS_BUILT,
) -> Record:
    service = Service(Fleet(2, 1), constants, measured, tokens.random, breakers=variant.breakers, now=0.0)
    record = Record(0.0, hours * HOUR_S)
    Run(tokens, service, record, STALENESS).until(0.0, record.end, outage)
    record.close()
    return record


class TestTheConstants:
    def test_are_the_products(self, constants: Product) -> None:
        fields_of = CookieClient.model_fields
        assert constants.call_timeout_s == fields_of["timeout_s"].default
        assert constants.concurrency == fields_of["concurrency"].default
        limits = RenewalLimits()
        assert constants.reschedule_life_s == limits.reschedule_life_s
        assert constants.remembered == limits.remembered
        assert constants.reschedule_jitter == rescheduling._JITTER
        assert constants.max_staleness_s == AuthRow.model_fields["max_staleness_s"].default
        settings = CookieBreakerSection().settings()
        assert [getattr(constants.breaker, one.name) for one in fields(BreakerSettings)] == [
            getattr(settings, one.name) for one in fields(EdgeBreakerSettings)
        ]

    def test_the_simulated_service_is_as_fast_as_the_measured_one(self, measured: Calibration) -> None:
        for one in measured.levels:
            assert closed_loop(one.callers, measured)[1] == pytest.approx(one.p50_s, rel=0.5)

    def test_the_simulated_service_renews_for_no_more_impatient_callers_than_the_measured_one(
        self, measured: Calibration
    ) -> None:
        can = max(one.renewals_per_s for one in measured.levels)
        for one in measured.impatient:
            assert closed_loop(one.callers, measured, one.patience_s)[0] < one.renewed_per_s + 0.05 * can


SETTINGS = {
    "window_s": 3.0, "min_calls": 4, "failure_rate": 0.5, "slow_call_s": 1.0, "slow_call_rate": 0.9,
    "half_open_permits": 2, "half_open_max_s": 5.0, "open_s": 0.5, "max_open_s": 4.0,
}  # fmt: skip
STATES = {CLOSED: "closed", OPEN: "open", HALF_OPEN: "half_open"}


class TestTheBreaker:
    @given(
        steps=st.lists(
            st.tuples(st.floats(0.0, 1.5), st.sampled_from(["call", "succeed", "fail"]), st.floats(0.0, 1.2)),
            max_size=150,
        )
    )
    def test_decides_as_the_edges(self, steps: list[tuple[float, str, float]]) -> None:
        now = [100.0]
        real = EdgeBreaker(EdgeBreakerSettings(**SETTINGS), lambda: now[0], lambda: 0.25, lambda _old, _new: None)  # type: ignore[arg-type]
        ours = Breaker(BreakerSettings(**SETTINGS), now[0], lambda: 0.25)  # type: ignore[arg-type]
        permits: list[int] = []
        for wait_s, what, seconds in steps:
            now[0] += wait_s
            if what == "call":
                permit = real.acquire()
                assert ours.acquire(now[0]) == permit
                permits += [permit] if permit else []
            elif permits:
                permit = permits.pop(0)
                if what == "succeed":
                    real.succeeded(permit, seconds)
                    ours.succeeded(permit, seconds, now[0])
                else:
                    real.failed(permit)
                    ours.failed(permit, now[0])
            assert STATES[ours.state] == real.state.value


def test_the_subscriber_breaker_is_set_as_the_cookie_services(constants: Product) -> None:
    real, ours = BreakerConfig(), asdict(constants.subscriber_breaker)
    assert real.model_dump().items() <= ours.items()


class TestTheService:
    @given(
        gaps=st.lists(st.floats(0.0, 0.02), min_size=1, max_size=60),
        condition=st.sampled_from([Condition.WELL, Condition.NO_SUBSCRIBERS]),
    )
    def test_works_out_at_once_what_it_would_find_one_by_one(
        self, gaps: list[float], condition: Condition, constants: Product, measured: Calibration
    ) -> None:
        asked = Asked(np.arange(len(gaps)), np.cumsum(gaps), np.array([gap > 0.01 for gap in gaps]))
        found = []
        for at_once in (True, False):
            service = Service(Fleet(2, 2), constants, measured, np.random.default_rng(1), breakers=True, now=0.0)
            service.become(condition, 0.0)
            calls = [service.at_once(asked)] if at_once else service.one_by_one(asked, 1e9)
            rows = [
                row
                for one in calls
                if one is not None
                for row in zip(one.devices.tolist(), one.ended.tolist(), one.outcomes.tolist(), strict=True)
            ]
            found.append(sorted(rows))
        if found[0]:
            assert [row[::2] for row in found[0]] == [row[::2] for row in found[1]]
            assert [row[1] for row in found[0]] == pytest.approx([row[1] for row in found[1]])

    def test_lets_no_more_calls_through_than_a_worker_may_have(self, constants: Product, measured: Calibration) -> None:
        service = Service(Fleet(1, 1), constants, measured, np.random.default_rng(1), breakers=False, now=0.0)
        service.become(Condition.SILENT, 0.0)
        count = constants.concurrency + 10
        calls = service.one_by_one(of_full_tokens(np.linspace(0.0, 0.01, count)), 0.02)
        assert sum((one.outcomes == OVERLOADED).sum() for one in calls) == 10

    def test_answers_nobody_in_time_while_it_is_asked_for_too_much(
        self, constants: Product, measured: Calibration
    ) -> None:
        service = Service(Fleet(100, 1), constants, measured, np.random.default_rng(1), breakers=False, now=0.0)
        times = np.arange(0.0, 10.0, measured.busy_s / 3)
        calls = service.one_by_one(of_full_tokens(times), 20.0)
        renewed = np.concatenate([one.begun[one.outcomes == RENEWED] for one in calls])
        assert len(renewed)
        assert renewed.max() < 1.0

    def test_goes_on_renewing_while_it_turns_away_what_is_too_much(
        self, constants: Product, measured: Calibration
    ) -> None:
        random = np.random.default_rng(1)
        service = Service(Fleet(100, 1), constants, measured, random, breakers=False, now=0.0, turns_away_s=0.05)
        times = np.arange(0.0, 10.0, measured.busy_s / 2)
        calls = service.one_by_one(of_full_tokens(times), 20.0)
        renewed = np.concatenate([one.begun[one.outcomes == RENEWED] for one in calls])
        assert len(renewed) > 0.5 * 10.0 / measured.busy_s

    def test_says_unavailable_when_it_hears_nothing_of_its_subscriber_service(
        self, constants: Product, measured: Calibration
    ) -> None:
        service = Service(Fleet(1, 1), constants, measured, np.random.default_rng(1), breakers=False, now=0.0)
        service.become(Condition.NO_SUBSCRIBERS, 0.0)
        calls = service.at_once(of_full_tokens(np.array([0.0, 1.0, 2.0])))
        assert calls is not None
        assert (calls.outcomes == UNAVAILABLE).all()
        assert (calls.ended - calls.begun >= 0.2).all()

    def test_waits_for_its_subscriber_service_no_more_once_that_has_kept_silent(
        self, constants: Product, measured: Calibration
    ) -> None:
        service = Service(Fleet(1, 1), constants, measured, np.random.default_rng(1), breakers=True, now=0.0)
        service.become(Condition.NO_SUBSCRIBERS, 0.0)
        (_, out) = service.one_by_one(of_full_tokens(np.arange(0.0, 60.0, 0.05)), 60.0)
        assert set(out.outcomes) <= {UNAVAILABLE}
        waited = (out.ended - out.begun >= 0.2)[out.begun > 5.0]
        assert 0 < waited.sum() < 0.05 * len(waited), "a probe now and then"
        service.become(Condition.WELL, 60.0)
        (_, back) = service.one_by_one(of_full_tokens(np.arange(60.0, 70.0, 0.05)), 70.0)
        assert (back.outcomes[back.begun > 60.0 + constants.subscriber_breaker.max_open_s] == RENEWED).all()


class TestThePopulation:
    def test_begins_its_sessions_over_the_day_as_the_curve_says(self) -> None:
        people = populate(20_000, 2 * DAY_S, np.random.default_rng(1))
        hours = people.starts[np.isfinite(people.starts)] % DAY_S / 3600.0
        counts, edges = np.histogram(hours, 24, (0.0, 24.0))
        assert counts / counts.mean() == pytest.approx(daily((edges[:-1] + edges[1:]) / 2), rel=0.1)

    def test_makes_the_requests_that_its_rate_promises(self) -> None:
        people = populate(2_000, DAY_S, np.random.default_rng(1))
        random, cursor, made = np.random.default_rng(2), people.first.copy(), []
        devices, now = np.arange(len(people)), np.full(len(people), 10 * HOUR_S)
        while len(devices):
            now = people.next_requests(cursor, devices, now, random)
            devices, now = devices[now < 14 * HOUR_S], now[now < 14 * HOUR_S]
            made.append(len(devices))
        expected = people.request_rate(np.linspace(10 * HOUR_S, 14 * HOUR_S, 241)).sum() * 60.0
        assert sum(made) == pytest.approx(expected, rel=0.03)

    def test_makes_as_many_requests_between_two_times_as_is_expected(self) -> None:
        people = populate(20_000, DAY_S, np.random.default_rng(1))
        everyone = np.arange(len(people))
        begin, end = np.full(len(people), 20 * HOUR_S), np.full(len(people), 20 * HOUR_S + 300.0)
        expected = people.requests_between(people.first.copy(), everyone, begin, end).sum()
        rate = people.request_rate(np.array([20 * HOUR_S, 20 * HOUR_S + 300.0]))[0] * 300.0
        assert expected == pytest.approx(rate, rel=0.02)


class TestTokens:
    @pytest.mark.parametrize("variant", [replace(AS_BUILT, renew_jitter=0.2), Variant("plain", jitter=False)])
    def test_without_an_outage_are_renewed_as_often_as_can_be_reckoned(
        self, variant: Variant, constants: Product, measured: Calibration
    ) -> None:
        tokens = used_all_the_time(2_000, variant, constants)
        record = passed(tokens, constants, measured, hours=10.0)
        cycle_s = constants.life_s * constants.renew_after_share + 30.0
        later = round((record.end - 4 * cycle_s) / 10)
        assert record.counts["renewed"][later:].sum() == pytest.approx(4 * len(tokens.population), rel=0.02)
        assert record.counts["sent"].sum() == pytest.approx(record.counts["renewed"].sum(), abs=1)

    def test_jitter_lowers_the_peak_after_all_were_renewed_together(
        self, constants: Product, measured: Calibration
    ) -> None:
        peaks = {}
        for jitter in (0.0, 0.2):
            variant = replace(AS_BUILT, renew_jitter=jitter)
            tokens = used_all_the_time(2_000, variant, constants)
            tokens.renewed(np.arange(2_000), np.zeros(2_000))
            peaks[jitter] = passed(tokens, constants, measured, hours=2.6).rate("asked", 60.0).max()
        assert peaks[0.2] < peaks[0.0] / 5

    @pytest.mark.parametrize("condition", [Condition.SILENT, Condition.NO_SUBSCRIBERS])
    @pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
    def test_each_is_in_one_state_and_none_ends_without_the_services_word(
        self, variant: Variant, condition: Condition, constants: Product, measured: Calibration
    ) -> None:
        tokens = used_all_the_time(800, variant, constants)
        tokens.cancelled_at[:] = np.inf
        tokens.cancelled_at[:30] = 0.1 * HOUR_S
        record = passed(
            tokens, constants, measured, hours=0.4, outage=Outage(condition, 0.0, 0.1 * HOUR_S), variant=variant
        )
        gone = tokens.state == GONE
        assert sum(record.census) == len(tokens.population)
        assert record.counts["lost"].sum() + record.counts["ended"].sum() == gone.sum()
        assert np.isin(tokens.state, (FULL, RESCHEDULED, GONE)).all()
        assert (np.isfinite(tokens.next) != gone).all()
        if variant.fallback:
            assert record.counts["lost"].sum() == 0
            assert (tokens.cancelled_at[gone] < record.end).all()
        else:
            assert record.counts["lost"].sum() > 100

    def test_of_members_who_cancelled_end_with_the_next_renewal(
        self, constants: Product, measured: Calibration
    ) -> None:
        tokens = used_all_the_time(500, AS_BUILT, constants)
        tokens.cancelled_at[:] = np.inf
        tokens.cancelled_at[:100] = 0.0
        record = passed(tokens, constants, measured, hours=4.0, outage=Outage(Condition.SILENT, 10.0, 0.2 * HOUR_S))
        assert record.counts["ended"].sum() == 100
        assert (tokens.state[:100] == GONE).all()

    def test_rescheduled_are_replaced_within_their_life(self, constants: Product, measured: Calibration) -> None:
        tokens = used_all_the_time(1_500, AS_BUILT, constants)
        record = passed(tokens, constants, measured, hours=1.0, outage=Outage(Condition.SILENT, 0.0, 0.2 * HOUR_S))
        back, life_s = round(0.2 * HOUR_S / 10), constants.reschedule_life_s * (1 + constants.reschedule_jitter)
        assert record.rescheduled[back - 1] > 100
        assert record.rescheduled[back + round(life_s / 10) + 10] == 0
        assert record.census[RESCHEDULED] == 0


class TestAStudy:
    def test_gives_the_same_figures_for_the_same_seed(self, constants: Product, measured: Calibration) -> None:
        wanted = [Scenario(condition, 1, AS_BUILT) for condition in (Condition.SILENT, Condition.NO_SUBSCRIBERS)]

        def study(seed: int) -> Study:
            return make_study(2_000, constants, measured, seed, begin=2 * HOUR_S, after_s=0.2 * HOUR_S)

        first, again = (do_all(study(7), wanted, 1, lambda _: None) for _ in range(2))
        for one in wanted:
            assert first.figures(one) == again.figures(one)
        other = do_all(study(8), wanted, 1, lambda _: None)
        assert other.figures(wanted[0]) != first.figures(wanted[0])

    def test_puts_its_tables_where_the_page_has_room_for_them(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\n")
        place(page, {"one": "new", "two": "newer"})
        assert page.read_text() == "a\n<!-- one -->\nnew\n<!-- end -->\nb\n<!-- two -->\nnewer\n<!-- end -->\n"


class TestThePage:
    PAGE = (REPOSITORY / "docs" / "renewal.md").read_text()

    def test_has_every_table(self) -> None:
        for begin in re.finditer(r"<!-- (\w+) -->\n", self.PAGE):
            if begin[1] != "end":
                assert self.PAGE[begin.end() :].startswith("| "), begin[1]

    def test_has_small_plots(self) -> None:
        plots = re.findall(r"\((images/[\w-]+\.png)\)", self.PAGE)
        assert len(plots) == 5
        for plot in plots:
            assert (REPOSITORY / "docs" / plot).stat().st_size < 150_000

    def test_lists_the_kinds_of_devices(self) -> None:
        for kind in KINDS:
            assert f"| {kind.name} | {kind.share * 100:.0f} % | {kind.sessions_per_day:g} |" in self.PAGE
