"""The switch when there is no room: what callers hear, what is counted, what is logged. Time stands still."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from switch_kit import Exchange

from engine.calls.channels import Channels
from engine.calls.media import MediaOverload
from engine.calls.numbers import Dialplan, NumberPlan


class FullPool:
    """A pool that says no, and counts how often it was asked."""

    asked = 0

    def admit(self) -> None:
        self.asked += 1
        raise MediaOverload("media busy")


@pytest.mark.parametrize("why", ["media busy", "too many calls", "control process late"])
async def test_refused_for_load(why: str) -> None:
    pool = FullPool()
    exchange = Exchange(pool, max_calls=0 if why == "too many calls" else 10)
    if why == "control process late":
        for _ in range(5):
            exchange.switch.each_second(90.0)
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            response = exchange.call()
            assert response.status == 503
            assert response.headers.get("Retry-After") == "5"
            exchange.now += 0.1
        exchange.switch.each_second(0.0)
        exchange.now += 5.0
        exchange.switch.each_second(0.0)
        exchange.switch.each_second(0.0)
    assert exchange.switch.counters.refused == {why: 20}
    assert [line["event"] for line in logs] == ["overload: new calls are refused", "overload is over"]
    assert logs[0]["why"] == why
    assert logs[1]["refused"] == 20
    assert bool(pool.asked) is (why == "media busy")


async def test_a_single_stall_of_the_loop_refuses_nobody() -> None:
    pool = FullPool()
    exchange = Exchange(pool)
    for lag in (1.0, 3000.0, 1.0, 1.0, 900.0, 1.0):
        exchange.switch.each_second(lag)
        assert exchange.call().status == 503
    assert exchange.switch.counters.refused == {"media busy": 6}, "the pool was asked: the loop is not in the way"


async def test_an_account_has_a_limit_of_its_own() -> None:
    pool = FullPool()
    exchange = Exchange(pool)
    plan = SimpleNamespace(account="small", most_calls=1)
    exchange.switch.plan = Dialplan(NumberPlan([("1000", cast("Any", plan))]))
    exchange.switch.calls["c"] = cast("Any", SimpleNamespace(plan=SimpleNamespace(account="other")))
    exchange.call()
    assert pool.asked == 1, "calls of others do not count"
    exchange.switch.calls["d"] = cast("Any", SimpleNamespace(plan=plan))
    assert exchange.call().status == 486, "who is called is busy; we are not"
    assert pool.asked == 1
    assert exchange.switch.counters.refused["too many calls of the account"] == 1


async def test_legs_to_outside_count_as_calls_of_the_account() -> None:
    """An account with one call's worth of legs, and no more than that, is busy."""
    pool = FullPool()
    exchange = Exchange(pool)
    legs = Channels()
    exchange.switch._outside = cast("Any", SimpleNamespace(legs=legs))
    exchange.switch.plan = Dialplan(NumberPlan([("1000", cast("Any", SimpleNamespace(account="a", most_calls=1)))]))
    leg = legs.take("a", 0)
    assert leg is not None
    assert (exchange.call().status, pool.asked) == (486, 0)
    leg.release()
    assert (exchange.call().status, pool.asked) == (503, 1), "there is room, as far as the account goes"
