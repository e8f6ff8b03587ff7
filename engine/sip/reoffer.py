"""Changing a session: re-INVITEs and UPDATEs of the peer, re-INVITEs of ours, their glare (RFC 3261 14, 3311)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.sip.ack import Acknowledger
from engine.sip.body import UnsupportedBody, readable_description, session_description
from engine.sip.core import ACCEPT, ALLOW
from engine.sip.events import ReofferAnswered, Reoffered, ReofferRefused
from engine.sip.message import Request, Response
from engine.sip.timers import Timer
from engine.sip.transaction import InviteServer, ServerTransaction

if TYPE_CHECKING:
    from engine.sip.session import Session


PATIENCE = 60.0
"""Seconds from the first provisional response to a re-INVITE, which ends timer B, to our CANCEL."""


class OurOffer:
    """One re-INVITE of ours: the request, what it offered, and the ACK for its 2xx."""

    __slots__ = ("_accepted", "_core", "_patience", "_reoffers", "acknowledger", "exchange", "sdp")

    def __init__(self, reoffers: Reoffers, session: Session, sdp: bytes | None, now: float) -> None:
        headers = [("Allow", ALLOW)]
        if sdp is not None:
            headers.append(("Content-Type", ACCEPT))
        self._core = session.core
        self._reoffers = reoffers
        self._accepted = False
        self._patience: Timer | None = None
        self.sdp = sdp
        self.acknowledger = Acknowledger(session.core, session.dialog)
        self.exchange = session.ask(
            "INVITE", self._answered, now, headers=headers, body=sdp or b"", on_provisional=self._progressed
        )

    def acknowledge(self, sdp: bytes | None) -> None:
        self.acknowledger.send(self.exchange.request, sdp)

    def abandon(self) -> None:
        self._core.queue.cancel(self._patience)
        self.exchange.abandon()

    def _answered(self, status: int, response: Response | None, now: float) -> None:
        self._core.queue.cancel(self._patience)
        if response is None or status >= 300:
            self._reoffers.refused(self, status, response, now)
        elif self.acknowledger.sent:
            self.acknowledger.repeat()
        elif self._accepted:
            self._core.counters.retransmissions_received += 1  # its ACK waits for our answer
        else:
            self._accepted = True
            self._reoffers.accepted(self, response, now)

    def _progressed(self, response: Response, now: float) -> None:
        if self._patience is None:
            self._patience = self._core.queue.at(now + PATIENCE, self._out_of_patience)

    def _out_of_patience(self, now: float) -> None:
        if self.exchange.transaction.state != "proceeding":
            self._patience = None  # challenged meanwhile: timer B runs again
            return
        self.exchange.cancel(now, "the re-INVITE was not answered")
        # 9.1: without a final response within 64*T1 the INVITE counts as cancelled.
        self._patience = self._core.queue.at(now + self._core.timing.transaction, self._unanswered)

    def _unanswered(self, now: float) -> None:
        self.exchange.abandon()
        self._reoffers.refused(self, 408, None, now)


class Reoffers:
    """The offers after the first, of one session: at most one of each side at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._theirs: ServerTransaction | None = None
        self._ours: OurOffer | None = None
        self._wanted: list[bytes | None] = []
        """The offer to be made next; ``None`` in it asks the peer for one."""
        self._retry: Timer | None = None

    # --- the peer's offers ------------------------------------------------------------------

    def receive(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """A re-INVITE or UPDATE within the dialog, in order."""
        session = self._session
        try:
            sdp = session_description(request)
        except UnsupportedBody:
            session.respond(transaction, request, 415, now, headers=(("Accept", ACCEPT),))
            return
        if session.ended:
            session.respond(transaction, request, 481, now)
            return
        if request.method == "UPDATE" and sdp is None:
            session.dialog.retarget(request)
            session.respond(transaction, request, 200, now, headers=(("Contact", session.contact()),))
            return
        status = self._refusal()
        if status:
            # 14.2 and RFC 3311 5.2: the peer may try again in 0 to 10 s if it asked twice at once.
            again = (("Retry-After", str(session.core.random.randint(0, 10))),) if status == 500 else ()
            session.respond(transaction, request, status, now, headers=again)
            return
        self._theirs = transaction
        if isinstance(transaction, InviteServer):
            transaction.user = self
        session.core.emit(Reoffered(session, sdp))

    def _refusal(self) -> int:
        """Why an offer of the peer cannot be taken now: 491 if one of ours is under way, 500 if one of theirs."""
        session = self._session
        if self._theirs is not None:
            return 500
        if session.state in {"inviting", "early"} and not session.negotiated:
            return 491 if session.role == "uac" else 500
        if self._ours is not None or not session.acknowledged or session.owes_ack:
            return 491
        return 0

    def answer(self, sdp: bytes, now: float) -> bool:
        transaction, self._theirs = self._theirs, None
        if transaction is None:
            return False
        session, request = self._session, transaction.request
        session.dialog.retarget(request)
        headers = (("Contact", session.contact()), ("Allow", ALLOW))
        session.respond(transaction, request, 200, now, headers=headers, sdp=sdp)
        if isinstance(transaction, InviteServer):
            session.await_ack(transaction, request, now)
        self.proceed(now)
        return True

    def reject(self, status: int, now: float) -> None:
        transaction, self._theirs = self._theirs, None
        if transaction is not None:
            self._session.respond(transaction, transaction.request, status, now)
            self.proceed(now)

    def on_cancel(self, cancel: Request, now: float) -> None:
        """The peer takes its re-INVITE back."""
        self.reject(487, now)

    def on_unacknowledged(self, now: float) -> None:
        """A refused re-INVITE was not acknowledged: nothing has changed."""

    # --- our offers -------------------------------------------------------------------------

    def send(self, sdp: bytes | None, now: float) -> None:
        self._wanted = [sdp]
        self.proceed(now)

    def proceed(self, now: float) -> None:
        """Make the offer that is wanted, if nothing is in its way any more."""
        session = self._session
        if not self._wanted or session.ended or self._retry is not None or self._ours is not None:
            return
        if self._theirs is not None or not session.acknowledged or session.owes_ack:
            return
        self._ours = OurOffer(self, session, self._wanted.pop(), now)

    def acknowledge(self, sdp: bytes, now: float) -> None:
        """Answer the offer in the 2xx to our offerless re-INVITE."""
        if self._ours is not None and self._ours.exchange.final:
            self._ours.acknowledge(sdp)
            self._ours = None
            self.proceed(now)

    def accepted(self, offer: OurOffer, response: Response, now: float) -> None:
        """The first 2xx to a re-INVITE of ours."""
        session = self._session
        session.dialog.retarget(response)
        sdp = readable_description(response)
        if offer.sdp is None and sdp is not None and not session.ended:
            session.core.emit(ReofferAnswered(session, sdp))  # an offer: the ACK waits for its answer
            return
        offer.acknowledge(None)
        self._ours = None
        if not session.ended:
            session.core.emit(ReofferAnswered(session, sdp))
        self.proceed(now)

    def refused(self, offer: OurOffer, status: int, response: Response | None, now: float) -> None:
        session = self._session
        self._ours = None
        if session.ended:
            return
        if status == 491:
            self._glare(offer.sdp, now)
            return
        session.core.emit(ReofferRefused(session, status, response.reason if response is not None else "no answer"))
        if status in {408, 481}:
            session.lose_dialog(status, now)
        self.proceed(now)

    def _glare(self, sdp: bytes | None, now: float) -> None:
        """Both sides offered at once: who made the Call-ID waits longer (14.1). In units of 10 ms."""
        units = (210, 400) if self._session.role == "uac" else (0, 200)
        delay = self._session.core.random.randint(*units) / 100
        if not self._wanted:
            self._wanted = [sdp]
        self._retry = self._session.core.queue.at(now + delay, self._try_again)

    def _try_again(self, now: float) -> None:
        self._retry = None
        self.proceed(now)

    # --- the end ----------------------------------------------------------------------------

    def stop(self, now: float) -> None:
        """The session has ended: no offer is made or taken any more."""
        self._wanted.clear()
        self._session.core.queue.cancel(self._retry)
        self._retry = None
        self.reject(487, now)
        if self._ours is not None and self._ours.exchange.final:
            self._ours.acknowledge(None)  # an offer that nobody will answer
            self._ours = None

    def abandon(self) -> None:
        """The dialog is gone."""
        if self._ours is not None:
            self._ours.abandon()
            self._ours = None
