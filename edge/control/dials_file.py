"""config/dials.yaml: where the dials stand as long as nobody has moved them elsewhere."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, TypeAlias

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from edge.contract.dials import Feature
from edge.control.dial_names import SHIPPED_DIALS, DialName, FileDials, percentage
from edge.control.values import Section, Slug

_Percent: TypeAlias = Annotated[
    int,
    PlainValidator(percentage),
    PlainSerializer(lambda at: at / 100, return_type=float),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100}),
]
# In words of its own: the docstring of a compiled enum is not what stands in the source.
_Feature: TypeAlias = Annotated[
    Feature,
    WithJsonSchema(
        {"type": "string", "enum": [each.value for each in Feature], "description": "What a dial turns on."}
    ),
]
_DeviceType: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]


class OriginDials(Section):
    """The dials of one feature for one origin."""

    default: Annotated[_Percent | None, Field(description="For this origin; null: as for every other.")] = None
    device_types: Mapping[_DeviceType, _Percent] = Field(
        default={}, description="For this origin and a device type of device_types.yaml, or `unknown`."
    )


class FeatureDials(Section):
    """The dials of one feature."""

    salt: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            pattern=r"^[!-~]+$",
            description="Chooses who is in; null: the name of the feature. Another salt, other devices.",
        ),
    ] = None
    default: Annotated[
        _Percent | None,
        Field(description="Percentage of all devices; null: 100 for terminate-cookie, 0 for shadow-cookie."),
    ] = None
    device_types: Mapping[_DeviceType, _Percent] = Field(
        default={}, description="For a device type of device_types.yaml, or `unknown`."
    )
    origins: Mapping[Slug, OriginDials] = {}


class DialsFile(Section):
    """config/dials.yaml."""

    dials: Mapping[_Feature, FeatureDials] = {}

    def named(self) -> FileDials:
        """Return the positions and salts, with what is shipped where the file is silent."""
        salts = {feature: row.salt for feature, row in self.dials.items() if row.salt is not None}
        return FileDials(
            MappingProxyType({**SHIPPED_DIALS.positions, **dict(self._positions())}),
            MappingProxyType({**SHIPPED_DIALS.salts, **salts}),
        )

    def _positions(self) -> Iterator[tuple[DialName, int]]:
        for feature, row in self.dials.items():
            yield from _of(feature, None, row.default, row.device_types)
            for origin, there in row.origins.items():
                yield from _of(feature, origin, there.default, there.device_types)


def _of(
    feature: Feature, origin: str | None, default: int | None, device_types: Mapping[str, int]
) -> Iterator[tuple[DialName, int]]:
    if default is not None:
        yield DialName(feature, origin), default
    for device_type, at in device_types.items():
        yield DialName(feature, origin, device_type), at
