"""How well speech is told from noise, and when it is said to begin and end.

What is speech is read off the clean recordings: a frame is speech when it is no more than 15.9 dB below the level of
its talker (ITU-T P.56); pauses of less than 300 ms belong to the utterance that they are in, as they do for the
detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.key_sweep import coded
from benchmarks.speech_bank import NOISES, Sound, Take, noise, rms_of, talk
from media.frames import Samples, powers
from media.g711 import Law
from media.listening import PRE_ROLL
from media.rates import FRAME, FRAME_SECONDS
from media.vad import SILENCE_FRAMES, SpeechDetector

LEVEL = -20.0
SNRS = (None, 20.0, 10.0)
BELOW = 15.9
LEAD = 3.0
"""Seconds of noise before the first word."""

Spans = list[tuple[int, int]]
"""(first, after the last) frame of each stretch."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector said of one stream: stretches of speech, and in which frame it said that each was over."""

    spans: Spans
    told: list[int]


def detect(sounds: Samples) -> list[Found]:
    """Run the detectors over sound of the shape (streams, samples)."""
    streams = np.arange(len(sounds))
    detector = SpeechDetector(len(sounds))
    found = [Found([], []) for _ in sounds]
    for stream in streams.tolist():
        detector.open(stream)
    frames = sounds.reshape(len(sounds), -1, FRAME)
    for index in range(frames.shape[1]):
        levels = powers(np.ascontiguousarray(frames[:, index]))
        voiced = detector.voiced(streams, levels)
        _, ended = detector.feed(streams, voiced, levels, (index + 1) * FRAME_SECONDS)
        for speech in ended:
            found[speech.slot].spans.append((round(speech.since / FRAME_SECONDS), round(speech.until / FRAME_SECONDS)))
            found[speech.slot].told.append(index)
    return found


