"""devices.yaml, and what follows from it: visits, and the share of requests that find their cookie expired."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import yaml
from pydantic import ValidationError

from loadtest.locust.accounts import ACCOUNTS
from loadtest.locust.device_table import TABLE, DeviceTable, DeviceType, read_table
from loadtest.locust.jar import OURS
from loadtest.locust.scenarios import BEAT_LIVES, SCENARIOS, to_next_beat
from loadtest.locust.visits import USUAL, Habits, Step, Visit, plan_visit
from tests.processes import REPOSITORY

ANSWER_S = 0.015  # on the run's clock, as measured: it makes visits a little longer


def _random(seed: str = "") -> Random:
    return Random(seed)  # noqa: S311 - repeatable, not secret


def _visits(device: DeviceType, count: int, seed: str = "", habits: Habits = USUAL) -> Iterator[Visit]:
    chance, signed_in = _random(seed), False
    for _ in range(count):
        visit = plan_visit(device, chance, signed_in=signed_in, habits=habits)
        yield visit
        signed_in = Step.SIGN_OUT not in [step for step, _ in visit.steps]


def _remote_percent(table: DeviceTable) -> float:
    """Live through many visits of each type with the table's clock, renewing as the edge does; no client counts."""
    requests = remote = 0.0
    for name, device in table.devices.items():
        now, issued, asked, expired = _random(name).uniform(0, 1000), None, 0, 0
        began = now
        for visit in _visits(device, 2000, name):
            for step, think_s in visit.steps:
                asked += 1
                if step is Step.SIGN_IN:
                    issued = int(now)
                elif step is Step.SIGN_OUT:
                    issued = None
                elif issued is not None and now >= issued + int(table.life_s * table.token.renew_after_share):
                    expired += now >= issued + table.life_s
                    issued = int(now)
                now += table.seconds(think_s) + ANSWER_S
            now += table.seconds(visit.away_s)
        requests += device.share * asked / (now - began)
        remote += device.share * expired / (now - began)
    return 100 * remote / requests


def test_the_habits_of_the_table_make_one_request_in_twenty_remote() -> None:
    assert _remote_percent(read_table()) == pytest.approx(5.0, abs=0.4)


def test_cookies_live_in_the_table_as_long_as_in_the_shipped_configuration() -> None:
    table, shipped = read_table(), yaml.safe_load((REPOSITORY / "config" / "cookie.yaml").read_text())
    assert table.token.life_h * 3600 == shipped["life_s"]
    assert table.token.renew_after_share == shipped["renew_after_share"]
    assert (shipped["names"]["insecure"], shipped["names"]["secure"]) == OURS


def test_the_accounts_are_those_that_the_auth_stub_is_seeded_with() -> None:
    seed = yaml.safe_load((REPOSITORY / "origins_stub" / "auth" / "seed.yaml").read_text())
    assert [(one.email, one.password, one.customer_id) for one in ACCOUNTS] == [
        (one["email"], one["password"], one["customer_id"]) for one in seed
    ]
    assert all(one.password not in repr(one) for one in ACCOUNTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"share": 36}, "are 101, not 100"),
        ({"requests": [9, 3]}, "smaller one first"),
        ({"requests": [0, 3]}, "one request at least"),
        ({"cookies": ["EdgeId"]}, "cannot switch profiles"),
        ({"cookies": ["Other"]}, "EdgeId"),
        ({"sign_out": 1.5}, "less than or equal to 1"),
        ({"thinks": [1, 2]}, "Extra inputs"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    table = yaml.safe_load(TABLE.read_text())
    table["devices"]["television"] |= change
    file = tmp_path / "devices.yaml"
    file.write_text(yaml.safe_dump(table))
    with pytest.raises(ValidationError, match=says):
        read_table(file)


def test_a_visit_begins_with_a_sign_in_only_without_a_session() -> None:
    device = read_table().devices["web_browser"]
    assert plan_visit(device, _random(), signed_in=False).steps[0][0] is Step.SIGN_IN
    assert Step.SIGN_IN not in [step for step, _ in plan_visit(device, _random(), signed_in=True).steps]


def test_the_same_seed_makes_the_same_visits() -> None:
    device = read_table().devices["television"]
    assert list(_visits(device, 20, "a")) == list(_visits(device, 20, "a")) != list(_visits(device, 20, "b"))


def test_scenarios_change_habits_and_a_legacy_device_never_switches_profiles() -> None:
    devices = read_table().devices
    signing_out = _visits(devices["television"], 20, habits=SCENARIOS["sign_outs"].habits)
    assert all([step for step, _ in one.steps][-2:] == [Step.SIGN_OUT, Step.SIGNED_OUT] for one in signing_out)
    habits = SCENARIOS["profile_switches"].habits
    switching = [step for one in _visits(devices["ios_phone"], 50, habits=habits) for step, _ in one.steps]
    assert switching.count(Step.SWITCH) > 100
    legacy = [step for one in _visits(devices["legacy_device"], 50, habits=habits) for step, _ in one.steps]
    assert Step.SWITCH not in legacy


def test_storms_come_at_the_same_moment_everywhere_and_once_all_cookies_have_expired() -> None:
    life_s = read_table().life_s
    first, later = 1_000_000.0, 1_000_007.3
    assert first + to_next_beat(first, life_s) == pytest.approx(later + to_next_beat(later, life_s))
    assert 0 < to_next_beat(first, life_s) <= BEAT_LIVES * life_s
    assert BEAT_LIVES > 1
