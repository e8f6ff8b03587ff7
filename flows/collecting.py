"""How a step that takes keys decides: one pure state machine for keys, prompt and time.

Keys pressed ahead count: when there is one, no prompt is heard. Otherwise any key that counts stops the prompt.
After the last possible key, a finishing key or the time without one it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .call import Input, Key, PromptEnded
from .graph import FINISHED, NEXT, NONE, SHORT, Collect


@dataclass(frozen=True, slots=True)
class Collected:
    """It is over: ``digits`` were taken, ``exit`` is what they come to."""

    digits: str
    exit: str


class Collecting:
    """One attempt of a :class:`~flows.graph.Collect`: first the keys :meth:`ahead`, then :meth:`begin`."""

    def __init__(self, step: Collect) -> None:
        self._step = step
        self._digits = ""
        self._playing = False
        self.deadline: float | None = None
        """When :meth:`expire` is due; ``None`` while the prompt plays."""

    @property
    def begun(self) -> bool:
        """Whether a key has been taken."""
        return bool(self._digits)

    @property
    def playing(self) -> bool:
        return self._playing

    def ahead(self, keys: Iterable[Key]) -> tuple[Collected | None, int]:
        """Take keys that were pressed ahead, as many as are needed: the outcome, if there is one, and how many."""
        taken = 0
        for key in keys:
            taken += 1
            if (outcome := self._key(key)) is not None:
                return outcome, taken
        return None, taken

    def begin(self, now: float, *, playing: bool) -> None:
        """The prompt has just been started (``playing``), or there is none to hear."""
        self._playing = playing
        if not playing:
            self.deadline = now + (self._step.between if self._digits else self._step.first)

    def feed(self, heard: Input) -> Collected | None:
        if isinstance(heard, PromptEnded):
            if self._playing:
                self._playing = False
                self.deadline = heard.at + self._step.first
        elif isinstance(heard, Key):
            return self._key(heard)
        return None

    def expire(self) -> Collected:
        """:attr:`deadline` has passed."""
        if not self._digits:
            return Collected("", NONE)
        return Collected(self._digits, NEXT if len(self._digits) >= self._step.least else SHORT)

    def _key(self, key: Key) -> Collected | None:
        step = self._step
        if key.digit in step.finish:
            self._playing = False
            return Collected(self._digits, NEXT if len(self._digits) >= step.least and self._digits else FINISHED)
        if key.digit not in step.keys:
            return None
        self._playing = False
        self._digits += key.digit
        self.deadline = key.at + step.between
        if step.most and len(self._digits) >= step.most:
            return Collected(self._digits, NEXT)
        return None
