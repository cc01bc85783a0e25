"""The sections that say when a breaker opens, what a concurrency limit may be, and how much may be retried."""

from typing import Annotated, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from edge.control.values import Count, Seconds, Section
from edge.guard.concurrency_limit import ConcurrencySettings
from edge.guard.retry_budget import RetryBudgetSettings
from resilience.breaker import BreakerSettings

Share: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=1)]


class BreakerSection(Section):
    """When a circuit breaker opens, and for how long."""

    window_s: Annotated[Seconds, Field(description="Calls that ended within it count.")] = 3.0
    min_calls: Annotated[Count, Field(description="It does not open on fewer calls than these in the window.")] = 20
    failure_rate: Annotated[Share, Field(description="Share of failed calls at which it opens.")] = 0.7
    slow_call_s: Annotated[Seconds, Field(description="A call that took as long is slow.")] = 10.0
    slow_call_rate: Annotated[Share, Field(description="Share of slow calls at which it opens.")] = 0.9
    half_open_permits: Annotated[
        Count, Field(description="Probes at a time when it half-opens; as many successes close it.")
    ] = 1
    half_open_max_s: Annotated[Seconds, Field(description="A probe that takes as long has failed.")] = 5.0
    open_s: Annotated[
        Seconds, Field(description="Until the first probe, less up to a half; doubled each time it opens again.")
    ] = 0.25
    max_open_s: Annotated[Seconds, Field(validate_default=True, description="The longest time between probes.")] = 1.0

    @field_validator("max_open_s")
    @classmethod
    def _no_shorter(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("open_s", 0.0):
            raise ValueError("must not be less than open_s")
        return value

    def settings(self) -> BreakerSettings:
        """Return what the breaker takes."""
        return BreakerSettings(
            window_s=self.window_s,
            min_calls=self.min_calls,
            failure_rate=self.failure_rate,
            slow_call_s=self.slow_call_s,
            slow_call_rate=self.slow_call_rate,
            half_open_permits=self.half_open_permits,
            half_open_max_s=self.half_open_max_s,
            open_s=self.open_s,
            max_open_s=self.max_open_s,
        )


class CookieBreakerSection(BreakerSection):
    """For the cookie service: a probe is a renewal, whose user waits for it."""

    min_calls: Annotated[Count, Field(description="It does not open on fewer calls than these in the window.")] = 10
    open_s: Annotated[
        Seconds, Field(description="Until the first probe, less up to a half; doubled each time it opens again.")
    ] = 0.5
    max_open_s: Annotated[Seconds, Field(validate_default=True, description="The longest time between probes.")] = 5.0


class KmsBreakerSection(BreakerSection):
    """For the KMS, which is asked seldom: by a worker that starts, and every `refresh_s`."""

    window_s: Annotated[Seconds, Field(description="Calls that ended within it count.")] = 120.0
    min_calls: Annotated[Count, Field(description="It does not open on fewer calls than these in the window.")] = 5
    max_open_s: Annotated[Seconds, Field(validate_default=True, description="The longest time between probes.")] = 2.0


class RenewalsBreakerSection(BreakerSection):
    """For the Redis of shared renewals: while it is open, each worker renews for itself."""

    window_s: Annotated[Seconds, Field(description="Calls that ended within it count.")] = 10.0
    min_calls: Annotated[Count, Field(description="It does not open on fewer calls than these in the window.")] = 5
    open_s: Annotated[
        Seconds, Field(description="Until the first probe, less up to a half; doubled each time it opens again.")
    ] = 0.5
    max_open_s: Annotated[Seconds, Field(validate_default=True, description="The longest time between probes.")] = 5.0


class ConcurrencySection(Section):
    """The bounds of the adaptive limit of requests that wait for an origin's answer, for each worker."""

    minimum: Annotated[Count, Field(description="Requests that may always wait for an answer, for each worker.")] = 32
    initial: Annotated[Count, Field(description="The limit at the start.")] = 256
    maximum: Annotated[Count, Field(validate_default=True, description="The limit grows no further.")] = 1024
    smoothing: Annotated[Share, Field(description="Weight of a new estimate of the limit.")] = 0.2
    tolerance: Annotated[
        float,
        Field(strict=True, ge=1, le=100, description="The limit falls when latency is above so many times its usual."),
    ] = 1.5

    @field_validator("initial", "maximum")
    @classmethod
    def _in_order(cls, value: int, info: ValidationInfo) -> int:
        below = "initial" if info.field_name == "maximum" else "minimum"
        if value < info.data.get(below, 0):
            raise ValueError(f"must not be less than {below}")
        return value

    def settings(self) -> ConcurrencySettings:
        """Return what the limit takes."""
        return ConcurrencySettings(self.initial, self.minimum, self.maximum, self.smoothing, self.tolerance)


class RetryBudgetSection(Section):
    """How much may be sent again, for each worker."""

    share: Annotated[float, Field(strict=True, ge=0, le=1, description="Retries allowed, as a share of requests.")] = (
        0.1
    )
    floor_per_s: Annotated[
        float, Field(strict=True, ge=0, le=10_000, description="Retries a second that are allowed beside the share.")
    ] = 10.0

    def settings(self) -> RetryBudgetSettings:
        """Return what the budget takes."""
        return RetryBudgetSettings(self.share, self.floor_per_s)
