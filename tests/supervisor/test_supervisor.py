"""The supervisor over real worker processes."""

import asyncio
import itertools
import json
import os
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from edge.supervisor import crew as crew_module
from edge.supervisor import fleet, rollout, supervisor
from edge.supervisor.config import Config, Result
from edge.supervisor.control_socket import ask
from edge.supervisor.crew import Crew
from edge.supervisor.process import WorkerProcess
from edge.telemetry.snapshot import WorkerValues
from tests.processes import beside, dialled
from tests.supervisor.conftest import Running, plan, supervising


async def test_every_slot_gets_a_worker_and_the_edge_is_ready() -> None:
    async with supervising(plan(workers=2)) as edge:
        await edge.until(lambda: edge.ready() == 2)
        status, body = await edge.admin("/health")
        health = json.loads(body)
        assert (status, health["status"]) == (200, "ready")
        assert [worker["slot"] for worker in health["workers"]] == [0, 1]
        assert int(await edge.get("/")) in {worker["pid"] for worker in health["workers"]}


async def test_the_edge_is_not_ready_before_a_worker_is() -> None:
    async with supervising(plan(arguments=("--fail",))) as edge:
        await edge.until(lambda: any("exit code" in line for line in edge.said))
        status, body = await edge.admin("/health")
        assert status == 503
        assert json.loads(body)["status"] == "starting"


async def test_a_crash_loop_backs_off_and_is_said_plainly() -> None:
    async with supervising(plan(arguments=("--fail",))) as edge:
        await edge.until(lambda: sum("exit code 4" in line for line in edge.said) >= 2)
        deaths = [line for line in edge.said if "exit code 4" in line]
        assert deaths[0] == "worker 0 ended with exit code 4; it is started again in 0.1 s"
        assert deaths[1] == "worker 0 ended with exit code 4; it is started again in 0.2 s"


async def test_w1_a_worker_that_dies_is_replaced_and_queued_connections_outlive_it() -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        first = edge.supervisor.health().workers[0].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        async with dialled(edge.supervisor.listening) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")  # queued in the kernel at a worker that does not accept
            os.kill(first, signal.SIGKILL)
            answer = await reader.read()
        assert int(answer.rpartition(b"\r\n")[2]) not in {0, first}
        assert any("was ended by signal 9" in line for line in edge.said)
        assert edge.supervisor.health().workers[0].restarts == 1


async def test_metrics_are_merged_over_workers_and_as_of_now() -> None:
    async with supervising(plan(workers=2)) as edge:
        await edge.until(lambda: edge.ready() == 2)
        for _ in range(20):
            await edge.get("/")
        _, text = await edge.admin("/metrics")
        assert 'edge_requests_total{outcome="completed",route="/",status="200"} 20.0' in text
        assert 'edge_workers{state="ready"} 2.0' in text
        assert "edge_worker_restarts_total 0.0" in text


async def test_counters_of_a_dead_worker_do_not_go_backward() -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        await edge.get("/")
        await edge.admin("/metrics")
        pid = edge.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await edge.until(lambda: edge.supervisor.health().workers[0].restarts == 1 and edge.ready() == 1)
        await edge.get("/")
        _, text = await edge.admin("/metrics")
        assert 'edge_requests_total{outcome="completed",route="/",status="200"} 2.0' in text
        assert "edge_worker_restarts_total 1.0" in text


async def test_metrics_answer_although_a_worker_does_not() -> None:
    async with supervising(plan(workers=2)) as edge:
        await edge.until(lambda: edge.ready() == 2)
        pid = edge.supervisor.health().workers[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        status, text = await edge.admin("/metrics")
        os.kill(pid, signal.SIGCONT)
        assert status == 200
        assert 'edge_workers{state="ready"} 2.0' in text


async def test_draining_lets_the_request_in_flight_end() -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        async with beside(edge.get("/slow")) as slow:
            await _in_flight(edge.admin, "/slow")
            edge.supervisor.stop()
            assert int(await slow) > 0
            assert await edge.task == 0


async def test_health_says_draining_while_a_worker_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "DRAIN_MARGIN_S", 0.0)
    async with supervising(plan(drain_s=0.3)) as edge:
        await edge.until(lambda: edge.ready() == 1)
        await edge.get("/stuck")
        edge.supervisor.stop()
        status, body = await edge.admin("/health")
        assert status == 503
        assert json.loads(body)["status"] == "draining"


