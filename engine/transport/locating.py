"""Where a SIP domain is served: NAPTR, SRV and addresses (RFC 3263), asked of DNS and remembered as long as it says.

What is asked for is a host without a port. Explicit ports and IP addresses need nothing of this (section 4.2).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
import structlog

log = structlog.get_logger(__name__)

PATIENCE = 4.0
"""Seconds for one question, all servers and repetitions included."""
LONGEST, SHORTEST = 3600.0, 5.0
"""Bounds of what DNS says about how long its answers hold, in seconds."""
MOST_PLACES = 8
"""Places of one domain that are tried."""
_REMEMBERED = 1024
_HERE = ("localhost", ".invalid")  # RFC 6761: not to be asked of others

SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
"""Transports by NAPTR service (sections 4.1, 8.1)."""

PREFIXES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


class Server(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Place(NamedTuple):
    """One address that serves a domain."""

    transport: str
    address: str
    port: int


def in_order(servers: Iterable[Server], random: Random) -> list[Server]:
    """The order in which to try ``servers``: by priority, within one at random by weight (RFC 2782)."""
    ordered: list[Server] = []
    left = sorted(servers, key=lambda server: (server.priority, server.weight > 0))
    while left:
        group = [server for server in left if server.priority == left[0].priority]
        # "a random number between 0 and the sum computed (inclusive)"; the first whose running sum reaches it
        wanted = random.randint(0, sum(server.weight for server in group))
        for server in group:
            wanted -= server.weight
            if wanted <= 0:
                ordered.append(server)
                left.remove(server)
                break
    return ordered


class Locator:
    """Asks DNS. Answers, also those that there is nothing, are remembered; it never raises."""

    def __init__(self, servers: Sequence[tuple[str, int]], random: Random) -> None:
        """``servers``: addresses and ports of name servers; none: those of the system."""
        self._random = random
        self._known: OrderedDict[tuple[str, str], tuple[float, list[Place]]] = OrderedDict()
        self._resolver: dns.asyncresolver.Resolver | None
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.exception.DNSException as error:  # no resolv.conf that can be read
            log.warning("no_name_servers", error=str(error))
            self._resolver = None
            return
        if servers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
        self._resolver.lifetime = PATIENCE

    def known(self, domain: str, transport: str) -> list[Place] | None:
        """What is remembered of ``domain``; ``None``: nothing."""
        entry = self._known.get((domain.lower(), transport))
        return entry[1] if entry is not None and entry[0] > asyncio.get_running_loop().time() else None

    async def places(self, domain: str, transport: str) -> list[Place]:
        """Where ``domain`` is served, in the order in which to try it; empty when DNS has no SRV records of it.

        ``transport`` empty: any of ours, as NAPTR prefers, or without NAPTR the first of UDP, TCP that SRV has.
        """
        if domain.lower().endswith(_HERE):
            return []
        found = self.known(domain, transport)
        if found is None:
            lifetime, found = await self._ask(domain, transport)
            key = (domain.lower(), transport)
            self._known[key] = (asyncio.get_running_loop().time() + lifetime, found)
            self._known.move_to_end(key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def demote(self, domain: str, transport: str) -> None:
        """The first place did not answer: let it be the last one."""
        found = self.known(domain, transport)
        if found:
            found.append(found.pop(0))

    async def _ask(self, domain: str, transport: str) -> tuple[float, list[Place]]:
        lifetime = LONGEST
        questions = [(transport, f"{PREFIXES[transport]}.{domain}")] if transport else []
        if not transport:
            lifetime, questions = await self._services(domain)
        places: list[Place] = []
        for kind, name in questions:
            holds, servers = await self._records(name, "SRV")
            lifetime = min(lifetime, holds)
            # A target of "." says that the service is decidedly not there (RFC 2782).
            for server in in_order([server for server in map(_server, servers) if server.target], self._random):
                for family in ("A", "AAAA"):
                    holds, addresses = await self._records(server.target, family)
                    lifetime = min(lifetime, holds) if addresses else lifetime
                    places += [Place(kind, str(address.address), server.port) for address in addresses]  # type: ignore[attr-defined]
            if len(places) >= MOST_PLACES:
                break
        return max(lifetime, SHORTEST), places[:MOST_PLACES]

    async def _services(self, domain: str) -> tuple[float, list[tuple[str, str]]]:
        """Transports and names of their SRV records, the preferred first (section 4.1)."""
        lifetime, records = await self._records(domain, "NAPTR")
        found: list[tuple[int, int, str, str]] = []
        for record in records:
            service = record.service.decode("ascii", "replace").upper()  # type: ignore[attr-defined]
            if record.flags.lower() == b"s" and service in SERVICES:  # type: ignore[attr-defined]
                name = record.replacement.to_text(omit_final_dot=True)  # type: ignore[attr-defined]
                found.append((record.order, record.preference, SERVICES[service], name))  # type: ignore[attr-defined]
        if found:
            return lifetime, [(kind, name) for _, _, kind, name in sorted(found)]
        return lifetime, [(kind, f"{PREFIXES[kind]}.{domain}") for kind in ("udp", "tcp")]

    async def _records(self, name: str, kind: str) -> tuple[float, list[object]]:
        """Seconds that the answer holds, and its records."""
        if self._resolver is None:
            return SHORTEST, []
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return 60.0, []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            log.info("dns_failed", name=name, kind=kind, error=str(error) or type(error).__name__)
            return SHORTEST, []
        if answer.rrset is None:
            return 60.0, []
        return min(max(float(answer.rrset.ttl), SHORTEST), LONGEST), list(answer.rrset)


def _server(record: object) -> Server:
    target = record.target.to_text(omit_final_dot=True)  # type: ignore[attr-defined]
    return Server(record.priority, record.weight, record.port, "" if target in (".", "@") else target)  # type: ignore[attr-defined]
