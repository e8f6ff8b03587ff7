"""What dialling and conversations need of their call (:class:`~engine.calls.house.House`), on real legs and
streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.callbacks import records
from engine.calls.changing import Side as ConversationSide
from engine.calls.channels import Channel, Channels
from engine.calls.conference import Conferences
from engine.calls.conversation import Conversation
from engine.calls.holding import Hold, Side
from engine.calls.identity import Caller
from engine.calls.leg import CallerLeg, Leg
from engine.calls.links import coupled
from engine.calls.media import MediaError, Stream
from engine.calls.parking import Lots
from engine.calls.peer import Destination, NoChannel, Peer, PeerEnd
from engine.calls.routes import Routes
from engine.calls.targets import Aim
from engine.calls.voicemail.service import VoicemailService
from engine.captures.media import MediaCaptures
from engine.sip.client import OutgoingSession
from engine.sip.dialog_info import DialogState
from engine.sip.flow import Flow
from engine.sip.replaces import Replaces
from engine.sip.session import Session
from engine.sip.uri import Uri
from engine.transport.tap import Tap
from flows.call import CallEnded, Replaced
from flows.orders import Dial, Target
from flows.prompts import Prompt
from media import commands
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall
    from engine.calls.outbound import OutgoingCall
    from engine.calls.plans import CallPlan
    from engine.calls.supervisor import Supervisor


PLACE_PATIENCE = 5.0
"""Seconds in which one of several places of a name must respond to a call, if it is no trunk that says how many."""


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
    own: Callable[[int, Peer], None]
    """The other way round: from now on the events of this session are the peer's."""
    tap: Tap
    tones: Tones
    conferences: Conferences
    lots: Lots
    voicemail: VoicemailService
    flows: Callable[..., Awaitable[list[Flow]]]
    """The ways that a flow to a name comes to, in the order in which to try them."""
    plan: Callable[[str, str], CallPlan | None]
    """What a number of an account's own leads to; the catch-all of a dial plan is nobody's number."""
    is_ours: Callable[[Uri], bool]
    """Whether who is named by a URI is to be looked for here."""
    publish: Callable[[str, str, str], None]
    """Tells those who watch somebody that they are ``idle``, ``ringing`` or ``busy``."""
    dialog: Callable[[Replaces, str], tuple[Supervisor, ConversationSide] | None]
    """The call of an account that has the dialog which is to be replaced, and on which side."""
    live_call: Callable[[str, str], Supervisor | None]
    """A call of an account that lives, by the id of the account and its own."""
    transfers_outside: Literal["nobody", "telephones", "anybody"] = "telephones"
    """Who on the telephone may hand calls on to numbers by trunks, and to SIP URIs elsewhere."""
    channels: Channels = field(default_factory=Channels)
    legs: Channels = field(default_factory=Channels)
    """Those that calls have dialled to outside, by account: each counts as one of its calls, too."""
    calls: Callable[[str], int] = lambda _account: 0
    """How many calls an account has now."""
    bring: Callable[[str, Caller, CallPlan, str], OutgoingCall] | None = None
    """Calls somebody as a caller, for a plan, as somebody wants it (:meth:`engine.calls.switch.Switch.originate`)."""
    captures: MediaCaptures = field(default_factory=lambda: MediaCaptures(Path()))
    lamp: Callable[[str, Session, DialogState, str], None] = lambda _device, _session, _state, _remote: None
    """Tells those who watch a device what it does in the call of a session; the last is the URI of the other end, or
    empty.
    """

    recording_url: Callable[[str, str], str] = lambda _call, _recording: ""
    """Where the sound of a call's recording is to be had, by the ids of both."""

    def channel(self, destination: Destination) -> Channel | None:
        """A channel of the trunk by which ``destination`` is called. Raises :class:`NoChannel`."""
        if (line := destination.line) is None:
            return None
        channel = self.channels.take(line.trunk, line.most)
        if channel is None:
            raise NoChannel(f"all {line.most} channels of {line.trunk} are in use")
        return channel

    def leg(self, destination: Destination, account: str, most: int) -> Channel | None:
        """What a leg takes of the ``most`` calls (0: no limit) of an account, if it leads outside. Raises
        :class:`NoChannel`.
        """
        if destination.device:
            return None
        if most and self.calls(account) + self.legs.used[account] >= most:
            raise NoChannel(f"the account has as many calls as it may ({most})")
        return self.legs.take(account, 0)

    async def located(self, destination: Destination) -> list[Destination]:
        """The places that the name of a destination comes to, in the order in which to try them."""
        flows = await self.flows(destination.flow, any_transport=destination.any_transport)
        if len(flows) > 1 and not destination.trunk:  # one that is silent must not keep the call from the next
            destination = replace(destination, respond_within=PLACE_PATIENCE)
        return [replace(destination, flow=flow) for flow in flows]


