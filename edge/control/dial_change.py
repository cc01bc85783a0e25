"""A change of a dial: asked for, refused or entered; and its line in the journal. Pure."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.contract.dials import Feature, parse_percent, percent_text
from edge.control.dial_names import DialName

MAX_WHY_CHARACTERS: Final = 200

How: TypeAlias = Literal["file", "api", "cli"]


@dataclass(slots=True, frozen=True)
class Wish:
    """What somebody wants a dial to be. Nothing in it has been checked.

    `percent` as `parse_percent` reads it, None to unset the dial, so that the next less specific one counts.
    `revision`: nobody may have changed any dial since; None takes what there is.
    """

    feature: str
    percent: str | None
    why: str
    who: str
    how: How
    origin: str | None = None
    device_type: str | None = None
    revision: int | None = None


class Refusal(StrEnum):
    """Why a wish is not granted. Stable: in answers of the admin API and in `edge_dial_changes_total`."""

    UNKNOWN_FEATURE = "unknown_feature"
    UNKNOWN_ORIGIN = "unknown_origin"
    UNKNOWN_DEVICE_TYPE = "unknown_device_type"
    BAD_PERCENT = "bad_percent"
    BAD_REASON = "bad_reason"
    NOT_SET = "not_set"
    MOVED_ON = "moved_on"
    NOT_KEPT = "not_kept"
    STOPPING = "stopping"


@dataclass(slots=True, frozen=True)
class Refused:
    """A wish that is not granted: nothing has changed. `text` is for whoever wished."""

    refusal: Refusal
    text: str


@dataclass(slots=True, frozen=True)
class Change:
    """A change as the journal keeps it: of a position, in hundredths of a percent, or of the salt of a feature.

    `before` and `after` are None where the dial has no position; `salt` is None unless it is what changed. `at` is a
    time of day with its zone.
    """

    revision: int
    at: datetime
    who: str
    how: How
    why: str
    dial: DialName
    before: int | None = None
    after: int | None = None
    salt: str | None = None

    def __str__(self) -> str:
        """Say what changed, for an operator."""
        if self.salt is not None:
            return f"{self.dial}: salt {self.salt}"
        return f"{self.dial}: {position_text(self.before)} → {position_text(self.after)}"

    def record(self) -> dict[str, object]:
        """Return it as JSON values, under the keys of the journal."""
        return {
            "revision": self.revision,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": self.who,
            "how": self.how,
            "why": self.why,
            "feature": self.dial.feature.value,
            "origin": self.dial.origin,
            "device_type": self.dial.device_type,
            "from": percent(self.before),
            "to": percent(self.after),
            **({} if self.salt is None else {"salt": self.salt}),
        }

    def line(self) -> bytes:
        """Return its line in the journal."""
        return json.dumps(self.record()).encode("ascii") + b"\n"


class _Line(BaseModel):
    """A line of the journal, decoded; percentages as they are written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: str = Field(pattern=r"^[1-9][0-9]{0,17}$")
    at: AwareDatetime = Field(strict=False)
    who: str
    how: How
    why: str
    feature: str
    origin: str | None
    device_type: str | None
    before: str | None = Field(alias="from")
    after: str | None = Field(alias="to")
    salt: str | None = None


def read_line(line: bytes) -> Change | str:
    """Read a line of the journal without its end; return what is wrong with it, in words, if it is none."""
    try:
        found = _Line.model_validate(json.loads(line.decode("utf-8"), parse_int=str, parse_float=str))
        feature = Feature(found.feature)
        before, after = _position(found.before), _position(found.after)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].replace('Input should', 'must')}"
    except (ValueError, RecursionError):
        return "it is no JSON of a change"
    dial = DialName(feature, found.origin, found.device_type)
    return Change(
        int(found.revision),
        found.at,
        found.who,
        found.how,
        found.why,
        dial,
        before=before,
        after=after,
        salt=found.salt,
    )


def percent(at: int | None) -> int | float | None:
    """Return a position as a number in percent."""
    return None if at is None else at // 100 if at % 100 == 0 else at / 100


def position_text(at: int | None) -> str:
    """Return a position for an operator to read."""
    return "unset" if at is None else f"{percent_text(at)} %"


def _position(text: str | None) -> int | None:
    at = None if text is None else parse_percent(text)
    if text is not None and at is None:
        raise ValueError("no percentage")
    return at
