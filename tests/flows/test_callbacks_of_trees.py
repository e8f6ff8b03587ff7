"""open, tree, close: who is told what, when, how often."""

from flow_kit import HandCall, graph_of, play, told

from flows import graph as g
from flows.call import Callback, Entered, Forwarding, Note, Subscribed, TransferOutcome
from flows.events import Narrator
from flows.executor import Executor

A, B, C = "http://a/?q=1", "https://b_b/x y", "http://c/"

TREE = {
    f"$api {A}": "",
    "_": "Hello?",
    "yes | sure": {f"$api {B}": "Good.", "_": "Sure?", "ja/nein ș": {f"$api {A}": f"$api {C}"}},
    "no": f"$api {C}",
    "bye": "Bye.",
}


def test_every_event_in_order() -> None:
    simulation = play(TREE, "say yes; say ja/nein ș", caller="+4021", callee="1000", call_id="x@y")
    node = "yes%20%7C%20sure"
    leaf = f"{node}/ja%2Fnein%20%C8%99"
    assert told(simulation) == [
        ("open", "", A),
        ("tree", node, A),
        ("tree", node, B),
        ("tree", leaf, A),
        ("tree", leaf, B),
        ("tree", leaf, C),
        ("close", leaf, A),
        ("close", leaf, B),
        ("close", leaf, C),
    ]


def test_parameters_come_in_order_and_are_numbered() -> None:
    simulation = play(TREE, "wait 3.9; say! no", caller="+4021", callee="1000", call_id="x@y")
    params = [dict(each.params) for each, _ in simulation.callbacks]
    assert [each["seq"] for each in params] == ["1", "2", "3", "4", "5"]
    assert list(params[0]) == ["e", "path", "from", "to", "id", "answered", "duration", "seq"]
    assert params[0] == {
        "e": "open",
        "path": "",
        "from": "+4021",
        "to": "1000",
        "id": "x@y",
        "answered": "true",
        "duration": "0",
        "seq": "1",
    }
    assert params[1]["duration"] == "4"
    assert all(each.method == "GET" for each, _ in simulation.callbacks)


def test_a_text_leaf_gets_tree_and_a_value_subscribes() -> None:
    assert told(play(TREE, "say bye")) == [("open", "", A), ("tree", "bye", A), ("close", "bye", A)]
    assert told(play(TREE, "say no")) == [
        ("open", "", A),
        ("tree", "no", A),
        ("tree", "no", C),
        ("close", "no", A),
        ("close", "no", C),
    ]


def test_repeats_and_misses_send_nothing() -> None:
    assert told(play(TREE, "press 9; say banana")) == [("open", "", A), ("close", "", A)]


def test_close_is_told_when_the_caller_leaves_in_the_middle() -> None:
    simulation = play(TREE, "wait 0.5; hangup")
    assert told(simulation) == [("open", "", A), ("close", "", A)]
    assert simulation.ending.by == "caller"


def test_a_call_that_is_never_answered_gets_close_alone() -> None:
    simulation = play(TREE, answered=False)
    assert told(simulation) == [("close", "", A)]
    ((close, _),) = simulation.callbacks
    assert "answered" not in close.params
    assert close.params["duration"] == "0"


def test_one_close_for_a_url_that_is_met_twice() -> None:
    document = {f"$api {A}": "", "_": "?", "yes": {f"$api {A}": "x"}}
    assert told(play(document, "say yes")) == [("open", "", A), ("tree", "yes", A), ("close", "yes", A)]


def test_a_transfer_is_told_only_when_it_fails() -> None:
    document = {f"$api {A}": "", "_": "?", "yes": "$redirect 100", "no": {"$redirect 100": "Wait.", "$fail": "Sorry."}}
    moved = play(document, "say yes")
    assert told(moved) == [("open", "", A), ("tree", "yes", A), ("close", "yes/$redirect", A)]
    assert moved.ending.reason == "transferred to 100"
    busy = TransferOutcome(accepted=False, status=486, reason="Busy Here")
    failed = play(document, "say yes", transfer=busy)
    assert told(failed)[2:] == [("tree", "yes/$redirect", A), ("close", "yes/$redirect", A)]
    assert failed.ending.reason == "the transfer to 100 failed: 486 Busy Here"
    went_on = play(document, "say no", transfer=busy)
    assert told(went_on)[2:] == [
        ("tree", "no/$redirect", A),
        ("tree", "no/$redirect/$fail", A),
        ("close", "no/$redirect/$fail", A),
    ]


