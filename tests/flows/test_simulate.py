"""The simulator: its clock, its caller, its JSON."""

import json

import pytest
from flow_kit import graph_of, play, texts

from flows.call import Spoke
from flows.script import ScriptError
from flows.scripted_call import speaking_time
from flows.simulate import run_sync, simulate

TREE = {"_": "Say yes or no now please", "yes": "Good", "no | key:2": {"_": "Why not", "12": "Twelve", "1": "One"}}


def test_json_has_the_published_form() -> None:
    document = {"$api http://h/?a=b": "", "_": "tones/a.wav", "key:1": "Done"}
    simulation = play(document, "wait 1; press! 1")
    assert json.loads(json.dumps(simulation.to_json())) == {
        "path": "key%3A1",
        "spoken": [{"media": "tones/a.wav", "at": 0.0, "heard": 1.0}, {"text": "Done", "at": 1.0, "heard": 0.46}],
        "heard": [{"kind": "key", "value": "1", "at": 1.0}],
        "callbacks": [
            {
                "method": "GET",
                "url": "http://h/?a=b",
                "params": {
                    "e": event,
                    "path": path,
                    "from": "caller",
                    "to": "callee",
                    "id": "simulated",
                    "answered": "true",
                    "duration": duration,
                    "seq": seq,
                },
                "at": at,
            }
            for event, path, duration, seq, at in [
                ("open", "", "0", "1", 0.0),
                ("tree", "key%3A1", "1", "2", 1.0),
                ("close", "key%3A1", "1", "3", 1.46),
            ]
        ],
        "recordings": [],
        "fetches": [],
        "orders": [],
        "trouble": [],
        "end": {"by": "flow", "reason": "end of the flow"},
        "not_reached": [],
        "duration": 1.46,
    }


def test_a_polite_caller_waits_for_the_prompt_to_end() -> None:
    simulation = play(TREE, "say yes")
    prompt = simulation.spoken[0]
    assert prompt.complete
    assert prompt.heard == speaking_time("Say yes or no now please")
    ((heard, at),) = simulation.heard
    assert heard.value == "yes"
    assert at == pytest.approx(prompt.heard + speaking_time("yes") + 0.3)


def test_an_impolite_caller_interrupts_when_the_word_is_out() -> None:
    simulation = play(TREE, "wait 0.5; say! yes I do")
    assert simulation.spoken[0].heard == pytest.approx(0.5 + speaking_time("yes"))
    assert not simulation.spoken[0].complete
    assert simulation.heard[0][1] == pytest.approx(0.5 + speaking_time("yes I do") + 0.3)


def test_what_is_not_in_the_vocabulary_interrupts_nothing() -> None:
    simulation = play(TREE, "say! blah blah; say yes")
    assert simulation.spoken[0].complete
    assert simulation.path == "yes"


def test_type_ahead_skips_prompts() -> None:
    simulation = play(TREE, "press! 212")
    assert texts(simulation) == ["Say yes or no now please", "Why not", "Twelve"]
    assert [round(spoken.heard, 3) for spoken in simulation.spoken[:2]] == [0.0, 0.2]
    ahead = play({"_": "Q", "say": {"$redirect 1": "Please wait a long time", "$fail": "x"}, "1": "One"}, "press! 1")
    assert texts(ahead) == ["Q", "One"]


def test_keys_pressed_while_a_step_only_speaks_wait() -> None:
    document = {"$redirect 100": "One moment", "$fail": {"_": "Try again?", "key:1": "Yes"}}
    failing = play(document, "press! 1", transfer=play_busy())
    assert texts(failing) == ["One moment", "Yes"]


def play_busy() -> object:
    from flows.call import TransferOutcome

    return TransferOutcome(accepted=False, status=486, reason="Busy Here")


def test_press_waits_inside_a_sequence_of_keys() -> None:
    assert play(TREE, "say no; press 1; press 2").path == "no%20%7C%20key%3A2/12"
    assert play(TREE, "say no; press 1; wait 3; press! 2").path == "no%20%7C%20key%3A2/1"


def test_a_caller_says_numbers_in_digits_or_words() -> None:
    for said in ("1", "one"):
        assert play({"_": "Q", "1": "x"}, f"say {said}").path == "1"
    assert play({"_": "Q", "two": "x"}, "say 2").path == "two"


def test_hanging_up_and_silence() -> None:
    left = play(TREE, "wait 0.25; hangup")
    assert (left.ending.by, left.ending.reason, left.duration) == ("caller", "the caller hung up", 0.25)
    silent = play(TREE)
    assert (silent.ending.by, silent.ending.reason) == ("flow", "the caller said nothing")
    assert len(silent.spoken) == 3


def test_statements_that_were_never_made_are_named() -> None:
    simulation = play(TREE, "say yes; press 1; hangup")
    assert [str(each) for each in simulation.not_reached] == ["press 1", "hangup"]
    assert "never got to: press 1; hangup" in simulation.render()


def test_a_call_does_not_outlast_its_limit() -> None:
    simulation = play(TREE, max_duration=3.0)
    assert (simulation.ending.by, simulation.duration) == ("limit", 3.0)


def test_an_endless_utterance_is_cut() -> None:
    simulation = play({"_": "Q", "yes": "Y", "no": "N"}, "say " + "blah " * 100 + "yes")
    assert simulation.path == ""
    late = play({"_": "Q", "yes": "Y"}, "say " + "blah " * 20 + "yes")
    assert late.path == "yes"


def test_a_bad_script_is_an_error() -> None:
    with pytest.raises(ScriptError):
        simulate(graph_of(TREE), "sing")


def test_the_same_again_is_the_same() -> None:
    first, second = (play(TREE, "say! no; press 12").to_json() for _ in range(2))
    assert first == second


def test_the_story_reads_in_order() -> None:
    story = play({"$api http://h/": "", **TREE}, "say! no").render().splitlines()
    assert [line.split("s  ", 1)[-1] for line in story] == [
        "callback open to http://h/",
        "the flow speaks: Say yes or no now please … interrupted after 0.3 s",
        "the caller said: no",
        "now at: no%20%7C%20key%3A2",
        "callback tree to http://h/",
        "the flow speaks: Why not",
        "the flow speaks: Why not",
        "the flow speaks: Why not",
        "callback close to http://h/",
        "ended by the flow: the caller said nothing",
        "path: no%20%7C%20key%3A2",
    ]


def test_spoken_and_notes_tell_the_same() -> None:
    simulation = play({"_": "A", "$api http://h/": "B", "1": {"_": "C", "$api http://i/": "D"}}, "press! 1")
    assert [note.prompt for note, _ in simulation.notes if isinstance(note, Spoke)] == [
        s.prompt for s in simulation.spoken
    ]
    assert [(s.prompt.text, s.heard) for s in simulation.spoken[:2]] == [("A", 0.0), ("B", 0.0)]


def test_nothing_real_is_waited_for() -> None:
    class Never:
        def __await__(self) -> object:
            yield

    async def wait() -> None:
        await Never()  # type: ignore[misc]

    with pytest.raises(RuntimeError, match="real"):
        run_sync(wait())
