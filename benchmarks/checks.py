"""Whether what came back is right: numbering, times and sound of every stream. Arrays in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from media.rates import FRAME, RATE

FRAME_MS = 20.0
TOLERANCE_MS = 3.0
LONG_GAP_MS = 40.0
BIN_MS = 0.25
_BINS = 400
_PIECE = RATE
"""Sound is compared a second at a time."""

_LOUD = 300.0
"""Root of the mean square from which a piece is worth comparing: -37 dBFS."""

_MANY = 20
"""Seconds in which all streams together cannot be silent, whatever their pauses."""

_SOUND_TYPES = (0, 8)
_LONGEST_SKIP = 5 * RATE

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Log:
    """One entry for each packet, in the order of arrival (``arrival`` in ns)."""

    stream: NDArray[np.int32]
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    second: NDArray[np.uint8]
    length: NDArray[np.int32]
    arrival: NDArray[np.int64]

    @classmethod
    def of(cls, size: int) -> Log:
        """Room for ``size`` packets, its pages already there."""
        kinds = (np.int32, np.uint16, np.uint32, np.uint32, np.uint8, np.int32, np.int64)
        return cls(*(np.full(size, 0, kind) for kind in kinds))

    def first(self, count: int) -> Log:
        return self.only(slice(count))

    def only(self, chosen: slice | NDArray[np.bool_]) -> Log:
        return Log(*(getattr(self, each.name)[chosen] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class SoundVerdict:
    """A stream whose sound was compared: ``whole`` seconds came without a gap, of ``loud`` ones among them ``right``
    are what they should be.
    """

    stream: int
    whole: int
    loud: int
    right: int
    lowest: float
    """The least correlation of a loud second."""
    pauses: bool = False
    """Whether what it should hear has pauses of more than a second."""

    @property
    def wrong(self) -> bool:
        """Whether it sounds like something else, or like nothing at all."""
        return self.right < self.loud or bool(self.whole and not self.loud and not self.pauses)


@dataclass(slots=True)
class Reception:
    """What one side heard of all streams."""

    packets: int = 0
    streams: int = 0
    silent_streams: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    wrong_timestamps: int = 0
    skipped: int = 0
    """Frames that the timestamps leave out though no packet is missing: the sender had no time for them."""
    changed_ssrc: int = 0
    malformed: int = 0
    long_gaps: int = 0
    longest_gap_ms: float = 0.0
    p99_off_ms: Floats = field(default_factory=lambda: np.zeros(0))
    """By stream: how far from 20 ms its intervals are, at p99."""
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    """Intervals between packets, in bins of :data:`BIN_MS`."""
    sounds: list[SoundVerdict] = field(default_factory=list)

    @property
    def paced(self) -> int:
        """Streams that kept 20 ms ± 3 ms at p99."""
        return int((self.p99_off_ms <= TOLERANCE_MS).sum())

    def problems(self, kernel_drops: int = 0) -> list[str]:
        """What is wrong with the content; pacing is a matter of figures, not of right and wrong. Of the packets that
        are missing, ``kernel_drops`` were thrown away on our side.
        """
        counts = {
            "streams heard nothing": self.silent_streams,
            "packets lost": max(0, self.lost - kernel_drops),
            "packets twice": self.duplicated,
            "packets out of order": self.reordered,
            "timestamps that do not go on by frames": self.wrong_timestamps,
            "changes of SSRC": self.changed_ssrc,
            "packets of another form": self.malformed,
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        wrong = [verdict for verdict in self.sounds if verdict.wrong]
        if wrong:
            found.append(f"{len(wrong)} of {len(self.sounds)} compared streams do not sound as they should")
        elif sum(verdict.whole for verdict in self.sounds) >= _MANY and not any(
            verdict.loud for verdict in self.sounds
        ):
            found.append("nothing but silence in the compared streams")
        return found


def examine(log: Log, streams: int) -> Reception:
    """Judge the packets of ``streams`` streams by their headers and times."""
    heard = Reception(packets=len(log.stream), streams=streams, silent_streams=streams)
    kinds = log.second & 0x7F
    is_sound = np.isin(kinds, _SOUND_TYPES)
    heard.malformed = int((is_sound & (log.length != 12 + FRAME)).sum() + (~is_sound & (log.length != 16)).sum())
    if not heard.packets:
        return heard
    order = np.argsort(log.stream, kind="stable")
    stream = log.stream[order]
    same = stream[1:] == stream[:-1]
    begins = np.flatnonzero(np.concatenate([[True], ~same]))
    heard.silent_streams = streams - begins.size
    step = np.diff(log.sequence[order].astype(np.int64))
    step = (step + 0x8000 & 0xFFFF) - 0x8000
    _count_numbers(heard, stream, begins, same, step)
    follows = same & (step == 1)
    both_sound = is_sound[order][1:] & is_sound[order][:-1]
    elapsed = (np.diff(log.timestamp[order].astype(np.int64))) & 0xFFFFFFFF
    elapsed = elapsed[follows & both_sound]
    left_out = (elapsed > FRAME) & (elapsed % FRAME == 0) & (elapsed <= _LONGEST_SKIP)
    heard.wrong_timestamps = int(((elapsed != FRAME) & ~left_out).sum())
    heard.skipped = int((elapsed[left_out] // FRAME - 1).sum())
    heard.changed_ssrc = int((same & (log.ssrc[order][1:] != log.ssrc[order][:-1])).sum())
    _time(heard, stream[1:][follows], np.diff(log.arrival[order])[follows] / 1e6)
    return heard


def _count_numbers(
    heard: Reception,
    stream: NDArray[np.int32],
    begins: NDArray[np.intp],
    same: NDArray[np.bool_],
    step: NDArray[np.int64],
) -> None:
    """Loss, order and repetition by extended sequence numbers, each stream from its first packet."""
    extended = np.concatenate([[0], np.cumsum(np.where(same, step, 0))])
    extended -= np.repeat(extended[begins], np.diff(np.append(begins, stream.size)))
    # Nearly in order, which a merging sort makes use of.
    numbers = np.sort(stream.astype(np.int64) << 40 | extended + (1 << 38), kind="stable")
    distinct = 1 + int(np.count_nonzero(np.diff(numbers)))
    spans = np.maximum.reduceat(extended, begins) - np.minimum.reduceat(extended, begins) + 1
    heard.lost = int(spans.sum()) - distinct
    heard.duplicated = stream.size - distinct
    heard.reordered = int((same & (step < 0)).sum())


def _time(heard: Reception, stream: NDArray[np.int32], intervals: Floats) -> None:
    if not intervals.size:
        return
    heard.long_gaps = int((intervals > LONG_GAP_MS).sum())
    heard.longest_gap_ms = float(intervals.max())
    bins = np.clip(intervals / BIN_MS, 0, _BINS - 1).astype(np.int64)
    heard.histogram = np.bincount(bins, minlength=_BINS)
    off = np.abs(intervals - FRAME_MS)
    order = np.lexsort((off, stream))
    ends = np.append(np.flatnonzero(np.diff(stream[order])), stream.size - 1)
    sizes = np.diff(np.concatenate([[-1], ends]))
    heard.p99_off_ms = off[order][ends - sizes + np.ceil(sizes * 0.99).astype(np.int64)]


def correlation(piece: Floats, looped: Floats) -> float:
    """How well ``piece`` fits into the sound ``looped`` at the place where it fits best (1: it is of it)."""
    reference = np.concatenate([looped, looped[: len(piece)]])
    size = 1 << int(len(reference) + len(piece)).bit_length()
    product = np.fft.irfft(np.fft.rfft(reference, size) * np.conj(np.fft.rfft(piece, size)), size)[: len(looped)]
    energy = np.concatenate([[0.0], np.cumsum(reference**2)])
    energy = energy[len(piece) :][: len(looped)] - energy[: len(looped)]
    norm = np.sqrt(np.maximum(energy, 1.0) * np.sum(piece**2))
    return float(np.max(product / np.maximum(norm, 1.0)))


def compare(
    stream: int,
    heard: NDArray[np.int16],
    sources: Sequence[NDArray[np.int16]],
    threshold: float,
    present: NDArray[np.bool_] | None = None,
    *,
    pauses: bool = False,
) -> SoundVerdict:
    """Whether each loud second of ``heard`` has one of ``sources`` (each looped) in it, by correlation.

    ``present`` says of each frame whether it came (default: all of them); seconds with gaps are not compared.
    ``pauses``: the sources have long ones, so that silence alone is not wrong.
    """
    frames = _PIECE // FRAME
    found: list[float] = []
    whole = 0
    for at in range(0, len(heard) // FRAME - frames + 1, frames):
        if present is not None and not present[at : at + frames].all():
            continue
        whole += 1
        piece = heard[at * FRAME : (at + frames) * FRAME].astype(np.float64)
        if np.sqrt(np.mean(piece**2)) >= _LOUD:
            found.append(max(correlation(piece, source.astype(np.float64)) for source in sources))
    right = sum(each >= threshold for each in found)
    return SoundVerdict(stream, whole, len(found), right, min(found, default=0.0), pauses)
