"""The configuration that the workers are to serve: the one that was accepted last, whatever the disk holds by now."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edge.control.errors import ConfigErrors
from edge.control.snapshot import Snapshot
from edge.telemetry.control_channel import Message

STAYS: Final = "The configuration that was served goes on being served, and no dial or operator has changed."


@dataclass(slots=True, frozen=True)
class Config:
    """An accepted configuration. `revision` counts from 1, one more for each reload or restart that was."""

    snapshot: Snapshot
    revision: int

    def message(self, kind: str) -> Message:
        """Return a control message with the texts of the files: a worker reads no config file of its own."""
        return {"type": kind, "revision": self.revision, "texts": dict(self.snapshot.made_of.texts)}

    def first_message(self) -> Message:
        """Return that of a process that starts, with what the token files held, should it find one unusable."""
        return {**self.message("load"), "tokens": self.snapshot.tokens.for_a_worker()}


class Result(IntEnum):
    """How a reload or a restart ended, or the change of a dial; the exit code of the command that asked for it."""

    APPLIED = 0
    WORKER_REFUSED = 1
    REFUSED = 1  # of a dial: another was faster, or it cannot be kept
    INVALID = 2
    NEEDS_RESTART = 4


@dataclass(slots=True, frozen=True)
class Outcome:
    """The result, in words for an operator, and for `edge dial` in JSON values."""

    result: Result
    text: str
    data: Mapping[str, object] | None = None


def invalid(errors: ConfigErrors) -> Outcome:
    """Return the outcome of a configuration with errors."""
    return Outcome(Result.INVALID, f"{errors}\n{STAYS}")
