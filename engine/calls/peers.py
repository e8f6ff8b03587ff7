"""The legs of one call beside its own: made, called and closed here, and put down in the journal."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.callbacks import records
from engine.calls.holding import hold_of
from engine.calls.leg import CallerLeg, Leg, PeerLeg, nobody_agrees, nobody_is_told
from engine.calls.media import Stream, StreamReport, Worker, nobody_hears
from engine.calls.peer import Destination, Peer, PeerEnd, State
from engine.log import Logger
from engine.security import MediaSecurity
from engine.sip.dialog_info import DialogState
from engine.sip.offer_answer import Agreed
from engine.sip.referred import IncomingReferral
from engine.sip.server import IncomingSession
from engine.sip.session import Session
from engine.sip.uri import Address
from engine.transport.tap import Tap
from media.reports import Recorded, StreamStats

if TYPE_CHECKING:
    from engine.calls.household import Outside


_LAMPS: Mapping[State, DialogState] = {"ringing": "early", "early": "early", "answered": "confirmed"}
"""What those hear who watch a telephone (RFC 4235)."""


class Peers:
    """Makes peers, each with a number of its own within the call."""

    def __init__(
        self,
        call: str,
        outside: Outside,
        codecs: tuple[str, ...],
        rtp_timeout: float,
        *,
        append: Callable[[records.Record], None],
        pump: Callable[[], None],
        log: Logger,
        poke: Callable[[], None],
        sign: Callable[[], None],
        recorded: Callable[[Recorded], None],
        referred: Callable[[Peer, IncomingReferral], None],
    ) -> None:
        """``poke`` wakes whoever waits for a change of any of them; ``sign`` is told that somebody speaks or presses a
        key. ``recorded`` gets the ends of recordings, which are the call's whosever stream they are of; ``referred``
        what a telephone wants of us.
        """
        self.call = call
        self.outside = outside
        self.append = append
        self._codecs = codecs
        self._rtp_timeout = rtp_timeout
        self.pump = pump
        self._log = log
        self._poke = poke
        self._sign = sign
        self._recorded = recorded
        self._referred = referred
        self._numbers = itertools.count(1)
        self._rung: dict[str, Peer] = {}
        """Those whom we have called, until they are closed."""
        self._loop = asyncio.get_running_loop()

    def part(self) -> None:
        """Let go of the call: no leg of it is left."""
        self._poke = self._sign = nobody_is_told
        self._recorded, self._referred = nobody_hears, _not_referred

    def rung_by(self, session: Session) -> Peer | None:
        """Who was called with ``session``."""
        return next((peer for peer in self._rung.values() if peer.session is session), None)

    async def make(self, destination: Destination, worker: Worker) -> Peer:
        """A peer with an open stream of ``worker``, and a channel of its trunk.

        Raises :class:`~engine.calls.media.MediaError`, :class:`~engine.calls.peer.NoChannel`.
        """
        bind, told = self.outside.media_hosts(destination.flow)
        log = self._log.bind(peer=destination.label)
        channel = self.outside.channel(destination)
        try:
            stream = await worker.open(bind, nobody_hears, nobody_hears)
        except BaseException:
            if channel is not None:
                channel.release()
            raise
        leg = PeerLeg(
            host=told,
            codecs=self._codecs,
            rtp_timeout=self._rtp_timeout,
            on_agreed=nobody_agrees,
            on_changed=nobody_is_told,
            log=log,
            security=destination.security,
        )
        peer = self._peer(destination, leg, stream, log)
        peer.channel = channel
        return peer

    def invite(self, peer: Peer, codecs: Sequence[str] = ()) -> None:
        """Send its INVITE. ``codecs`` are those that would not have to be transcoded, best first."""
        to, trunk = peer.destination.label, peer.destination.trunk
        self.append(records.LegStarted(time.time(), call=self.call, leg=peer.id, to=to, trunk=trunk))
        peer.log.info("leg dialled", leg=peer.id, uri=str(peer.destination.uri))
        peer.invite(self.outside.invite, codecs)
        self._rung[peer.id] = peer

    def of_line(
        self, label: str, session: Session, leg: Leg, stream: Stream, answered_at: float, *, device: str = ""
    ) -> Peer:
        """A peer out of a line that has answered, or was answered: it has what such a line has, and is put down."""
        dialog = session.dialog
        destination = Destination(
            label,
            session.remote_target,
            session.flow,
            Address(dialog.local_uri),
            Address(dialog.remote_uri),
            device=device,
        )
        peer = self._peer(destination, leg, stream, self._log.bind(peer=label))
        peer.session, peer.state, peer.answered_at = session, "answered", answered_at
        self._put_down(peer)
        return peer

    def caller_leg(self, session: IncomingSession, host: str, security: MediaSecurity) -> CallerLeg:
        """A leg for somebody who calls us."""
        return CallerLeg(
            session,
            host=host,
            codecs=self._codecs,
            rtp_timeout=self._rtp_timeout,
            on_agreed=nobody_agrees,
            on_changed=nobody_is_told,
            log=self._log,
            security=security,
        )

    def move_in(self, peer: Peer) -> None:
        """A peer of another call, which has put down its end there, is one of this call from now on."""
        peer.id = self._name()
        self.outside.captures.joins(self.call, peer.stream)
        peer.log = self._log.bind(peer=peer.destination.label)
        self.wire(peer)
        self._put_down(peer)
        self.light(peer)

    def light(self, peer: Peer, state: DialogState | None = None) -> None:
        """Tell those who watch it whether its telephone rings, talks or is free again."""
        device, session = peer.destination.device, peer.session
        if device and session is not None:
            remote = str(peer.destination.caller.uri) if session.role == "uac" else ""
            self.outside.lamp(device, session, state or _LAMPS.get(peer.state, "terminated"), remote)

    def _put_down(self, peer: Peer) -> None:
        """A leg that nobody dialled, with its dialog."""
        now = time.time()
        label, trunk = peer.destination.label, peer.destination.trunk
        self.append(records.LegStarted(now, call=self.call, leg=peer.id, to=label, trunk=trunk, was=True))
        self.changed(peer, now)

    def wire(self, peer: Peer) -> None:
        """Have the peer told what happens to its leg and its stream."""
        peer.leg.on_agreed = lambda agreed, before: self._agreed(peer, agreed, before)
        peer.leg.on_changed = lambda: self.changed(peer)
        peer.stream.on_report = lambda report: self._report(peer, report)
        peer.stream.on_lost = peer.worker_lost
        peer.on_change = lambda: self._went_on(peer)
        peer.on_sign = self._sign
        peer.on_refer = lambda referral: self._referred(peer, referral)

    def _agreed(self, peer: Peer, agreed: Agreed, before: Agreed | None) -> None:
        """What else it means concerns its stream alone, which its leg has told."""
        if (change := hold_of(agreed, before, self.call, peer.id)) is not None:
            self.append(change)

    def _went_on(self, peer: Peer) -> None:
        if peer.state in ("ringing", "early") and not peer.rang:
            peer.rang = True
            self.append(records.Rang(time.time(), call=self.call, leg=peer.id))
        self.light(peer)
        self._poke()

    def changed(self, peer: Peer, at: float | None = None) -> None:
        """Its dialog has: in the journal before anything leaves, as a kill in between must not lose it."""
        assert peer.session is not None
        dialog = msgspec.to_builtins(peer.session.save())
        self.append(records.LegAnswered(at or time.time(), call=self.call, leg=peer.id, dialog=dialog))

    async def forget(self, peer: Peer) -> None:
        """It is over, or is ended now: close its stream and put down how it ended, once."""
        if peer.closed:
            return
        peer.closed = True
        await asyncio.shield(self._close(peer))

    async def _close(self, peer: Peer) -> None:
        """To the end, also when who asks for it is cancelled meanwhile."""
        stats = await peer.close()
        peer.release()
        self.light(peer, "terminated")
        self.put_down_end(peer, peer.end or PeerEnd(487, "given up", by="local"), stats)
        peer.part()

    def put_down_end(self, peer: Peer, end: PeerEnd, stats: StreamStats) -> None:
        """What became of a leg, and what was said over SIP, once its stream is closed."""
        self._rung.pop(peer.id, None)
        if peer.session is not None:
            self.append(traced(self.outside.tap, peer.session.call_id, self.call, peer.id))
        duration = max(0.0, peer.now() - peer.answered_at) if peer.answered_at is not None else 0.0
        self.append(
            records.LegFinished(
                time.time(),
                call=self.call,
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

    def _peer(self, destination: Destination, leg: Leg, stream: Stream, log: Logger) -> Peer:
        self.outside.captures.joins(self.call, stream)
        peer = Peer(self._name(), destination, leg, stream, self._loop.time, self.pump, log)
        self.wire(peer)
        return peer

    def _name(self) -> str:
        return f"{self.call}-leg{next(self._numbers)}"

    def _report(self, peer: Peer, report: StreamReport) -> None:
        if isinstance(report, Recorded):
            self._recorded(report)
        else:
            peer.report(report)


def traced(tap: Tap, sip_call_id: str, call: str, leg: str = "") -> records.Traced:
    """What was said over SIP of a call or a leg that has ended; it is not watched any more."""
    watch = tap.watch(sip_call_id)
    tap.forget(sip_call_id)
    tap.ended(call, leg, watch)
    messages: list[tuple[float, str, str, str, str]] = [
        (seen.at, seen.direction, f"{seen.flow.transport}:{seen.flow.remote[0]}", seen.first_line, seen.cseq)
        for seen in watch.messages
    ]
    return records.Traced(time.time(), call=call, leg=leg, messages=messages, left_out=watch.left_out)


def _not_referred(peer: Peer, referral: IncomingReferral) -> None:
    """The call is over."""
