"""The configuration as every part of the edge reads it: one frozen value, swapped by one assignment."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from edge.control.dial_names import FileDials
from edge.control.edge_file import Admin, Debug, Edge, Limits, Listener, Shedding, Timeouts
from edge.control.identity_sections import Cookies, Passport, Renewal, Revocations, Shadow
from edge.control.origins_file import DnsDiscovery, Ejection, FileDiscovery, HealthCheck
from edge.control.routes import RouteTable
from edge.control.service_sections import Keys, Services
from edge.control.tls import OriginTlsRow
from edge.control.token_file import HeldTokens
from edge.control.values import Address
from edge.guard.concurrency_limit import ConcurrencySettings
from edge.guard.retry_budget import RetryBudgetSettings
from resilience.breaker import BreakerSettings


class FilterOverride(NamedTuple):
    """What the config says of one filter; None keeps what the filter declares."""

    deadline_s: float | None
    concurrency: int | None


class Grant(NamedTuple):
    """What the holder of one key may change: parts of the Passport, and actions by name."""

    parts: frozenset[str]
    actions: frozenset[str]


class AccessLogTarget(NamedTuple):
    """Where the access log goes: "stdout", "off", or the path of a file."""

    path: str


@dataclass(slots=True, frozen=True)
class Origin:
    """One origin with every default filled in. Times in seconds.

    It has `addresses`, or a `discovery` that says where to look for them.
    """

    id: str
    addresses: tuple[Address, ...]
    discovery: DnsDiscovery | FileDiscovery | None
    health_check: HealthCheck | None
    max_connections: int
    max_waiting: int
    wait_timeout_s: float
    max_connections_per_address: int | None
    max_connection_age_s: float | None
    max_requests_per_connection: int | None
    warm_up_s: float
    ejection: Ejection
    idle_timeout_s: float
    connect_timeout_s: float
    receive_buffer_bytes: int | None
    accepts_legacy: bool
    tls: OriginTlsRow
    breaker: BreakerSettings
    concurrency_limit: ConcurrencySettings
    retry_budget: RetryBudgetSettings
    retry_backoff_s: float


class MadeOf(NamedTuple):
    """What a snapshot was made of: the texts of the files by name, and the overrides."""

    texts: Mapping[str, str]
    overrides: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Sixteen hex digits that tell one configuration from another."""
        digest = blake2b(digest_size=8)
        for part in (*(part for item in sorted(self.texts.items()) for part in item), *self.overrides):
            digest.update(len(part).to_bytes(8) + part.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


@dataclass(slots=True, frozen=True)
class Snapshot:
    """A whole, valid configuration. `var` is the directory of state and secrets, `tokens` what is held of these."""

    edge: Edge
    listener: Listener
    admin: Admin
    debug: Debug
    limits: Limits
    timeouts: Timeouts
    shedding: Shedding
    cookies: Cookies
    passport: Passport
    renewal: Renewal
    revocations: Revocations
    shadow: Shadow
    services: Services
    keys: Keys
    filters: Mapping[str, FilterOverride]
    access_log: AccessLogTarget
    origins: Mapping[str, Origin]
    routes: RouteTable
    grants: Mapping[str, Grant]
    device_types: Mapping[int, str]
    dials: FileDials
    var: Path
    made_of: MadeOf
    tokens: HeldTokens
