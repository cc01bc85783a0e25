"""What a run came to, as it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.locust.edge_counters import EdgeCounters
from loadtest.locust.tally import Tally
from loadtest.locust.turning import Turn


@dataclass(slots=True, frozen=True)
class Speed:
    """Answers of one type of devices within the measured time; times in milliseconds."""

    requests: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(slots=True, frozen=True)
class Figures:
    """A run. Everything but `window` and `speeds` is of the whole of it.

    Attributes:
        scenario: its name.
        users: how many devices there were to be.
        window_s: how long was measured, 0 if the run ended before.
        window: what the edge counted in that time; None without an admin listener.
        run: what it counted from the first device on; likewise.
        tally: what the devices counted.
        speeds: by type of device, and `all`.
        turns: how dials were turned.
        settled: what the edge counted from the first device on until the last answer was given and all of it was told;
            None unless dials were turned.
    """

    scenario: str
    users: int
    window_s: float
    window: EdgeCounters | None
    run: EdgeCounters | None
    tally: Tally
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    turns: Sequence[Turn] = ()
    settled: EdgeCounters | None = None
