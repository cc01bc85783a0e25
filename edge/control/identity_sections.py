"""The sections of config/edge.yaml on what devices and services hold: cookies, their renewal, Passports."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge.control.values import Count, Seconds, Section, is_ip

_COOKIE_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{3,253}}\Z){_LABEL}(?:\.{_LABEL})+\Z")


class Cookies(Section):
    """The pair of cookies that devices hold."""

    insecure_name: Annotated[
        str, Field(pattern=_COOKIE_NAME, description="Cookie sent over any transport: gives the level LOW alone.")
    ] = "EdgeId"
    secure_name: Annotated[
        str, Field(pattern=_COOKIE_NAME, description="Cookie sent over TLS only: gives the level HIGH with the other.")
    ] = "SecureEdgeId"
    path: Annotated[
        str, Field(pattern=r"^/[A-Za-z0-9/._~-]*$", max_length=256, description="Path attribute of both.")
    ] = "/"
    domain: Annotated[
        str | None, Field(description="Domain attribute of both; null: the host that set them, and no other.")
    ] = None
    same_site: Annotated[Literal["Lax", "Strict"], Field(description="SameSite attribute of both.")] = "Lax"
    cache_entries: Annotated[
        int, Field(strict=True, ge=0, le=10_000_000, description="Opened cookies remembered by each worker.")
    ] = 10000

    @field_validator("insecure_name")
    @classmethod
    def _no_prefix_without_secure(cls, value: str) -> str:
        if value.lower().startswith(("__host-", "__secure-")):
            raise ValueError("must not have a __Host- or __Secure- prefix: browsers drop it, for it is not Secure")
        return value

    @field_validator("secure_name")
    @classmethod
    def _apart(cls, value: str, info: ValidationInfo) -> str:
        if value.lower() == str(info.data.get("insecure_name")).lower():
            raise ValueError("must differ from insecure_name in more than case")
        return value

    @field_validator("domain")
    @classmethod
    def _registrable(cls, value: str | None) -> str | None:
        if value is not None and (_DOMAIN.match(value) is None or is_ip(value)):
            raise ValueError("must be a lower-case domain of two labels or more, without a leading dot")
        return value


class Passport(Section):
    """How Passports are made."""

    ttl_s: Annotated[
        int, Field(strict=True, ge=1, le=3600, description="Seconds until a Passport expires: longer than any hop.")
    ] = 60
    integrity_version: Annotated[
        Literal[1, 2], Field(description="2 binds header, device and user; 1 is for consumers that know no other.")
    ] = 2


class Renewal(Section):
    """The renewal of cookies, and what is given where it cannot be done. docs/renewal.md."""

    wait_s: Annotated[
        Seconds, Field(le=4, description="How long a request with an expired cookie waits for its renewal.")
    ] = 0.3
    wait_beside_s: Annotated[
        Seconds, Field(le=4, description="How long a finished response waits for a renewal beside it.")
    ] = 0.1
    overlap_s: Annotated[
        Seconds, Field(description="How long whoever still shows the old cookie gets the new one without a call.")
    ] = 10
    reschedule_life_s: Annotated[
        Seconds, Field(le=3000, description="Life of the cookie given for one not renewed, give or take a fifth.")
    ] = 300
    max_renewals: Annotated[Count, Field(description="Renewals under way at a time, for each worker.")] = 1024
    max_waiting: Annotated[Count, Field(description="Requests that wait for one at a time, for each worker.")] = 4096
    remembered: Annotated[
        Count, Field(description="Failed renewals remembered, so as not to be tried with every request.")
    ] = 65536


class Revocations(Section):
    """What the edge knows of revoked tokens, by the cookie service's feed. docs/renewal.md."""

    wait_s: Annotated[Seconds, Field(ge=0.1, le=60, description="One long poll of the feed.")] = 25
    start_patience_s: Annotated[
        Seconds, Field(description="How long a worker that starts waits for the feed before it serves without.")
    ] = 2
    keep_s: Annotated[
        Seconds, Field(ge=1, description="How long a revocation is remembered: the longest life of a token or more.")
    ] = 90000
    max_entries: Annotated[
        Count, Field(description="Revocations remembered by each worker; beyond, the oldest are forgotten.")
    ] = 1000000


class Shadow(Section):
    """What is told of legacy origins that name others than the edge would. docs/rollout.md."""

    max_samples_per_s: Annotated[
        int,
        Field(strict=True, ge=0, le=1000, description="Differences logged in a second, by each worker; all count."),
    ] = 5
