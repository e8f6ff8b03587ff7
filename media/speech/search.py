"""Token passing through :class:`~media.speech.network.Network`: words with confidence and times.

The states of all utterances lie end to end in flat arrays, whatever their words are, and one set
of array operations moves all of them on by a frame. Utterances that have more frames waiting than
others come first, so that those still under way are always the head of the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from media.speech.model import Floats, Indices
from media.speech.network import FIRST, SOURCES, Network, Part

_NEVER = np.float32(-1e30)
_PARTS = len(Part)
_SOURCES: npt.NDArray[np.intp] = np.array([[SOURCES[part][0], SOURCES[part][-1]] for part in Part])
"""The two parts (or twice the one) that a part is entered from."""
_START: Floats = np.array([0.0 if part in FIRST else _NEVER for part in Part], np.float32)
_ROOM = 256
"""Frames that a search has room for at first."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A word on the best path, from frame ``start`` up to ``end``; ``evidence`` is how much better per frame
    (natural logarithm) the word explains the sound than the background does.
    """

    word: str
    start: int
    end: int
    evidence: float


class Search:
    """One utterance's search: move it on with :func:`advance`; ask for the words at any time.

    Of every frame it keeps the best token to leave each part: its chain, since when, and its score.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.frames = 0
        self.score: Floats = np.full(network.states, _NEVER, np.float32)
        self.start: Indices = np.zeros(network.states, np.int32)
        self._chain: Indices = np.empty((_ROOM, _PARTS), np.int32)
        self._since: Indices = np.empty((_ROOM, _PARTS), np.int32)
        self._exit: Floats = np.empty((_ROOM, _PARTS), np.float32)

    @property
    def entrance(self) -> Floats:
        """The score with which a token enters each part now, (parts)."""
        if not self.frames:
            return _START
        entrance: Floats = self._exit[self.frames - 1][_SOURCES].max(axis=1)
        return entrance

    def keep(self, chain: Indices, since: Indices, score: Floats) -> None:
        """More frames: the best exits of each part, all (n, parts)."""
        end = self.frames + len(score)
        while end > len(self._exit):
            self._chain = np.concatenate([self._chain, np.empty_like(self._chain)])
            self._since = np.concatenate([self._since, np.empty_like(self._since)])
            self._exit = np.concatenate([self._exit, np.empty_like(self._exit)])
        self._chain[self.frames : end] = chain
        self._since[self.frames : end] = since
        self._exit[self.frames : end] = score
        self.frames = end

    def among_background(self) -> list[Segment]:
        """Words of the best path that may also hold anything else, each with its own evidence."""
        return [
            Segment(word, start, end, (self._gain(Part.OPEN, start, end)) / (end - start))
            for word, start, end in self._path(Part.OPEN)
        ]

    def alone(self) -> Segment | None:
        """The likeliest word if the utterance is one word and silence, with the evidence of the whole."""
        if not self.frames or not self.network.words:
            return None
        part, at = Part.TAIL, self.frames
        while part is Part.TAIL:
            part = max(SOURCES[Part.TAIL], key=lambda source: self._reached(source, at))
            chain, start = int(self._chain[at - 1, part]), int(self._since[at - 1, part])
            if part is Part.TAIL:
                at = start
        word = self.network.words[self.network.word[chain]]
        gain = max(self._reached(source, self.frames) for source in SOURCES[Part.TAIL])
        gain -= self._reached(Part.BACKGROUND, self.frames)
        return Segment(word, start, at, gain / (at - start))

    def speech_frames(self) -> int:
        """Frames that the background takes for anything but silence."""
        silence = self.network.part[Part.BACKGROUND].start
        end, frames = self.frames, 0
        while end > 0:
            chain, start = int(self._chain[end - 1, Part.BACKGROUND]), int(self._since[end - 1, Part.BACKGROUND])
            frames += 0 if chain == silence else end - start
            end = start
        return frames

    def _reached(self, part: Part, frame: int) -> float:
        """The best score out of a part before ``frame``."""
        return float(self._exit[frame - 1, part]) if frame else 0.0

    def _gain(self, part: Part, start: int, end: int) -> float:
        """How much better ``part`` explains the frames from ``start`` up to ``end`` than the background."""
        background = self._reached(Part.BACKGROUND, end) - self._reached(Part.BACKGROUND, start)
        return self._reached(part, end) - self._reached(part, start) - background

    def _path(self, part: Part) -> list[tuple[str, int, int]]:
        """Words, first frame and end of each, on the best path that ends now."""
        found: list[tuple[str, int, int]] = []
        end = self.frames
        while end > 0:
            chain, start = int(self._chain[end - 1, part]), int(self._since[end - 1, part])
            word = int(self.network.word[chain])
            if word >= 0:
                found.append((self.network.words[word], start, end))
            end = start
        found.reverse()
        return found


