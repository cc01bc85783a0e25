"""Devices that keep their cookies, and the figures that come of it."""

import asyncio
import stat
import subprocess
import sys
import time
from pathlib import Path

from loadtest.bench.edge import ENVIRONMENT
from loadtest.chaos.connection import Request
from loadtest.chaos.devices import Held, Jars, Lives, Shown, per_second, read_jars, sealed_jars, showing, spread_ages
from loadtest.chaos.figures import Window
from loadtest.chaos.jar import Jar, write_jars
from loadtest.chaos.outcomes import Ending, Outcome, read_outcomes
from loadtest.chaos.person import Person
from loadtest.chaos.plan import Stream
from loadtest.chaos.scenarios.registry import SCENARIOS
from loadtest.chaos.token_stage import COURSES, NAMES
from tests.tokens.rings import both_rings
from tokens.cookie import Claims

LIVES = Lives(life_s=40, due_s=36, rescheduled_s=5)
FIELD = b"Cookie: A=1; B=2"


def _held(device: int, version: int, at: float, generation: int, *, rescheduled: int = 0, issued_at: int = 0) -> Held:
    claims = Claims(1, 1, "", "", 0, "s", issued_at, 36, 40, generation, 2, rescheduled_count=rescheduled)
    return Held(device, version, at, claims)


def _jars(*held: Held) -> Jars:
    jars = Jars()
    for one in held:
        jars.by_device[one.device].append(one)
    return jars


def test_a_jar_takes_what_an_answer_sets_and_drops_what_it_clears() -> None:
    jar = Jar(3, FIELD)
    jar.take([b"A=x=y; Path=/; HttpOnly", b"C=3"], 5.0)
    assert (jar.field, jar.version) == (b"Cookie: A=x=y; B=2; C=3", 1)
    jar.take([b"A=; Max-Age=0", b"B=; max-age=0", b"C=; Max-Age=0"], 6.0)
    assert (jar.field, jar.version) == (b"", 2)
    assert [at for at, _, _ in jar.given] == [0.0, 5.0, 6.0]


def test_an_outcome_says_which_cookies_of_which_device_it_showed() -> None:
    jar = Jar(7, FIELD)
    jar.take([b"A=2"], 1.0)
    request = Request("calm-1", Stream("calm", 1, "/calm"), 0.0, jar.field, jar)
    jar.take([b"A=3"], 2.0)
    outcome = request.outcome(Ending.OK, 1.0)
    assert (outcome.device, outcome.shown) == (7, 1)
    assert read_outcomes([outcome.line()]) == [outcome]


def test_what_devices_held_is_read_back_and_only_its_owner_can(tmp_path: Path) -> None:
    ring, now = both_rings(), int(time.time())
    fields = sealed_jars(ring, NAMES, ENVIRONMENT, [0, 38], LIVES, now)
    jars = [Jar(number, field.encode()) for number, field in enumerate(fields)]
    jars[1].take([f"{NAMES.insecure}=; Max-Age=0".encode(), f"{NAMES.secure}=; Max-Age=0".encode()], 3.0)
    file = tmp_path / "jars"
    write_jars(file, jars)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    read = read_jars(file.read_text().splitlines(), [ring], NAMES, ENVIRONMENT, now)
    assert [(one.device, one.claims.expires_at) for one in read] == [(0, now + 40), (1, now + 2)]
    assert read.lost == 1


def test_a_generation_that_goes_back_and_one_that_comes_twice_are_noticed() -> None:
    assert _jars(_held(0, 0, 0, 1), _held(0, 1, 1, 2), _held(0, 2, 2, 2, rescheduled=1)).went_back() == 0
    assert _jars(_held(0, 0, 0, 2), _held(0, 1, 1, 1), _held(1, 0, 0, 1)).went_back() == 1
    same = _held(0, 2, 2, 2, issued_at=9)
    assert _jars(_held(0, 0, 0, 1), _held(0, 1, 1, 2, issued_at=8), same).generations_twice() == 1
    assert _jars(_held(0, 0, 0, 1), _held(0, 1, 1, 2, issued_at=9), same).generations_twice() == 0


def test_requests_are_told_apart_by_the_age_of_what_they_showed() -> None:
    def asked(name: str, due: float, shown: int) -> Outcome:
        return Outcome(name, "calm", "GET", due, 1.0, Ending.OK, device=0, shown=shown)

    jars = _jars(_held(0, 0, 0, 1))  # due at 36 of the epoch, expires at 40
    outcomes = [asked("a", 25.0, 0), asked("b", 29.0, 0), asked("c", 30.0, 0), asked("d", 25.0, 5)]
    found = showing(outcomes, jars, 10.0)
    assert {kind: [one.id for one in of_kind] for kind, of_kind in found.items()} == {
        Shown.FRESH: ["a"], Shown.DUE: ["b"], Shown.EXPIRED: ["c"], Shown.UNKNOWN: ["d"],
    }  # fmt: skip


def test_a_rate_is_of_whole_stretches_only() -> None:
    assert per_second([0.5, 1.0, 2.5, 4.5], Window(0.0, 5.0)) == [1.0, 0.5]
    assert per_second([], Window(0.0, 1.0)) == []


def test_ages_are_the_same_for_a_seed_and_nobody_is_due_at_the_start() -> None:
    ages = spread_ages(200, LIVES, seed=1)
    assert ages == spread_ages(200, LIVES, seed=1)
    assert max(ages) < LIVES.due_s


def test_cookies_expire_within_every_fault_and_everybody_can_come_back_after_it() -> None:
    for course in COURSES.values():
        lives, phases = course.lives, course.phases
        assert lives.life_s - lives.due_s < phases.fault_s
        assert lives.rescheduled_s >= phases.fault_s
        assert phases.recovery_s > 5.0 + 1.2 * lives.rescheduled_s  # the longest time that a breaker is open


def test_a_skewed_clock_moves_the_wall_clock_and_no_timer() -> None:
    line = [sys.executable, "-m", "loadtest.chaos.skewed", "3600", "tests.loadtest.clocks"]
    before = time.time(), time.monotonic()
    said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert 3600 <= float(said[0]) - before[0] < 3660
    assert 0 <= float(said[1]) - before[1] < 60


async def test_a_person_takes_what_is_given_and_a_twin_shows_the_same() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: A=9; Path=/\r\ncontent-length: 2\r\n\r\n")
        writer.write(b"ok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        person = Person(server.sockets[0].getsockname()[1], 1, Jar(0, FIELD))
        assert await person.asks_at_once(3) == {200}
        assert person.jar.field == FIELD
        assert await person.ask() == 200
        assert (person.jar.field, person.token) == (b"Cookie: A=9; B=2", b"9")
        assert all(FIELD + b"\r\n" in head for head in asked)


def test_every_scenario_of_token_services_has_its_place_and_is_described() -> None:
    text = (Path(__file__).parents[2] / "docs" / "renewal.md").read_text()
    with_services = [one for one in SCENARIOS if one.make is not None]
    assert len(with_services) == 17
    assert [one.name for one in with_services if f"`{one.name}`" not in text] == []
