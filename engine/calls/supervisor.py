"""One supervisor for each call: it makes the live call, runs the flow on it, and ends it exactly once.

Whoever ends the call and whatever races, there is one final state: :meth:`LiveCall.end` takes the
first word, and only :meth:`CallSupervisor.run` does what follows from it: the SIP side is closed,
the stream too, the recording completed, the end put down in the journal and told in one log line.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.callbacks import records
from engine.calls.live import LiveCall
from engine.calls.media import MediaError, MediaPool, Stream, StreamReport
from engine.log import get_logger
from engine.sip import offer_answer, sdp
from engine.sip.server import IncomingSession
from flows.call import CallEnded, EndedBy, Note, Prompt, TransferOutcome
from flows.executor import Executor, Settings
from flows.graph import Graph
from media import protocol

log = get_logger(__name__)

STOP_PATIENCE = 5.0
"""Seconds that a flow may take to notice that its call is over."""

RECORDING_PATIENCE = 3.0
"""Seconds to wait for the writer to complete a recording."""


@dataclasses.dataclass(frozen=True, slots=True)
class CallPlan:
    """What to do with a call, as the number plan had it when the call came in."""

    flow_name: str
    graph: Graph
    prompts: Mapping[Prompt, Path]
    settings: Settings
    record_to: Path | None = None
    """Folder of recordings, None when this number is not recorded."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits and media settings of a call; seconds."""

    max_duration: float
    rtp_timeout: float
    settle: float
    bind_host: str
    media_host: str


