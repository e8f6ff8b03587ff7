"""An INVITE of ours: RFC 3261 13.2, forks and CANCEL included."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from engine.sip.ack import Acknowledger
from engine.sip.body import readable_description
from engine.sip.core import ACCEPT, ALLOW, SUPPORTED, Core
from engine.sip.dialog import Dialog
from engine.sip.digest import Credentials, DigestClient
from engine.sip.early import MAX_FORKS, EarlyDialog, EarlyDialogs
from engine.sip.events import Answered, EndedBy, Progressed, Redirected, Refused
from engine.sip.exchange import Exchange, Silence, nobody_waits
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.reason import read_reason
from engine.sip.redirect import Trail, redirected_to
from engine.sip.reliable import RAck, read_rseq
from engine.sip.session import Session
from engine.sip.timers import Timer
from engine.sip.transaction import ServerTransaction
from engine.sip.uri import Address


@dataclass(frozen=True, slots=True)
class InviteOptions:
    """What the INVITE was made of, for another one after it."""

    from_: Address
    to: Address
    headers: tuple[tuple[str, str], ...]
    credentials: Credentials | None


class OutgoingSession(Session):
    """The calling side. The first 2xx makes the dialog; those of other forks get ACK and BYE (13.2.2.4)."""

    role = "uac"
    trail: Trail

    def __init__(
        self,
        core: Core,
        request: Request,
        flow: Flow,
        local_tag: str,
        digest: DigestClient | None,
        now: float,
        trail: Trail | None = None,
        respond_within: float = 0.0,
    ) -> None:
        super().__init__(core, request, flow, local_tag, digest)
        self.trail = trail or Trail(request.ruri)
        """Where the call was redirected to; sessions that follow each other share it."""
        self.asked: InviteOptions | None = None
        self._contact = request.headers.get("Contact") or ""
        self._offered = bool(request.body)
        self._early = EarlyDialogs()
        self._forks: dict[str, Acknowledger] = {}
        """Acknowledged 2xx by the tag of the peer that sent them."""
        self._cancel_reason: str | None = None
        self._cancelled = False
        self._patience: Timer | None = None
        request.headers.add("Allow", ALLOW)
        request.headers.add("Supported", SUPPORTED)
        for name, value in self.timer.wishes():
            request.headers.add(name, value)
        self.local_sdp = request.body or None
        self._exchange = Exchange(
            core,
            request,
            flow,
            digest=digest,
            next_cseq=count(request.cseq.number + 1).__next__,
            on_final=self._answered,
            on_provisional=self._progressed,
            silence=Silence(respond_within, self._unheard) if respond_within else None,
            now=now,
        )

    def contact(self) -> str:
        return self._contact

    @property
    def owes_ack(self) -> bool:
        return self.state == "answered"

    def has_peer(self, tag: str) -> bool:
        return super().has_peer(tag) or (self.state == "early" and self._early.find(tag) is not None)

    def cancel(self, now: float, reason: str = "") -> None:
        """Give up before the answer; after it, hang up. Nothing happens if the session has ended."""
        if self._ended:
            return
        if self.state in {"answered", "confirmed"}:
            self.bye(now, reason)
            return
        self._finish("local", 487, reason, now)
        self._withdraw(now, reason)

    def terminate(self, now: float, reason: str = "") -> None:
        """CANCEL or BYE, as the state asks for."""
        self.cancel(now, reason)

    def acknowledge(self, sdp: bytes, now: float) -> None:
        """Answer the offer that came with :class:`Answered` or :class:`ReofferAnswered`."""
        if self.state != "answered":
            super().acknowledge(sdp, now)
            return
        self.state = "confirmed"
        self.local_sdp = sdp
        self._acknowledge(self.dialog, sdp)
        self._reoffers.proceed(now)

    def answer_progress(self, sdp: bytes, now: float, tag: str = "") -> bool:
        """Answer the offer of :class:`Progressed` in its PRACK; whether there was one that waits for it.

        ``tag`` is that of the event, for an INVITE that was forked.
        """
        early = self._early.find(tag) if tag else self._early.first()
        if self._ended or early is None or early.unanswered is None:
            return False
        rack, early.unanswered = early.unanswered, None
        self.local_sdp = sdp
        self._prack(early, rack, sdp, now)
        return True

    # --- responses --------------------------------------------------------------------------

    def _progressed(self, response: Response, now: float) -> None:
        if self._cancel_reason is not None:
            self._send_cancel(now)
        if self._ended or response.status == 100:
            return
        tag = response.to.tag
        early = self._early.of(response, self._dialog_of) if tag else None
        if early is None and tag:
            self.core.counters.dropped += 1
            return
        rack = None
        if early is not None:
            if read_rseq(response) is not None and (rack := early.take(response)) is None:
                self.core.counters.retransmissions_received += 1
                return
            if self._dialog is None:
                self._use(early.dialog)
        self.state = "early"
        self._report(response, early, rack, now)
        if response.status == 199:
            self._forget(tag)

    def _report(self, response: Response, early: EarlyDialog | None, rack: RAck | None, now: float) -> None:
        """Tell of a provisional response, and acknowledge it if it wants that."""
        sdp = readable_description(response)
        self.note_allow(response)
        self.remote_sdp = sdp or self.remote_sdp
        reliable = early is not None and rack is not None
        offered = reliable and sdp is not None and not self._offered and early is not None and not early.answered
        if early is not None and rack is not None:
            early.answered = early.answered or sdp is not None
            early.sdp = early.sdp or sdp
            if offered:
                early.unanswered = rack  # RFC 3262 5: the PRACK carries our answer
            else:
                self._prack(early, rack, None, now)
        what = (response.status, response.reason, sdp)
        self.core.emit(Progressed(self, *what, tag=response.to.tag, reliable=reliable, offered=offered))

    def _prack(self, early: EarlyDialog, rack: RAck, sdp: bytes | None, now: float) -> None:
        headers = [("RAck", str(rack))]
        if sdp is not None:
            headers.append(("Content-Type", ACCEPT))
        self.ask("PRACK", nobody_waits, now, headers=headers, body=sdp or b"", dialog=early.dialog)
        if early.dialog is self._dialog:
            self.negotiated = early.answered

    def _forget(self, tag: str) -> None:
        """An early dialog is over; another one, if there is one, takes its place."""
        early = self._early.find(tag)
        self._early.drop(tag)
        other = self._early.first()
        if early is not None and other is not None and early.dialog is self._dialog:
            self._reoffers.abandon()
            self._use(other.dialog)
            self.negotiated = other.answered and other.unanswered is None

    def _answered(self, status: int, response: Response | None, now: float) -> None:
        if response is None or status >= 300:
            self._refused(status, response, now)
            return
        tag = response.to.tag
        known = self._forks.get(tag)
        if known is not None:
            known.repeat()
        elif self.state in {"inviting", "early"}:
            self._accepted(response, now)
        elif self._dialog is not None and tag == self._dialog.remote_tag and self.state == "answered":
            self.core.counters.retransmissions_received += 1  # its ACK waits for our answer
        elif not self._bye and self._cancel_reason is not None:
            self._too_late(response, now)
        else:
            self._decline(response, now)

    def _accepted(self, response: Response, now: float) -> None:
        self._stop_waiting()
        self._confirm(response)
        self.note_allow(response)
        sdp = readable_description(response)
        self.remote_sdp = sdp or self.remote_sdp
        if not self._offered and self.negotiated:
            sdp = None  # the offer came early and has its answer: this repeats it at most
        early = self._early.find(response.to.tag)
        if sdp is None and self._offered and self.negotiated and early is not None:
            # The answer came with a reliable response, and is still the last word if no UPDATE followed it.
            sdp = early.sdp if self.local_sdp == self.request.body else None
        if self._offered or sdp is None:
            self.state = "confirmed"
            self._acknowledge(self.dialog, None)
        else:
            self.state = "answered"
        self.core.emit(Answered(self, sdp, tag=response.to.tag))
        self.timer.accepted(response, now)

    def _confirm(self, response: Response) -> None:
        """The dialog of a 2xx: its route set and target are new (13.2.2.4), its sequence goes on (12.2.1.1, 12.2.2)."""
        dialog, early = self._dialog_of(response), self._early.find(response.to.tag)
        if early is not None:
            dialog.local_seq = max(dialog.local_seq, early.dialog.local_seq)
            dialog.remote_seq = early.dialog.remote_seq
        self.negotiated = early is not None and early.answered and early.unanswered is None
        if self._dialog is not None and self._dialog.remote_tag != dialog.remote_tag:
            self._reoffers.abandon()  # what was asked of another phone
        self._use(dialog)

    def _refused(self, status: int, response: Response | None, now: float) -> None:
        self._stop_waiting()
        if status == 422 and response is not None and not self._ended and self.timer.raised(response):
            self._early = EarlyDialogs()
            self._exchange.again(self.timer.wishes(), now)  # RFC 4028 7.3
            return
        reason, q850 = "no answer" if status == 408 else "cannot be reached", None
        if response is not None:
            q850 = read_reason(response.headers).q850
            reason = response.reason
        if response is not None and status < 400 and not self._ended:
            contacts = redirected_to(response)
            self.trail.redirected(contacts)
            self.core.emit(Redirected(self, status, reason, contacts))
        if not self._ended:
            self.core.emit(Refused(self, status, reason, q850))
        by: EndedBy = "remote" if response is not None else "timeout" if status == 408 else "transport"
        self._finish(by, status, reason, now, q850)
        self._close()

    def _too_late(self, response: Response, now: float) -> None:
        """A 2xx crossed our CANCEL: the call is up, and has to be hung up (9.1)."""
        self._stop_waiting()
        self._confirm(response)
        self._acknowledge(self.dialog, None)
        self._leave(now, self._cancel_reason or "")

    def _decline(self, response: Response, now: float) -> None:
        """Another fork answered too."""
        if len(self._forks) >= MAX_FORKS:
            self.core.counters.dropped += 1
            return
        dialog = self._dialog_of(response)
        self._acknowledge(dialog, None)
        Exchange(
            self.core,
            dialog.request("BYE", dialog.next_cseq()),
            dialog.next_hop(),
            digest=self.digest,
            next_cseq=dialog.next_cseq,
            on_final=nobody_waits,
            now=now,
        )

    def _dialog_of(self, response: Response) -> Dialog:
        return Dialog.of_client(self._exchange.request, response, self._exchange.transaction.flow)

    def _acknowledge(self, dialog: Dialog, sdp: bytes | None) -> None:
        acknowledger = Acknowledger(self.core, dialog)
        self._forks[dialog.remote_tag] = acknowledger
        acknowledger.send(self._exchange.request, sdp)

    # --- requests of phones that have not won -------------------------------------------------

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Those of early dialogs other than the first are few: UPDATEs, and none of them may offer anything."""
        early = self._early.find(request.from_.tag)
        if early is None or self.state != "early" or early.dialog is self._dialog:
            super().on_request(request, transaction, now)
        elif not early.dialog.in_order(request):
            self.respond(transaction, request, 500, now, reason="CSeq Out Of Order")
        elif request.method in {"UPDATE", "INFO", "OPTIONS"} and not request.body:
            if request.method == "UPDATE":
                early.dialog.retarget(request)
            self.respond(transaction, request, 200, now, headers=(("Contact", self.contact()),))
        elif request.method == "BYE":
            self.respond(transaction, request, 200, now)
            self._forget(request.from_.tag)
        else:
            self.respond(transaction, request, 488, now)

    # --- giving up --------------------------------------------------------------------------

    def _unheard(self, now: float) -> None:
        """No response came in time. It is given up, and cancelled if one comes later (9.1)."""
        reason = "no response in time"
        self.core.emit(Refused(self, 408, reason, None))
        self._finish("timeout", 408, reason, now)
        self._withdraw(now, reason)

    def _leave(self, now: float, reason: str) -> None:
        if self._dialog is not None and self._dialog.remote_tag not in self._forks:
            self._acknowledge(self._dialog, None)  # an offer that nobody will answer
        super()._leave(now, reason)

    def _abort_invite(self, now: float) -> None:
        if self.state in {"inviting", "early"}:
            self._withdraw(now, "")
        elif self.state == "answered":
            self._acknowledge(self.dialog, None)

    def _withdraw(self, now: float, reason: str) -> None:
        self._cancel_reason = reason
        self._exchange.forgo_credentials()
        if self._exchange.transaction.state == "proceeding":
            self._send_cancel(now)  # otherwise after the first provisional response (9.1)

    def _send_cancel(self, now: float) -> None:
        if self._cancelled:
            return
        self._cancelled = True
        self._exchange.cancel(now, self._cancel_reason or "")
        # 9.1: without a final response within 64*T1 the INVITE counts as cancelled.
        self._patience = self.core.queue.at(now + self.core.timing.transaction, self._out_of_patience)

    def _out_of_patience(self, now: float) -> None:
        self._exchange.abandon()
        self._close()

    def _stop_waiting(self) -> None:
        self.core.queue.cancel(self._patience)

    def _close(self) -> None:
        if self._cancel_reason is not None and self._exchange.transaction.unanswered:
            return  # until the cancelled INVITE has its final response
        super()._close()
