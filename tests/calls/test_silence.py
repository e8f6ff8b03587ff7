"""When the silence of a call has lasted long enough, and when anybody listens for its end, by a clock that jumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from engine.calls import silence as module
from engine.calls.silence import REST, Silence
from media import commands

LIMIT = 60.0


class Timer:
    def __init__(self, at: float, what: Any) -> None:
        self.at, self.what, self.cancelled = at, what, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """An event loop, as far as a silence knows it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, what: Any) -> Timer:
        self.timers.append(Timer(at, what))
        return self.timers[-1]

    def go(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [each for each in self.timers if not each.cancelled and each.at <= until]:
            first = min(due, key=lambda each: each.at)
            self.timers.remove(first)
            self.now = first.at
            first.what()
        self.now = until


class Line:
    """A stream: whether the ears of its worker are on."""

    number = 7

    def __init__(self) -> None:
        self.told: list[bool] = []

    def send(self, message: object) -> None:
        assert isinstance(message, commands.Activity)
        self.told.append(message.on)


class House:
    def __init__(self, clock: Clock, limit: float = LIMIT) -> None:
        self.clock, self.line = clock, Line()
        self.over: list[float] = []
        self.begins_anew = False
        self.silence = Silence(limit, lambda: [cast("Any", self.line)], self._reached)

    def _reached(self) -> None:
        self.over.append(self.clock.now - 1000.0)
        if self.begins_anew:
            self.silence.broken()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: clock)
    yield clock
    assert not [timer for timer in clock.timers if not timer.cancelled]


def test_a_line_that_was_never_spoken_on_is_over_at_the_limit(clock: Clock) -> None:
    house = House(clock)
    with house.silence.counting():
        clock.go(59.9)
        assert not house.over
        clock.go(0.2)
    assert house.over == [LIMIT]
    assert house.line.told == [True]


def test_what_is_played_does_not_count(clock: Clock) -> None:
    """Turn by turn, with a long prompt before each."""
    house = House(clock)
    for _ in range(11):
        clock.go(300)
        with house.silence.counting():
            clock.go(5)
    assert not house.over
    clock.go(300)
    with house.silence.counting():
        clock.go(5)
    assert house.over == [12 * 305.0]


def test_a_sign_of_life_begins_it_anew_and_nobody_listens_for_the_next_one_at_once(clock: Clock) -> None:
    house = House(clock)
    with house.silence.counting():
        clock.go(50)
        house.silence.broken()
        assert house.line.told == [True, False]
        clock.go(REST)
        assert house.line.told == [True, False, True]
        clock.go(LIMIT - 0.1)
        assert not house.over
        clock.go(0.1)
    assert house.over == [50 + REST + LIMIT]


def test_a_talk_is_not_over_while_somebody_speaks_now_and_then(clock: Clock) -> None:
    house = House(clock)
    with house.silence.counting():
        for _ in range(100):
            clock.go(LIMIT - 1)
            house.silence.broken()
        assert not house.over


def test_it_may_be_begun_anew_at_the_limit(clock: Clock) -> None:
    """As on hold."""
    house = House(clock)
    house.begins_anew = True
    with house.silence.counting():
        clock.go(500)
    assert len(house.over) == 7


def test_others_on_the_line_are_listened_to_at_once(clock: Clock) -> None:
    house = House(clock)
    with house.silence.counting():
        clock.go(10)
        first, house.line = house.line, Line()
        house.silence.broken(rest=False)
        assert (first.told, house.line.told) == ([True, False], [True])
        clock.go(LIMIT)
    assert house.over == [10 + LIMIT]


def test_without_a_limit_nothing_is_done(clock: Clock) -> None:
    house = House(clock, limit=0.0)
    with house.silence.counting():
        house.silence.broken()
        clock.go(100_000)
    assert (house.over, house.line.told, clock.timers) == ([], [], [])


def test_a_call_that_is_over_holds_nothing(clock: Clock) -> None:
    house = House(clock)
    with house.silence.counting():
        house.silence.part()
    clock.go(1000)
    assert not house.over