def spans_of(flags: NDArray[np.bool_], shortest_gap: int = SILENCE_FRAMES) -> Spans:
    """Stretches of set flags, those with less than ``shortest_gap`` between them as one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    spans: Spans = []
    for first, after in edges.reshape(-1, 2).tolist():
        if spans and first - spans[-1][1] < shortest_gap:
            spans[-1] = (spans[-1][0], after)
        else:
            spans.append((first, after))
    return spans


def truth(clean: Sound) -> Spans:
    """Where ``clean``, talk at LEVEL, is speech."""
    frames = clean[: len(clean) // FRAME * FRAME].reshape(-1, FRAME)
    return [span for span in spans_of((frames**2).mean(axis=1) > rms_of(LEVEL - BELOW) ** 2) if span[1] - span[0] > 2]


@dataclass(frozen=True, slots=True)
class Row:
    """Of speech under one noise, in percent. ``hits`` and ``false``: of the frames that are speech, and that are not,
    those that lay in speech that was found; ``reached``: of the frames that are speech, those that a recogniser is
    given, which has what came shortly before and the silence at the end too. ``begun``: of the utterances, those that
    were found, and ``whole`` of these, those found as one. ``begin_error`` in ms (median, 90th percentile of its
    magnitude); ``over`` the ms from the true end to the report of it, the same way.
    """

    noise: str
    snr: float | None
    utterances: int
    hits: float
    reached: float
    false: float
    begun: float
    whole: float
    begin_error: tuple[float, float]
    over: tuple[float, float]


def measure(chosen: Sequence[Take], kind: str, snr: float | None, streams: int, seconds: float, seed: int = 1) -> Row:
    """``chosen`` people talk in ``streams`` calls of ``seconds``."""
    rng = np.random.default_rng(seed)
    count = round((seconds + LEAD) * 50) * FRAME
    cleans, sounds = [], []
    for stream in range(streams):
        clean = np.zeros(count)
        said = talk(list(chosen), seconds, rng, (0.6, 1.6))
        clean[-len(said) :] = said
        clean[-FRAME * 50 :] = 0
        dirty = (
            rng.normal(0, rms_of(-65.0), count)
            if snr is None
            else noise(kind, seconds + LEAD, LEVEL - snr, rng, chosen)
        )
        cleans.append(clean)
        sounds.append(coded(clean + dirty, list(Law)[stream % 2]))
    return _compare(kind, snr, [truth(clean) for clean in cleans], detect(np.stack(sounds)), count // FRAME)


def _compare(kind: str, snr: float | None, truths: list[Spans], founds: list[Found], frames: int) -> Row:
    is_speech, is_found, is_given = (np.zeros((len(truths), frames), np.bool_) for _ in range(3))
    errors, delays, utterances, whole = [], [], 0, 0
    for stream, (spans, found) in enumerate(zip(truths, founds, strict=True)):
        for first, after in spans:
            is_speech[stream, first:after] = True
        for first, after in found.spans:
            is_found[stream, first:after] = True
        for (first, _), told in zip(found.spans, found.told, strict=True):
            is_given[stream, max(0, first - PRE_ROLL + 3) : told + 1] = True
        for first, after in spans:
            utterances += 1
            met = [i for i, (a, b) in enumerate(found.spans) if a < after and b > first]
            if met:
                whole += len(met) == 1
                errors.append(20.0 * (found.spans[met[0]][0] - first))
                delays.append(20.0 * (found.told[met[-1]] + 1 - after))
    return Row(
        kind,
        snr,
        utterances,
        100 * float(is_found[is_speech].mean()),
        100 * float(is_given[is_speech].mean()),
        100 * float(is_found[~is_speech].mean()),
        100 * len(errors) / max(1, utterances),
        100 * whole / max(1, len(errors)),
        _middle(errors),
        _middle(delays),
    )


def _middle(values: list[float]) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    return float(np.median(values)), float(np.percentile(np.abs(values), 90))


def starts_per_minute(
    chosen: Sequence[Take], kind: str, dbfs: float, streams: int, seconds: float, seed: int = 2
) -> float:
    """How often noise alone is taken for speech that begins."""
    rng = np.random.default_rng(seed)
    sounds = [coded(noise(kind, seconds, dbfs, rng, chosen), list(Law)[stream % 2]) for stream in range(streams)]
    padded = np.stack(sounds)[:, : round(seconds * 50) * FRAME]
    quiet = np.zeros((streams, FRAME * 50), np.int16)  # so that what is going on is told of
    return sum(len(found.spans) for found in detect(np.hstack([padded, quiet]))) / (streams * seconds / 60)


def table(chosen: Sequence[Take], streams: int, seconds: float) -> Iterator[Row]:
    """The rows, of clean speech first."""
    yield measure(chosen, "none", None, streams, seconds)
    for kind in NOISES:
        for snr in SNRS[1:]:
            yield measure(chosen, kind, snr, streams, seconds)


def words_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text."""
    head = [
        "noise",
        "SNR",
        "utterances",
        "speech found",
        "given to a recogniser",
        "taken for speech",
        "utterances found",
        "as one",
    ]
    head += ["begin off by, ms", "end told after, ms"]
    lines = []
    for row in rows:
        snr = "clean" if row.snr is None else f"{row.snr:.0f} dB"
        begin, over = (f"{middle:.0f} ({high:.0f})" for middle, high in (row.begin_error, row.over))
        figures = [f"{figure:.1f} %" for figure in (row.hits, row.reached, row.false, row.begun, row.whole)]
        lines.append([row.noise, snr, str(row.utterances), *figures, begin, over])
    return head, lines


def talk_coded(chosen: Sequence[Take], seconds: float, seed: int = 3) -> Samples:
    """``chosen`` people one after another, in faint noise, as a call carries it."""
    rng = np.random.default_rng(seed)
    said = talk(chosen, seconds, rng, (0.0, 0.3))
    return coded(said + rng.normal(0, rms_of(-55.0), len(said)), Law.PCMU)
