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
"""Frames from one in which packets are taken with the time at which the kernel got them to the next: the turn of their
stream, up to 20 ms later, says nothing of jitter."""

AT_ONCE = ROWS // 2 - 64
"""Sockets tried at once, each twice; the rows that are left over are for those that have not latched."""


_NOTHING = (NO_SLOTS, NO_SLOTS, NO_SLOTS)


class RingSockets(Sockets):
    """Sockets of which those that have latched are read and written by io_uring. Raises :class:`OSError` without it.

    A socket is tried when its stream is due, not when something lies in it, and until it is empty: cheaper than asking
    first, and nothing is lost by it, as a packet is not heard before its stream is due. The second try, which mostly
    finds nothing, goes with the first one; what it found is the next round.
    """

    def __init__(self, capacity: int, ports: PortPool, *, timed: bool = True) -> None:
        """``timed``: the kernel tells when some of the packets came, and nobody of the others."""
        super().__init__(capacity, ports)
        self.about = "io_uring"
        self._timed = timed
        self._turn = 0
        self._ring = uring.Ring(2 * ROWS + capacity)
        self._latched: Flags = np.zeros(capacity, np.bool_)
        self._fds: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        self._waiting: Slots = NO_SLOTS
        self._second: tuple[Slots, Slots, Slots] = _NOTHING
        # Entry i < ROWS takes a packet into row i, of whatever socket it is given: the even ones at the first try, the
        # odd ones at the second. Entry ROWS + i takes one into row 2 * i, and the time of its arrival with it. Entry
        # 2 * ROWS + slot sends its row.
        self._numbers: NDArray[np.uint32] = np.arange(2 * ROWS + capacity, dtype=np.uint32)
        self._places = np.arange(0, 2 * AT_ONCE, 2)
        self._stamped = uring.StampedReads(self.rows[0 : 2 * AT_ONCE : 2])
        entries = self._ring.entries
        taking, stamping = entries[:ROWS], entries[ROWS : ROWS + AT_ONCE]
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
        self.arrivals = np.nan if self._timed else None
        if self._second[0].size:
            found, self._second = self._second, _NOTHING
        else:
            tried = due[self._latched[due]]
            tried, self._waiting = tried[:AT_ONCE], tried[AT_ONCE:]
            found = self._take_from(tried, stamped=anew and self._is_time_to_stamp()) if tried.size else _NOTHING
        if anew:
            found = self._add_others(found)
        self.places, self.slots, self.lengths = found
        return self.slots.size

    def _is_time_to_stamp(self) -> bool:
        self._turn += 1
        return self._timed and self._turn // PHASES % TIMED_EVERY == 0

    def _take_from(self, tried: Slots, *, stamped: bool) -> tuple[Slots, Slots, Slots]:
        """(places, slots, lengths) of the packets that the latched sockets of ``tried`` held; second ones wait."""
        count = tried.size
        fds = self._fds[tried]
        self._taking_fds[0 : 2 * count : 2] = fds
        self._taking_fds[1 : 2 * count : 2] = fds
        numbers = self._numbers[: 2 * count]
        if stamped:
            self._stamping_fds[:count] = fds
            self._stamped.prepare(count)
            numbers = numbers.copy()
            numbers[0::2] = self._numbers[ROWS : ROWS + count]
        if self._ring.submit(numbers) < numbers.size:
            raise OSError(errno.EBUSY, "io_uring does not take what it was given")
        _, results = self._ring.completions()
        first, second = results[0::2], results[1::2]
        got = np.flatnonzero(first >= 0)
        if got.size < count:
            self._note_refusals(first)
        if stamped:
            self.arrivals = self._stamped.times(got)
        more = np.flatnonzero(second >= 0)
        if more.size:
            self._second = (2 * more + 1, tried[more], second[more].astype(np.intp))
        if got.size == count:
            return self._places[:count], tried, first.astype(np.intp)
        return 2 * got, tried[got], first[got].astype(np.intp)

    def _note_refusals(self, results: NDArray[np.int32]) -> None:
        """Count ICMP errors, which packets of ours came back with."""
        self.refused += int(np.count_nonzero((results < 0) & (results != -errno.EAGAIN)))

    def _add_others(self, found: tuple[Slots, Slots, Slots]) -> tuple[Slots, Slots, Slots]:
        """``found``, and what lies in the sockets that have not latched."""
        slots, lengths = self._poll(2 * AT_ONCE)
        if not slots:
            return found
        if isinstance(self.arrivals, np.ndarray):
            self.arrivals = np.concatenate([self.arrivals, np.full(len(slots), np.nan)])
        places = np.arange(2 * AT_ONCE, 2 * AT_ONCE + len(slots))
        return (
            np.concatenate([found[0], places]),
            np.concatenate([found[1], np.array(slots, np.intp)]),
            np.concatenate([found[2], np.array(lengths, np.intp)]),
        )

    def again(self, due: Slots) -> Slots:
        """Streams whose sockets gave two packets, and those that the last round left out."""
        more = self._second[1]
        return np.concatenate([self._waiting, more]) if self._waiting.size else more

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
