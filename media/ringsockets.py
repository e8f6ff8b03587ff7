"""In and out by io_uring: what latched sockets hold is taken, and what a phase sends leaves, with one system call each.

Sockets that have not latched on their peer, and RTCP, go on as in :mod:`media.sockets`: they are few.
"""

from __future__ import annotations

import errno
import socket

import numpy as np
from numpy.typing import NDArray

from media import uring
from media.frames import NO_SLOTS, Flags, Slots, every
from media.latch import Address
from media.ports import PortPool
from media.rates import PHASES
from media.sockets import OUT_ROW, ROW, ROWS, Sockets

TIMED_EVERY = 8
"""Frames from one in which packets are taken with the time at which the kernel got them to the next: the turn of their
stream, up to 20 ms later, says nothing of jitter."""

PROBE_EVERY = 16
"""Frames from one in which all sockets are tried until they are empty to the next."""

AT_ONCE = ROWS - 128
"""Sockets tried at once; the rows that are left over are for those that have not latched."""

_NOTHING = (NO_SLOTS, NO_SLOTS, NO_SLOTS)


class RingSockets(Sockets):
    """Sockets of which those that have latched are read and written by io_uring. Raises :class:`OSError` without it.

    A socket is tried when its stream is due, not when something lies in it: cheaper than asking first, and nothing is
    lost by it, as a packet is not heard before its stream is due (relayed ones, which are, are tried twice as often).
    One try is enough where packets come one for each frame. It is followed by more, until the socket is empty, after
    anything else: a frame without a packet, a packet that is not the next one, two packets in a frame; and now and
    then, as clocks are not equally fast.
    """

    def __init__(self, capacity: int, ports: PortPool, *, timed: bool = True) -> None:
        """``timed``: the kernel tells when some of the packets came, and nobody of the others."""
        super().__init__(capacity, ports)
        self.about = "io_uring"
        self._timed = timed
        self._turn = 0
        self._ring = uring.Ring(2 * ROWS + capacity)
        self._latched: Flags = np.zeros(capacity, np.bool_)
        self._waiting: Slots = NO_SLOTS
        self._fds: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        self._suspected: Flags = np.zeros(capacity, np.bool_)
        self._stamp_slots: Flags = np.zeros(capacity, np.bool_)
        self._first = True
        self._expected = 0
        # Entry i < ROWS takes a packet into row i, of whatever socket it is given; entry ROWS + i takes the time of its
        # arrival with it; entry 2 * ROWS + slot sends its row.
        self._numbers: NDArray[np.uint32] = np.arange(2 * ROWS + capacity, dtype=np.uint32)
        self._stamped = uring.StampedReads(self.rows[:AT_ONCE])
        entries = self._ring.entries
        taking, stamping = entries[:ROWS], entries[ROWS : ROWS + AT_ONCE]
        sending = entries[2 * ROWS : 2 * ROWS + capacity]
        for part, opcode, addresses, length in (
            (taking, uring.RECV, uring.addresses(self.rows), ROW),
            (stamping, uring.RECVMSG, uring.addresses(self._stamped.headers), 1),
            (sending, uring.SEND, uring.addresses(self.out), OUT_ROW),
        ):
            part["opcode"] = opcode
            part["address"] = addresses
            part["length"] = length
            part["op_flags"] = socket.MSG_DONTWAIT
            part["user_data"] = np.arange(len(part))
            part["fd"] = -1
        sending["flags"] = uring.SILENT_SUCCESS
        self._taking: NDArray[np.int32] = taking["fd"]
        self._stamping: NDArray[np.int32] = stamping["fd"]
        self._sending: NDArray[np.int32] = sending["fd"]

    def close(self, slot: int, now: float) -> None:
        self._set_latched(slot, on=False)
        super().close(slot, now)

    def direct(self, slot: int, remote: Address | None) -> None:
        if self._latched[slot]:
            self._set_latched(slot, on=False)
            self._watch(slot, on=True)
        super().direct(slot, remote)

    def latch(self, slot: int, source: Address) -> None:
        super().latch(slot, source)
        if self._timed:
            self._take(slot).rtp.setsockopt(socket.SOL_SOCKET, uring.SO_TIMESTAMPNS, 1)
        if not self._latched[slot]:
            self._watch(slot, on=False)
        self._set_latched(slot, on=True)

    def stamp(self, slot: int, *, on: bool) -> None:
        super().stamp(slot, on=on)
        self._stamp_slots[slot] = on

    def _set_latched(self, slot: int, *, on: bool) -> None:
        self._latched[slot] = on
        self._fds[slot] = self._sending[slot] = self._take(slot).rtp.fileno() if on else -1
        self._suspected[slot] = True

    def receive(self, due: Slots, early: Slots = NO_SLOTS, *, anew: bool) -> int:
        """Take at most one packet from each socket of ``due`` and ``early``, and ``anew`` from those that have not
        latched.
        """
        self.sources.clear()
        self.control.clear()
        self.arrivals = np.nan if self._timed else None
        tried = due[self._latched[due]]
        self._expected = tried.size if anew else 0
        if early.size:
            tried = np.concatenate([tried, early[self._latched[early]]])
        tried, self._waiting = tried[:AT_ONCE], tried[AT_ONCE:]
        self._first = anew
        if anew:
            self._turn += 1
        found = self._take_from(tried) if tried.size else _NOTHING
        self.places, self.slots, self.lengths = self._add_others(found) if anew else found
        return self.slots.size

    def _take_from(self, tried: Slots) -> tuple[Slots, Slots, Slots]:
        """(places, slots, lengths) of the packets that the latched sockets of ``tried`` held."""
        count = tried.size
        stamped = self._timed and self._first and self._turn // PHASES % TIMED_EVERY == 0
        if stamped:
            self._stamping[:count] = self._fds[tried]
            self._stamped.prepare(count)
            taken = self._ring.submit(self._numbers[ROWS : ROWS + count])
        elif self._to_stamp and (chosen := self._stamp_slots[tried]).any():
            self._taking[:count] = self._stamping[:count] = self._fds[tried]
            self._stamped.prepare(count)
            taken = self._ring.submit(self._numbers[:count] + np.uint32(ROWS) * chosen)
        else:
            self._taking[:count] = self._fds[tried]
            taken = self._ring.submit(self._numbers[:count])
        users, results = self._ring.completions()
        if stamped:
            stamps = self._stamped.times(users)
        if self._to_stamp:
            self.stamps[users] = self._stamped.times(users)
        hit = results >= 0
        if every(hit) and users.size == count:
            if stamped:
                self.arrivals = stamps
            return users, tried[users], results.astype(np.intp)
        if taken < count:  # no memory: the rest is for another round
            self._waiting = np.concatenate([tried[taken:], self._waiting])
        places, missed = users[hit], users[~hit]
        self._note_refusals(results)
        self._suspected[tried[missed[missed < self._expected]]] = True
        if stamped:
            self.arrivals = stamps[hit]
        return places, tried[places], results[hit].astype(np.intp)

    def _note_refusals(self, results: NDArray[np.int32]) -> None:
        """Count ICMP errors, which packets of ours came back with."""
        self.refused += int(np.count_nonzero((results < 0) & (results != -errno.EAGAIN)))

    def _add_others(self, found: tuple[Slots, Slots, Slots]) -> tuple[Slots, Slots, Slots]:
        """``found``, and what lies in the sockets that have not latched."""
        slots, lengths = self._poll(AT_ONCE)
        if not slots:
            return found
        if isinstance(self.arrivals, np.ndarray):
            self.arrivals = np.concatenate([self.arrivals, np.full(len(slots), np.nan)])
        places = np.arange(AT_ONCE, AT_ONCE + len(slots))
        return (
            np.concatenate([found[0], places]),
            np.concatenate([found[1], np.array(slots, np.intp)]),
            np.concatenate([found[2], np.array(lengths, np.intp)]),
        )

    def suspect(self, slots: Slots) -> None:
        self._suspected[slots] = True

    def again(self, due: Slots, *, all_of_it: bool = False) -> Slots:
        """Streams whose sockets may hold more, and those that the last round left out. Suspected ones are emptied."""
        got = self.slots[self._latched[self.slots]]
        if not self._first:
            self._suspected[got] = True
        elif self._turn // PHASES % PROBE_EVERY:
            suspected = self._suspected[got]
            self._suspected[got] = False
            got = got[suspected]
        return np.concatenate([self._waiting, got]) if self._waiting.size else got

    def transmit(self, slots: Slots) -> list[int]:
        by_ring = self._latched[slots]
        lost: list[int] = []
        if not every(by_ring):
            lost = super().transmit(slots[~by_ring])
            slots = slots[by_ring]
        if slots.size:
            taken = self._ring.submit(self._numbers[slots + 2 * ROWS])
            users, _ = self._ring.completions()  # failures alone
            lost += users.tolist()
            lost += slots[taken:].tolist()
        return lost
