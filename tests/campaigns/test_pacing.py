"""The queue of calls in virtual time: limits hold, schedules hold, and every call comes to one end."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.campaigns.outcome import Ended, is_for_good, judge, result_of
from engine.campaigns.pacing import Lane, Limits, Pace, Waiting
from engine.campaigns.schedule import Schedule

ROME = ZoneInfo("Europe/Rome")
START = 1_772_400_000.0  # a Sunday evening
LANES = (Lane("a", "x"), Lane("a", "y"), Lane("b"), Lane("c", "x"))
SHARED = "x of all"
"""The line of the first lane and the last."""


@dataclass
class Asked:
    """A call that somebody wants, how each attempt will go, and how long it will take."""

    lane: Lane
    results: tuple[str, ...]
    lasts: float
    not_before: float = START
    not_after: float | None = None
    schedule: Schedule | None = None


@dataclass
class World:
    """A queue with a clock of its own, advanced to the time that the queue asks for or to the end of a call."""

    asked: list[Asked]
    limits: dict[Lane, Limits]
    now: float = START
    begun: list[tuple[float, int, int]] = field(default_factory=list)
    ended: list[tuple[float, int]] = field(default_factory=list)
    final: dict[int, str] = field(default_factory=dict)

    def run(self) -> None:
        pace = Pace(lambda lane: self.limits.get(lane, Limits()))
        due = {number: each.not_before for number, each in enumerate(self.asked)}
        attempts: Counter[int] = Counter()
        running: list[tuple[float, int]] = []
        for _ in range(20_000):
            waiting = [
                Waiting(number, asked.lane, due[number], asked.not_after, asked.schedule, ROME)
                for number, asked in enumerate(self.asked)
                if number in due
            ]
            plan = pace.plan(waiting, self.now)
            for each in plan.expired:
                self.settle(each.id, "expired")
                del due[each.id]
            for each, opens in plan.postponed:
                due[each.id] = opens
            for each in plan.place:
                del due[each.id]
                attempts[each.id] += 1
                self.begun.append((self.now, each.id, attempts[each.id]))
                heapq.heappush(running, (self.now + self.asked[each.id].lasts, each.id))
            if not due and not running:
                return
            moments = [moment for moment in (plan.wake, running[0][0] if running else None) if moment is not None]
            assert moments, "nothing would ever happen again"
            self.now = max(self.now, min(moments))
            while running and running[0][0] <= self.now:
                _, number = heapq.heappop(running)
                asked = self.asked[number]
                pace.ended(asked.lane)
                self.ended.append((self.now, number))
                result = asked.results[min(attempts[number], len(asked.results)) - 1]
                verdict = judge(
                    result,  # type: ignore[arg-type]
                    attempt=attempts[number],
                    now=self.now,
                    schedule=asked.schedule,
                    zone=ROME,
                    not_after=asked.not_after,
                )
                if verdict.state == "queued":
                    assert verdict.due is not None
                    due[number] = verdict.due
                else:
                    self.settle(number, verdict.state)
        raise AssertionError("the queue does not come to an end")

    def settle(self, number: int, state: str) -> None:
        assert number not in self.final, "a call has one end"
        self.final[number] = state


SCHEDULES = st.one_of(
    st.none(),
    st.builds(
        lambda days, start, length, retries: Schedule(
            frozenset(days), start * 3600, min(start + length, 24) * 3600, tuple(retries)
        ),
        st.sets(st.integers(0, 6)),
        st.integers(0, 23),
        st.integers(1, 24),
        st.lists(st.sampled_from([60.0, 900.0, 7200.0, 100_000.0]), max_size=3),
    ),
)
RESULTS = st.sampled_from(["completed", "busy", "no-answer", "failed", "canceled"])
ASKED = st.builds(
    Asked,
    lane=st.sampled_from(LANES),
    results=st.lists(RESULTS, min_size=1, max_size=3).map(tuple),
    lasts=st.floats(0.0, 5000.0),
    not_before=st.floats(0.0, 100_000.0).map(lambda seconds: START + seconds),
    not_after=st.one_of(st.none(), st.floats(0.0, 400_000.0).map(lambda seconds: START + seconds)),
    schedule=SCHEDULES,
)
LIMITS = st.builds(
    Limits,
    rate=st.sampled_from([0.0, 0.01, 1.0, 7.0]),
    calls=st.integers(0, 3),
    account_calls=st.integers(0, 3),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(ASKED, max_size=12), st.fixed_dictionaries(dict.fromkeys(LANES, LIMITS)), st.booleans())
def test_limits_hold_and_every_call_has_one_end(asked: list[Asked], limits: dict[Lane, Limits], shared: bool) -> None:
    if shared:
        limits[LANES[0]] = limits[LANES[3]] = replace(limits[LANES[0]], line=SHARED)
    world = World(asked, limits)
    world.run()
    assert set(world.final) == set(range(len(asked)))
    last: dict[object, float] = {}
    for moment, number, attempt in world.begun:
        call = asked[number]
        assert moment >= call.not_before
        assert call.not_after is None or moment <= call.not_after
        assert call.schedule is None or call.schedule.is_open(moment, ROME)
        assert attempt <= 1 + (len(call.schedule.retries) if call.schedule is not None else 0)
        rate, line = limits[call.lane].rate, limits[call.lane].line or call.lane
        if rate and line in last:
            assert moment - last[line] >= 1 / rate - 1e-6
        last[line] = moment
    check_at_a_time(world, limits)


def check_at_a_time(world: World, limits: dict[Lane, Limits]) -> None:
    begun = [(moment, 1, number) for moment, number, _ in world.begun]
    changes = sorted(begun + [(moment, -1, number) for moment, number in world.ended])  # those that end come first
    lines: Counter[object] = Counter()
    accounts: Counter[str] = Counter()
    for _, change, number in changes:
        lane = world.asked[number].lane
        line = limits[lane].line or lane
        lines[line] += change
        accounts[lane.account] += change
        if change > 0:
            assert not limits[lane].calls or lines[line] <= limits[lane].calls
            assert not limits[lane].account_calls or accounts[lane.account] <= limits[lane].account_calls


def test_a_full_lane_keeps_no_other_waiting() -> None:
    world = World(
        [Asked(LANES[0], ("completed",), 100.0) for _ in range(3)] + [Asked(LANES[1], ("completed",), 1.0)],
        {LANES[0]: Limits(calls=1)},
    )
    world.run()
    assert [(moment - START, number) for moment, number, _ in world.begun] == [(0, 0), (0, 3), (100, 1), (200, 2)]


def test_accounts_share_a_trunk_of_all() -> None:
    limits = {lane: Limits(rate=0.1, calls=1, line=SHARED) for lane in (LANES[0], LANES[3])}
    world = World([Asked(lane, ("completed",), 15.0) for lane in limits], limits)
    world.run()
    assert [moment - START for moment, _, _ in world.begun] == [0.0, 15.0]


def test_calls_are_spread_by_the_rate() -> None:
    world = World([Asked(LANES[0], ("completed",), 100.0) for _ in range(4)], {LANES[0]: Limits(rate=2.0)})
    world.run()
    assert [moment - START for moment, _, _ in world.begun] == [0.0, 0.5, 1.0, 1.5]


def test_busy_is_tried_again_after_the_delays() -> None:
    schedule = Schedule(retries=(60.0, 900.0))
    world = World([Asked(LANES[0], ("busy", "no-answer", "completed"), 10.0, schedule=schedule)], {})
    world.run()
    assert [moment - START for moment, _, _ in world.begun] == [0.0, 70.0, 980.0]
    assert world.final == {0: "completed"}


def test_what_no_retry_reaches_has_failed() -> None:
    schedule = Schedule(retries=(60.0,))
    world = World([Asked(LANES[0], ("busy",), 10.0, schedule=schedule), Asked(LANES[0], ("failed",), 10.0)], {})
    world.run()
    assert [number for _, number, _ in world.begun] == [0, 1, 0]
    assert world.final == {0: "failed", 1: "failed"}


def test_what_does_not_come_to_its_turn_in_time_expires() -> None:
    world = World(
        [Asked(LANES[0], ("completed",), 100.0), Asked(LANES[0], ("completed",), 1.0, not_after=START + 50)],
        {LANES[0]: Limits(calls=1)},
    )
    world.run()
    assert world.final == {0: "completed", 1: "expired"}


def test_a_window_that_closed_while_the_lane_was_full_is_waited_for() -> None:
    midnight = START - START % 86_400 + 86_400 - 3600  # in Rome
    late = Schedule(start=22 * 3600, end=24 * 3600 - 1)
    world = World(
        [Asked(LANES[0], ("completed",), 90_000.0), Asked(LANES[0], ("completed",), 1.0, schedule=late)],
        {LANES[0]: Limits(calls=1)},
        now=midnight - 60,
    )
    world.run()
    assert [late.is_open(moment, ROME) for moment, number, _ in world.begun if number == 1] == [True]


@pytest.mark.parametrize(
    ("status", "q850", "again"),
    [
        (486, None, True),
        (480, None, True),
        (408, None, True),
        (503, None, True),
        (403, None, True),  # the trunk refuses us: its owner may mend that
        (None, None, True),  # something broke here, or there was no way
        (404, None, False),
        (410, None, False),
        (484, None, False),
        (603, None, False),
        (604, None, False),
        (503, 1, False),
        (500, 22, False),
        (403, 21, False),
        (503, 28, False),
        (404, 3, True),
        (603, 17, True),
    ],
)
def test_what_no_other_attempt_helps_is_not_tried_again(status: int | None, q850: int | None, again: bool) -> None:
    end = Ended(answered=False, by="caller", reason="", cause="", sip_status=status, q850=q850)
    result = result_of(end, "answered")

    def state(schedule: Schedule) -> str:
        for_good = is_for_good(end)
        return judge(result, attempt=1, now=START, schedule=schedule, zone=ROME, for_good=for_good).state

    assert state(Schedule(retries=(60.0,))) == ("queued" if again else "failed")
    assert state(Schedule(retries=(60.0,), retry_all=True)) == "queued"


def test_who_was_talked_with_is_called_again_whatever_the_status() -> None:
    end = Ended(answered=True, by="caller", reason="", cause="NORMAL_CLEARING", sip_status=200, q850=21)
    assert not is_for_good(end)


def test_results() -> None:
    talked = Ended(answered=True, by="caller", reason="hung up", cause="NORMAL_CLEARING", sip_status=200)
    assert result_of(talked, "answered") == "completed"
    assert result_of(talked, "finished") == "hangup"
    finished = Ended(answered=True, by="flow", reason="end of the flow", cause="NORMAL_CLEARING")
    assert result_of(finished, "finished") == "completed"
    marked = Ended(answered=True, by="caller", reason="hung up", cause="NORMAL_CLEARING", marked="successful")
    assert result_of(marked, "finished") == "completed"
    marked = Ended(answered=True, by="flow", reason="", cause="NORMAL_CLEARING", marked="failed")
    assert result_of(marked, "finished") == "unsuccessful"
    busy = Ended(answered=False, by="caller", reason="refused", cause="USER_BUSY", sip_status=486)
    assert result_of(busy, "answered") == "busy"
    told = Ended(answered=False, by="caller", reason="refused", cause="", sip_status=503, q850=17)
    assert result_of(told, "answered") == "busy"
    killed = Ended(answered=False, by="error", reason="", cause="", sip_status=0)
    assert result_of(killed, "answered") == "failed"
