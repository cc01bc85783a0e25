"""Filters with bugs, for a worker of the edge: Python imports this by its name when its directory is on PYTHONPATH.

The edge loads no filters but its own, so these come in by the back door. Requests on the routes `block` and `leak` meet
the bug of that name; every answer says which worker gave it.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

BLOCK_S = 5.0
LEAK_BYTES = 8 << 20


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


if "edge.worker" in sys.orig_argv:
    # By name: it is the edge's process that imports these, no load test.
    wiring: Any = importlib.import_module("edge.wiring")
    go_on = importlib.import_module("edge.contract.filters").CONTINUE
    build: Callable[..., tuple[list[object], list[object]]] = wiring.build_filters

    def build_with_bugs(*arguments: object) -> tuple[list[object], list[object]]:
        """Return both lists, with these before the filter that signs and the one that scrubs."""
        inbound, outbound = build(*arguments)
        bugs = (Blocking("chaos_block", go_on), Leaking("chaos_leak", go_on))
        return [*inbound[:-1], *bugs, inbound[-1]], [*outbound[:-1], Naming("chaos_name", go_on), outbound[-1]]

    wiring.build_filters = build_with_bugs
