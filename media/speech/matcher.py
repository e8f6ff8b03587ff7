"""Token passing through a :class:`~media.speech.network.Network`: words with confidence and times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from media.speech.model import Floats
from media.speech.network import NEVER, Network


@dataclass(frozen=True, slots=True)
class Segment:
    """A word on the best path, from frame ``start`` up to ``end``; ``confidence`` is how much better per frame
    (natural logarithm) the word explains these frames than the background alone does.
    """

    word: str
    start: int
    end: int
    confidence: float


class Matcher:
    """One utterance's search. Feed it features as they come; ask for the words at any time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.frames = 0
        # Double precision: differences of a hundredth must survive sums of eight seconds.
        self._score: npt.NDArray[np.float64] = np.full(network.states, NEVER)
        self._start = np.zeros(network.states, np.int32)
        self._best = 0.0
        self._background_best = 0.0
        self._exits: list[tuple[int, int, float, float]] = []

    def feed(self, frames: Floats) -> None:
        """Advance over features (n, 39)."""
        if len(frames) == 0:
            return
        network = self.network
        first, last, leave = network.first, network.last, network.leave
        half = network.background_from
        score, start = self._score, self._start
        best, background_best = self._best, self._background_best
        moved = np.empty_like(score)
        origin = np.empty_like(start)
        entry = np.empty_like(network.penalty)
        for observed in network.observe(frames):
            entry[:half] = best
            entry[half:] = background_best
            entry += network.penalty
            np.add(score[:-1], leave[:-1], out=moved[1:])
            moved[first] = entry
            origin[1:] = start[:-1]
            origin[first] = self.frames
            score += network.stay
            better = moved > score
            np.copyto(score, moved, where=better)
            np.copyto(start, origin, where=better)
            score += observed
            leaving = score[last] + leave[last]
            chain = int(leaving[:half].argmax())
            best = float(leaving[chain])
            background_best = float(leaving[half:].max())
            self._exits.append((chain, int(start[last[chain]]), best, background_best))
            self.frames += 1
        self._best, self._background_best = best, background_best

    def segments(self) -> list[Segment]:
        """The words on the best path that ends now, in order of time."""
        found: list[Segment] = []
        end = self.frames
        while end > 0:
            chain, start, best, background = self._exits[end - 1]
            word = int(self.network.word[chain])
            if word >= 0:
                _, _, best_before, background_before = self._exits[start - 1] if start else (0, 0, 0.0, 0.0)
                gain = (best - best_before) - (background - background_before)
                found.append(Segment(self.network.words[word], start, end, gain / (end - start)))
            end = start
        found.reverse()
        return found
