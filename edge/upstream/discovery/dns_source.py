"""Addresses from DNS: A and AAAA records, asked for beside the requests.

Through dnspython, which says what getaddrinfo does not: the time to live, and whether a name does not exist, has no
address, or could not be looked up. Import this where DNS is used only: dnspython takes three megabytes.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, TypeAlias

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rcode
import dns.rdtypes.ANY.CNAME  # dnspython would import these two with the first answer that has one, in the event loop
import dns.rdtypes.ANY.SOA
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from edge.control.routing_files import DnsDiscovery
from edge.control.values import Address
from edge.upstream.discovery.look import Look, Problem, Result

RecordType: TypeAlias = Literal["A", "AAAA"]


@dataclass(slots=True, frozen=True)
class Answer:
    """The answer for one record type: IP literals, or why there are none. `ttl_s` says how long it is good."""

    hosts: tuple[str, ...]
    ttl_s: float = 0.0
    problem: Problem | None = None

    @property
    def definite(self) -> bool:
        """Whether the name server knows: there are these records, or there are none."""
        return self.problem is None or self.problem.result in {Result.EMPTY, Result.NXDOMAIN}


class DnsSource:
    """Looks one name up."""

    def __init__(self, settings: DnsDiscovery) -> None:
        self._settings = settings
        self._known: dict[RecordType, tuple[str, ...]] = {}

    async def look(self) -> Look:
        """Ask for every record type at once."""
        try:
            resolver = self._resolver()
        except (dns.exception.DNSException, OSError) as error:
            return Look(None, Problem(Result.ERROR, f"no name server is known: {type(error).__name__}"))
        types = self._settings.record_types
        found = await asyncio.gather(*(self._ask(resolver, record_type) for record_type in types))
        answers = dict(zip(types, found, strict=True))
        look = joined(answers, self._known, self._settings.name.port)
        if look.addresses is not None:
            self._known.update({each: answer.hosts for each, answer in answers.items() if answer.definite})
        return look

    def _resolver(self) -> dns.asyncresolver.Resolver:
        # Made anew for each look, so that a change of /etc/resolv.conf is seen.
        settings = self._settings
        resolver = dns.asyncresolver.Resolver(configure=not settings.servers)
        if settings.servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in settings.servers]
        resolver.lifetime = settings.timeout_s
        resolver.timeout = settings.timeout_s / max(2, len(resolver.nameservers))  # a lost datagram is sent again
        return resolver

    async def _ask(self, resolver: dns.asyncresolver.Resolver, record_type: RecordType) -> Answer:
        try:
            answer = await resolver.resolve(
                self._settings.name.host,
                record_type,
                search=True,
                raise_on_no_answer=False,
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except dns.resolver.NXDOMAIN:
            return _none(Result.NXDOMAIN, "the name does not exist")
        except dns.resolver.NoNameservers as error:
            return _refused(error)
        except dns.exception.Timeout:
            return _none(Result.TIMEOUT, f"no answer within {self._settings.timeout_s:g} s")
        except (dns.exception.DNSException, OSError) as error:
            return _none(Result.ERROR, type(error).__name__)
        records = [record.address for record in answer.rrset or () if isinstance(record, A | AAAA)]
        hosts = tuple(sorted(host for host in records if _usable(host)))
        if not hosts:
            return _none(Result.EMPTY, f"no usable {record_type} record")
        return Answer(hosts, float(answer.chaining_result.minimum_ttl))


def joined(answers: Mapping[RecordType, Answer], known: Mapping[RecordType, tuple[str, ...]], port: int) -> Look:
    """Return the answers for all record types as one.

    A type that could not be looked up keeps its `known` hosts beside the new ones of the other. No host at all leaves
    everything as it is: an origin without an address is more likely a mistake than a wish.
    """
    found = [answer for answer in answers.values() if answer.hosts]
    problems = [answer.problem for answer in answers.values() if answer.problem is not None]
    unknown = next((answer.problem for answer in answers.values() if not answer.definite), None)
    if not found:
        return Look(None, unknown or next((each for each in problems if each.result is Result.NXDOMAIN), problems[0]))
    hosts = [
        host
        for record_type, answer in answers.items()
        for host in (answer.hosts if answer.definite else known.get(record_type, ()))
    ]
    addresses = tuple(sorted({Address(host, port) for host in hosts}))
    return Look(addresses, unknown, min(answer.ttl_s for answer in found))


def _usable(host: str) -> bool:
    """Refuse what some name servers answer to say no: on Linux 0.0.0.0 is this machine, which gets no Passports."""
    address = ip_address(host)
    return not (address.is_unspecified or address.is_multicast)


def _none(result: Result, detail: str) -> Answer:
    return Answer((), problem=Problem(result, detail))


def _refused(error: dns.resolver.NoNameservers) -> Answer:
    """Say what the name servers answered instead: SERVFAIL, REFUSED, or not even DNS."""
    tried = error.kwargs.get("errors") or ()
    rcodes = {dns.rcode.to_text(response.rcode()) for *_, response in tried if response is not None}
    if rcodes:
        return _none(Result.SERVFAIL, f"the name servers answer {', '.join(sorted(rcodes))}")
    causes = {type(cause).__name__ for *_, cause, _ in tried}
    return _none(Result.ERROR, f"the name servers cannot be asked: {', '.join(sorted(causes)) or 'there are none'}")
