"""Recordings that no step of the flow waits for: from now on, or from a moment that is still to come."""

from __future__ import annotations

from typing import Literal

from engine.calls.signalling import Signalling
from flows.call import RecordingOrder

Moment = Literal["now", "answer", "bridge"]


class BackgroundRecordings:
    """Those of one call. They run until they are stopped, or the call is over."""

    def __init__(self, signalling: Signalling) -> None:
        self.signalling = signalling
        self.running: set[str] = set()
        """Their ids."""
        self._due: set[Moment] = {"now"}
        self._later: list[tuple[Moment, RecordingOrder]] = []

    def begin(self, order: RecordingOrder, on: Moment = "now") -> str:
        """Record from now on, or not before the call is answered or bridged.

        Returns the id of the recording, empty if it has not begun.
        """
        if on not in self._due:
            self._later.append((on, order))
            return ""
        recording = self.signalling.begin_recording(order)
        self.running.add(recording)
        return recording

    def reached(self, moment: Moment) -> None:
        """The call is answered, or bridged: what waited for that begins."""
        self._due.add(moment)
        waited = [order for on, order in self._later if on == moment]
        self._later = [(on, order) for on, order in self._later if on != moment]
        for order in waited:
            self.begin(order)

    def passed(self, moment: Moment) -> None:
        """The call is bridged no more."""
        self._due.discard(moment)

    def stop(self, recording: str) -> None:
        """End one of them."""
        self.running.discard(recording)
        self.signalling.end_recording(recording)

    def stop_all(self) -> bool:
        """End all, and begin none of those that wait; whether there was anything."""
        for recording in self.running:
            self.signalling.end_recording(recording)
        found = bool(self.running or self._later)
        self.running.clear()
        self._later.clear()
        return found
