"""An INVITE from a peer: RFC 3261 13.3."""

from __future__ import annotations

from collections.abc import Iterable

from engine.sip.ack import AckWait
from engine.sip.body import UnsupportedBody, readable_description, session_description
from engine.sip.core import ACCEPT, ALLOW, SUPPORTED, Core
from engine.sip.dialog import Dialog
from engine.sip.events import ProgressAcknowledged
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.reason import read_reason
from engine.sip.reliable import ReliableResponses
from engine.sip.session import Session
from engine.sip.timers import Timer
from engine.sip.transaction import InviteServer, ServerTransaction

KEEP_RINGING = 60.0
"""Seconds between provisional responses: proxies give up after three minutes without (13.3.1.1)."""

Headers = Iterable[tuple[str, str]]


class IncomingSession(Session):
    """The called side. Every method that answers does nothing once the caller has given up."""

    role = "uas"

    def __init__(
        self, core: Core, transaction: InviteServer, flow: Flow, now: float, replaces: Session | None = None
    ) -> None:
        request = transaction.request
        super().__init__(core, request, flow, core.token())
        self._transaction = transaction
        transaction.user = self
        transaction.to_tag = self.local_tag
        self._use(Dialog.of_server(request, self.local_tag, flow))
        self._keep_ringing: Timer | None = None
        self._last = (0, False)
        """The last provisional response: its status, and whether it was sent reliably."""
        self._expiry: Timer | None = None
        # RFC 3261 12.1.1: sips by the Request-URI, by the top Record-Route, and without that by the Contact.
        first = request.record_routes[:1] or request.contacts[:1]
        secure = any(uri.scheme == "sips" for uri in (request.ruri, *(each.uri for each in first)))
        self._contact = core.contact(flow, request.ruri.user, secure=secure)
        self.offer = readable_description(request)
        """The SDP of the INVITE; ``None`` asks us for one."""
        self._reliable: ReliableResponses | None = None
        """Made when the first provisional response is sent."""
        self._held: tuple[bytes, tuple[tuple[str, str], ...]] | None = None
        """The answer, if it waits for a PRACK."""
        self.remote_sdp = self.offer
        self.replaces = replaces
        """The session that this one is to replace, if its caller may do that (RFC 3891)."""
        self.note_allow(request)
        if request.expires:
            self._expiry = core.queue.at(now + request.expires, self._expired)  # 13.3.1

    def contact(self) -> str:
        return self._contact

    @property
    def _open(self) -> bool:
        """Whether the INVITE has no final response yet."""
        return self.state in {"inviting", "early"}

    def trying(self, now: float) -> None:
        """Send 100: the caller is admitted, and the answer may take more than 200 ms (17.2.1)."""
        if self.state == "inviting":
            self._transaction.respond(self.core.response(self.request, 100), now)

    def ringing(self, now: float, status: int = 180, sdp: bytes | None = None) -> None:
        """Send a provisional response, 101 to 199; it is repeated every minute until the final one.

        It is sent reliably (RFC 3262) if the caller demands that, or can do it and there is ``sdp`` to be lost.
        """
        if not self._open or self._held is not None:
            return
        self.state = "early"
        self.local_sdp = sdp or self.local_sdp
        if self._reliable is None:
            self._reliable = ReliableResponses(self.core, self._transaction, self._respond, self._not_acknowledged)
        reliable = self._reliable.required or (self._reliable.possible and sdp is not None)
        if reliable:
            self._reliable.send(status, sdp, now)
        else:
            self._respond(status, now, sdp=sdp)
        self._last = (status, reliable)
        self.core.queue.cancel(self._keep_ringing)
        self._keep_ringing = self.core.queue.at(now + KEEP_RINGING, self._ring_on)

    def progress(self, now: float, sdp: bytes) -> None:
        """Send 183 with early media."""
        self.ringing(now, 183, sdp)

    def accept(self, sdp: bytes, now: float, headers: Headers = ()) -> bool:
        """Answer the call with 200; whether the caller was still there.

        The 200 waits as long as early media that was sent reliably has no PRACK (RFC 3262 3). Once it has, offer and
        answer are exchanged, and ``sdp`` is left out.
        """
        if not self._open or self._held is not None:
            return False
        if self._reliable is not None and self._reliable.blocks_answer:
            self._held = sdp, tuple(headers)
        else:
            self._accept(sdp, tuple(headers), now)
        return True

    def _accept(self, sdp: bytes, headers: tuple[tuple[str, str], ...], now: float) -> None:
        self.state = "answered"
        self._stop_timers()
        if not self.negotiated:
            self.local_sdp = sdp
        fixed = (("Allow", ALLOW), ("Supported", SUPPORTED), *self.timer.agree(self.request, now))
        self._respond(200, now, headers=(*fixed, *headers), sdp=None if self.negotiated else sdp)
        cseq = self.request.cseq.number
        self._ack_wait = AckWait(self.core, self._transaction, cseq, now, self._unacknowledged, initial=True)

    def reject(self, status: int, now: float, reason: str | None = None, headers: Headers = ()) -> None:
        """Refuse the call with ``status``, 300 to 699."""
        if not self._open:
            return
        self._refuse(status, now, reason, headers)
        self._finish("local", status, reason or "", now)
        self._close()

    def challenge(self, now: float, headers: Headers) -> None:
        """Ask a caller for credentials with 401; like :meth:`refuse_unauthorised`, but no sign of abuse."""
        if self._open:
            self._turn_away(401, now, headers)

    def refuse_unauthorised(self, status: int, now: float, headers: Headers = ()) -> None:
        """Refuse a caller who may not call; one who keeps trying gets no answer any more."""
        if self._open:
            self.core.counters.unauthorised += 1
            self._turn_away(status, now, headers)

    def _turn_away(self, status: int, now: float, headers: Headers) -> None:
        """Refuse once and forget (26.3.2.4): a forged source must not be flooded with retransmissions."""
        core = self.core
        if core.guard.allow(self.flow.remote[0], now):
            tag = core.stateless_tag(self.request) if self.state == "inviting" else self.local_tag
            response = core.response(self.request, status, to_tag=tag, headers=headers)
            core.transmit(self._transaction.flow, response.encode())
        else:
            core.counters.rate_limited += 1
        self._stop_timers()
        self._transaction.abandon()
        self._finish("local", status, "", now)
        self._close()

    def terminate(self, now: float, reason: str = "", status: int = 480) -> None:
        """Refuse with ``status`` if the call was not answered, otherwise hang up."""
        if self._open:
            self.reject(status, now, reason or None)
        else:
            self.bye(now, reason)

    # --- what comes in ----------------------------------------------------------------------

    def on_cancel(self, cancel: Request, now: float) -> None:
        """The caller gave up before we answered (9.2)."""
        if not self._open:
            return
        q850, text = read_reason(cancel.headers)
        self._refuse(487, now)
        self._finish("remote", 487, text or "cancelled", now, q850)
        self._close()

    def on_unacknowledged(self, now: float) -> None:
        """Our refusal was not acknowledged; the session has ended with the refusal."""

    def _on_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """RFC 3262 3 and 5: our offer is answered here, or the caller makes another one."""
        try:
            sdp = session_description(request)
        except UnsupportedBody:
            self.respond(transaction, request, 415, now, headers=(("Accept", ACCEPT),))
            return
        reliable = self._reliable
        if reliable is None or not reliable.acknowledged(request):
            self.respond(transaction, request, 481, now)
            return
        described = reliable.carried_sdp
        answers = described and self.offer is None and not self.negotiated
        if described and (sdp is not None or self.offer is not None):
            self.negotiated = True
        if answers:
            self.remote_sdp = sdp or self.remote_sdp
        offers = sdp is not None and not answers
        if not offers:
            self.respond(transaction, request, 200, now)
        if not self._ended:  # Ended is the last event of a session
            self.core.emit(ProgressAcknowledged(self, None if offers else sdp))
        if offers:
            self._reoffers.receive(request, transaction, now)
        if not self._open:
            return
        reliable.proceed(now)
        if self._held is not None and not reliable.blocks_answer:
            (answer, headers), self._held = self._held, None
            self._accept(answer, headers, now)

    def _not_acknowledged(self, now: float) -> None:
        """No PRACK for 64*T1: the call is refused (RFC 3262 3)."""
        if self._open:
            self._refuse(504, now)
            self._finish("timeout", 504, "a provisional response was not acknowledged", now)
            self._close()

    def _abort_invite(self, now: float) -> None:
        if self._open:
            self._refuse(487, now)

    # --- within -----------------------------------------------------------------------------

    def _respond(
        self, status: int, now: float, reason: str | None = None, *, headers: Headers = (), sdp: bytes | None = None
    ) -> Response:
        contact = (("Contact", self.contact()),) if status < 300 else ()
        headers = (*contact, *headers)
        return self.respond(self._transaction, self.request, status, now, reason=reason, headers=headers, sdp=sdp)

    def _refuse(self, status: int, now: float, reason: str | None = None, headers: Headers = ()) -> None:
        self._stop_timers()
        self._respond(status, now, reason, headers=headers)

    def _ring_on(self, now: float) -> None:
        status, reliable = self._last
        if reliable and self._reliable is not None and self._reliable.required:
            self._reliable.send(status, None, now)
        elif reliable:
            self._respond(status, now)  # what the caller has seen of its SDP needs no repeating
        else:
            self._transaction.resend()
        self._keep_ringing = self.core.queue.at(now + KEEP_RINGING, self._ring_on)

    def _expired(self, now: float) -> None:
        self._refuse(487, now)
        self._finish("timeout", 487, "the INVITE expired", now)
        self._close()

    def _stop_timers(self) -> None:
        if self._reliable is not None:
            self._reliable.stop()
        self.core.queue.cancel(self._keep_ringing)
        self.core.queue.cancel(self._expiry)
