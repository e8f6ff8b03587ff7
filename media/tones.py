"""Sounds that need no recording: ringback, the tones of a conference, music on hold. 8 kHz, 16-bit, mono."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.rates import RATE

_Sound = NDArray[np.float64]

_LEVEL = 0.1
"""Of full scale, each note: -20 dBFS."""
_EDGE = 0.005
"""Seconds in which a tone comes and goes, so that it does not click."""


class Tones(NamedTuple):
    """Files: ``ringback`` and ``music`` are to be looped."""

    ringback: Path
    entry: Path
    leaving: Path
    music: Path


def write_tones(folder: Path) -> Tones:
    """Write all of them into ``folder``, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {
        "ringback": np.concatenate([_note(425.0, 1.0), np.zeros(4 * RATE)]),  # ETSI: 1 s on, 4 s off
        "entry": np.concatenate([_note(660.0, 0.12), _note(880.0, 0.16)]),
        "leaving": np.concatenate([_note(880.0, 0.12), _note(660.0, 0.16)]),
        "music": _music(),
    }
    paths = []
    for name, sound in sounds.items():
        path = folder / f"{name}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())
        paths.append(path)
    return Tones(*paths)


def _note(hertz: float, seconds: float) -> _Sound:
    time = np.arange(round(seconds * RATE)) / RATE
    edge = np.minimum(1.0, np.minimum(time, time[-1] - time) / _EDGE)
    note: _Sound = _LEVEL * np.sqrt(2) * np.sin(2 * np.pi * hertz * time) * edge
    return note


def _music() -> _Sound:
    """Broken chords, quietly, round and round: somebody is still in the line."""
    chords = ((0, 4, 7, 12), (-3, 0, 4, 9), (5, 9, 12, 17), (-5, -1, 2, 7))
    notes = [262.0 * 2 ** (chord[step % 4] / 12) for chord in chords for step in (0, 1, 2, 3, 2, 1, 2, 1)]
    length = 0.42
    sound = np.zeros(round(len(notes) * length * RATE) + RATE)
    time = np.arange(RATE) / RATE
    for number, hertz in enumerate(notes):
        begin = round(number * length * RATE)
        pluck = np.exp(-3.5 * time) * np.minimum(1.0, time / _EDGE)
        sound[begin : begin + RATE] += (
            0.8 * _LEVEL * pluck * (np.sin(2 * np.pi * hertz * time) + 0.3 * np.sin(4 * np.pi * hertz * time))
        )
    loop = sound[:-RATE].copy()
    loop[:RATE] += sound[-RATE:]  # the last notes ring on into the first
    return loop
