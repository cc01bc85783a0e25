"""What the experiments are made of: the edge that counts nothing, mixes of cookies, many routes, keys, revocations."""

import ast
import time
from pathlib import Path

import aiohttp
import pytest
import yaml
from edgepb.cookie.v1 import cookie_service_pb2 as cookie_pb
from edgepb.kms.v1 import kms_pb2

from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from loadtest.bench.cookies import cookie_field
from loadtest.bench.edge import ENVIRONMENT
from loadtest.bench.failure import BenchError
from loadtest.bench.visitors import visitors
from loadtest.experiments.ground import NAMES
from loadtest.experiments.growth import path_of, write_routes
from loadtest.experiments.remote import AGES, DUE, EXPIRED, REMOTE_SHARE, aged, mixed
from loadtest.experiments.supply import PAGE, grown, page, sealing_rings, supply
from loadtest.experiments.unmetered import CUTS, Cut, cut
from passport.kms import KmsClient
from tokens.cookie import Claims, open_pair
from tokens.keys.ring import KeyRing

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000


@pytest.fixture
def answer() -> kms_pb2.GetKeySetsResponse:
    versions = [
        kms_pb2.KeyVersion(key_id=1, state=kms_pb2.ACTIVE, material=b"k" * 32, primary=True),
        kms_pb2.KeyVersion(key_id=2, state=kms_pb2.PRE_ACTIVE, material=b"l" * 32),
    ]
    return kms_pb2.GetKeySetsResponse(key_sets=[kms_pb2.KeySet(purpose="cookie", versions=versions)], revision=3)


class TestTheEdgeThatCountsNothing:
    @pytest.mark.parametrize("what", CUTS, ids=lambda one: one.function)
    def test_every_cut_fits_the_sources_and_leaves_python(self, what: Cut) -> None:
        source = (REPOSITORY / what.file).read_text()
        less = cut(source, what)
        ast.parse(less)
        assert len(less) < len(source)

    def test_what_is_left_of_a_finished_exchange_is_its_line_in_the_log(self) -> None:
        (what,) = (one for one in CUTS if one.function == "Telemetry.finished")
        less = cut((REPOSITORY / what.file).read_text(), what)
        body = less.partition("def finished(")[2].partition("\n    def ")[0]
        assert "_finished.count" not in body
        assert "if self._log is not None: alike = self._finished.alike(" in body
        assert "self._ended.append(" in body

    def test_a_function_that_is_not_there_or_has_nothing_to_cut_is_no_measurement(self) -> None:
        with pytest.raises(BenchError, match=r"There is no A\.b in f\.py"):
            cut("class A:\n    def c(self):\n        pass\n", Cut("f.py", "A.b"))
        with pytest.raises(BenchError, match="not as it was"):
            cut("def a():\n    log()\n", Cut("f.py", "a", drop=("count()",)))
        with pytest.raises(BenchError, match="not as it was"):
            cut("def a():\n    log()\n", Cut("f.py", "a", drop=("log()",), guarded=(("count()", "self.log"),)))

    def test_a_function_without_statements_returns(self) -> None:
        less = cut('def a():\n    """Count."""\n    b()\n    c(\n        1)\n', Cut("f.py", "a"))
        assert less == 'def a():\n    """Count."""\n    return\n'


class TestMixes:
    def test_one_in_twenty_needs_a_call_and_none_of_them_twice(self) -> None:
        made = iter(range(10_000_000))
        lines = mixed(["a", "b"], 20_000, lambda: f"remote {next(made)}")
        remote = [line for line in lines if line.startswith("remote")]
        assert len(remote) / len(lines) == pytest.approx(REMOTE_SHARE, abs=0.01)
        assert len(set(remote)) == len(remote)

    def test_a_due_cookie_is_still_good_and_an_expired_one_is_not(self) -> None:
        (visitor,) = visitors(1)
        due = aged(visitor, NOW, AGES[DUE], "s")
        assert due.renew_after < NOW < due.expires_at
        assert aged(visitor, NOW, AGES[EXPIRED], "s").expires_at < NOW


class TestManyRoutes:
    def test_are_a_configuration_that_the_edge_takes(self, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.mkdir()
        for file in (REPOSITORY / "config").glob("*.yaml"):
            (config / file.name).write_text(file.read_text())
        write_routes(config / "routes.yaml", 30)
        routes = yaml.safe_load((config / "routes.yaml").read_text())["routes"]
        assert len(routes) == 30
        secrets = tmp_path / "secrets"
        secrets.mkdir(mode=0o700)
        for name in ("edge",):
            file = secrets / f"{name}.token"
            file.touch(mode=0o600)
            file.write_text("x" * 43)
        snapshot = load_config(str(config), [], var=str(tmp_path))
        assert isinstance(snapshot, Snapshot), snapshot
        found = snapshot.routes.match(b"127.0.0.1", path_of(29).encode(), b"GET")
        assert getattr(found, "id", found) == "r29"


class TestManyKeys:
    def test_each_seals_cookies_that_the_grown_ring_opens(self, answer: kms_pb2.GetKeySetsResponse) -> None:
        more = grown(answer, 20)
        ring = KeyRing.from_key_sets(more.key_sets, more.revision)
        rings = sealing_rings(more)
        assert len(rings) == 20
        (visitor,) = visitors(1)
        for one in rings:
            field = cookie_field(one, NAMES, ENVIRONMENT, visitor, NOW)
            insecure, secure = (part.partition("=")[2].encode() for part in field.removeprefix("Cookie: ").split("; "))
            assert isinstance(open_pair(ring, NAMES, ENVIRONMENT, (insecure, secure), NOW), Claims)

    def test_the_answer_itself_stays_as_it_was(self, answer: kms_pb2.GetKeySetsResponse) -> None:
        grown(answer, 9)
        assert len(answer.key_sets[0].versions) == 2


class TestManyRevocations:
    def test_pages_follow_each_other_to_the_last(self) -> None:
        feed, cursor, ids = page(0, PAGE + 7, NOW), 0, 0
        while True:
            ids += len(feed.revocations)
            cursor = feed.cursor
            if not feed.more:
                break
            feed = page(cursor, PAGE + 7, NOW)
        assert (ids, cursor) == (PAGE + 7, PAGE + 7)

    async def test_keys_and_revocations_are_served_as_the_services_do(self, answer: kms_pb2.GetKeySetsResponse) -> None:
        async with supply(answer, 5, int(time.time())) as port, aiohttp.ClientSession() as session:
            got = await KmsClient(session, f"http://127.0.0.1:{port}", "token").key_sets(["cookie"])
            assert len(got.key_sets[0].versions) == 2
            url = f"http://127.0.0.1:{port}/v1/revocations"
            async with session.get(url, params={"after": "0", "wait_s": "0"}) as reply:
                feed = cookie_pb.RevocationFeed.FromString(await reply.read())
            assert len(feed.revocations) == 5
            assert not feed.more
            async with session.get(url, params={"after": "5", "wait_s": "0.05"}) as reply:
                assert not cookie_pb.RevocationFeed.FromString(await reply.read()).revocations
