"""Estimates media/speech/voices.json: python benchmarks/telephone_voices.py [--write]

Each digit of tests/data/speech/digits is aligned with the model's states (silence, the word,
silence), and the transforms are estimated from what each Gaussian was heard to say; then again
with the model so adapted. Without a speaker's own digits for the figures in the report.
"""

from __future__ import annotations

import argparse
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from media import g711
from media.speech import adaptation, channel, model
from media.speech.adaptation import Adaptation, Counts
from media.speech.features import Floats, Samples
from media.speech.lexicon import bundled
from media.speech.model import AcousticModel, Indices
from media.speech.network import Chain, phone_chain, word_chain
from media.speech.scoring import Densities, Scorer, score
from media.speech.voice import Voice

DATA = Path(__file__).parents[1] / "tests" / "data" / "speech"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "yweweler")
TAKES = 10
ROUNDS = 2
RATE = 8000
PROVENANCE = (
    "Transforms of the means and factors for the variances of PocketSphinx's US English model, by "
    "benchmarks/telephone_voices.py from the 400 digits in tests/data/speech/digits (Free Spoken Digit Dataset by "
    "Zohar Jackson and contributors), as a call carries them (8 kHz, G.711)."
)
LICENCE = "CC BY-SA 4.0, as the recordings it was estimated from"


@dataclass(frozen=True, slots=True)
class Recording:
    """A digit, as a call carries it."""

    speaker: str
    digit: int
    take: int
    samples: Samples

    @property
    def word(self) -> str:
        return DIGITS[self.digit]


def read_wave(path: Path) -> tuple[Samples, int]:
    """Mono samples and their rate."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def as_called(samples: Samples, seed: int) -> Samples:
    """Between 300 ms of near silence, through G.711."""
    rng = np.random.default_rng(seed)
    heard = np.pad(samples.astype(np.float64), 300 * RATE // 1000)
    heard += rng.standard_normal(len(heard)) * 8.0
    whole = np.clip(np.rint(heard), -32768, 32767).astype(np.int16)
    return g711.decode(g711.encode(whole, g711.Law.PCMU), g711.Law.PCMU)


def recordings(speakers: Sequence[str] = SPEAKERS, takes: Sequence[int] = range(TAKES)) -> list[Recording]:
    """Digits by these speakers."""
    return [
        Recording(speaker, digit, take, as_called(read_wave(_path(digit, speaker, take))[0], 10 * take + digit))
        for speaker in speakers
        for digit in range(10)
        for take in takes
    ]


def _path(digit: int, speaker: str, take: int) -> Path:
    return DATA / "digits" / f"{digit}_{speaker}_{take}.wav"


def features(samples: Samples, cepstra: Floats) -> Floats:
    """Features of a whole recording, (frames, 39)."""
    voice = Voice(cepstra)
    voice.add(voice.front_end.feed(samples))
    return voice.features(ended=True)


def align(voices: AcousticModel, scores: Floats, scorer: Scorer, word: Chain) -> tuple[float, Indices]:
    """The likeliest way through silence, ``word`` and silence: its score, and the senone of each frame."""
    silence = phone_chain(voices.phones, voices.phones.silence)
    chains = (silence, word, silence)
    senones = np.array([senone for chain in chains for senone in chain.senones], np.int32)
    owners = np.array([phone for chain in chains for phone in chain.phones])
    third = np.arange(len(senones)) % 3
    stay, leave = voices.transitions[owners, third, third], voices.transitions[owners, third, third + 1]
    observed = scores[:, scorer.column(senones)]
    best: npt.NDArray[np.float64] = np.full(len(senones), -1e30)
    best[[0, 3]] = observed[0, [0, 3]]  # the silence before may be missing
    came = np.zeros(observed.shape, bool)
    for frame in range(1, len(observed)):
        moved = np.append(-1e30, best[:-1] + leave[:-1])
        came[frame] = moved > best + stay
        best = np.where(came[frame], moved, best + stay) + observed[frame]
    ends = (len(senones) - 1, len(senones) - 4)  # and that after it
    state = max(ends, key=lambda end: best[end] + leave[end])
    total = float(best[state] + leave[state])
    path = np.empty(len(observed), np.int32)
    for frame in range(len(observed) - 1, -1, -1):
        path[frame] = senones[state]
        state -= int(came[frame, state])
    return total, path


def count(voices: AcousticModel, heard: Sequence[tuple[str, Floats]]) -> Counts:
    """What the Gaussians of ``voices`` said in recordings: words and their features."""
    lexicon = bundled()
    chains = {
        word: [word_chain(voices.phones, pronunciation) for pronunciation in lexicon.spoken(word)]
        for word in {word for word, _ in heard}
    }
    silence = phone_chain(voices.phones, voices.phones.silence)
    every = [chain.senones for some in chains.values() for chain in some] + [silence.senones]
    scorer = Scorer(voices, np.array([senone for each in every for senone in each], np.int32))
    counts = Counts.none(voices)
    for (word, frames), scores in zip(heard, score(Densities(voices), [(scorer, f) for _, f in heard]), strict=True):
        _, path = max((align(voices, scores, scorer, chain) for chain in chains[word]), key=lambda found: found[0])
        counts.hear(voices, frames, path)
    return counts


def adapt(plain: AcousticModel, heard: Sequence[tuple[str, Floats]], rounds: int = ROUNDS) -> Adaptation:
    """The adaptation of ``plain`` to words and their features."""
    found, voices = None, plain
    for _ in range(rounds):
        found = adaptation.estimate(plain, [count(voices, heard)], voices.variances)
        voices = adaptation.apply(plain, found)
    assert found is not None
    return found


def adapt_to(said: Sequence[Recording]) -> Adaptation:
    """The adaptation to some recordings."""
    cepstra = channel.load().T.copy()
    return adapt(model.load(), [(each.word, features(each.samples, cepstra)) for each in said])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace media/speech/voices.json")
    options = parser.parse_args()
    found = adapt_to(recordings())
    print("factors of the variances, speech:", found.variances[adaptation.SPEECH].round(2).tolist())
    if options.write:
        adaptation.save(found, PROVENANCE, LICENCE)
        print(f"written: {adaptation.FILE}")


if __name__ == "__main__":
    main()
