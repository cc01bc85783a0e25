"""What a route says to the filters and the relay. Built once per config snapshot by `edge.control`."""

from dataclasses import dataclass
from enum import IntEnum

from edge.contract.identity import Level
from edge.contract.on_bad_token import OnBadToken


class Priority(IntEnum):
    """How long a route's requests are served under overload: the greater the number, the sooner they are shed."""

    CRITICAL = 0
    DEGRADED = 1
    BEST_EFFORT = 2
    BULK = 3


@dataclass(slots=True, frozen=True)
class AuthPolicy:
    """What a route asks of the one who asks. UNSPECIFIED asks nothing; LOW asks for anybody known.

    `max_staleness_s`: how long after the end of its last full token's life one who could not be renewed keeps more
    than LOW.
    """

    user: Level
    device: Level
    on_bad_token: OnBadToken = OnBadToken.REFUSE
    max_staleness_s: float = 86_400.0


@dataclass(slots=True, frozen=True)
class UpgradePolicy:
    """Which protocols a route lets its clients upgrade to, in lower case, and for how long. Times in seconds."""

    protocols: frozenset[bytes]
    idle_timeout_s: float
    life_s: float


@dataclass(slots=True, frozen=True)
class Route:
    """One row of config/routes.yaml. Times in seconds, sizes in bytes. `accepts_legacy` is its origin's."""

    id: str
    origin: str
    auth: AuthPolicy
    normalise_path: bool
    max_request_body_bytes: int
    request_timeout_s: float
    response_head_timeout_s: float
    idle_timeout_s: float
    priority: Priority = Priority.DEGRADED
    min_request_bytes_per_s: int = 0
    min_response_bytes_per_s: int = 0
    upgrade: UpgradePolicy | None = None
    retries: int = 1
    long_poll: bool = False
    accepts_legacy: bool = False
