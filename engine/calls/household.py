"""What dialling needs of the call that it is for (:class:`~engine.calls.dialling.House`), on real legs and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from engine.callbacks import records
from engine.calls.channels import Channel, Channels
from engine.calls.conference import Conferences
from engine.calls.holding import Bridge, Side
from engine.calls.identity import Caller
from engine.calls.leg import CallerGone, CallerLeg, NoCommonMedia, PeerLeg
from engine.calls.media import MediaError, Stream
from engine.calls.parking import Lots
from engine.calls.peer import Destination, NoChannel, Peer, PeerEnd
from engine.calls.routes import Routes
from engine.calls.voicemail.service import VoicemailService
from engine.log import Logger
from engine.sip.client import OutgoingSession
from engine.sip.flow import Flow
from engine.sip.offer_answer import Agreed
from engine.sip.uri import Uri
from engine.transport.tap import Tap
from flows.call import CallEnded
from flows.orders import Dial, Target
from flows.prompts import Prompt
from media.protocol import StreamStats
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall


@dataclass(frozen=True, slots=True)
class Outside:
    """How calls reach others."""

    routes: Callable[[str], Routes]
    """By account."""
    invite: Callable[[Destination, bytes, Peer], OutgoingSession]
    """Sends an INVITE with a description for a peer, which gets the events of its session."""
    media_hosts: Callable[[Flow], tuple[str, str]]
    """By flow: the address to bind ports on, and the one to tell."""
    release: Callable[[int], None]
    """The peer with this session gets its events no more: a call has become its owner."""
    tap: Tap
    tones: Tones
    conferences: Conferences
    lots: Lots
    voicemail: VoicemailService
    flows: Callable[..., Awaitable[list[Flow]]]
    """The ways that a flow to a name comes to, in the order in which to try them."""
    publish: Callable[[str, str], None]
    """Tells those who watch somebody that they are ``idle``, ``ringing`` or ``busy``."""
    channels: Channels = field(default_factory=Channels)

    def channel(self, destination: Destination) -> Channel | None:
        """A channel of the trunk by which ``destination`` is called. Raises :class:`NoChannel`."""
        if (line := destination.line) is None:
            return None
        channel = self.channels.take(line.trunk, line.most)
        if channel is None:
            raise NoChannel(f"all {line.most} channels of {line.trunk} are in use")
        return channel

    async def located(self, destination: Destination) -> list[Destination]:
        """The places that the name of a destination comes to, in the order in which to try them."""
        flows = await self.flows(destination.flow, any_transport=destination.any_transport)
        return [replace(destination, flow=flow) for flow in flows]


@dataclass(slots=True)
class CallHouse:
    """The call of a caller, with the peers that are dialled for it."""

    call: LiveCall
    leg: CallerLeg | PeerLeg
    outside: Outside
    caller: Caller
    codecs: tuple[str, ...]
    rtp_timeout: float
    append: Callable[[records.Record], None]
    pump: Callable[[], None]
    log: Logger
    numbers: Iterator[int]
    """Of the call's legs: no two have the same, in whatever dials."""
    _ringing_back: bool = False
    _bridge: Bridge | None = None

    def now(self) -> float:
        return self.call.now()

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return self._routes().find(target, order, self.caller)

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        return self._routes().follow(destination, uri, order, self.caller)

    def _routes(self) -> Routes:
        return self.outside.routes(self.call.facts.get("call.account", ""))

    async def located(self, destination: Destination) -> list[Destination]:
        return await self.outside.located(destination)

    async def make_peer(self, destination: Destination) -> Peer:
        bind, told = self.outside.media_hosts(destination.flow)
        log = self.log.bind(peer=destination.label)
        made: list[Peer] = []
        channel = self.outside.channel(destination)
        try:
            stream = await self._caller_stream().worker.open(
                bind,
                lambda report: made[0].report(report) if made else None,
                lambda reason: made[0].worker_lost(reason) if made else None,
            )
        except BaseException:
            if channel is not None:
                channel.release()
            raise
        leg = PeerLeg(
            host=told,
            codecs=self.codecs,
            rtp_timeout=self.rtp_timeout,
            on_agreed=_nothing,
            on_changed=lambda: self._dialog_changed(made[0]),
            log=log,
            security=destination.security,
        )
        peer = Peer(
            f"{self.call.id}-leg{next(self.numbers)}",
            destination,
            leg,
            stream,
            self.now,
            self.pump,
            log,
            on_change=self.call.poke,
            channel=channel,
        )
        made.append(peer)
        return peer

    def call_peer(self, peer: Peer) -> None:
        agreed = self.leg.agreed
        to, trunk = peer.destination.label, peer.destination.trunk
        self.append(records.LegStarted(time.time(), call=self.call.id, leg=peer.id, to=to, trunk=trunk))
        peer.log.info("leg dialled", leg=peer.id, uri=str(peer.destination.uri))
        peer.invite(self.outside.invite, agreed.codec if agreed is not None else "")

    async def forget(self, peer: Peer) -> None:
        await close_peer(peer, self.call.id, self.outside, self.append)

    def caller_rings(self) -> None:
        if isinstance(self.leg, CallerLeg) and self.call.answered_at is None and self.leg.agreed is None:
            self.leg.invited.ringing(self.now())
            self.pump()

    def caller_hears(self, peer: Peer) -> None:
        if isinstance(self.leg, CallerLeg) and self.call.answered_at is None:
            try:
                problem = self.leg.early(self.now())
            except (CallerGone, NoCommonMedia) as error:
                problem = str(error)
            self.pump()
            if problem:
                self.log.info("no_early_media", reason=problem)
                return
        self._stop_ringing_back()
        peer.stream.relay(self._caller_stream())

    async def connect(self, peer: Peer) -> None:
        await self.call.answer()
        self._stop_ringing_back()
        ours = Side(self._caller_stream(), self.leg.on_hold, gone=lambda: self.call.stream is None)
        self._bridge = Bridge(ours, Side(peer.stream, peer.leg.on_hold), self.outside.tones.music)
        self._bridge.connect()
        self.call.bridged(on=True)

    def disconnect(self, peer: Peer) -> None:
        self.call.bridged(on=False)
        if self._bridge is not None:
            self._bridge.disconnect()
            self._bridge = None

    async def ring_back(self, media: str) -> None:
        if self.call.answered_at is None:
            return
        self._ringing_back = True
        if media and (ready := await self.call.prepare([Prompt(media=media)])):
            self.call.start(ready, loop=True)
        else:
            self.call.play_files([self.outside.tones.ringback], loop=True)

    async def wait(self, deadline: float | None) -> str:
        return await self.call.key_or_change(deadline)

    async def unless_over(self, work: asyncio.Task[Peer | PeerEnd]) -> Peer | PeerEnd:
        try:
            return await self.call.unless_over(work)
        except CallEnded:
            work.cancel()
            (found,) = await asyncio.gather(work, return_exceptions=True)  # everything that rang is let go by then
            if isinstance(found, Peer):
                await self.forget(found)
            raise
        finally:
            self._stop_ringing_back()

    def _stop_ringing_back(self) -> None:
        if self._ringing_back:
            self._ringing_back = False
            self.call.stop()

    def _caller_stream(self) -> Stream:
        if self.call.stream is None:
            raise MediaError("the caller's media stream is gone")
        return self.call.stream

    def _dialog_changed(self, peer: Peer) -> None:
        """In the journal before anything leaves: a kill in between must not lose the dialog."""
        assert peer.session is not None
        dialog = msgspec.to_builtins(peer.session.save())
        self.append(records.LegAnswered(time.time(), call=self.call.id, leg=peer.id, dialog=dialog))


