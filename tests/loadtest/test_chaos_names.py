"""The name server that misbehaves, as a foreign library reads it, and certificates as OpenSSL does."""

import ssl
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from loadtest.chaos.certificates import BAD, GOOD, make_certificates
from loadtest.chaos.name_server import Mood, NameServer
from loadtest.chaos.ports import free_port


def _asked(server: NameServer, kind: str = "A") -> dns.message.Message:
    query = dns.message.make_query("faulty.chaos.test", kind)
    answer = dns.message.from_wire(server.answer(query.to_wire()))
    assert query.is_response(answer)
    return answer


def test_a_good_answer_has_every_address() -> None:
    answer = _asked(NameServer(["127.0.0.21", "127.0.0.22"], ttl_s=7))
    assert {record.address for record in answer.answer[0]} == {"127.0.0.21", "127.0.0.22"}
    assert answer.answer[0].ttl == 7
    assert _asked(NameServer(["127.0.0.21"]), "AAAA").answer == []


@pytest.mark.parametrize(
    ("mood", "code"),
    [(Mood.NXDOMAIN, dns.rcode.NXDOMAIN), (Mood.SERVFAIL, dns.rcode.SERVFAIL), (Mood.EMPTY, dns.rcode.NOERROR)],
)
def test_a_bad_answer_has_none(mood: Mood, code: dns.rcode.Rcode) -> None:
    server = NameServer(["127.0.0.21"])
    server.mood = mood
    answer = _asked(server)
    assert (answer.rcode(), answer.answer) == (code, [])


def test_garbage_is_no_answer() -> None:
    server = NameServer(["127.0.0.21"])
    server.mood = Mood.GARBAGE
    with pytest.raises(dns.exception.DNSException):
        _asked(server)


def test_every_certificate_is_one_and_has_its_key(tmp_path: Path) -> None:
    directory = tmp_path / "certificates"
    make_certificates(directory)
    for name in (GOOD, *BAD):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
        assert (directory / f"{name}.key").stat().st_mode & 0o077 == 0


def test_a_free_port_is_none_that_outgoing_connections_get() -> None:
    assert all(12_000 <= free_port() < 32_768 for _ in range(20))
