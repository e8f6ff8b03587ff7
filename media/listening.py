"""The ears of a worker: speech of the far end found, told of, and led to the recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from media.answering import Answering
from media.commands import Activity, DetectMachine, Hear
from media.echo import EchoGate
from media.frames import Flags, Powers, Samples, Slots, powers, some
from media.rates import FRAME
from media.recognising import RecogniserLink, Recognising
from media.reports import Report, SpeechEnded, SpeechStarted
from media.steady import SteadyTones
from media.vad import SpeechDetector

PRE_ROLL = 18
"""Frames that an utterance begins with: 300 ms before the speech and the 60 ms in which it was found."""


class History(Protocol):
    """What remembers the sound that was received: :class:`media.jitter.JitterBuffers` on a call."""

    def before(self, slots: Slots) -> Samples:
        """The frame of each of ``slots`` that came before the newest."""

    def history(self, slot: int, frames: int) -> Samples:
        """The last ``frames`` frames of ``slot``, the newest included, as one array of samples."""


@dataclass(slots=True)
class _Ear:
    stream: int
    recognising: Recognising
    words: bool = False
    activity: bool = False


class Listening:
    """Speech detection for streams that somebody listens to. ``armed`` says which slots those are."""

    def __init__(self, capacity: int, jitter: History, reports: list[Report]) -> None:
        self.armed: Flags = np.zeros(capacity, np.bool_)
        self.reports = reports
        self._jitter = jitter
        self._detector = SpeechDetector(capacity)
        self._gate = EchoGate(capacity)
        self._ears: dict[int, _Ear] = {}
        # The last frames of each slot, the newest in bit 0: set where they were echo.
        self._echo: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self._answering = Answering(capacity, SteadyTones(capacity, jitter.before, jitter.history), reports)
        self._recognising = [Recognising(reports)]
        self._shares = 1

    @property
    def unheard(self) -> int:
        """Utterances that no recogniser heard."""
        return sum(recognising.utterances.unheard for recognising in self._recognising)

    # --- streams ------------------------------------------------------------------------

    def hear(self, slot: int, message: Hear) -> None:
        """Listen for words, or no longer."""
        listened = slot in self._ears
        ear = self._arm(slot, message.stream)
        utterances = ear.recognising.utterances
        if not message.words:
            utterances.stop(message.stream)
        else:
            utterances.listen(message.stream, message.ticket, message.words, message.language)
            if listened and not ear.activity:
                self._detector.calm(slot)
        ear.words = bool(message.words)
        self._disarm_idle(slot)

    def activity(self, slot: int, message: Activity) -> None:
        """Tell of all speech, or no longer."""
        self._arm(slot, message.stream).activity = message.on
        self._disarm_idle(slot)

    def detect_machine(self, slot: int, message: DetectMachine, now: float) -> None:
        """Find out who answered, or no longer."""
        self._arm(slot, message.stream)
        self._answering.watch(slot, message, now)
        self._disarm_idle(slot)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._detector.open(slot)
        self._gate.open(slot)
        self._echo[slot] = 0

    def close(self, slot: int, stream: int) -> None:
        """The stream is going."""
        ear = self._ears.pop(slot, None)
        if ear is not None:
            ear.recognising.utterances.stop(stream)
        self._answering.close(slot)
        self.armed[slot] = False

    def _arm(self, slot: int, stream: int) -> _Ear:
        self.armed[slot] = True
        if slot not in self._ears:
            self._ears[slot] = _Ear(stream, self._recognising[stream % self._shares])
        return self._ears[slot]

    def _disarm_idle(self, slot: int) -> None:
        ear = self._ears[slot]
        if not (ear.words or ear.activity or self._answering.watching[slot]):
            del self._ears[slot]
            self.armed[slot] = False
            self._detector.calm(slot)

    # --- sound --------------------------------------------------------------------------

    def feed(self, slots: Slots, received: Samples, levels: Powers, sent: Samples, now: float) -> None:
        """One frame of both sides for each of ``slots``, all of them armed; ``levels`` of what was received."""
        self._gate.play(slots, sent, powers(sent))
        self._echo[slots] <<= np.uint32(1)
        voiced = self._detector.voiced(slots, levels)
        if some(voiced):
            voiced = self._without_echo(slots, voiced, levels)
        if self._answering.busy:
            self._look_for_machines(slots, voiced, received, levels, now)
        begun, ended = self._detector.feed(slots, voiced, levels, now)
        for slot in begun:
            self._begin(slot, now)
        speaking = self._detector.speaking[slots]
        for index in np.flatnonzero(speaking).tolist():
            self._go_on(int(slots[index]), received[index], now)
        for speech in ended:
            ear = self._ears[speech.slot]
            ear.recognising.utterances.end(ear.stream, now)
            if ear.activity:
                self.reports.append(SpeechEnded(ear.stream, speech.since, speech.until, speech.dbfs))

    def _look_for_machines(self, slots: Slots, voiced: Flags, received: Samples, levels: Powers, now: float) -> None:
        watching = self._answering.watching[slots]
        if not some(watching):
            return
        watched = slots[watching]
        self._answering.feed(watched, voiced[watching], received[watching], levels[watching], now)
        for slot in watched[~self._answering.watching[watched]].tolist():  # there is nothing more to find out
            self._disarm_idle(slot)

    def _without_echo(self, slots: Slots, voiced: Flags, levels: Powers) -> Flags:
        faint, doubtful = self._gate.suspects(slots, voiced, levels)
        echo = faint
        if some(doubtful):
            echo[doubtful] = self._gate.judge(slots[doubtful], self._jitter.history)
        self._echo[slots[echo]] |= np.uint32(1)
        return voiced & ~echo

    def _begin(self, slot: int, now: float) -> None:
        ear = self._ears[slot]
        since = float(self._detector.since[slot])
        if ear.activity:
            self.reports.append(SpeechStarted(ear.stream, since))
        if ear.words:
            ear.recognising.utterances.begin(ear.stream, since, self._pre_roll(slot), now)

    def _pre_roll(self, slot: int) -> bytes:
        """The last frames but the newest, with silence in place of echo."""
        frames = self._jitter.history(slot, PRE_ROLL + 1)[:-FRAME].reshape(PRE_ROLL, FRAME)
        echo = int(self._echo[slot])
        for back in range(1, PRE_ROLL + 1):
            if echo >> back & 1:
                frames[PRE_ROLL - back] = 0
        return frames.tobytes()

    def _go_on(self, slot: int, frame: Samples, now: float) -> None:
        ear = self._ears[slot]
        if not ear.words:
            return
        utterances = ear.recognising.utterances
        if not utterances.under_way(ear.stream):  # words came to be listened for in the middle of speech
            utterances.begin(ear.stream, now, self._pre_roll(slot), now)
        sound = bytes(2 * FRAME) if self._echo[slot] & 1 else frame.tobytes()
        if utterances.sound(ear.stream, sound, now):
            utterances.end(ear.stream, now)
            utterances.begin(ear.stream, now, b"", now)

    # --- the recogniser -----------------------------------------------------------------

    def connect(self, path: str, number: int, of: int, now: float) -> None:
        """Use the recogniser on the Unix socket ``path``, that with this number ``of`` so many; while it cannot be
        reached, it recognises nothing.
        """
        self._recognising_at(number, of).connect(path, now)

    def attach(self, link: RecogniserLink) -> None:
        """Use what is at the other end of ``link``, and nothing else."""
        self._recognising_at(0, 1).attach(link)

    def _recognising_at(self, number: int, of: int) -> Recognising:
        while len(self._recognising) < of:
            self._recognising.append(Recognising(self.reports))
        self._shares = of
        return self._recognising[number]

    def poll(self, now: float) -> None:
        """Exchange messages with the recognisers; to be called with every tick."""
        for recognising in self._recognising:
            recognising.poll(now)
