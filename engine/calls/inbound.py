"""Calls that come in: from an INVITE to its answer or refusal, with the flow in between or behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

from engine.callbacks import records
from engine.calls.household import Outside
from engine.calls.leg import CallerGone, CallerLeg, NoCommonMedia
from engine.calls.line import CallLine
from engine.calls.media import MediaError, Worker
from engine.calls.peer import Peer
from engine.calls.plans import CallPlan, Limits, Parties
from engine.calls.services import Fetch
from engine.calls.supervisor import SHUTTING_DOWN, Supervisor
from engine.sip.reason import write_reason
from engine.sip.server import IncomingSession
from flows.call import CallEnded, EndedBy
from flows.requests import LastGood
from flows.templates import HEADER, time_facts

MAX_HEADERS = 20
"""Headers of a caller's own that flows see; names and values have limits of their own."""
MAX_NAME = 64
MAX_HEADER = 512


Remember = Callable[[str, CallPlan, Parties], Awaitable[Mapping[str, str]]]
"""Says what is known of whoever calls, for the flow: asked with the id of the call before it begins. Must not raise."""


class CallSupervisor(Supervisor):
    """An inbound call from its INVITE to its one final state."""

    def __init__(
        self,
        session: IncomingSession,
        parties: Parties,
        plan: CallPlan,
        limits: Limits,
        *,
        media: Worker,
        fetch: Fetch,
        last_good: LastGood,
        outside: Outside,
        append: Callable[[records.Record], None],
        pump: Callable[[], None],
        adopt: Callable[[int, CallLine | Peer], None],
        remember: Remember | None = None,
    ) -> None:
        super().__init__(
            parties,
            plan,
            limits,
            _facts(session, parties, plan.account),
            media=media,
            fetch=fetch,
            last_good=last_good,
            outside=outside,
            append=append,
            pump=pump,
            adopt=adopt,
        )
        self._remember = remember
        self.session = self._invited = session
        outside.tap.watch(session.call_id)
        self.leg = self._caller_leg = CallerLeg(
            session,
            host=limits.media_host,
            codecs=limits.codecs,
            rtp_timeout=limits.rtp_timeout,
            on_agreed=self._on_agreed,
            on_changed=self._dialog_changed,
            log=self.log,
            security=limits.security,
        )
        self.call.on_hold = self.leg.on_hold

    async def _connect(self) -> None:
        """Open the stream: its port has to be known before the flow answers."""
        try:
            self._stream = await self._media.open(self._limits.bind_host, self._on_report, self._on_worker_lost)
        except MediaError as error:
            self._sip_status = 503
            self.call.end("error", f"no media: {error}")
            return
        self.outside.captures.joins(self.id, self._stream)
        self.call.attach(self._stream)
        self._caller_leg.attach(self._stream)
        if self._remember is not None:
            self.call.facts = {**self.call.facts, **await self._remember(self.id, self.plan, self.parties)}

    async def answer(self) -> float:
        """Answer, and wait until media is agreed on: at once, or with the ACK when the INVITE had no offer."""
        try:
            self._caller_leg.answer(self._loop.time())
        except NoCommonMedia as error:
            self._sip_status = 488
            self.call.end("error", f"no common media: {error}")
            raise CallEnded("error", str(error)) from None
        except CallerGone:
            self.call.end("caller", "cancelled before the answer")
            raise CallEnded("caller", "cancelled before the answer") from None
        answered = self._loop.time()
        self.pump()
        self.light("confirmed")
        if not self._caller_leg.settled.done():
            await self._over_or(self._caller_leg.settled)
            if self.call.ending is not None:
                raise CallEnded(*self.call.ending)
            answered = self._loop.time()
        return answered

    def early_media(self) -> str:
        try:
            problem = self._caller_leg.early(self._loop.time())
        except CallerGone:
            problem = "the caller is gone"
        except NoCommonMedia as error:
            problem = str(error)
        self.pump()
        return problem

    def _end_session(self, by: EndedBy, reason: str) -> None:
        """Refuse or hang up, if the other side has not."""
        if self._answered or self._invited.ended:
            super()._end_session(by, reason)
            return
        now = self._loop.time()
        if reason == SHUTTING_DOWN:
            self._invited.reject(503, now, headers=(("Retry-After", "30"),))
        else:
            if by == "flow" and str(self._sip_status or "") in ("", self._last_dial.facts.get("sip")):
                self._q850 = self._last_dial.q850  # it is refused as, or because, the one was who was dialled
            self._sip_status = self._sip_status or (500 if by == "error" else 480)
            why = () if self._q850 is None else (("Reason", write_reason("", "Q.850", self._q850)),)
            self._invited.reject(self._sip_status, now, self._sip_reason, why)
        self.pump()

    def _cause(self, by: EndedBy) -> str:
        """A caller who gave up is the cause, whatever the status."""
        return "ORIGINATOR_CANCEL" if by == "caller" and not self._answered else super()._cause(by)


def _facts(session: IncomingSession, parties: Parties, account: str) -> dict[str, str]:
    """What an INVITE says of the call, by the names that flows know (:data:`flows.templates.CALL_VARIABLES`)."""
    request = session.request
    return {
        "call.account": account,
        "call.caller_name": "" if parties.known is None or parties.known.withheld else parties.known.name,
        "call.caller_realm": request.from_.uri.host,
        "call.callee_realm": request.to.uri.host,
        "call.request": request.ruri.user or "",
        "call.request_realm": request.ruri.host,
        "call.direction": "inbound",
        "call.status": "ringing",
        "call.user": parties.source,
        **custom_headers(request.headers),
        **time_facts(datetime.now(UTC).astimezone()),
    }


def custom_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers that begin with ``X-``, as variables of a flow; of several with one name the first."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        if name[:2].upper() == "X-" and len(name) <= MAX_NAME and len(found) < MAX_HEADERS:
            found.setdefault(name.casefold(), (name, value[:MAX_HEADER]))
    return {f"{HEADER}{name}": value for name, value in found.values()}
