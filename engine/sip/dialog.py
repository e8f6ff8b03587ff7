"""Dialogs: RFC 3261 section 12. What two user agents know of each other between INVITE and BYE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.routing import address, behind_nat, same_host, towards
from engine.sip.uri import Address, Uri

RESUME_GAP = 1000
"""How far CSeq skips ahead in a dialog restored from the journal: requests since then are not known."""


@dataclass(frozen=True, slots=True)
class SavedDialog:
    """A dialog as plain values: all that a BYE needs after a restart."""

    call_id: str
    local: str
    """Our From (or To) in name-addr form, tag included."""
    remote: str
    cseq: int
    """The highest CSeq number that we had used when this was saved."""
    route_set: tuple[str, ...]
    remote_target: str
    transport: str
    local_address: tuple[str, int]
    remote_address: tuple[str, int]
    pinned: bool = False
    """The peer is behind NAT: requests go to ``remote_address``, whatever ``remote_target`` says."""


class Dialog:
    """One dialog, ours or theirs. ``local`` and ``remote`` carry the tags."""

    __slots__ = (
        "call_id",
        "flow",
        "local",
        "local_seq",
        "pinned",
        "remote",
        "remote_seq",
        "remote_target",
        "route_set",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: Address,
        remote: Address,
        route_set: tuple[Address, ...],
        remote_target: Uri,
        flow: Flow,
        local_seq: int,
        remote_seq: int | None,
        pinned: bool,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.route_set = route_set
        self.remote_target = remote_target
        self.flow = flow
        self.local_seq = local_seq
        self.remote_seq = remote_seq
        self.pinned = pinned

    @classmethod
    def of_server(cls, request: Request, local_tag: str, flow: Flow) -> Dialog:
        """The dialog that our response to ``request`` makes (12.1.1). ``request`` has a Contact."""
        contact = request.contacts[0].uri
        direct = len(request.vias) == 1 and not request.record_routes
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            route_set=tuple(request.record_routes),
            remote_target=contact,
            flow=flow,
            local_seq=0,
            remote_seq=request.cseq.number,
            pinned=direct and behind_nat(contact, flow.remote[0], request.via.host),
        )

    @classmethod
    def of_client(cls, request: Request, response: Response, flow: Flow) -> Dialog:
        """The dialog that ``response`` to our ``request`` makes (12.1.2)."""
        contacts = response.contacts
        target = contacts[0].uri if contacts else request.ruri
        routes = tuple(reversed(response.record_routes))
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            route_set=routes,
            remote_target=target,
            flow=flow,
            local_seq=request.cseq.number,
            remote_seq=None,
            pinned=not routes and (behind_nat(target, flow.remote[0]) or _met_aside(request, target, flow)),
        )

    def save(self) -> SavedDialog:
        return SavedDialog(
            call_id=self.call_id,
            local=str(self.local),
            remote=str(self.remote),
            cseq=self.local_seq,
            route_set=tuple(str(route) for route in self.route_set),
            remote_target=str(self.remote_target),
            transport=self.flow.transport,
            local_address=self.flow.local,
            remote_address=self.flow.remote,
            pinned=self.pinned,
        )

    @classmethod
    def restore(cls, saved: SavedDialog) -> Dialog:
        """The dialog that ``saved`` was made of. Raises ValueError if its parts are not SIP."""
        return cls(
            call_id=saved.call_id,
            local=Address.parse(saved.local),
            remote=Address.parse(saved.remote),
            route_set=tuple(Address.parse(route) for route in saved.route_set),
            remote_target=Address.parse(f"<{saved.remote_target}>").uri,  # as tolerantly as the Contact was read
            flow=Flow(saved.transport, _address(saved.local_address), _address(saved.remote_address)),
            local_seq=saved.cseq + RESUME_GAP,
            remote_seq=None,
            pinned=saved.pinned,
        )

    @property
    def local_tag(self) -> str:
        return self.local.tag

    @property
    def remote_tag(self) -> str:
        return self.remote.tag  # empty for an RFC 2543 peer (12.1.1)

    @property
    def local_uri(self) -> Uri:
        return self.local.uri

    @property
    def remote_uri(self) -> Uri:
        return self.remote.uri

    @property
    def secure(self) -> bool:
        return self.remote_target.scheme == "sips"

    def next_cseq(self) -> int:
        self.local_seq += 1
        return self.local_seq

    def in_order(self, request: Request) -> bool:
        """Whether ``request`` follows those before it (12.2.2); if so it is the last one from now on."""
        number = request.cseq.number
        if self.remote_seq is not None and number < self.remote_seq:
            return False
        self.remote_seq = number
        return True

    def retarget(self, message: Request | Response) -> None:
        """Take the Contact of a target refresh (12.2.1.2, 12.2.2)."""
        contacts = message.contacts
        if contacts and contacts[0].uri != self.remote_target:
            before, self.remote_target = self.remote_target, contacts[0].uri
            sent_by = message.via.host if isinstance(message, Request) else ""
            stays = same_host(before.host, self.remote_target.host)
            self.pinned = self.pinned and (stays or behind_nat(self.remote_target, self.flow.remote[0], sent_by))

    def disconnected(self) -> None:
        """The connection of :attr:`flow` is gone: the next request makes a new one."""
        self.flow = self.flow._replace(connection=0)

    def next_hop(self) -> Flow:
        """Where requests in this dialog go next (12.2.1.1)."""
        if self.pinned:
            return self.flow
        return towards(self.route_set[0].uri if self.route_set else self.remote_target, self.flow)

    def request(self, method: str, cseq: int) -> Request:
        """A request within this dialog, still without Via (12.2.1.1)."""
        target = str(self.remote_target.as_request_uri())
        routes = [str(route) for route in self.route_set]
        if self.route_set and not self.route_set[0].uri.lr:
            # A strict router takes its own URI as Request-URI and the target as the last route.
            routes = [*routes[1:], f"<{target}>"]
            target = str(self.route_set[0].uri.as_request_uri())
        headers = Headers()
        for route in routes:
            headers.add("Route", route)
        headers.add("Max-Forwards", "70")
        headers.add("From", str(self.local))
        headers.add("To", str(self.remote))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        return Request(method, target, headers)


def _met_aside(request: Request, target: Uri, flow: Flow) -> bool:
    """Whether ``target`` is at an address to which our ``request`` was not sent, although its Request-URI had it.

    That is how devices are reached that have registered from behind a NAT. A Route is another reason.
    """
    host = address(request.ruri.host)
    if host is None or request.headers.get("Route") is not None:
        return False
    return not same_host(request.ruri.host, flow.remote[0]) and same_host(request.ruri.host, target.host)


def _address(value: Sequence[str | int]) -> tuple[str, int]:
    """An address again, also if it came back from JSON as a list."""
    host, port = value
    return str(host), int(port)
