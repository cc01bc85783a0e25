"""config/cookie.yaml: what the cookies of this environment are like."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.cookie.issuing import Issuer
from services.kit.breaker import BreakerConfig
from services.kit.database import DatabaseConfig
from services.kit.keys import KeysConfig
from tokens.cookie import MAX_LIFE_S, CookieNames

# RFC 6265 §4.1.1: a cookie name is a token of RFC 9110 §5.6.2.
CookieName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]

IdentityName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Names(BaseModel):
    """The names of the pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    insecure: CookieName = "EdgeId"
    secure: CookieName = "SecureEdgeId"

    @model_validator(mode="after")
    def _names_differ(self) -> "Names":
        if self.insecure == self.secure:
            raise ValueError("the two cookies need two names")
        return self


class Right(StrEnum):
    """What an identity may be allowed to do."""

    CREATE = "create"
    RENEW = "renew"
    UPDATE = "update"
    REVOKE = "revoke"
    FOLLOW = "follow"


class Revocations(BaseModel):
    """How long revocations are kept and how far back their feed goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_s: Annotated[int, Field(ge=MAX_LIFE_S)] = 34_560_000
    feed_s: Annotated[int, Field(ge=MAX_LIFE_S)] = 90_000
    margin_s: Annotated[int, Field(ge=1, le=30)] = 5
    check_timeout_s: Annotated[float, Field(gt=0, le=5)] = 0.2

    @model_validator(mode="after")
    def _the_feed_is_kept(self) -> "Revocations":
        if self.feed_s > self.keep_s:
            raise ValueError("feed_s goes back further than keep_s")
        return self


class RescheduledRenewals(BaseModel):
    """How long a rescheduled token is good once its owner has shown the next one, and how long that is remembered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap_s: Annotated[int, Field(ge=1, le=MAX_LIFE_S)] = 600
    keep_s: Annotated[int, Field(ge=MAX_LIFE_S)] = 34_560_000


class SessionUpdates(BaseModel):
    """How long it is remembered what updates have said of a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_s: Annotated[int, Field(ge=MAX_LIFE_S)] = 34_560_000


class CookieConfig(BaseModel):
    """The whole file. Times in seconds; shares between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    names: Names = Names()
    life_s: Annotated[int, Field(ge=2, le=MAX_LIFE_S)] = 14_400
    renew_after_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    subscriber_timeout_s: Annotated[float, Field(gt=0, le=5)] = 0.2
    subscriber_breaker: BreakerConfig = BreakerConfig()
    kms_timeout_s: Annotated[float, Field(gt=0, le=10)] = 2.0
    kms_refresh_s: Annotated[float, Field(ge=0.1, le=3600)] = 30.0
    identities: Annotated[Mapping[IdentityName, frozenset[Right]], Field(min_length=1)]
    revocations: Revocations = Revocations()
    rescheduled_renewals: RescheduledRenewals = RescheduledRenewals()
    session_updates: SessionUpdates = SessionUpdates()
    keys: KeysConfig = KeysConfig()
    database: DatabaseConfig = DatabaseConfig()
    database_breaker: BreakerConfig = BreakerConfig()

    def issuer(self) -> Issuer:
        """Return what makes and opens these cookies."""
        names = CookieNames(self.names.insecure, self.names.secure)
        return Issuer(names, self.environment, self.life_s, self.renew_after_share)
