"""What a scenario found, and whether that is good enough."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NOISE_MS = 5.0  # two shared cores move a p99 by that much with nothing wrong


@dataclass(slots=True, frozen=True)
class Bar:
    """A figure's bar in words, and whether it is met."""

    figure: str
    bar: str
    met: bool


def at_most(figure: str, value: float | None, limit: float, unit: str = "") -> Bar:
    """Return the bar that a figure may not exceed; a figure that is not there does not meet it."""
    return Bar(figure, f"<= {limit:g}{unit}", value is not None and value <= limit)


def at_least(figure: str, value: float | None, limit: float, unit: str = "") -> Bar:
    """Return the bar that a figure must reach."""
    return Bar(figure, f">= {limit:g}{unit}", value is not None and value >= limit)


def no_slower(p99_ms: float, normal_ms: float, factor: float, figure: str = "p99_ms") -> Bar:
    """Return the bar of a p99 against its normal; what the machine's own noise adds is forgiven."""
    met = p99_ms <= max(normal_ms * factor, normal_ms + NOISE_MS)
    return Bar(figure, f"<= {factor:g} x normal, or + {NOISE_MS:g} ms", met)


def is_true(figure: str, met: bool, text: str = "yes") -> Bar:
    """Return the bar of a plain fact."""
    return Bar(figure, text, met)


@dataclass(slots=True, frozen=True)
class Result:
    """The figures of one scenario. `recovery_s` is None where nothing has to recover, or where nothing did.

    `reference` has the figures of another proxy in the edge's place, if that was asked for.
    """

    scenario: str
    row: str
    requests: int
    failed: int
    ideal_failed: int
    wrong: int
    dup: int
    signed_out: int
    p99_ms: float
    p99_ms_normal: float
    recovery_s: float | None
    rss_mb: float
    extra: Mapping[str, object] = field(default_factory=dict)
    bars: tuple[Bar, ...] = ()
    reference: Mapping[str, object] | None = None

    @property
    def met(self) -> bool:
        """Whether every bar is met."""
        return all(bar.met for bar in self.bars)
