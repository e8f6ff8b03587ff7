"""The model's voices brought to the telephone: an affine transform of all means, and a scale for all variances.

Maximum-likelihood linear regression (MLLR: Leggetter and Woodland, Computer Speech and Language 9, 1995): one transform
per feature stream for the speech of all phones and one for silence and noises, estimated from a few hundred words
(``benchmarks/telephone_voices.py``), so that it holds for words and speakers that were not among them. The variances
follow by one factor per coefficient. ``voices.json`` keeps both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from media.speech.model import STREAM_WIDTH, STREAMS, AcousticModel, Floats, Indices, ModelError, Phones

Doubles = npt.NDArray[np.float64]

FILE = Path(__file__).with_name("voices.json")
SPEECH, SILENCE = 0, 1
CLASSES = 2
_TOWARDS_IDENTITY = 50.0
"""Frames' worth of belief that a mean is already right."""
_TOWARDS_ONE = 200.0
"""Frames' worth of belief that a variance is."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """``means``: (class, stream, 13, 14), the first column added, the rest multiplied with the mean;
    ``variances``: factors, (class, stream, 13).
    """

    means: Doubles
    variances: Doubles


@dataclass(frozen=True, slots=True)
class Counts:
    """What was heard of each Gaussian: how many frames, (codebook, stream, density), their sum and their squares'
    sum, (codebook, stream, density, 13).
    """

    frames: Doubles
    sums: Doubles
    squares: Doubles

    @classmethod
    def none(cls, model: AcousticModel) -> Counts:
        return cls(np.zeros(model.means.shape[:3]), np.zeros(model.means.shape), np.zeros(model.means.shape))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.frames + other.frames, self.sums + other.sums, self.squares + other.squares)

    def hear(self, model: AcousticModel, features: Floats, senones: Indices) -> None:
        """Add frames (n, 39), each said in one senone (n), as ``model`` shares them among the Gaussians."""
        owner = model.phones.codebook_of_senone[senones]
        weights = model.mixture_weights(senones)
        streams = features.reshape(len(features), STREAMS, STREAM_WIDTH).astype(np.float64)
        for codebook in np.unique(owner):
            mine = owner == codebook
            for stream in range(STREAMS):
                heard = streams[mine, stream]
                away = heard[:, None, :] - model.means[codebook, stream]
                variance = model.variances[codebook, stream].astype(np.float64)
                logs = -0.5 * (away**2 / variance + np.log(variance)).sum(axis=2)
                logs += np.log(np.maximum(weights[stream][:, mine].T, 1e-30))
                share = np.exp(logs - logs.max(axis=1, keepdims=True))
                share /= share.sum(axis=1, keepdims=True)
                self.frames[codebook, stream] += share.sum(axis=0)
                self.sums[codebook, stream] += share.T @ heard
                self.squares[codebook, stream] += share.T @ heard**2


def classes(phones: Phones) -> Indices:
    """The class of each codebook."""
    quiet = {phones.silence, *phones.fillers()}
    return np.array([SILENCE if phone in quiet else SPEECH for phone in range(len(phones.names))], np.int32)


def estimate(model: AcousticModel, heard: Iterable[Counts], variances: Floats | None = None) -> Adaptation:
    """The adaptation of ``model`` that makes what was heard likeliest; ``variances``: those to weigh by, if others."""
    counts = reduce(Counts.__add__, heard, Counts.none(model))
    weigh_by = model.variances if variances is None else variances
    means = np.empty((CLASSES, STREAMS, STREAM_WIDTH, STREAM_WIDTH + 1))
    factors = np.empty((CLASSES, STREAMS, STREAM_WIDTH))
    of_codebook = classes(model.phones)
    for number in range(CLASSES):
        mine = of_codebook == number
        for stream in range(STREAMS):
            mean = model.means[mine, stream].reshape(-1, STREAM_WIDTH).astype(np.float64)
            extended = np.concatenate([np.ones((len(mean), 1)), mean], axis=1)
            precision = 1.0 / weigh_by[mine, stream].reshape(-1, STREAM_WIDTH).astype(np.float64)
            frames = counts.frames[mine, stream].reshape(-1, 1)
            sums = counts.sums[mine, stream].reshape(-1, STREAM_WIDTH)
            squares = counts.squares[mine, stream].reshape(-1, STREAM_WIDTH)
            for row in range(STREAM_WIDTH):
                means[number, stream, row] = _row(extended, frames[:, 0], sums[:, row], precision[:, row], row)
            moved = extended @ means[number, stream].T
            away = squares - 2 * sums * moved + frames * moved**2
            unit = model.variances[mine, stream].reshape(-1, STREAM_WIDTH)
            factors[number, stream] = ((away / unit).sum(axis=0) + _TOWARDS_ONE) / (frames.sum() + _TOWARDS_ONE)
    return Adaptation(means, factors)


def _row(extended: Doubles, frames: Doubles, sums: Doubles, precision: Doubles, row: int) -> Doubles:
    """One row of a transform, (14): least squares, each Gaussian weighed by its frames and its precision."""
    identity = np.zeros(extended.shape[1])
    identity[row + 1] = 1.0
    belief = _TOWARDS_IDENTITY * precision.mean()
    left = (extended * (frames * precision)[:, None]).T @ extended + belief * np.eye(extended.shape[1])
    right = (extended * (precision * sums)[:, None]).sum(axis=0) + belief * identity
    return np.linalg.solve(left, right)


def apply(model: AcousticModel, adaptation: Adaptation) -> AcousticModel:
    """``model`` with its means and variances adapted."""
    of_codebook = classes(model.phones)
    means = np.empty_like(model.means)
    for number in range(CLASSES):
        mine = of_codebook == number
        shift, turn = adaptation.means[number, :, :, 0], adaptation.means[number, :, :, 1:]
        means[mine] = np.einsum("sij,csdj->csdi", turn, model.means[mine]) + shift[None, :, None, :]
    variances = (model.variances * adaptation.variances[of_codebook][:, :, None, :]).astype(np.float32)
    return replace(model, means=means, variances=variances)


class _Stored(msgspec.Struct):
    provenance: str
    licence: str
    means: list[list[list[list[float]]]]
    variances: list[list[list[float]]]


def load(path: Path = FILE) -> Adaptation:
    """The adaptation in ``path``. Raises :class:`~media.speech.model.ModelError` when it cannot be read."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        means, variances = np.array(stored.means), np.array(stored.variances)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if means.shape != (CLASSES, STREAMS, STREAM_WIDTH, STREAM_WIDTH + 1) or variances.shape != means.shape[:3]:
        raise ModelError(f"{path}: made for another model")
    if not (np.isfinite(means).all() and (variances > 0).all()):
        raise ModelError(f"{path}: holds values that no transform has")
    return Adaptation(means, variances)


def save(adaptation: Adaptation, provenance: str, licence: str, path: Path = FILE) -> None:
    """Write the file, rounded to what matters."""
    stored = _Stored(
        provenance, licence, np.round(adaptation.means, 5).tolist(), np.round(adaptation.variances, 4).tolist()
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")
