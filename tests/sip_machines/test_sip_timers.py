from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.sip.timers import Timer, TimerQueue, Timers


def test_timers_fire_in_order_and_once() -> None:
    queue, fired = TimerQueue(), []
    for name, at in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a2", 1.0)):
        queue.at(at, lambda now, name=name: fired.append((name, now)))
    assert queue.deadline() == 1.0
    queue.fire(0.9)
    assert fired == []
    queue.fire(2.5)
    assert fired == [("a", 2.5), ("a2", 2.5), ("b", 2.5)]
    queue.fire(10)
    assert [name for name, _ in fired] == ["a", "a2", "b", "c"]
    assert queue.deadline() is None
    assert len(queue) == 0


def test_cancelled_timer_does_not_fire_and_is_not_a_deadline() -> None:
    queue, fired = TimerQueue(), []
    first = queue.at(1.0, fired.append)
    queue.at(2.0, fired.append)
    queue.cancel(first)
    queue.cancel(first)
    queue.cancel(None)
    assert queue.deadline() == 2.0
    queue.fire(5)
    queue.cancel(first)
    assert fired == [5]


def test_timer_set_by_a_timer_fires_in_the_same_sweep_if_due() -> None:
    queue, fired = TimerQueue(), []
    queue.at(1.0, lambda now: queue.at(1.5, fired.append))
    queue.fire(2.0)
    assert fired == [2.0]


def test_cancelled_timers_do_not_pile_up() -> None:
    queue = TimerQueue()
    for _ in range(10_000):
        queue.cancel(queue.at(32.0, lambda now: None))
    assert len(queue._heap) < 200
    assert len(queue) == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200))
def test_every_timer_fires_unless_cancelled(plan: list[tuple[float, bool]]) -> None:
    queue, fired = TimerQueue(), []
    timers: list[tuple[Timer, bool]] = []
    for index, (at, cancel) in enumerate(plan):
        timers.append((queue.at(at, lambda now, index=index: fired.append(index)), cancel))
    for timer, cancel in timers:
        if cancel:
            queue.cancel(timer)
    kept = [index for index, (_, cancel) in enumerate(plan) if not cancel]
    assert len(queue) == len(kept)
    queue.fire(100)
    assert fired == sorted(kept, key=lambda index: plan[index][0])


def test_table_4_values() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.d, timers.transaction) == (0.5, 4.0, 5.0, 32.0, 32.0)
