"""Replaying calls: on their own flow nothing changes, on a changed one the caller does what he did."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from flow_kit import graph_of
from hypothesis import given
from hypothesis import settings as quality
from hypothesis import strategies as st
from test_verbs import graph, make, say, show

from flows import graph as g
from flows.call import FetchFailed, Reply, TransferOutcome, Trouble
from flows.dialects import compile_flow
from flows.listening import Settings
from flows.orders import Conference, DetectMachine, Dial, Target
from flows.prompts import Prompt
from flows.scripted_world import canned
from flows.simulate import Scenario, simulate
from flows.tools.caller import acts_of
from flows.tools.calllog import CallLog, log_of
from flows.tools.compare import Comparison, compare
from flows.tools.replay import Replay, replay

URL = "http://flows.example/next"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
MENU = {"_": "Press one or two.", "1": {"_": "One. Once more?", "yes | key:1": "Good bye."}, "2": "Two."}
FETCH = make(g.Fetch, "f", url=URL, readers=(("", ("brombler",)),), returns=True)


def call_on(flow: g.Graph, script: str, scenario: Scenario | None = None) -> CallLog:
    scenario = scenario or Scenario()
    return log_of(simulate(flow, script, scenario=scenario), scenario)


def against(log: CallLog, flow: g.Graph) -> tuple[Replay, Comparison]:
    again = replay(log, flow)
    return again, compare(log, log_of(again.simulation, again.scenario))


def unchanged(flow: g.Graph, script: str, scenario: Scenario | None = None) -> CallLog:
    """A call that is replayed on its own flow: note for note and second for second the same."""
    log = call_on(flow, script, scenario)
    again, comparison = against(log, flow)
    assert comparison.same, comparison.render()
    assert again.not_made == ()
    assert [note for note, _ in again.simulation.notes] == [note for note, _ in log.notes]
    assert [at for _, at in again.simulation.notes] == pytest.approx([at for _, at in log.notes], abs=0.002)
    return log


STATEMENTS = ["say yes", "say! no", "say not happy", "press 1", "press! 2", "press 12", "press *", "press! 9"]
WAITS_AND_OTHERS = ["wait 0.4", "wait 3", "wait 9", "busy", "noanswer", "answer 4", "machine"]


@cache
def example(path: Path) -> g.Graph:
    flow = compile_flow(path.read_bytes(), name=path.name).graph
    assert flow is not None
    return flow


@quality(max_examples=40, deadline=None)
@given(
    path=st.sampled_from(EXAMPLES),
    statements=st.lists(st.sampled_from(STATEMENTS + WAITS_AND_OTHERS), max_size=6),
    hangs_up=st.booleans(),
)
def test_a_call_replayed_on_its_own_flow_goes_the_same_way(path: Path, statements: list[str], hangs_up: bool) -> None:
    flow = example(path)
    log = call_on(flow, "; ".join([*statements, *["hangup"] * hangs_up]))
    _, comparison = against(log, flow)
    assert comparison.same, comparison.render()


@pytest.mark.parametrize(
    "script",
    [
        "",
        "press! 1; press! 1",
        "wait 0.5; press! 1; wait 2; say yes",
        "press 9; wait 7; press 9; press 1; hangup",
        "say hello there; say! yes; press 2",
        "wait 12; press 1; wait 6; say yes",
        "wait 1; hangup",
    ],
)
def test_nothing_changes_where_nothing_has_changed(script: str) -> None:
    unchanged(graph_of(MENU), script)


def test_a_caller_who_gave_up_gives_up_again() -> None:
    log = call_on(graph_of(MENU), "", Scenario(answered=False))
    again, _ = against(log, graph_of(MENU))
    assert again.simulation.ending.by == "caller"


@pytest.mark.parametrize(
    "script", ["wait 0.5; press! 1; press 1", "press 1; press 1", "wait 8; press 1; wait 1; say yes"]
)
def test_a_longer_prompt_does_not_put_the_caller_out_of_step(script: str) -> None:
    longer = {**MENU, "_": "Welcome to our menu, which is longer than it was when this call came. Press one or two."}
    again, comparison = against(call_on(graph_of(MENU), script), graph_of(longer))
    assert comparison.same_way
    assert not comparison.same
    assert again.simulation.spoken[-1].prompt.text == "Good bye."


def test_a_prompt_that_is_gone_does_not_stop_the_caller() -> None:
    silent = {key: value for key, value in MENU.items() if key != "_"}
    again, comparison = against(call_on(graph_of(MENU), "wait 0.5; press! 1; say yes"), graph_of(silent))
    assert comparison.same_way
    assert again.not_made == ()


def test_one_more_question_takes_the_answer_to_the_next() -> None:
    more = {"_": "Do you speak English?", "1": MENU}
    again, comparison = against(call_on(graph_of(MENU), "press 1; press 1"), graph_of(more))
    assert not comparison.same_way
    assert comparison.parted
    assert [each.prompt.text for each in again.simulation.spoken][:3] == [
        "Do you speak English?",
        "Press one or two.",
        "One. Once more?",
    ]
    assert again.not_made == ()


def test_what_the_caller_never_gets_to_do_is_told() -> None:
    again, comparison = against(call_on(graph_of(MENU), "press 1; press 1"), graph_of("Good bye."))
    assert not comparison.same_way
    assert [str(act) for act in again.not_made] == ["press 1", "press 1"]


def test_words_that_nobody_listens_for_any_more_are_told() -> None:
    keys = graph(make(g.Collect, "c", into="digits.a", prompts=(Prompt("a key, please"),), most=1))
    again, _ = against(call_on(graph_of(MENU), "press 1; say yes"), keys)
    assert "yes" in str([str(act) for act in again.not_made]) or any(
        "nobody listened" in note.what for note, _ in again.simulation.noted(Trouble)
    )


def test_prompts_last_as_long_as_they_lasted() -> None:
    flow = graph_of(MENU)
    real = call_on(flow, "wait 4; press 2")
    slower = CallLog(
        real.call_id,
        real.caller,
        real.callee,
        tuple((note, at * 2) for note, at in real.notes),
        real.ended_at * 2,
        real.answered_at,
        real.by,
        real.reason,
    )
    again = replay(slower, flow)
    assert again.simulation.spoken[0].heard == 2 * simulate(flow).spoken[0].heard
    assert again.simulation.ended_at == pytest.approx(slower.ended_at, rel=0.2)


def test_web_servers_answer_what_they_answered() -> None:
    answers = [FetchFailed("no route"), Reply(200, "text/plain", b"first", URL), Reply(200, "text/plain", b"next", URL)]
    flow = graph(FETCH, *(make(g.Fetch, f"f{n}", url=URL, readers=FETCH.readers, returns=True) for n in (1, 2)))
    log = unchanged(flow, "", Scenario(fetch=canned({URL: answers})))
    again, _ = against(log, graph(FETCH, say("between"), *[make(g.Fetch, "g", url=URL, readers=FETCH.readers)]))
    assert [each.prompt.text for each in again.simulation.spoken] == ["between", "first"]


def test_a_request_that_differs_in_its_query_gets_the_same_answer() -> None:
    asking = make(g.Fetch, "f", url=f"{URL}?a=1", readers=FETCH.readers)
    log = call_on(graph(asking), "", Scenario(fetch=canned({f"{URL}?a=1": Reply(200, "text/plain", b"hello", URL)})))
    again, _ = against(log, graph(make(g.Fetch, "f", url=f"{URL}?a=2", readers=FETCH.readers)))
    assert [each.prompt.text for each in again.simulation.spoken] == ["hello"]


def test_answers_that_are_not_known_fail_and_say_so() -> None:
    log = call_on(graph(say("hello")), "")
    again, comparison = against(log, graph(FETCH))
    assert not comparison.same_way
    assert f"the call has no answer from {URL}" in again.simulation.noted(Trouble)[0][0].what
    known = replay(log, graph(FETCH), fetch=canned({URL: Reply(200, "text/plain", b"known", URL)}))
    assert [each.prompt.text for each in known.simulation.spoken] == ["known"]


def test_an_answer_that_was_too_large_to_keep_is_told() -> None:
    log = call_on(graph(FETCH), "", Scenario(fetch=canned({URL: Reply(200, "text/plain", b" " * 70_000 + b"x", URL)})))
    again, _ = against(log, graph(FETCH))
    assert "70001 octets) was not kept" in again.simulation.noted(Trouble)[0][0].what


DIAL = make(g.Perform, "d", order=Dial(targets=(Target(kind="number", value="+3901"),)), into="dial")


@pytest.mark.parametrize("script", ["busy", "answer 33; press 1", "noanswer", "reject 603"])
def test_dialled_legs_do_what_they_did(script: str) -> None:
    flow = graph(DIAL, show("how", "dial.status"), d={"USER_BUSY": "engaged", "failed": "no luck"}, answered=False)
    unchanged(flow, script)


@pytest.mark.parametrize("script", ["machine 4", "human"])
def test_machines_and_people_are_what_they_were(script: str) -> None:
    flow = graph(make(g.Perform, "m", order=DetectMachine()), say("a person"), m={"machine": "a machine"})
    unchanged(flow, script)


def test_what_was_under_way_at_the_end_is_so_until_the_end() -> None:
    unchanged(graph(DIAL, say("after"), answered=False), "wait 1; hangup")


def test_an_order_that_the_call_knows_nothing_of_is_simulated_and_told() -> None:
    log = call_on(graph(say("hello")), "")
    again, _ = against(log, graph(make(g.Perform, "r", order=Conference(room="a")), say("after")))
    assert "no word of this Conference" in again.simulation.noted(Trouble)[0][0].what
    assert again.simulation.spoken[-1].prompt.text == "after"


def test_transfers_end_as_they_ended() -> None:
    refused = TransferOutcome(accepted=False, status=486, reason="Busy Here")
    flow = graph(make(g.Transfer, "t", target="2001"), say("gone"), t={g.FAILED: "stays"})
    unchanged(flow, "", Scenario(transfer=refused))


@pytest.mark.parametrize(
    ("options", "script"),
    [
        ({"limit": 5.0}, ""),
        ({"silence": 2.0}, "say something that takes a while"),
        ({"stop_keys": "#"}, "wait 4; press! #"),
        ({"limit": 60.0}, "wait 7; hangup"),
    ],
)
def test_recordings_end_as_they_ended(options: dict[str, object], script: str) -> None:
    flow = graph(make(g.Record, "r", **options), show("why", "recording.reason"))
    unchanged(flow, script)


def test_settings_are_those_of_the_call() -> None:
    scenario = Scenario()
    flow = graph_of(MENU)
    log = log_of(simulate(flow, "", settings=Settings(listen=1.0, repeats=0), scenario=scenario), scenario)
    _, comparison = against(log, flow)
    assert comparison.same


def test_facts_of_the_call_are_known_again() -> None:
    flow = graph(show("who", "call.user"))
    unchanged(flow, "", Scenario(call_id="c9", caller="+4021", callee="100", facts={"call.user": "ann"}))


def test_acts_in_words() -> None:
    log = call_on(graph_of(MENU), "wait 0.5; press! 1; say yes")
    assert [str(act) for act in acts_of(log)] == ["press 1", "say yes"]
    log = call_on(graph_of(MENU), "say hello; wait 1; hangup")
    assert [str(act) for act in acts_of(log)] == ["make a noise", "hang up"]


def times_of(count: int) -> Callable[[int], g.Graph]:
    return lambda extra: graph(*(say(f"step {n}", f"s{n}") for n in range(count + extra)))


def test_a_comparison_says_which_steps_are_new_and_which_are_gone() -> None:
    old = call_on(graph(say("a"), say("b"), say("c"), say("d")), "")
    new = call_on(graph(say("a"), say("x"), say("c"), say("d")), "")
    comparison = compare(old, new)
    assert [row.mark for row in comparison.rows] == ["same", "gone", "new", "same", "same"]
    assert comparison.render().splitlines()[1:3] == [
        "-     0.3 s  Say at the root  “b”",
        "+     0.3 s  Say at the root  “x”",
    ]
    assert comparison.parted == "the ways part after Say at the root"


def test_a_comparison_of_very_long_ways_is_bounded() -> None:
    flow = times_of(900)
    comparison = compare(call_on(flow(0), ""), call_on(flow(3), ""))
    assert sum(row.mark == "same" for row in comparison.rows) >= 890


def test_a_comparison_as_json() -> None:
    log = call_on(graph_of(MENU), "press 1; say yes")
    _, comparison = against(log, graph_of({**MENU, "1": "Good bye."}))
    told = comparison.to_json()
    assert told["same_way"] is False
    assert told["steps"][0]["is"] == "same"
    assert told["steps"][0]["old"]["heard"] == [{"value": "1", "at": 1.045}]
    assert told["end"][0] == {"by": "flow", "reason": "end of the flow"}
