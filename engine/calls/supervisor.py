"""One supervisor for each call: it makes the live call, runs the flow on it, and ends it exactly once.

Whoever ends the call and whatever races, there is one final state: :meth:`LiveCall.end` takes the
first word, and only :meth:`CallSupervisor.run` does what follows from it: the SIP side is closed,
the stream too, the recording completed, the end put down in the journal and told in one log line.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from engine.callbacks import records
from engine.calls.allowance import NotAllowed
from engine.calls.bridging import bridge, serve_queue
from engine.calls.calling_back import park
from engine.calls.dialling import Dialling
from engine.calls.holding import hold_of
from engine.calls.household import CallHouse, Outside
from engine.calls.identity import REASONS, Caller, Diversion
from engine.calls.leg import NoCommonMedia
from engine.calls.line import CallLine, dialog_of
from engine.calls.live import LiveCall
from engine.calls.media import MediaError, StreamReport, Worker
from engine.calls.paging import Paging
from engine.calls.peer import Peer, PeerEnd
from engine.calls.peers import Peers, traced
from engine.calls.plans import CallPlan, Limits, Parties, in_words
from engine.calls.recording import Recordings
from engine.calls.referrals import follow_referral
from engine.calls.services import Fetch
from engine.calls.silence import Silence
from engine.log import get_logger
from engine.sip.dialog_info import DialogState
from engine.sip.events import Ended
from engine.sip.offer_answer import Agreed
from engine.sip.referred import IncomingReferral
from flows.call import Callback, EndedBy, Note, TransferOutcome, Trouble
from flows.causes import cause_of
from flows.executor import Executor
from flows.orders import BridgeSession, Conference, Dial, Enqueue, Outcome, Park, Voicemail
from flows.requests import LastGood
from media import reports
from media.quality import Quality, judge

log = get_logger(__name__)

STOP_PATIENCE = 5.0
"""Seconds that a flow may take to notice that its call is over."""

SHUTTING_DOWN = "the server is shutting down"


class Supervisor(CallLine):
    """A call from its beginning to its one final state. Whoever called makes a difference to its subclasses alone:
    :class:`~engine.calls.inbound.CallSupervisor` and :class:`~engine.calls.outbound.OutgoingCall`.
    """

    direction: records.Direction = "inbound"

    def __init__(
        self,
        parties: Parties,
        plan: CallPlan,
        limits: Limits,
        facts: Mapping[str, str],
        *,
        media: Worker,
        fetch: Fetch,
        last_good: LastGood,
        outside: Outside,
        append: Callable[[records.Record], None],
        pump: Callable[[], None],
        adopt: Callable[[int, CallLine | Peer], None],
        call_id: str = "",
    ) -> None:
        """``call_id``: the id that the call is to have, if somebody knows it before."""
        super().__init__(parties.caller if self.direction == "inbound" else parties.callee, parties.device)
        self.id = call_id or uuid.uuid4().hex
        self.plan = plan
        self.stats = reports.StreamStats()
        self.quality: Quality | None = None
        """How it sounded; None until the call has ended, and when nothing was received."""
        self.parties = parties
        self.started_at = time.time()
        self._limits = limits
        self._media = media
        self.append = append
        self.pump = pump
        self._loop = asyncio.get_running_loop()
        self.log = log.bind(call_id=self.id)
        self.adopt = adopt
        self._answered = False
        """Whether there was a 200: the session is to be ended with a BYE then."""
        self._sip_status = 0
        self._q850: int | None = None
        self._sip_reason: str | None = None
        self._recorded = False
        self.doing: Dial | Conference | Park | Enqueue | BridgeSession | None = None
        """What the flow has the line do with others now."""
        self._last_dial = Outcome()
        """How the last dial of the flow went."""
        self._last_good = last_good
        self.outside = outside
        self.recordings = Recordings(self.id, plan.recordings, append, self.log)
        self.call = LiveCall(
            call_id=self.id,
            caller=parties.caller,
            callee=parties.callee,
            signalling=self,
            prompts=plan.prompts,
            render=plan.render,
            fetch=fetch,
            settle=limits.settle,
            facts={**facts, "call.leg": f"{self.id}-leg0"},
            stored=plan.stored,
            silence=Silence(limits.max_silence, self.talking, self.silent),
            recording_url=partial(outside.recording_url, self.id),
        )
        self.peers = Peers(
            self.id,
            outside,
            limits.codecs,
            limits.rtp_timeout,
            append=append,
            pump=pump,
            log=self.log,
            poke=self.call.poke,
            sign=self.call.silence.broken,
            recorded=self._on_report,
            referred=self.referred,
        )

    # --- the life of a call -------------------------------------------------------------

    async def run(self) -> None:
        """From the INVITE to the end. Never raises; everything that was opened is closed."""
        limit = self._loop.call_later(self._limits.max_duration, self._over_limit)
        try:
            self._begin()
            await self._connect()
            await self._run_flow()
        except Exception:
            self.log.exception("call_failed")
            self.call.end("error", "an internal error, see the log")
        finally:
            limit.cancel()
            await self._finish()
            self.outside.captures.over(self.id)

    def part(self) -> None:
        """The call has ended, and nothing of it comes back: it holds itself together no more.

        Its parts refer to it as it does to them. What does so when it is dropped waits for the garbage collector, which
        stops the loop for as long as it takes to look at thousands of them.
        """
        self.call.part()
        self.peers.part()
        if self.on_the_line is not None:
            self.on_the_line.part()
        # A line that was handed on to another call tells that one.
        if self.leg is not None and self.leg.on_agreed == self._on_agreed:
            self.leg.part()
        if self._stream is not None and self._stream.on_report == self._on_report:
            self._stream.part()

    def _begin(self) -> None:
        parties = self.parties
        sip_call_id = self.session.call_id if self.session is not None else ""
        self.append(
            records.CallStarted(
                self.started_at,
                call=self.id,
                caller=parties.caller,
                callee=parties.callee,
                direction=self.direction,
                sip_call_id=sip_call_id,
                flow=self.plan.flow_name,
                flow_version=self.plan.flow_version,
                source=parties.source,
                account=self.plan.account,
            )
        )
        self.log.info(
            "call started",
            caller=parties.caller,
            callee=parties.callee,
            source=parties.source,
            flow=self.plan.flow_name,
            sip_call_id=sip_call_id,
        )
        self.light("trying")

    async def _connect(self) -> None:
        """Have a media stream, and what a call needs before its flow. A failure ends the call."""
        raise NotImplementedError

    async def _run_flow(self) -> None:
        """Run the flow; if it does not stop when the call is over, stop it."""
        flow = asyncio.create_task(Executor(self.plan.graph, self.plan.settings, self._last_good).run(self.call))
        try:
            await self._over_or(flow)
            done, _ = await asyncio.wait([flow], timeout=STOP_PATIENCE)
            if not done:
                self.log.error("flow_does_not_stop")
        finally:
            if not flow.done():
                flow.cancel()
            outcome = (await asyncio.gather(flow, return_exceptions=True))[0]
            if isinstance(outcome, BaseException):
                self.log.error("flow_failed", error=repr(outcome))
                self.call.end("error", f"the flow failed: {outcome}")
            else:
                self.call.settle(outcome.by, outcome.reason)

    async def _over_or(self, other: asyncio.Future[Any]) -> None:
        await asyncio.wait([self.call.over, other], return_when=asyncio.FIRST_COMPLETED)

    async def _finish(self) -> None:
        by, reason = self.call.ending or ("error", "unknown")
        ended_at = self.call.ended_at or self._loop.time()
        await self.no_successor()
        try:
            self._end_session(by, reason)
        except Exception:
            self.log.exception("session_not_ended")  # the rest of the call is closed all the same
        await self.recordings.finish(lost=self._stream is None)
        if self._stream is not None:
            self.stats = await self._stream.close()
        self._before_end()
        agreed = self.leg.agreed if self.leg is not None else None
        if agreed is not None:
            self.quality = judge(self.stats, agreed.codec, packet_ms=agreed.ptime)
        mos = round(self.quality.mos, 2) if self.quality is not None else None
        answered_at = self.call.answered_at
        duration = max(ended_at - answered_at, 0.0) if answered_at is not None else 0.0
        self.append(
            records.CallFinished(
                time.time() - (self._loop.time() - ended_at),
                call=self.id,
                by=by,
                reason=reason,
                sip_status=self._sip_status or (200 if self._answered else 0),
                q850=self._q850,
                path=self.call.path,
                duration=duration,
                stats={**msgspec.structs.asdict(self.stats), "mos": mos},
                sip_reason=self._sip_reason or "",
                cause=self._cause(by),
            )
        )
        self.log.info(
            "call ended",
            how=in_words(by, reason, self.call.path, duration if self._answered else None),
            by=by,
            reason=reason,
            path=self.call.path,
            duration=round(duration, 2),
            lost=self.stats.lost,
            jitter_ms=round(self.stats.jitter_ms, 1),
            mos=mos,
        )

    def _before_end(self) -> None:
        """Put down what was said over SIP; the end comes next."""
        peer = self.on_the_line
        if peer is None:
            self.light("terminated")
            if self.session is not None:
                self.append(traced(self.outside.tap, self.session.call_id, self.id))
            return
        by = "remote" if self.call.ending is not None and self.call.ending[0] == "caller" else "local"
        end = PeerEnd(200, self.call.ending[1] if self.call.ending is not None else "", self._q850, by)
        peer.release()
        self.peers.light(peer, "terminated")
        self.peers.put_down_end(peer, end, self.stats)

    def light(self, state: DialogState) -> None:
        """Tell those who watch it what the telephone of the account does that has called."""
        if self.line_device and self.session is not None:
            self.outside.lamp(self.line_device, self.session, state, "")

    def _cause(self, by: EndedBy) -> str:
        """The cause of the end, a name of :data:`flows.causes.CAUSES`."""
        if self._answered:
            return "NORMAL_TEMPORARY_FAILURE" if by == "error" else "NORMAL_CLEARING"
        return cause_of(self._sip_status, self._q850).name

    def _end_session(self, by: EndedBy, reason: str) -> None:
        """Hang up, if the other side has not."""
        if self.session is not None and not self.session.ended:
            self.session.bye(self._loop.time(), self._sip_reason or (reason if by in ("limit", "error") else ""))
            self.pump()

    # --- what the live call needs of SIP ------------------------------------------------

    async def answer(self) -> float:
        """Answer, and wait until media is agreed on; the time of it. Raises CallEnded."""
        raise NotImplementedError

    def early_media(self) -> str:
        """Have sound reach the caller before the answer; why that cannot be, empty if it can."""
        raise NotImplementedError

    def respond(self, status: int, reason: str) -> None:
        self._sip_status = status if not self._answered else self._sip_status
        # A flow's text, perhaps from a web server: a line break in it would be the end of the start line.
        self._sip_reason = "".join(char for char in reason if char.isprintable())[:200] or None

    def publish(self, entity: str, state: str) -> None:
        self.outside.publish(self.plan.account, entity, state)

    async def dial(self, order: Dial) -> Outcome:
        if any(target.kind == "queue" for target in order.targets):
            return await serve_queue(self, order)
        self.doing = order
        try:
            house = CallHouse(self, self.known_caller())
            outcome = await (Paging if order.strategy == "page" else Dialling)(order, house).run()
        finally:
            self.doing = None
        self._last_dial = outcome
        return outcome

    def known_caller(self) -> Caller:
        """Who calls, as those who are dialled are to see it."""
        parties = self.parties
        known = parties.known or Caller(parties.caller, self.call.facts.get("call.caller_name", ""))
        if not parties.outside:
            return known
        forwarded = Diversion(parties.callee, REASONS.get(self._last_dial.facts.get("status", ""), "unconditional"))
        return dataclasses.replace(known, diversions=(forwarded, *known.diversions))

    async def meet(self, order: Conference | Park | Enqueue | BridgeSession) -> Outcome:
        self.doing = order
        try:
            match order:
                case Conference():
                    return await self.outside.conferences.join(self.call, order)
                case Park():
                    return await park(self, order)
                case Enqueue():
                    return await self.outside.lots.enqueue(self.call, order)
                case BridgeSession():
                    return await bridge(self, order)
        except MediaError as error:
            return Outcome(("failed",), {"status": "failed"}, f"no media: {error}")
        finally:
            self.doing = None

    async def voicemail(self, order: Voicemail) -> Outcome:
        return await self.outside.voicemail.serve(self.call, order)

    def keys_are_secret(self, since: float | None) -> None:
        if since is not None:
            since = time.time() - (self._loop.time() - since)
        self.outside.captures.secret(self.id, since)

    def refer(self, target: str) -> None:
        if self.parties.outside and (refused := self._not_referred(target)):
            self.call.transferred(TransferOutcome(accepted=False, status=603, reason=refused))
            return
        if ":" not in target:
            target = f"sip:{target}@{self.parties.refer_host}"
        assert self.session is not None
        self.session.refer(target, self._loop.time())
        self.pump()

    def _not_referred(self, target: str) -> str:
        """Why who called from outside may not be sent there; empty if they may."""
        allowance = self.outside.routes(self.plan.account).allowance
        try:
            if allowance is not None:
                allowance.check_transfer(target)
        except NotAllowed as error:
            return str(error)
        return ""

    def answered_wall(self) -> float | None:
        """When the call was answered, in seconds since the epoch; ``None`` when it was not."""
        answered_at = self.call.answered_at
        return None if answered_at is None else time.time() - (self._loop.time() - answered_at)

    def put_down(self, note: Note) -> None:
        self.append(records.Noted(time.time(), call=self.id, note=records.note_to_data(note)))
        if isinstance(note, Trouble):
            self.log.warning("flow_trouble", step=note.step, what=note.what)
        if self.log.is_enabled_for(logging.DEBUG):
            if isinstance(note, Callback) and note.secret:
                note = Callback("", method=note.method)
            self.log.debug("note", **{type(note).__name__.lower(): dataclasses.asdict(note)})

    # --- media --------------------------------------------------------------------------

    def _dialog_changed(self) -> None:
        """In the journal before anything leaves: a kill in between must not lose the dialog."""
        assert self.session is not None
        dialog = dialog_of(self.session)
        if self._answered:
            self.append(records.DialogChanged(at=time.time(), call=self.id, dialog=dialog))
        else:
            self._answered = True
            self.append(records.CallAnswered(time.time(), call=self.id, dialog=dialog))

    def _on_agreed(self, agreed: Agreed, before: Agreed | None) -> None:
        if (change := hold_of(agreed, before, self.id)) is not None:
            self.append(change)
        if before is not None and before.event_type >= 0 > agreed.event_type:
            self.call.arbiter.release_owner()
        if self.plan.record and self._answered and not self._recorded and self._stream is not None:
            self._recorded = True
            self.recordings.whole_call(self._stream)

    def _on_report(self, report: StreamReport) -> None:
        match report:
            case reports.RtpLost(seconds=seconds):
                self.call.end("limit", f"no sound came from the caller for {seconds:.0f} s")
            case reports.Recorded():
                if (recording := self.recordings.done(report)) is not None:
                    self.call.recorded(recording.id, report)
            case _:
                self.call.report(report)

    def ends(self) -> tuple[str, str]:
        return self.parties.caller, self.parties.callee

    def _on_worker_lost(self, reason: str) -> None:
        self._stream = None
        if self.leg is not None:
            self.leg.detach()
        self.call.end("error", reason)

    def _over_limit(self) -> None:
        self.call.end("limit", f"the call reached its longest duration of {self._limits.max_duration:.0f} s")

    # --- what SIP says; called by the switch --------------------------------------------

    def sip_ended(self, event: Ended) -> None:
        """The SIP session is over."""
        if self.leg is not None:
            self.leg.reoffer_refused(event.status)
        end = PeerEnd(event.status, event.reason, event.q850, event.by)
        if self.conversation is not None and self.conversation.line_left(end):
            return
        if self.successor is not None:
            self.line_end = end
            return
        self.line_is_over(end)

    def line_is_over(self, end: PeerEnd) -> None:
        self._sip_status = end.status or self._sip_status
        self._q850 = self._q850 if end.q850 is None else end.q850
        reason = end.reason
        if end.by == "remote":
            if self.call.being_transferred and self.call.transfer_accepted:
                self.call.transferred(TransferOutcome(accepted=True, status=200, reason="the caller left"))
                self.call.end("flow", "transferred")
            elif end.status == 481:
                self.call.end("error", "the caller's phone does not know the call any more")
            elif self._answered:
                self.call.end("caller", f"hung up: {reason}" if reason else "hung up")
            else:
                self.call.end("caller", "cancelled before the answer")
            return
        why = {"timeout": "the caller's phone does not answer", "transport": "the connection broke"}
        self.call.end("error", reason or why.get(end.by, "the call was closed"))

    def acknowledged(self, body: bytes | None) -> None:
        """The ACK came; after an offer of ours it carries the answer."""
        try:
            if self.leg is not None:
                self.leg.acknowledged(body)
        except NoCommonMedia as error:
            self._sip_status = 488
            self.call.end("error", f"no common media: {error}")

    def referred(self, peer: Peer | None, referral: IncomingReferral) -> None:
        """The telephone of ``peer``, or that on the line, wants us to call somebody (REFER)."""
        self.log.info("refer", target=str(referral.target), leg=peer.id if peer is not None else "")
        try:
            follow_referral(self, peer, referral)
        except Exception:
            self.log.exception("refer_failed")
            referral.notify(500, self._loop.time())
            self.pump()

    def refer_progress(self, status: int, reason: str, *, final: bool) -> None:
        """A NOTIFY about the REFER, or its refusal."""
        if final:
            self.call.transferred(TransferOutcome(accepted=200 <= status < 300, status=status, reason=reason))
        else:
            self.call.transfer_accepted = True
