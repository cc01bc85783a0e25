"""config/origins.yaml: where the services behind the edge listen, and how they are treated."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

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
    Slug,
    VarPath,
)


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
    receive_buffer_bytes: Annotated[
        int | None,
        Field(
            strict=True, ge=16_384, le=67_108_864,
            description="What the kernel may hold of a connection's answers that devices are slow to read, twice over; "
            "no more moves in one round trip. null: whatever it likes.",
        ),
    ] = 131_072  # fmt: skip
    accepts_legacy: Annotated[
        Flag,
        Field(
            description="Opens cookies itself, too, so that it may be sent them where terminate-cookie is off. false: "
            "for this origin it is always on."
        ),
    ] = False
    tls: OriginTlsRow = OriginTlsRow()
    breaker: BreakerSection = BreakerSection()
    concurrency_limit: ConcurrencySection = ConcurrencySection()
    retry_budget: RetryBudgetSection = RetryBudgetSection()
    retry_backoff_s: Annotated[
        Seconds, Field(description="A retry waits a random part of it; doubled for each further one.")
    ] = 0.025


class OriginsFile(Section):
    """config/origins.yaml."""

    origins: Annotated[Mapping[Slug, OriginRow], Field(min_length=1)]
