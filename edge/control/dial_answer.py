"""What operators are told of the dials: by the admin API and by `edge dial`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge.contract.dials import SHIPPED, Feature
from edge.control.dial_change import Change, percent
from edge.control.dial_names import DialName, Positions
from edge.control.snapshot import Origin

_SO: Final = "so cookies end at the edge"


@dataclass(slots=True, frozen=True)
class Agreement:
    """How many of how many worker slots decide by a revision, or a later one."""

    revision: int
    served: int
    workers: int

    def __str__(self) -> str:
        return agreement_text(self.record())

    def record(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"revision": self.revision, "served": self.served, "all": self.workers}


def agreement_text(record: Mapping[str, object]) -> str:
    """Say for an operator what an agreement's record says."""
    return f"{record['served']} of {record['all']} workers serve revision {record['revision']}"


def hints(positions: Positions, origins: Mapping[str, Origin]) -> list[str]:
    """Say which dials have no effect where they stand, and why: no origin that they are for accepts legacy traffic."""
    return [
        f"{dial} has no effect: {_nobody_has(dial.origin)} accepts_legacy: true in origins.yaml, {_SO}"
        for dial, at in sorted(positions.items(), key=str)
        if at != SHIPPED[dial.feature]
        and not any(each.accepts_legacy for name, each in origins.items() if dial.origin in (None, name))
    ]


def _nobody_has(origin: str | None) -> str:
    return "no origin has" if origin is None else f"{origin} does not have"


@dataclass(slots=True, frozen=True)
class Made:
    """A change that was made."""

    change: Change
    agreement: Agreement
    hints: Sequence[str] = ()

    def __str__(self) -> str:
        """Say it for an operator, in lines."""
        made = f"{self.change}, revision {self.change.revision}"
        return "\n".join([made, str(self.agreement), *(f"hint: {hint}" for hint in self.hints)])

    def record(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {**self.change.record(), "workers": self.agreement.record(), "hints": list(self.hints)}


@dataclass(slots=True, frozen=True)
class Standing:
    """All dials as they stand, in hundredths of a percent, with the change that was each one's last, if any."""

    revision: int
    positions: Mapping[DialName, int]
    salts: Mapping[Feature, str]
    last: Mapping[DialName, Change]
    agreement: Agreement
    hints: Sequence[str] = ()

    def record(self, feature: Feature | None = None) -> dict[str, object]:
        """Return it as JSON values, in the order of the features; of one feature only if it is named."""
        shown = sorted(self.positions, key=lambda dial: (*(str(part or "") for part in dial),))
        return {
            "revision": self.revision,
            "workers": self.agreement.record(),
            "salts": {named.value: salt for named, salt in self.salts.items() if feature in (None, named)},
            "dials": [self._dial(dial) for dial in shown if feature in (None, dial.feature)],
            "hints": list(self.hints),
        }

    def _dial(self, dial: DialName) -> dict[str, object]:
        last = self.last.get(dial)
        since = {} if last is None else last.record()
        return {
            "feature": dial.feature.value,
            "origin": dial.origin,
            "device_type": dial.device_type,
            "percent": percent(self.positions[dial]),
            **{key: since.get(key) for key in ("at", "who", "how", "why")},
        }
