"""What a call puts down about itself is all that is needed to say how it went, and to do it again."""

from __future__ import annotations

from flow_kit import graph_of, play
from test_verbs import graph, make, say

from flows import graph as g
from flows.call import Began, FellSilent, Fetched, Performed, Reached, Reply, Took
from flows.orders import Dial, Target
from flows.scripted_world import canned
from flows.simulate import Scenario, Simulation, simulate
from flows.tools.calllog import CallLog, Visit, log_of, visits

URL = "http://flows.example/next"
MENU = {"_": "Press one or two.", "1": {"_": "One. Once more?", "yes": "Good bye."}, "2": "Two."}


def log(simulation: Simulation) -> CallLog:
    return log_of(simulation, Scenario())


def way(simulation: Simulation) -> list[tuple[str, str]]:
    """Verbs, each with the exit that was taken from it."""
    return [(visit.verb, visit.way) for visit in visits(log(simulation))]


def test_the_flow_and_what_was_known_of_the_call_come_first() -> None:
    simulation = play(MENU, "press 2", facts={"call.user": "ann"})
    first = simulation.notes[0][0]
    assert isinstance(first, Began)
    assert first.facts["call.user"] == "ann"
    assert (first.listen, first.repeats) == (5.0, 2)


def test_every_step_that_is_no_plumbing_is_told_with_the_exit_that_led_to_it() -> None:
    simulation = play(MENU, "press 1; say yes")
    assert [(note.verb, note.exit) for note, _ in simulation.noted(Reached)] == [
        ("Listen", ""),
        ("Listen", "1"),
        ("Say", "yes"),
        ("HangUp", "next"),
    ]
    assert all(note.flow == 0 for note, _ in simulation.noted(Reached))


def test_plumbing_has_one_way_on() -> None:
    quiet = [kind for kind in vars(g).values() if isinstance(kind, type) and issubclass(kind, g.Step) and kind.quiet]
    assert quiet
    assert all(kind.leads == (g.NEXT,) for kind in quiet)


def test_what_the_caller_does_is_told_once_and_with_its_time() -> None:
    simulation = play(MENU, "wait 0.5; press! 1; wait 3; say yes")
    taken = [(note.kind, note.values, round(at - note.ago, 3)) for note, at in simulation.noted(Took)]
    assert [each[:2] for each in taken] == [
        ("key", ("1",)),
        ("speech", ()),
        ("word", ("yes",)),
        ("words", ("yes",)),
    ]
    assert taken[0][2] == 0.5


def test_keys_pressed_ahead_are_told_with_the_time_of_the_press() -> None:
    flow = graph(say("a long prompt that nobody interrupts", "first"), make(g.Collect, "c", into="digits.a", most=1))
    (key, at), *rest = simulate(flow, "wait 1; press! 5").noted(Took)
    assert rest == []
    assert round(at - key.ago, 3) == 1.0
    assert at > 1.0


def test_turns_are_told_with_a_prompt_and_without() -> None:
    flow = graph(say("hello"), make(g.Collect, "c", into="digits.a", most=1, repeats=1))
    turns = [(note.turn, round(at, 2)) for note, at in simulate(flow).noted(FellSilent)]
    assert turns == [(False, 0.53), (True, 0.53), (True, 5.53)]


def test_a_fetched_flow_is_kept_with_the_call_up_to_a_limit() -> None:
    fetch = make(g.Fetch, "f", url=URL, readers=(("", ("brombler",)),))
    small = Scenario(fetch=canned({URL: Reply(200, "text/plain", "Bună ziua".encode(), f"{URL}/moved")}))
    (note, _), *_ = simulate(graph(fetch), scenario=small).noted(Fetched)
    assert (note.body, note.source, note.content_type, note.size) == ("Bună ziua", f"{URL}/moved", "text/plain", 10)
    assert len(note.digest) == 64
    large = Scenario(fetch=canned({URL: Reply(200, "text/plain", b"x" * 70_000, URL)}))
    (note, _), *_ = simulate(graph(fetch), scenario=large).noted(Fetched)
    assert (note.body, note.size) == ("", 70_000)
    binary = Scenario(fetch=canned({URL: Reply(200, "text/plain", b"\xff\xfe\xff", URL)}))
    (note, _), *_ = simulate(graph(fetch), scenario=binary).noted(Fetched)
    assert (note.body, note.size) == ("", 3)


def test_steps_of_other_flows_have_another_number() -> None:
    fetch = make(g.Fetch, "f", url=URL, readers=(("", ("brombler",)),), returns=True)
    scenario = Scenario(fetch=canned({URL: Reply(200, "text/plain", b'{"_": "Yes?", "yes": "fine", "no": "so"}', URL)}))
    jump = make(g.Jump, "j", flow="other", returns=True)
    scenario = Scenario(fetch=scenario.fetch, flows={"other": g.Graph({"s": say("inner", "s")}, "s")})
    simulation = simulate(graph(jump, say("back"), fetch), "say yes", scenario=scenario)
    reached = [(note.verb, note.flow) for note, _ in simulation.noted(Reached)]
    assert reached == [("Jump", 0), ("Say", 1), ("Say", 0), ("Fetch", 0), ("Listen", 2), ("Say", 2), ("HangUp", 2)]


def test_an_order_is_told_with_its_outcome_even_if_nothing_is_to_be_said_of_it() -> None:
    dial = make(g.Perform, "d", order=Dial(targets=(Target(kind="number", value="+3901"),)))
    (note, _), *_ = simulate(graph(dial), "busy").noted(Performed)
    assert note.order == "Dial"
    assert note.exits[0] == "USER_BUSY"
    assert note.facts["sip"] == "486"


def test_visits_say_where_a_call_was_and_what_happened_there() -> None:
    simulation = play(MENU, "press 9; wait 1; press 1; say yes")
    first, second, third, last = visits(log(simulation))
    assert (first.verb, first.way, first.path, first.asked) == ("Listen", "1", "", 2)
    assert [value for value, _ in first.heard] == ["9", "1"]
    assert (second.path, second.way) == ("1", "yes")
    assert third.said == ["Good bye."]
    assert (last.verb, last.way) == ("HangUp", "")
    assert first.ended == second.began


def test_a_trouble_that_was_told_of_the_request_is_not_told_twice() -> None:
    simulation = simulate(graph(make(g.Fetch, "f", url=URL)))
    (visit,) = visits(log(simulation))
    assert visit.events == [f"GET {URL} failed: no answer from {URL} is known"]


def test_callbacks_of_a_node_belong_to_its_step() -> None:
    simulation = play({"$api http://a/": {"_": "Well?", "yes": "good"}}, "say yes")
    events: list[list[str]] = [visit.events for visit in visits(log(simulation))]
    assert events[0] == ["callback open to http://a/"]
    assert events[1] == ["callback tree to http://a/"]


def test_a_call_that_ends_in_a_step_has_no_way_out_of_it() -> None:
    assert way(play(MENU, "wait 1; hangup")) == [("Listen", "")]
    assert visits(CallLog("c", "a", "b", (), 1.0)) == []


def test_a_visit_lasts_until_the_next() -> None:
    every: list[Visit] = visits(log(simulate(graph_of(MENU), "press 2")))
    assert [visit.ended for visit in every[:-1]] == [visit.began for visit in every[1:]]