async def test_a_worker_that_does_not_leave_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "DRAIN_MARGIN_S", 0.0)
    async with supervising(plan(drain_s=0.1)) as edge:
        await edge.until(lambda: edge.ready() == 1)
        await edge.get("/stuck")
        edge.supervisor.stop()
        assert await edge.task == 0
        assert any("did not leave" in line for line in edge.said)


async def test_stopping_while_workers_are_being_started_leaves_nothing_behind() -> None:
    for steps in (0, 1, 3):
        async with supervising(plan(workers=2)) as edge:
            await edge.until(lambda: bool(edge.said))
            for _ in range(steps):
                await asyncio.sleep(0)
            edge.supervisor.stop()
            assert await edge.task == 0
            assert [worker.pid for worker in edge.supervisor.health().workers] in ([], [None, None])


async def test_sigterm_drains_and_a_second_signal_ends_at_once() -> None:
    async with supervising(plan(drain_s=60.0)) as edge:
        await edge.until(lambda: edge.ready() == 1)
        await edge.get("/stuck")
        os.kill(os.getpid(), signal.SIGTERM)
        await edge.until(lambda: edge.supervisor.health().status == "draining")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await edge.task == 0


async def test_readiness_is_written_with_both_real_addresses() -> None:
    reading, writing = os.pipe()
    async with supervising(plan(ready_fd=writing)) as edge:
        text = await asyncio.to_thread(_read_all, reading)
        host, port = edge.supervisor.listening
        admin_host, admin_port = edge.supervisor.admin_listening
        assert text == f"{host}:{port}\n{admin_host}:{admin_port}\n"
        assert port > 0
        assert edge.ready() == 1


async def test_w4_a_taken_port_is_said_plainly_and_nothing_is_left_open() -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        taken = plan(listen=edge.supervisor.listening)
        async with supervising(taken) as second:
            assert await second.task == 2
            assert f"port {edge.supervisor.listening[1]} on 127.0.0.1 is taken" in second.said[0]


async def test_w4_a_taken_admin_port_is_said_plainly() -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        taken = plan(admin=edge.supervisor.admin_listening)
        async with supervising(taken) as second:
            assert await second.task == 2
            assert f"port {edge.supervisor.admin_listening[1]} on 127.0.0.1 is taken" in second.said[0]


def _read_all(fd: int) -> str:
    with os.fdopen(fd) as file:
        return file.read()


async def _in_flight(admin: object, path: str) -> None:
    """Wait until a worker has counted a request for `path`."""
    assert callable(admin)
    while True:
        _, text = await admin("/metrics")
        if f'route="{path}"' in text:
            return


async def test_w1_a_worker_that_hangs_is_ended_and_replaced() -> None:
    async with supervising(plan("edge.worker_silence_s=2")) as edge:
        await edge.until(lambda: edge.ready() == 1)
        first = edge.supervisor.health().workers[0].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        await edge.until(lambda: edge.ready() == 1 and edge.supervisor.health().workers[0].pid != first)
        assert any(line.startswith("worker 0 was silent for 2.") for line in edge.said)
        _, text = await edge.admin("/metrics")
        assert "edge_worker_silences_total 1.0" in text


async def test_w1_a_worker_whose_loop_turns_too_slowly_for_messages_is_left_alone() -> None:
    async with supervising(plan("edge.worker_silence_s=2", arguments=("--beats-only",))) as edge:
        await edge.until(lambda: edge.ready() == 1)
        ready_at, first = time.monotonic(), edge.supervisor.health().workers[0].pid
        assert first is not None
        await edge.until(lambda: time.monotonic() - ready_at > 4.5)
        assert edge.supervisor.health().workers[0].pid == first
        os.kill(first, signal.SIGSTOP)
        await edge.until(lambda: any(line.startswith("worker 0 was silent for 2.") for line in edge.said))


