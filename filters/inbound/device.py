"""device: the device identity that the token carried, held to the registry. Client headers are never asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.identity import DeviceIdentity

_UNKNOWN_TYPE = 0


class DeviceFilter:
    """Settles which device is asking, whatever becomes of its user."""

    id: ClassVar[str] = "device"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(self, device_types: Mapping[int, str]) -> None:
        """`device_types` is the registry of config/device_types.yaml: type to name."""
        self._known_types = frozenset(device_types) | {_UNKNOWN_TYPE}

    def inbound(self, exchange: Exchange) -> Verdict:
        """Drop a device without a serial number; a type that nobody registered is unknown."""
        device = exchange.device
        if device is not None and (not device.esn or device.device_type not in self._known_types):
            exchange.device = self._settle(device)
        return CONTINUE

    def _settle(self, device: DeviceIdentity) -> DeviceIdentity | None:
        if not device.esn:
            return None
        return replace(device, device_type=_UNKNOWN_TYPE)
