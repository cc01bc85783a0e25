"""These tests run on uvloop, as production does; `calls` counts what is asked of the loop."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import uvloop

from tests.edge.raw import DELIVERY


class CountingLoop(uvloop.Loop):
    """uvloop that counts the tasks, futures, timers and callbacks made through its Python interface."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def create_task(self, *args: Any, **options: Any) -> Any:
        """Count, and make it."""
        self.calls["task"] += 1
        return super().create_task(*args, **options)

    def create_future(self) -> "asyncio.Future[Any]":
        """Count, and make it."""
        self.calls["future"] += 1
        return super().create_future()

    def call_later(self, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Count, and do it."""
        self.calls["timer"] += 1
        return super().call_later(*args, **options)

    def call_at(self, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Count, and do it."""
        self.calls["timer"] += 1
        return super().call_at(*args, **options)

    def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        """Count, and do it."""
        self.calls["soon"] += 1
        return super().call_soon(*args, **options)


@pytest.fixture(params=[(), (1,), (3, 1, 8, 2, 21)], ids=["whole", "bytes", "pieces"])
def every_delivery(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test three times: messages come whole, byte by byte, and in pieces, from both ends."""
    DELIVERY.sizes = request.param
    yield
    DELIVERY.sizes = ()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every test below this directory a loop of production's kind."""
    return {"uvloop": CountingLoop}
