"""The kernels of a worker, wired: what works on all its streams at once, each on a part of what happens to them.

Kernels share slots: what each knows of a stream lies in the same row of its arrays. :func:`wired` alone says which of
them leads to which; the tick (:mod:`media.plane`), the life of streams (:mod:`media.lifecycle`) and the commands about
them (:mod:`media.dispatch`) use those that they need.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from media.arena import Arena
from media.bridging import Bridging
from media.captures import Captures
from media.dtmf import ToneReceiver
from media.intake import Intake
from media.jitter import JitterBuffers
from media.keypad import Keypad
from media.listening import Listening
from media.player import Player
from media.reception import Reception
from media.recorder import Recorder
from media.reports import Report
from media.rtcptraffic import RtcpTraffic
from media.sender import Sender
from media.sockets import Sockets
from media.srtp import Shields
from media.streams import Streams
from media.wideband import Wideband


@dataclass(frozen=True, slots=True)
class Kernels:
    """All of them. ``reports`` is what they tell the control process, in one list that stays the same."""

    reports: list[Report]
    streams: Streams
    sockets: Sockets
    shields: Shields
    captures: Captures
    reception: Reception
    rtcp: RtcpTraffic
    jitter: JitterBuffers
    intake: Intake
    player: Player
    wideband: Wideband
    sender: Sender
    keypad: Keypad
    bridging: Bridging
    tones: ToneReceiver
    listening: Listening
    recorder: Recorder


def wired(sockets: Sockets, recorder: Recorder, arena: Arena, wide_arena: Arena, random: Random) -> Kernels:
    """Kernels for as many streams as there are ``sockets``; the arenas keep prompts of 8 and 16 kHz."""
    capacity = sockets.capacity
    reports: list[Report] = []
    streams = Streams(capacity)
    shields = Shields(capacity)
    captures = Captures(sockets, recorder.scribe, reports)
    reception = Reception(capacity)
    jitter = JitterBuffers(capacity)
    player = Player(capacity, arena, reports)
    sender = Sender(sockets, random, shields, captures)
    keypad = Keypad(sender, player)
    rtcp = RtcpTraffic(streams.by_slot, sockets, shields, captures, sender, reception)
    bridging = Bridging(capacity, sender, keypad.press_again, streams.by_slot, reports)
    return Kernels(
        reports=reports,
        streams=streams,
        sockets=sockets,
        shields=shields,
        captures=captures,
        reception=reception,
        rtcp=rtcp,
        jitter=jitter,
        intake=Intake(sockets, reception, jitter, bridging, streams, rtcp, shields, captures, reports),
        player=player,
        wideband=Wideband(capacity, wide_arena, reports),
        sender=sender,
        keypad=keypad,
        bridging=bridging,
        tones=ToneReceiver(capacity, jitter.before),
        listening=Listening(capacity, jitter, reports),
        recorder=recorder,
    )
