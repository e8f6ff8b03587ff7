"""What the executor asks of a call, and in which order."""

import asyncio

import pytest
from flow_kit import HandCall, graph_of

from flows import graph as g
from flows.call import (
    BargeIn,
    Callback,
    CallEnded,
    Entered,
    Heard,
    Key,
    PromptEnded,
    SpeechStarted,
    Spoke,
    Words,
)
from flows.executor import Executor, Settings
from flows.keywords import Choice, Choices, parse_pattern
from flows.prompts import Prompt

TREE = {"_": "Q", "yes": {"_": "R", "key:1": "One.", "key:2": "Two."}, "key:1": {"_": "S", "key:12": "Twelve."}}


def heard(call: HandCall) -> list[str]:
    return [note.value for note in call.notes if isinstance(note, Heard)]


def paths(call: HandCall) -> list[str]:
    return [note.path for note in call.notes if isinstance(note, Entered)]


async def test_barge_in_stops_the_prompt_once_and_listening_ends_with_the_step() -> None:
    call = HandCall([SpeechStarted(1.0), BargeIn("yes", 1.2), Words(("yes",), 1.7), Key("2", 2.0)])
    ending = await Executor(graph_of(TREE)).run(call)
    assert call.log == [
        *("answer", "hear yes", "start Q", "stop", "hear -"),
        *("hear -", "start R", "stop", "hear -"),
        *("start Two.", "played", "hangup end of the flow"),
    ]
    assert heard(call) == ["yes", "2"]
    assert paths(call) == ["", "yes", "yes/key%3A2"]
    assert (ending.by, ending.reason, ending.path) == ("flow", "end of the flow", "yes/key%3A2")


async def test_words_without_barge_in_stop_the_prompt_when_they_decide() -> None:
    call = HandCall([SpeechStarted(1.0), Words(("yes",), 1.7)])
    await Executor(graph_of(TREE)).run(call)
    assert call.log[:5] == ["answer", "hear yes", "start Q", "stop", "hear -"]


async def test_keys_pressed_ahead_decide_without_prompts() -> None:
    call = HandCall([Key("1", 0.0), Key("1", 0.0), Key("2", 0.0)])
    await Executor(graph_of(TREE)).run(call)
    assert "start Q" not in call.log
    assert "start S" not in call.log
    assert heard(call) == ["1", "12"]


async def test_keys_beyond_a_decision_go_to_the_next_step() -> None:
    document = {"_": "Q", "1": {"_": "R", "2": {"_": "S", "4": "done"}}, "123": "x"}
    call = HandCall([Key("1", 1.0), Key("2", 1.1), Key("4", 1.2)])
    await Executor(graph_of(document)).run(call)
    assert heard(call) == ["1", "2", "4"]
    assert "start R" not in call.log


async def test_a_prompt_is_repeated_and_then_the_call_ends() -> None:
    call = HandCall([PromptEnded(1.0), PromptEnded(7.0), PromptEnded(13.0)])
    ending = await Executor(graph_of({"_": "Q", "key:1": "x"})).run(call)
    assert call.log == ["answer", "hear -", "start Q", "start Q", "start Q", "hear -", "hangup the caller said nothing"]
    assert call.clock == 18.0
    assert ending.reason == "the caller said nothing"


async def test_settings_and_steps_decide_how_long_and_how_often() -> None:
    document = {"_": "Q", "key:1": "x"}
    call = HandCall([PromptEnded(1.0), PromptEnded(3.0)])
    await Executor(graph_of(document), Settings(listen=1.0, repeats=1)).run(call)
    assert call.clock == 4.0
    choices = Choices([Choice("1", parse_pattern("1")[0])])
    listen = g.Listen(id="a", origin="", choices=choices, seconds=0.5, repeats=0)
    call = HandCall()
    await Executor(g.Graph({"a": listen}, "a")).run(call)
    assert call.clock == 0.5


