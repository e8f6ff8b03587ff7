"""Estimates media/speech/telephone.json: python benchmarks/telephone_channel.py FOLDER_OF_16_KHZ_WAV [--write]

Each recording is taken twice, as it is and as a call carries it (8 kHz), and the filters that a
call does not fill are regressed on those that it does.
"""

from __future__ import annotations

import argparse
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from media.speech import channel, features

RATE = 16000
WINDOW, SHIFT, BINS = 410, 160, 512
PROVENANCE = (
    "Filters above 3.7 kHz by ridge regression on those below, estimated with benchmarks/telephone_channel.py from the "
    "read sentences in tests/data/speech/read (LibriVox, public domain; go_forward_ten_meters from PocketSphinx, BSD)."
)


def wide_energies(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log energies of all 25 filters at the model's own rate, (frames, 25)."""
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    window = np.hamming(WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::SHIFT] * window
    power = np.abs(np.fft.rfft(frames, BINS)) ** 2
    filters = features.mel_filters().astype(np.float64)
    return np.log(power @ filters.T + filters.sum(axis=1) * (window**2).sum() * 2 * features.FLOOR**2)


def pair(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE or file.getnchannels() != 1:
            raise SystemExit(f"{path}: expected {RATE} Hz mono")
        wide = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    narrow = np.clip(np.rint(soxr.resample(wide, RATE, features.RATE)), -32768, 32767).astype(np.int16)
    of_call, of_all = features.log_energies(narrow).astype(np.float64), wide_energies(wide)
    frames = min(len(of_call), len(of_all))
    of_call, of_all = of_call[:frames], of_all[:frames]
    return of_call - of_call.mean(axis=0), of_all - of_all.mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="replace media/speech/telephone.json")
    options = parser.parse_args()
    pairs = [pair(path) for path in sorted(options.folder.glob("*.wav"))]
    narrow, wide = (np.concatenate(side) for side in zip(*pairs, strict=True))
    cepstra = channel.estimate(narrow, wide)
    left = np.asarray(wide @ features.cosine_transform().T - narrow @ cepstra.T)
    whole = wide @ features.cosine_transform().T
    print(f"{len(narrow)} frames; unexplained share of each cepstrum:")
    print(" ".join(f"{share:.2f}" for share in left.var(axis=0) / whole.var(axis=0)))
    if options.write:
        channel.save(cepstra, PROVENANCE)
        print(f"written: {channel.FILE}")


if __name__ == "__main__":
    main()
