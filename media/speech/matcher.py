"""Token passing through a :class:`~media.speech.network.Network`: words with confidence and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from media.speech.model import Floats
from media.speech.network import FIRST, SOURCES, Network, Part

_NEVER = -1e30


@dataclass(frozen=True, slots=True)
class Segment:
    """A word on the best path, from frame ``start`` up to ``end``; ``evidence`` is how much better per frame
    (natural logarithm) the word explains the sound than the background does.
    """

    word: str
    start: int
    end: int
    evidence: float


class _Exit(NamedTuple):
    """The best token to leave a chain of a part at some frame: which chain, since when, and its score."""

    chain: int
    start: int
    score: float


class Matcher:
    """One utterance's search. Feed it features as they come; ask for the words at any time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        # Double precision: differences of a hundredth must survive sums of eight seconds.
        self._score: npt.NDArray[np.float64] = np.full(network.states, _NEVER)
        self._start = np.zeros(network.states, np.int32)
        self._exits: dict[Part, list[_Exit]] = {part: [] for part in Part}

    @property
    def frames(self) -> int:
        """Frames heard so far."""
        return len(self._exits[Part.OPEN])

    def feed(self, frames: Floats) -> None:
        """Advance over features (n, 39)."""
        network = self.network
        first, last = network.first, network.last
        leave, leave_last = network.leave[:-1], network.leave[last]
        score, start = self._score, self._start
        moved = np.empty_like(score)
        origin = np.empty_like(start)
        entry = np.empty(len(first))
        better = np.empty(len(score), bool)
        now = self.frames
        for observed in network.observe(frames) if len(frames) else ():
            for part, chains in network.part.items():
                entry[chains] = self._entry(part)
            entry += network.penalty
            np.add(score[:-1], leave, out=moved[1:])
            moved[first] = entry
            origin[1:] = start[:-1]
            origin[first] = now
            score += network.stay
            np.greater(moved, score, out=better)
            np.copyto(score, moved, where=better)
            np.copyto(start, origin, where=better)
            score += observed
            leaving = score[last] + leave_last
            for part, exits in self._exits.items():
                chains = network.part[part]
                chain = chains.start + int(leaving[chains].argmax())
                exits.append(_Exit(chain, int(start[last[chain]]), float(leaving[chain])))
            now += 1

    def among_background(self) -> list[Segment]:
        """Words of the best path that may also hold anything else, each with its own evidence."""
        return [
            Segment(word, start, end, (self._gain(Part.OPEN, start, end)) / (end - start))
            for word, start, end in self._path(Part.OPEN)
        ]

    def alone(self) -> Segment | None:
        """The likeliest word if the utterance is one word and silence, with the evidence of the whole."""
        if not self._exits[Part.ALONE]:
            return None
        part, at = Part.TAIL, self.frames
        while part is Part.TAIL:
            part = max(SOURCES[Part.TAIL], key=lambda source: self._reached(source, at))
            found = self._exits[part][at - 1]
            if part is Part.TAIL:
                at = found.start
        word = self.network.words[self.network.word[found.chain]]
        gain = max(self._reached(source, self.frames) for source in SOURCES[Part.TAIL])
        gain -= self._reached(Part.BACKGROUND, self.frames)
        return Segment(word, found.start, at, gain / (at - found.start))

    def speech_frames(self) -> int:
        """Frames that the background takes for anything but silence."""
        silence = self.network.part[Part.BACKGROUND].start
        exits = self._exits[Part.BACKGROUND]
        end, frames = len(exits), 0
        while end > 0:
            chain, start, _ = exits[end - 1]
            frames += 0 if chain == silence else end - start
            end = start
        return frames

    def _entry(self, part: Part) -> float:
        """The score with which a token enters a part now."""
        if not self.frames:
            return 0.0 if part in FIRST else _NEVER
        return max(self._exits[source][-1].score for source in SOURCES[part])

    def _reached(self, part: Part, frame: int) -> float:
        """The best score out of a part before ``frame``."""
        return self._exits[part][frame - 1].score if frame else 0.0

    def _gain(self, part: Part, start: int, end: int) -> float:
        """How much better ``part`` explains the frames from ``start`` up to ``end`` than the background."""
        background = self._reached(Part.BACKGROUND, end) - self._reached(Part.BACKGROUND, start)
        return self._reached(part, end) - self._reached(part, start) - background

    def _path(self, part: Part) -> list[tuple[str, int, int]]:
        """Words, first frame and end of each, on the best path that ends now."""
        found: list[tuple[str, int, int]] = []
        end = self.frames
        while end > 0:
            chain, start, _ = self._exits[part][end - 1]
            word = int(self.network.word[chain])
            if word >= 0:
                found.append((self.network.words[word], start, end))
            end = start
        found.reverse()
        return found
