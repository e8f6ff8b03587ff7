"""The line of a call: the session, the leg and the stream of whoever the call's flow talks with.

Who is on the line may change places with a peer (:mod:`engine.calls.conversation`): what SIP and the media worker say
of both is told to the other from then on, and the journal knows whose dialog is whose, for a BYE after a kill.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from engine.callbacks import records
from engine.calls.conversation import Conversation
from engine.calls.keys import KeyArbiter, read_info_digit
from engine.calls.leg import Leg
from engine.calls.live import LiveCall
from engine.calls.media import Stream, StreamReport
from engine.calls.peer import Peer, PeerEnd
from engine.calls.recording import WHOLE_CALL_ORDER, Recordings
from engine.log import Logger
from engine.sip.events import ReofferAnswered, ReofferRefused
from engine.sip.offer_answer import Agreed
from engine.sip.referred import IncomingReferral
from engine.sip.session import Session
from flows.call import RecordingOrder, Unsupported
from media import commands, reports

if TYPE_CHECKING:
    from engine.calls.household import Outside
    from engine.calls.peers import Peers


class CallLine:
    """What :class:`~engine.calls.supervisor.Supervisor` has of its line."""

    id: str
    call: LiveCall
    outside: Outside
    peers: Peers
    append: Callable[[records.Record], None]
    pump: Callable[[], None]
    log: Logger
    recordings: Recordings
    adopt: Callable[[int, CallLine | Peer], None]
    """Gets a session, and who is told what SIP says of it from now on."""

    def __init__(self, name: str, device: str) -> None:
        """``device``: the telephone of the account that it is, empty if it is none."""
        self.session: Session | None = None
        """The session of whoever is on the line; a call that goes out has none before it is answered."""
        self.leg: Leg | None = None
        self.line_name = name
        """Who is on the line: a number or a name."""
        self.line_device = device
        self.conversation: Conversation | None = None
        """With a peer, as long as it lasts."""
        self.on_the_line: Peer | None = None
        """Who is on the line, if that was a peer before."""
        self.transfer_by = ""
        """Who wanted the transfer that is under way."""
        self.parker = ""
        """The device that has handed the line on to its flow, or talked with it last, if there is one."""
        self.transfer_pending = False
        """Whether the next who talks with the line is one that it was transferred to by its flow."""
        self.successor: asyncio.Future[Peer | PeerEnd] | None = None
        """Who is to take the place of who is alone with the flow (:mod:`engine.calls.taking_over`)."""
        self.succession: asyncio.Future[None] | None = None
        """Done when that one has, or has not."""
        self.line_end: PeerEnd | None = None
        """How who was on the line has hung up, as long as somebody is to take its place."""
        self._stream: Stream | None = None
        self._api_recording = ""
        self._holding: set[asyncio.Task[bool]] = set()

    # --- holding ------------------------------------------------------------------------

    async def hold(self) -> bool:
        """Put the phone on the line on hold, with music; whether it is (:meth:`~engine.calls.leg.Leg.hold`)."""
        return self.leg is not None and await self.leg.hold(self.outside.tones.music, self._now(), self.pump)

    async def resume(self) -> bool:
        """Take it off hold again; whether it is."""
        return self.leg is not None and await self.leg.resume(self._now(), self.pump)

    def off_hold(self) -> None:
        """Take it off hold, whenever its phone has answered to that."""
        if self.leg is not None and self.leg.on_hold.holding:
            task = asyncio.ensure_future(self.resume())
            self._holding.add(task)
            task.add_done_callback(self._holding.discard)

    # --- changing places ----------------------------------------------------------------

    def exchange(self, peer: Peer) -> Peer:
        """``peer`` is on the line from now on, and who was there is a peer, which is returned. Both have answered."""
        session, leg, stream = self.session, self.leg, self._stream
        assert session is not None
        assert leg is not None
        assert stream is not None
        assert peer.session is not None
        former = self.on_the_line
        if former is None:
            answered_at = self.call.answered_at or self._now()
            former = self.peers.of_line(self.line_name, session, leg, stream, answered_at, device=self.line_device)
        else:
            self.peers.wire(former)
            self.peers.changed(former)
        self.adopt(session.id, former)
        self.take_line(peer)
        self.log.info("line_changed", line=self.line_name, leg=former.id)
        return former

    def take_line(self, peer: Peer) -> None:
        """``peer`` is on the line; nobody else is."""
        session, leg, stream = peer.session, peer.leg, peer.stream
        assert session is not None
        self.on_the_line, self.session, self.leg, self._stream = peer, session, leg, stream
        if peer.share is not None:
            peer.share.release()  # the call counts
        self.line_name, self.line_device = peer.destination.label, peer.destination.device
        leg.on_agreed, leg.on_changed = self._on_agreed, self._dialog_changed
        stream.on_report, stream.on_lost = self._on_report, self._on_worker_lost
        self.call.arbiter = KeyArbiter()
        self.call.on_hold = leg.on_hold
        self.call.attach(stream)
        self.adopt(session.id, self)
        self._dialog_changed()
        self.append(records.LegAnswered(time.time(), call=self.id, leg=peer.id, dialog={}))

    async def no_successor(self) -> None:
        """The call is over: whoever is about to take the place of who was on its line is let go."""
        if self.successor is not None:
            self.successor.cancel()
        if self.succession is not None:
            await asyncio.wait([self.succession])

    def line_is_over(self, end: PeerEnd) -> None:
        """Who is on the line has hung up, or the call cannot go on with that one for another reason."""
        raise NotImplementedError

    def give_away(self, peer: Peer) -> None:
        """``peer`` leaves for another call: here it is over."""
        end = PeerEnd(200, "transferred to another call", by="local")
        self.peers.put_down_end(peer, end, reports.StreamStats())

    def talking(self) -> list[Stream]:
        """The streams of those who are heard now: who is on the line, and whoever that one talks with."""
        streams = [] if self._stream is None else [self._stream]
        if self.conversation is not None and not self.conversation.peer.closed:
            streams.append(self.conversation.peer.stream)
        return streams

    @property
    def held(self) -> bool:
        """Whether one of two who talk is on hold."""
        talk = self.conversation
        return talk is not None and (self.call.on_hold.quiet or talk.peer.leg.on_hold.quiet)

    def silent(self) -> None:
        """Nobody has spoken or pressed a key for as long as may be."""
        if self.held:
            self.call.silence.broken()
        else:
            self.call.end("limit", f"nobody spoke or pressed a key for {self.call.silence.limit:g} s")

    def put_through(self, peer: Peer) -> None:
        """The line talks with ``peer`` now."""
        if self.transfer_pending:
            self.transfer_pending = False
            before = self.ends()
            label = peer.destination.label
            after = (before[0], label) if before[0] == self.line_name else (label, before[1])
            self.put_down_transfer(peer.id, before, after, attended=False)

    def put_down_transfer(self, leg: str, before: tuple[str, str], after: tuple[str, str], *, attended: bool) -> None:
        """Somebody has taken somebody's place."""
        kind = "attended" if attended else "blind"
        self.append(
            records.Transferred(
                time.time(),
                call=self.id,
                kind="attended" if attended else "blind",
                before=before,
                after=after,
                leg=leg,
                by=self.transfer_by,
            )
        )
        self.log.info("transferred", kind=kind, by=self.transfer_by, parties=after)

    # --- what its phone and its stream are told, and say -----------------------------------

    def reoffered(self, body: bytes | None) -> None:
        """A re-INVITE or UPDATE."""
        if self.leg is not None:
            self.leg.reoffered(body, self._now())

    def reoffer_decided(self, event: ReofferAnswered | ReofferRefused) -> None:
        """The final answer to a re-INVITE of ours."""
        if self.leg is None:
            return
        if isinstance(event, ReofferAnswered):
            self.leg.reoffer_answered(event.sdp)
        else:
            self.leg.reoffer_refused(event.status)

    def info(self, content_type: str, body: bytes) -> None:
        """INFO with a key: ``application/dtmf-relay`` or ``application/dtmf``."""
        digit = read_info_digit(content_type, body)
        if digit:
            if self._stream is not None:
                self._stream.pass_key(digit)
            self.call.key("info", digit, self._now())

    def send_digits(self, digits: str, tone: float, gap: float) -> None:
        agreed = self.leg.agreed if self.leg is not None else None
        if self._stream is not None and agreed is not None:
            method: Literal["rfc4733", "inband"] = "rfc4733" if agreed.event_type >= 0 else "inband"
            on, off = round(tone * 1000), round(gap * 1000)
            self._stream.send(commands.SendDigits(self._stream.number, digits, method, on, off))

    def detect_machine(self, limits: commands.MachineLimits | None) -> None:
        if self._stream is not None:
            number, on = self._stream.number, limits is not None
            self._stream.send(commands.DetectMachine(number, on, limits=limits or commands.MachineLimits()))

    # --- recordings -----------------------------------------------------------------------

    def begin_recording(self, order: RecordingOrder, path: Path | None = None, *, listed: bool = True) -> str:
        if self._stream is None:
            raise Unsupported("there is no media stream to record")
        return self.recordings.begin(self._stream, order, path, listed=listed).id

    async def complete_recording(self, recording: str) -> tuple[float, str]:
        return await self.recordings.complete(recording, lost=self._stream is None)

    def end_recording(self, recording: str) -> None:
        if self._stream is not None:
            self.recordings.stop(recording)

    @property
    def recording(self) -> bool:
        """Whether the whole call is recorded."""
        return self.recordings.whole_running or self.recordings.running(self._api_recording)

    def start_recording(self) -> str:
        """Record the whole call from now on; the id of the recording. Raises Unsupported without a stream."""
        self._api_recording = self.begin_recording(WHOLE_CALL_ORDER)
        return self._api_recording

    def stop_recording(self) -> None:
        """Record the whole call no longer."""
        self.recordings.stop(self._api_recording)
        self.recordings.stop(self.id)

    async def follow_recordings(self, left: Stream) -> None:
        """Who had the stream ``left`` is about to go: what was recorded there is complete, and the call goes on."""
        if self._stream is None:
            return
        for before, after in await self.recordings.move(left, self._stream):
            if before in (self._api_recording, self.id):
                self._api_recording = after

    # --- what the supervisor has ----------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def ends(self) -> tuple[str, str]:
        """Who called whom."""
        raise NotImplementedError

    def referred(self, peer: Peer | None, referral: IncomingReferral) -> None:
        """The telephone of ``peer``, or that on the line, wants us to call somebody (REFER)."""
        raise NotImplementedError

    def _dialog_changed(self) -> None:
        raise NotImplementedError

    def _on_agreed(self, agreed: Agreed, before: Agreed | None) -> None:
        raise NotImplementedError

    def _on_report(self, report: StreamReport) -> None:
        raise NotImplementedError

    def _on_worker_lost(self, reason: str) -> None:
        raise NotImplementedError


def dialog_of(session: Session) -> dict[str, object]:
    """A dialog for the journal."""
    found: dict[str, object] = msgspec.to_builtins(session.save())
    return found
