"""hygiene: what a client may say about itself, which is nothing that the edge says."""

import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE
from edge.http1.errors import BadRequestError
from edge.http1.limits import HeadLimits
from edge.http1.request import RequestReader
from filters.header_names import classify, harmless_names
from filters.inbound.hygiene import HygieneFilter
from tests.filters.exchanges import REQUEST_ID, an_exchange, headers_of

ADDED = [b"x-request-id", b"traceparent", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"]
IDENTITY_NAMES = ["X-Passport", "passport-bin", "Passport", "X-Passport-Action", "X-Edge-Degraded", "X-Edge-User-Level"]
SEPARATORS = ["-", "_", ".", "~", "", "--", "!", "|", "^", "`", "*", "+", "'", "#", "$", "%", "&"]


def cleaned(exchange: Exchange, hygiene: HygieneFilter | None = None) -> Exchange:
    assert (hygiene or HygieneFilter()).inbound(exchange) is CONTINUE
    return exchange


def names_left(exchange: Exchange) -> list[bytes]:
    """Return the client's fields that are left, without those that the edge adds."""
    return [name for name, _ in exchange.request.headers if name not in ADDED]


def test_h1_a_clients_passport_is_stripped_and_counted() -> None:
    exchange = cleaned(an_exchange((b"X-Passport", b"CgASAA=="), (b"Accept", b"*/*")))
    assert names_left(exchange) == [b"Accept"]
    assert exchange.stripped_headers == 1


@pytest.mark.parametrize(
    ("key", "name", "shown", "told"),
    [
        (b"right", b"X-Edge-Debug", b"right", True),
        (b"right", b"x-edge-debug", b"right", True),
        (b"right", b"X-Edge-Debug", b"wrong", False),
        (b"right", b"X-Edge-Debug", b"right2", False),
        (b"right", b"X-Edge-Debug", b"", False),
        (b"right", b"X_Edge_Debug", b"right", False),
        (b"", b"X-Edge-Debug", b"", False),
        (b"", b"X-Edge-Debug", b"right", False),
    ],
)
def test_a5_only_the_debug_key_makes_a_caller_known_and_it_never_passes(
    key: bytes, name: bytes, shown: bytes, told: bool
) -> None:
    exchange = cleaned(an_exchange((name, shown), (b"Accept", b"*/*")), HygieneFilter(debug_key=key))
    assert names_left(exchange) == [b"Accept"]
    assert exchange.debug == ("" if told else None)
    assert exchange.stripped_headers == (0 if told else 1)


def test_a5_one_right_debug_key_among_others_is_enough() -> None:
    shown = [(b"X-Edge-Debug", key) for key in (b"wrong", b"right", b"wrong")]
    exchange = cleaned(an_exchange(*shown), HygieneFilter(debug_key=b"right"))
    assert (exchange.debug, exchange.stripped_headers) == ("", 2)


def test_h2_h3_every_one_of_several_passports_is_stripped() -> None:
    exchange = cleaned(
        an_exchange((b"X-Passport", b"one"), (b"A", b"1"), (b"x-passport", b"two"), (b"X-PASSPORT", b""))
    )
    assert names_left(exchange) == [b"A"]
    assert exchange.stripped_headers == 3


@pytest.mark.parametrize(
    "name",
    [
        *[b"x-passport", b"X-PASSPORT", b"x-PaSsPoRt", b"X_Passport", b"x_PASSPORT", b"X-Pass_port", b"X.Passport"],
        *[b"X~Passport", b"XPassport", b"X--Passport", b"-X-Passport-", b"x-passport-", b"_x_passport", b"X-Passport1"],
        *[b"Passport-Bin", b"passport_bin", b"passport.bin", b"passportbin", b"Passport", b"X-Passport-Bin"],
        *[b"X-Edge-Auth-Failed", b"x_edge_degraded", b"X-Edge-Level", b"X-ESN", b"X-Device-Type", b"x_device_type"],
    ],
)
def test_h4_h5_h18_every_spelling_of_an_identity_or_mark_of_ours_is_stripped(name: bytes) -> None:
    exchange = cleaned(an_exchange((name, b"forged")))
    assert names_left(exchange) == []
    assert exchange.stripped_headers == 1


@settings(max_examples=400)
@given(st.sampled_from(IDENTITY_NAMES), st.lists(st.sampled_from(SEPARATORS), min_size=30, max_size=30), st.data())
def test_h5_no_mix_of_case_and_separators_gets_an_identity_header_through(
    name: str, separators: list[str], data: st.DataObject
) -> None:
    letters = name.replace("-", "")
    upper = data.draw(st.lists(st.booleans(), min_size=len(letters), max_size=len(letters)))
    spelled = "".join(
        separator + (letter.upper() if big else letter.lower())
        for separator, letter, big in zip(separators, letters, upper, strict=False)
    )
    exchange = cleaned(an_exchange((spelled.encode(), b"forged"), (b"Accept", b"*/*")))
    assert names_left(exchange) == [b"Accept"]


def test_h6_a_comma_joined_passport_is_stripped_whole() -> None:
    assert names_left(cleaned(an_exchange((b"X-Passport", b"CgASAA==, CgASAA==")))) == []


@pytest.mark.parametrize(
    "name", [b"X-Passport", b"x_passport", b"Passport-Bin", b"X-Edge-Degraded", b"X-Forwarded-For"]
)
def test_h7_identity_and_forwarding_fields_in_trailers_are_stripped(name: bytes) -> None:
    exchange = an_exchange()
    trailers = headers_of((name, b"forged"), (b"Digest", b"abc"), (b"X_Passport", b"forged"))
    HygieneFilter().trailers(exchange, trailers)
    assert list(trailers) == [(b"Digest", b"abc")]
    assert exchange.stripped_headers >= 1


def test_h7_a_trusted_peer_cannot_send_them_in_trailers_either() -> None:
    trailers = headers_of((b"X-Forwarded-For", b"198.51.100.1"), (b"X-Passport", b"forged"))
    HygieneFilter().trailers(an_exchange(peer_trusted=True), trailers)
    assert len(trailers) == 0


def test_h13_a_value_with_odd_bytes_is_stripped_with_its_field_and_never_read() -> None:
    exchange = cleaned(an_exchange((b"X-Passport", b"\x80\xff\t"), (b"x-forwarded-for", b"\xff\xfe")))
    assert names_left(exchange) == []


@pytest.mark.parametrize(
    "name",
    [
        *[b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-Prefix"],
        *[b"X-Forwarded-Uri", b"X-Forwarded-Method", b"X-Forwarded-Server", b"X_Forwarded_For", b"Forwarded"],
        *[b"X-Real-IP", b"X_Real_IP", b"True-Client-IP", b"CF-Connecting-IP", b"X-Client-IP", b"X-Cluster-Client-IP"],
        *[b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override", b"X-Method-Override", b"X-HTTP-Method"],
        *[b"X-Envoy-External-Address", b"X-Envoy-Original-Path", b"X-Envoy-Internal", b"Proxy", b"X-Original-Host"],
        *[b"Tracestate", b"Baggage", b"X-Request-Id", b"X_Request_ID", b"Traceparent"],
    ],
)
def test_h15_forwarding_and_override_headers_of_an_untrusted_peer_never_pass(name: bytes) -> None:
    exchange = cleaned(an_exchange((name, b"forged"), (b"Accept", b"*/*")))
    assert b"forged" not in [value for _, value in exchange.request.headers]
    assert names_left(exchange) == [b"Accept"]
    assert exchange.stripped_headers == 0


@pytest.mark.parametrize(
    "name",
    [b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override", b"X-Method-Override", b"Proxy", b"X-Passport"],
)
def test_h15_what_would_undo_the_rules_does_not_pass_from_a_trusted_peer_either(name: bytes) -> None:
    assert names_left(cleaned(an_exchange((name, b"/admin"), peer_trusted=True))) == []


@pytest.mark.parametrize(
    "name", [b"Transfer_Encoding", b"Content_Length", b"Content.Type", b"Co-okie", b"Authori_zation", b"Ho_st", b"T-E"]
)
def test_an_alias_of_a_header_that_origins_act_on_never_passes(name: bytes) -> None:
    assert names_left(cleaned(an_exchange((name, b"x")))) == []


def test_ordinary_headers_pass_in_order_and_untouched() -> None:
    fields = [
        *[(b"User-Agent", b"tv/1"), (b"ACCEPT", b"*/*"), (b"cookie", b"site=1"), (b"Authorization", b"Bearer x")],
        *[(b"Content-Type", b"text/plain"), (b"X-Custom", b"\xe9"), (b"X-Custom", b""), (b"api_key", b"1")],
    ]
    exchange = cleaned(an_exchange(*fields))
    assert list(exchange.request.headers)[: len(fields)] == fields
    assert exchange.stripped_headers == 0


def test_the_origin_learns_request_id_trace_parent_and_who_asked_how() -> None:
    headers = cleaned(an_exchange(peer="2001:db8::7", scheme="https")).request.headers
    assert headers.get_all(b"x-request-id") == [REQUEST_ID]
    assert headers.get_all(b"x-forwarded-for") == [b"2001:db8::7"]
    assert headers.get_all(b"x-forwarded-proto") == [b"https"]
    assert headers.get_all(b"x-forwarded-host") == [b"edge.example"]
    trace = headers.get(b"traceparent")
    assert trace is not None
    assert re.fullmatch(rb"00-%b-[0-9a-f]{16}-00" % REQUEST_ID, trace)


def test_an_untrusted_peer_cannot_choose_its_request_id_or_trace() -> None:
    sent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    headers = cleaned(an_exchange((b"X-Request-Id", b"mine"), (b"traceparent", sent))).request.headers
    assert headers.get_all(b"x-request-id") == [REQUEST_ID]
    assert [value[3:35] for value in headers.get_all(b"traceparent")] == [REQUEST_ID]


def test_a_trusted_peers_trace_goes_on_with_a_span_of_ours() -> None:
    sent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    headers = cleaned(an_exchange((b"traceparent", sent), (b"tracestate", b"k=v"), peer_trusted=True)).request.headers
    assert headers.get_all(b"traceparent") == [b"00-" + b"a" * 32 + b"-" + REQUEST_ID[16:] + b"-01"]
    assert headers.get_all(b"tracestate") == [b"k=v"]


@pytest.mark.parametrize(
    "sent",
    [b"", b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01", b"ff-x"],
)
def test_an_invalid_trace_of_a_trusted_peer_is_started_anew(sent: bytes) -> None:
    headers = cleaned(an_exchange((b"traceparent", sent), peer_trusted=True)).request.headers
    assert headers.get_all(b"traceparent") == [b"00-%b-%b-00" % (REQUEST_ID, REQUEST_ID[16:])]


def test_h16_a_peer_without_an_address_is_called_unknown() -> None:
    assert cleaned(an_exchange(peer="")).request.headers.get_all(b"x-forwarded-for") == [b"unknown"]


# Forwarding headers of a trusted peer.


def test_a_trusted_peers_chain_is_believed_and_continued() -> None:
    fields = [(b"X-Forwarded-For", b"198.51.100.9"), (b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", b"www")]
    exchange = cleaned(an_exchange(*fields, (b"X-Forwarded-Port", b"443"), peer="10.0.0.1", peer_trusted=True))
    headers = exchange.request.headers
    assert exchange.request.peer == "198.51.100.9"
    assert (exchange.request.scheme, exchange.secure) == ("https", True)
    assert headers.get_all(b"x-forwarded-for") == [b"198.51.100.9, 10.0.0.1"]
    assert headers.get_all(b"x-forwarded-proto") == [b"https"]
    assert headers.get_all(b"x-forwarded-host") == [b"www"]
    assert headers.get_all(b"x-forwarded-port") == [b"443"]


def test_a_trusted_peer_that_says_nothing_is_the_client() -> None:
    exchange = cleaned(an_exchange(peer="10.0.0.1", peer_trusted=True))
    assert (exchange.request.peer, exchange.secure) == ("10.0.0.1", False)
    assert exchange.request.headers.get_all(b"x-forwarded-for") == [b"10.0.0.1"]


@pytest.mark.parametrize("values", [[b"https", b"http"], [b"https, http"], [b"HTTPS"], [b"wss"], [b""]])
def test_a_scheme_that_is_not_plainly_one_is_not_believed(values: list[bytes]) -> None:
    fields = [(b"X-Forwarded-Proto", value) for value in values]
    exchange = cleaned(an_exchange(*fields, peer_trusted=True))
    assert (exchange.request.scheme, exchange.secure) == ("http", False)
    assert exchange.request.headers.get_all(b"x-forwarded-proto") == [b"http"]


def test_an_untrusted_peer_cannot_make_its_transport_secure() -> None:
    exchange = cleaned(an_exchange((b"X-Forwarded-Proto", b"https")))
    assert (exchange.request.scheme, exchange.secure) == ("http", False)


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"X-Forwarded--For", b"XForwardedFor", b"X.Forwarded.For"])
def test_a_misspelled_forwarding_header_is_not_believed_from_a_trusted_peer(name: bytes) -> None:
    exchange = cleaned(an_exchange((name, b"198.51.100.9"), peer="10.0.0.1", peer_trusted=True))
    assert exchange.request.peer == "10.0.0.1"
    assert names_left(exchange) == []


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ([b"1.1.1.1, 198.51.100.9, 10.0.0.2"], "198.51.100.9"),
        ([b"1.1.1.1", b"198.51.100.9", b"10.0.0.2,10.0.0.3"], "198.51.100.9"),
        ([b"10.0.0.2"], "10.0.0.2"),
        ([b"1.1.1.1, 11.0.0.0"], "11.0.0.0"),
        ([b"1.1.1.1, 9.255.255.255, 10.0.0.0, 10.255.255.255"], "9.255.255.255"),
        ([b"1.1.1.1, 198.51.100.9, ::ffff:10.0.0.2"], "198.51.100.9"),
        ([b"1.1.1.1, 2001:DB8:0::7"], "2001:db8::7"),
        ([b"1.1.1.1, fe80::1%eth0"], "10.0.0.1"),
        ([b"1.1.1.1, unknown"], "10.0.0.1"),
        ([b"1.1.1.1, "], "10.0.0.1"),
        ([b"1.1.1.1, 198.51.100.9:4711"], "10.0.0.1"),
        ([b"1.1.1.1, \xff"], "10.0.0.1"),
        ([b"1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
    ],
)
def test_h16_the_client_is_the_last_address_that_is_no_proxy_of_ours(chain: list[bytes], client: str) -> None:
    hygiene = HygieneFilter([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])
    fields = [(b"X-Forwarded-For", value) for value in chain]
    assert cleaned(an_exchange(*fields, peer="10.0.0.1", peer_trusted=True), hygiene).request.peer == client


@pytest.mark.parametrize(
    ("peer", "hop"), [("10.0.0.1", b"for=10.0.0.1;proto=http"), ("2001:db8::1", b'for="[2001:db8::1]";proto=http')]
)
def test_a_forwarded_chain_of_a_trusted_peer_is_continued(peer: str, hop: bytes) -> None:
    exchange = cleaned(an_exchange((b"Forwarded", b"for=198.51.100.9"), peer=peer, peer_trusted=True))
    assert exchange.request.headers.get_all(b"forwarded") == [b"for=198.51.100.9, " + hop]


# Hostile amounts.


def test_h19_two_hundred_names_that_all_mean_ours_are_all_stripped() -> None:
    fields = [(b"X" + b"_" * count + b"Passport", b"forged") for count in range(200)]
    exchange = cleaned(an_exchange(*fields, (b"Accept", b"*/*")))
    assert names_left(exchange) == [b"Accept"]
    assert exchange.stripped_headers == 200


def test_d7_the_table_of_known_names_is_bounded() -> None:
    for count in range(10_000):
        classify(b"x-custom-%d" % count)
    classify(b"x" * 65)
    assert len(harmless_names) <= 4096
    assert b"x" * 65 not in harmless_names


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True),
            st.binary(max_size=8).map(lambda value: value.translate(None, b"\r\n")),
        )
    )
)
def test_no_field_that_any_origin_could_read_as_ours_is_ever_left(fields: list[tuple[bytes, bytes]]) -> None:
    exchange = cleaned(an_exchange(*fields))
    for name in names_left(exchange):
        letters = re.sub(rb"[^a-z0-9]", b"", name.lower())
        assert not letters.startswith((b"xpassport", b"passport", b"xedge", b"xforwarded", b"xenvoy"))
    assert [name for name, _ in exchange.request.headers][-5:] == ADDED


# Behind the real head reader: what the parser takes off, and what it refuses.


def read(head: bytes) -> Exchange:
    """Return the exchange that the head makes, with hygiene behind it; raises BadRequestError."""
    result = RequestReader(HeadLimits(max_headers=300)).feed(head)
    assert result is not None
    exchange = an_exchange()
    exchange.request.headers = result[0].headers
    return cleaned(exchange)


def test_h8_a_client_cannot_have_the_edges_own_headers_taken_off_by_naming_them_in_connection() -> None:
    named = b", ".join([b"x-passport", *ADDED])
    exchange = read(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: %b\r\nX-Passport: forged\r\n\r\n" % named)
    assert [name for name, _ in exchange.request.headers] == ADDED


@pytest.mark.parametrize(
    "field",
    [
        *[b"X-Passport : forged", b"X-Passport\t: forged", b" X-Passport: forged", b"X-Passport\xa0: forged"],
        *[b"X-Pass port: forged", b"X-Passport:forged\r\n folded", b"A: 1\rX-Passport: forged", b"A: \x00"],
        *[b": X-Passport", b"X-Pass\xc3\xa9port: forged", b"(X-Passport): forged"],
    ],
)
def test_h5_h13_h14_a_name_or_value_that_servers_read_in_their_own_ways_is_refused_before_the_chain(
    field: bytes,
) -> None:
    with pytest.raises(BadRequestError):
        read(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")


def test_h9_connect_never_reaches_the_chain_and_an_upgrade_is_cleaned_like_any_request() -> None:
    with pytest.raises(BadRequestError):
        read(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nX-Passport: forged\r\n\r\n")
    exchange = read(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nX-Passport: forged\r\n\r\n")
    assert [name for name, _ in exchange.request.headers] == ADDED
