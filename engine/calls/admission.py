"""Who may call: trunks by their address, registered devices, or anyone when ``sip.open`` says so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.addresses import bracketed, plain_number
from engine.log import get_logger

if TYPE_CHECKING:
    from engine.transport.locating import Place

log = get_logger(__name__)

RESOLVE_EVERY = 300.0
"""Seconds between look-ups of trunks' host names."""

RETRY_EVERY = 10.0
"""The same while one of them is not found."""

Places = Callable[[str, str], Awaitable[Sequence["Place"]]]
"""Where a domain is served over a transport."""

NumberFrom = Literal["request", "to"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a call comes from: ``name`` is a trunk's, a device's or ``anyone``."""

    name: str
    kind: Literal["trunk", "device", "anyone"]
    number_from: NumberFrom = "request"
    host: str = ""
    """Host and port of the trunk, as a URI has it."""
    numbers: frozenset[str] = frozenset()
    """What the trunk delivers; empty: everything."""
    account: str = ""
    """Whose numbers may be called from here; empty: everybody's."""

    def delivers(self, number: str) -> bool:
        """Whether ``number`` may be called from here."""
        return not self.numbers or plain_number(number) in self.numbers


@dataclass(frozen=True, slots=True)
class TrunkAddress:
    """A trunk as admission knows it: ``host`` is a name or an address."""

    name: str
    host: str
    port: int = 5060
    number_from: NumberFrom = "request"
    numbers: tuple[str, ...] = ()
    account: str = ""
    located_by: str = ""
    """The transport whose SRV records say where it is, too; empty: none do."""

    def source(self) -> Source:
        """The trunk as the source of calls."""
        host = bracketed(self.host)
        numbers = frozenset(plain_number(number) for number in self.numbers)
        where = host if self.port == 5060 else f"{host}:{self.port}"
        return Source(self.name, "trunk", self.number_from, where, numbers, self.account)


class TrunkBook:
    """The addresses of all trunks, looked up now and then."""

    def __init__(self, trunks: Iterable[TrunkAddress], places: Places | None = None) -> None:
        """``places`` has those of a domain by SRV."""
        self._trunks = tuple(trunks)
        self._places = places
        self._sources: Mapping[str, Source] = {}

    def find(self, host: str) -> Source | None:
        """The trunk that the address ``host`` belongs to."""
        return self._sources.get(plain_address(host))

    async def resolve(self) -> bool:
        """Look all host names up; whether all were found. A name that was not keeps the addresses it had."""
        complete = True
        sources: dict[str, Source] = {}
        for trunk in self._trunks:
            source = trunk.source()
            host = trunk.host
            located: set[str] = set()
            if trunk.located_by and self._places is not None:
                located = {plain_address(place.address) for place in await self._places(host, trunk.located_by)}
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                addresses = {plain_address(str(info[4][0])) for info in found} | located
            except (OSError, UnicodeError) as error:
                if located:  # a domain need not be a host itself
                    sources |= dict.fromkeys(located, source)
                    continue
                complete = False
                log.warning("trunk_not_resolved", trunk=trunk.name, host=host, error=str(error))
                addresses = {address for address, known in self._sources.items() if known.name == trunk.name}
            sources |= dict.fromkeys(addresses, source)
        self._sources = sources
        return complete

    async def keep_resolving(self) -> None:
        """Look names up, again and again; runs until cancelled."""
        pause = RETRY_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = RESOLVE_EVERY if await self.resolve() else RETRY_EVERY


def plain_address(host: str) -> str:
    """One spelling for an address: IPv4 out of mapped IPv6, no brackets, no zone."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
