"""config/kms.yaml: the key sets, and which identity may fetch which of them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.kit.database import DatabaseConfig

Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Identity(BaseModel):
    """What one service identity may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purposes: tuple[Purpose, ...]
    operator: bool = False


class KmsConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_sets: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    identities: Annotated[Mapping[Purpose, Identity], Field(min_length=1)]
    access_log_max_rows: Annotated[int, Field(ge=1000)] = 1_000_000
    database: DatabaseConfig = DatabaseConfig()

    @model_validator(mode="after")
    def _grants_name_key_sets(self) -> "KmsConfig":
        if len(set(self.key_sets)) != len(self.key_sets):
            raise ValueError("a key set is listed twice")
        for name, identity in self.identities.items():
            unknown = set(identity.purposes).difference(self.key_sets)
            if unknown:
                raise ValueError(f"identities.{name} is granted {', '.join(sorted(unknown))}, which is no key set")
        return self
