"""The admin listener over a real socket."""

import json

import aiohttp
import pytest

from edge.admin.health import Health, KeysHealth, Status, WorkerHealth
from edge.admin.server import AdminServer
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.snapshot import Merged


async def merged() -> Merged:
    metrics = WorkerMetrics()
    metrics.stripped_headers = 3
    values = Merged()
    values.add(metrics.snapshot(0.0))
    return values


async def ask(
    method: str, path: str, status: Status = Status.READY, body: bytes | None = None
) -> tuple[int, str, dict[str, str]]:
    server = AdminServer(
        merged, lambda: Health(status, (WorkerHealth(0, "ready", 7, 1, 1),), KeysHealth("kms", 0.5, store_lost=False))
    )
    host, port = await server.start("127.0.0.1", 0)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://{host}:{port}{path}", data=body) as response,
        ):
            return (
                response.status,
                await response.text(),
                {str(name): value for name, value in response.headers.items()},
            )
    finally:
        await server.close()


async def test_metrics_are_in_prometheus_format_and_never_cached() -> None:
    status, text, headers = await ask("GET", "/metrics")
    assert status == 200
    assert "edge_stripped_headers_total 3.0" in text
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("state", "code"), [(Status.READY, 200), (Status.STARTING, 503), (Status.DRAINING, 503)], ids=str
)
async def test_health_is_200_only_when_ready_and_names_every_worker(state: Status, code: int) -> None:
    status, text, _ = await ask("GET", "/health", state)
    assert status == code
    assert json.loads(text) == {
        "status": state.value,
        "workers": [{"slot": 0, "state": "ready", "pid": 7, "restarts": 1, "config": 1}],
        "keys": {"source": "kms", "age_s": 0.5, "store_lost": False},
    }


@pytest.mark.parametrize("state", list(Status), ids=str)
async def test_live_is_200_whatever_the_workers_do(state: Status) -> None:
    status, text, headers = await ask("GET", "/live", state)
    assert (status, text, headers["Cache-Control"]) == (200, "live\n", "no-store")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/metrics", 405), ("DELETE", "/health", 405), ("GET", "/", 404), ("GET", "/config", 404)],
)
async def test_a1_nothing_else_is_served_and_nothing_can_be_changed(method: str, path: str, code: int) -> None:
    status, _, _ = await ask(method, path, body=b"x" if method == "POST" else None)
    assert status == code


async def test_a_taken_port_raises_and_leaves_nothing_open() -> None:
    first = AdminServer(merged, lambda: Health(Status.READY, (), None))
    host, port = await first.start("127.0.0.1", 0)
    second = AdminServer(merged, lambda: Health(Status.READY, (), None))
    with pytest.raises(OSError, match="address already in use"):
        await second.start(host, port)
    await first.close()
