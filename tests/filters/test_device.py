"""device: the identity in the token, or none."""

import pytest

from edge.contract.filters import CONTINUE
from edge.contract.identity import DeviceIdentity, Level, Source
from filters.inbound.device import DeviceFilter
from filters.inbound.hygiene import HygieneFilter
from tests.filters.exchanges import an_exchange

TYPES = {1: "television", 7: "telephone"}


def a_device(esn: str = "NFTV-1", device_type: int = 7) -> DeviceIdentity:
    return DeviceIdentity(Source.COOKIE, Level.HIGH, esn, device_type)


def settled(device: DeviceIdentity | None, *fields: tuple[bytes, bytes]) -> DeviceIdentity | None:
    exchange = an_exchange(*fields)
    exchange.device = device
    assert DeviceFilter(TYPES).inbound(exchange) is CONTINUE
    return exchange.device


@pytest.mark.parametrize("device_type", [0, 1, 7])
def test_a_device_of_a_registered_or_unknown_type_stays_the_very_same(device_type: int) -> None:
    device = a_device(device_type=device_type)
    assert settled(device) is device


def test_a_type_that_nobody_registered_is_unknown_but_the_device_stays() -> None:
    assert settled(a_device(device_type=99)) == a_device(device_type=0)


def test_a_device_without_a_serial_number_is_none() -> None:
    assert settled(a_device(esn="")) is None


@pytest.mark.parametrize("name", [b"X-ESN", b"X-Device-Type", b"x_device_type", b"X-Device-ESN", b"User-Agent"])
def test_h17_no_client_header_makes_or_changes_a_device(name: bytes) -> None:
    assert settled(None, (name, b"1")) is None
    assert settled(a_device(), (name, b"1")) == a_device()


@pytest.mark.parametrize("name", [b"X-ESN", b"X-Device-Type", b"x_device_type", b"X-Device-ESN"])
def test_h17_no_forged_device_header_reaches_the_origin(name: bytes) -> None:
    exchange = an_exchange((name, b"1"))
    HygieneFilter().inbound(exchange)
    assert name.lower() not in exchange.request.headers
