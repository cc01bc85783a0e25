"""The simulated cookie service under the load that the real one is measured with, to tell whether it is alike."""

import heapq
import math

import numpy as np

from loadtest.simulation.calibration import Calibration

_CALLS = 20_000


def closed_loop(callers: int, calibration: Calibration, patience_s: float = math.inf) -> tuple[float, float]:
    """Return renewals per second and their median time, for callers that each ask anew when they are answered.

    Those whose patience ends ask anew too; what they asked for before is done all the same. With patience, what the
    subscriber service is too late for is no renewal.
    """
    random = np.random.default_rng(1)
    quantiles = np.array(calibration.alone_s)
    alone = np.interp(random.random(_CALLS) * (len(quantiles) - 1), np.arange(len(quantiles)), quantiles)
    stretches = np.exp(calibration.wait_sigma * random.normal(size=_CALLS))
    good_s = min(patience_s, calibration.silent_alone_s[len(quantiles) // 2]) if patience_s < math.inf else math.inf
    asking = [0.0] * callers
    free_at, times = 0.0, []
    for takes, stretch in zip(alone.tolist(), stretches.tolist(), strict=True):
        time = heapq.heappop(asking)
        begins = max(time, free_at)
        free_at = begins + calibration.busy_s
        seconds = (begins - time) * stretch + takes
        if seconds < good_s:
            times.append(seconds)
        heapq.heappush(asking, time + min(seconds, patience_s))
    return len(times) / max(asking), float(np.median(times)) if times else math.nan
