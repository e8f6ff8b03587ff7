"""How the calls of this process sounded, counted for metrics when they end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from media.quality import Quality
from media.reports import StreamStats

Sample = tuple[str, str, list[tuple[str, float]], float]
"""Name, help, (upper bound, calls up to it) and sum of a histogram."""


class Histogram:
    """Counts of values up to each of ``bounds``, and of all."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def note(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def sample(self, name: str, text: str) -> Sample:
        """As Prometheus wants it: each count includes the ones below."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return name, text, buckets, self._sum


class QualityCounts:
    """Opinion, loss and jitter of what was received on ended calls, those left out on which nothing came."""

    def __init__(self) -> None:
        self._mos = Histogram((1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.3, 4.4))
        self._loss = Histogram((0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5))
        self._jitter = Histogram((0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2))

    def note(self, quality: Quality | None, stats: StreamStats) -> None:
        """A call has ended."""
        if quality is not None:
            self._mos.note(quality.mos)
            self._loss.note(quality.loss)
            self._jitter.note(stats.jitter_ms / 1000)

    def samples(self) -> Iterator[Sample]:
        """For ``/metrics``."""
        yield self._mos.sample("ivrea_call_mos", "Mean opinion of calls by the E-model, of what was received.")
        yield self._loss.sample("ivrea_call_loss_ratio", "Packets of calls that were lost or came too late.")
        yield self._jitter.sample("ivrea_call_jitter_seconds", "Interarrival jitter of calls at their end.")
