"""scrub: what must never be seen at a device."""

from base64 import b64encode

import pytest

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE
from edge.contract.headers import Headers
from filters.outbound.scrub import ScrubFilter
from tests.filters.exchanges import REQUEST_ID, an_exchange, headers_of, with_response

PASSPORT = b64encode(b"\x0a\x50\x0a\x20" + REQUEST_ID + b"\x10\x80" + bytes(200))
RETURNED = b64encode(b"\x0a\x50\x0a\x20" + REQUEST_ID + b"\x10\x80" + bytes(range(200)))


def scrubbed(exchange: Exchange) -> Headers:
    assert ScrubFilter().outbound(exchange) is CONTINUE
    assert exchange.response is not None
    return exchange.response.headers


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("status", [200, 304, 401, 500, 503])
@pytest.mark.parametrize(
    "name",
    [
        *[b"X-Passport", b"x-passport", b"X_Passport", b"X-Pass_port", b"XPassport", b"X.Passport", b"Passport-Bin"],
        *[b"X-Passport-Action", b"X-Edge-Reason", b"x_edge_level", b"X-Envoy-Upstream-Service-Time", b"X-ESN"],
    ],
)
def test_x6_no_internal_header_reaches_a_device_in_any_spelling(name: bytes, status: int, local: bool) -> None:
    exchange = with_response(an_exchange(), (name, b"v"), (b"Content-Type", b"text/plain"), status=status, local=local)
    assert list(scrubbed(exchange)) == [(b"Content-Type", b"text/plain")]


def test_x5_x11_every_one_of_several_passports_is_removed_though_none_could_be_parsed() -> None:
    exchange = with_response(an_exchange(), (b"X-Passport", b"\xff"), (b"A", b"1"), (b"x-passport", b"%%%"))
    assert list(scrubbed(exchange)) == [(b"A", b"1")]


@pytest.mark.parametrize("value", [PASSPORT, RETURNED, b"seen: " + PASSPORT, b"p=" + RETURNED + b"; Path=/"])
@pytest.mark.parametrize("name", [b"X-Debug", b"Set-Cookie", b"Location", b"ETag", b"Baggage"])
def test_x6_the_passport_of_this_exchange_does_not_leave_in_another_header(name: bytes, value: bytes) -> None:
    exchange = with_response(an_exchange(), (b"Date", b"today"), (name, value))
    exchange.passport = PASSPORT
    assert list(scrubbed(exchange)) == [(b"Date", b"today")]


def test_other_long_values_pass() -> None:
    fields = [(b"Content-Security-Policy", b"default-src 'self'; " * 30), (b"Set-Cookie", b"site=" + b"A" * 300)]
    exchange = with_response(an_exchange(), *fields)
    exchange.passport = PASSPORT
    assert list(scrubbed(exchange)) == fields


def test_a_response_of_a_request_without_a_passport_passes_untouched() -> None:
    fields = [(b"Server", b"x"), (b"set-cookie", b"a=" + b"b" * 200), (b"X-Request-Id", b"1"), (b"Vary", b"")]
    exchange = with_response(an_exchange(), *fields)
    assert list(scrubbed(exchange)) == fields


def test_h7_x6_trailers_of_a_response_are_scrubbed_too() -> None:
    exchange = an_exchange()
    exchange.passport = PASSPORT
    trailers = headers_of((b"Digest", b"abc"), (b"X_Passport", b"v"), (b"Server-Timing", PASSPORT))
    ScrubFilter().trailers(exchange, trailers)
    assert list(trailers) == [(b"Digest", b"abc")]


def test_an_exchange_without_a_response_is_left_alone() -> None:
    assert ScrubFilter().outbound(an_exchange()) is CONTINUE
