"""What devices counted, in one process, and of several together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.locust.expectations import Answer, Sign
from loadtest.locust.visits import Step

_NAMES = ("answers", "unexpected", "events", "modes")


@dataclass(slots=True)
class Tally:
    """Counts from the first device on.

    Attributes:
        answers: by "TYPE STEP".
        unexpected: by "TYPE STEP: STATUS REASON".
        events: by `Sign` other than EXPECTED, and `devices`, `devices TYPE`, `signed_in` (those of them that were,
            once or more), `sign_outs_asked`.
        modes: where dials are turned, by device type as the edge names it: answers by "TYPE MODE", "TYPE reported
            DIFFERENCE" where the origin says that it reported that wrongly, "TYPE against_dial" where the dial says
            otherwise for this device, and "TYPE at PERCENT MODE" counts devices, each once, that were served so there.
    """

    answers: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def count(self, device: str, step: Step, answer: Answer, sign: Sign) -> None:
        """Count one answer."""
        self.answers[f"{device} {step}"] += 1
        if sign is not Sign.EXPECTED:
            self.events[sign.value] += 1
            if sign is not Sign.BUSY:
                self.unexpected[f"{device} {step}: {describe(answer, sign)}"] += 1

    def of_step(self, step: Step) -> int:
        """Return how many answers there were to a step, of all types."""
        return sum(count for name, count in self.answers.items() if name.partition(" ")[2] == step)

    def of_type(self, device: str) -> int:
        """Return how many answers devices of a type had."""
        return sum(count for name, count in self.answers.items() if name.partition(" ")[0] == device)

    def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add what another process has handed over."""
        for name in _NAMES:
            getattr(self, name).update(counts.get(name, {}))

    def hand_over(self) -> dict[str, dict[str, int]]:
        """Return all counts, and begin anew."""
        counts = {name: dict(getattr(self, name)) for name in _NAMES}
        for name in _NAMES:
            getattr(self, name).clear()
        return counts


def describe(answer: Answer, sign: Sign) -> str:
    """Say what an answer was that was not expected."""
    said = f"{answer.status} {answer.reason}".strip() if answer.status else f"no answer ({answer.reason})"
    if sign is Sign.SIGNED_OUT:
        return f"{said}, signed out unasked"
    return f"{said}, for somebody else" if sign is Sign.SOMEBODY_ELSE else said