async def test_w1_a_worker_that_is_long_in_loading_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "configuration")
    loading = ("--load", str(tmp_path / "configuration"))
    async with supervising(plan("edge.worker_silence_s=2", arguments=loading)) as edge:
        await edge.until(lambda: any(worker.pid for worker in edge.supervisor.health().workers))
        began_at, first = time.monotonic(), edge.supervisor.health().workers[0].pid
        await edge.until(lambda: time.monotonic() - began_at > 4.5)
        await asyncio.to_thread((tmp_path / "configuration").write_bytes, b"read")
        await edge.until(lambda: edge.ready() == 1)
        assert edge.supervisor.health().workers[0].pid == first
        assert not any("silent" in line for line in edge.said)


async def test_w1_a_process_that_stands_by_takes_a_dead_workers_place() -> None:
    async with supervising(plan("edge.standby=true")) as edge:
        standby = await _standby(edge)
        first = edge.supervisor.health().workers[0].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await edge.until(lambda: edge.supervisor.health().workers[0].restarts == 1 and edge.ready() == 1)
        assert edge.supervisor.health().workers[0].pid == standby
        assert await _standby(edge) != standby


async def test_w1_a_process_that_stands_by_and_hangs_is_not_given_a_place() -> None:
    async with supervising(plan("edge.standby=true", "edge.worker_silence_s=2")) as edge:
        standby = await _standby(edge)
        os.kill(standby, signal.SIGSTOP)
        await edge.until(lambda: any("stands by was silent" in line for line in edge.said))
        await edge.until(lambda: not psutil.pid_exists(standby))
        assert await _standby(edge) != standby


async def test_w3_a_reload_is_adopted_by_every_worker_without_a_new_process() -> None:
    async with supervising(plan(workers=2)) as edge:
        await edge.until(lambda: edge.ready() == 2)
        before = edge.supervisor.health().workers
        outcome = await edge.supervisor.change("reload")
        assert outcome.result is Result.APPLIED
        after = edge.supervisor.health().workers
        assert [worker.pid for worker in after] == [worker.pid for worker in before]
        assert [worker.config for worker in after] == [2, 2]
        _, text = await edge.admin("/metrics")
        assert "edge_config_revision 2.0" in text
        assert 'edge_config_changes_total{kind="reload",result="applied"} 1.0' in text


async def test_w4_a_reload_that_one_worker_refuses_is_adopted_by_none() -> None:
    async with supervising(plan(workers=2, arguments=("--refuse-in", "1"))) as edge:
        await edge.until(lambda: edge.ready() == 2)
        outcome = await edge.supervisor.change("reload")
        assert outcome.result is Result.WORKER_REFUSED
        assert "worker 1 refuses it: it was told to refuse" in outcome.text
        assert [worker.config for worker in edge.supervisor.health().workers] == [1, 1]
        _, text = await edge.admin("/metrics")
        assert "edge_config_revision 1.0" in text
        assert "edge_config_last_change_successful 0.0" in text


async def test_w4_a_worker_that_hangs_holds_a_reload_for_its_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "ANSWER_S", 0.2)
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        pid = edge.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        outcome = await edge.supervisor.change("reload")
        os.kill(pid, signal.SIGCONT)
        assert "worker 0 refuses it: it ended, or gave no answer in 0.2 s" in outcome.text


async def test_w3_a_restart_replaces_every_worker_once_the_next_one_serves() -> None:
    async with supervising(plan(workers=2)) as edge:
        await edge.until(lambda: edge.ready() == 2)
        before = {worker.pid for worker in edge.supervisor.health().workers}
        outcome = await edge.supervisor.change("restart")
        assert outcome.result is Result.APPLIED
        after = {worker.pid for worker in edge.supervisor.health().workers}
        assert len(after - before) == 2
        assert [worker.restarts for worker in edge.supervisor.health().workers] == [0, 0]
        await edge.until(lambda: not any(Path("/proc", str(pid)).exists() for pid in before))
        assert int(await edge.get("/")) in after  # one that leaves may answer what it took before it heard of it


