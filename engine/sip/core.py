"""What all machines of one endpoint share: tables, timers, output, identifiers, the headers that are always ours."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Protocol

from engine.sip.events import Event
from engine.sip.flow import Flow, Links
from engine.sip.guard import Guard
from engine.sip.headers import Headers
from engine.sip.message import Message, Request, Response
from engine.sip.timers import TimerQueue, Timers
from engine.sip.transaction import (
    ClientKey,
    ClientTransaction,
    ClientUser,
    Counters,
    InviteClient,
    NonInviteClient,
    ServerKey,
    ServerTransaction,
)
from engine.sip.uri import Address, Uri

if TYPE_CHECKING:
    from engine.sip.session import Session
    from engine.sip.session_timer import SessionTimers

MAGIC_COOKIE = "z9hG4bK"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY, PRACK, REFER, SUBSCRIBE"
ACCEPT = "application/sdp"
EXTENSIONS = ("100rel", "timer", "replaces", "norefersub")
"""Option tags of what we can do if a peer wants it (RFC 3261 19.2)."""
SUPPORTED = ", ".join(EXTENSIONS)

ContactHost = Callable[[Flow], tuple[str, int]]
DialogKey = tuple[str, str]
"""Call-ID and our tag, which is unique by itself; the peer's tag is the owner's to compare."""


def unsupported(request: Request) -> tuple[tuple[str, str], ...]:
    """The Unsupported header for what ``request`` requires and we lack: to be refused with 420 (8.2.2.3)."""
    known = (*EXTENSIONS, "path") if request.method == "REGISTER" else EXTENSIONS  # RFC 3327 section 5.3
    lacking = [tag for tag in request.headers.tokens("Require") if tag.lower() not in known]
    return (("Unsupported", ", ".join(lacking)),) if lacking else ()


def has_option(message: Message, header: str, tag: str) -> bool:
    """Whether ``tag`` is in Supported or Require, as ``header`` says."""
    return any(
        tag in value.lower() and any(item.strip().lower() == tag for item in value.split(","))
        for value in message.headers.all(header)
    )


class DialogOwner(Protocol):
    """Who gets what belongs to a dialog."""

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """A request other than ACK and CANCEL: to be responded to on ``transaction``."""

    def on_ack(self, ack: Request, now: float) -> None:
        """An ACK for a 2xx."""


class Core:
    """The shared state of an endpoint."""

    def __init__(
        self,
        *,
        random: Random,
        user_agent: str,
        timing: Timers,
        contact_host: ContactHost,
        guard: Guard,
        session_timers: SessionTimers,
    ) -> None:
        self.random = random
        self._secret = random.getrandbits(256).to_bytes(32, "big")
        self.user_agent = user_agent
        self.timing = timing
        self.guard = guard
        self.session_timers = session_timers
        self.queue = TimerQueue()
        self.links = Links()
        self.counters = Counters()
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.clients: dict[ClientKey, ClientTransaction] = {}
        self.dialogs: dict[DialogKey, DialogOwner] = {}
        self.sessions: dict[DialogKey, Session] = {}
        """Those of the dialogs that belong to an INVITE."""
        self._contact_host = contact_host
        self._outgoing: list[tuple[Flow, bytes]] = []
        self._events: list[Event] = []
        self._ids = count(1)

    # --- output -------------------------------------------------------------------------

    def transmit(self, flow: Flow, data: bytes) -> None:
        self.counters.sent += 1
        self._outgoing.append((flow, data))

    def emit(self, event: Event) -> None:
        self._events.append(event)

    def drain_outgoing(self) -> list[tuple[Flow, bytes]]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def drain_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # --- identifiers --------------------------------------------------------------------

    def token(self) -> str:
        """64 random bits: tags, branches, Call-IDs (RFC 3261 19.3 asks for at least 32)."""
        return f"{self.random.getrandbits(64):016x}"

    def stateless_tag(self, request: Request) -> str:
        """The To tag of a response that is not remembered: repeats of ``request`` get the same (RFC 3261 8.2.7)."""
        what = f"{request.call_id}\0{request.from_.tag}\0{request.via.branch}"
        return hmac.digest(self._secret, what.encode("utf-8", "surrogateescape"), "sha256")[:8].hex()

    def next_id(self) -> int:
        return next(self._ids)

    # --- headers ------------------------------------------------------------------------

    def host_port(self, flow: Flow) -> tuple[str, int | None]:
        """How the peer on ``flow`` reaches us; an IPv6 address in brackets. No port: the transport's own."""
        host, port = self._contact_host(flow)
        return (f"[{host}]" if ":" in host and not host.startswith("[") else host), port or None

    def contact(self, flow: Flow, user: str | None = None, *, secure: bool = False, line: str = "") -> str:
        """Our Contact value towards ``flow``; ``secure``: a ``sips`` URI, as a dialog made by one needs; ``line``: a
        parameter of this name, which comes back in the Request-URI.
        """
        host, port = self.host_port(flow)
        if secure and flow.transport == "tls":
            return f"<{Uri('sips', user or None, None, host, port)}>"
        params = () if flow.transport == "udp" else (("transport", flow.transport),)
        if line:
            params = (*params, ("line", line))
        return f"<{Uri('sip', user or None, None, host, port, params)}>"

    def response(
        self,
        request: Request,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """A response with our Server header; To gets a tag of its own unless ``to_tag`` names one."""
        if to_tag is None and status != 100:
            to_tag = self.token()
        response = request.response(status, reason, to_tag=to_tag)
        for name, value in headers:
            response.headers.add(name, value)
        if self.user_agent:
            response.headers.add("Server", self.user_agent)
        return response

    # --- requests -----------------------------------------------------------------------

    def request(self, method: str, target: Uri | str, from_: Address, to: Address) -> Request:
        """A request outside of dialogs, still without Via (8.1.1). Raises ValueError if ``target`` is no URI."""
        uri = target if isinstance(target, Uri) else Uri.parse(target)
        headers = Headers()
        headers.add("Max-Forwards", "70")
        headers.add("From", str(from_))
        headers.add("To", str(to))
        headers.add("Call-ID", self.token() + self.token())
        headers.add("CSeq", f"1 {method}")
        return Request(method, str(uri.as_request_uri()), headers)

    def add_via(self, request: Request, flow: Flow) -> str:
        """Put our Via on top, asking for symmetric responses (RFC 3581); its branch, which is a new one."""
        branch = MAGIC_COOKIE + self.token()
        host, port = self.host_port(flow)
        sent_by = host if port is None else f"{host}:{port}"
        # RFC 5923 section 8.1: over TLS the connection may be used the other way round, by who trusts our certificate.
        alias = ";alias" if flow.transport == "tls" else ""
        request.headers.insert_first("Via", f"SIP/2.0/{flow.transport.upper()} {sent_by};rport{alias};branch={branch}")
        return branch

    def send(self, request: Request, flow: Flow, user: ClientUser, now: float) -> ClientTransaction:
        """Send ``request``, which has no Via yet, in a transaction of its own."""
        branch = self.add_via(request, flow)
        if self.user_agent:
            request.headers.set("User-Agent", self.user_agent)
        machine = InviteClient if request.method == "INVITE" else NonInviteClient
        return machine(self, branch, request, flow, user, now)
