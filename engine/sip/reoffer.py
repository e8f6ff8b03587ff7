"""Changing a session: re-INVITEs and UPDATEs of the peer, re-INVITEs of ours, their glare (RFC 3261 14, 3311)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.sip.ack import Acknowledger
from engine.sip.body import UnsupportedBody, readable_description, session_description
from engine.sip.core import ACCEPT, ALLOW, SUPPORTED
from engine.sip.events import ReofferAnswered, Reoffered, ReofferRefused
from engine.sip.headers import read_seconds
from engine.sip.message import Request, Response
from engine.sip.part import Part
from engine.sip.timers import Timer
from engine.sip.transaction import InviteServer, ServerTransaction
from engine.sip.update import OurUpdate

if TYPE_CHECKING:
    from engine.sip.session import Session


PATIENCE = 60.0
"""Seconds from the first provisional response to a re-INVITE, which ends timer B, to our CANCEL."""


MAX_RETRIES = 10
"""How often one offer is put off because it came at the wrong moment."""
LONGEST_DELAY = 10
"""Seconds that a peer can put off an offer (14.1)."""


class Wanted(NamedTuple):
    """An offer to be made; without a description it asks the peer for one."""

    sdp: bytes | None
    method: str
    refresh: bool = False


class OurOffer:
    """One re-INVITE of ours: the request, what it offered, and the ACK for its 2xx."""

    __slots__ = ("_accepted", "_core", "_patience", "_reoffers", "acknowledger", "exchange", "method", "refresh", "sdp")

    def __init__(
        self, reoffers: Reoffers, session: Session, sdp: bytes | None, now: float, *, refresh: bool = False
    ) -> None:
        """``refresh``: nobody asked for it but the session timer."""
        headers = [("Allow", ALLOW), ("Supported", SUPPORTED), *session.timer.wishes()]
        if sdp is not None:
            headers.append(("Content-Type", ACCEPT))
        self._core = session.core
        self._reoffers = reoffers
        self._accepted = False
        self._patience: Timer | None = None
        self.method = "INVITE"
        self.sdp = sdp
        self.refresh = refresh
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


class Reoffers(Part):
    """The offers after the first, of one session: at most one of each side at a time."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._theirs: ServerTransaction | None = None
        self._their_sdp: bytes | None = None
        self._ours: OurOffer | OurUpdate | None = None
        self._sign_of_life: OurUpdate | None = None
        """A refresh without an offer, which is in nobody's way."""
        self._wanted: list[Wanted] = []
        """The offer to be made next."""
        self._retry: Timer | None = None
        self._retries = 0
        """How often the offer under way was put off."""

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
        if brief := session.timer.refusal(request):
            session.respond(transaction, request, 422, now, headers=brief)
            return
        session.note_allow(request)
        if request.method == "UPDATE" and sdp is None and not self._updating:
            session.dialog.retarget(request)
            headers = (("Contact", session.contact()), *self._agree(request, now))
            session.respond(transaction, request, 200, now, headers=headers)
            return
        status = self._refusal()
        if status:
            # 14.2 and RFC 3311 5.2: the peer may try again in 0 to 10 s if it asked twice at once.
            again = (("Retry-After", str(session.core.random.randint(0, 10))),) if status == 500 else ()
            session.respond(transaction, request, status, now, headers=again)
            return
        self._theirs, self._their_sdp = transaction, sdp
        if isinstance(transaction, InviteServer):
            transaction.user = self
        session.core.emit(Reoffered(session, sdp))

    @property
    def _updating(self) -> bool:
        """Whether an UPDATE of the peer has no answer yet: another one gets 500 then (RFC 3311 5.2)."""
        return self._theirs is not None and self._theirs.request.method == "UPDATE"

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

    def _agree(self, request: Request, now: float) -> tuple[tuple[str, str], ...]:
        """What our 2xx says of the session timer. That of an early dialog starts with the 2xx to the INVITE."""
        session = self._session
        if request.method == "PRACK" or session.state in {"inviting", "early"}:
            return ()
        return (("Supported", SUPPORTED), *session.timer.agree(request, now))

    def answer(self, sdp: bytes, now: float) -> bool:
        transaction, self._theirs = self._theirs, None
        if transaction is None:
            return False
        session, request = self._session, transaction.request
        if request.method != "PRACK":
            session.dialog.retarget(request)
        session.local_sdp, session.remote_sdp = sdp, self._their_sdp or session.remote_sdp
        headers = (("Contact", session.contact()), ("Allow", ALLOW), *self._agree(request, now))
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

    def send(self, sdp: bytes | None, now: float, method: str = "INVITE") -> None:
        self._wanted = [Wanted(sdp, method)]
        self.proceed(now)

    def refresh(self, now: float) -> None:
        """Say that we are there, and hear whether the peer is (RFC 4028 7.4). Offers under way do that as well."""
        session = self._session
        if "UPDATE" in session.allows or session.local_sdp is None:
            if self._sign_of_life is None:
                self._sign_of_life = OurUpdate(self, session, None, now, refresh=True)
        elif self._ours is None and not self._wanted:
            self._wanted = [Wanted(session.local_sdp, "INVITE", refresh=True)]
            self.proceed(now)

    def proceed(self, now: float) -> None:
        """Make the offer that is wanted, if nothing is in its way any more."""
        session = self._session
        if not self._wanted or session.ended or self._retry is not None or self._ours is not None:
            return
        if self._theirs is not None or not session.acknowledged or session.owes_ack:
            return
        wanted = self._wanted.pop()
        machine = OurUpdate if wanted.method == "UPDATE" else OurOffer
        self._ours = machine(self, session, wanted.sdp, now, refresh=wanted.refresh)

    def acknowledge(self, sdp: bytes, now: float) -> None:
        """Answer the offer in the 2xx to our offerless re-INVITE."""
        if self._ours is not None and self._ours.exchange.final:
            self._ours.acknowledge(sdp)
            self._ours = None
            self._session.local_sdp = sdp
            self.proceed(now)

    def accepted(self, offer: OurOffer | OurUpdate, response: Response, now: float) -> None:
        """The first 2xx to a re-INVITE or UPDATE of ours."""
        session = self._session
        session.dialog.retarget(response)
        if not session.ended:
            session.note_allow(response)
            if session.state not in {"inviting", "early"}:
                session.timer.accepted(response, now)
        if offer is self._sign_of_life:
            self._sign_of_life = None
            return
        self._retries = 0
        sdp = readable_description(response)
        unchanged = offer.refresh and (sdp is None or sdp == session.remote_sdp)
        session.remote_sdp = sdp or session.remote_sdp
        if offer.sdp is None and sdp is not None and not session.ended:
            session.core.emit(ReofferAnswered(session, sdp))  # an offer: the ACK waits for its answer
            return
        offer.acknowledge(None)
        self._ours = None
        session.local_sdp = offer.sdp or session.local_sdp
        if not session.ended and not unchanged:
            session.core.emit(ReofferAnswered(session, sdp))
        self.proceed(now)

    def refused(self, offer: OurOffer | OurUpdate, status: int, response: Response | None, now: float) -> None:
        session = self._session
        if offer is self._sign_of_life:
            self._sign_of_life = None
        else:
            self._ours = None
        if session.ended:
            return
        if status == 422 and response is not None and session.timer.raised(response):
            self._repeat(offer, now)  # RFC 4028 7.3
            return
        if offer.refresh:
            self._not_refreshed(offer, status, now)
            return
        if delay := self._delay(status, response):
            self._put_off(offer, now + delay)
            return
        self._retries = 0
        session.core.emit(ReofferRefused(session, status, response.reason if response is not None else "no answer"))
        if status in {408, 481}:
            session.lose_dialog(status, now)
        self.proceed(now)

    def _not_refreshed(self, offer: OurOffer | OurUpdate, status: int, now: float) -> None:
        """The timer tries again; a peer that knows no UPDATE after all, at once with a re-INVITE."""
        session = self._session
        if status in {408, 481}:
            session.lose_dialog(status, now)
        elif status in {405, 501} and offer.method == "UPDATE":
            session.disallow("UPDATE")
            if session.local_sdp is not None:
                self.refresh(now)
        self.proceed(now)

    def _repeat(self, offer: OurOffer | OurUpdate, now: float) -> None:
        """Ask the same once more, with what the session timer wishes now."""
        if offer.method == "UPDATE" and offer.sdp is None:
            self._sign_of_life = OurUpdate(self, self._session, None, now, refresh=True)
            return
        if not self._wanted:
            self._wanted = [Wanted(offer.sdp, offer.method, offer.refresh)]
        self.proceed(now)

    def _delay(self, status: int, response: Response | None) -> float:
        """Seconds after which an offer that came at the wrong moment is made again, 0 if it is not.

        491: both sides offered at once, and who made the Call-ID waits longer (14.1, RFC 3311 5.3), in units of 10 ms.
        500 with Retry-After: the peer has an offer of ours before it, or is about to answer one (RFC 3311 5.2).
        """
        random, again = self._session.core.random, response.headers.get("Retry-After") if response is not None else None
        if self._retries >= MAX_RETRIES:
            return 0.0
        if status == 491:
            return max(random.randint(*((210, 400) if self._session.role == "uac" else (0, 200))) / 100, 0.001)
        seconds = read_seconds(again) if status == 500 else None
        return max(float(seconds), 0.1) if seconds is not None and seconds <= LONGEST_DELAY else 0.0

    def _put_off(self, offer: OurOffer | OurUpdate, until: float) -> None:
        self._retries += 1
        if not self._wanted:
            self._wanted = [Wanted(offer.sdp, offer.method)]
        self._retry = self._session.core.queue.at(until, self._try_again)

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
        """The dialog is gone, or another one has taken its place: nothing is to be offered there."""
        self._wanted.clear()
        for offer in (self._ours, self._sign_of_life):
            if offer is not None:
                offer.abandon()
        self._ours = self._sign_of_life = None
