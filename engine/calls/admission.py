"""Who may call: trunks by their address or by digest, registered devices, or anyone when ``sip.open`` says so.

Several trunks may be at one address: accounts of one provider, ports of one PBX. What an INVITE says of itself tells
which of them it came by (:func:`likeliest`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from engine.addresses import Network, bracketed, plain_number, rewritten, within
from engine.log import get_logger
from engine.sip.message import Request

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
    trunk: TrunkAddress | None = None
    ports: frozenset[int] = frozenset()
    """Ports that the trunk is known to send from."""

    @property
    def place(self) -> tuple[str, str]:
        """A trunk's name and host: while both stay it is where it was."""
        return self.name, self.trunk.host if self.trunk is not None else ""

    def delivers(self, number: str) -> bool:
        """Whether ``number`` may be called from here."""
        return not self.numbers or plain_number(number) in self.numbers

    def dialled(self, request: Request) -> str:
        """The number that ``request`` calls, as we write it: the user part of the Request-URI, or of To where a trunk
        wants that.
        """
        uri = request.to.uri if self.number_from == "to" else request.ruri
        return rewritten(uri.user or "", self.trunk.dialled_rules) if self.trunk is not None else uri.user or ""


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
    proxies: tuple[tuple[str, str], ...] = ()
    """Other hosts that its calls come from, each with the same."""
    user: str = ""
    """Our name with it: the user part of the Contact that we register there, the name that it proves itself by."""
    registers: bool = False
    line: str = ""
    """The parameter of that Contact; empty: it has none."""
    believed: tuple[Network, ...] | None = None
    """Networks from which calls are believed to be its own because it says that it is there; ``None``: all."""
    password: str = field(default="", repr=False)
    by_digest: bool = False
    """Its calls are known by ``user`` and ``password``, wherever they come from, and not by their address."""
    channels: int = 0
    """Calls at a time, those that go out included; 0: no limit."""
    trusted: bool = False
    """What it says of callers (P-Asserted-Identity, Diversion) is believed."""
    dialled_rules: tuple[tuple[str, str], ...] = ()
    caller_rules: tuple[tuple[str, str], ...] = ()
    """How its numbers become ours (:func:`engine.addresses.rewritten`)."""

    def may_bring(self, request: Request, address: str, user: str) -> bool:
        """Whether ``request``, which comes from an ``address`` of the trunk, may be its own: elsewhere than in
        :attr:`believed` only if it comes back by the Contact that we registered, or with credentials of its ``user``.
        """
        if self.believed is None or within(address, self.believed):
            return True
        if self.by_digest:
            return user == self.user
        told = request.ruri.param("line") or ""
        return bool(self.line) and hmac.compare_digest(told.encode("utf-8", "replace"), self.line.encode())

    def source(self) -> Source:
        """The trunk as the source of calls."""
        host = bracketed(self.host)
        numbers = frozenset(plain_number(number) for number in self.numbers)
        where = host if self.port == 5060 else f"{host}:{self.port}"
        return Source(self.name, "trunk", self.number_from, where, numbers, self.account, self, frozenset((self.port,)))


def likeliest(
    sources: Sequence[Source], request: Request, port: int, user: str, known: Callable[[str, str], int]
) -> Source:
    """The trunk of several at one address that ``request`` came by.

    What counts, in this order: the ``user`` of its credentials, where a trunk is known by digest; the line of a trunk;
    that the number belongs where the trunk's calls may go; that the Request-URI is the Contact that we registered with
    a trunk; that the number is listed for a trunk; that it leads somewhere where the trunk's calls may go; the ``port``
    it came from; the trunk's name as the host in From or To. Of equals, the first.

    ``known``, of number and account: 2 when calls to the number are for the account, 1 when only the account itself has
    something for it, or 0.
    """
    hosts = {request.from_.uri.host.lower(), request.to.uri.host.lower()}

    def evidence(source: Source) -> tuple[int, ...]:
        trunk = source.trunk
        assert trunk is not None
        number = source.dialled(request)
        delivers = source.delivers(number)
        leads = known(number, source.account) if delivers else 0
        proves = 1
        if trunk.by_digest:
            proves = 2 if trunk.user in (user, request.from_.uri.user) else 0
        return (
            proves,
            bool(trunk.line) and request.ruri.param("line") == trunk.line,
            leads == 2,
            trunk.registers and request.ruri.user == trunk.user,
            bool(source.numbers) and delivers,
            delivers,
            leads > 0,
            port in source.ports,
            trunk.host.lower() in hosts,
        )

    return max(sources, key=evidence)


