"""In and out by io_uring: what latched sockets hold is taken, and what a phase sends leaves, with one system call each.

Sockets that have not latched on their peer, and RTCP, go on as in :mod:`media.sockets`: they are few.
"""

from __future__ import annotations

import errno
import socket

import numpy as np
from numpy.typing import NDArray

from media import uring
from media.frames import NO_SLOTS, Flags, Slots
from media.latch import Address
from media.ports import PortPool
from media.rates import PHASES
from media.sockets import OUT_ROW, ROW, ROWS, Sockets

TIMED_EVERY = 8
"""Of a stream's packets, one in so many is taken with the time at which the kernel got it: the stream's own turn, up to
20 ms later, says nothing of jitter."""

AT_ONCE = ROWS - 256
"""Sockets tried in one round; the rows above are for those that have not latched."""


class RingSockets(Sockets):
    """Sockets of which those that have latched are read and written by io_uring. Raises :class:`OSError` without it.

    A socket is tried when its stream is due, not when something lies in it, and until it is empty: cheaper than asking
    first, and nothing is lost by it, as a packet is not heard before its stream is due.
    """

    def __init__(self, capacity: int, ports: PortPool, *, timed: bool = True) -> None:
        """``timed``: ``arrivals`` of some packets are told by the kernel, and nothing of the others."""
        super().__init__(capacity, ports)
        self.about = "io_uring"
        self._timed = timed
        self._turn = 0
        self._ring = uring.Ring(2 * ROWS + capacity)
        self._latched: Flags = np.zeros(capacity, np.bool_)
        self._fds: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        self._waiting: Slots = NO_SLOTS
        # Entry i < ROWS takes a packet into row i, of whatever socket it is given; entry ROWS + i does so with the time
        # of its arrival; entry 2 * ROWS + slot sends its row.
        self._numbers: NDArray[np.uint32] = np.arange(2 * ROWS + capacity, dtype=np.uint32)
        self._stamped = uring.StampedReads(self.rows)
        entries = self._ring.entries
        taking, stamping = entries[:ROWS], entries[ROWS : 2 * ROWS]
        sending = entries[2 * ROWS : 2 * ROWS + capacity]
        for part, opcode, addresses, length in (
            (taking, uring.RECV, uring.addresses(self.rows), ROW),
            (stamping, uring.RECVMSG, uring.addresses(self._stamped.headers), 1),
            (sending, uring.SEND, uring.addresses(self.out), OUT_ROW),
        ):
            part["opcode"] = opcode
            part["fd"] = -1
            part["address"] = addresses
            part["length"] = length
            part["op_flags"] = socket.MSG_DONTWAIT
            part["user_data"] = np.arange(len(part))
        sending["flags"] = uring.SILENT_SUCCESS
        self._taking_fds: NDArray[np.int32] = taking["fd"]
        self._stamping_fds: NDArray[np.int32] = stamping["fd"]
        self._sending_fds: NDArray[np.int32] = sending["fd"]

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

    def _set_latched(self, slot: int, *, on: bool) -> None:
        fd = self._take(slot).rtp.fileno() if on else -1
        self._latched[slot] = on
        self._fds[slot] = self._sending_fds[slot] = fd

    def receive(self, due: Slots, *, anew: bool) -> int:
        """Take at most one packet from each socket of ``due``, and ``anew`` from those that have not latched."""
        self.sources.clear()
        self.control.clear()
        tried = due[self._latched[due]]
        tried, self._waiting = tried[:AT_ONCE], tried[AT_ONCE:]
        self.arrivals = None
        self.places, self.slots, self.lengths = self._take_from(tried) if tried.size else (NO_SLOTS,) * 3
        if anew:
            self._turn += 1
            slots, lengths = self._poll(AT_ONCE)
            if slots:
                self.places = np.concatenate([self.places, np.arange(AT_ONCE, AT_ONCE + len(slots))])
                self.slots = np.concatenate([self.slots, slots])
                self.lengths = np.concatenate([self.lengths, lengths])
                if self.arrivals is not None:
                    self.arrivals = np.concatenate([self.arrivals, np.full(len(slots), np.nan)])
        return self.slots.size

    def _take_from(self, tried: Slots) -> tuple[Slots, Slots, Slots]:
        """(places, slots, lengths) of the packets that the latched sockets of ``tried`` held."""
        count = tried.size
        fds = self._fds[tried]
        self._taking_fds[:count] = fds
        numbers = self._numbers[:count]
        if self._timed:
            stamped = np.flatnonzero((tried + self._turn // PHASES) % TIMED_EVERY == 0)
            self._stamping_fds[stamped] = fds[stamped]
            self._stamped.prepare(stamped)
            numbers = numbers.copy()
            numbers[stamped] += ROWS
        taken = self._ring.submit(numbers)
        users, results = self._ring.completions()
        got = results >= 0
        if got.all() and taken == count:
            places, slots = users.astype(np.intp), tried
        else:
            self.refused += int(np.count_nonzero(~got & (results != -errno.EAGAIN)))  # ICMP errors, by our own packets
            places = users[got].astype(np.intp)
            slots, results = tried[places], results[got]
        if self._timed:
            arrivals = np.full(count, np.nan)
            arrivals[stamped] = self._stamped.times(stamped)
            self.arrivals = arrivals[places]
        return places, slots, results.astype(np.intp)

    def again(self, due: Slots) -> Slots:
        """Streams whose sockets gave a packet in the last round, and those that it left out."""
        return np.concatenate([self._waiting, self.slots[self._latched[self.slots]]])

    def transmit(self, slots: Slots) -> list[int]:
        by_ring = self._latched[slots]
        lost: list[int] = []
        if not by_ring.all():
            lost = super().transmit(slots[~by_ring])
            slots = slots[by_ring]
        if slots.size:
            taken = self._ring.submit(self._numbers[slots + 2 * ROWS])
            users, _ = self._ring.completions()  # failures alone
            lost += users.tolist()
            lost += slots[taken:].tolist()
        return lost
