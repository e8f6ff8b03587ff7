"""How many flows a call may ask for, and which flow it gets when a server fails."""

from __future__ import annotations

from typing import Any

import pytest
from flow_kit import graph_of
from test_verbs import URL, fetch, graph, reply, spoken

from flows import graph as g
from flows.call import Fetched, FetchFailed, Trouble
from flows.executor import Executor, Settings
from flows.requests import LastGood
from flows.scripted_call import ScriptedCall
from flows.scripted_world import canned
from flows.simulate import Scenario, run_sync, simulate


def asking_for_ever() -> g.Graph:
    """It asks again whatever comes: nothing ever does."""
    return graph(fetch(), fetch={g.FAILED: "fetch"})


def test_a_call_may_ask_for_so_many_flows() -> None:
    simulation = simulate(asking_for_ever(), settings=Settings(max_fetches=3))
    assert len(simulation.noted(Fetched)) == 3
    assert (simulation.ending.by, simulation.ending.reason) == (
        "limit",
        "the flow asked web servers for more than 3 flows (calls.max_fetches)",
    )
    assert simulation.noted(Trouble)[-1][0].what == simulation.ending.reason


def test_all_flows_of_a_call_count_together() -> None:
    again = graph(fetch(returns=True), fetch("more"), more={g.FAILED: "failed"})
    served = canned({URL: [reply('{"_": "fetched"}'), FetchFailed("gone")]})
    simulation = simulate(again, settings=Settings(max_fetches=1), scenario=Scenario(fetch=served))
    assert simulation.ending.by == "flow"  # a call tree hangs up
    simulation = simulate(again, settings=Settings(max_fetches=0))
    assert (simulation.ending.by, simulation.noted(Fetched)) == ("limit", [])


def test_the_usual_limit_lets_a_caller_wait_for_hours() -> None:
    assert Settings().max_fetches == 1000
    simulation = simulate(asking_for_ever())
    assert (simulation.ending.by, len(simulation.noted(Fetched))) == ("limit", 1000)


# --- the last good flow ---------------------------------------------------------------------------


def call_of(account: str, memory: LastGood, *replies: Any) -> list[str]:
    """What is heard on a call of an account."""
    served = canned({URL: list(replies)})
    call = ScriptedCall((), Scenario(fetch=served, facts={"call.account": account}))
    run_sync(Executor(graph(fetch(last_good=True), fetch={g.FAILED: "failed"}), Settings(), memory).run(call))
    return [each.prompt.text for each in call.spoken]


def test_the_last_good_flow_is_that_of_the_account() -> None:
    memory = LastGood()
    gone = FetchFailed("gone")
    assert call_of("one", memory, reply('{"_": "of one"}')) == ["of one"]
    assert call_of("two", memory, gone) == ["failed"]
    assert call_of("two", memory, reply('{"_": "of two"}')) == ["of two"]
    assert call_of("one", memory, gone) == ["of one"]
    assert call_of("two", memory, gone) == ["of two"]


def kept(memory: LastGood, *keys: tuple[str, str]) -> list[bool]:
    return [memory.get(account, url) is not None for account, url in keys]


FLOW = graph_of({"_": "x"})


def test_so_many_flows_are_kept() -> None:
    memory = LastGood(most=2)
    for url in ("1", "2"):
        memory.keep("a", url, FLOW, 10)
    assert memory.get("a", "1") is FLOW  # used: the other one goes
    memory.keep("a", "3", FLOW, 10)
    assert kept(memory, ("a", "1"), ("a", "2"), ("a", "3")) == [True, False, True]


def test_so_many_octets_are_kept() -> None:
    memory = LastGood(most_octets=100)
    memory.keep("a", "1", FLOW, 60)
    memory.keep("a", "2", FLOW, 60)
    assert kept(memory, ("a", "1"), ("a", "2")) == [False, True]
    memory.keep("a", "2", FLOW, 40)  # in place of its earlier self
    memory.keep("a", "3", FLOW, 60)
    assert kept(memory, ("a", "2"), ("a", "3")) == [True, True]
    memory.keep("a", "3", FLOW, 101)
    assert kept(memory, ("a", "2"), ("a", "3")) == [True, False]


def test_an_account_that_keeps_much_loses_its_own() -> None:
    memory = LastGood(most=5)
    memory.keep("small", "1", FLOW, 10)
    for number in range(50):
        memory.keep("large", str(number), FLOW, 10)
    assert kept(memory, ("small", "1"), ("large", "49"), ("large", "45")) == [True, True, False]


@pytest.mark.parametrize("account", ["", "a"])
def test_what_was_never_kept_is_not_there(account: str) -> None:
    assert LastGood().get(account, URL) is None
    assert spoken(simulate(graph(fetch(last_good=True), fetch={g.FAILED: "failed"}))) == ["failed"]