def test_a_redirect_adds_the_same_to_every_path_also_to_the_roots() -> None:
    assert play("$redirect 100").path == "/$redirect"


async def test_a_call_that_was_answered_before_its_flow_began_is_open_too() -> None:
    call = HandCall()
    call.answered_at = 0.0
    await Executor(graph_of(TREE)).run(call)
    assert [note.params["e"] for note in call.notes if isinstance(note, Callback)] == ["open", "close"]


async def test_answering_twice_opens_once() -> None:
    steps = [
        g.Subscribe(id="a", origin="", url=A, exits={"next": "b"}),
        g.Answer(id="b", origin="", exits={"next": "c"}),
        g.Answer(id="c", origin=""),
    ]
    call = HandCall()
    await Executor(g.Graph({step.id: step for step in steps}, "a")).run(call)
    assert [note.params["e"] for note in call.notes if isinstance(note, Callback)] == ["open", "close"]


def test_forwarding_is_asked_for_where_it_stands() -> None:
    document = {f"$forward {A}": "", "_": "?", "yes": f"$forward {B}"}
    asked = [note.url for note, _ in play(document, "say yes").notes if isinstance(note, Forwarding)]
    assert asked == [A, B]
    assert told(play(document, "say yes")) == []


async def test_close_is_told_when_the_executor_itself_fails() -> None:
    class Broken(HandCall):
        def hear(self, vocabulary: object) -> None:
            raise OSError("no recogniser")

    call = Broken()
    ending = await Executor(graph_of(TREE)).run(call)
    assert ending.by == "error"
    assert "no recogniser" in ending.reason
    assert "hangup internal error" in call.log
    assert [note.params["e"] for note in call.notes if isinstance(note, Callback)] == ["open", "close"]


async def test_close_is_told_even_if_hanging_up_fails_too() -> None:
    class Worse(HandCall):
        def start(self, prompts: object) -> None:
            raise OSError("no media")

        async def hangup(self, reason: str) -> None:  # type: ignore[override]
            raise OSError("no signalling")

    call = Worse()
    ending = await Executor(graph_of(TREE)).run(call)
    assert (ending.by, "no media" in ending.reason) == ("error", True)
    assert [note.params["e"] for note in call.notes if isinstance(note, Callback)] == ["open", "close"]


def notes_until(event: str, count: int) -> list[Note]:
    """The notes of a call, cut after the ``count``-th callback of a kind: there the process died."""
    notes: list[Note] = []
    for note, _ in play(TREE, "say yes; hangup").notes:
        notes.append(note)
        if isinstance(note, Callback) and note.params["e"] == event:
            count -= 1
            if count == 0:
                break
    return notes


def test_a_restored_narrator_says_what_is_missing_and_nothing_twice() -> None:
    narrator = Narrator.restore("simulated", "caller", "callee", notes_until("tree", 2))
    assert narrator.path == "yes%20%7C%20sure"
    assert narrator.urls == (A, B)
    closes = narrator.close(0.0, 12.7)
    assert [(each.url, each.params["seq"], each.params["duration"]) for each in closes] == [
        (A, "4", "12"),
        (B, "5", "12"),
    ]
    assert narrator.close(0.0, 13.0) == []

    half_closed = Narrator.restore("simulated", "caller", "callee", notes_until("close", 1))
    assert [(each.url, each.params["seq"]) for each in half_closed.close(0.0, 13.0)] == [(B, "5")]
    done = Narrator.restore("simulated", "caller", "callee", notes_until("close", 2))
    assert done.close(0.0, 13.0) == []


def test_a_narrator_restored_before_the_answer_says_so() -> None:
    narrator = Narrator.restore("i", "c", "d", [Entered("", "1.enter"), Subscribed(A)])
    (close,) = narrator.close(None, 99.0)
    assert "answered" not in close.params
    assert (close.params["duration"], close.params["seq"]) == ("0", "1")


def test_notes_of_other_requests_do_not_disturb_a_narrator() -> None:
    other = Callback("http://z/", {"CallSid": "1"}, method="POST")
    narrator = Narrator.restore("i", "c", "d", [other, Callback(A, {"e": "close", "seq": "junk"})])
    assert narrator.close(None, 0.0) == []
