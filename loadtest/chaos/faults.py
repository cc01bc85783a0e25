"""What can be wrong between the edge and an origin, and what becomes of the bytes of an answer then."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

RATE_TICK_S = 0.02


class Kind(StrEnum):
    """One fault. Those up to BLACK_HOLE strike connections, the others answers."""

    NONE = "none"
    REFUSE = "refuse"  # nobody listens, and open connections are reset
    ACCEPT_HANG = "accept_hang"  # connections are accepted, requests read and never answered
    BLACK_HOLE = "black_hole"  # the listener's queue is full: a connect gets no answer; open connections are reset
    LATENCY = "latency"
    RATE = "rate"
    SLICE = "slice"
    CUT = "cut"
    HALF_CLOSE = "half_close"
    RESET = "reset"
    CORRUPT = "corrupt"
    GARBAGE = "garbage"
    EXTRA = "extra"  # bytes after the answer that nobody asked for


@dataclass(slots=True, frozen=True)
class Fault:
    """A fault and its measure.

    `share` is the part of all answers that it strikes, 0 to 1. `after_bytes` counts an answer's bytes from the first
    of its head. `delay_s` is that of every byte (LATENCY) or between slices (SLICE). `text` is sent as ISO 8859-1.
    """

    kind: Kind = Kind.NONE
    share: float = 1.0
    after_bytes: int = 0
    delay_s: float = 0.0
    slice_bytes: int = 1
    bytes_per_s: int = 10_000
    text: str = ""

    def command(self) -> dict[str, object]:
        """Return the fault as a command's JSON."""
        return asdict(self)


def fault_from(command: Mapping[str, object]) -> Fault:
    """Read what `Fault.command` wrote; raises `TypeError` or `ValueError` for anything else."""
    values = dict(command)
    return Fault(kind=Kind(str(values.pop("kind"))), **values)  # type: ignore[arg-type]


def paced(fault: Fault, data: bytes, start: float) -> list[tuple[float, bytes]]:
    """Return the pieces of `data` with the time each is due, the first not before `start` (monotonic seconds)."""
    if fault.kind is Kind.LATENCY:
        return [(start + fault.delay_s, data)]
    if fault.kind is Kind.SLICE:
        size, gap = fault.slice_bytes, fault.delay_s
    elif fault.kind is Kind.RATE:
        size, gap = max(1, int(fault.bytes_per_s * RATE_TICK_S)), RATE_TICK_S
    else:
        return [(start, data)]
    return [(start + gap * number, data[at : at + size]) for number, at in enumerate(range(0, len(data), size), 1)]


def corrupted(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with one bit of one byte flipped."""
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
