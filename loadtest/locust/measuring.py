"""When a run is measured, and what is made of it. In the process that drives the run: Locust's, or its master."""

import time
import urllib.request
from http.client import HTTPException
from typing import Final

import gevent
from locust.env import Environment
from locust.runners import MasterRunner
from locust.stats import RequestStats, StatsEntry

from loadtest.locust.check import Check
from loadtest.locust.checks import check
from loadtest.locust.edge_counters import EdgeCounters
from loadtest.locust.figures import Figures, Speed
from loadtest.locust.report import as_json, progress_line, result_lines
from loadtest.locust.scenarios import SCENARIOS, Scenario
from loadtest.locust.turning import Turning
from loadtest.locust.users import BOARD, TABLE, TALLY

PROGRESS_S: Final = 5.0
PATIENCE_S: Final = 60.0  # for all to be signed in, and so long for each besides:
PATIENCE_EACH_S: Final = 3.0
LAST_REPORTS_S: Final = 1.0  # workers are asked for their last figures once the run has ended
DIAL: Final = "dial"  # the message that says where one stands
TOLD_S: Final = 1.5  # a worker of the edge tells its counters every second
_TIMEOUT_S: Final = 10.0
_LOOKS: Final = 8
_ROLLOUT_S: Final = 70.0  # of a course on Locust's page, where nobody says how long is measured


