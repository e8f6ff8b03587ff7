"""Log likelihoods of senones: the frames of all utterances at once, as matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from media.speech.features import CEPSTRA
from media.speech.model import STREAMS, AcousticModel, Floats, Indices

_LEAST = np.float32(1e-30)
"""The least likelihood that a mixture can have in a stream, beside that of the best density of all."""
SLICE = 32
"""Frames that are scored at once: their densities stay in the cache."""


class Densities:
    """Every Gaussian of the model, arranged so that one matrix product per stream evaluates all."""

    def __init__(self, model: AcousticModel) -> None:
        self.codebooks = model.codebooks
        inverse = 1.0 / model.variances.astype(np.float64)
        means = model.means.astype(np.float64)
        constant = -0.5 * (np.log(2 * np.pi / inverse) + means**2 * inverse).sum(axis=3, keepdims=True)
        terms = np.concatenate([-0.5 * inverse, means * inverse, constant], axis=3)
        self._terms = np.ascontiguousarray(
            terms.transpose(1, 3, 0, 2).reshape(STREAMS, 2 * CEPSTRA + 1, -1).astype(np.float32)
        )
        self._room = np.empty((STREAMS, SLICE, self._terms.shape[2]), np.float32)

    def evaluate(self, frames: Floats) -> tuple[Floats, Floats]:
        """For frames (n, 39), at most :data:`SLICE`: likelihoods relative to the frame's best, (stream, codebook, n,
        density), valid until the next call, and that best one's logarithm, (stream, n).
        """
        split = frames.reshape(len(frames), STREAMS, CEPSTRA).transpose(1, 0, 2)
        one = np.ones((STREAMS, len(frames), 1), np.float32)
        # In room that is there: fresh pages for every slice cost more than the product.
        logs = self._room[:, : len(frames)]
        np.matmul(np.concatenate([split * split, split, one], axis=2), self._terms, out=logs)
        best = logs.max(axis=2)
        logs -= best[..., None]
        np.exp(logs, out=logs)
        return logs.reshape(STREAMS, len(frames), self.codebooks, -1).transpose(0, 2, 1, 3), best


class Scorer:
    """Log likelihoods of chosen senones. ``column`` tells where a senone's are."""

    def __init__(self, model: AcousticModel, senones: Indices) -> None:
        senones = np.unique(senones)
        owner = model.phones.codebook_of_senone[senones]
        order = np.argsort(owner, kind="stable")
        self.count = len(senones)
        self._senones = senones
        self._column = np.empty(len(senones), np.int32)
        self._column[order] = np.arange(len(senones))
        weights = model.mixture_weights(senones[order])
        ends = np.searchsorted(owner[order], np.arange(model.codebooks + 1)).tolist()
        self._weights = [
            (codebook, begin, end, np.ascontiguousarray(weights[:, :, begin:end]))
            for codebook, (begin, end) in enumerate(pairwise(ends))
            if end > begin
        ]

    def column(self, senones: Indices) -> Indices:
        """Columns of the scores that belong to these senones."""
        return self._column[np.searchsorted(self._senones, senones)]

    def mix(self, relative: Floats, best: Floats) -> Floats:
        """Log likelihoods, (n, senones), of what :meth:`Densities.evaluate` made of n frames."""
        mixed = np.empty((STREAMS, best.shape[1], self.count), np.float32)
        for codebook, begin, end, weights in self._weights:
            mixed[:, :, begin:end] = np.matmul(relative[:, codebook], weights)
        np.maximum(mixed, _LEAST, out=mixed)
        logs: Floats = np.log(mixed, out=mixed).sum(axis=0) + best.sum(axis=0)[:, None]
        return logs


def score(densities: Densities, jobs: Sequence[tuple[Scorer, Floats]]) -> list[Floats]:
    """Log likelihoods, (n, senones of the scorer), for the frames (n, 39) of each job.

    Densities are evaluated for all jobs together; put those of one scorer next to each other.
    """
    scores = [np.empty((len(frames), scorer.count), np.float32) for scorer, frames in jobs]
    if not jobs:
        return scores
    every = np.concatenate([frames for _, frames in jobs])
    begins = np.cumsum([0, *(len(frames) for _, frames in jobs)]).tolist()
    job = 0
    for start in range(0, len(every), SLICE):
        end = min(start + SLICE, len(every))
        relative, best = densities.evaluate(every[start:end])
        while job < len(jobs) and begins[job] < end:
            scorer = jobs[job][0]
            upto = job + 1
            while upto < len(jobs) and begins[upto] < end and jobs[upto][0] is scorer:
                upto += 1
            first = max(begins[job], start)
            taken = slice(first - start, begins[upto] - start)
            mixed = scorer.mix(relative[:, :, taken], best[:, taken])
            for each in range(job, upto):
                low, high = max(begins[each], start), min(begins[each + 1], end)
                scores[each][low - begins[each] : high - begins[each]] = mixed[low - first : high - first]
            job = upto
            if begins[upto] > end:
                job = upto - 1  # it goes on in the next slice
                break
    return scores
