"""The addresses of one origin: any order of answers, errors, probes, marks and time keeps what is promised."""

import random
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.control.origins_file import Ejection
from edge.control.values import Address
from edge.upstream.ejection import Standing
from edge.upstream.endpoint import Endpoint
from edge.upstream.rotation import Rotation

SETTINGS = Ejection(max_share=0.5)


def addresses(*ports: int) -> list[Address]:
    """Return loopback addresses."""
    return [Address("127.0.0.1", port) for port in ports]


class Clocked:
    """A rotation and its time."""

    def __init__(self, *ports: int, warm_up_s: float = 10.0) -> None:
        self.now = 100.0
        self.rotation = Rotation(SETTINGS, warm_up_s, random.Random(3).random)  # noqa: S311
        self.rotation.replace(addresses(*ports), self.now)

    def at(self, place: int) -> Endpoint:
        """Return an address by its place."""
        return self.rotation.endpoints[place]

    def wait(self, seconds: float) -> list[Endpoint]:
        """Let time pass with sweeps as the engine makes them; return the addresses to probe."""
        due = []
        for _ in range(max(1, round(seconds / 0.25))):
            self.now += 0.25
            due += self.rotation.sweep(self.now)
        return due

    def fail(self, endpoint: Endpoint, times: int = 1, *, connecting: bool = False) -> bool:
        """Let an address fail; return whether that ejected it."""
        return any(
            self.rotation.failed(endpoint, probe=False, connecting=connecting, now=self.now) for _ in range(times)
        )


def test_b1_an_address_is_ejected_after_five_errors() -> None:
    clocked = Clocked(1, 2, 3, 4)
    bad = clocked.at(0)
    assert not clocked.fail(bad, 4)
    assert clocked.fail(bad)
    assert bad not in clocked.rotation.active
    assert len(clocked.rotation.active) == 3


def test_b3_one_connect_that_fails_ejects_at_once() -> None:
    clocked = Clocked(1, 2)
    assert clocked.fail(clocked.at(0), connecting=True)


def test_the_last_active_address_is_never_ejected() -> None:
    clocked = Clocked(1, 2)
    assert clocked.fail(clocked.at(0), 5)
    assert not clocked.fail(clocked.at(1), 500, connecting=True)
    assert clocked.rotation.active == [clocked.at(1)]


def test_the_first_sweep_does_not_forget_what_came_before_it() -> None:
    clocked = Clocked(1, 2)
    clocked.fail(clocked.at(0), 4)
    clocked.wait(0.25)
    assert 3.9 < clocked.at(0).record.errors < 4.0
    assert clocked.at(0).share < 0.3


def test_b13_addresses_that_all_fail_alike_stay() -> None:
    clocked = Clocked(1, 2, 3, 4)
    for turn in range(200):
        for endpoint in clocked.rotation.endpoints:
            if turn % 2:
                assert not clocked.fail(endpoint)
            else:
                endpoint.record.succeeded(0.01)
    assert len(clocked.rotation.active) == 4


def test_b13_an_address_that_was_not_asked_yet_is_no_better_than_one_that_fails() -> None:
    clocked = Clocked(1, 2, 3)
    clocked.fail(clocked.at(1))
    assert not clocked.fail(clocked.at(0), 10)


def test_an_ejected_address_returns_when_its_probe_goes_well_and_warms_up() -> None:
    clocked = Clocked(1, 2)
    bad = clocked.at(0)
    clocked.fail(bad, 5)
    assert clocked.wait(1.5) == []
    assert clocked.wait(0.5) == [bad]
    assert bad.standing is Standing.RETURNING
    assert bad not in clocked.rotation.active
    clocked.rotation.returned(bad, clocked.now)
    assert bad in clocked.rotation.active
    assert bad.weight == 0.1
    clocked.wait(5)
    assert 0.4 < bad.weight < 0.6
    clocked.wait(5)
    assert bad.weight == 1.0


def test_b14_an_address_that_flaps_stays_out_longer_and_longer_and_good_standing_takes_it_back() -> None:
    clocked = Clocked(1, 2)
    flapping = clocked.at(0)
    out = []
    for _ in range(6):
        clocked.fail(flapping, 5)
        ejected_at = clocked.now
        while not clocked.wait(0.25):
            pass
        out.append(clocked.now - ejected_at)
        clocked.rotation.returned(flapping, clocked.now)
    assert all(later > earlier for earlier, later in pairwise(out[:4]))
    assert out[-1] <= SETTINGS.max_s + 0.25
    clocked.wait(30 + 16 + 8 + 4 + 2 + 1)
    assert flapping.record.level == 0


def test_a_probe_that_fails_ejects_for_longer_and_one_that_cannot_connect_does_not() -> None:
    clocked = Clocked(1, 2)
    bad = clocked.at(0)
    clocked.fail(bad, 5)
    assert clocked.wait(2) == [bad]
    clocked.rotation.unreachable(bad, clocked.now)
    assert bad.record.level == 1
    assert clocked.wait(2) == [bad]
    assert clocked.rotation.failed(bad, probe=True, connecting=False, now=clocked.now)
    assert bad.record.level == 2
    assert clocked.wait(2) == []


