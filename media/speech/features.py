"""Front end: telephone sound to the cepstra that the acoustic model was trained on.

The model heard 16 kHz speech through 25 mel filters between 130 and 6800 Hz. A call carries
nothing above 4 kHz, so the lower filters are computed at 8 kHz exactly as they would be at
16 kHz (same window, same bins, same pre-emphasis) and the rest is left to :mod:`media.speech.channel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Samples = npt.NDArray[np.int16]

RATE = 8000
SHIFT = 80
"""Samples between frames: 10 ms."""
WINDOW = 205
"""Samples under a frame's window: 25.6 ms."""
BINS = 256
"""FFT length: the same 31.25 Hz per bin as the model's 512 points at 16 kHz."""
FILTERS = 25
CEPSTRA = 13
SPAN = 3
"""Frames that the second difference reaches to either side."""

_MODEL_RATE = 16000
_LOWEST, _HIGHEST = 130.0, 6800.0
_PRE_EMPHASIS = 0.97
_LIFTER = 22
FLOOR = 10.0
"""RMS (of 32768) of the white noise put under every signal: G.711 silence is otherwise minus infinity."""

_DITHER = 8.0
"""RMS of the noise that every signal gets: a constant signal looks unlike any silence that was ever recorded."""
_NOISE = (np.random.default_rng(8000).standard_normal(RATE) * _DITHER).astype(np.float32)

_PITCH_WINDOW = 320
_PERIODIC = 0.4

_LOUD = 10
"""So many frames are at least as loud as what counts as the utterance's loudness."""
_QUIETER = 4.6
"""Frames this far below it (natural logarithm of power: 20 dB) are silence."""
_SILENCE_SHARE = 0.3


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def mel_filters() -> Floats:
    """Triangles of unit area over the bins of the model's rate, (25, 257)."""
    edges = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), FILTERS + 2)
    hertz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    width = _MODEL_RATE / (2 * BINS)
    hertz = np.floor(hertz / width + 0.5) * width
    bins = np.arange(BINS + 1) * width
    left, centre, right = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    height = 2.0 / (right - left)
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    filters: Floats = (height * np.clip(np.minimum(rising, falling), 0.0, None)).astype(np.float32)
    return filters


def cosine_transform() -> Floats:
    """Log energies of the 25 filters to 13 liftered cepstra, (13, 25): orthonormal DCT-II."""
    order = np.arange(CEPSTRA)[:, None]
    basis = np.cos(np.pi * order * (np.arange(FILTERS) + 0.5) / FILTERS) * np.sqrt(2.0 / FILTERS)
    basis[0] *= np.sqrt(0.5)
    liftered: Floats = (basis * (1.0 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER))).astype(np.float32)
    return liftered


