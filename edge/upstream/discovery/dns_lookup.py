"""One look-up in DNS through dnspython: the one module that imports it.

dnspython says what getaddrinfo does not: the time to live, and whether a name does not exist, has no address, or could
not be looked up.
"""

import asyncio
import contextlib
from ipaddress import ip_address
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rcode
import dns.rdtypes.ANY.CNAME  # dnspython would import these two with the first answer that has one, in the event loop
import dns.rdtypes.ANY.SOA
import dns.resolver
from dns._asyncio_backend import Backend  # has no public name to derive from
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from edge.control.origins_file import DnsDiscovery
from edge.upstream.discovery.dns_source import Answer, Answers, RecordType
from edge.upstream.discovery.look import Problem, Result


async def look_up(settings: DnsDiscovery) -> Answers:
    """Ask for every record type at once; whatever goes wrong is a problem in the answers."""
    types = settings.record_types
    try:
        resolver = _resolver(settings)
    except (dns.exception.DNSException, OSError) as error:
        return dict.fromkeys(types, _none(Result.ERROR, f"no name server is known: {type(error).__name__}"))
    answers = await asyncio.gather(*(_ask(resolver, settings, record_type) for record_type in types))
    return dict(zip(types, answers, strict=True))


def _resolver(settings: DnsDiscovery) -> dns.asyncresolver.Resolver:
    # Made anew for each look, so that a change of /etc/resolv.conf is seen.
    resolver = dns.asyncresolver.Resolver(configure=not settings.servers)
    if settings.servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in settings.servers]
    resolver.lifetime = settings.timeout_s
    resolver.timeout = settings.timeout_s / max(2, len(resolver.nameservers))  # a lost datagram is sent again
    return resolver


async def _ask(resolver: dns.asyncresolver.Resolver, settings: DnsDiscovery, record_type: RecordType) -> Answer:
    try:
        answer = await resolver.resolve(
            settings.name.host,
            record_type,
            search=True,
            raise_on_no_answer=False,
            backend=_Backend(),
        )
    except dns.resolver.NXDOMAIN:
        return _none(Result.NXDOMAIN, "the name does not exist")
    except dns.resolver.NoNameservers as error:
        return _refused(error)
    except dns.exception.Timeout:
        return _none(Result.TIMEOUT, f"no answer within {settings.timeout_s:g} s")
    except (dns.exception.DNSException, OSError) as error:
        return _none(Result.ERROR, type(error).__name__)
    records = [record.address for record in answer.rrset or () if isinstance(record, A | AAAA)]
    hosts = tuple(sorted(host for host in records if _usable(host)))
    if not hosts:
        return _none(Result.EMPTY, f"no usable {record_type} record")
    return Answer(hosts, float(answer.chaining_result.minimum_ttl))


class _Backend(Backend):
    """Leaves no socket behind when a look is cancelled: uvloop never ends with one that is open and forgotten."""

    async def make_socket(self, *arguments: Any, **named: Any) -> Any:
        """Make it, whether or not it is still wanted, and close it if it is not."""
        making = asyncio.ensure_future(super().make_socket(*arguments, **named))  # type: ignore[no-untyped-call]
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await (await making).close()
            raise


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
