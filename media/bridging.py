"""Streams that hear each other: bridges of two by relaying packets or, between codecs, by decoding; rooms of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from media.frames import NO_SLOTS, NO_SOUND, Powers, Samples, Slots, some
from media.jitter import JitterBuffers
from media.mixer import Mixer
from media.relay import NOBODY, Relays
from media.reports import Report, Talking
from media.sender import Sender
from media.stream import Stream


class Bridging:
    """The relays and the rooms of a worker. ``reports`` gets who talks."""

    def __init__(
        self,
        capacity: int,
        sender: Sender,
        press: Callable[[int, str], None],
        by_slot: Sequence[Stream | None],
        reports: list[Report],
    ) -> None:
        """``press`` presses keys on a slot, by events or tones."""
        self.relays = Relays(sender, capacity, press)
        self.reports = reports
        self._mixer = Mixer(capacity)
        self._sender = sender
        self._by_slot = by_slot
        self._rooms: dict[int, int] = {}
        """The room of each stream that was asked into one, by slot."""

    # --- commands -----------------------------------------------------------------------

    def relay(self, stream: Stream, to: Stream | None) -> None:
        """Pass what ``stream`` receives on to ``to``, or no longer."""
        slot = stream.slot
        before = [int(self.relays.to[slot])]
        if to is None:
            self.relays.disconnect(slot)
        elif to is not stream:
            before.append(int(self.relays.source[to.slot]))
            self.relays.connect(slot, to.slot)
        for other in {*before, slot, *([to.slot] if to is not None else [])} - {NOBODY}:
            self._settle(other)

    def join(self, stream: Stream, room: int, *, muted: bool, deaf: bool, gated: bool, now: float) -> None:
        """Into ``room``, or stay there with other rights."""
        self._rooms[stream.slot] = room
        self._mixer.join(stream.slot, room, muted=muted, deaf=deaf, gated=gated)
        self._tell(now)

    def leave(self, stream: Stream, now: float) -> None:
        """Out of the room."""
        if self._rooms.pop(stream.slot, None) is not None:
            self._mixer.leave(stream.slot)
            self._tell(now)
            self._settle(stream.slot)

    def direct(self, stream: Stream) -> None:
        """SDP changed what ``stream`` sends or receives."""
        self._settle(stream.slot)

    def drop(self, stream: Stream, now: float) -> None:
        """The stream is going."""
        slot = stream.slot
        partners = [int(self.relays.to[slot]), int(self.relays.source[slot])]
        self.relays.disconnect(slot)
        if partners[1] != NOBODY:
            self.relays.disconnect(partners[1])
        self._rooms.pop(slot, None)
        self._mixer.leave(slot)
        self._tell(now)
        for other in {*partners} - {NOBODY}:
            self._settle(other)

    def _settle(self, slot: int) -> None:
        """Let the packets of the pairs that ``slot`` is in pass as they are, or mix them in a room of two."""
        to, source = int(self.relays.to[slot]), int(self.relays.source[slot])
        for one, other in ((slot, to), (source, slot)):
            if one != NOBODY and other != NOBODY:
                self.relays.set_plain(one, plain=self._alike(one, other) and self._both_there(one, other))
        if slot in self._rooms:
            return
        if to != NOBODY and not self._alike(slot, to):
            partner = to
        elif source != NOBODY and not self._alike(source, slot):
            partner = source
        else:
            self._mixer.leave(slot)
            return
        room = -1 - min(slot, partner)
        for one, other in ((slot, partner), (partner, slot)):
            if one not in self._rooms:
                speaks, hears = self.relays.to[one] == other, self.relays.source[one] == other
                self._mixer.join(one, room, muted=not speaks, deaf=not hears, gated=False)

    def _alike(self, one: int, other: int) -> bool:
        """Whether what ``one`` receives can be sent by ``other`` as it is."""
        first, second = self._by_slot[one], self._by_slot[other]
        if first is None or second is None or first.codec is not second.codec:
            return False
        # Some send the other G.711 law than they were told.
        return not first.codec.is_g711 or first.heard_type == second.codec.payload_type

    def _both_there(self, one: int, other: int) -> bool:
        """Whether ``one`` may be heard and ``other`` be sent to: neither is on hold."""
        first, second = self._by_slot[one], self._by_slot[other]
        assert first is not None
        assert second is not None
        return first.live and first.may_receive and second.live and second.may_send and second.peer is not None

    # --- sound --------------------------------------------------------------------------

    def hear(self, members: Slots, received: Samples, levels: Powers, number: int, now: float) -> None:
        """Tick ``number`` brings a frame of each of ``members``."""
        inside = self._mixer.member[members]
        if some(inside):
            self._mixer.feed(members[inside], received[inside], levels[inside], number)
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Who began or ended to talk."""
        for slot, on in self._mixer.talking:
            stream = self._by_slot[slot]
            if stream is not None:
                self.reports.append(Talking(stream.number, on, now))
        self._mixer.talking.clear()

    def mixed(self, members: Slots) -> tuple[Slots, Samples]:
        """(those of ``members`` that are in rooms, what they hear there)."""
        inside = members[self._mixer.member[members]]
        return inside, self._mixer.output(inside) if inside.size else NO_SOUND

    def sending(self, sending: Slots, sounding: Slots) -> Slots:
        """Those of ``sending`` that send a frame of their own: who is fed by a relay does only while it plays something
        or presses keys, and hears nothing of the relay then.
        """
        if not self.relays.count:
            return sending
        fed = self.relays.fed(sending)
        if not some(fed):
            return sending
        slots = sending[fed]
        busy = np.isin(slots, sounding) | self._sender.pressing(slots)
        self.relays.interrupt(slots, busy)
        own = ~fed
        own[fed] = busy
        return sending[own]

    def fill_in(self, members: Slots, sent: Samples, jitter: JitterBuffers) -> None:
        """What those of ``members`` that are fed by relays were sent, as far as it is not in ``sent`` yet: the frame of
        the other side that was played last.
        """
        if self.relays.count:
            fed = np.flatnonzero(self.relays.fed(members) & ~self.relays.interrupted(members))
            if fed.size:
                sent[fed] = jitter.last(self.relays.source[members[fed]])

    def early(self, opposite: Slots) -> Slots:
        """Of the streams whose phase is ``opposite``, 10 ms away, those whose packets go on without waiting for it."""
        return self.relays.early(opposite) if self.relays.count else NO_SLOTS
