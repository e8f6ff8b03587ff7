from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from engine.loop import about_loop, fast_loop, run
from engine.serving.lag import EVERY, KEPT, LagMonitor, Lags


def test_percentiles_of_the_last_minute():
    lags = Lags()
    assert lags.percentiles() == (0.0, 0.0, 0.0)
    for late in range(KEPT):
        lags.add(1000.0)
        lags.add(float(late))
    assert lags.percentiles() == (pytest.approx(KEPT - 1, abs=1), 1000.0, 1000.0)
    for _ in range(KEPT):
        lags.add(1.0)
    assert lags.percentiles() == (1.0, 1.0, 1.0), "an older minute is forgotten"
    for late, seen in ((90.0, 1.0), (80.0, 1.0), (70.0, 70.0)):
        lags.add(late)
        assert lags.last_second() == seen
    for _ in range(round(1 / EVERY)):
        lags.add(2.0)
    assert lags.last_second() == 2.0


@pytest.mark.alone
@pytest.mark.both_loops
async def test_a_loop_that_stands_still_is_seen_and_every_look_missed_counts():
    """Half a second in a callback: five looks are late, by 400, 300, … ms, whichever loop it is."""
    seconds: list[float] = []
    lags = Lags()
    monitor = LagMonitor(lags, lambda: seconds.append(lags.last_second()))
    try:
        await asyncio.sleep(3.2 * EVERY)
        time.sleep(5 * EVERY)  # noqa: ASYNC251 - this is what is measured
        async with asyncio.timeout(5):
            while not seconds:  # noqa: ASYNC110 - the monitor has no event to wait for
                await asyncio.sleep(0.01)
    finally:
        monitor.close()
    late = sorted(lags._recent, reverse=True)
    assert late[0] == pytest.approx(420, abs=60)
    for looked, next_look in itertools.pairwise(late[:5]):
        assert looked - next_look == pytest.approx(1000 * EVERY, abs=20)
    assert seconds == [late[2]]


def test_the_loop_that_is_taken_is_the_one_that_is_named():
    async def ask() -> str:
        return about_loop()

    assert run(ask()).startswith("uvloop " if fast_loop() else "asyncio's own (uvloop is not installed)")
    assert asyncio.run(ask()).startswith("asyncio's own")


async def test_a_busy_loop_is_as_late_as_it_is_and_not_later_each_time(monkeypatch: pytest.MonkeyPatch):
    """A loop that goes round once in 250 ms is never later than that, however long it stays so."""
    clock = [1000.0]
    monkeypatch.setattr("engine.serving.lag.time.monotonic", lambda: clock[0])
    lags = Lags()
    monitor = LagMonitor(lags, lambda: None)
    for _ in range(100):
        clock[0] += 0.25
        monitor._look()
    monitor.close()
    assert len(lags._recent) == pytest.approx(250, abs=1), "every look counts"
    assert max(lags._recent) <= 251
    clock[0] += 86_400  # the machine slept
    monitor._look()
    monitor.close()
    assert len(lags._recent) == KEPT
