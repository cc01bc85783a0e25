"""The config files by name, in the order of docs/configuration.md."""

from collections.abc import Mapping
from typing import Final

from edge.control.dials_file import DialsFile
from edge.control.edge_file import EdgeFile
from edge.control.origins_file import OriginsFile
from edge.control.routing_files import DeviceTypesFile, GrantsFile, RoutesFile
from edge.control.values import Section

MODELS: Final[Mapping[str, type[Section]]] = {
    "edge": EdgeFile,
    "routes": RoutesFile,
    "origins": OriginsFile,
    "grants": GrantsFile,
    "device_types": DeviceTypesFile,
    "dials": DialsFile,
}
