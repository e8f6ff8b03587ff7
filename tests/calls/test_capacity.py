"""Admission in virtual time: a worker made of arithmetic is offered calls, its gauge decides."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from engine.calls.capacity import CLIP, SILENCE, Overload, Strain, WorkerGauge
from engine.calls.media import MediaOverload, MediaPool
from media.ports import REST
from media.reports import WorkerLoad

LIMIT = 0.85


def load(busy: float = 0.0, streams: int = 0, late: float = 0.2) -> WorkerLoad:
    return WorkerLoad(streams, late / 2, late, late * 2, 0, 0, 0, busy)


@dataclass
class Machine:
    """A worker whose streams cost what they cost: ``base`` and ``each`` are shares of a core, ``setup`` CPU seconds."""

    each: float
    setup: float
    base: float = 0.02
    gauge: WorkerGauge = field(default_factory=lambda: WorkerGauge(LIMIT, 10.0))
    now: float = 0.0
    used: float = 0.0
    most: float = 0.0
    refused: int = 0
    ends: list[float] = field(default_factory=list)

    def run(self, seconds: float, rate: float, hold: float) -> None:
        """Calls come ``rate`` a second and last ``hold`` seconds; the worker reports at each full second."""
        step, due = 0.001, self.now
        until = self.now + seconds
        while self.now < until - step / 2:
            while self.ends and self.ends[0] <= self.now:
                self.ends.pop(0)
                self.gauge.closed(self.now)
            while rate and due <= self.now:
                due += 1 / rate
                if self.gauge.refusal(self.now):
                    self.refused += 1
                    continue
                self.gauge.promise()
                self.gauge.opened(self.now)
                self.ends.append(self.now + hold)
                self.used += self.setup
            self.used += step * (self.base + self.each * len(self.ends))
            before, self.now = self.now, self.now + step
            if int(self.now + step / 2) > int(before + step / 2):
                self.most = max(self.most, self.used)
                self.gauge.report(load(min(self.used, 1.0), len(self.ends)), self.now)
                self.used = 0.0


@pytest.mark.parametrize("each", [0.0003, 0.0005, 0.001])
@pytest.mark.parametrize("rate", [50, 500])
def test_long_calls_fill_a_worker_and_do_not_overfill_it(each: float, rate: float):
    machine = Machine(each=each, setup=0.001)
    machine.run(60, rate, hold=10_000)
    assert machine.refused
    settled = machine.base + each * len(machine.ends)
    assert 0.75 < settled <= LIMIT + 0.01
    assert machine.most <= LIMIT + 0.06, "the set-up of the last calls comes on top"


def test_a_burst_between_two_reports_does_not_overshoot():
    """500 calls a second onto a worker that already is at 60 %: the report of the next second would come too late."""
    machine = Machine(each=0.0005, setup=0.001)
    machine.run(60, 20, hold=10_000)
    assert not machine.refused
    assert 0.6 < machine.base + machine.each * len(machine.ends) < 0.65
    machine.run(3, 500, hold=10_000)
    assert machine.refused > 1000
    assert machine.most <= LIMIT + 0.02


def test_short_calls_cost_what_setting_them_up_costs():
    """A rate that is carried for good is not refused because calls are counted that ended long ago."""
    machine = Machine(each=0.0005, setup=0.001)
    machine.run(20, 400, hold=0.2)
    assert not machine.refused
    assert 0.4 < machine.most < 0.5
    machine.run(10, 2000, hold=0.2)
    assert machine.refused > 5_000
    assert machine.most <= LIMIT + 0.1
    assert machine.most >= 0.75


def test_promises_count_until_their_streams_are_open_and_no_longer():
    gauge = WorkerGauge(LIMIT, 10.0)
    gauge.report(load(), 1.0)
    taken = 0
    while not gauge.refusal(1.01):
        gauge.promise()
        taken += 1
    assert 300 < taken < 900, "all at once, before any stream is open"
    gauge.report(load(), 2.0)
    gauge.report(load(), 3.0)
    assert gauge.refusal(3.0) == "", "calls that broke before they had a stream hold no place"
    assert gauge.streams == 0


def test_one_hiccup_is_no_overload_and_an_overload_does_not_flap():
    gauge = WorkerGauge(LIMIT, 10.0)
    now = 0.0

    def second(late: float) -> str:
        nonlocal now
        now += 1.0
        gauge.report(load(late=late), now)
        return gauge.refusal(now)

    assert [second(late) for late in (500, 500, 1, 1, 1, 1, 1, 1, 500, 1, 1)] == [""] * 11
    assert [second(late) for late in (15, 15, 15, 15, 15, 15)][::5] == ["", "media late"]
    assert [second(late) for late in (9, 11, 8, 9, 1, 20, 1, 20)] == ["media late"] * 8, "it stays as it is"
    assert [second(late) for late in (1, 1, 1, 1)] == ["media late", "media late", "media late", ""]


def test_a_silent_worker_gets_nothing_until_it_speaks_again():
    gauge = WorkerGauge(LIMIT, 10.0)
    gauge.started(100.0)
    assert gauge.refusal(100.0 + SILENCE - 0.1) == ""
    assert gauge.refusal(100.0 + SILENCE + 0.1) == "media silent"
    gauge.report(load(), 104.0)
    assert gauge.refusal(104.0) == ""


def test_a_worker_without_ports_gets_nothing():
    gauge = WorkerGauge(LIMIT, 10.0, pairs=3)
    gauge.started(0.0)
    gauge.opened(0.1)
    gauge.opened(0.2)
    assert gauge.refusal(0.2) == ""
    gauge.promise()
    assert gauge.refusal(0.2) == "media full"
    gauge.opened(0.3)
    gauge.closed(0.4)
    gauge.report(load(), 4.0)
    assert gauge.refusal(0.4 + REST - 0.1) == "media full"  # late packets may still come to these ports
    assert gauge.refusal(0.4 + REST) == ""


def test_a_new_process_begins_with_nothing():
    gauge = WorkerGauge(LIMIT, 10.0)
    gauge.report(load(busy=0.9, streams=1000, late=50), 1.0)
    gauge.report(load(busy=0.9, streams=1000, late=50), 2.0)
    assert gauge.refusal(2.0)
    gauge.started(3.0)
    assert gauge.refusal(3.0) == ""
    assert gauge.busy == 0.0


def test_strain_clips_and_recovers():
    strain = Strain(50.0)
    for value in (1e6, 1e6, 0.0):
        strain.take(value)
        assert not strain.high
    for _ in range(20):
        strain.take(1e6)
    assert strain.high
    assert strain.mean == pytest.approx(CLIP * 50, rel=0.01)
    values = 0
    while strain.high:
        strain.take(0.0)
        values += 1
    assert values == 5


def test_an_overload_is_told_at_its_begin_and_its_end():
    overload = Overload()
    assert not overload.ends(0.0)
    assert [overload.refuse(now) for now in (1.0, 1.1, 4.0)] == [True, False, False]
    assert not overload.ends(8.9)
    assert overload.ends(9.0)
    assert (overload.since, overload.refused) == (1.0, 3)
    assert not overload.ends(10.0)
    assert overload.refuse(11.0)
    assert overload.refused == 1


def pool_of(*loads: WorkerLoad, clock: list[float]) -> MediaPool:
    pool = MediaPool((40_000, 49_999), len(loads), busy_limit=LIMIT, late_limit_ms=10.0)
    for worker, each in zip(pool.workers, loads, strict=True):
        worker.ready.set()
        worker.gauge.started(clock[0] - 6)
        for _ in range(each.streams):
            worker.gauge.opened(clock[0] - 6)
        for second in (5, 4, 3, 2, 1, 0):
            worker.gauge.report(each, clock[0] - second)
    return pool


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("engine.calls.media.time.monotonic", lambda: now[0])
    return now


async def test_a_call_goes_to_the_least_busy_worker(clock: list[float]):
    """Not to the one with the fewest streams: those of the other cost more."""
    pool = pool_of(load(busy=0.5, streams=100), load(busy=0.3, streams=300), clock=clock)
    taken = [pool.admit().name for _ in range(200)]
    assert taken[:50] == ["1"] * 50
    assert {"0", "1"} == set(taken[150:]), "they are level by then"


async def test_equally_busy_workers_take_turns(clock: list[float]):
    pool = pool_of(load(busy=0.011), load(busy=0.014), clock=clock)
    taken = [pool.admit().name for _ in range(20)]
    assert taken.count("0") == taken.count("1") == 10


def drain(pool: MediaPool) -> None:
    for _ in range(1000):
        pool.admit()


async def test_calls_avoid_a_late_worker_and_are_refused_when_none_is_left(clock: list[float]):
    pool = pool_of(load(busy=0.1, late=40), load(busy=0.7, streams=700), clock=clock)
    assert {pool.admit().name for _ in range(20)} == {"1"}
    for _ in range(20):
        pool.admit()
    with pytest.raises(MediaOverload, match="media"):
        drain(pool)
    clock[0] += 10
    with pytest.raises(MediaOverload, match="media silent"):
        pool.admit()