@dataclass(slots=True)
class CallHouse:
    """The call of a caller, with the peers that are dialled for it."""

    owner: Supervisor
    caller: Caller
    _ringback: Sequence[Prompt] = ()
    """What the flow has the line hear while it rings; none: the usual tone."""
    _ringing_back: bool = False
    """Whether the line hears something of ours."""
    _heard: Peer | None = None
    """Whose early media the line hears."""
    _rings_for: Peer | None = None
    _page: int = 0
    """The room of a page."""
    _bridge: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def call(self) -> LiveCall:
        return self.owner.call

    @property
    def outside(self) -> Outside:
        return self.owner.outside

    def now(self) -> float:
        return self.call.now()

    def name(self) -> str:
        return self.owner.line_name

    # --- ringing ------------------------------------------------------------------------

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return self._routes().find(target, order, self.caller)

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        return self._routes().follow(destination, uri, order, self.caller)

    def _routes(self) -> Routes:
        return self.outside.routes(self.call.facts.get("call.account", ""))

    async def located(self, destination: Destination) -> list[Destination]:
        return await self.outside.located(destination)

    async def make_peer(self, destination: Destination) -> Peer:
        plan = self.owner.plan
        share = self.outside.leg(destination, plan.account, plan.most_calls)
        try:
            peer = await self.owner.peers.make(destination, self._line_stream().worker)
        except BaseException:
            if share is not None:
                share.release()
            raise
        peer.share = share
        return peer

    def call_peer(self, peer: Peer) -> None:
        self.owner.peers.invite(peer, self._leg().codecs)

    async def forget(self, peer: Peer) -> None:
        if peer is self._heard:
            self._heard = None
        await self.owner.peers.forget(peer)

    def caller_rings(self) -> None:
        self._put_down_ringing()
        leg = self._leg()
        if self._audible():
            self._sound_ringing()
        elif isinstance(leg, CallerLeg):
            leg.invited.ringing(self.now())
            self.owner.pump()

    def caller_hears(self, peer: Peer) -> None:
        self._leg().prefer(peer.leg.codecs)
        if not self._early_media():
            self.caller_rings()
            return
        self._put_down_ringing()
        self._stop_sounds()
        self._heard = peer
        peer.stream.relay(self._line_stream())

    async def ring_back(self, media: str) -> None:
        self._ringback = await self.call.prepare([Prompt(media=media)]) if media else ()
        if self.call.answered_at is not None or (self._ringback and self._early_media()):
            self._sound_ringing()

    def _put_down_ringing(self) -> None:
        if self.call.answered_at is None and not self.call.rang:
            self.call.rang = True
            self.owner.append(records.Rang(time.time(), call=self.call.id))

    def _audible(self) -> bool:
        """Whether the line hears what is played to it: before the answer once there is early media."""
        return self.call.answered_at is not None or self._leg().agreed is not None

    def _early_media(self) -> bool:
        """Have the line hear what is played to it (RFC 3960 section 3.2); whether it does."""
        if self._audible():
            return True
        if problem := self.owner.early_media():
            self.owner.log.info("no_early_media", reason=problem)
        return not problem

    def _sound_ringing(self) -> None:
        """Have the line hear that it rings, unless it hears that or something else already."""
        if self._ringing_back or self._heard is not None:
            return
        self._ringing_back = True
        if self._ringback:
            self.call.start(self._ringback, loop=True)
        else:
            self.call.play_files([self.outside.tones.ringback], loop=True)

    # --- paging -------------------------------------------------------------------------

    async def begin_page(self) -> None:
        await self.call.answer()
        self._stop_sounds()
        self._page = self.outside.conferences.number()
        self._leg().on_hold.watch(self._speak)
        self._speak()

    def page(self, peer: Peer) -> None:
        peer.stream.send(commands.Join(peer.stream.number, self._page, muted=True, gated=False))

    def end_page(self) -> None:
        if self._page:
            self._page = 0
            self._leg().on_hold.unwatch(self._speak)
            if (stream := self.call.stream) is not None:
                stream.send(commands.Leave(stream.number))

    def _speak(self) -> None:
        """The caller is heard and hears nobody; a phone on hold is not heard, whatever music it sends."""
        if (stream := self.call.stream) is not None:
            quiet = self._leg().on_hold.quiet
            stream.send(commands.Join(stream.number, self._page, muted=quiet, deaf=True, gated=False))

    # --- talking ------------------------------------------------------------------------

    def conversing(self, conversation: Conversation | None) -> None:
        self.owner.conversation = conversation

    async def connect(self, peer: Peer, other: Peer | None = None) -> None:
        self._leg().prefer(peer.leg.codecs)
        await self.call.answer()
        await self.disconnect()
        if other is not None:
            one = _side(other)
        else:
            stream, call = self._line_stream(), self.call
            one = Side(stream, self._leg().on_hold, gone=lambda: call.stream is None)
        await self._bridge.enter_async_context(coupled(one, _side(peer), self.outside.tones.music))
        if other is None:
            self.call.background.reached("bridge")
            self.owner.append(
                records.Bridged(
                    time.time(), call=self.call.id, leg=peer.id, party=self.name(), peer=peer.destination.label
                )
            )
            self.owner.parker = peer.destination.device
            self.owner.put_through(peer)
            self._end_silence(one.hold, peer.leg.on_hold)

    def _end_silence(self, *holds: Hold) -> None:
        """Two talk, whose silence counts anew from here, and from every change of a hold."""
        silence = self.call.silence
        silence.broken(rest=False)
        for hold in holds:
            hold.watch(silence.broken)
            self._bridge.callback(hold.unwatch, silence.broken)

    async def disconnect(self) -> None:
        self.call.background.passed("bridge")
        self._stop_sounds()
        await self._bridge.aclose()

    def rings_for(self, peer: Peer) -> None:
        self._rings_for = peer
        peer.stream.play([self.outside.tones.ringback], loop=True)

    def music(self) -> None:
        self._ringing_back = True
        self.call.play_files([self.outside.tones.music], loop=True)

    def go_on(self, aim: Aim, before: tuple[str, str], after: tuple[str, str]) -> None:
        assert aim.plan is not None
        if self.owner.conversation is not None:
            self.owner.parker = self.owner.conversation.peer.destination.device
        self.owner.put_down_transfer("", before, after, attended=False)
        self.call.replace(aim.plan.graph, aim.plan.prompts)

    def off_hold(self) -> None:
        self.owner.off_hold()

    def exchange(self, peer: Peer) -> Peer:
        former = self.owner.exchange(peer)
        self.caller = Caller(self.name())
        return former

    def give_away(self, peer: Peer) -> None:
        self.owner.give_away(peer)

    async def moved(self, peer: Peer) -> None:
        await self.owner.follow_recordings(peer.stream)

    def transferred(self, peer: Peer, before: tuple[str, str], after: tuple[str, str], *, attended: bool) -> None:
        self.owner.put_down_transfer(peer.id, before, after, attended=attended)

    async def wait(self, deadline: float | None) -> str:
        talk = self.owner.conversation
        if talk is None or talk.changing:
            return await self.call.key_or_change(deadline)
        with self.call.silence.counting():
            return await self.call.key_or_change(deadline)

    def poke(self) -> None:
        self.call.poke()

    async def hang_up(self, reason: str) -> None:
        await self.call.hangup(reason)

    async def unless_over(self, work: asyncio.Task[Peer | PeerEnd]) -> Peer | PeerEnd:
        try:
            return await self.call.unless_over(work)
        except (CallEnded, Replaced):
            work.cancel()
            (found,) = await asyncio.gather(work, return_exceptions=True)  # everything that rang is let go by then
            if isinstance(found, Peer):
                await self.forget(found)
            raise
        finally:
            self._stop_sounds()

    def _stop_sounds(self) -> None:
        """What the line hears while it waits, or a peer."""
        self._heard = None
        if self._ringing_back:
            self._ringing_back = False
            self.call.stop()
        if self._rings_for is not None:
            if self._rings_for.state != "ended":
                self._rings_for.stream.stop()
            self._rings_for = None

    def _line_stream(self) -> Stream:
        if self.call.stream is None:
            raise MediaError("the caller's media stream is gone")
        return self.call.stream

    def _leg(self) -> Leg:
        assert self.owner.leg is not None
        return self.owner.leg


def _side(peer: Peer) -> Side:
    return Side(peer.stream, peer.leg.on_hold, gone=lambda: peer.closed)