async def test_a_wrong_key_is_put_down_and_asked_again() -> None:
    call = HandCall([Key("9", 0.5), Key("9", 1.0), Key("9", 1.5)])
    ending = await Executor(graph_of({"_": "Q", "key:1": "x"})).run(call)
    # the first one was pressed after the prompt had begun; all three are misses
    assert heard(call) == ["9", "9", "9"]
    assert call.log.count("start Q") == 3
    assert ending.reason == "nothing matched"


async def test_a_failed_transfer_is_the_reason() -> None:
    call = HandCall()
    ending = await Executor(graph_of({"$redirect 100": "Wait."})).run(call)
    assert call.log == ["answer", "start Wait.", "played", "transfer 100", f"hangup {ending.reason}"]
    assert ending.reason == "the transfer to 100 failed: 486 Busy Here"
    assert ending.path == "/$redirect"


async def test_every_prompt_that_is_started_is_put_down() -> None:
    call = HandCall()
    await Executor(graph_of({"_": "A", "$api http://h/": "B"})).run(call)
    assert [note.prompt for note in call.notes if isinstance(note, Spoke)] == [Prompt("A"), Prompt("B")]
    assert "start A+B" in call.log


@pytest.mark.parametrize("verb", [g.Notify, g.Say])
async def test_a_flow_that_goes_round_in_circles_is_ended(verb: type[g.Step]) -> None:
    fields = {"prompts": ()} if verb is g.Say else {}
    step = verb(id="a", origin="", exits={"next": "a"}, **fields)
    call = HandCall()
    ending = await Executor(g.Graph({"a": step}, "a")).run(call)
    assert (ending.by, ending.reason) == ("limit", "the flow went round in circles")
    assert call.log[-1] == "hangup the flow went round in circles"


async def test_a_slow_circle_is_ended_too() -> None:
    class Slow(HandCall):
        async def played(self) -> None:
            self.clock += 10.0

    step = g.Say(id="a", origin="", exits={"next": "a"}, prompts=(Prompt("x"),))
    ending = await Executor(g.Graph({"a": step}, "a"), Settings(max_steps=500)).run(Slow())
    assert ending.by == "limit"


async def test_the_end_of_the_graph_hangs_up() -> None:
    ending = await Executor(g.Graph({"a": g.Answer(id="a", origin="")}, "a")).run(HandCall())
    assert (ending.by, ending.reason) == ("flow", "end of the flow")


def test_a_graph_with_an_exit_to_nowhere_is_refused() -> None:
    with pytest.raises(KeyError):
        g.Graph({"a": g.Answer(id="a", origin="", exits={"next": "b"})}, "a")


async def test_one_executor_serves_many_calls() -> None:
    executor = Executor(graph_of(TREE))
    calls = [HandCall([Words(("yes",), 1.0), Key("1", 2.0)]) for _ in range(3)] + [HandCall()]
    endings = await asyncio.gather(*(executor.run(call) for call in calls))
    assert [ending.path for ending in endings] == ["yes/key%3A1"] * 3 + [""]


class Stuck(HandCall):
    """A call that waits for real, at the chosen place."""

    def __init__(self, place: str) -> None:
        super().__init__([SpeechStarted(1.0), Words(("yes",), 1.5), Key("1", 2.0)])
        self.place = place
        self.there = asyncio.Event()

    async def _hold(self, place: str) -> None:
        if self.place == place:
            self.there.set()
            await asyncio.Event().wait()

    async def answer(self) -> None:
        await self._hold("answer")
        await super().answer()

    async def next(self, deadline: float | None) -> object:  # type: ignore[override]
        await self._hold("next")
        return await super().next(deadline)

    async def played(self) -> None:
        await self._hold("played")

    async def hangup(self, reason: str) -> None:  # type: ignore[override]
        await self._hold("hangup")
        raise CallEnded("flow", reason)


@pytest.mark.parametrize("place", ["answer", "next", "played", "hangup"])
async def test_close_is_told_when_the_task_is_cancelled(place: str) -> None:
    call = Stuck(place)
    task = asyncio.create_task(Executor(graph_of({"$api http://h/": "", **TREE})).run(call))
    await call.there.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [note.params["e"] for note in call.notes if isinstance(note, Callback)].count("close") == 1
