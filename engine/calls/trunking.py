"""A trunk for calls that go out: which numbers it takes, how they and the caller are written for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from engine.addresses import bracketed, rewritten
from engine.calls.identity import (
    ANONYMOUS,
    IDENTITY_HEADERS,
    Caller,
    History,
    Identity,
    history_headers,
    identity_header,
)
from engine.calls.peer import Destination, Line
from engine.sip.digest import Credentials
from engine.sip.flow import Flow
from engine.sip.headers import long_name
from engine.sip.routing import default_port
from engine.sip.uri import Address, Uri

OwnHost = Callable[[Flow], tuple[str, int]]
"""Our host and port towards the peer of a flow."""

HeaderLines = tuple[tuple[str, str], ...]

_OURS = frozenset((*IDENTITY_HEADERS.values(), "Privacy", "Diversion", "History-Info", "Remote-Party-ID"))


@dataclass(frozen=True, slots=True)
class OutboundTrunk:
    """The lowest ``order`` is tried first, of one order by ``weight``, those behind that are not ``registered`` though
    they should be, one that is ``down`` last; ``prefixes`` of its numbers (empty: all).
    """

    name: str
    flow: Flow
    order: int = 0
    prefixes: tuple[str, ...] = ()
    caller_id: str = ""
    """Number to show where the caller's own may not be shown; empty: the caller's."""
    credentials: Credentials | None = None
    label: str = ""
    """Its name where trunks of all accounts stand together; empty: the same."""
    domain: tuple[str, str, int] | None = None
    """Transport, host and port of its numbers, if calls do not go there straight (``route``)."""
    route: tuple[Address, ...] = ()
    channels: int = 0
    weight: int = 0
    down: bool = False
    registered: bool = True
    """False if its registration has failed."""
    from_user: str = ""
    from_domain: str = ""
    identity: Identity = "none"
    history: History = "none"
    dialled_rules: tuple[tuple[str, str], ...] = ()
    caller_rules: tuple[tuple[str, str], ...] = ()
    redirects: Literal["no", "same", "any"] = "no"
    respond_within: float = 0.0

    def turn(self, chance: float) -> tuple[bool, int, bool, float]:
        """When it is tried, compared with others, by a ``chance`` from 0 to 1 that is drawn for it: those of one order
        at random by weight, each before another as often as their weights are to each other.
        """
        lot = -(chance ** (1 / self.weight)) if self.weight else 1.0
        return self.down, self.order, not self.registered, lot

    def takes(self, number: str) -> bool:
        return not self.prefixes or number.startswith(self.prefixes)

    def uri(self, number: str) -> Uri:
        """A number on this trunk."""
        kind, host, port = self.domain or (self.flow.transport, *self.flow.remote)
        params = (("transport", kind),) if kind != "udp" else ()
        return Uri(
            "sip",
            number,
            host=bracketed(host),
            port=port if port not in (0, default_port(kind)) else None,
            params=params,
        )

    def destination(
        self, number: str, caller: Caller, own_host: OwnHost, headers: HeaderLines, *, chosen: bool
    ) -> Destination:
        """The way to ``number``; ``chosen``: the flow says who is to be seen as the caller."""
        if self.caller_id and not chosen:
            caller = replace(caller, number=self.caller_id)
        host, port = own_host(self.flow)
        where = self.from_domain or bracketed(host)
        shown = rewritten(caller.number, self.caller_rules)
        uri = self.uri(rewritten(number, self.dialled_rules))
        if self.identity != "none" or self.history != "none":  # what it is told is ours to say then, not a flow's
            headers = tuple(each for each in headers if long_name(each[0]) not in _OURS)
        return Destination(
            f"{number} via {self.name}",
            uri,
            self.flow,
            self._from(caller, shown, where, 0 if self.from_domain else port),
            Address(uri),
            self.credentials,
            (
                *headers,
                *identity_header(self.identity, caller, shown, where),
                *((("Privacy", "id"),) if caller.withheld else ()),
                *history_headers(self.history, caller.diversions, uri, where),
            ),
            route=self.route,
            trunk=self.name,
            line=Line(self.label or self.name, self.channels),
            redirects=self.redirects,
            respond_within=self.respond_within,
        )

    def _from(self, caller: Caller, shown: str, host: str, port: int) -> Address:
        if caller.withheld:
            return NOBODY
        return Address(Uri("sip", self.from_user or shown or None, host=host, port=port or None), caller.name)


NOBODY = Address(Uri.parse(f"sip:{ANONYMOUS}@anonymous.invalid"), "Anonymous")
"""RFC 3323, section 4.1.1.3."""
