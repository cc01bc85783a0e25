"""What the product is configured with: config/cookie.yaml, and the defaults in config/schema."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

RESCHEDULE_JITTER: Final = 0.2  # of the life, both ways: filters/rescheduling.py has it as a constant


@dataclass(slots=True, frozen=True)
class BreakerSettings:
    """Of one circuit breaker. Times in seconds, rates as shares of 1."""

    window_s: float
    min_calls: int
    failure_rate: float
    slow_call_s: float
    slow_call_rate: float
    half_open_permits: int
    half_open_max_s: float
    open_s: float
    max_open_s: float


SUBSCRIBER_BREAKER: Final = BreakerSettings(  # services/kit/breaker.py has these defaults; a test compares
    window_s=3.0,
    min_calls=20,
    failure_rate=0.7,
    slow_call_s=3600.0,
    slow_call_rate=1.0,
    half_open_permits=1,
    half_open_max_s=5.0,
    open_s=0.5,
    max_open_s=5.0,
)
"""`subscriber_breaker` of config/cookie.yaml."""


@dataclass(slots=True, frozen=True)
class Product:
    """The constants that renewal runs with. Times in seconds, shares of 1; the jitter goes up and down by its share."""

    life_s: float
    renew_after_share: float
    call_timeout_s: float
    concurrency: int  # renewals of one worker at a time
    breaker: BreakerSettings  # of one worker, round the cookie service
    reschedule_life_s: float
    reschedule_jitter: float
    remembered: int  # failed renewals of one worker
    max_staleness_s: float
    subscriber_breaker: BreakerSettings = SUBSCRIBER_BREAKER


def product(config: Path = Path("config")) -> Product:
    """Read them."""
    cookie = yaml.safe_load((config / "cookie.yaml").read_text())
    edge = json.loads((config / "schema" / "edge.json").read_text())["$defs"]
    routes = json.loads((config / "schema" / "routes.json").read_text())["$defs"]
    client, renewal = _defaults(edge["CookieClient"]), _defaults(edge["Renewal"])
    return Product(
        life_s=cookie["life_s"],
        renew_after_share=cookie["renew_after_share"],
        call_timeout_s=client["timeout_s"],
        concurrency=int(client["concurrency"]),
        breaker=BreakerSettings(**_defaults(edge["CookieBreakerSection"])),  # type: ignore[arg-type]
        reschedule_life_s=renewal["reschedule_life_s"],
        reschedule_jitter=RESCHEDULE_JITTER,
        remembered=int(renewal["remembered"]),
        max_staleness_s=_defaults(routes["AuthRow"])["max_staleness_s"],
    )


def _defaults(section: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    return {name: field["default"] for name, field in section["properties"].items() if "default" in field}
