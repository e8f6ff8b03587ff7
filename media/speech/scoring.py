"""Log likelihoods of senones, for a chunk of frames at once."""

from __future__ import annotations

import numpy as np

from media.speech.features import CEPSTRA
from media.speech.model import STREAMS, AcousticModel, Floats, Indices

_TINY = np.float32(1e-30)


class Densities:
    """Every Gaussian of the model, arranged so that one matrix product per stream evaluates all."""

    def __init__(self, model: AcousticModel) -> None:
        self.codebooks = model.codebooks
        inverse = 1.0 / model.variances.astype(np.float64)
        means = model.means.astype(np.float64)
        constant = -0.5 * (np.log(2 * np.pi / inverse) + means**2 * inverse).sum(axis=3)
        self._constant = constant.transpose(1, 0, 2).reshape(STREAMS, -1).astype(np.float32)
        terms = np.concatenate([-0.5 * inverse, means * inverse], axis=3)
        self._terms = np.ascontiguousarray(
            terms.transpose(1, 3, 0, 2).reshape(STREAMS, 2 * CEPSTRA, -1).astype(np.float32)
        )

    def evaluate(self, frames: Floats) -> tuple[Floats, Floats]:
        """For frames (n, 39): likelihoods relative to the best of their codebook, (stream, codebook, n, density),
        and that best one's logarithm, (stream, codebook, n).
        """
        split = frames.reshape(len(frames), STREAMS, CEPSTRA).transpose(1, 0, 2)
        logs = np.matmul(np.concatenate([split * split, split], axis=2), self._terms) + self._constant[:, None, :]
        logs = logs.reshape(STREAMS, len(frames), self.codebooks, -1).transpose(0, 2, 1, 3)
        best = logs.max(axis=3)
        return np.exp(logs - best[..., None]), best


class Scorer:
    """Log likelihoods of chosen senones. ``column`` tells where a senone's are."""

    def __init__(self, model: AcousticModel, densities: Densities, senones: Indices) -> None:
        self._densities = densities
        senones = np.unique(senones)
        self.senones = senones
        owner = model.phones.codebook_of_senone[senones]
        counts = np.bincount(owner, minlength=model.codebooks)
        slot = np.empty(len(senones), np.int64)
        for codebook in range(model.codebooks):
            mine = owner == codebook
            slot[mine] = np.arange(counts[codebook])
        weights = np.zeros((STREAMS, model.codebooks, model.means.shape[2], int(counts.max(initial=1))), np.float32)
        weights[:, owner, :, slot] = model.mixture_weights(senones).transpose(2, 0, 1)
        self._weights = weights
        self._owner, self._slot = owner, slot

    def column(self, senones: Indices) -> Indices:
        """Columns of :meth:`score` that belong to these senones."""
        return np.searchsorted(self.senones, senones).astype(np.int32)

    def score(self, frames: Floats) -> Floats:
        """Log likelihoods, (n, senones), of frames (n, 39)."""
        relative, best = self._densities.evaluate(frames)
        mixed = np.matmul(relative, self._weights)
        logs = np.log(np.maximum(mixed, _TINY)) + best[..., None]
        total: Floats = logs.sum(axis=0)
        return total[self._owner, :, self._slot].T