async def close_peer(peer: Peer, call: str, outside: Outside, append: Callable[[records.Record], None]) -> None:
    """Close all of a peer and put down how it ended: to the end, also when who asks for it is cancelled meanwhile."""

    async def close() -> None:
        stats = await peer.close()
        put_down_end(peer, peer.end or PeerEnd(487, "given up", by="local"), stats, call, outside, append)

    await asyncio.shield(close())


def put_down_end(
    peer: Peer,
    end: PeerEnd,
    stats: StreamStats,
    call: str,
    outside: Outside,
    append: Callable[[records.Record], None],
) -> None:
    """What became of a dialled leg, and what was said over SIP, once its stream is closed."""
    peer.release()
    if peer.session is not None:
        append(traced(outside.tap, peer.session.call_id, call, peer.id))
    duration = max(0.0, peer.now() - peer.answered_at) if peer.answered_at is not None else 0.0
    append(
        records.LegFinished(
            time.time(),
            call=call,
            leg=peer.id,
            by=end.by,
            reason=end.reason,
            sip_status=end.status,
            q850=end.q850,
            duration=duration,
            stats=msgspec.structs.asdict(stats),
        )
    )
    peer.log.info("leg ended", leg=peer.id, status=end.status, reason=end.reason, duration=round(duration, 2))


def traced(tap: Tap, sip_call_id: str, call: str, leg: str = "") -> records.Traced:
    """What was said over SIP of a call or a leg that has ended; it is not watched any more."""
    watch = tap.watch(sip_call_id)
    tap.forget(sip_call_id)
    messages: list[tuple[float, str, str, str, str]] = [
        (seen.at, seen.direction, f"{seen.flow.transport}:{seen.flow.remote[0]}", seen.first_line, seen.cseq)
        for seen in watch.messages
    ]
    return records.Traced(time.time(), call=call, leg=leg, messages=messages, left_out=watch.left_out)


def _nothing(agreed: Agreed, before: Agreed | None) -> None:
    """A peer's agreement concerns its stream alone, which its leg has told."""
