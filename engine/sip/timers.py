"""RFC 3261's timer values, and the one queue that all timers of an endpoint wait in.

Times are seconds on a monotonic clock that the caller reads; nothing here knows what time it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

Action = Callable[[float], None]

_COMPACT_ABOVE = 64


@dataclass(frozen=True, slots=True)
class Timers:
    """The base values of RFC 3261 table 4; the lettered timers follow from them. Seconds."""

    t1: float = 0.5
    """Round-trip time estimate."""
    t2: float = 4.0
    """The longest interval between retransmissions of a non-INVITE request or an INVITE response."""
    t4: float = 5.0
    """How long a message may live in the network."""
    d: float = 32.0
    """Wait for retransmitted responses to an INVITE over datagrams: at least 32 s whatever T1 is."""

    @property
    def transaction(self) -> float:
        """64*T1: timers B, F, H, J (RFC 3261), L and M (RFC 6026), and the wait for an ACK."""
        return 64 * self.t1


class Timer:
    """One entry of a :class:`TimerQueue`; ``action`` is ``None`` once it fired or was cancelled."""

    __slots__ = ("action", "deadline")

    def __init__(self, deadline: float, action: Action) -> None:
        self.deadline = deadline
        self.action: Action | None = action


class TimerQueue:
    """A heap of timers with lazy cancellation.

    Most SIP timers are cancelled long before their time, so a cancelled entry stays in the heap until it
    surfaces or until dead entries outnumber the living; then the heap is rebuilt.
    """

    __slots__ = ("_dead", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = count()
        self._dead = 0

    def __len__(self) -> int:
        """Timers that will still fire."""
        return len(self._heap) - self._dead

    def at(self, deadline: float, action: Action) -> Timer:
        """Call ``action(now)`` once ``deadline`` is reached."""
        timer = Timer(deadline, action)
        heapq.heappush(self._heap, (deadline, next(self._serial), timer))
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Drop ``timer``; nothing happens if it is ``None``, has fired, or was cancelled before."""
        if timer is None or timer.action is None:
            return
        timer.action = None
        self._dead += 1
        if self._dead > _COMPACT_ABOVE and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def deadline(self) -> float | None:
        """When the next timer is due, ``None`` if there is none."""
        heap = self._heap
        while heap:
            if heap[0][2].action is not None:
                return heap[0][0]
            heapq.heappop(heap)
            self._dead -= 1
        return None

    def fire(self, now: float) -> None:
        """Run every timer that is due at ``now``, earliest first, equal ones in the order they were set."""
        while True:
            deadline = self.deadline()
            if deadline is None or deadline > now:
                return
            _, _, timer = heapq.heappop(self._heap)
            action, timer.action = timer.action, None
            assert action is not None
            action(now)
