"""`edge run` under load while its configuration changes: nobody notices, and what is wrong changes nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tests.edge_process.edge import ALONE, Edge, Load, asked, running_edge
from tests.edge_process.origin import Origin
from tests.processes import eventually, write_secret
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")

RELOADS = 20


async def test_w3_a_reload_is_served_by_all_workers_and_no_connection_is_lost(edge: Edge) -> None:
    await edge.pids()  # what is still being started at a reload may be started anew
    load = Load(edge.address)
    async with load.of(8):
        edge.edit("routes.yaml", "id: stream\n    path: /stream", "id: stream\n    path: /renamed")
        code, said = await edge.command("reload")
        assert (code, "is served by all workers" in said) == (0, True), said
        await load.more(200)
    assert load.failures == []
    assert len(load.connections) == 8
    revision = {worker["config"] for worker in (await edge.health())["workers"]}
    assert revision == {int(await edge.metric("edge_config_revision") or 0)}
    assert await edge.metric("edge_config_last_change_successful") == 1.0


async def test_w3_many_reloads_under_load_cost_no_request_no_descriptor_and_no_memory(edge: Edge) -> None:
    pids = await edge.pids()
    load = Load(edge.address)
    async with load.of(8):
        for _ in range(5):  # what a first time brings in stays
            assert (await edge.reload()).result == 0
        before = [await _size(pid) for pid in pids]
        for number in range(RELOADS):
            _change_origin(edge, number)
            assert (await edge.reload()).result == 0
        await load.more(200)

        async def no_descriptor_is_left_open() -> bool:
            sizes = [await _size(pid) for pid in pids]
            return all(now[0] <= then[0] + 2 for then, now in zip(before, sizes, strict=True))

        await eventually(no_descriptor_is_left_open, "the origin connections of replaced pools are closed")
    assert load.failures == []
    assert len(load.connections) == 8
    assert await edge.pids() == pids
    for pid, (_, then) in zip(pids, before, strict=True):
        assert (await _size(pid))[1] - then < 6 << 20


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("edge.yaml", "edge:", "edge: [", "edge.yaml"),
        ("edge.yaml", "edge:", "filters: {frobnicate: {deadline_s: 1}}\nedge:", "frobnicate"),
        ("edge.yaml", "\n  id:", "\n  identity:", "edge.id"),
        ("routes.yaml", "origin: api", "origin: nowhere", "nowhere"),
    ],
    ids=["syntax", "unknown filter", "missing key", "unknown origin"],
)
async def test_w4_a_broken_config_changes_nothing_and_says_why(
    edge: Edge, name: str, old: str, new: str, why: str
) -> None:
    text = (edge.config / name).read_text()
    before = await _state(edge)
    load = Load(edge.address)
    try:
        async with load.of(4):
            edge.edit(name, old, new)
            code, said = await edge.command("reload")
            await load.more(50)
    finally:
        (edge.config / name).write_text(text)
    assert code == 2
    assert why in said
    assert load.failures == []
    assert await _state(edge) == before
    assert await edge.metric("edge_config_last_change_successful") == 0.0


async def _state(edge: Edge) -> dict[str, object]:
    """Return what /health says, but for the age of the keys."""
    health = await edge.health()
    del health["keys"]["age_s"]
    return health


async def test_w4_what_a_reload_cannot_change_is_named_and_refused(edge: Edge) -> None:
    text = (edge.config / "edge.yaml").read_text()
    try:
        (edge.config / "edge.yaml").write_text(text.replace("listener:", "listener:\n  backlog: 7", 1))
        code, said = await edge.command("reload")
    finally:
        (edge.config / "edge.yaml").write_text(text)
    assert code == 4
    assert "listener.backlog: `edge restart`" in said


async def test_w4_a_worker_that_dies_while_the_config_is_broken_comes_back_on_the_one_that_is_served(
    edge: Edge,
) -> None:
    text = (edge.config / "routes.yaml").read_text()
    pids = await edge.pids()
    try:
        (edge.config / "routes.yaml").write_text("broken: [")
        os.kill(pids[0], signal.SIGKILL)

        async def another() -> bool:
            return (await edge.pids())[0] != pids[0]

        await eventually(another, "the dead worker is replaced")
        assert b" 200 " in await asked(edge.address)
    finally:
        (edge.config / "routes.yaml").write_text(text)


async def test_sighup_reloads(edge: Edge) -> None:
    before = await edge.metric('edge_config_changes_total{kind="reload",result="applied"}') or 0.0
    pids = await edge.pids()
    edge.process.send(signal.SIGHUP)

    async def reloaded() -> bool:
        return await edge.metric('edge_config_changes_total{kind="reload",result="applied"}') == before + 1.0

    await eventually(reloaded, "the reload is counted")
    assert await edge.pids() == pids


async def test_w3_a_rolling_restart_under_load_loses_no_request(edge: Edge) -> None:
    pids = await edge.pids()
    load = Load(edge.address)
    async with load.of(8):
        code, said = await edge.command("restart")
        assert (code, "all workers were replaced" in said) == (0, True), said
        await load.more(100)
        fresh = await edge.pids()

        async def gone() -> bool:
            return not any(psutil.pid_exists(pid) for pid in pids)

        await eventually(gone, "the old workers are gone")
        await load.more(100)
    assert (load.failures, load.refused) == ([], 0)
    assert not set(fresh) & set(pids)


async def test_a_command_without_an_edge_says_so(edge: Edge, tmp_path: Path) -> None:
    nobody = Edge(edge.process, edge.address, edge.admin, edge.config, tmp_path, edge.log)
    code, said = await nobody.command("reload")
    assert code == 3
    assert "no edge runs with" in said


async def _size(pid: int) -> tuple[int, int]:
    """Return open descriptors and the resident set."""
    process = psutil.Process(pid)
    return await asyncio.to_thread(lambda: (process.num_fds(), process.memory_info().rss))


def _change_origin(edge: Edge, number: int) -> None:
    """Make another origin of `api`, so that its pool is replaced."""
    path = edge.config / "origins.yaml"
    lines = [line for line in path.read_text().splitlines() if "max_waiting" not in line]
    at = next(index for index, line in enumerate(lines) if line.strip().startswith("api:")) + 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    path.write_text("\n".join([*lines[:at], f"{indent}max_waiting: {100 + number}", *lines[at:], ""]))


@asynccontextmanager
async def noting_tokens() -> AsyncIterator[tuple[str, list[str]]]:
    """Run what refuses the feed of revocations to everybody; yield its URL and the tokens that it is shown."""
    shown: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        shown.append(request.headers["Authorization"])
        return web.Response(status=403)

    app = web.Application()
    app.router.add_get("/v1/revocations", refuse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", shown
    finally:
        await runner.cleanup()


async def test_w3_a_reload_gives_the_edges_new_token_to_the_kms_and_to_the_feed_of_revocations(
    kms: Kms, origin: Origin, tmp_path: Path
) -> None:
    token, new = tmp_path / "edge.token", "n" * 43
    write_secret(token, kms.token("edge"))
    files = (f"services.{service}.token_file={token}" for service in ("kms", "cookie"))
    refused = 'edge_remote_calls_total{outcome="refused",service="kms"}'
    async with (
        noting_tokens() as (url, shown),
        running_edge(kms, tmp_path, origin.address, *files, f"services.cookie.url={url}", ALONE, workers=1) as edge,
    ):
        assert set(shown) == {f"Bearer {kms.token('edge')}"}
        token.unlink()
        write_secret(token, new)
        assert (await edge.reload()).result == 0

        async def both_are_shown_it() -> bool:
            return f"Bearer {new}" in shown and bool(await edge.metric(refused))

        await eventually(both_are_shown_it, "the KMS, which does not know it, and the feed are shown the new token")
        assert b" 200 " in await asked(edge.address), "the keys that there are stay"
        assert new not in edge.process.output()