class _Flat:
    """The states and chains of some searches end to end. ``states[u]`` and ``chains[u]``: how many the first u have."""

    def __init__(self, searches: Sequence[Search], columns: Sequence[int]) -> None:
        networks = [search.network for search in searches]
        self.states = np.cumsum([0, *(network.states for network in networks)])
        self.chains = np.cumsum([0, *(len(network.first) for network in networks)])
        of_state, of_chain = np.diff(self.states), np.diff(self.chains)
        offset = np.repeat(self.states[:-1], of_chain)
        self.first = np.concatenate([network.first for network in networks]) + offset
        self.last = np.concatenate([network.last for network in networks]) + offset
        self.stay = np.concatenate([network.stay for network in networks])
        self.leave = np.concatenate([network.leave for network in networks])
        self.leave_last = self.leave[self.last]
        self.penalty = np.concatenate([network.penalty for network in networks])
        self.group = np.concatenate([network.group + _PARTS * u for u, network in enumerate(networks)])
        """Number of each chain's utterance and part: 5 · utterance + part."""
        self.bounds = np.concatenate(
            [network.bounds + start for network, start in zip(networks, self.chains[:-1], strict=True)]
        )
        self.utterance = np.repeat(np.arange(len(networks)), of_chain)
        self.column = np.concatenate([network.columns for network in networks])
        self.step = np.repeat(np.array(columns, np.int64), of_state)
        """How far apart an utterance's frames lie in the observations."""


def advance(searches: Sequence[Search], observed: Sequence[Floats]) -> None:
    """Move every search on over its observations: log likelihoods (frames, senones) by its network's scorer.

    What becomes of an utterance does not depend on those beside it.
    """
    order = sorted((u for u in range(len(searches)) if len(observed[u])), key=lambda u: -len(observed[u]))
    if not order:
        return
    searches, observed = [searches[u] for u in order], [observed[u] for u in order]
    counts = np.array([len(each) for each in observed])
    flat = _Flat(searches, [each.shape[1] for each in observed])
    heard = np.concatenate([each.ravel() for each in observed])
    begins = np.cumsum([0, *(each.size for each in observed[:-1])])
    at = np.repeat(begins, np.diff(flat.states)) + flat.column
    score = np.concatenate([search.score for search in searches])
    start = np.concatenate([search.start for search in searches])
    entrance = np.stack([search.entrance for search in searches])
    frames = np.array([search.frames for search in searches], np.int32)
    moved, origin, better = np.empty_like(score), np.empty_like(start), np.empty(len(score), bool)
    longest = int(counts[0])
    shape = (longest, len(searches), _PARTS)
    chains, since, exits = np.empty(shape, np.int32), np.empty(shape, np.int32), np.empty(shape, np.float32)
    for frame in range(longest):
        under_way = int(np.searchsorted(-counts, -frame, side="left"))  # those that have more frames than this
        n, c, groups = int(flat.states[under_way]), int(flat.chains[under_way]), under_way * _PARTS
        first, group = flat.first[:c], flat.group[:c]
        np.add(score[: n - 1], flat.leave[: n - 1], out=moved[1:n])
        moved[first] = entrance[:under_way].ravel().take(group) + flat.penalty[:c]
        origin[1:n] = start[: n - 1]
        origin[first] = (frames + frame).take(flat.utterance[:c])
        score[:n] += flat.stay[:n]
        np.greater(moved[:n], score[:n], out=better[:n])
        np.maximum(moved[:n], score[:n], out=score[:n])
        np.copyto(start[:n], origin[:n], where=better[:n])
        score[:n] += heard.take(at[:n], out=moved[:n], mode="clip")
        at[:n] += flat.step[:n]
        leaving = score[flat.last[:c]] + flat.leave_last[:c]
        bounds = flat.bounds[:groups]
        best = np.maximum.reduceat(leaving, bounds)
        hits = np.flatnonzero(leaving == best.take(group))
        winner = hits[np.searchsorted(hits, bounds)]
        exits[frame, :under_way] = best.reshape(under_way, _PARTS)
        since[frame, :under_way] = start[flat.last[winner]].reshape(under_way, _PARTS)
        chains[frame, :under_way] = (winner - flat.chains[flat.utterance[winner]]).reshape(under_way, _PARTS)
        entrance[:under_way] = exits[frame, :under_way][:, _SOURCES].max(axis=2)
    for u, search in enumerate(searches):
        states = slice(flat.states[u], flat.states[u + 1])
        search.score, search.start = score[states].copy(), start[states].copy()
        count = int(counts[u])
        search.keep(chains[:count, u], since[:count, u], exits[:count, u])
