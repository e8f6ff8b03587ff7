"""What is kept of a spoken prompt: its band, its first syllable, quiet ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.levels import active_level
from media.rates import WIDE_RATE
from media.tts import voices
from media.tts.synth import Synth, missing_extra

Wave = NDArray[np.float64]
Reader = Callable[[Path], NDArray[np.float32]]

VOICES = ["en-us", "en-gb", "female", "ro", "de", "it"]
WORDS = [
    "four", "five", "thirteen", "hello", "see you", "six", "zero", "please", "yes", "half", "who", "this is it", "one",
]  # fmt: skip

# The engine is run as in its own process, beside a look at what it said before it was trimmed.
PROGRAM = """
import json, sys
import numpy as np
import soxr
from media.tts.espeak import Speaker, make_prompt
from media.tts.messages import Render

class Listening(Speaker):
    def speak(self, text, voice, rate):
        sound, have = super().speak(text, voice, rate)
        self.said = soxr.resample(sound, have, 16000)
        return sound, have

speaker = Listening()
kept = {}
for number, (word, voice) in enumerate(json.load(sys.stdin)):
    kept[f"prompt{number}"] = make_prompt(speaker, Render(1, "", word, voice, 160))
    kept[f"said{number}"] = speaker.said
np.savez(sys.argv[1], **kept)
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Wave, Wave]]:
    """(word and voice, what the engine said, the prompt), both at 16 kHz."""
    if reason := missing_extra():
        pytest.skip(reason)
    wanted = [(word, voices.resolve(voice, "")) for voice in VOICES for word in WORDS]
    file = tmp_path_factory.mktemp("spoken") / "sound.npz"
    subprocess.run([sys.executable, "-c", PROGRAM, file], input=json.dumps(wanted), text=True, check=True, timeout=60)
    with np.load(file) as sounds:
        return [
            (f"{word} ({voice})", sounds[f"said{index}"].astype(float), sounds[f"prompt{index}"] / 32768)
            for index, (word, voice) in enumerate(wanted)
        ]


def place_of(prompt: Wave, said: Wave) -> tuple[int, float]:
    """Where in ``said`` the prompt begins, in samples, and how much louder it is."""
    size = 1 << (prompt.size + said.size).bit_length()
    match = np.fft.irfft(np.fft.rfft(said, size) * np.conj(np.fft.rfft(prompt, size)))
    place = int(match.argmax())
    place -= size if place > size // 2 else 0
    both = np.arange(max(place, 0), min(place + prompt.size, said.size))
    return place, float(prompt[both - place] @ said[both] / (said[both] @ said[both]))


def test_the_first_syllable_keeps_its_energy(spoken: list[tuple[str, Wave, Wave]]) -> None:
    """From where speech begins, 50 dB under its peak: a weak f or h counts."""
    lost = {}
    for word, said, prompt in spoken:
        place, gain = place_of(prompt, said)
        onset = int(np.flatnonzero(np.abs(said) > np.abs(said).max() / 316)[0])
        there = np.arange(onset, onset + WIDE_RATE // 20)
        kept = there[(there >= place) & (there < place + prompt.size)] - place
        share = float(np.sum(prompt[kept] ** 2) / np.sum((gain * said[there]) ** 2))
        if not 0.95 < share < 1.05:
            lost[word] = share
    assert len(spoken) == len(VOICES) * len(WORDS)
    assert lost == {}


def test_prompts_begin_and_end_without_a_click(spoken: list[tuple[str, Wave, Wave]]) -> None:
    for word, _, prompt in spoken:
        for end in (prompt[: WIDE_RATE // 1000], prompt[-WIDE_RATE // 1000 :]):
            assert np.abs(end).max() < 0.003, word  # -50 dBFS in the first and last millisecond


async def test_a_prompt_is_kept_wide_and_right_for_narrow_ears_too(
    synth: Synth, sound_of: Reader, wide_sound_of: Reader
) -> None:
    path = await synth.render("Six sisters sit and sing: yes, please press six.", voice="en-us")
    wide, narrow = wide_sound_of(path), sound_of(path)
    spectrum = np.abs(np.fft.rfft(wide)) ** 2
    assert spectrum[int(4000 * wide.size / WIDE_RATE) :].sum() > 0.01 * spectrum.sum()
    assert active_level(wide, WIDE_RATE) == pytest.approx(-20, abs=1)
    assert active_level(narrow, 8000) == pytest.approx(-20, abs=3)
    assert narrow.size / 8000 == pytest.approx(wide.size / WIDE_RATE, abs=0.021)
