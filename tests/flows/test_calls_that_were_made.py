"""Calls that go out, in the simulator: who picks up, and what of the script nothing came of."""

from __future__ import annotations

import pytest
from flow_kit import graph_of
from messagebird_kit import flow, say, step
from messagebird_kit import graph_of as messagebird
from test_verbs import graph, make, spoken
from test_verbs import say as speak

from flows import graph as g
from flows.orders import DetectMachine
from flows.scripted_world import BEEP, LONGEST_GREETING, MACHINE, PERSON, SILENCE
from flows.simulate import Scenario, Simulation, simulate

OUT = Scenario(outbound=True)
TREE = {"$api http://h/": {"_": "Hello there", "key:1": "One"}}


def detect(**fields: float) -> g.Graph:
    return graph(make(g.Perform, "amd", order=DetectMachine(**fields)), speak("person"), amd={"machine": "machine"})


def made(graph_: g.Graph, script: str = "") -> Simulation:
    return simulate(graph_, script, scenario=OUT)


@pytest.mark.parametrize("first", ["", "human; ", "answer; ", "answer 20; "])
def test_a_person_picks_up(first: str) -> None:
    simulation = made(graph_of(TREE), f"{first}press 1")
    assert spoken(simulation) == ["Hello there", "One"]
    assert [callback.params["e"] for callback, _ in simulation.callbacks] == ["open", "tree", "close"]
    assert (simulation.not_reached, simulation.answered_at) == ((), 0.0)


@pytest.mark.parametrize(
    ("script", "by", "reason"),
    [
        ("busy", "caller", "refused: 486 USER_BUSY"),
        ("reject 603", "caller", "refused: 603 CALL_REJECTED"),
        ("reject 503", "error", "not connected: 503 NORMAL_TEMPORARY_FAILURE"),
        ("noanswer", "limit", "nobody answered"),
    ],
)
def test_nobody_picks_up(script: str, by: str, reason: str) -> None:
    """As on a live call, those whom the flow wants to be told of the end are told."""
    simulation = made(graph_of(TREE), f"{script}; press 1")
    assert (simulation.ending.by, simulation.ending.reason, spoken(simulation)) == (by, reason, [])
    assert [(callback.params["e"], callback.params.get("answered")) for callback, _ in simulation.callbacks] == [
        ("close", None)
    ]
    assert (simulation.duration, [str(each) for each in simulation.not_reached]) == (0.0, ["press 1"])


def test_a_dialled_leg_comes_after_who_picked_up() -> None:
    """§0.2: a transfer in the flow rings the next leg of the script."""
    document = messagebird(flow(step("transfer", destination="31612345678"), say("Thanks.")))
    simulation = made(document, "answer; busy")
    assert spoken(simulation) == ["Thanks."]
    assert "USER_BUSY" in simulation.render()


def test_a_machine_talks_from_the_answer_on() -> None:
    assert made(detect(), "machine 8").spoken[0].at == pytest.approx(8 + BEEP)
    later = graph(
        make(g.Pause, "pause", seconds=5.0),
        make(g.Perform, "amd", order=DetectMachine()),
        speak("person"),
        amd={"machine": "machine"},
    )
    simulation = made(later, "machine 8")
    assert (spoken(simulation), simulation.spoken[0].at) == (["machine"], pytest.approx(8 + BEEP))
    simulation = made(later, "machine 3")  # its beep is over before anybody listens
    assert (spoken(simulation), simulation.spoken[0].at) == (["person"], 5 + SILENCE)


def test_what_picked_up_stays_the_same() -> None:
    twice = graph(
        make(g.Perform, "one", order=DetectMachine(wait=False), into="one"),
        make(g.Perform, "two", order=DetectMachine(wait=False), into="two"),
        speak("end"),
        one={"machine": "two"},
        two={"machine": "machine"},
    )
    assert spoken(made(twice, "machine 20")) == ["machine"]


def test_the_time_to_find_out_is_respected() -> None:
    """§5.1 machineTimeout: the time to analyze if a machine picked up the phone."""
    assert made(detect(wait=False), "machine 8").spoken[0].at == MACHINE
    assert made(detect(wait=False, patience=0.5), "machine 8").spoken[0].at == 0.5
    assert made(detect(patience=0.5), "machine 8").spoken[0].at == pytest.approx(8 + BEEP)
    assert made(detect(patience=0.5), "human").spoken[0].at == 0.5
    assert made(detect(), "human").spoken[0].at == PERSON


def test_a_greeting_is_not_waited_for_for_ever() -> None:
    assert made(detect(), "machine 100").spoken[0].at == MACHINE + LONGEST_GREETING


def test_ifmachine_is_asked_on_a_call_that_was_made() -> None:
    """§5.3 `ifMachine` has a meaning only on outbound calls."""
    document = messagebird(flow(say("Hi.", ifMachine="hangup")))
    assert made(document, "machine 8").ending.reason == "a machine picked up"
    assert spoken(simulate(document, "machine 8")) == ["Hi."]


# --- what was not used ------------------------------------------------------------------------------


def test_statements_that_were_never_used_are_told() -> None:
    simulation = simulate(graph_of({"_": "Bye"}), "machine 5; say yes; press 1")
    assert simulation.to_json()["not_reached"] == ["machine 5", "say yes", "press 1"]
    assert simulation.render().splitlines()[-2:] == [
        "the flow never came to what the script says of others: machine 5",
        "the caller never got to: say yes; press 1",
    ]
    simulation = simulate(graph_of({"_": "Bye"}), "fail 500")
    assert simulation.render().splitlines()[-1].endswith("of others: fail 500")
    simulation = simulate(graph_of({"_": "?", "key:1": "One"}), "press 1; press 2; fail")
    assert simulation.render().splitlines()[-1] == "the caller never got to: press 2; fail"
    assert simulate(graph_of({"_": "?", "key:1": "One"}), "press 1").to_json()["not_reached"] == []
