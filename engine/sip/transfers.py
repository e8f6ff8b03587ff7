"""The REFERs of one session, of both sides, and the subscriptions that they make (RFC 3515, 4488, 6665)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.sip.events import ReferRequested
from engine.sip.message import Request
from engine.sip.part import Part
from engine.sip.refer import Referral
from engine.sip.referred import LASTS, BadReferral, IncomingReferral
from engine.sip.transaction import ServerTransaction
from engine.sip.uri import Uri

if TYPE_CHECKING:
    from engine.sip.session import Session

MOST_LIVE = 4
"""Transfers that a peer can have under way at once."""
MOST_REFERS = 32
"""REFERs that a peer may send in one call; more are declined."""


class Transfers(Part):
    """Asked for by us (one at a time) and by the peer."""

    __slots__ = ("_received", "_theirs", "ours")

    def __init__(self, session: Session) -> None:
        self.ours: Referral | None = None
        self._theirs: list[IncomingReferral] = []
        self._received = 0
        super().__init__(session)

    @property
    def under_way(self) -> bool:
        """Whether one that we asked for has no outcome yet."""
        return self.ours is not None and not self.ours.decided

    @property
    def live(self) -> bool:
        """Whether a subscription is left, for which the dialog must stay (RFC 6665 4.4.1)."""
        return (self.ours is not None and self.ours.live) or any(each.live for each in self._theirs)

    def refer(self, target: Uri, now: float) -> None:
        if self.ours is not None:
            self.ours.stop()
        self.ours = Referral(self._session, target, now)

    def call_ended(self, now: float) -> None:
        """We have hung up."""
        for each in self._theirs:
            each.call_ended(now)

    def part(self) -> None:
        """Let go of all of them, which have the session: none is live, and the session is over."""
        self.ours = None
        self._theirs.clear()

    # --- what comes in ----------------------------------------------------------------------

    def on_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        session = self._session
        if self.ours is None or not self.ours.live:
            session.respond(transaction, request, 481, now, reason="Subscription Does Not Exist")
            return
        status = self.ours.notified(request, now)
        session.respond(transaction, request, status, now)

    def on_refer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """The peer wants us to call somebody: accepted here, done or not by the user of the core."""
        session = self._session
        status = self._refusal()
        self._theirs = [each for each in self._theirs if each.live]
        try:
            if status:
                raise BadReferral(status, "not now")
            referral = IncomingReferral(session, request, first=self._received == 0)
        except BadReferral as refusal:
            session.core.counters.refers_refused += 1
            session.respond(transaction, request, refusal.status, now)
            return
        self._received += 1
        self._theirs.append(referral)
        headers = [("Contact", session.contact())]
        if not referral.subscribed:
            headers.append(("Refer-Sub", "false"))  # RFC 4488 4
        session.respond(transaction, request, 202, now, headers=headers)
        session.core.emit(ReferRequested(session, referral))
        referral.begin(now)

    def _refusal(self) -> int:
        """Why a REFER cannot be taken now, whatever it says; 0 if it can."""
        session = self._session
        if session.ended:
            return 481
        if session.state not in {"answered", "confirmed"}:
            return 491
        if self._received >= MOST_REFERS:
            return 603
        return 491 if sum(each.live for each in self._theirs) >= MOST_LIVE else 0

    def on_subscribe(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Renews or ends the subscription of a REFER; within a call there are no others."""
        session = self._session
        package, _, params = (request.headers.get("Event") or "").partition(";")
        if package.strip().lower() != "refer":
            session.respond(transaction, request, 489, now, headers=(("Allow-Events", "refer"),))
            return
        named = (param.partition("=") for param in params.split(";"))
        number = next((value.strip() for name, _, value in named if name.strip().lower() == "id"), "")
        found = [each for each in self._theirs if each.live and number in {"", str(each.id)}]
        if not found:
            session.respond(transaction, request, 481, now, reason="Subscription Does Not Exist")
            return
        seconds = request.expires if request.expires is not None else 60
        headers = (("Contact", session.contact()), ("Expires", str(min(seconds, LASTS))))
        session.respond(transaction, request, 200, now, headers=headers)
        found[0].renew(seconds, now)
