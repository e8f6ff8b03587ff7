"""Breakers: when a host is left alone, for how long, and how it comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.callbacks import breaker
from engine.callbacks.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breakers


def test_failures_in_a_row_begin_a_pause_and_one_answer_ends_it() -> None:
    breakers = Breakers()
    for _ in range(FAILURES - 1):
        assert breakers.failed("a", 10.0) is None
    assert not breakers.answered("a"), "it was never left alone"
    for _ in range(FAILURES - 1):
        assert breakers.failed("a", 20.0) is None
    assert breakers.failed("a", 21.0) == FIRST_PAUSE
    assert breakers.paused(21.0) == {"a": 21.0 + FIRST_PAUSE}
    assert breakers.failed("a", 22.0) is None, "what was under way prolongs nothing"
    assert breakers.paused(21.0 + FIRST_PAUSE) == {}
    assert (breakers.room("a", 16), breakers.room("b", 16)) == (1, 16)
    assert breakers.answered("a")
    assert breakers.room("a", 16) == 16
    assert list(breakers.open()) == []


def test_a_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breakers, now, pauses = Breakers(), 0.0, []
    for _ in range(FAILURES + 5):
        seconds = breakers.failed("a", now)
        if seconds is not None:
            pauses.append(seconds)
            now += seconds
    assert pauses == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_host_that_asks_for_more_gets_it() -> None:
    breakers = Breakers()
    seconds = [breakers.failed("a", 0.0, at_least=900.0) for _ in range(FAILURES)]
    assert seconds[-1] == 900.0


def test_hosts_are_remembered_within_bounds() -> None:
    breakers = Breakers()
    for number in range(breaker.MOST_HOSTS + 10):
        breakers.failed(f"h{number}", 0.0)
    assert breakers.failures("h0") == 0
    assert breakers.failures("h10") == 1


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=80))
def test_a_host_is_always_asked_again(steps: list[tuple[bool, float]]) -> None:
    breakers, now = Breakers(), 0.0
    for works, passed in steps:
        now += passed
        if "a" in breakers.paused(now):
            assert breakers.paused(now)["a"] - now <= LONGEST_PAUSE
            continue
        if works:
            breakers.answered("a")
            assert breakers.room("a", 16) == 16
        else:
            breakers.failed("a", now)
