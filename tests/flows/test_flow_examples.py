"""The shipped examples: without a finding, and each of their ways walked."""

from pathlib import Path

import pytest
from flow_kit import told

from flows.check import Knowledge, check_compiled
from flows.dialects import compile_flow
from flows.simulate import Simulation, simulate
from media.speech.lexicon import pronounceable
from media.tts.voices import known_language, known_voice

EXAMPLES = Path(__file__).parents[2] / "examples"
TREES = sorted(EXAMPLES.glob("*.json"))


def walk(name: str, script: str) -> Simulation:
    graph = compile_flow((EXAMPLES / name).read_bytes(), name=name).graph
    assert graph is not None
    return simulate(graph, script)


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.name)
def test_an_example_has_no_findings(path: Path) -> None:
    knowledge = Knowledge(known_voice=known_voice, known_language=known_language, unpronounceable=pronounceable)
    assert check_compiled(compile_flow(path.read_bytes(), name=path.name), knowledge) == ()


def test_every_example_is_in_the_readme() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in TREES if f"`{path.name}`" not in readme] == []
    assert {"hello.json", "survey.json", "menu.json", "callbacks.json"} <= {path.name for path in TREES}


@pytest.mark.parametrize(
    ("name", "script", "last"),
    [
        ("hello.json", "say yes; press 2", "As you like. Good bye!"),
        ("hello.json", "press! 1; press 1", "I know only one joke. Good bye!"),
        ("hello.json", "say I do not want that", "Then have a nice day. Good bye!"),
        ("survey.json", "say I was happy; say maybe", "Thank you very much. Good bye!"),
        ("survey.json", "say not happy; press 1", "We will call you tomorrow. Good bye!"),
        ("survey.json", "say yes", "Thank you for your time. Good bye!"),
        ("survey.json", "", "We could not hear you. Good bye!"),
        ("survey.json", "press 9; press 9; press 9", "Sorry, we did not understand you. Good bye!"),
        ("menu.json", "press! 1; press 2; press 12", "Order twelve was delivered. Good bye!"),
        ("menu.json", "say sales; say order; press 1", "Order one is being packed. Good bye!"),
        ("menu.json", "press! *", "We are open from nine to five, every day but Sunday. Good bye!"),
        ("menu.json", "say one; say new", "One moment, please. You will be connected."),
        ("callbacks.json", "say yes; say no", "One offer, then. Good bye!"),
        ("kazoo-reception.json", "press 1; busy", "All of us are on the phone. Please call again in some minutes."),
        ("kazoo-reception.json", "press 1; noanswer; wait 15; press! #", "Thank you. We will call you back."),
        (
            "kazoo-reception.json",
            "press 2; press 12#; fail",
            "We cannot look at your order now. Please call again later.",
        ),
        ("kazoo-reception.json", "press *", "We are open from nine to five, every day but Sunday."),
        ("kazoo-reception.json", "press 3; press 4", "We could not understand you. Good bye."),
    ],
)
def test_ways_through_the_examples(name: str, script: str, last: str) -> None:
    simulation = walk(name, script)
    assert simulation.spoken[-1].prompt.text == last
    assert simulation.ending.by == "flow"
    assert simulation.not_reached == ()


def test_who_is_called_back() -> None:
    assert told(walk("callbacks.json", "say no")) == [
        ("open", "", "http://127.0.0.1:9000/calls?campaign=7"),
        ("tree", "no%20%7C%20key%3A2", "http://127.0.0.1:9000/calls?campaign=7"),
        ("tree", "no%20%7C%20key%3A2", "http://127.0.0.1:9000/declined"),
        ("close", "no%20%7C%20key%3A2", "http://127.0.0.1:9000/calls?campaign=7"),
        ("close", "no%20%7C%20key%3A2", "http://127.0.0.1:9000/declined"),
    ]
