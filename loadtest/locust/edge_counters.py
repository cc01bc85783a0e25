"""The edge's own counters, read off the admin listener's page before and after, and what moved between. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
RESOLUTIONS = "edge_identity_resolutions_total"
COUNTED = frozenset(
    {
        RESOLUTIONS,
        "edge_remote_calls_total",
        "edge_actions_total",
        "edge_user_reauth_errors_total",
        "edge_requests_total",
        "edge_rollout_decisions_total",
        "edge_shadow_comparisons_total",
    }
)

Labels = frozenset[tuple[str, str]]


@dataclass(slots=True, frozen=True)
class EdgeCounters:
    """Counters by name and labels."""

    values: Mapping[tuple[str, Labels], float]

    @classmethod
    def read(cls, page: str) -> Self:
        """Read the page in Prometheus's text format, of it what is COUNTED."""
        samples = (match for line in page.splitlines() if (match := _SAMPLE.match(line)))
        return cls(
            {
                (sample["name"], frozenset(_LABEL.findall(sample["labels"] or ""))): float(sample["value"])
                for sample in samples
                if sample["name"] in COUNTED
            }
        )

    def since(self, before: Self) -> "EdgeCounters":
        """Return by how much each has grown since `before`."""
        return EdgeCounters({key: value - before.values.get(key, 0.0) for key, value in self.values.items()})

    def total(self, name: str, **labels: str) -> int:
        """Return the sum of a counter over all label sets that hold these labels."""
        wanted = frozenset(labels.items())
        return round(sum(value for (one, held), value in self.values.items() if one == name and wanted <= held))

    def by(self, name: str, *labels: str, **wanted: str) -> dict[str, int]:
        """Return a counter's values by some of its labels, without those that stand at 0."""
        found: dict[str, int] = {}
        for (one, held), value in self.values.items():
            if one == name and value and frozenset(wanted.items()) <= held:
                key = " ".join(dict(held).get(label, "") for label in labels)
                found[key] = found.get(key, 0) + round(value)
        return found

    @property
    def local_percent(self) -> float | None:
        """How many of a hundred identities were resolved without a token service; None where there was none."""
        local, remote = self.total(RESOLUTIONS, where="local"), self.total(RESOLUTIONS, where="remote")
        return 100 * local / (local + remote) if local + remote else None
