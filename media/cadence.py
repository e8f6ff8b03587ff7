"""When ticks happen: every 5 ms on absolute deadlines, never two frames of a stream at once after a delay."""

from __future__ import annotations

from dataclasses import dataclass

from media.rates import FRAME_SECONDS, PHASE_SECONDS, PHASES

CATCH_UP = PHASE_SECONDS / 2
"""Least time between two ticks while behind: a stream's packets then leave 10 ms apart."""

GIVE_UP = 0.2
"""Behind by more than this many seconds, whole frames are skipped instead of made up for."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Tick ``number`` (its phase is ``number % PHASES``) begins ``late`` seconds late, after ``skipped`` frames; it is
    ``behind`` by so many whole frames even so.
    """

    number: int
    late: float
    skipped: int
    behind: int


class Cadence:
    """The schedule of one worker; :attr:`due` is when to tick next."""

    def __init__(self, now: float) -> None:
        self.due = now
        self._deadline = now
        self._number = -1

    def resume(self, now: float) -> None:
        """Go on at ``now`` after a time without ticks."""
        self._deadline = self.due = max(now, self.due)

    def begin(self, now: float) -> Tick:
        """A tick begins at ``now``, which is not before :attr:`due`."""
        late = max(0.0, now - self._deadline)
        skipped = 0
        if late > GIVE_UP:
            skipped = int(late / FRAME_SECONDS)
            self._number += skipped * PHASES
            self._deadline += skipped * FRAME_SECONDS
        self._number += 1
        self._deadline += PHASE_SECONDS
        self.due = max(self._deadline, now + CATCH_UP)
        return Tick(self._number, late, skipped, int(late / FRAME_SECONDS) - skipped)