async def test_w4_a_restart_whose_first_worker_does_not_come_up_leaves_all_as_they_were(tmp_path: Path) -> None:
    gate = tmp_path / "fail"
    async with supervising(plan(workers=2, arguments=("--fail-if", str(gate)))) as edge:
        await edge.until(lambda: edge.ready() == 2)
        before = edge.supervisor.health().workers
        gate.touch()
        outcome = await edge.supervisor.change("restart")
        assert outcome.result is Result.WORKER_REFUSED
        assert "worker 0: the new one ended with exit code 4" in outcome.text
        assert "0 of 2 workers were replaced" in outcome.text
        assert edge.supervisor.health().workers == before
        assert int(await edge.get("/")) > 0


@pytest.mark.parametrize("kind", ["reload", "restart"])
async def test_w2_a_change_that_a_stop_overtakes_ends_no_request(kind: str) -> None:
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        reader, writer = await asyncio.open_connection(*edge.supervisor.listening)
        writer.write(b"GET /held HTTP/1.1\r\n\r\n")
        await _in_flight(edge.admin, "/held")
        changing = asyncio.create_task(edge.supervisor.change(kind))
        await asyncio.sleep(0)  # it reads the files
        edge.supervisor.stop()
        outcome = await changing
        writer.write(b"\n")
        assert b"200 OK" in await reader.read()
        writer.close()
        assert outcome.result is Result.WORKER_REFUSED
        assert await edge.task == 0


async def test_w2_a_stop_breaks_a_restart_off_and_leaves_no_process_of_it(tmp_path: Path) -> None:
    gate = tmp_path / "hang"
    before = {*psutil.Process().children()}  # those of other tests that live on
    async with supervising(plan(arguments=("--hang-if", str(gate)))) as edge:
        await edge.until(lambda: edge.ready() == 1)
        gate.touch()
        changing = asyncio.create_task(edge.supervisor.change("restart"))
        await edge.until(lambda: len({*psutil.Process().children()} - before) == 2)
        edge.supervisor.stop()
        assert await edge.task == 0
        assert changing.done()
        assert (await changing).result is Result.WORKER_REFUSED
        assert {*psutil.Process().children()} <= before


async def test_w2_no_process_is_started_once_the_sockets_are_closed() -> None:
    what = plan()
    with socket.socket() as listening:
        crew = Crew(what.command, [listening], WorkerValues(), list[str]().append)
    with pytest.raises(OSError, match="closed"):
        await crew.take(Config(what.snapshot, 1))


async def test_w1_a_process_that_cannot_stand_by_is_started_again_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(crew_module, "time", SimpleNamespace(monotonic=lambda: now))
    what, starts = plan(arguments=("--fail",)), list[float]()
    config = Config(what.snapshot, 1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        crew = Crew(what.command, [listening], WorkerValues(), list[str]().append)
        while len(starts) < 7:
            before = crew.waiting
            crew.refill(config)
            while crew._starting is not None and not crew._starting.done():
                await asyncio.wait({crew._starting})
            if crew.waiting is not None and crew.waiting is not before:
                starts.append(now)
                crew.waiting.serving_since = now
                await crew.waiting.ended
            now += 0.25
        await crew.dismiss()
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1] >= 3.0) == (2.0, True), pauses


async def test_w3_a_worker_that_is_being_started_at_a_reload_serves_the_new_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, taking = asyncio.Event(), asyncio.Event()
    gate.set()

    class SlowCrew(Crew):
        async def take(self, config: Config) -> WorkerProcess:
            process = await super().take(config)
            taking.set()
            await gate.wait()
            return process

    monkeypatch.setattr(fleet, "Crew", SlowCrew)
    async with supervising(plan()) as edge:
        await edge.until(lambda: edge.ready() == 1)
        gate.clear()
        taking.clear()
        pid = edge.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await taking.wait()
        outcome = await edge.supervisor.change("reload")
        gate.set()
        assert outcome.result is Result.APPLIED
        assert "is served by 0 of 1 workers\nworker 0 is being started and will serve it" in outcome.text
        await edge.until(lambda: edge.ready() == 1)
        _, text = await edge.admin("/metrics")
        assert "edge_config_revision 2.0" in text


