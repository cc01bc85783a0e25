"""What reading a Passport costs an origin: how it is counted, and one short run of the real thing."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtest.bench.failure import BenchError
from loadtest.bench_origin.__main__ import settings_from
from loadtest.bench_origin.cpu import cpu_s
from loadtest.bench_origin.credentials import Credentials, Request, draw_keys, forged
from loadtest.bench_origin.load import drive
from loadtest.bench_origin.measuring import check
from loadtest.bench_origin.report import as_json, report, row, verdict
from loadtest.bench_origin.settings import Reads, Settings
from loadtest.bench_origin.subjects import SUBJECTS
from tests.processes import ran


class App:
    """A caller whose app answers what it is told to: `status` to good requests, `forged_status` to forged ones."""

    def __init__(self, good: Sequence[Request], status: int, forged_status: int, *, names: bool = True) -> None:
        self._good = {request.line: request for request in good}
        self._status = status
        self._forged_status = forged_status
        self._names = names
        self.asked = 0

    async def ask(self, request: Request) -> tuple[int, bytes]:
        self.asked += 1
        known = self._good.get(request.line)
        if known is None:
            return self._forged_status, b""
        return self._status, str(known.visitor.customer_id).encode() if self._names else b"0"

    async def close(self) -> None:
        pass


class SameAgain(Credentials):
    """Credentials that make the same requests each time, so that an app can know them."""

    def requests(self, reads: Reads) -> list[Request]:
        self.made = getattr(self, "made", None) or super().requests(reads)
        return self.made


@pytest.fixture
def credentials(tmp_path: Path) -> SameAgain:
    return SameAgain(draw_keys(tmp_path / "keys"), 3)


def test_the_file_with_the_keys_is_private(tmp_path: Path) -> None:
    draw_keys(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_processor_time_is_that_of_the_process_and_to_the_microsecond() -> None:
    before, ours = cpu_s(os.getpid()), time.process_time()
    while time.process_time() - ours < 0.02:
        pass
    spent = cpu_s(os.getpid()) - before
    assert 0.02 <= spent <= time.process_time() - ours + 0.01
    with pytest.raises(OSError, match="no process"):
        cpu_s(2**22 + 1)


def test_a_row_compares_medians_and_shows_the_range_of_single_rounds() -> None:
    one = row("x", "X", [100.0, 200.0, 110.0], [150.0, 220.0, 165.0])
    assert (one.without_us, one.with_us, one.added_us, one.ratio) == (110.0, 165.0, 55.0, 1.5)
    assert (one.ratio_low, one.ratio_high) == (1.1, 1.5)


def test_the_report_says_what_the_origin_saves_and_what_was_left_out() -> None:
    spent = {Reads.NOTHING: [100.0], Reads.PASSPORT: [140.0], Reads.COOKIES: [200.0]}
    found = report({"aiohttp": "aiohttp"}, {"aiohttp": spent}, {"node_plain": "no node"})
    assert found.cookies is not None
    assert "140 µs" in verdict(found.cookies)
    assert "30 % less" in verdict(found.cookies)
    read = json.loads(as_json(found, {"settings": {}}))
    assert read["rows"][0]["added_us"] == 40.0
    assert read["passport_instead_of_cookies"]["ratio"] == 0.7
    assert read["left_out"] == {"node_plain": "no node"}


def test_a_dearer_passport_is_said_to_be_dearer() -> None:
    assert "25 % more" in verdict(row("origin", "", [100.0], [125.0]))


async def test_an_app_that_reads_well_passes(credentials: SameAgain) -> None:
    await check(App(credentials.requests(Reads.PASSPORT), 200, 401), Reads.PASSPORT, credentials)


@pytest.mark.parametrize(
    ("status", "forged_status", "names"), [(200, 200, True), (401, 401, True), (200, 401, False), (200, 500, True)]
)
async def test_an_app_that_lets_forged_requests_in_or_good_ones_not_is_no_measurement(
    credentials: SameAgain, status: int, forged_status: int, names: bool
) -> None:
    app = App(credentials.requests(Reads.PASSPORT), status, forged_status, names=names)
    with pytest.raises(BenchError):
        await check(app, Reads.PASSPORT, credentials)


async def test_a_refusal_under_load_is_no_measurement(credentials: SameAgain) -> None:
    good = credentials.requests(Reads.COOKIES)
    app = App(good, 200, 401)
    await drive([app, app], good, 10)
    assert app.asked == 10
    with pytest.raises(BenchError, match="401"):
        await drive([app], [forged(good[0])], 1)


def test_subjects_have_ids_of_their_own_and_one_is_the_origin_that_opens_cookies() -> None:
    assert len({subject.id for subject in SUBJECTS}) == len(SUBJECTS)
    assert [subject.id for subject in SUBJECTS if Reads.COOKIES in subject.variants] == ["aiohttp"]


def test_without_options_the_usual_run_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings_from([]) == Settings()
    with pytest.raises(SystemExit):
        settings_from(["--only", "cobol"])
    assert "--only" in capsys.readouterr().err


async def test_a_short_run_measures_the_stub_origin_with_passport_and_with_cookies(tmp_path: Path) -> None:
    few = ["--rounds", "1", "--requests", "20", "--connections", "2", "--visitors", "4", "--only", "aiohttp"]
    code, said = await ran("loadtest.bench_origin", *few, "--var", str(tmp_path))
    assert code == 0, said
    assert "opening the cookie pair itself" in " ".join(said.split())
    found = json.loads((tmp_path / "latest.json").read_text())
    assert [one["id"] for one in found["rows"]] == ["aiohttp"]
    assert found["rows"][0]["with_us"] > 0
    assert found["passport_instead_of_cookies"]["without_us"] > 0
    assert found["left_out"] == {}