class CallSupervisor:
    """An inbound call from its INVITE to its one final state."""

    def __init__(
        self,
        session: IncomingSession,
        *,
        caller: str,
        callee: str,
        source: str,
        plan: CallPlan,
        limits: Limits,
        pool: MediaPool,
        append: Callable[[records.Record], None],
        pump: Callable[[], None],
    ) -> None:
        self.session = session
        self.id = uuid.uuid4().hex
        self.plan = plan
        self.started_at = time.time()
        self.answered_wall: float | None = None
        self.stats = protocol.StreamStats()
        self.sip_status = 0
        self._source = source
        self._limits = limits
        self._pool = pool
        self._append = append
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._offer: sdp.SessionDescription | None = None
        self._media = offer_answer.LocalMedia(host=limits.media_host, port=0, session_id=time.time_ns() // 1000)
        self._described: sdp.SessionDescription | None = None
        """Our last description: sections of later ones keep their places."""
        self._agreed: offer_answer.Agreed | None = None
        self._media_agreed: asyncio.Future[None] = self._loop.create_future()
        self._recorded: asyncio.Future[protocol.Recorded] | None = None
        self._recording: Path | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._log = log.bind(call_id=self.id)
        self.call = LiveCall(
            call_id=self.id,
            caller=caller,
            callee=callee,
            signalling=self,
            prompt_file=plan.prompts.__getitem__,
            settle=limits.settle,
        )

    # --- the life of a call -------------------------------------------------------------

    async def run(self) -> None:
        """From the INVITE to the end. Never raises; everything that was opened is closed."""
        self._append(
            records.CallStarted(
                call=self.id,
                at=self.started_at,
                caller=self.call.caller,
                callee=self.call.callee,
                direction="inbound",
                sip_call_id=self.session.call_id,
                flow=self.plan.flow_name,
                source=self._source,
            )
        )
        self._log.info(
            "call started",
            caller=self.call.caller,
            callee=self.call.callee,
            source=self._source,
            flow=self.plan.flow_name,
            sip_call_id=self.session.call_id,
        )
        self._limit = self._loop.call_later(self._limits.max_duration, self._over_limit)
        try:
            await self._open_stream()
            await self._run_flow()
        except Exception:  # noqa: BLE001 - whatever broke, the call ends and says so
            self._log.exception("call_failed")
            self.call.end("error", "an internal error, see the log")
        finally:
            self._limit.cancel()
            await self._finish()

    async def _open_stream(self) -> None:
        try:
            self._stream = await self._pool.open(self._limits.bind_host, self._on_report, self._on_worker_lost)
        except MediaError as error:
            self.sip_status = 503
            self.call.end("error", f"no media: {error}")
            return
        self.call.attach(self._stream)
        self._media = dataclasses.replace(self._media, port=self._stream.port)

    async def _run_flow(self) -> None:
        """Run the flow; if it does not stop when the call is over, stop it."""
        flow = asyncio.create_task(Executor(self.plan.graph, self.plan.settings).run(self.call))
        try:
            await self._over_or(flow)
            done, _ = await asyncio.wait([flow], timeout=STOP_PATIENCE)
            if not done:
                self._log.error("flow_does_not_stop")
        finally:
            if not flow.done():
                flow.cancel()
            outcome = (await asyncio.gather(flow, return_exceptions=True))[0]
            if isinstance(outcome, BaseException):
                self._log.error("flow_failed", error=repr(outcome))
                self.call.end("error", f"the flow failed: {outcome}")
            else:
                self.call.settle(outcome.by, outcome.reason)

    async def _over_or(self, other: asyncio.Future[Any]) -> None:
        over = asyncio.create_task(self.call.over.wait())
        try:
            await asyncio.wait([over, other], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()

    async def _finish(self) -> None:
        by, reason = self.call.ending or ("error", "unknown")
        if not self.session.ended:
            if self.answered_wall is None:
                self.session.reject(self.sip_status or 480, self._loop.time())
            else:
                self.session.bye(self._loop.time(), reason="")
            self._pump()
        if self._stream is not None:
            await self._close_media(self._stream)
        duration = time.time() - self.answered_wall if self.answered_wall is not None else 0.0
        self._append(
            records.CallFinished(
                call=self.id,
                at=time.time(),
                by=by,
                reason=reason,
                sip_status=self.sip_status or (200 if self.answered_wall else 0),
                q850=None,
                path=self.call.path,
                duration=duration,
                stats=msgspec.structs.asdict(self.stats),
            )
        )
        self._log.info(
            "call ended",
            how=_in_words(by, reason, answered=self.answered_wall is not None),
            by=by,
            reason=reason,
            path=self.call.path,
            duration=round(duration, 2),
            lost=self.stats.lost,
            jitter_ms=round(self.stats.jitter_ms, 1),
        )

    async def _close_media(self, stream: Stream) -> None:
        if self._recorded is not None:
            stream.send(protocol.StopRecord(stream.number))
            try:
                done = await asyncio.wait_for(asyncio.shield(self._recorded), RECORDING_PATIENCE)
                self._append(
                    records.RecordingFinished(
                        time.time(), call=self.id, path=done.path, seconds=done.seconds, lost=done.lost
                    )
                )
            except TimeoutError:
                self._log.error("recording_not_completed", path=str(self._recording))
        self.stats = await stream.close()

    # --- what the live call needs of SIP ------------------------------------------------

    async def answer(self) -> float:
        """Answer the INVITE with what we can do of its offer, or with an offer of ours when it had none."""
        body = self.session.offer
        try:
            if body:
                offer = sdp.parse(body)
                answer, agreed = offer_answer.make_answer(offer, self._media)
                self._accept(answer)
                self._media_is(agreed, relatch=False)
            else:
                self._offer = offer_answer.make_offer(self._media)
                self._accept(self._offer)
        except (offer_answer.NotAcceptable, sdp.SdpError) as error:
            self.sip_status = 488
            self.call.end("error", f"no common media: {error}")
            raise CallEnded("error", str(error)) from None
        answered = self._loop.time()
        self._append(
            records.CallAnswered(call=self.id, at=time.time(), dialog=msgspec.to_builtins(self.session.save()))
        )
        if self._agreed is None:
            await self._over_or(self._media_agreed)
            answered = self._loop.time()
        return answered

    def _accept(self, description: sdp.SessionDescription) -> None:
        self._described = description
        if not self.session.accept(description.encode(), self._loop.time()):
            self.call.end("caller", "cancelled before the answer")
            raise CallEnded("caller", "cancelled before the answer")
        self._pump()
        self.answered_wall = time.time()

    def refer(self, target: str) -> None:
        if ":" not in target:
            target = f"sip:{target}@{self.session.dialog.remote.uri.host}"
        self.session.refer(target, self._loop.time())
        self._pump()

    def put_down(self, note: Note) -> None:
        self._append(records.Noted(call=self.id, at=time.time(), note=records.note_to_data(note)))
        self._log.debug("note", **{type(note).__name__.lower(): dataclasses.asdict(note)})

    # --- media --------------------------------------------------------------------------

    def _media_is(self, agreed: offer_answer.Agreed, *, relatch: bool) -> None:
        """SDP agreed on this: tell the worker, and start what starts with the first agreement."""
        first = self._agreed is None
        if self._agreed is not None and self._agreed.event_type >= 0 > agreed.event_type:
            self.call.arbiter.release_owner()
        self._agreed = agreed
        stream = self._stream
        if stream is None:
            return
        stream.send(
            protocol.Direct(
                stream.number,
                agreed.host,
                agreed.port,
                agreed.rtcp_port,
                agreed.payload_type,
                agreed.event_type,
                agreed.ptime,
                agreed.send,
                agreed.receive,
                relatch,
            )
        )
        stream.send(protocol.RtpTimeout(stream.number, 0.0 if agreed.held else self._limits.rtp_timeout))
        if first:
            if self.plan.record_to is not None:
                self._record(stream, self.plan.record_to)
            if not self._media_agreed.done():
                self._media_agreed.set_result(None)

    def _record(self, stream: Stream, folder: Path) -> None:
        path = folder / datetime.now(UTC).strftime("%Y/%m/%d") / f"{self.id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._recording = path
        self._recorded = self._loop.create_future()
        self._append(records.RecordingStarted(call=self.id, at=time.time(), path=str(path)))
        stream.send(protocol.Record(stream.number, str(path)))

    def _on_report(self, report: StreamReport) -> None:
        match report:
            case protocol.RtpLost(seconds=seconds):
                self.call.end("limit", f"no sound came from the caller for {seconds:.0f} s")
            case protocol.Recorded():
                if self._recorded is not None and not self._recorded.done():
                    self._recorded.set_result(report)
            case _:
                self.call.report(report)

    def _on_worker_lost(self, reason: str) -> None:
        self._stream = None
        self._recorded = None
        self.sip_status = self.sip_status or 500
        self.call.end("error", reason)

    def _over_limit(self) -> None:
        self.call.end("limit", f"the call reached its longest duration of {self._limits.max_duration:.0f} s")

    # --- what SIP says; called by the switch --------------------------------------------

    def sip_ended(self, by: str, status: int, reason: str) -> None:
        """The SIP session is over."""
        self.sip_status = status or self.sip_status
        if by == "remote":
            if self.call.being_transferred and self.call.transfer_accepted:
                self.call.transferred(TransferOutcome(accepted=True, status=status or 200, reason="the caller left"))
                self.call.end("flow", "transferred")
            self.call.end("caller", "hung up" if self.answered_wall is not None else "cancelled before the answer")
        elif by == "timeout":
            self.call.end("error", reason or "the caller's phone does not answer")
        elif by == "transport":
            self.call.end("error", reason or "the connection broke")
        else:
            self.call.end("error", reason or "the call was closed")

    def acknowledged(self, body: bytes | None) -> None:
        """The ACK came; after an offer of ours it carries the answer."""
        if self._offer is None:
            return
        offer, self._offer = self._offer, None
        try:
            agreed = offer_answer.read_answer(offer, sdp.parse(body or b""))
        except (offer_answer.NotAcceptable, sdp.SdpError) as error:
            self.sip_status = 488
            self.call.end("error", f"the answer in the ACK cannot be used: {error}")
            return
        self._media_is(agreed, relatch=self._agreed is not None)

    def reoffered(self, body: bytes | None) -> None:
        """A re-INVITE or UPDATE: hold, resume, another codec or address, or a question for our offer."""
        now = self._loop.time()
        self._media = dataclasses.replace(self._media, version=self._media.version + 1)
        if not body:
            self._offer = self._described = offer_answer.make_offer(self._media, self._described)
            self.session.answer_reoffer(self._offer.encode(), now)
            return
        try:
            answer, agreed = offer_answer.make_answer(sdp.parse(body), self._media)
        except (offer_answer.NotAcceptable, sdp.SdpError):
            self.session.reject_reoffer(488, now)
            return
        self._described = answer
        self.session.answer_reoffer(answer.encode(), now)
        before = self._agreed
        moved = before is None or (before.host, before.port) != (agreed.host, agreed.port)
        if before is not None and before.held != agreed.held:
            self._log.info("held" if agreed.held else "resumed")
        self._media_is(agreed, relatch=moved)
        self._append(records.DialogChanged(call=self.id, dialog=msgspec.to_builtins(self.session.save())))

    def info(self, content_type: str, body: bytes) -> None:
        """INFO with a key: ``application/dtmf-relay`` or ``application/dtmf``."""
        digit = read_info_digit(content_type, body)
        if digit:
            self.call.key("info", digit, self._loop.time())

    def refer_progress(self, status: int, reason: str, *, final: bool) -> None:
        """A NOTIFY about the REFER, or its refusal."""
        if final:
            self.call.transferred(TransferOutcome(accepted=200 <= status < 300, status=status, reason=reason))
        else:
            self.call.transfer_accepted = True

    def summary(self) -> dict[str, Any]:
        """The call as lists of live calls show it."""
        answered = self.call.answered_at
        return {
            "id": self.id,
            "from": self.call.caller,
            "to": self.call.callee,
            "answered": answered is not None,
            "duration": self.call.now() - answered if answered is not None else 0.0,
            "path": self.call.path,
            "flow": self.plan.flow_name,
        }


def read_info_digit(content_type: str, body: bytes) -> str:
    """The key in the body of an INFO, "" when there is none that we know."""
    text = body[:256].decode("utf-8", "replace")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/dtmf-relay":
        fields = dict(line.partition("=")[::2] for line in text.replace(" ", "").splitlines())
        text = next((value for name, value in fields.items() if name.lower() == "signal"), "")
    elif kind != "application/dtmf":
        return ""
    digit = {"10": "*", "11": "#"}.get(text.strip(), text.strip().upper())
    return digit if len(digit) == 1 and digit in "0123456789*#ABCD" else ""


def _in_words(by: EndedBy, reason: str, *, answered: bool) -> str:
    match by:
        case "caller":
            return f"the caller {reason}" if answered else f"the call was {reason}"
        case "flow":
            return f"the flow ended the call: {reason}"
        case "limit":
            return f"a limit ended the call: {reason}"
        case "error":
            return f"an error ended the call: {reason}"
