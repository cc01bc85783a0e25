"""config/routes.yaml, origins.yaml, grants.yaml and device_types.yaml: one model each."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge.contract.identity import Level
from edge.contract.route import OnBadToken
from edge.control.guards import BreakerSection, ConcurrencySection, RetryBudgetSection
from edge.control.tls import OriginTlsRow
from edge.control.values import (
    ConnectAddress,
    Count,
    DnsName,
    Flag,
    ListOf,
    NameServer,
    Seconds,
    Section,
    Size,
    Slug,
    VarPath,
    as_tuple,
)

# Unreserved characters: others have an escaped spelling that origins take for the same, and routes would not.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+\Z")
_HOST: Final = r"^((\*\.)?[a-z0-9]([a-z0-9._-]{0,250}[a-z0-9])?|\[[0-9a-f:.]+\])$"

# A protocol that carries requests would take them past the filters.
_CARRIES_REQUESTS: Final = re.compile(r"(h2c?|h3|http|tls)(/|\Z)")
_PROTOCOL: Final = r"^[a-z0-9!#$%&'*+.^_`|~-]{1,32}(/[a-z0-9.]{1,8})?$"

LevelName = Literal["none", "low", "high", "highest"]
LEVELS: Final[Mapping[LevelName, Level]] = {
    "none": Level.UNSPECIFIED,
    "low": Level.LOW,
    "high": Level.HIGH,
    "highest": Level.HIGHEST,
}


class AuthRow(Section):
    """What a route asks of the one who asks. Both levels must be said: there is no default."""

    user: Annotated[
        LevelName, Field(description="User: none lets anybody in, low asks for anybody known, high, highest.")
    ]
    device: Annotated[
        LevelName, Field(description="Device: none lets any in, low asks for one that is known, high, highest.")
    ]
    on_bad_token: Annotated[
        OnBadToken, Field(description="A token that is recognised but bad: refuse the request, or go on as anonymous.")
    ] = OnBadToken.REFUSE
    max_staleness_s: Annotated[
        float,
        Field(ge=0, le=34_560_000, description="How long an identity that cannot be renewed keeps more than low."),
    ] = 86400


class RouteRow(Section):
    """One route. The longest path wins, whatever the order of the rows."""

    id: Annotated[Slug, Field(description="Names the route in logs and metrics.")]
    path: Annotated[str, Field(description="Path prefix in whole segments: /a covers /a and /a/b, not /ab.")]
    match: Annotated[Literal["prefix", "exact"], Field(description="exact covers the path itself only.")] = "prefix"
    hosts: Annotated[
        tuple[Annotated[str, Field(pattern=_HOST)], ...] | None,
        Field(description="Lower-case hosts without port, or *.suffix; null: every host that no other route names."),
    ] = None
    methods: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")], ...] | None,
        Field(description="Methods in upper case, GET allows HEAD too; null: every method that is supported."),
    ] = None
    origin: Annotated[str, Field(description="Id of an origin in origins.yaml.")]
    auth: AuthRow
    normalise_path: Annotated[
        Flag, Field(description="Normalise a path that can be read in two ways, instead of answering 400.")
    ] = False
    max_request_body_bytes: Annotated[
        Size | None, Field(description="Request body; 413 beyond it. null: limits.max_request_body_bytes.")
    ] = None
    min_request_bytes_per_s: Annotated[
        Size | None, Field(description="Slowest request body; 408. null: limits.min_request_bytes_per_s.")
    ] = None
    min_response_bytes_per_s: Annotated[
        Size | None, Field(description="Slowest reader of a response. null: limits.min_response_bytes_per_s.")
    ] = None
    request_timeout_s: Annotated[Seconds | None, Field(description="A whole exchange. null: timeouts.request_s.")] = (
        None
    )
    response_head_timeout_s: Annotated[
        Seconds | None, Field(description="Until the response's head. null: timeouts.response_head_s.")
    ] = None
    idle_timeout_s: Annotated[
        Seconds | None, Field(description="Between two pieces of a body. null: timeouts.idle_s.")
    ] = None
    upgrade: Annotated[
        tuple[Annotated[str, Field(pattern=_PROTOCOL)], ...],
        Field(description="Protocols that a client may upgrade to, such as websocket; [] means none."),
        ListOf,
    ] = ()
    upgrade_idle_timeout_s: Annotated[
        Seconds | None, Field(description="An upgraded connection without a byte. null: timeouts.upgrade_idle_s.")
    ] = None
    upgrade_life_s: Annotated[
        Seconds | None, Field(description="A whole upgraded connection. null: timeouts.upgrade_life_s.")
    ] = None

    priority: Annotated[
        Literal["critical", "degraded", "best_effort", "bulk"],
        Field(description="Under overload bulk is shed first, then best_effort, degraded, and critical last."),
    ] = "degraded"
    retries: Annotated[
        int, Field(strict=True, ge=0, le=10, description="Times that a request is sent again, if that is safe.")
    ] = 1

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        segments = path[1:].split("/")
        if path != "/" and (
            not path.startswith("/")
            or any(segment in {".", ".."} or _SEGMENT.match(segment) is None for segment in segments)
        ):
            raise ValueError(
                "must be / or plain segments such as /account/settings: no // or / at the end, "
                "no dot segments, only letters, digits and - . _ ~"
            )
        return path

    @field_validator("hosts", "methods", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if value is None:
            return None
        if not value:
            raise ValueError("must have at least one entry, or be left out to mean all")
        return as_tuple(value)

    @field_validator("methods")
    @classmethod
    def _relayed(cls, methods: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if methods is not None and {"CONNECT", "TRACE"} & set(methods):
            raise ValueError("must not name CONNECT or TRACE: they are never relayed")
        return methods

    @field_validator("upgrade")
    @classmethod
    def _opaque(cls, protocols: tuple[str, ...]) -> tuple[str, ...]:
        if any(_CARRIES_REQUESTS.match(protocol) for protocol in protocols):
            raise ValueError("must not name HTTP or TLS in any version: requests inside would pass the filters unseen")
        return protocols


class DnsDiscovery(Section):
    """Addresses from DNS."""

    name: Annotated[DnsName, Field(description="NAME:PORT. Every address of the name is an instance.")]
    record_types: Annotated[
        tuple[Literal["A", "AAAA"], ...],
        Field(min_length=1, description="A for IPv4, AAAA for IPv6."),
        ListOf,
    ] = ("A", "AAAA")
    servers: Annotated[
        tuple[NameServer, ...],
        Field(description="IP:PORT of the name servers; none: those of /etc/resolv.conf, with its search list."),
        ListOf,
    ] = ()
    timeout_s: Annotated[Seconds, Field(description="For an answer, all tries at all name servers together.")] = 2
    min_refresh_s: Annotated[
        Seconds, Field(description="Shortest wait between two look-ups, whatever the time to live says.")
    ] = 5
    max_refresh_s: Annotated[
        Seconds, Field(validate_default=True, description="Longest wait between two look-ups.")
    ] = 60

    @field_validator("max_refresh_s")
    @classmethod
    def _not_below(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("min_refresh_s", 0):
            raise ValueError("must not be below min_refresh_s")
        return value


class FileDiscovery(Section):
    """Addresses from a file."""

    path: Annotated[
        VarPath, Field(description="File with the addresses (docs/resilience.md, Discovery); relative to --var.")
    ]
    poll_s: Annotated[Seconds, Field(description="Between two looks whether the file has changed.")] = 1


class Discovery(Section):
    """Where the addresses of an origin are found: dns or file."""

    dns: DnsDiscovery | None = None
    file: FileDiscovery | None = None


class HealthCheck(Section):
    """A GET that tells whether an instance can serve."""

    path: Annotated[
        str,
        Field(pattern=r"^/[!-\"$-~]*$", max_length=2048, description="Target of the GET, such as /health."),
    ]
    host: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,255}$", description="Host header; null: the address.")
    ] = None
    interval_s: Annotated[Seconds, Field(description="Between two checks of an address, for each worker.")] = 5
    jitter_share: Annotated[
        float, Field(strict=True, ge=0, le=0.5, description="Share of interval_s by which a wait is longer or shorter.")
    ] = 0.2
    timeout_s: Annotated[Seconds, Field(description="One check, from connecting to the answer's head.")] = 1
    healthy_after: Annotated[Count, Field(description="Good checks in a row until an address gets requests again.")] = 2
    unhealthy_after: Annotated[Count, Field(description="Bad checks in a row until an address gets none.")] = 3
    min_status: Annotated[int, Field(strict=True, ge=200, le=599, description="Lowest status that is good.")] = 200
    max_status: Annotated[
        int, Field(strict=True, ge=200, le=599, validate_default=True, description="Highest status that is good.")
    ] = 299

    @field_validator("max_status")
    @classmethod
    def _not_below(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min_status", 0):
            raise ValueError("must not be below min_status")
        return value


_Part = Annotated[float, Field(strict=True, gt=0, le=1)]


class Ejection(Section):
    """When an address that fails gets no more requests, and for how long."""

    consecutive_errors: Annotated[Count, Field(description="Errors in a row that eject an address.")] = 5
    error_rate: Annotated[_Part, Field(description="Share of errors among its answers that ejects it, 0 to 1.")] = 0.5
    min_requests: Annotated[Count, Field(description="Answers, as they decay, below which the rate says nothing.")] = 20
    half_life_s: Annotated[Seconds, Field(description="Answers and errors count half after it.")] = 10
    base_s: Annotated[Seconds, Field(description="The first ejection; each that follows lasts twice as long.")] = 2
    max_s: Annotated[Seconds, Field(description="The longest ejection.")] = 30
    max_share: Annotated[
        _Part, Field(description="Share of the addresses that may be out at a time; one always may, the last never.")
    ] = 0.5


class OriginRow(Section):
    """One origin: a service behind the edge and where it listens."""

    addresses: Annotated[
        tuple[ConnectAddress, ...],
        Field(description="HOST:PORT of every instance; needed unless there is discovery."),
        ListOf,
    ] = ()
    discovery: Discovery = Discovery()
    health_check: HealthCheck | None = None
    max_connections: Annotated[
        Count, Field(description="Connections at a time to all its addresses, for each worker.")
    ] = 256
    max_waiting: Annotated[
        int, Field(strict=True, ge=0, le=1_000_000, description="Requests that may wait for a connection; then 503.")
    ] = 512
    wait_timeout_s: Annotated[Seconds, Field(description="How long one may wait; then 503.")] = 1.0
    max_connections_per_address: Annotated[
        Count | None, Field(description="Connections at a time to one address, for each worker. null: max_connections.")
    ] = None
    max_connection_age_s: Annotated[
        Seconds | None, Field(description="A connection takes no request after it, less up to a fifth. null: no limit.")
    ] = 300
    max_requests_per_connection: Annotated[
        Count | None, Field(description="Requests that a connection takes, less up to a fifth. null: no limit.")
    ] = 10000
    warm_up_s: Annotated[
        float,
        Field(strict=True, ge=0, le=3600, description="Until an address that is new or back has its full share."),
    ] = 10
    ejection: Ejection = Ejection()
    idle_timeout_s: Annotated[
        Seconds, Field(description="A pooled connection without a request is closed after it.")
    ] = 30
    connect_timeout_s: Annotated[Seconds | None, Field(description="Connecting. null: timeouts.connect_s.")] = None
    tls: OriginTlsRow = OriginTlsRow()
    breaker: BreakerSection = BreakerSection()
    concurrency_limit: ConcurrencySection = ConcurrencySection()
    retry_budget: RetryBudgetSection = RetryBudgetSection()
    retry_backoff_s: Annotated[
        Seconds, Field(description="A retry waits a random part of it; doubled for each further one.")
    ] = 0.025


class GrantRow(Section):
    """What the holder of one key may change on a Passport it returns."""

    parts: Annotated[
        tuple[Literal["user", "device"], ...],
        Field(min_length=1, description="Parts it may replace."),
        ListOf,
    ]
    actions: Annotated[
        tuple[str, ...],
        Field(description="Actions it may ask for; names of docs/passport.md."),
        ListOf,
    ]


class RoutesFile(Section):
    """config/routes.yaml."""

    routes: Annotated[
        tuple[RouteRow, ...],
        Field(min_length=1),
        ListOf,
    ]


class OriginsFile(Section):
    """config/origins.yaml."""

    origins: Annotated[Mapping[Slug, OriginRow], Field(min_length=1)]


class GrantsFile(Section):
    """config/grants.yaml."""

    grants: Mapping[Slug, GrantRow]


class DeviceTypesFile(Section):
    """config/device_types.yaml."""

    device_types: Mapping[
        Annotated[int, Field(strict=True, ge=1, le=2147483647)],
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._()+-]*$")],
    ] = Field(description="Name of the type with this number, 1 to 2147483647.")
