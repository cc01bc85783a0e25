"""config/edge.yaml: the process itself. Every default stands in its section, once, with its unit in the name."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from edge.control.identity_sections import Cookies, Passport, Renewal, Revocations, Shadow
from edge.control.service_sections import Keys, Services
from edge.control.tls import ListenerTls
from edge.control.values import (
    Count,
    Flag,
    ListenAddress,
    ListOf,
    Seconds,
    Section,
    Size,
    Slug,
    TrustedNetwork,
    VarPath,
    is_loopback,
    parse_address,
)
from edge.net.proxy_listener import ProxyPeers


class Edge(Section):
    """Who this edge is."""

    id: Annotated[Slug, Field(description="Names this edge as issuer in every Passport.")]
    trust_domain: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
            description="A Passport is good inside this domain only.",
        ),
    ]
    environment: Annotated[Slug, Field(description="Sealed into every token: one of another environment is refused.")]
    workers: Annotated[
        int, Field(strict=True, ge=0, le=1024, description="Worker processes; 0: one for each core that it may use.")
    ] = 0
    certificate_check_s: Annotated[
        Seconds, Field(description="Between two looks at the certificate files, whether they have changed.")
    ] = 5
    worker_silence_s: Annotated[
        float,
        Field(
            strict=True,
            ge=2,
            le=3600,
            description="A worker that is silent for so long is ended and replaced.",
        ),
    ] = 3
    standby: Annotated[
        Flag, Field(description="Keep one more process started and idle, to take a dead worker's place at once.")
    ] = True


class ProxyProtocol(Section):
    """Load balancers that name the client before its first byte, in PROXY protocol version 1 or 2."""

    trusted_peers: Annotated[
        tuple[TrustedNetwork, ...],
        Field(description="Networks of these load balancers. If any, nobody else may connect, nor without a header."),
        ListOf,
    ] = ()
    header_timeout_s: Annotated[Seconds, Field(description="From the connection to the end of the header.")] = 5

    def peers(self) -> ProxyPeers | None:
        """Return what the listener is built from, or None when it expects no header."""
        return ProxyPeers(self.trusted_peers, self.header_timeout_s) if self.trusted_peers else None


class Listener(Section):
    """Where devices connect."""

    address: Annotated[
        ListenAddress,
        Field(
            description="IP address and port that devices connect to; port 0: any.",
            json_schema_extra={"default": "127.0.0.1:8080"},
        ),
    ] = parse_address("127.0.0.1:8080")
    backlog: Annotated[Count, Field(description="Connections the kernel queues for each worker.")] = 1024
    trusted_proxies: Annotated[
        tuple[TrustedNetwork, ...],
        Field(description="Networks whose X-Forwarded headers are believed; too wide ones are refused."),
        ListOf,
    ] = ()
    local_plain_http: Annotated[
        Flag,
        Field(
            description="Treat plain HTTP as if it were TLS and make cookies without Secure. Loopback listeners only."
        ),
    ] = False
    tls: ListenerTls = ListenerTls()
    proxy_protocol: ProxyProtocol = ProxyProtocol()

    @field_validator("local_plain_http")
    @classmethod
    def _loopback_only(cls, value: bool, info: ValidationInfo) -> bool:
        address = info.data.get("address")
        if value and address is not None and not is_loopback(address.host):
            raise ValueError("is for a loopback listener only: set it to false, or listen on 127.0.0.1")
        return value


class Admin(Section):
    """Where operators and Prometheus connect."""

    address: Annotated[
        ListenAddress,
        Field(
            description="IP address and port of /metrics, /health and /dials; port 0: any.",
            json_schema_extra={"default": "127.0.0.1:8081"},
        ),
    ] = parse_address("127.0.0.1:8081")
    beyond_loopback: Annotated[
        Flag,
        Field(
            validate_default=True,
            description="Allow an address off loopback. Nothing but the network then guards what it tells.",
        ),
    ] = False
    operators: Mapping[Slug, VarPath] = Field(
        default={},
        description="File with this operator's token for /dials; without any, /dials refuses all. Relative to --var.",
    )

    @field_validator("beyond_loopback")
    @classmethod
    def _stay_on_loopback(cls, value: bool, info: ValidationInfo) -> bool:
        address = info.data.get("address")
        if not value and address is not None and not is_loopback(address.host):
            raise ValueError("must be true for an address off loopback: whoever reaches it can read it")
        return value


class Debug(Section):
    """Who is told in a header why the edge answers itself."""

    key_file: Annotated[
        VarPath | None,
        Field(description="File with the key to show in x-edge-debug; null: nobody is told. Relative to --var."),
    ] = None


class Limits(Section):
    """Sizes and counts beyond which a request is refused."""

    max_target_bytes: Annotated[Count, Field(description="Request target; 414 beyond it.")] = 8192
    max_head_bytes: Annotated[Count, Field(description="Whole request head; 431 beyond it.")] = 32768
    max_headers: Annotated[Count, Field(description="Header fields of a request; 431 beyond it.")] = 100
    max_request_body_bytes: Annotated[
        Size, Field(description="Request body; 413 beyond it. A route may say otherwise.")
    ] = 2147483648
    max_buffered_body_bytes: Annotated[
        Size, Field(description="Body that a filter may ask to have whole; 413 beyond it.")
    ] = 1048576
    max_connections: Annotated[
        Count, Field(description="Connections from devices at a time, for each worker; then the oldest idle one goes.")
    ] = 20000
    max_connections_per_client: Annotated[
        Count, Field(description="Connections of one address (IPv6: of one /64) at a time, for each worker.")
    ] = 1024
    max_requests_per_client_per_s: Annotated[
        Count | None, Field(description="Requests of one address, for each worker; 429 beyond it. null: no limit.")
    ] = None
    min_request_bytes_per_s: Annotated[
        Size, Field(description="Slowest request body; 408 below it. 0: no minimum. A route may say otherwise.")
    ] = 240
    min_response_bytes_per_s: Annotated[
        Size, Field(description="Slowest reader of a response; cut off below it. 0: no minimum. A route may differ.")
    ] = 240


class Timeouts(Section):
    """How long each step may take."""

    head_read_s: Annotated[Seconds, Field(description="From the first byte of a request head to its last.")] = 10
    keep_alive_idle_s: Annotated[Seconds, Field(description="A device's connection between two requests.")] = 60
    idle_s: Annotated[Seconds, Field(description="Between two pieces of a body. A route may say otherwise.")] = 30
    tls_handshake_s: Annotated[Seconds, Field(description="The TLS handshake of a device.")] = 5
    rate_window_s: Annotated[
        Seconds, Field(description="How long a body or a reader may be slower than its minimum, on average.")
    ] = 20
    loop_blocked_s: Annotated[
        Seconds, Field(ge=0.5, description="An event loop that has not come round for as long is logged as blocked.")
    ] = 1
    connect_s: Annotated[Seconds, Field(description="To an origin. An origin may say otherwise.")] = 0.5
    response_head_s: Annotated[
        Seconds, Field(description="From the request's end to the response's head. A route may say otherwise.")
    ] = 15
    request_s: Annotated[Seconds, Field(description="A whole exchange. A route may say otherwise.")] = 300
    upgrade_idle_s: Annotated[
        Seconds, Field(description="An upgraded connection without a byte. A route may say otherwise.")
    ] = 300
    upgrade_life_s: Annotated[
        Seconds,
        Field(description="A whole upgraded connection, checked at its start only. A route may say otherwise."),
    ] = 14400
    drain_s: Annotated[Seconds, Field(description="For what is in flight when the edge stops.")] = 10


class Shedding(Section):
    """What one worker may carry before it sheds requests, by the priority of their routes."""

    enabled: Annotated[Flag, Field(description="Shed load; false still measures it.")] = True
    max_loop_lag_s: Annotated[
        Seconds, Field(description="Lateness of the event loop at which the load's score is 1.")
    ] = 0.1
    max_in_flight: Annotated[
        Count, Field(description="Requests waiting for their answer, in each worker, at which the score is 1.")
    ] = 2048
    max_cpu_share: Annotated[
        float,
        Field(
            strict=True,
            gt=0,
            le=1,
            description="Share of the time, busy or waiting for a core, at which it is fully used.",
        ),
    ] = 1.0


class FilterLimits(Section):
    """Overrides what a filter declares; null keeps its own."""

    deadline_s: Annotated[Seconds | None, Field(description="One asynchronous call; later it is an error.")] = None
    concurrency: Annotated[
        Count | None, Field(description="Asynchronous calls at a time, for each worker; one more is an error.")
    ] = None


class Filters(Section):
    """Every filter of the chain by its id. docs/life_of_a_request.md says what each does."""

    hygiene: FilterLimits = FilterLimits()
    rollout: FilterLimits = FilterLimits()
    cookie: FilterLimits = FilterLimits()
    renew: FilterLimits = FilterLimits()
    device: FilterLimits = FilterLimits()
    authorise: FilterLimits = FilterLimits()
    passport: FilterLimits = FilterLimits()
    shadow: FilterLimits = FilterLimits()
    passport_actions: FilterLimits = FilterLimits()
    tokens: FilterLimits = FilterLimits()
    scrub: FilterLimits = FilterLimits()


class AccessLog(Section):
    """One JSON line for each request."""

    path: Annotated[str, Field(min_length=1, description="stdout, off, or a file; a relative path is under --var.")] = (
        "stdout"
    )


class EdgeFile(Section):
    """config/edge.yaml."""

    edge: Edge
    listener: Listener = Listener()
    admin: Admin = Admin()
    debug: Debug = Debug()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    shedding: Shedding = Shedding()
    cookies: Cookies = Cookies()
    passport: Passport = Passport()
    renewal: Renewal = Renewal()
    revocations: Revocations = Revocations()
    shadow: Shadow = Shadow()
    services: Services
    keys: Keys = Keys()
    filters: Filters = Filters()
    access_log: AccessLog = AccessLog()