def test_late_answers_do_not_touch_a_returning_address() -> None:
    clocked = Clocked(1, 2)
    bad = clocked.at(0)
    clocked.fail(bad, 5)
    clocked.wait(2)
    assert not clocked.fail(bad, 50)
    assert bad.standing is Standing.RETURNING


def test_a_health_check_that_goes_well_again_shortens_the_ejection() -> None:
    clocked = Clocked(1, 2)
    bad = clocked.at(0)
    for _ in range(5):
        clocked.fail(bad, 5)
        clocked.wait(40)
        clocked.rotation.returned(bad, clocked.now)
    clocked.fail(bad, 5)
    clocked.rotation.mark(bad.address, False, clocked.now)
    assert clocked.wait(60) == []
    clocked.rotation.mark(bad.address, True, clocked.now)
    assert clocked.wait(0.25) == [bad]


def test_a_new_address_warms_up_and_the_first_ones_do_not() -> None:
    clocked = Clocked(1, 2)
    assert [each.weight for each in clocked.rotation.endpoints] == [1.0, 1.0]
    kept = clocked.at(1)
    gone = clocked.rotation.replace(addresses(2, 3), clocked.now)
    assert [each.address.port for each in gone] == [1]
    assert clocked.at(0) is kept
    assert [each.weight for each in clocked.rotation.endpoints] == [1.0, 0.1]


class AnyOrder(RuleBasedStateMachine):
    """Drives a rotation as a pool does, in any order."""

    places = st.integers(0, 7)

    @initialize(count=st.integers(1, 8), seed=st.integers(0, 1000))
    def begin(self, count: int, seed: int) -> None:
        self.now = 50.0
        self.rotation = Rotation(SETTINGS, 5.0, random.Random(seed).random)  # noqa: S311
        self.rotation.replace(addresses(*range(1, count + 1)), self.now)
        self.probing: set[int] = set()

    def at(self, place: int) -> Endpoint | None:
        endpoints = self.rotation.endpoints
        return endpoints[place % len(endpoints)] if endpoints else None

    @rule(place=places, seconds=st.floats(0, 60))
    def succeed(self, place: int, seconds: float) -> None:
        if endpoint := self.at(place):
            endpoint.record.succeeded(seconds)

    @rule(place=places, times=st.integers(1, 30), connecting=st.booleans())
    def fail(self, place: int, times: int, connecting: bool) -> None:
        if endpoint := self.at(place):
            for _ in range(times):
                all_out = not any(each.healthy for each in self.rotation.endpoints)
                if self.rotation.failed(endpoint, probe=False, connecting=connecting, now=self.now) and not all_out:
                    known, active = len(self.rotation.endpoints), len(self.rotation.active)
                    assert known - active <= max(1, known // 2)

    @rule(place=places, verdict=st.sampled_from(["good", "bad", "none", "unreachable"]))
    def end_probe(self, place: int, verdict: str) -> None:
        endpoint = self.at(place)
        if endpoint is None or endpoint.standing is not Standing.RETURNING:
            return
        if verdict == "good":
            self.rotation.returned(endpoint, self.now)
        elif verdict == "bad":
            self.rotation.failed(endpoint, probe=True, connecting=False, now=self.now)
        elif verdict == "none":
            self.rotation.postpone(endpoint, 0.0, self.now)
        else:
            self.rotation.unreachable(endpoint, self.now)
        self.probing.discard(id(endpoint))

    @rule(seconds=st.floats(0.01, 40))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for endpoint in self.rotation.sweep(self.now):
            assert id(endpoint) not in self.probing, "two probes at a time"
            self.probing.add(id(endpoint))

    @rule(place=places, healthy=st.booleans())
    def mark(self, place: int, healthy: bool) -> None:
        if endpoint := self.at(place):
            self.rotation.mark(endpoint.address, healthy, self.now)

    @rule(ports=st.lists(st.integers(1, 8), max_size=8))
    def replace(self, ports: list[int]) -> None:
        for endpoint in self.rotation.replace(addresses(*ports), self.now):
            assert not endpoint.known
            self.probing.discard(id(endpoint))

    @invariant()
    def somebody_takes_requests(self) -> None:
        rotation = getattr(self, "rotation", None)
        if rotation is None:
            return
        assert bool(rotation.active) == bool(rotation.endpoints)
        good = [each for each in rotation.endpoints if each.healthy and each.standing is Standing.ACTIVE]
        assert rotation.active == (good or rotation.endpoints)

    @invariant()
    def every_ejection_ends(self) -> None:
        for endpoint in getattr(self, "rotation", Rotation(SETTINGS, 1.0, random.random)).endpoints:
            assert 0.1 <= endpoint.weight <= 1.0
            assert 0.0 < endpoint.share <= endpoint.weight
            if endpoint.standing is Standing.EJECTED:
                assert endpoint.until <= self.now + SETTINGS.max_s


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
