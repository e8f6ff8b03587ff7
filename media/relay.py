"""Bridges: what one stream receives goes out of another one, packet by packet, under that one's numbering.

A relayed packet is not decoded, buffered or paced for it: it leaves in the tick that it came in, and what the network
did to it shows at the other end. Usual packets go in batches, the rest one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media import rtp
from media.frames import Flags, Octets, Slots, every, some
from media.rates import RATE
from media.sender import Sender

NOBODY = -1

KEYS_WAITING = 16
"""Keys that may wait to be pressed again; more are dropped."""

JUMP = 2 * RATE
"""Timestamps further than this from where they should be are those of another clock."""


class Relays:
    """Who is relayed to whom. ``to`` has the receiving slot of each slot, or -1, and ``source`` the other way round;
    ``count`` is how many are relayed.

    A relay is *open* while packets may pass as they are: both in one codec, nobody on hold, and nothing else is sent
    there.
    """

    def __init__(self, sender: Sender, capacity: int, press: Callable[[int, str], None]) -> None:
        """``press`` presses keys on a slot, by events or tones."""
        self.to: Slots = np.full(capacity, NOBODY, np.intp)
        self.source: Slots = np.full(capacity, NOBODY, np.intp)
        self.count = 0
        self._sender = sender
        self._press = press
        self._plain: Flags = np.zeros(capacity, np.bool_)
        self._interrupted: Flags = np.zeros(capacity, np.bool_)
        self._numbered: Flags = np.zeros(capacity, np.bool_)
        # What is added to the numbers of the packets of a slot.
        self._sequence: NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self._timestamp: NDArray[np.uint32] = np.zeros(capacity, np.uint32)

    def connect(self, slot: int, to: int) -> None:
        """Relay ``slot`` to ``to`` instead of what was relayed from the one and to the other."""
        self.disconnect(slot)
        if self.source[to] != NOBODY:
            self.disconnect(int(self.source[to]))
        self.to[slot], self.source[to] = to, slot
        self.count += 1
        self._interrupted[slot] = self._plain[slot] = self._numbered[slot] = False

    def disconnect(self, slot: int) -> None:
        """Relay nothing of ``slot`` any more."""
        to = self.to[slot]
        if to != NOBODY:
            self._sender.resume(int(to))
            self._sender.release_keys(int(to))
            self.to[slot] = self.source[to] = NOBODY
            self.count -= 1
        self._plain[slot] = False

    def set_plain(self, slot: int, *, plain: bool) -> None:
        """Whether packets of ``slot`` may pass as they are."""
        if self._plain[slot] != plain:
            if not plain:
                self._sender.resume(int(self.to[slot]))
            self._plain[slot] = plain
            self._numbered[slot] = False

    def renumber(self, slot: int) -> None:
        """``slot`` has another source, whose numbers are not those of the one before."""
        self._numbered[slot] = False

    def fed(self, slots: Slots) -> Flags:
        """Which of ``slots`` get their sound from an open relay."""
        source = self.source[slots]
        fed: Flags = (source != NOBODY) & self._plain[source]
        return fed

    def early(self, slots: Slots) -> Slots:
        """Those of ``slots`` whose packets go on without waiting for the turn of their stream."""
        return slots[self._plain[slots] & ~self._interrupted[slots]]

    def interrupted(self, slots: Slots) -> Flags:
        """Which of ``slots``, as far as they are fed by relays, send something else for the time being."""
        interrupted: Flags = self._interrupted[self.source[slots]]
        return interrupted

    def interrupt(self, slots: Slots, busy: Flags) -> None:
        """Of ``slots``, all fed by relays, those that are ``busy`` send something of their own in this frame."""
        source = self.source[slots]
        changed = self._interrupted[source] != busy
        if some(changed):
            self._interrupted[source] = busy
            self._numbered[source[changed]] = False
            for slot in slots[changed & busy].tolist():
                self._sender.resume(slot)

    def pass_on(self, slots: Slots, heads: rtp.Columns, places: Slots, payloads: Octets) -> None:
        """Usual packets, one for each of ``slots``: what lies in the rows ``places`` of ``heads``, and their sound."""
        passing = self._plain[slots] & ~self._interrupted[slots]
        if not every(passing):
            if not some(passing):
                return
            slots, places, payloads = slots[passing], places[passing], payloads[passing]
        sequences = heads.sequence[places].astype(np.uint16)
        timestamps = heads.timestamp[places].astype(np.uint32)
        targets = self.to[slots]
        off = (timestamps + self._timestamp[slots] - self._sender.timestamp[targets]).view(np.int32)
        for index in np.flatnonzero(~self._numbered[slots] | (np.abs(off) > JUMP)).tolist():
            self._number(int(slots[index]), int(sequences[index]), int(timestamps[index]))
        self._sender.forward(
            targets,
            sequences + self._sequence[slots],
            timestamps + self._timestamp[slots],
            heads.second[places] & np.uint8(rtp.MARKER),
            payloads,
        )

    def pass_packet(self, slot: int, packet: rtp.Packet, *, is_event: bool) -> None:
        """Any other packet."""
        if not self._plain[slot] or self._interrupted[slot]:
            return
        if not self._numbered[slot]:
            self._number(slot, packet.sequence, packet.timestamp)
        passed = self._sender.forward_packet(
            int(self.to[slot]),
            (packet.sequence + int(self._sequence[slot])) & 0xFFFF,
            (packet.timestamp + int(self._timestamp[slot])) & 0xFFFFFFFF,
            packet,
            is_event=is_event,
        )
        if not passed:  # so that its number is not missed
            self._sequence[slot] = (int(self._sequence[slot]) - 1) & 0xFFFF

    def press(self, slot: int, digit: str, *, apart: bool) -> None:
        """``digit`` was pressed on ``slot`` by events, or ``apart``: under another numbering than its sound, or not in
        its packets at all. Those, and all where events do not pass as they are, are pressed again.
        """
        to = int(self.to[slot])
        if to == NOBODY:
            return
        passes = self._plain[slot] and not self._interrupted[slot] and self._sender.takes_events(to)
        if (apart or not passes) and self._sender.keys_waiting(to) < KEYS_WAITING:
            self._press(to, digit)

    def _number(self, slot: int, sequence: int, timestamp: int) -> None:
        """The packet with these numbers is the next that the receiving slot sends."""
        self._sender.resume(int(self.to[slot]))
        next_sequence, now = self._sender.next_numbers(int(self.to[slot]))
        self._sequence[slot] = (next_sequence - sequence) & 0xFFFF
        self._timestamp[slot] = (now - timestamp) & 0xFFFFFFFF
        self._numbered[slot] = True