class TrunkBook:
    """The addresses of all trunks, looked up now and then."""

    def __init__(self, trunks: Iterable[TrunkAddress], places: Places | None = None) -> None:
        """``places`` has those of a domain by SRV."""
        self._places = places
        self._sources: Mapping[str, tuple[Source, ...]] = {}
        self._changed = asyncio.Event()
        self.replace(trunks)

    def replace(self, trunks: Iterable[TrunkAddress]) -> None:
        """Take a new list of trunks; :meth:`keep_resolving` finds them. Of those that stay the addresses stay known."""
        self._trunks = tuple(trunks)
        there = {(trunk.name, trunk.host): trunk.source() for trunk in self._trunks}
        self._sources = {
            address: tuple(there[each.place] for each in found if each.place in there)
            for address, found in self._sources.items()
        }
        self._changed.set()
        self._by_user: Mapping[str, Source] = {
            trunk.user: trunk.source() for trunk in reversed(self._trunks) if trunk.by_digest
        }

    def at(self, host: str) -> tuple[Source, ...]:
        """The trunks that the address ``host`` belongs to, in their order."""
        return self._sources.get(plain_address(host), ())

    def bringing(self, request: Request, host: str, user: str) -> tuple[Source, ...]:
        """Those of them that ``request``, with credentials of ``user``, may have come by."""
        address = plain_address(host)
        found = self._sources.get(address, ())
        return tuple(each for each in found if each.trunk is None or each.trunk.may_bring(request, address, user))

    def by_user(self, user: str) -> Source | None:
        """The trunk that proves itself as ``user``."""
        return self._by_user.get(user)

    async def resolve(self) -> bool:
        """Look all host names up; whether all were found. A name that was not keeps the addresses it had."""
        complete = True
        sources: dict[str, list[Source]] = {}
        for trunk in self._trunks:
            source, addresses, found = await self._find(trunk)
            complete = complete and found
            for address in addresses:
                sources.setdefault(address, []).append(source)
        self._sources = {address: tuple(found) for address, found in sources.items()}
        return complete

    async def _find(self, trunk: TrunkAddress) -> tuple[Source, set[str], bool]:
        """A trunk as a source, its addresses, and whether all of its names were found."""
        source = trunk.source()
        addresses: set[str] = set()
        complete = True
        for host, located_by in ((trunk.host, trunk.located_by), *trunk.proxies):
            located: set[str] = set()
            if located_by and self._places is not None:
                places = await self._places(host, located_by)
                located = {plain_address(place.address) for place in places}
                source = replace(source, ports=source.ports | {place.port for place in places})
            addresses |= located
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                addresses |= {plain_address(str(info[4][0])) for info in found}
            except (OSError, UnicodeError) as error:
                if not located:  # otherwise a domain need not be a host itself
                    complete = False
                    log.warning("trunk_not_resolved", trunk=trunk.name, host=host, error=str(error))
        if not complete:
            addresses |= {
                address for address, known in self._sources.items() if any(each.name == trunk.name for each in known)
            }
        return source, addresses, complete

    async def keep_resolving(self) -> None:
        """Look names up, again and again, and when trunks were replaced; runs until cancelled."""
        pause = RETRY_EVERY
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            self._changed.clear()
            pause = RESOLVE_EVERY if await self.resolve() else RETRY_EVERY


@lru_cache(maxsize=4096)
def plain_address(host: str) -> str:
    """One spelling for an address: IPv4 out of mapped IPv6, no brackets, no zone."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
