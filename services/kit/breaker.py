"""The circuit breaker round what a service calls: its section of a config file, and what is said of it."""

import random
import time
from typing import Annotated, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from resilience.breaker import Breaker, BreakerSettings, State

_NEVER_S: Final = 3600.0  # every call has a timeout below it: none is slow, it is late and has failed
_log = structlog.get_logger()


class BreakerConfig(BaseModel):
    """When a breaker opens, and for how long: docs/resilience.md, Circuit breakers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    min_calls: Annotated[int, Field(ge=1)] = 20
    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.7
    open_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    max_open_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _no_shorter(self) -> "BreakerConfig":
        if self.max_open_s < self.open_s:
            raise ValueError("max_open_s is less than open_s")
        return self

    def breaker(self, name: str) -> Breaker:
        """Return a closed breaker, whose changes are logged under `name`. One call at a time probes, 5 s at most."""
        settings = BreakerSettings(
            window_s=self.window_s,
            min_calls=self.min_calls,
            failure_rate=self.failure_rate,
            slow_call_s=_NEVER_S,
            slow_call_rate=1.0,
            half_open_permits=1,
            half_open_max_s=5.0,
            open_s=self.open_s,
            max_open_s=self.max_open_s,
        )

        def changed(old: State, new: State) -> None:
            say = _log.warning if new is State.OPEN else _log.info
            say("breaker", of=name, was=old.value, state=new.value)

        return Breaker(settings, time.monotonic, random.random, changed)
