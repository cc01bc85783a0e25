"""Dials on their way to a worker: taken whole or not at all, also when they are there before it has looked."""

import asyncio
import socket
from collections.abc import Mapping

import orjson
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.dials import BUCKETS, Dial, DialTable, Feature
from edge.telemetry.control_channel import Deframer, Message, WorkerChannel, frame
from edge.telemetry.dials_message import dials_message, read_dials
from edge.telemetry.metrics import WorkerMetrics

TERMINATE, SHADOW = Feature.TERMINATE_COOKIE, Feature.SHADOW_COOKIE
POSITIONS = st.dictionaries(
    st.builds(Dial, st.sampled_from(Feature), st.none() | st.text(max_size=5), st.none() | st.integers(0, 9)),
    st.integers(0, BUCKETS),
)


@given(st.integers(0, 2**60), POSITIONS, st.text(max_size=64).filter(str.isprintable))
def test_a_worker_decides_as_the_table_that_was_sent(revision: int, positions: dict[Dial, int], salt: str) -> None:
    sent = DialTable(revision, positions, {TERMINATE: salt})
    received = read_dials(orjson.loads(orjson.dumps(dials_message(sent, {TERMINATE: salt}))))
    assert received is not None
    assert (received.revision, received.positions) == (sent.revision, sent.positions)
    keys = [b"%d" % number for number in range(20)]
    assert [received.is_on(feature, "api", 2, key) for feature in Feature for key in keys] == [
        sent.is_on(feature, "api", 2, key) for feature in Feature for key in keys
    ]


def test_a_feature_that_this_worker_does_not_know_is_left_out() -> None:
    rows = [["terminate-cookie", None, None, 5], ["terminate-msl", None, None, 5]]
    received = read_dials({"revision": 1, "salts": {"terminate-msl": "x"}, "positions": rows})
    assert received is not None
    assert received.positions == {Dial(TERMINATE): 5, Dial(SHADOW): 0}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"revision": "1", "salts": {}, "positions": []},
        {"revision": 1, "salts": [], "positions": []},
        {"revision": 1, "salts": {}, "positions": {}},
        {"revision": 1, "salts": {}, "positions": [["terminate-cookie", None, None, 10_001]]},
        {"revision": 1, "salts": {}, "positions": [["terminate-cookie", None, "phone", 1]]},
        {"revision": 1, "salts": {}, "positions": [[]]},
    ],
)
def test_what_is_no_table_is_not_taken(message: dict[str, object]) -> None:
    assert read_dials(message) is None


@pytest.mark.parametrize("problem", ["", "it was not prepared"])
async def test_the_dials_of_a_configuration_are_taken_with_it_and_only_with_it(problem: str) -> None:
    class Swapping:
        """Says at the commit what it was told to say."""

        async def prepare(self, revision: int, texts: Mapping[str, str]) -> str:
            return ""

        def commit(self, revision: int) -> str:
            return problem

        def discard(self, revision: int) -> None:
            pass

    here, there = socket.socketpair()
    with here:
        worker = WorkerChannel(WorkerMetrics(), lambda: None, interval_s=60.0)
        await worker.open(there.detach())
        worker.reloading = Swapping()
        dials = dials_message(DialTable(7, {Dial(SHADOW): 5}), {})
        here.sendall(frame({"type": "commit", "revision": 2, "dials": dials, "id": 1}))
        answers = Deframer()
        here.setblocking(False)
        heard: list[Message] = []
        while not heard or heard[-1]["type"] != "done":
            heard += answers.feed(await asyncio.get_running_loop().sock_recv(here, 65_536))
        assert worker.dials.table.revision == (0 if problem else 7)
        assert heard[:-1] == ([] if problem else [{"type": "dials", "revision": 7}])
        assert heard[-1] == {"type": "done", "problem": problem, "id": 1}
        worker.close()


def test_dials_that_come_while_the_channel_opens_are_taken_and_answered() -> None:
    """On uvloop, as in a worker: it reads before whoever opens the channel has it in hands."""

    async def opened_late() -> None:
        here, there = socket.socketpair()
        here.sendall(frame(dials_message(DialTable(7, {Dial(SHADOW): 5}), {})))
        metrics = WorkerMetrics()
        worker = WorkerChannel(metrics, lambda: None, interval_s=30)
        with here:
            await worker.open(there.detach())
            here.setblocking(False)
            answer = await asyncio.get_running_loop().sock_recv(here, 65536)
            assert Deframer().feed(answer)[0] == {"type": "dials", "revision": 7}
            assert worker.dials.table.positions[Dial(SHADOW)] == 5
            assert metrics.snapshot(0.0).values["edge_dial_revision"] == [((), 7)]
            worker.close()

    uvloop.run(opened_late())
