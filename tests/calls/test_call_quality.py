"""How ended calls sounded, as counted for metrics."""

from __future__ import annotations

from engine.calls.quality import Histogram, QualityCounts
from media.quality import judge
from media.reports import StreamStats


def test_a_histogram_counts_up_to_and_with_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.note(value)
    name, text, buckets, total = histogram.sample("a_name", "What.")
    assert (name, text, total) == ("a_name", "What.", 12.0)
    assert buckets == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]


def test_calls_count_once_and_only_when_something_came() -> None:
    counts = QualityCounts()
    good, bad, silent = StreamStats(received=1000), StreamStats(received=900, lost=100, jitter_ms=40.0), StreamStats()
    for stats in (good, bad, silent):
        counts.note(judge(stats), stats)
    mos, loss, jitter = counts.samples()
    assert [buckets[-1][1] for _, _, buckets, _ in (mos, loss, jitter)] == [2, 2, 2]
    assert dict(loss[2])["0.0"] == 1
    assert dict(loss[2])["0.05"] == 1
    assert dict(loss[2])["0.1"] == 2
    assert jitter[3] == 0.04
    assert dict(mos[2])["4.4"] == 1
    assert 0 < mos[3] - 4.41 < 3.5
