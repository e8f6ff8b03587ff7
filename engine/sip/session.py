"""One INVITE session, in either role: what can be done in a confirmed dialog, and its one end.

The roles are :class:`engine.sip.server.IncomingSession` and :class:`engine.sip.client.OutgoingSession`.
Who ends a session locally is done with it at once: :class:`Ended` is emitted, and what is still to be
said to the peer (a BYE that must wait for its ACK, the ACK and BYE for a 200 that crossed a CANCEL) is
said without anybody waiting for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from engine.sip.ack import AckWait
from engine.sip.body import readable_description
from engine.sip.core import ACCEPT, ALLOW, Core, unsupported
from engine.sip.dialog import Dialog, SavedDialog
from engine.sip.digest import DigestClient
from engine.sip.events import Acknowledged, Ended, EndedBy, InfoReceived
from engine.sip.exchange import Exchange, OnFinal, OnProvisional
from engine.sip.flow import Flow
from engine.sip.message import METHODS, Request, Response
from engine.sip.reason import read_reason, write_reason
from engine.sip.reoffer import Reoffers
from engine.sip.session_timer import SessionTimer
from engine.sip.transaction import InviteServer, ServerTransaction
from engine.sip.transfers import Transfers
from engine.sip.uri import Uri

if TYPE_CHECKING:
    from engine.sip.redirect import Trail

State = Literal["inviting", "early", "answered", "confirmed", "ended"]
"""``inviting``: the INVITE has no response but 100; ``early``: 101 to 199; ``answered``: a 2xx without its ACK."""

INFO_TYPES = frozenset({"application/dtmf-relay", "application/dtmf"})
TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "REFER", "NOTIFY"})
"""Requests within a dialog that carry a Contact."""


class SessionStateError(RuntimeError):
    """The session cannot do this now: a mistake of the caller, not of the peer."""


class Session:
    """One INVITE session. Made by :meth:`Endpoint.invite`, or met in :class:`Invited`."""

    role: Literal["uas", "uac"]
    trail: Trail | None = None
    """Where it was redirected to, if it is one of ours."""

    def __init__(
        self, core: Core, request: Request, flow: Flow, local_tag: str, digest: DigestClient | None = None
    ) -> None:
        self.id = core.next_id()
        self.request = request
        self.flow = flow
        self.call_id = request.call_id
        self.local_tag = local_tag
        self.state: State = "inviting"
        self.core = core
        self.digest = digest
        self.negotiated = False
        """Whether offer and answer were exchanged before the final response, both reliably (RFC 3262 5)."""
        self._allow: list[str] = []
        self.local_sdp: bytes | None = None
        self.remote_sdp: bytes | None = None
        """What each side described last."""
        self.timer = SessionTimer(self)
        self._dialog: Dialog | None = None
        self._ended = False
        self._farewell: str | None = None
        """Reason of a BYE that waits for the ACK (RFC 3261 15)."""
        self._bye: Literal["", "sent", "done"] = ""
        self._ack_wait: AckWait | None = None
        self._transfers = Transfers(self)
        self._reoffers = Reoffers(self)
        core.dialogs[self._key] = core.sessions[self._key] = self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.call_id} {self.state}>"

    # --- what it is -----------------------------------------------------------------------

    @property
    def _key(self) -> tuple[str, str]:
        return self.call_id, self.local_tag

    @property
    def dialog(self) -> Dialog:
        """The dialog. Raises :class:`SessionStateError` before a peer has answered to our INVITE."""
        if self._dialog is None:
            raise SessionStateError("there is no dialog yet")
        return self._dialog

    @property
    def has_dialog(self) -> bool:
        """Whether requests can be sent to the peer: it has answered to the INVITE, or we have."""
        return self._dialog is not None and self.state != "inviting"

    @property
    def remote_target(self) -> Uri:
        return self._dialog.remote_target if self._dialog is not None else self.request.ruri

    @property
    def ended(self) -> bool:
        """Whether :class:`Ended` was emitted."""
        return self._ended

    @property
    def acknowledged(self) -> bool:
        """Whether the INVITE and the last re-INVITE answered by us have their ACK."""
        return self._ack_wait is None

    @property
    def owes_ack(self) -> bool:
        """Whether a 2xx to our INVITE carried an offer that was not answered yet."""
        return False

    def has_peer(self, tag: str) -> bool:
        """Whether the peer, or one of several that an INVITE of ours has reached, has this tag (RFC 3891 3)."""
        return self._dialog is not None and tag in {self._dialog.remote_tag, self._dialog.remote_tag or "0"}

    def save(self) -> SavedDialog:
        """The dialog for the journal. Raises :class:`SessionStateError` when there is none yet."""
        return self.dialog.save()

    def contact(self) -> str:
        """Our Contact in this session."""
        raise NotImplementedError

    # --- what can be done -----------------------------------------------------------------

    def terminate(self, now: float, reason: str = "") -> None:
        """End the session as its state asks for: refuse, CANCEL or BYE. Nothing happens if it has ended."""
        raise NotImplementedError

    def bye(self, now: float, reason: str = "") -> None:
        """Hang up; ``reason`` goes into a Reason header. Nothing happens if the session has ended.

        Before the call was answered this is :meth:`terminate`. A called party's BYE is held back until its
        200 was acknowledged, or was not for 64*T1 (RFC 3261 15).
        """
        if self._ended:
            return
        if self.state not in {"answered", "confirmed"}:
            self.terminate(now, reason)
            return
        self._finish("local", 200, reason, now)
        self._leave(now, reason)

    def info(self, content_type: str, body: bytes, now: float) -> None:
        """Send an INFO, with keys for example. Raises :class:`SessionStateError` before there is a dialog."""
        if self._ended:
            return
        if not self.has_dialog:
            raise SessionStateError("there is no dialog yet")
        self.ask("INFO", self._check_alive, now, body=body, headers=(("Content-Type", content_type),))

    def refer(self, target: str, now: float) -> None:
        """Ask the peer to call ``target``, a URI (RFC 3515): :class:`ReferProgress`, :class:`ReferRefused`.

        Raises ValueError if ``target`` is no URI, :class:`SessionStateError` if a transfer is under way.
        """
        uri = Uri.parse(target)
        if self._ended:
            return
        if not self.has_dialog:
            raise SessionStateError("there is no dialog yet")
        if self.transferring:
            raise SessionStateError("a transfer is under way")
        self._transfers.refer(uri, now)

    @property
    def transferring(self) -> bool:
        """Whether a transfer that we asked for has no outcome yet."""
        return self._transfers.under_way

    def reinvite(self, sdp: bytes | None, now: float) -> None:
        """Offer ``sdp`` in a re-INVITE, or ask for an offer: :class:`ReofferAnswered`, :class:`ReofferRefused`.

        If an offer of either side is under way, this one follows it; of several the last.
        """
        if self._ended:
            return
        if self.state not in {"answered", "confirmed"}:
            raise SessionStateError("a re-INVITE needs an answered call")
        self._reoffers.send(sdp, now)

    def update(self, sdp: bytes, now: float) -> None:
        """Offer ``sdp`` in an UPDATE (RFC 3311): like :meth:`reinvite`, and possible before the answer.

        Raises :class:`SessionStateError` if the peer does not allow it, or offer and answer are not exchanged yet.
        """
        if self._ended:
            return
        if not self.can_update:
            raise SessionStateError("an UPDATE is not possible")
        self._reoffers.send(sdp, now, method="UPDATE")

    @property
    def can_update(self) -> bool:
        """Whether an UPDATE with an offer can be sent."""
        settled = self.state in {"answered", "confirmed"} or (self.state == "early" and self.negotiated)
        return settled and "UPDATE" in self.allows

    def answer_reoffer(self, sdp: bytes, now: float) -> bool:
        """Answer :class:`Reoffered`; false, and nothing happens, if the peer has withdrawn it."""
        return self._reoffers.answer(sdp, now)

    def reject_reoffer(self, status: int, now: float) -> None:
        """Refuse :class:`Reoffered` (488 if it is not acceptable): the session goes on as it was."""
        self._reoffers.reject(status, now)

    def acknowledge(self, sdp: bytes, now: float) -> None:
        """Answer the offer that came in a 2xx. Nothing happens if none is waiting."""
        self._reoffers.acknowledge(sdp, now)

    # --- what comes in --------------------------------------------------------------------

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        dialog = self._dialog
        if dialog is None or request.from_.tag != dialog.remote_tag:
            self.respond(transaction, request, 481, now)
            return
        if not dialog.in_order(request):
            self.respond(transaction, request, 500, now, reason="CSeq Out Of Order")  # RFC 3261 12.2.2
            return
        self._follow(dialog, transaction.flow)
        if lacking := unsupported(request):
            self.respond(transaction, request, 420, now, headers=lacking)
            return
        match request.method:
            case "BYE":
                self._on_bye(request, transaction, now)
            case "INVITE" | "UPDATE":
                self._reoffers.receive(request, transaction, now)
            case "PRACK":
                self._on_prack(request, transaction, now)
            case "INFO":
                self._on_info(request, transaction, now)
            case "NOTIFY":
                self._transfers.on_notify(request, transaction, now)
                self._close_if_over()
            case "REFER":
                self._transfers.on_refer(request, transaction, now)
            case "SUBSCRIBE":
                self._transfers.on_subscribe(request, transaction, now)
            case "OPTIONS":
                headers = (("Allow", ALLOW), ("Accept", ACCEPT))
                self.respond(transaction, request, 200, now, headers=headers)
            case method:
                status = 405 if method in METHODS else 501
                self.respond(transaction, request, status, now, headers=(("Allow", ALLOW),))

    def on_ack(self, ack: Request, now: float) -> None:
        wait = self._ack_wait
        if wait is None or wait.cseq != ack.cseq.number or ack.from_.tag != self.dialog.remote_tag:
            self.core.counters.retransmissions_received += 1
            return
        wait.stop()
        self._ack_wait = None
        if self._farewell is not None:
            self._leave(now, self._farewell)
        if self._ended:
            return
        self.state = "confirmed"
        sdp = readable_description(ack)
        self.remote_sdp = sdp or self.remote_sdp
        self.core.emit(Acknowledged(self, sdp))
        self._reoffers.proceed(now)

    def on_link_lost(self, flow: Flow, now: float) -> None:
        if self._dialog is not None:
            self.core.links.detach(self._dialog.flow, self)
            self._dialog.disconnected()

    def _follow(self, dialog: Dialog, flow: Flow) -> None:
        """The peer has sent a request on ``flow``: a peer behind NAT, or with a new connection, is reached there."""
        before = dialog.flow
        if flow != before and flow.transport == before.transport and (dialog.pinned or flow.reliable):
            self.core.links.detach(before, self)
            dialog.flow = flow
            if flow.connection:
                self.core.links.attach(flow, self)

    def _use(self, dialog: Dialog) -> None:
        """Have requests sent in ``dialog``."""
        links = self.core.links
        if self._dialog is not None:
            links.detach(self._dialog.flow, self)
        self._dialog = dialog
        if dialog.flow.connection:
            links.attach(dialog.flow, self)

    def _on_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, request, 200, now)
        q850, text = read_reason(request.headers)
        self._abort_invite(now)
        self._finish("remote", 200, text, now, q850)
        self._close()

    def _on_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """The peer has our reliable provisional response (RFC 3262 3); only who is called sends any."""
        self.respond(transaction, request, 481, now)

    def _on_info(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if request.headers.get("Info-Package") is not None:
            self.respond(transaction, request, 469, now, reason="Bad Info Package", headers=(("Recv-Info", ""),))
        elif self._ended:
            self.respond(transaction, request, 481, now)
        elif not request.body:
            self.respond(transaction, request, 200, now)  # RFC 2976: a way to see whether we are there
        elif request.content_type not in INFO_TYPES:
            accept = ", ".join(sorted(INFO_TYPES))
            self.respond(transaction, request, 415, now, headers=(("Accept", accept),))
        else:
            self.respond(transaction, request, 200, now)
            self.core.emit(InfoReceived(self, request.content_type, request.body))

    # --- for the parts of a session -------------------------------------------------------

    def respond(
        self,
        transaction: ServerTransaction,
        request: Request,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        sdp: bytes | None = None,
    ) -> Response:
        """Respond within the dialog, with our tag."""
        response = self.core.response(request, status, reason, to_tag=self.local_tag, headers=headers)
        if sdp is not None:
            response.headers.set("Content-Type", "application/sdp")
            response.body = sdp
        transaction.respond(response, now)
        return response

    def ask(
        self,
        method: str,
        on_final: OnFinal,
        now: float,
        *,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        on_provisional: OnProvisional | None = None,
        dialog: Dialog | None = None,
    ) -> Exchange:
        """Send a request within the dialog, or within ``dialog``: another early one of the same INVITE."""
        dialog = dialog or self.dialog
        request = dialog.request(method, dialog.next_cseq())
        if method in TARGET_REFRESH:
            request.headers.add("Contact", self.contact())
        for name, value in headers:
            request.headers.add(name, value)
        request.body = body
        return Exchange(
            self.core,
            request,
            dialog.next_hop(),
            digest=self.digest,
            next_cseq=dialog.next_cseq,
            on_final=on_final,
            on_provisional=on_provisional,
            reroute=dialog.next_hop if method == "BYE" else None,
            now=now,
        )

    def await_ack(self, transaction: InviteServer, request: Request, now: float) -> None:
        """Repeat the 2xx that was just sent on ``transaction`` until its ACK comes."""
        self._ack_wait = AckWait(self.core, transaction, request.cseq.number, now, self._unacknowledged)

    @property
    def allows(self) -> frozenset[str]:
        """The methods in the peer's last Allow header."""
        return frozenset(method.strip().upper() for value in self._allow for method in value.split(","))

    def note_allow(self, message: Request | Response) -> None:
        """Remember what the peer allows, if it says so."""
        self._allow = message.headers.all("Allow") or self._allow

    def disallow(self, method: str) -> None:
        """The peer does not know ``method``, whatever it says."""
        self._allow = [", ".join(self.allows - {method})]

    def refresh(self, now: float) -> None:
        """Ask whether the peer is still there (RFC 4028 7.4)."""
        if self.state in {"answered", "confirmed"}:
            self._reoffers.refresh(now)

    def expire(self, now: float) -> None:
        """No refresh came in time (RFC 4028 10)."""
        reason = "the session timer expired"
        self._finish("timeout", 408, reason, now)
        self._leave(now, write_reason(reason, cause=408))

    def lose_dialog(self, status: int, now: float) -> None:
        """The peer does not know the dialog (481) or does not answer (408): it is over (RFC 3261 12.2.1.2).

        Until the ACK came the peer may not have heard of the dialog yet; its repeated 2xx decides then.
        """
        if self.state != "confirmed":
            return
        reason = "the peer does not know the call" if status == 481 else "the peer does not answer"
        self._finish("remote" if status == 481 else "timeout", status, reason, now)
        self._leave(now, reason)

    def referral_over(self) -> None:
        """The subscription that a REFER made is gone."""
        self._close_if_over()

    # --- ending ---------------------------------------------------------------------------

    def _finish(self, by: EndedBy, status: int, reason: str, now: float, q850: int | None = None) -> None:
        """The one end of the session, as its user sees it."""
        if self._ended:
            return
        self._ended = True
        self.state = "ended"
        self.timer.stop()
        self._reoffers.stop(now)
        if by != "remote":
            self._transfers.call_ended(now)
        self.core.emit(Ended(self, by, status, reason, q850))

    def _leave(self, now: float, reason: str) -> None:
        """Say BYE, now or as soon as that is allowed."""
        if self._bye:
            return
        if self._ack_wait is not None and self._ack_wait.initial:
            self._farewell = reason
            return
        self._farewell = None
        headers = (("Reason", write_reason(reason)),) if reason else ()
        self._bye = "sent"
        self.ask("BYE", self._bye_finished, now, headers=headers)

    def _bye_finished(self, status: int, response: Response | None, now: float) -> None:
        self._bye = "done"
        self._close()

    def _unacknowledged(self, now: float) -> None:
        """No ACK for 64*T1 after a 2xx: the dialog is to be ended (RFC 3261 13.3.1.4, 14.2)."""
        self._ack_wait = None
        self.core.counters.timeouts += 1
        reason = self._farewell if self._farewell is not None else "no ACK"
        self._finish("timeout", 408, "the answer was not acknowledged", now)
        self._leave(now, reason)

    def _abort_invite(self, now: float) -> None:
        """A BYE came: an INVITE that has no final response yet gets none but 487 (RFC 3261 15.1.2)."""
        raise NotImplementedError

    def _check_alive(self, status: int, response: Response | None, now: float) -> None:
        if status in {408, 481}:
            self.lose_dialog(status, now)

    def _close_if_over(self) -> None:
        if self._ended and self._farewell is None and self._bye != "sent":
            self._close()

    def _close(self) -> None:
        """Nothing more is to be said. A transfer's subscription outlives the call (RFC 6665 4.4.1)."""
        if self._ack_wait is not None:
            self._ack_wait.stop()
            self._ack_wait = None
        self._farewell = None
        self._reoffers.abandon()
        if self._transfers.live:
            return
        if self._dialog is not None:
            self.core.links.detach(self._dialog.flow, self)
        self.core.dialogs.pop(self._key, None)
        self.core.sessions.pop(self._key, None)
        self._transfers.part()
