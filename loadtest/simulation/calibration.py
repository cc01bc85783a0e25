"""What a renewal costs the cookie service: the measured figures that the simulated one works with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("calibration.json")
QUANTILES: Final = 101  # the 0 %, 1 %, … 100 % quantile


@dataclass(slots=True, frozen=True)
class AtConcurrency:
    """So many callers, each with one renewal at a time: what came of it. Times in seconds."""

    callers: int
    renewals_per_s: float
    unavailable: float  # the share that ended so, since the subscriber service took too long
    cpu_s: float  # processor time of the service for each renewal
    p50_s: float
    p90_s: float
    p99_s: float


@dataclass(slots=True, frozen=True)
class Impatient:
    """So many callers that give a renewal up after `patience_s` and ask anew at once: what came of it."""

    callers: int
    patience_s: float
    asked_per_s: float
    renewed_per_s: float


@dataclass(slots=True, frozen=True)
class Calibration:
    """One process of the cookie service with its database on a core of its own, its subscriber service on another.

    `busy_s` is how long a renewal keeps the process from the others, `rescheduled_busy_s` that of a rescheduled token,
    which is written down. `alone_s` are the quantiles of a renewal's time when it is the only one; `wait_sigma` is by
    how much the logarithms of the waits differ at a busy process. The `silent` figures are those of a renewal whose
    subscriber service does not answer.
    """

    measured_at: str
    machine: str
    versions: dict[str, str]
    busy_s: float
    rescheduled_busy_s: float
    wait_sigma: float
    alone_s: tuple[float, ...]
    silent_busy_s: float
    silent_alone_s: tuple[float, ...]
    levels: tuple[AtConcurrency, ...]
    impatient: tuple[Impatient, ...]


def load(file: Path = FILE) -> Calibration:
    """Return the figures that were measured last."""
    found = json.loads(file.read_text())
    found["levels"] = tuple(AtConcurrency(**one) for one in found["levels"])
    found["impatient"] = tuple(Impatient(**one) for one in found["impatient"])
    for name in ("alone_s", "silent_alone_s"):
        found[name] = tuple(found[name])
    return Calibration(**found)


def save(calibration: Calibration, file: Path = FILE) -> None:
    """Write them, rounded to what was measured."""
    file.write_text(json.dumps(_rounded(asdict(calibration)), indent=2) + "\n")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
