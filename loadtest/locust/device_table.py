"""devices.yaml, read and checked: the types of devices and how they behave."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TABLE: Final = Path(__file__).with_name("devices.yaml")
HOUR_S: Final = 3600.0


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("must be two numbers, the smaller one first")
    return pair


Span = Annotated[tuple[float, float], AfterValidator(_ordered)]
Chance = Annotated[float, Field(ge=0, le=1)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(_Row):
    """How long a cookie pair lives, in hours of real life, and after which share of that it is due."""

    life_h: Annotated[float, Field(gt=0, le=24)]
    renew_after_share: Annotated[float, Field(gt=0, lt=1)]


class DeviceType(_Row):
    """One row of the table; devices.yaml says what its columns mean."""

    share: Annotated[float, Field(gt=0, le=100)]
    device_type: str | None
    user_agent: str
    cookies: Annotated[tuple[Literal["EdgeId", "SecureEdgeId"], ...], Field(min_length=1)]
    connection: Literal["keep", "close"]
    requests: Span
    think_s: Span
    away_h: Span
    account: Chance
    switch: Chance
    sign_out: Chance

    @property
    def high(self) -> bool:
        """Whether it keeps the whole pair, and so reaches the level HIGH."""
        return "SecureEdgeId" in self.cookies

    @model_validator(mode="after")
    def _who_is_low_switches_no_profile(self) -> Self:
        if self.switch and not self.high:
            raise ValueError("a device that keeps half of the pair is LOW, and cannot switch profiles")
        if self.requests[0] < 1:
            raise ValueError("a visit has one request at least")
        return self


class DeviceTable(_Row):
    """The whole file."""

    token: Token
    speed_up: Annotated[float, Field(gt=0)]
    device_types: dict[str, Annotated[int, Field(gt=0)]]
    devices: Annotated[dict[str, DeviceType], Field(min_length=1)]

    @model_validator(mode="after")
    def _shares_are_of_a_hundred(self) -> Self:
        total = sum(device.share for device in self.devices.values())
        if abs(total - 100) > 1e-6:
            raise ValueError(f"the shares of all devices are {total:g}, not 100")
        return self

    @model_validator(mode="after")
    def _types_are_known(self) -> Self:
        unknown = {device.device_type for device in self.devices.values()} - {None, *self.device_types}
        if unknown:
            raise ValueError(f"device_types has no {', '.join(map(str, unknown))}")
        return self

    @property
    def life_s(self) -> int:
        """The life of a cookie on the clock of the run, in whole seconds as the cookie service counts."""
        return round(self.seconds(self.token.life_h * HOUR_S))

    def seconds(self, real_s: float) -> float:
        """Return what so many seconds of real life are on the clock of the run."""
        return real_s / self.speed_up


def read_table(path: Path = TABLE) -> DeviceTable:
    """Return the table; raise pydantic's ValidationError when it is none."""
    return DeviceTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
