"""PocketSphinx's own decoder on the same model, as second opinion: same words, same places."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from speech_kit import DIGITS, Samples, on_the_phone, spoken_digit

from media.speech.engine import Key
from media.speech.matching import KeywordMatcher

pytestmark = pytest.mark.sound

GRAMMAR = "#JSGF V1.0; grammar digits; public <digit> = " + " | ".join(DIGITS) + ";"


@pytest.fixture(scope="module")
def decode():  # type: ignore[no-untyped-def]
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, samprate=16000, loglevel="FATAL", lw=1.0)
    decoder.add_jsgf_string("digits", GRAMMAR)
    decoder.activate_search("digits")

    def of(samples: Samples) -> tuple[str, float, float]:
        wide = soxr.resample(samples.astype(np.float64), 8000, 16000)
        decoder.start_utt()
        decoder.process_raw(np.clip(np.rint(wide), -32768, 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        for segment in decoder.seg():
            if segment.word.split("(")[0] in DIGITS:
                return segment.word.split("(")[0], segment.start_frame / 100, (segment.end_frame + 1) / 100
        return "", 0.0, 0.0

    return of


def test_the_matcher_is_no_worse_than_the_decoder_and_agrees_on_times(decode, matcher: KeywordMatcher) -> None:  # type: ignore[no-untyped-def]
    ours, theirs, starts, ends = 0, 0, [], []
    key = Key(1, 1, 1)
    for speaker in ("lucas", "yweweler"):
        for digit, word in enumerate(DIGITS):
            samples = on_the_phone(spoken_digit(digit, speaker, 0))
            heard, start, end = decode(samples)
            matcher.begin(key, DIGITS, "en", 0.0)
            matcher.audio(key, samples.tobytes())
            found = matcher.end(key)
            ours += [one.word for one in found] == [word]
            theirs += heard == word
            if found and found[0].word == heard == word:
                starts.append(found[0].start - start)
                ends.append(found[0].end - end)
    assert ours >= theirs - 1
    assert len(starts) >= 10
    assert abs(np.median(starts)) <= 0.03
    assert abs(np.median(ends)) <= 0.05
