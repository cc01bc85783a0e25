"""config/kms.yaml: the key sets, which identity may do what with which of them, and when they change."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.kit.database import DatabaseConfig

Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Seconds = Annotated[int, Field(ge=1)]


class Use(StrEnum):
    """What an identity may do with the keys of a set; the names are those of `kms.proto` in lower case."""

    PROTECT = "protect"
    OPEN = "open"


class Identity(BaseModel):
    """What one service identity may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grants: Mapping[Purpose, Annotated[frozenset[Use], Field(min_length=1)]] = {}
    operator: bool = False


class Rotation(BaseModel):
    """When the versions of one key set move by themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate_after_s: Seconds = 7_776_000
    distribute_s: Seconds = 3_600
    retire_after_s: Seconds = 31_536_000


class AwsKms(BaseModel):
    """The key of AWS KMS that seals the master key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: Annotated[str, Field(min_length=1, max_length=2048)]
    region: str | None = None
    endpoint_url: str | None = None
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0


class KmsConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_sets: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    identities: Annotated[Mapping[Purpose, Identity], Field(min_length=1)]
    rotation: Mapping[Purpose, Rotation] = {}
    holder_live_s: Seconds = 300
    destroy_unused_s: Annotated[int, Field(ge=0)] = 86_400
    access_log_max_rows: Annotated[int, Field(ge=1000)] = 1_000_000
    aws_kms: AwsKms | None = None
    database: DatabaseConfig = DatabaseConfig()

    @model_validator(mode="after")
    def _names_are_of_key_sets(self) -> "KmsConfig":
        if len(set(self.key_sets)) != len(self.key_sets):
            raise ValueError("a key set is listed twice")
        for name, identity in self.identities.items():
            unknown = set(identity.grants).difference(self.key_sets)
            if unknown:
                raise ValueError(f"identities.{name} is granted {', '.join(sorted(unknown))}, which is no key set")
        unknown = set(self.rotation).difference(self.key_sets)
        if unknown:
            raise ValueError(f"rotation names {', '.join(sorted(unknown))}, which is no key set")
        return self