class Measuring:
    """One run after another: reads the edge's counters at its beginning, and at both ends of what is measured."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        assert environment.parsed_options is not None
        self._environment = environment
        self._runner = environment.runner
        self._options = environment.parsed_options
        self.judged: list[Check] = []
        self.as_json: dict[str, object] = {}
        self._forget()

    @property
    def met(self) -> bool:
        """Whether no check of the last run failed."""
        return all(one.met for one in self.judged)

    @property
    def _scenario(self) -> Scenario:
        return SCENARIOS[self._options.scenario]

    def _forget(self) -> None:
        self._greenlets: list[gevent.Greenlet] = []
        self._first: EdgeCounters | None = None
        self._opened: EdgeCounters | None = None
        self._closed: EdgeCounters | None = None
        self._opened_at = self._closed_at = 0.0
        self._users = 0
        self._counted = (time.monotonic(), 0)
        self._said: set[str] = set()
        self._settled: EdgeCounters | None = None
        self._turning: Turning | None = None
        BOARD.clear()

    def start(self) -> None:
        """Begin a run."""
        self._forget()
        TALLY.hand_over()
        self._first = self._counters()
        if (rollout := self._scenario.rollout) is not None:
            self._turning = Turning(rollout, self._options.edge_var, self._tell, gevent.sleep)
        self._greenlets = [gevent.spawn(self._show), gevent.spawn(self._course)]

    def everybody_is_here(self) -> None:
        """Learn how many devices there are."""
        self._users = self._users or self._runner.target_user_count

    def close(self) -> None:
        """Close what is measured, before users are stopped in the middle of something."""
        if self._closed_at:
            return
        self._closed, self._closed_at = self._counters(), time.monotonic()
        gevent.killall([one for one in self._greenlets if one is not gevent.getcurrent()], block=False)

    def judge_soon(self) -> None:
        """Judge once the workers have handed over what they counted."""
        gevent.spawn_later(LAST_REPORTS_S, self.judge)

    def judge(self) -> None:
        """Say what came out."""
        if self._turning is not None:
            self._settled = self._settle()
        figures = self._figures()
        self.judged = check(figures, self._scenario, TABLE.devices, self._options.tolerance)
        self.as_json = as_json(figures, self.judged, seed=self._options.seed, table=TABLE)
        for line in result_lines(figures, self.judged):
            print(line, flush=True)

    def _course(self) -> None:
        """Open what is measured when everybody is signed in, and end the run when it was long enough."""
        if self._turning is not None:
            self._turning.begin()
        if not self._scenario.from_start:
            self._wait_for_sign_ins()
            gevent.sleep(self._options.warm_up)
        self._open()
        if self._turning is not None:
            self._turning.go(self._options.measure or _ROLLOUT_S)
        else:
            gevent.sleep(self._options.measure)
        if self._options.measure:
            if self._scenario.from_start:
                self._wait_for_sign_ins()
            self.close()
            if self._turning is not None:
                self._runner.stop()  # as --stop-timeout says: what was asked is answered, and so counted on both sides
                gevent.sleep(LAST_REPORTS_S)
            self._runner.quit()

    def _tell(self, device_type: str, lowest: int, highest: int) -> None:
        """Tell the devices in every process where a dial stands."""
        if isinstance(self._runner, MasterRunner):
            BOARD.told(device_type, lowest, highest)
        self._runner.send_message(DIAL, [device_type, lowest, highest])

    def _settle(self) -> EdgeCounters | None:
        """Return what the edge has counted once nobody asks any more, and all its workers have told it."""
        known = None
        for _ in range(_LOOKS):
            gevent.sleep(TOLD_S)
            now = self._counters()
            if now is not None and known is not None and now.values == known.values:
                break
            known = now
        return None if known is None or self._first is None else known.since(self._first)

    def _wait_for_sign_ins(self) -> None:
        began = time.monotonic()
        while not self._signed_in and time.monotonic() - began < PATIENCE_S + PATIENCE_EACH_S * self._users:
            gevent.sleep(0.2)

    @property
    def _signed_in(self) -> bool:
        return 0 < self._users <= TALLY.events["devices"] <= TALLY.events["signed_in"]

    def _open(self) -> None:
        self._opened, self._opened_at = self._counters(), time.monotonic()
        self._runner.stats.reset_all()
        print("Measuring from now on", flush=True)

    def _show(self) -> None:
        while True:
            gevent.sleep(PROGRESS_S)
            window = self._window(self._counters()) if self._opened_at else None
            since_s = time.monotonic() - self._opened_at if self._opened_at else None
            (before, asked), now = self._counted, time.monotonic()
            self._counted = (now, TALLY.answers.total())
            rps = (self._counted[1] - asked) / (now - before)
            print(progress_line(self._runner.user_count, rps, since_s, window, TALLY), flush=True)

    def _figures(self) -> Figures:
        measured = self._opened_at and self._closed_at
        run = None if self._closed is None or self._first is None else self._closed.since(self._first)
        return Figures(
            scenario=self._options.scenario,
            users=self._users,
            window_s=self._closed_at - self._opened_at if measured else 0.0,
            window=self._window(self._closed) if measured else None,
            run=run,
            tally=TALLY,
            speeds=self._speeds(),
            turns=() if self._turning is None else tuple(self._turning.turns),
            settled=self._settled,
        )

    def _window(self, now: EdgeCounters | None) -> EdgeCounters | None:
        return None if now is None or self._opened is None else now.since(self._opened)

    def _speeds(self) -> dict[str, Speed]:
        entries = list(self._runner.stats.entries.values())
        groups = {name: [one for one in entries if one.name.partition(" ")[0] == name] for name in TABLE.devices}
        groups["all"] = entries
        window_s = (self._closed_at - self._opened_at) if self._opened_at and self._closed_at else 0.0
        return {name: _speed(group, window_s) for name, group in groups.items()}

    def _counters(self) -> EdgeCounters | None:
        """Read the edge's counters; None without an admin listener, or when it does not answer, which is said once."""
        if not self._options.admin:
            return None
        try:
            # The operator's own URL, as it was given.
            with urllib.request.urlopen(f"{self._options.admin}/metrics", timeout=_TIMEOUT_S) as page:  # noqa: S310
                return EdgeCounters.read(page.read().decode())
        except (OSError, HTTPException, ValueError) as error:
            what = f"The edge's counters could not be read: {error}"
            if what not in self._said:
                print(what, flush=True)
            self._said.add(what)
            return None


def _speed(entries: list[StatsEntry], window_s: float) -> Speed:
    total = StatsEntry(RequestStats(), "all", "", use_response_times_cache=False)
    for entry in entries:
        total.extend(entry)
    p50, p95, p99 = (float(total.get_response_time_percentile(share)) for share in (0.5, 0.95, 0.99))
    rps = total.num_requests / window_s if window_s else 0.0
    return Speed(total.num_requests, round(rps, 1), p50, p95, p99, round(total.max_response_time, 1))
