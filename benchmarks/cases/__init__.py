"""The benchmarks, in the order of the report."""

from __future__ import annotations

from benchmarks.bench import Case
from benchmarks.cases.baselines import Baselines
from benchmarks.cases.pacing import Pacing
from benchmarks.cases.plane import Bridge, ConferenceRoom, Play, Record, Scaling, Words


def all_cases() -> list[Case]:
    return [Play(), Record(), Words(), Bridge(), ConferenceRoom(), Scaling(), Pacing(), Baselines()]