def _audible() -> int:
    """How many filters lie wholly below half the call's rate."""
    return int((mel_filters()[:, BINS // 2 :].sum(axis=1) == 0).sum())


HEARD = _audible()
"""Filters that a telephone call fills."""

_FILTERS_8K = np.ascontiguousarray(
    (
        mel_filters()[:HEARD, : BINS // 2 + 1]
        * np.abs(1.0 - _PRE_EMPHASIS * np.exp(-2j * np.pi * np.arange(BINS // 2 + 1) / (2 * BINS))) ** 2
        * 4.0  # half as many samples under the window: half the amplitude
    ).T.astype(np.float32)
)
_HAMMING = np.hamming(WINDOW).astype(np.float32)
_FLOOR_POWER = (_FILTERS_8K.sum(axis=0) * float((_HAMMING**2).sum()) * FLOOR**2).astype(np.float32)


def log_energies(samples: Samples | Floats) -> Floats:
    """Log mel energies of every whole window in ``samples``, (frames, HEARD)."""
    frames = (len(samples) - WINDOW) // SHIFT + 1
    return _energies_at(samples, np.arange(max(frames, 0)) * SHIFT)


def _energies_at(samples: Samples | Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Log mel energies of the windows that begin at ``starts``, (len(starts), HEARD)."""
    if not len(starts):
        return np.empty((0, HEARD), np.float32)
    windows: npt.NDArray[Any] = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[starts]
    spectrum = np.fft.rfft(windows * _HAMMING, BINS)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
    energies: Floats = np.log(power @ _FILTERS_8K + _FLOOR_POWER)
    return energies


class FrontEnd:
    """Where the sound of one utterance has been cut: what is left for the next frame, and how far the dither is."""

    def __init__(self) -> None:
        self.rest = np.empty(0, np.float32)
        self.position = 0

    def feed(self, samples: Samples) -> Floats:
        """Frames completed by ``samples``, (n, HEARD)."""
        return cut([self], [samples])[0]


def cut(front_ends: Sequence[FrontEnd], sounds: Sequence[Samples]) -> list[Floats]:
    """Frames that more sound completes in each of some utterances, (n, HEARD), all worked out together.

    They are dithered: no room is as silent as a muted telephone.
    """
    joined: list[Floats] = []
    for front_end, samples in zip(front_ends, sounds, strict=True):
        noise = _NOISE.take(range(front_end.position, front_end.position + len(samples)), mode="wrap")
        front_end.position = (front_end.position + len(samples)) % len(_NOISE)
        joined.append(np.concatenate([front_end.rest, samples + noise]))
    counts = [max((len(sound) - WINDOW) // SHIFT + 1, 0) for sound in joined]
    for front_end, sound, count in zip(front_ends, joined, counts, strict=True):
        front_end.rest = sound[count * SHIFT :].copy()
    begins = np.cumsum([0, *map(len, joined)])[:-1]
    starts = [begin + np.arange(count) * SHIFT for begin, count in zip(begins, counts, strict=True)]
    energies = _energies_at(np.concatenate(joined), np.concatenate(starts)) if joined else np.empty((0, HEARD))
    return np.split(energies, np.cumsum(counts)[:-1]) if joined else []


def level_mean(energies: Floats) -> Floats:
    """The channel's colour: the mean of log energies (n, HEARD), n > 0, in which silence weighs no more than it does
    in the sentences that the model was trained on, however long the silence around one word is. (HEARD).
    """
    level = energies.mean(axis=1)
    loudness = np.partition(level, -min(_LOUD, len(level)))[-min(_LOUD, len(level))]
    voiced = level > loudness - _QUIETER
    if voiced.all() or not voiced.any():
        plain: Floats = energies.mean(axis=0)
        return plain
    weight = np.float32(min(float((~voiced).mean()), _SILENCE_SHARE))
    mean: Floats = (1 - weight) * energies[voiced].mean(axis=0) + weight * energies[~voiced].mean(axis=0)
    return mean


def spread(energies: Floats) -> Floats:
    """Share of each frame's power outside its six strongest filters, in dB: −20 to −5 in speech, lower in tones."""
    power = np.sort(np.exp(energies), axis=1)
    rest: Floats = 10.0 * np.log10(power[:, :-6].sum(axis=1) / power.sum(axis=1))
    return rest


def voiced_frames(samples: Samples) -> int:
    """How many frames of ``samples`` repeat themselves at the pitch of a voice, 50 to 400 Hz: the autocorrelation of
    40 ms reaches :data:`_PERIODIC`. A word has vowels and so at least three; bursts of noise have one at most.
    """
    if len(samples) < _PITCH_WINDOW:
        return 0
    emphasised = np.diff(samples.astype(np.float32), prepend=0.0)
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, _PITCH_WINDOW)[::SHIFT]
    power = np.abs(np.fft.rfft(windows - windows.mean(axis=1, keepdims=True), 2 * BINS)) ** 2
    lags = np.arange(RATE // 400, RATE // 50 + 1)
    correlation = np.fft.irfft(power)
    alike = correlation[:, lags] / (correlation[:, :1] + 1e3) * (_PITCH_WINDOW / (_PITCH_WINDOW - lags))
    return int((alike.max(axis=1) > _PERIODIC).sum())


def contrast(energies: Floats) -> float:
    """How far (dB) the loud frames stand above the quiet ones, in the mean over all filters.

    A word in a quiet room has 25 and more, one in noise 10 dB under it about 11.
    """
    quiet, loud = np.percentile(energies.mean(axis=1), [10, 95])
    return float((loud - quiet) * 10.0 / np.log(10.0))


def with_differences(cepstra: Floats) -> Floats:
    """Cepstra with first and second differences, (frames − 2·SPAN, 39): the edges are context only."""
    if len(cepstra) <= 2 * SPAN:
        return np.empty((0, 3 * CEPSTRA), np.float32)
    first = cepstra[4:] - cepstra[:-4]
    second = first[2:] - first[:-2]
    return np.concatenate([cepstra[SPAN:-SPAN], first[1:-1], second], axis=1)
