"""One subscription to the calls of somebody, and the NOTIFYs in it (RFC 6665 4.2, RFC 4235)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.sip.core import ALLOW, Core
from engine.sip.dialog import Dialog
from engine.sip.dialog_info import CONTENT_TYPE, DialogInfo, write_dialog_info
from engine.sip.exchange import Exchange
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.timers import Timer
from engine.sip.transaction import ServerTransaction

PACKAGE = "dialog"

Renew = Callable[["Subscription", Request, ServerTransaction, float], None]


class Subscription:
    """Lives from its SUBSCRIBE until it is ended by either side, expires, or a NOTIFY is not answered with 2xx."""

    def __init__(
        self,
        core: Core,
        request: Request,
        flow: Flow,
        *,
        subscriber: str,
        group: str,
        known: Callable[[tuple[str, str]], Iterable[DialogInfo]],
        on_renew: Renew,
        on_over: Callable[[Subscription], None],
    ) -> None:
        """``known`` gives the calls of an entity of a ``group``; ``subscriber`` is the device that asked."""
        self.entity = request.ruri.user or ""
        self.key = (group, self.entity)
        self.subscriber = subscriber
        self.local_tag = core.token()
        self.live = True
        self._core = core
        self._uri = str(request.ruri.without_params())
        self._known = known
        self._on_renew = on_renew
        self._on_over = on_over
        self._dialog = Dialog.of_server(request, self.local_tag, flow)
        self._contact = core.contact(flow, request.ruri.user)
        self._event_id = event_id(request)
        self._version = 0
        self._gone: dict[str, DialogInfo] = {}
        """Calls that have ended since the last NOTIFY: some phones want to be told."""
        self._reason = ""
        """Why it is over."""
        self._dirty = False
        self._exchange: Exchange | None = None
        self._expires_at = 0.0
        self._timer: Timer | None = None
        core.dialogs[self._key] = self
        if flow.connection:
            core.links.attach(flow, self)

    def __repr__(self) -> str:
        return f"<Subscription of {self.subscriber} to {self.entity}>"

    @property
    def _key(self) -> tuple[str, str]:
        return self._dialog.call_id, self.local_tag

    def respond(self, request: Request, transaction: ServerTransaction, seconds: int, now: float) -> None:
        """Grant ``seconds``; 0 ends it. A NOTIFY follows at once (RFC 6665 4.2.1.2)."""
        headers = (("Contact", self._contact), ("Expires", str(seconds)))
        transaction.respond(self._core.response(request, 200, to_tag=self.local_tag, headers=headers), now)
        self._core.queue.cancel(self._timer)
        self._expires_at = now + seconds
        if seconds:
            self._timer = self._core.queue.at(self._expires_at, self._expired)
            self._push(now)
        else:
            self.end("timeout", now)

    def changed(self, gone: DialogInfo | None, now: float) -> None:
        """The calls of the entity are others now; ``gone`` is one that has ended."""
        if gone is not None:
            self._gone[gone.id] = gone
        self._push(now)

    def end(self, reason: str, now: float) -> None:
        """Say goodbye; ``reason`` is one of RFC 6665 4.1.3."""
        if self.live and not self._reason:
            self._reason = reason
            self._core.queue.cancel(self._timer)
            self._push(now)

    # --- what comes in ----------------------------------------------------------------------

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        core, dialog = self._core, self._dialog
        if request.from_.tag != dialog.remote_tag or self._reason:
            transaction.respond(core.response(request, 481, to_tag=self.local_tag), now)
        elif not dialog.in_order(request):
            transaction.respond(core.response(request, 500, "CSeq Out Of Order", to_tag=self.local_tag), now)
        elif request.method != "SUBSCRIBE":
            headers = (("Allow", ALLOW),)
            transaction.respond(core.response(request, 405, to_tag=self.local_tag, headers=headers), now)
        else:
            self._follow(transaction.flow)
            dialog.retarget(request)
            self._on_renew(self, request, transaction, now)

    def on_ack(self, ack: Request, now: float) -> None:
        self._core.counters.strays += 1

    def on_link_lost(self, flow: Flow, now: float) -> None:
        self._core.links.detach(self._dialog.flow, self)
        self._dialog.disconnected()

    def _follow(self, flow: Flow) -> None:
        """The subscriber has a new connection, or a new place behind its NAT."""
        before = self._dialog.flow
        if flow != before and flow.transport == before.transport and (self._dialog.pinned or flow.reliable):
            self._core.links.detach(before, self)
            self._dialog.flow = flow
            if flow.connection:
                self._core.links.attach(flow, self)

    # --- NOTIFY -----------------------------------------------------------------------------

    def _expired(self, now: float) -> None:
        self.end("timeout", now)

    def _push(self, now: float) -> None:
        """One at a time, so that none overtakes another: what happens meanwhile is said in the next."""
        if self._exchange is not None:
            self._dirty = True
            return
        self._dirty = False
        dialog = self._dialog
        request = dialog.request("NOTIFY", dialog.next_cseq())
        left = max(0, round(self._expires_at - now))
        headers = request.headers
        headers.add("Contact", self._contact)
        headers.add("Event", PACKAGE + (f";id={self._event_id}" if self._event_id else ""))
        headers.add(
            "Subscription-State", f"terminated;reason={self._reason}" if self._reason else f"active;expires={left}"
        )
        headers.add("Content-Type", CONTENT_TYPE)
        known = list(self._known(self.key))
        ids = {each.id for each in known}
        ended = [each for each in self._gone.values() if each.id not in ids]
        self._gone.clear()
        request.body = write_dialog_info(self._uri, self._version, [*known, *ended])
        self._version += 1
        over = bool(self._reason)

        def answered(status: int, response: Response | None, now: float) -> None:
            self._exchange = None
            if over or status >= 300:  # 4.2.2: who does not take it is not subscribed any more
                self._stop()
            elif self._dirty:
                self._push(now)

        self._exchange = Exchange(
            self._core,
            request,
            dialog.next_hop(),
            digest=None,
            next_cseq=dialog.next_cseq,
            on_final=answered,
            now=now,
        )

    def _stop(self) -> None:
        if not self.live:
            return
        self.live = False
        self._core.queue.cancel(self._timer)
        self._core.links.detach(self._dialog.flow, self)
        self._core.dialogs.pop(self._key, None)
        self._on_over(self)


def event_package(request: Request) -> str:
    """The package in the Event header, empty if there is none."""
    return (request.headers.get("Event") or "").partition(";")[0].strip().lower()


def event_id(request: Request) -> str:
    """The ``id`` of the Event header (RFC 6665 8.2.1): to be repeated in NOTIFYs. What is no token is left out."""
    for param in (request.headers.get("Event") or "").split(";")[1:]:
        name, _, value = param.partition("=")
        value = value.strip()
        if name.strip().lower() == "id" and value.isascii() and value.isalnum() and len(value) <= 64:
            return value
    return ""
