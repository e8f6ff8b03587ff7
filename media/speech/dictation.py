"""Recorded speech to text, all of it and not only keywords: by vosk, or by PocketSphinx's own language model.

Nothing here knows of processes; :mod:`media.speech.transcriber` runs it in one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from media.frames import Samples, powers
from media.rates import FRAME_SECONDS, WIDE_RATE
from media.speech.lexicon import is_english
from media.speech.messages import HeardWord
from media.speech.model import ModelError
from media.speech.vosk_engine import check_model
from media.vad import SpeechDetector

LONGEST = 20.0
"""Seconds that are decoded at once."""

MARGIN = 0.3
"""Seconds that are decoded before and after what is speech, so that weak first and last sounds are among them."""

_VOSK_CHUNK = 0.25
_MODEL_NAME = re.compile(r"vosk-model-(?:small-|big-)?([a-z]{2,3})(?![a-z])")
_LANGUAGES = {"cn": "zh", "kz": "kk", "ua": "uk", "vn": "vi"}
"""Where the names of published models are not those of the language."""


class TranscriptionError(Exception):
    """A recording was not transcribed; the text says why."""


class LanguageNotInstalled(TranscriptionError):
    """No engine here knows the language."""

    def __init__(self, language: str) -> None:
        super().__init__(f"the language {language!r} is not installed")
        self.language = language


class Dictation(Protocol):
    """What turns sound into words."""

    about: str

    def words(self, samples: Samples, rate: int) -> list[HeardWord]:
        """All words of one channel of sound (8 or 16 kHz), times in seconds from its beginning."""


def base_language(language: str) -> str:
    """Of "en-GB" it is "en", in lower case; empty for an empty tag."""
    return re.split("[-_]", language.strip().casefold(), maxsplit=1)[0]


def language_of_model(folder: Path) -> str:
    """The language of a vosk model by the name that it was published under, or an empty text."""
    found = _MODEL_NAME.match(folder.resolve().name.casefold())
    return _LANGUAGES.get(found[1], found[1]) if found else ""


def model_for(language: str, vosk_model: Path | None) -> Path | None:
    """The vosk model for ``language``, or ``None`` for PocketSphinx, which knows English.

    A model in a folder whose name tells nothing is taken for whatever language is asked for. Raises
    :class:`LanguageNotInstalled`.
    """
    if vosk_model is not None:
        known = language_of_model(vosk_model)
        if not known or base_language(language) in ("", known):
            return vosk_model
    if not is_english(language):
        raise LanguageNotInstalled(language)
    return None


def make_dictation(vosk_model: Path | None) -> Dictation:
    """Vosk when a model folder is given, otherwise PocketSphinx. Raises :class:`~media.speech.model.ModelError`."""
    return VoskDictation(vosk_model) if vosk_model is not None else PocketSphinxDictation()


class PocketSphinxDictation:
    """The US English model of PocketSphinx with the language model that comes with it.

    Made for 16 kHz; what comes at 8 kHz is resampled, and suffers.
    """

    about = "PocketSphinx with its US English language model"

    def __init__(self) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        try:
            from pocketsphinx import Decoder

            self._decoder: Any = Decoder(samprate=float(WIDE_RATE), loglevel="FATAL")
        except (ImportError, RuntimeError, ValueError) as error:
            raise ModelError(f"PocketSphinx cannot be loaded: {error}") from error
        self._frames_per_second = 100

    def words(self, samples: Samples, rate: int) -> list[HeardWord]:
        """See :class:`Dictation`. What the speech detector finds no voice in is left out."""
        found: list[HeardWord] = []
        for start, end in pieces(samples, rate):
            found += self._decode(_resampled(samples[start:end], rate), start / rate)
        return found

    def _decode(self, samples: Samples, at: float) -> list[HeardWord]:
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return [
            HeardWord(
                re.sub(r"\(\d+\)$", "", each.word),
                round(min(max(each.prob, 0.0), 1.0), 2),
                round(at + each.start_frame / self._frames_per_second, 2),
                round(at + (each.end_frame + 1) / self._frames_per_second, 2),
            )
            for each in decoder.seg() or ()
            if each.word[0] not in "<[+"
        ]


class VoskDictation:
    """A vosk model without a grammar."""

    def __init__(self, folder: Path) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        check_model(folder, with_grammar=False)
        try:
            import vosk
        except ImportError as error:
            raise ModelError(f"speech.vosk_model is set, but vosk cannot be loaded: {error}") from error
        vosk.SetLogLevel(-1)
        try:
            self._model = vosk.Model(model_path=str(folder))
        except Exception as error:
            raise ModelError(f"speech.vosk_model: {folder} could not be loaded: {error}") from error
        self._decoder_class: Any = vosk.KaldiRecognizer
        self.about = f"vosk model {folder.name}"

    def words(self, samples: Samples, rate: int) -> list[HeardWord]:
        """See :class:`Dictation`."""
        decoder = self._decoder_class(self._model, rate)
        decoder.SetWords(True)
        chunk = int(rate * _VOSK_CHUNK)
        results = [
            decoder.Result()
            for start in range(0, len(samples), chunk)
            if decoder.AcceptWaveform(samples[start : start + chunk].astype("<i2").tobytes())
        ]
        results.append(decoder.FinalResult())
        return [
            HeardWord(
                entry["word"],
                round(float(entry.get("conf", 1.0)), 2),
                round(float(entry["start"]), 2),
                round(float(entry["end"]), 2),
            )
            for result in results
            for entry in json.loads(result).get("result", ())
        ]


def pieces(samples: Samples, rate: int) -> list[tuple[int, int]]:
    """Where in ``samples`` speech is, with margins, as (first, last + 1), none longer than :data:`LONGEST`.

    The detector is the one that listens on calls. Speech that goes on for longer is cut where it is quietest.
    """
    frame = round(rate * FRAME_SECONDS)
    count = len(samples) // frame
    levels = powers(samples[: count * frame].reshape(count, frame))
    detector, slot = SpeechDetector(1), np.array([0])
    detector.open(0)
    margin, longest = round(MARGIN / FRAME_SECONDS), round(LONGEST / FRAME_SECONDS)
    joined: list[list[int]] = []
    silence = np.zeros(margin + 1, np.float32)
    for index, level in enumerate(np.concatenate([levels, silence])[:, None]):
        _, ended = detector.feed(slot, detector.voiced(slot, level), level, index * FRAME_SECONDS)
        for speech in ended:
            start = max(0, round(speech.since / FRAME_SECONDS) - margin)
            end = min(count, round(speech.until / FRAME_SECONDS) + 1 + margin)
            if joined and start <= joined[-1][1] and end - joined[-1][0] <= longest:
                joined[-1][1] = end
            else:
                joined.append([max(start, joined[-1][1] if joined else 0), end])
    cut: list[tuple[int, int]] = []
    for start, end in joined:
        while end - start > longest:
            middle = start + longest // 2
            quietest = middle + int(levels[middle : start + longest].argmin())
            cut.append((start, quietest))
            start = quietest  # noqa: PLW2901
        cut.append((start, end))
    return [(start * frame, end * frame) for start, end in cut if end > start]


def _resampled(samples: Samples, rate: int) -> Samples:
    if rate == WIDE_RATE:
        return samples
    import soxr

    wide = soxr.resample(samples.astype(np.float32), rate, WIDE_RATE)
    rounded: Samples = np.rint(wide.clip(-32768, 32767)).astype(np.int16)
    return rounded
