"""A SIP endpoint without I/O: datagrams and times in, datagrams, events and the next deadline out.

The caller owns sockets and clock. After every call into an endpoint it sends what :meth:`Endpoint.outgoing`
gives, handles :meth:`Endpoint.events`, and wakes it with :meth:`Endpoint.handle_timers` at
:meth:`Endpoint.deadline`. Nothing that a peer sends raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random

from engine.sip.client import InviteOptions, OutgoingSession
from engine.sip.core import ACCEPT, ContactHost, Core
from engine.sip.dialog import Dialog, SavedDialog
from engine.sip.digest import Challenger, Credentials, DigestClient
from engine.sip.events import ByeFinished, Event, OptionsAnswered
from engine.sip.exchange import Exchange
from engine.sip.flow import Flow
from engine.sip.guard import Guard, GuardLimits
from engine.sip.incoming import Reception
from engine.sip.keeping import DATAGRAM_PAUSE, WayKeeper
from engine.sip.message import Malformed, Request, Response
from engine.sip.notifier import Notifier, NotifierLimits
from engine.sip.parser import is_keep_alive, parse
from engine.sip.reason import write_reason
from engine.sip.redirect import Trail
from engine.sip.registrar import Registrar, RegistrarLimits
from engine.sip.registration import Registration, RegistrationConfig
from engine.sip.replaces import Replaces
from engine.sip.routing import same_host, towards
from engine.sip.session import Session
from engine.sip.session_timer import SessionTimers
from engine.sip.timers import Timers
from engine.sip.transaction import ClientTransaction, Counters
from engine.sip.uri import Address, Uri


class Endpoint:
    """Everything SIP of one user agent: transactions, sessions, registrations, registrar."""

    def __init__(
        self,
        *,
        random: Random,
        contact_host: ContactHost,
        user_agent: str = "",
        timers: Timers | None = None,
        guard: GuardLimits | None = None,
        devices: Mapping[str, str] | None = None,
        realm: str = "ivrea",
        digest_algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
        registrar: RegistrarLimits | None = None,
        keep_alive: float = DATAGRAM_PAUSE,
        session_timers: SessionTimers | None = None,
        notifier: NotifierLimits | None = None,
    ) -> None:
        """``random`` makes tags, branches and Call-IDs: give it a ``SystemRandom`` outside of tests.

        ``contact_host`` tells for a flow the host and port that we write into Via and Contact: where its peer
        reaches us. ``devices`` (password by name) may register with us, in ``realm``; ``digest_algorithms`` are what
        they are challenged for, the preferred one first (RFC 8760 2.3); those behind a NAT are asked for a sign of
        life every ``keep_alive`` seconds at most.
        """
        self._core = Core(
            random=random,
            user_agent=user_agent,
            timing=timers or Timers(),
            contact_host=contact_host,
            guard=Guard(guard),
            session_timers=session_timers or SessionTimers(),
        )
        secret = random.getrandbits(256).to_bytes(32, "big")
        challenger = Challenger(realm, secret, algorithms=digest_algorithms)
        self.registrar = Registrar(self._core, devices or {}, challenger, WayKeeper(self._core, keep_alive), registrar)
        self.notifier = Notifier(self._core, notifier)
        self._reception = Reception(self._core, self.registrar, self.notifier)

    # --- in ---------------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one datagram."""
        if is_keep_alive(data):
            return
        try:
            message: Request | Response | Malformed = parse(data)
        except Malformed as malformed:
            message = malformed
        self.receive_message(message, flow, now)

    def receive_message(self, message: Request | Response | Malformed, flow: Flow, now: float) -> None:
        """Take one message from a stream, or what could not be understood there."""
        self._core.counters.received += 1
        if isinstance(message, Request):
            self._reception.request(message, flow, now)
        elif isinstance(message, Response):
            self._reception.response(message, flow, now)
        else:
            self._reception.malformed(message, flow, now)

    def connection_lost(self, flow: Flow, now: float) -> None:
        """Nothing can be sent on ``flow``: its connection broke or its host cannot be resolved or reached.

        Requests on it fail at once (RFC 3261 17.1.4); responses will go to the address in their Via (18.2.2).
        """
        users = self._core.links.lost(flow)
        users.sort(key=lambda user: isinstance(user, ClientTransaction))  # dialogs find another way first
        for user in users:
            user.on_link_lost(flow, now)
        self.registrar.connection_lost(flow)

    def handle_timers(self, now: float) -> None:
        """Do what is due at ``now``."""
        self._core.queue.fire(now)

    # --- out --------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`handle_timers` is next to be called, ``None`` for never."""
        return self._core.queue.deadline()

    def outgoing(self) -> list[tuple[Flow, bytes]]:
        """The messages to be sent since the last call, in order."""
        return self._core.drain_outgoing()

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        return self._core.drain_events()

    # --- state ------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        return self._core.counters

    @property
    def quiet(self) -> bool:
        """Whether no request of ours waits for an answer and no session is left, nor the subscription of a REFER.

        Those who watch calls may stay: ``notifier.close`` says goodbye to them.
        """
        return not self._core.sessions and not any(client.unanswered for client in self._core.clients.values())

    @property
    def idle(self) -> bool:
        """Whether nothing at all is remembered: every transaction is over, every timer has fired."""
        core = self._core
        return not (core.dialogs or core.clients or core.servers or len(core.queue) or len(core.links))

    def held(self) -> dict[str, int]:
        """How much of everything is remembered now: what must not grow while as many calls end as begin."""
        core = self._core
        return {
            "sessions": len(core.sessions),
            "dialogs": len(core.dialogs),
            "client_transactions": len(core.clients),
            "server_transactions": len(core.servers),
            "timers": len(core.queue),
        }

    def needs(self, flow: Flow) -> bool:
        """Whether a transaction, a dialog or a device's registration would miss the connection of ``flow``."""
        return flow in self._core.links or self.registrar.bound_source(flow) is not None

    @property
    def available(self) -> bool:
        """Whether OPTIONS are answered with 200; otherwise with 503, so that a dispatcher looks elsewhere."""
        return self._reception.available

    @available.setter
    def available(self, value: bool) -> None:
        self._reception.available = value

    @property
    def guard(self) -> Guard:
        return self._core.guard

    # --- requests of ours -------------------------------------------------------------------

    def invite(
        self,
        target: Uri | str,
        *,
        from_: Address,
        to: Address,
        sdp: bytes | None,
        flow: Flow,
        now: float,
        headers: Iterable[tuple[str, str]] = (),
        credentials: Credentials | None = None,
        route: Iterable[Address] = (),
        trail: Trail | None = None,
        respond_within: float = 0.0,
    ) -> OutgoingSession:
        """Call ``target`` through ``flow``. Without ``sdp`` the peer makes the offer.

        ``trail`` is that of a session that this one follows. Without any response for ``respond_within`` seconds it
        counts as refused with 408 (0: only after timer B). Raises ValueError if ``target`` is no URI or a header has a
        line break.
        """
        core = self._core
        tag = core.token()
        request = core.request("INVITE", target, from_.with_tag(tag), to)
        for address in route:
            request.headers.add("Route", str(address))
        # RFC 3261 8.1.1.8: who is called by a sips URI, or through one, gets one.
        secure = request.uri.startswith("sips:") or any(each.uri.scheme == "sips" for each in request.routes[:1])
        request.headers.add("Contact", core.contact(flow, from_.uri.user, secure=secure))
        own = tuple(headers)
        for name, value in own:
            request.headers.add(name, value)
        if sdp is not None:
            request.headers.add("Content-Type", ACCEPT)
            request.body = sdp
        digest = DigestClient(credentials, core.random) if credentials is not None else None
        session = OutgoingSession(core, request, flow, tag, digest, now, trail, respond_within)
        session.asked = InviteOptions(from_, to, own, credentials)
        return session

    def follow(
        self,
        session: OutgoingSession,
        now: float,
        *,
        allow: Callable[[Uri], bool] = lambda uri: True,
        flow: Flow | None = None,
        sdp: bytes | None = None,
    ) -> OutgoingSession | None:
        """Call the next address that ``session``, which has ended, was redirected to; ``None`` if there is none.

        Use it on :class:`Redirected`, and again when the session that it gives is refused. ``allow`` says which
        addresses may be called; ``flow`` is how, if not straight to the address; ``sdp`` replaces the offer.
        Credentials are not shown to another host than that of the first address.
        """
        if not session.ended or session.asked is None:
            return None
        uri = session.trail.next()
        while uri is not None and not allow(uri):
            uri = session.trail.next()
        if uri is None:
            return None
        asked, routes = session.asked, session.request.routes
        same = same_host(uri.host, session.trail.first.host)
        return self.invite(
            uri,
            from_=asked.from_,
            to=asked.to,
            sdp=sdp if sdp is not None else session.request.body or None,
            flow=flow or (session.flow if routes else towards(uri, session.flow)),
            now=now,
            headers=asked.headers,
            credentials=asked.credentials if same else None,
            route=routes,
            trail=session.trail,
        )

    def session_of(self, replaces: Replaces) -> Session | None:
        """The session in which the peer sees itself as it says there (RFC 3891 section 3); ``None``: it is not ours."""
        session = self._core.sessions.get((replaces.call_id, replaces.to_tag))
        return session if session is not None and session.has_peer(replaces.from_tag) else None

    def options(
        self, target: Uri | str, *, from_: Address, flow: Flow, now: float, route: Iterable[Address] = ()
    ) -> None:
        """Ask whether ``target`` is there: :class:`OptionsAnswered`. Raises ValueError if it is no URI."""
        text = str(target)
        request = self._core.request("OPTIONS", target, from_.with_tag(self._core.token()), Address(Uri.parse(text)))
        for address in route:
            request.headers.add("Route", str(address))
        request.headers.add("Accept", ACCEPT)

        def answered(status: int, response: Response | None, now: float) -> None:
            self._core.emit(OptionsAnswered(text, status))

        Exchange(self._core, request, flow, digest=None, next_cseq=lambda: 2, on_final=answered, now=now)

    def register(self, config: RegistrationConfig, now: float) -> Registration:
        """Register with a trunk and stay registered: :class:`RegistrationChanged`."""
        return Registration(self._core, config, now)

    def resume_bye(self, saved: SavedDialog, reason: str, now: float, credentials: Credentials | None = None) -> None:
        """Hang up in a dialog of a former run: :class:`ByeFinished`. Raises ValueError if it is damaged."""
        core = self._core
        dialog = Dialog.restore(saved)
        request = dialog.request("BYE", dialog.next_cseq())
        if reason:
            request.headers.add("Reason", write_reason(reason))

        def answered(status: int, response: Response | None, now: float) -> None:
            core.emit(ByeFinished(saved.call_id, status))

        digest = DigestClient(credentials, core.random) if credentials is not None else None
        Exchange(
            core, request, dialog.next_hop(), digest=digest, next_cseq=dialog.next_cseq, on_final=answered, now=now
        )
