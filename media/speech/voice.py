"""One utterance between front end and search: its frames, the mean that is taken from them, and their features.

The mean is that of the utterance so far, half of it that of the call's earlier utterances when
there are any. It is first taken after :data:`SETTLED` frames, or at the end of a shorter
utterance, and every :data:`ANEW` frames from then on; what is heard does not depend on the pieces
in which it comes.
"""

from __future__ import annotations

import numpy as np

from media.speech.features import CEPSTRA, HEARD, SPAN, Floats, FrontEnd, level_mean, with_differences

SETTLED = 80
"""Frames whose mean the first frames are given: 360 ms before the speech, and a word."""
ANEW = 40
_OF_CALL = np.float32(0.5)
_ROOM = 160


class Voice:
    """Frames of one utterance as they come, features (n, 39) as they are certain.

    ``cepstra``: the map of :mod:`media.speech.channel`, transposed, (HEARD, 13). ``call``: mean log energies of the
    call's earlier utterances, (HEARD).
    """

    def __init__(self, cepstra: Floats, call: Floats | None = None) -> None:
        self.front_end = FrontEnd()
        self.frames = 0
        self._map = cepstra
        self._call = call
        self._energies: Floats = np.empty((_ROOM, HEARD), np.float32)
        self._cepstra: Floats = np.empty((_ROOM, CEPSTRA), np.float32)
        self._given = 0
        self._levelled = 0  # so many frames' mean is taken, as cepstra:
        self._level: Floats = np.zeros(CEPSTRA, np.float32)

    @property
    def energies(self) -> Floats:
        """Log energies of all frames so far, (frames, HEARD)."""
        return self._energies[: self.frames]

    def add(self, energies: Floats) -> None:
        """More frames, (n, HEARD)."""
        end = self.frames + len(energies)
        while end > len(self._energies):
            self._energies = np.concatenate([self._energies, np.empty_like(self._energies)])
            self._cepstra = np.concatenate([self._cepstra, np.empty_like(self._cepstra)])
        self._energies[self.frames : end] = energies
        self._cepstra[self.frames : end] = energies @ self._map
        self.frames = end

    def features(self, *, ended: bool = False) -> Floats:
        """Features of the frames that became certain since the last call, (n, 39)."""
        begin, end = self._given, self.frames if ended else self.frames - SPAN
        if end <= begin or not (ended or self.frames >= SETTLED):
            return np.empty((0, 3 * CEPSTRA), np.float32)
        self._given = end
        low, high = max(begin - SPAN, 0), min(end + SPAN, self.frames)
        around = self._cepstra[low:high]
        if high - low < end - begin + 2 * SPAN:  # the first and the last frame stand for those beyond them
            around = np.pad(around, ((low - begin + SPAN, end + SPAN - high), (0, 0)), mode="edge")
        features = with_differences(around)
        at = begin
        while at < end:
            until = SETTLED if at < SETTLED else at + ANEW - (at - SETTLED) % ANEW
            heard = min(max(until - ANEW, SETTLED), self.frames)
            if heard != self._levelled:
                self._levelled, self._level = heard, self._mean(heard) @ self._map
            features[at - begin : until - begin, :CEPSTRA] -= self._level
            at = until
        return features

    def mean(self) -> Floats | None:
        """Mean log energies of the call with this utterance, (HEARD); None if there is no sound at all."""
        return self._mean(self.frames) if self.frames else self._call

    def _mean(self, frames: int) -> Floats:
        mean = level_mean(self.energies[:frames])
        return mean if self._call is None else (1 - _OF_CALL) * mean + _OF_CALL * self._call
