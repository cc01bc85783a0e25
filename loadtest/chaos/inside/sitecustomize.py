"""Filters with bugs, for a worker of the edge: Python imports this by its name when its directory is on PYTHONPATH.

The edge loads no filters but its own, so these come in by the back door. Requests on the routes `block` and `leak` meet
the bug of that name; on routes whose names begin with `fails`, the filter that the query calls `at` fails as it says:
`bug` raises, or is cancelled, at once or later, or never answers, or takes `HELD_S`. Every answer says which worker
gave it.
"""

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

BLOCK_S = 5.0
LEAK_BYTES = 8 << 20
HELD_S = 0.3
FAILS = "fails"


class Bug:
    """What a filter declares, and the verdict that lets a request go on."""

    on_error = "closed"
    deadline_s = 1.0
    concurrency = 1

    def __init__(self, name: str, go_on: object) -> None:
        self.id = name
        self.go_on = go_on
        self.kept: list[bytes] = []


class Blocking(Bug):
    """Holds the event loop."""

    def inbound(self, exchange: Any) -> object:
        """Sleep as no filter should."""
        if exchange.route.id == "block":
            time.sleep(BLOCK_S)
        return self.go_on


class Leaking(Bug):
    """Takes memory and never gives it back."""

    def inbound(self, exchange: Any) -> object:
        """Take some more."""
        if exchange.route.id == "leak":
            self.kept.append(b"x" * LEAK_BYTES)
        return self.go_on


class Naming(Bug):
    """Tells devices what is none of their business."""

    def outbound(self, exchange: Any) -> object:
        """Name this process."""
        exchange.response.headers.add(b"x-chaos-worker", b"%d" % os.getpid())
        return self.go_on


class Failing:
    """Stands in front of one of the edge's own filters, and fails in its place where a request says so."""

    def __init__(self, own: Any) -> None:
        self.own = own
        self.id, self.on_error = own.id, own.on_error
        self.deadline_s, self.concurrency = own.deadline_s, own.concurrency

    def inbound(self, exchange: Any) -> object:
        """Fail, or do the filter's work."""
        if not exchange.route.id.startswith(FAILS):
            return self.own.inbound(exchange)
        asked = parse_qs(exchange.request.target.partition(b"?")[2])
        if asked[b"at"] != [self.id.encode()]:
            return self.own.inbound(exchange)
        match asked[b"bug"][0].decode():
            case "raise":
                raise RuntimeError("chaos")
            case "cancel":
                raise asyncio.CancelledError
            case bug:
                return self._later(bug, exchange)

    async def _later(self, bug: str, exchange: Any) -> object:
        if bug == "never":
            await asyncio.Event().wait()
        await asyncio.sleep(HELD_S if bug == "hold" else 0)
        if bug == "raise_later":
            raise RuntimeError("chaos")
        if bug == "cancel_later":
            waited_for = asyncio.get_running_loop().create_future()
            waited_for.cancel()
            await waited_for
        verdict = self.own.inbound(exchange)
        return await verdict if asyncio.iscoroutine(verdict) else verdict


class FailingGuard(Failing):
    """The same for a filter that guards trailers, too."""

    def trailers(self, exchange: Any, trailers: Any) -> None:
        """Guard them."""
        self.own.trailers(exchange, trailers)


def failing(own: Any) -> Failing:
    """Return what stands in front of a filter."""
    return (FailingGuard if hasattr(own, "trailers") else Failing)(own)


if "edge.worker" in sys.orig_argv:
    # By name: it is the edge's process that imports these, no load test.
    wiring: Any = importlib.import_module("edge.wiring")
    go_on = importlib.import_module("edge.contract.filters").CONTINUE
    build: Callable[..., tuple[list[object], list[object]]] = wiring.build_filters

    def build_with_bugs(*arguments: object, **options: object) -> tuple[list[object], list[object]]:
        """Return both lists, with these before the filter that signs and the one that scrubs."""
        inbound, outbound = build(*arguments, **options)
        inbound = [failing(own) for own in inbound]
        bugs = (Blocking("chaos_block", go_on), Leaking("chaos_leak", go_on))
        return [*inbound[:-1], *bugs, inbound[-1]], [*outbound[:-1], Naming("chaos_name", go_on), outbound[-1]]

    wiring.build_filters = build_with_bugs
