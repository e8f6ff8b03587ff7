"""How a step that listens decides: one pure state machine for keys, words, prompts and time.

- A key decides at once, unless a longer sequence begins with it: then the next key, or two seconds without
  one, decides; the longest sequence that was completed wins and the keys beyond it stay pressed.
- Words decide at the end of their utterance. A confident vocabulary word stops the prompt before that.
- An utterance without a vocabulary word changes nothing: it neither stops the prompt nor prolongs the wait.
- The wait begins when the prompt ends. An utterance under way when it is over is awaited.
- What matches no choice, or nothing at all, is answered by the prompt again; when the repeats
  are used up, by giving up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .call import BargeIn, Heard, Input, Key, PromptEnded, SpeechStarted, Words
from .keywords import Choices

RECOGNITION_GRACE = 1.0
"""Seconds that a recogniser may take, after the longest utterance, to say what was in it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How calls behave where the flow does not say. Times in seconds."""

    listen: float = 5.0
    """Waiting for the caller after the prompt."""
    repeats: int = 2
    """How often a prompt is repeated when nothing matched."""
    between_keys: float = 2.0
    """The longest pause inside a sequence of keys."""
    utterance: float = 8.0
    """The longest utterance."""
    max_steps: int = 100_000
    """Steps of one call."""
    max_steps_per_second: int = 1000
    """Steps within one second: a flow beyond that goes round in circles without waiting for anything."""
    max_fetches: int = 1000
    """Flows that one call may ask web servers for."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the prompt, if one plays, and go on listening."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Take ``exit``. ``unused`` were pressed after what decided: they stay for the next step."""

    exit: str
    heard: Heard
    unused: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """Nothing matched. ``again``: prompt once more; otherwise give up."""

    why: Literal["nomatch", "silence"]
    again: bool
    heard: Heard | None = None


Verdict = Interrupt | Chosen | Missed


class Listening:
    """One visit to a step that listens.

    Before :meth:`begin` it takes keys that were pressed ahead: they decide without the prompt being heard,
    and those that match nothing are dropped. Each attempt starts with :meth:`begin`; then every
    input goes to :meth:`feed`, and :attr:`deadline` passing to :meth:`expire`.
    """

    def __init__(
        self, choices: Choices, settings: Settings, *, seconds: float | None = None, repeats: int | None = None
    ) -> None:
        self._choices = choices
        self._settings = settings
        self._seconds = settings.listen if seconds is None else seconds
        self._left = settings.repeats if repeats is None else repeats
        self._ahead = True
        self._playing = False
        self._keys: list[Key] = []
        self._over: float | None = None  # when the wait is over
        self._speaking_since: float | None = None
        self._anything = False  # was there any utterance in this attempt

    def begin(self, now: float, *, playing: bool) -> None:
        """Start an attempt: a prompt has just been started (``playing``), or there is none to hear."""
        self._ahead = False
        self._playing = playing
        self._keys.clear()
        self._over = None if playing else now + self._seconds
        self._speaking_since = None
        self._anything = False

    @property
    def deadline(self) -> float | None:
        """When :meth:`expire` is due; ``None`` while the prompt plays."""
        if self._keys:
            return self._keys[-1].at + self._settings.between_keys
        if self._ahead:
            return float("-inf")
        if self._over is not None and self._speaking_since is not None:
            return max(self._over, self._speaking_since + self._settings.utterance + RECOGNITION_GRACE)
        return self._over

    @property
    def playing(self) -> bool:
        return self._playing

    def feed(self, heard: Input) -> Verdict | None:
        """Take one input; ``None``: nothing to do but wait on."""
        if isinstance(heard, Key):
            return self._key(heard)
        if self._ahead:
            return None
        if isinstance(heard, PromptEnded):
            self._silent_from(heard.at)
        elif isinstance(heard, SpeechStarted):
            self._speaking_since = heard.at
            self._anything = True
        elif isinstance(heard, BargeIn):
            self._anything = True
            if self._playing:
                self._silent_from(heard.at)
                return Interrupt()
        elif isinstance(heard, Words):
            return self._words(heard)
        return None

    def expire(self) -> Verdict | None:
        """:attr:`deadline` has passed; ``None`` (only before :meth:`begin`): no more keys were pressed ahead."""
        if self._keys:
            return self._settle_keys()
        if self._ahead:
            return None
        return self._missed("nomatch" if self._anything else "silence")

    # --- keys ---------------------------------------------------------------------------

    def _key(self, key: Key) -> Verdict | None:
        if self._keys and key.at - self._keys[-1].at > self._settings.between_keys:
            # The pause between two keys that were waiting in line was too long for one sequence.
            verdict = self._settle_keys()
            if isinstance(verdict, Chosen):
                return Chosen(verdict.exit, verdict.heard, (*verdict.unused, key))
            if verdict is not None:
                return verdict
        self._keys.append(key)
        pressed = _digits(self._keys)
        if self._choices.continues(pressed):
            interrupt = self._playing
            if interrupt:
                self._silent_from(key.at)
            return Interrupt() if interrupt else None
        return self._settle_keys()

    def _settle_keys(self) -> Verdict | None:
        """No more keys will come: the longest sequence that was completed decides."""
        keys, self._keys = self._keys, []
        for length in range(len(keys), 0, -1):
            pressed = _digits(keys[:length])
            exit_name = self._choices.pressed(pressed)
            if exit_name is not None:
                return Chosen(exit_name, Heard("key", pressed), tuple(keys[length:]))
        if self._ahead:
            return None
        return self._missed("nomatch", Heard("key", _digits(keys)))

    # --- words --------------------------------------------------------------------------

    def _words(self, utterance: Words) -> Verdict | None:
        self._speaking_since = None
        if utterance.words:
            heard = Heard("words", " ".join(utterance.words))
            exit_name = self._choices.said(utterance.words)
            if exit_name is not None:
                return Chosen(exit_name, heard)
            if not self._playing and not self._keys:
                return self._missed("nomatch", heard)
        if self._over is not None and utterance.at >= self._over and not self._keys:
            return self._missed("nomatch")
        return None

    def _silent_from(self, at: float) -> None:
        self._playing = False
        self._over = at + self._seconds

    def _missed(self, why: Literal["nomatch", "silence"], heard: Heard | None = None) -> Missed:
        again = self._left > 0
        self._left -= 1
        return Missed(why, again, heard)


def _digits(keys: Sequence[Key]) -> str:
    return "".join(key.digit for key in keys)
