"""config/routes.yaml, grants.yaml and device_types.yaml: one model each."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from edge.contract.identity import Level
from edge.contract.on_bad_token import OnBadToken
from edge.control.values import (
    Flag,
    ListOf,
    Seconds,
    Section,
    Size,
    Slug,
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
    long_poll: Annotated[
        Flag, Field(description="The origin answers when it has something to say: waiting is not slowness, nor load.")
    ] = False

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


class GrantsFile(Section):
    """config/grants.yaml."""

    grants: Mapping[Slug, GrantRow]


class DeviceTypesFile(Section):
    """config/device_types.yaml."""

    device_types: Mapping[
        Annotated[int, Field(strict=True, ge=1, le=2147483647)],
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._()+-]*$")],
    ] = Field(description="Name of the type with this number, 1 to 2147483647.")