@pytest.mark.parametrize("kind", ["reload", "restart"])
async def test_w3_a_worker_that_ends_while_it_is_being_replaced_is_followed_by_one_that_serves_the_new_configuration(
    kind: str, tmp_path: Path
) -> None:
    gate = tmp_path / "held"
    async with supervising(plan(arguments=("--forget-in", "0", "--hold-while", str(gate)))) as edge:
        await edge.until(lambda: edge.ready() == 1)
        gate.touch()
        changing = asyncio.create_task(edge.supervisor.change(kind))
        await edge.until(lambda: len(edge.supervisor._board._processes) == 2)
        pid = edge.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await edge.until(lambda: edge.supervisor.health().workers[0].pid not in {None, pid})
        gate.unlink()
        assert (await changing).result is Result.APPLIED
        await edge.until(lambda: edge.ready() == 1 and edge.supervisor.health().workers[0].config == 2)


async def test_a_worker_that_cannot_start_is_started_anew_with_a_reload(tmp_path: Path) -> None:
    gate = tmp_path / "fail"
    gate.touch()
    async with supervising(plan(arguments=("--fail-if", str(gate)))) as edge:
        await edge.until(lambda: sum("exit code 4" in line for line in edge.said) >= 2)
        gate.unlink()
        outcome = await edge.supervisor.change("reload")
        assert outcome.result is Result.APPLIED
        await edge.until(lambda: edge.ready() == 1)
        assert edge.supervisor.health().workers[0].config == 2


@pytest.mark.parametrize(("kind", "workers"), [("reload", 2), ("restart", 1)])
async def test_a_change_tells_which_workers_are_still_to_come_up_with_it(
    kind: str, workers: int, tmp_path: Path
) -> None:
    gate, last = tmp_path / "hang", workers - 1
    async with supervising(plan(workers=workers, arguments=("--hang-if", str(gate)))) as edge:
        await edge.until(lambda: edge.ready() == workers)
        gate.touch()
        pid = edge.supervisor.health().workers[last].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await edge.until(lambda: edge.supervisor.health().workers[last].pid not in {None, pid})
        outcome = await edge.supervisor.change(kind)
        assert outcome.result is Result.APPLIED
        served, *starting = outcome.text.splitlines()
        assert served.endswith(f"is served by {last} of {workers} workers")
        assert starting == [f"worker {last} is being started and will serve it"]
        assert edge.said[-1] == f"{kind}: {starting[0]}"
        gate.unlink()


async def test_commands_reach_the_edge_through_its_directory_of_state_for_its_owner_only() -> None:
    what = plan()
    var = what.snapshot.var
    async with supervising(what) as edge:
        await edge.until(lambda: edge.ready() == 1)
        assert (var / "edge.sock").stat().st_mode & 0o777 == 0o600
        outcome = await asyncio.to_thread(ask, var, "reload")
        assert outcome is not None
        assert outcome.result is Result.APPLIED
        unknown = await asyncio.to_thread(ask, var, "rm -rf")
        assert unknown is not None
        assert unknown.result is Result.WORKER_REFUSED
    assert not (var / "edge.sock").exists()
    assert await asyncio.to_thread(ask, var, "reload") is None


async def test_a_second_edge_on_the_same_state_leaves_the_first_its_commands() -> None:
    what = plan()
    async with supervising(what) as edge:
        await edge.until(lambda: edge.ready() == 1)
        async with supervising(what) as second:
            await second.until(lambda: second.ready() == 1)
            assert any("another edge runs with" in line for line in second.said)
        outcome = await asyncio.to_thread(ask, what.snapshot.var, "reload")
        assert outcome is not None
        assert any(line.startswith("reload: ") for line in edge.said)


async def _standby(edge: Running) -> int:
    """Wait until a process stands by with everything loaded; return its id."""
    await edge.until(lambda: edge.ready() == 1)
    fleet = edge.supervisor._fleet
    assert fleet is not None
    await edge.until(lambda: fleet.crew.waiting is not None and fleet.crew.waiting.loaded)
    assert fleet.crew.waiting is not None
    return fleet.crew.waiting.pid
