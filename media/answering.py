"""Who answered: a person or an answering machine, by the timing of what is said and by tones; many streams at once.

A person says a word or two and waits; a machine talks on, and then beeps. So the verdict is *human* when a short
greeting is followed by silence, *machine* when the greeting is long, has many words or a beep, and *unsure* when
nothing was said or time is up. After a machine's greeting it is told when a message can be spoken: at the end of the
beep, or after silence in which none came. Before the answer (early media) long talk is an announcement, and ringback is
not talk.

In come frames that are voice or not, and tones; there is no clock here. Sound is judged 120 ms late, when it is known
whether what seemed to be voice was a tone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.commands import DetectMachine
from media.frames import Flags, Powers, Samples, Slots, some
from media.rates import FRAME_SECONDS
from media.reports import MachineListens, MachineReason, MachineResult, MachineVerdict, Report, ToneHeard, ToneKind
from media.steady import LEAST, SteadyTones, Tone

DELAY = LEAST + 1
"""Frames by which voice is judged late: until a tone is known as one."""

PROGRESS_BAND = (340.0, 520.0)
"""Hz of ringback, busy and the like that are one tone (ITU-T E.180: 400 to 450)."""

PROGRESS_LEAST = 0.8
"""Seconds from which on a tone in that band is no beep, whatever was said before it."""

PROGRESS_PAIRS, PROGRESS_SHORTEST = 620.0, 0.22
"""Mean Hz below which two tones are call progress, and their least length in seconds: that of a fast busy tone."""

LONGEST_BEEP = 3.0
"""Seconds."""

FAX = (2100.0, 25.0, 1.0)
"""Hz of the answer tone of a fax machine (ITU-T T.30, V.25), how far it may be off, and its least length in seconds."""

SIT = ((913.8, 985.2), (1370.6, 1428.5), (1776.7,))
"""Hz of the three special information tones that precede an announcement (ITU-T E.180; the pairs: variants of them)."""

SIT_TOLERANCE = 50.0
"""Hz (ITU-T Q.35)."""

CHAIN = 0.1
"""Seconds in which a tone that follows another belongs to it."""

LOUDER = 10 ** (12.0 / 10)
"""A word this much louder than those before it begins the greeting; those were somebody in the background."""

FAINTER = 10 ** (-15.0 / 10)
"""Voice weaker than this part of the loudest is in the background too."""

_FADING, _RISING = np.float32(0.995), np.float32(0.3)  # a frame; a click is not long enough to count
_OFF, _EARLY, _DECIDING, _MACHINE, _DECIDED = range(5)
_FORGET = ~((1 << DELAY + 1) - 1) & 0xFFFF


@dataclass(slots=True)
class _Chain:
    """Tones right after one another, the last of which was over at ``until``."""

    tones: list[Tone]
    until: float


def kind_of(tones: list[Tone], *, spoken: bool) -> ToneKind | None:
    """What tones right after one another are; ``spoken``: whether anything was said before them."""
    tone, seconds = tones[-1], sum(tone.frames for tone in tones) * FRAME_SECONDS
    if any(abs(other.hertz - tone.hertz) > 25.0 for other in tones):
        return "sit" if _is_sit(tones) else None
    if not tone.single:
        return "progress" if tone.hertz < PROGRESS_PAIRS and seconds >= PROGRESS_SHORTEST else None
    if abs(tone.hertz - FAX[0]) <= FAX[1] and seconds >= FAX[2]:
        return "fax"
    if PROGRESS_BAND[0] <= tone.hertz <= PROGRESS_BAND[1] and (seconds >= PROGRESS_LEAST or not spoken):
        return "progress"
    return "beep" if seconds <= LONGEST_BEEP else None


def _is_sit(tones: list[Tone]) -> bool:
    if len(tones) != len(SIT):
        return False
    return all(
        any(abs(tone.hertz - hertz) <= SIT_TOLERANCE for hertz in nominal)
        for tone, nominal in zip(tones, SIT, strict=True)
    )


class Answering:
    """The detectors of all streams of a worker. ``watching`` says which slots have one; ``busy``, whether any has."""

    def __init__(self, capacity: int, tones: SteadyTones, reports: list[Report]) -> None:
        self.watching: Flags = np.zeros(capacity, np.bool_)
        self.busy = False
        self.reports = reports
        self._tones = tones
        self._streams: dict[int, DetectMachine] = {}
        self._chains: dict[int, _Chain] = {}
        self._phase: NDArray[np.int8] = np.zeros(capacity, np.int8)
        self._voiced: NDArray[np.uint16] = np.zeros(capacity, np.uint16)  # the last frames, the newest in bit 0
        self._run: NDArray[np.int32] = np.zeros(capacity, np.int32)  # voiced frames of the word under way
        self._gap: NDArray[np.int32] = np.zeros(capacity, np.int32)  # frames since the last voiced one
        self._words: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self._loudest: Powers = np.zeros(capacity, np.float32)  # of what may be voice
        self._level: Powers = np.zeros(capacity, np.float32)  # of words
        self._since, self._first, self._last, self._until = (np.zeros(capacity) for _ in range(4))
        # Limits: seconds, but those of words in frames.
        self._initial, self._greeting, self._pause, self._total, self._message = (np.zeros(capacity) for _ in range(5))
        self._most, self._word, self._between = (np.zeros(capacity, np.int32) for _ in range(3))

    def watch(self, slot: int, message: DetectMachine, now: float) -> None:
        """Begin, anew at the answer, or (``on`` false) end."""
        if not message.on:
            self.close(slot)
            return
        limits = message.limits
        if slot not in self._streams:
            self._tones.open(slot)
        self._streams[slot] = message
        self._chains.pop(slot, None)
        self.watching[slot] = self.busy = True
        self._phase[slot] = _DECIDING if message.answered else _EARLY
        self._voiced[slot] = self._run[slot] = self._words[slot] = 0
        self._gap[slot] = 1000
        self._loudest[slot] = self._level[slot] = 0
        self._since[slot] = self._first[slot] = self._last[slot] = now
        self._until[slot] = now + limits.patience if message.answered else np.inf
        self._initial[slot], self._greeting[slot] = limits.initial_silence, limits.greeting
        self._pause[slot], self._total[slot], self._message[slot] = limits.pause, limits.total, limits.message_pause
        self._most[slot] = limits.words
        self._word[slot], self._between[slot] = (
            max(1, round(seconds / FRAME_SECONDS)) for seconds in (limits.word, limits.between_words)
        )

    def close(self, slot: int) -> None:
        """The stream is going, or nobody asks any more."""
        self._streams.pop(slot, None)
        self._chains.pop(slot, None)
        self.watching[slot] = False
        self._phase[slot] = _OFF
        self.busy = bool(self._streams)

    def feed(self, slots: Slots, voiced: Flags, frames: Samples, levels: Powers, now: float) -> None:
        """One frame, just heard, for each of ``slots``, all of them watched: whether it may be voice, itself, and its
        power.
        """
        tonal, over = self._tones.feed(slots, frames, levels)
        at = now - DELAY * FRAME_SECONDS
        if some(tonal):  # who rings on has not answered yet, and who beeps is not silent
            self._since[slots[tonal]] = at
            self._last[slots[tonal & (self._phase[slots] == _MACHINE)]] = at
        self._follow(slots, self._in_front(slots, voiced, tonal, levels), tonal, at)
        for tone in over:
            self._chain(tone, now)
        self._decide(slots, tonal, at, now)
        if self._chains:
            self._end_chains(set(slots.tolist()), now)

    def _in_front(self, slots: Slots, voiced: Flags, tonal: Flags, levels: Powers) -> Flags:
        """Which of the frames that are voiced are not somebody in the background."""
        loudest = self._loudest[slots] * _FADING
        loudest[tonal] = 0
        rises = voiced & ~tonal & (levels > loudest)
        self._loudest[slots] = loudest + rises * (levels - loudest) * _RISING
        return voiced & (levels > loudest * np.float32(FAINTER))

    def _follow(self, slots: Slots, voiced: Flags, tonal: Flags, at: float) -> None:
        """Words, and when they were."""
        bits = self._voiced[slots] << 1 | voiced
        bits[tonal] &= _FORGET
        self._voiced[slots] = bits
        heard = (bits >> DELAY & 1).astype(np.bool_)
        gap = self._gap[slots]
        run = np.where(heard | (gap < self._between[slots]), self._run[slots] + heard, 0)
        self._gap[slots] = np.where(heard, 0, gap + 1)
        self._run[slots] = run
        least = self._word[slots]
        known = slots[heard & (run >= least)]
        if not known.size:
            return
        self._last[known] = at
        begun = slots[heard & (run == least)]
        loudest = self._loudest[begun]
        self._words[begun] *= loudest <= self._level[begun] * np.float32(LOUDER)
        self._words[begun] += 1
        self._level[begun] = np.maximum(loudest, self._level[begun])
        first = begun[self._words[begun] == 1]
        self._first[first] = at - self._word[first] * FRAME_SECONDS

    def _decide(self, slots: Slots, tonal: Flags, at: float, now: float) -> None:
        phase, words = self._phase[slots], self._words[slots]
        last, waited = self._last[slots], at - self._since[slots]
        spoke, deciding = words > 0, phase == _DECIDING
        machine = (phase <= _DECIDING) & spoke
        machine &= (last - self._first[slots] >= self._greeting[slots]) | (words > self._most[slots])
        quiet = at - last
        human = deciding & spoke & (quiet >= self._pause[slots])
        unsure = deciding & (waited >= np.where(spoke, self._total[slots], self._initial[slots]))
        ready = (phase == _MACHINE) & (quiet >= self._message[slots])
        over = (phase >= _DECIDING) & (at >= self._until[slots])
        unsure |= over & deciding
        due = machine | human | unsure | ready | over
        if not some(due):
            return
        for row in np.flatnonzero(due).tolist():
            slot = int(slots[row])
            if (tonal[row] or slot in self._chains) and not over[row]:
                continue  # it may be a beep
            if machine[row]:
                self._is_machine(slot, now)
            elif human[row]:
                self._verdict(slot, "human", "greeting", 1.0 - 0.5 * self._length(slot) / self._greeting[slot], now)
            elif unsure[row]:
                self._verdict(slot, "unsure", "time" if spoke[row] or over[row] else "silence", 0.5, now)
            elif phase[row] == _MACHINE:
                self._may_speak(slot, "silence" if ready[row] else "time", 0.0, now)
            else:
                self.close(slot)

    def _length(self, slot: int) -> float:
        return float(self._last[slot] - self._first[slot])

    def _is_machine(self, slot: int, now: float) -> None:
        reason: MachineReason = "words" if self._words[slot] > self._most[slot] else "greeting"
        if not self._streams[slot].answered:
            reason = "announcement"
        self._verdict(slot, "machine", reason, 0.7 + 0.05 * min(4, int(self._words[slot]) - 1), now)

    def _verdict(self, slot: int, result: MachineResult, reason: MachineReason, confidence: float, now: float) -> None:
        message = self._streams[slot]
        self.reports.append(
            MachineVerdict(
                message.stream,
                result,
                reason,
                round(float(np.clip(confidence, 0.5, 1.0)), 2),
                now,
                round(self._length(slot), 2),
                int(self._words[slot]),
            )
        )
        listens = result == "machine" and message.answered and reason not in ("fax", "sit")
        self._phase[slot] = _MACHINE if listens else _DECIDED
        self._until[slot] = now + message.limits.patience if message.answered else np.inf

    def _may_speak(self, slot: int, why: MachineReason, hertz: float, now: float) -> None:
        self.reports.append(MachineListens(self._streams[slot].stream, why, hertz, now))
        self.close(slot)

    # --- tones --------------------------------------------------------------------------

    def _chain(self, tone: Tone, now: float) -> None:
        chain = self._chains.get(tone.slot)
        if chain is None:
            chain = self._chains[tone.slot] = _Chain([], now)
        chain.tones.append(tone)
        chain.until = now - FRAME_SECONDS

    def _end_chains(self, fed: set[int], now: float) -> None:
        for slot, chain in list(self._chains.items()):
            if slot in fed and now - chain.until >= CHAIN and not self._tones.begun(slot):
                del self._chains[slot]
                self._tell(slot, chain, now)

    def _tell(self, slot: int, chain: _Chain, now: float) -> None:
        message = self._streams[slot]
        kind = kind_of(chain.tones, spoken=bool(self._words[slot]))
        if kind is None:
            return
        hertz, frames = round(chain.tones[-1].hertz, 1), sum(tone.frames for tone in chain.tones)
        since = chain.until - frames * FRAME_SECONDS
        self.reports.append(ToneHeard(message.stream, kind, hertz, since, chain.until))
        undecided = self._phase[slot] in (_EARLY, _DECIDING)
        if kind in ("fax", "sit") and undecided:
            self._verdict(slot, "machine", kind, 0.95, now)
        elif kind == "beep" and message.answered:
            if undecided:
                self._verdict(slot, "machine", "beep", 0.95, now)
            self._may_speak(slot, "beep", hertz, now)
