"""The benchmarks, in the order of the report."""

from __future__ import annotations

from benchmarks.bench import Case
from benchmarks.cases.baselines import Baselines
from benchmarks.cases.ears_tones import EarsTones
from benchmarks.cases.ears_words import EarsWords
from benchmarks.cases.flows import Flows
from benchmarks.cases.lag import Lag
from benchmarks.cases.latency import Latency
from benchmarks.cases.pacing import Pacing
from benchmarks.cases.plane import Bridge, ConferenceRoom, Play, Record, Scaling, Words
from benchmarks.cases.profile import TickProfile
from benchmarks.cases.requests import Requests
from benchmarks.cases.setup import SetUp


def all_cases() -> list[Case]:
    media = [Play(), Record(), Words(), Bridge(), ConferenceRoom(), Scaling(), Pacing(), TickProfile(), Baselines()]
    return [*media, EarsWords(), EarsTones(), SetUp(), Latency(), Lag(), Requests(), Flows()]
