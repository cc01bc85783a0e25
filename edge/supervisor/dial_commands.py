"""What `edge dial` asks over the control socket: one JSON object a line."""

import json
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.contract.dials import Feature
from edge.control.dial_answer import Made, Standing
from edge.control.dial_change import Change, Refusal, Refused, Wish
from edge.supervisor.config import Outcome, Result

MAX_HISTORY: Final = 1_000
_LATER: Final = {Refusal.MOVED_ON, Refusal.NOT_KEPT, Refusal.STOPPING}


class Desk(Protocol):
    """What the commands need of the one who owns the dials."""

    async def change(self, wish: Wish) -> Made | Refused:
        """Carry out a wish, or say why not."""
        ...

    def standing(self) -> Standing:
        """Return where everything stands."""
        ...

    def history(self, feature: Feature | None, limit: int) -> Sequence[Change]:
        """Return the newest changes, the newest first."""
        ...


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Set(_Command):
    do: Literal["dial-set"]
    feature: str
    percent: str | None
    why: str
    origin: str | None = None
    device_type: str | None = None
    revision: int | None = None


class _List(_Command):
    do: Literal["dial-list"]


class _History(_Command):
    do: Literal["dial-history"]
    feature: Feature | None = Field(None, strict=False)
    limit: int = Field(ge=1, le=MAX_HISTORY)


_COMMANDS: Final[TypeAdapter[_Set | _List | _History]] = TypeAdapter(
    Annotated[_Set | _List | _History, Field(discriminator="do")]
)


async def dial_command(desk: Desk, line: str, who: str) -> Outcome:
    """Carry out one command of the user `who`."""
    try:
        command = _COMMANDS.validate_python(json.loads(line))
    except (ValidationError, ValueError, RecursionError):
        return Outcome(Result.INVALID, "the edge does not understand that: is this `edge` of another version?")
    if isinstance(command, _List):
        return Outcome(Result.APPLIED, "", desk.standing().record())
    if isinstance(command, _History):
        changes = [change.record() for change in desk.history(command.feature, command.limit)]
        return Outcome(Result.APPLIED, "", {"changes": changes})
    fields = command.model_dump(exclude={"do"})
    made = await desk.change(Wish(**fields, who=who, how="cli"))
    if isinstance(made, Refused):
        return Outcome(
            Result.REFUSED if made.refusal in _LATER else Result.INVALID, made.text, {"reason": made.refusal}
        )
    return Outcome(Result.APPLIED, str(made), made.record())
