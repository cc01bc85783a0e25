"""Makes the guard of each origin from its row of config/origins.yaml."""

from collections.abc import Callable

from edge.control.snapshot import Origin
from edge.guard.concurrency_limit import ConcurrencyLimit
from edge.guard.origin import OriginGuard
from edge.guard.retry_budget import RetryBudget
from edge.telemetry.metrics import WorkerMetrics
from resilience.breaker import Breaker


def origin_guard(
    origin: Origin, clock: Callable[[], float], random: Callable[[], float], metrics: WorkerMetrics
) -> OriginGuard:
    """Return a guard with everything closed and empty; its breaker is `origin:<id>` in the metrics."""
    return OriginGuard(
        Breaker(origin.breaker, clock, random, metrics.breaker(f"origin:{origin.id}")),
        ConcurrencyLimit(origin.concurrency_limit, clock),
        RetryBudget(origin.retry_budget, clock),
    )
