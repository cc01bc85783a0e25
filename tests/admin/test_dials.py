"""The admin API of the dials over a real socket, with the real desk and no worker."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.admin import dials
from edge.admin.dials import DialApi
from edge.admin.health import Health, Status
from edge.admin.server import AdminServer
from edge.contract.dials import Dial, Feature
from edge.control.dial_answer import Agreement, Made
from edge.control.dial_change import Refusal, Refused, Wish
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.supervisor.dial_board import DialBoard
from edge.supervisor.dial_desk import DialDesk
from edge.telemetry.snapshot import Merged
from tests.control.conftest import SHIPPED
from tests.processes import write_secret

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"


class Api:
    """An admin listener with one desk, and clients that show a token."""

    def __init__(self, var: Path, *overrides: str) -> None:
        snapshot = load_config(SHIPPED, overrides, var=var)
        assert isinstance(snapshot, Snapshot)
        self.url = ""
        self.said: list[str] = []
        self.board = DialBoard()
        self.desk = DialDesk(snapshot, self.board, lambda revision: Agreement(revision, 2, 2), self.said.append)
        self.operators = {"ann": var / "ann.token", "bob": var / "bob.token"}

        async def merged() -> Merged:
            return Merged()

        api = DialApi(self.desk, lambda: self.operators)
        self.server = AdminServer(merged, lambda: Health(Status.READY, (), None), api.routes())

    async def ask(
        self, method: str, path: str, body: bytes | None = None, token: str = f"Bearer {ANN}", **headers: str
    ) -> tuple[int, dict[str, Any], str | None]:
        shown = {**({"Authorization": token} if token else {}), **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}{path}", data=body, headers=shown) as response,
        ):
            assert response.headers["Cache-Control"] == "no-store"
            answer: dict[str, Any] = json.loads(await response.text())
            return response.status, answer, response.headers.get("ETag")

    async def put(self, revision: object = 0, token: str = f"Bearer {ANN}", **fields: object) -> tuple[int, Any]:
        body = json.dumps({"percent": 5, "reason": "first step", **fields}).encode()
        status, answer, _ = await self.ask(
            "PUT", "/dials/terminate-cookie", body, token, **{"If-Match": f'"{revision}"'}
        )
        return status, answer

    def counted(self, result: str) -> float:
        rows = self.desk.values()["edge_dial_changes_total"]
        return next(value for labels, value in rows if labels == ("api", result))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    made = Api(tmp_path)
    for name, token in (("ann", ANN), ("bob", BOB)):
        write_secret(made.operators[name], token)
    assert await made.desk.open() == ""
    host, port = await made.server.start("127.0.0.1", 0)
    made.url = f"http://{host}:{port}"
    yield made
    await made.server.close()
    made.desk.close()


async def test_a_change_says_what_it_made_and_the_next_reader_sees_it(api: Api) -> None:
    status, answer = await api.put(device_type="phone", origin="api", percent=12.34)
    assert status == 200
    assert (answer["who"], answer["how"], answer["from"], answer["to"]) == ("ann", "api", None, 12.34)
    assert answer["workers"] == {"revision": 1, "served": 2, "all": 2}
    no_effect = "has no effect: api does not have accepts_legacy: true in origins.yaml, so cookies end at the edge"
    assert answer["hints"] == [f"terminate-cookie, origin api, device type phone {no_effect}"]
    status, standing, etag = await api.ask("GET", "/dials")
    assert (status, etag, standing["revision"], standing["hints"]) == (200, '"1"', 1, answer["hints"])
    assert {"feature": "terminate-cookie", "origin": "api", "device_type": "phone", "percent": 12.34}.items() <= (
        standing["dials"][-1].items()
    )
    _, told, _ = await api.ask("GET", "/dials/history?feature=terminate-cookie&limit=5")
    assert [change["why"] for change in told["changes"]] == ["first step"]
    assert (await api.ask("GET", "/dials/history?feature=shadow-cookie"))[1] == {"changes": []}
    assert api.board.table.revision == 1
    assert api.counted("applied") == 1


async def test_null_unsets_a_dial(api: Api) -> None:
    await api.put(device_type="phone")
    status, answer = await api.put(1, device_type="phone", percent=None)
    assert (status, answer["from"], answer["to"]) == (200, 5, None)
    assert (await api.put(2, percent=None))[1]["reason"] == "not_set"


async def test_of_two_who_saw_the_same_revision_one_wins_and_the_other_is_told(api: Api) -> None:
    assert (await api.put(0, percent=5))[0] == 200
    status, answer = await api.put(0, f"Bearer {BOB}", percent=50)
    assert (status, answer["reason"]) == (412, "moved_on")
    assert (await api.put(1, f"Bearer {BOB}", percent=50))[1]["who"] == "bob"
    assert (api.counted("moved_on"), api.counted("applied")) == (1, 2)


async def test_a_change_without_a_revision_is_refused(api: Api) -> None:
    body = b'{"percent": 5, "reason": "x"}'
    status, answer, _ = await api.ask("PUT", "/dials/terminate-cookie", body)
    assert (status, answer["reason"]) == (428, "revision_required")
    for shown in ("*", "7", 'W/"0"', '"0", "1"', '""', '"-1"', '"1e3"', '"' + "9" * 40 + '"'):
        status, answer, _ = await api.ask("PUT", "/dials/terminate-cookie", body, **{"If-Match": shown})
        assert (status, answer["reason"]) == (400, "bad_revision"), shown
    assert api.board.table.revision == 0


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer ", f"Basic {ANN}", ANN, "Bearer x", f"Bearer {ANN}x"])
async def test_nobody_reads_or_changes_without_an_operators_token(api: Api, token: str) -> None:
    for method, path in (("GET", "/dials"), ("GET", "/dials/history"), ("PUT", "/dials/terminate-cookie")):
        status, answer, _ = await api.ask(method, path, b"{}" if method == "PUT" else None, token)
        assert (status, answer["reason"]) == (401, "unauthorised")
    assert api.counted("refused") == 1


async def test_with_no_operator_named_nobody_may_anything(api: Api) -> None:
    api.operators = {}
    assert [(await api.put())[1]["reason"], (await api.ask("GET", "/dials"))[1]["reason"]] == ["no_operators"] * 2


async def test_a_token_file_that_went_keeps_its_operator_out_and_no_other(api: Api) -> None:
    api.operators["ann"].unlink()
    assert (await api.put())[0] == 401
    assert (await api.put(0, f"Bearer {BOB}"))[0] == 200
    api.operators["bob"].write_text("")
    assert (await api.put(1, "Bearer "))[0] == 401


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"percent": 5.001}, 422, "bad_percent"),
        ({"percent": 100.5}, 422, "bad_percent"),
        ({"percent": "5"}, 422, "bad_change"),
        ({"percent": True}, 422, "bad_change"),
        ({"percent": 10**400}, 422, "bad_percent"),
        ({"reason": ""}, 422, "bad_reason"),
        ({"reason": "x" * 201}, 422, "bad_reason"),
        ({"reason": "a\u001b[31m"}, 422, "bad_reason"),
        ({"reason": None}, 422, "bad_change"),
        ({"device_type": "fone"}, 422, "unknown_device_type"),
        ({"origin": "apy"}, 422, "unknown_origin"),
        ({"perzent": 5}, 422, "bad_change"),
        ({"reason": "x" * 9000}, 413, "body_too_large"),
    ],
)
async def test_a_bad_change_is_refused_for_a_stable_reason(
    api: Api, fields: dict[str, object], status: int, reason: str
) -> None:
    found, answer = await api.put(0, f"Bearer {ANN}", **fields)
    assert (found, answer["reason"]) == (status, reason)
    assert answer["status"] == status
    assert api.board.table.revision == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad_json"),
        (b"[", "bad_json"),
        (b"[" * 8000, "bad_json"),
        (b"\xff", "bad_json"),
        (b"5", "bad_change"),
        (b'{"percent": NaN, "reason": "x"}', "bad_json"),
        (b'{"percent": 1e999999999, "reason": "x"}', "bad_percent"),
        (b'{"percent": ' + b"1" * 5000 + b', "reason": "x"}', "bad_json"),
        (b'{"percent": 5, "percent": 6, "reason": "x"}', "bad_json"),
        (b'{"reason": "x"}', "bad_change"),
    ],
)
async def test_a_body_that_is_no_change_is_refused(api: Api, body: bytes, reason: str) -> None:
    _, answer, _ = await api.ask("PUT", "/dials/terminate-cookie", body, **{"If-Match": '"0"'})
    assert answer["reason"] == reason


@given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_other_body_is_refused_too(api: Api, body: bytes) -> None:
    status, answer, _ = await api.ask("PUT", "/dials/terminate-cookie", body, **{"If-Match": '"0"'})
    assert (status, answer["reason"]) in {(400, "bad_json"), (422, "bad_change")}


async def test_an_unknown_feature_and_a_silly_limit_are_said_to_be_so(api: Api) -> None:
    status, answer, _ = await api.ask("PUT", "/dials/x", b'{"percent": 5, "reason": "x"}', **{"If-Match": '"0"'})
    assert (status, answer["reason"]) == (404, "unknown_feature")
    assert (await api.ask("GET", "/dials/history?feature=x"))[0] == 404
    for limit in ("0", "1001", "x", "-1", "٣", "9" * 5000, "000000001" + "9" * 5000):
        assert (await api.ask("GET", f"/dials/history?limit={limit}"))[1]["reason"] == "bad_limit"


async def test_a_change_that_cannot_be_kept_is_not_made(api: Api, tmp_path: Path) -> None:
    api.desk.close()
    status, answer = await api.put()
    assert (status, answer["reason"]) == (503, "stopping")
    assert api.board.table.revision == 0


async def test_an_edge_that_does_not_hold_the_journal_refuses_until_it_does(tmp_path: Path) -> None:
    first, second = Api(tmp_path), Api(tmp_path)
    await first.desk.open()
    await second.desk.open()
    assert any("another edge holds" in line for line in second.said)
    await first.desk.change(_wish("5"))
    refused = await second.desk.change(_wish("6"))
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.NOT_KEPT
    first.desk.close()
    stale = await second.desk.change(replace(_wish("6"), revision=0))  # now it reads what the first did
    assert isinstance(stale, Refused)
    assert stale.refusal is Refusal.MOVED_ON
    assert second.board.table.positions[Dial(Feature.TERMINATE_COOKIE)] == 500
    made = await second.desk.change(_wish("6"))
    assert isinstance(made, Made)
    assert (made.change.revision, made.change.before) == (2, 500)
    second.desk.close()


async def test_what_the_file_says_holds_without_a_journal_and_is_kept_once_there_is_one(tmp_path: Path) -> None:
    phones = Dial(Feature.TERMINATE_COOKIE, None, 2)
    api = Api(tmp_path / "missing", "dials.terminate-cookie.device_types.phone=5")
    assert await api.desk.open() == ""
    assert any(line.endswith("; it is not in the journal") for line in api.said)
    assert api.board.table.positions[phones] == 500
    refused = await api.desk.change(_wish("6"))
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.NOT_KEPT
    (tmp_path / "missing").mkdir()
    made = await api.desk.change(_wish("6"))
    assert isinstance(made, Made)
    assert [change.how for change in api.desk.history(None, 9)] == ["cli", "file"]
    assert len((tmp_path / "missing" / "dials.jsonl").read_bytes().splitlines()) == 2
    assert api.board.table.positions[phones] == 500
    api.desk.close()


def test_every_reason_is_explained() -> None:
    page = (SHIPPED.parent / "docs" / "dials.md").read_text()
    said = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \| \d{3} \|", page, re.MULTILINE)))
    source = Path(dials.__file__).read_text()
    assert set(said) == {*Refusal, *re.findall(r'_Problem\(\s*\w+, "(\w+)"', source)}


def _wish(percent: str) -> Wish:
    return Wish("terminate-cookie", percent, "first step", "ann", "cli")
