"""The section of config/edge.yaml on the services that the edge itself calls."""

from typing import Annotated

from pydantic import Field

from edge.control.guards import CookieBreakerSection, KmsBreakerSection, RenewalsBreakerSection
from edge.control.tls import ServiceTls
from edge.control.values import Count, ListOf, RedisUrl, Seconds, Section, ServiceUrl, Slug, VarPath


class KmsClient(Section):
    """The key management service."""

    url: Annotated[ServiceUrl, Field(description="http://HOST:PORT on loopback, https://HOST:PORT anywhere else.")]
    token_file: Annotated[VarPath, Field(description="File with the edge's bearer token; relative to --var.")]
    tls: ServiceTls = ServiceTls()
    timeout_s: Annotated[Seconds, Field(description="One call.")] = 2
    refresh_s: Annotated[Seconds, Field(description="Between two refreshes of the keys, give or take a tenth.")] = 30
    start_patience_s: Annotated[
        Seconds, Field(description="How long a worker that starts waits for a KMS that is not there.")
    ] = 20
    purposes: Annotated[
        tuple[Slug, ...],
        Field(min_length=1, description="The key sets this edge asks for."),
        ListOf,
    ] = ("cookie", "cookie-rescheduled", "passport-user", "passport-device", "passport-auth")
    breaker: KmsBreakerSection = KmsBreakerSection()


class Keys(Section):
    """What is remembered of the keys: docs/keys.md, The sealed snapshot."""

    snapshot_max_age_s: Annotated[
        float,
        Field(
            strict=True,
            ge=0,
            le=31_536_000,
            description="How old the sealed snapshot of the keys may be to start from. 0: none is written or used.",
        ),
    ] = 604800
    stale_after_s: Annotated[
        Seconds,
        Field(description="How long after the KMS's last answer an unknown key makes a token bad: its holder_live_s."),
    ] = 300


class CookieClient(Section):
    """The cookie service."""

    url: Annotated[ServiceUrl, Field(description="http://HOST:PORT on loopback, https://HOST:PORT anywhere else.")]
    token_file: Annotated[VarPath, Field(description="File with the edge's bearer token; relative to --var.")]
    tls: ServiceTls = ServiceTls()
    timeout_s: Annotated[Seconds, Field(description="One renewal; later it counts as unavailable.")] = 0.3
    create_timeout_s: Annotated[Seconds, Field(description="One creation after a login, or one update.")] = 2
    concurrency: Annotated[
        Count,
        Field(
            description="Renewals at a time, in each worker; sign-ins, updates and sign-outs have as many places, too."
        ),
    ] = 8
    sign_out_retry_s: Annotated[
        Seconds, Field(le=3600, description="How long a sign-out that the service did not take is tried again.")
    ] = 300
    max_sign_outs: Annotated[
        Count, Field(description="Sign-outs not yet taken, for each worker; beyond, the oldest are given up.")
    ] = 4096
    breaker: CookieBreakerSection = CookieBreakerSection()


class RenewalSharing(Section):
    """A Redis, through which workers and edges share renewals. docs/renewal.md."""

    redis_url: Annotated[
        RedisUrl | None,
        Field(description="redis://HOST:PORT/DB on loopback, rediss:// anywhere else; null: nothing is shared."),
    ] = None
    username: Annotated[str | None, Field(min_length=1, description="Redis user; null: the default one.")] = None
    password_file: Annotated[
        VarPath | None, Field(description="File with its password; relative to --var. null: none.")
    ] = None
    tls: ServiceTls = ServiceTls()
    timeout_s: Annotated[Seconds, Field(le=1, description="One call; later each worker renews for itself.")] = 0.05
    lock_s: Annotated[
        Seconds, Field(le=10, description="How long one worker may be at a renewal before another takes it over.")
    ] = 0.5
    breaker: RenewalsBreakerSection = RenewalsBreakerSection()

    @property
    def url(self) -> str:
        """The URL, empty when there is none."""
        return self.redis_url or ""


class Services(Section):
    """The services that the edge itself calls."""

    kms: KmsClient
    cookie: CookieClient
    renewals: RenewalSharing = RenewalSharing()
