"""Who may call: trunks by their address, registered devices, or anyone when ``sip.open`` says so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.log import get_logger

log = get_logger(__name__)

RESOLVE_EVERY = 300.0
"""Seconds between look-ups of trunks' host names."""

NumberFrom = Literal["request", "to"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a call comes from: ``name`` is a trunk's, a device's or ``anyone``."""

    name: str
    kind: Literal["trunk", "device", "anyone"]
    number_from: NumberFrom = "request"


@dataclass(frozen=True, slots=True)
class TrunkAddress:
    """A trunk as admission knows it: ``host`` may be a name, an address or ``host:port``."""

    name: str
    host: str
    number_from: NumberFrom = "request"


class TrunkBook:
    """The addresses of all trunks, looked up now and then."""

    def __init__(self, trunks: Iterable[TrunkAddress]) -> None:
        self._trunks = tuple(trunks)
        self._sources: Mapping[str, Source] = {}

    def find(self, host: str) -> Source | None:
        """The trunk that the address ``host`` belongs to."""
        return self._sources.get(plain_address(host))

    async def resolve(self) -> None:
        """Look all host names up. A name that does not resolve keeps the addresses it had."""
        sources: dict[str, Source] = {}
        for trunk in self._trunks:
            source = Source(trunk.name, "trunk", trunk.number_from)
            host = host_only(trunk.host)
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                addresses = {plain_address(str(info[4][0])) for info in found}
            except OSError as error:
                log.warning("trunk_not_resolved", trunk=trunk.name, host=host, error=str(error))
                addresses = {address for address, known in self._sources.items() if known.name == trunk.name}
            sources |= dict.fromkeys(addresses, source)
        self._sources = sources

    async def keep_resolving(self) -> None:
        """Look names up again and again; runs until cancelled."""
        while True:
            await asyncio.sleep(RESOLVE_EVERY)
            await self.resolve()


def host_only(host: str) -> str:
    """``[::1]:5060``, ``pbx.example:5060`` or ``pbx.example`` without the port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def plain_address(host: str) -> str:
    """One spelling for an address: IPv4 out of mapped IPv6, no brackets, no zone."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
