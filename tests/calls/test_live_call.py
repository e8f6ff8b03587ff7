"""The live call on a stream and a signalling that only write down what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.calls.live import MAX_TYPED_AHEAD, LiveCall
from flows.call import (
    BargeIn,
    CallEnded,
    Entered,
    Key,
    Note,
    PromptEnded,
    SpeechStarted,
    TransferOutcome,
    Vocabulary,
    Words,
)
from flows.prompts import Prompt
from media import protocol


class Stream:
    def __init__(self) -> None:
        self.played: list[tuple[list[str], float]] = []
        self.stopped = 0
        self.heard: list[tuple[str, ...]] = []

    def play(self, files: list[Path], *, start_at: float = 0.0) -> int:
        self.played.append(([str(file) for file in files], start_at))
        return len(self.played)

    def stop(self) -> None:
        self.stopped += 1

    def hear(self, words: tuple[str, ...], language: str = "en") -> int:
        self.heard.append(tuple(words))
        return len(self.heard)


class Signalling:
    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.referred: list[str] = []

    async def answer(self) -> float:
        return asyncio.get_running_loop().time()

    def refer(self, target: str) -> None:
        self.referred.append(target)

    def put_down(self, note: Note) -> None:
        self.notes.append(note)


@pytest.fixture
async def line() -> tuple[LiveCall, Stream, Signalling]:
    stream, signalling = Stream(), Signalling()
    call = LiveCall(
        call_id="c1",
        caller="+39",
        callee="1000",
        signalling=signalling,
        prompt_file=lambda prompt: Path(f"/{prompt.text}.wav"),
        settle=0.1,
    )
    call.attach(stream)  # type: ignore[arg-type]
    return call, stream, signalling


Line = tuple[LiveCall, Stream, Signalling]


def ended(play: int, *, complete: bool = True) -> protocol.PlayEnded:
    return protocol.PlayEnded(1, play, 1.0, complete)


async def test_a_prompt_begins_at_the_settle_time_and_is_waited_for(line: Line):
    call, stream, _ = line
    await call.answer()
    assert call.answered_at is not None
    call.start([Prompt("a"), Prompt("b")])
    assert stream.played == [(["/a.wav", "/b.wav"], call.answered_at + 0.1)]
    waiting = asyncio.create_task(call.played())
    await asyncio.sleep(0)
    assert not waiting.done()
    call.report(ended(1))
    await waiting


async def test_keys_pressed_during_a_prompt_wait_for_the_next_step(line: Line):
    call, _, _ = line
    call.start([Prompt("a")])
    call.report(protocol.DigitHeard(1, "4", "rfc4733", 0.5))
    call.report(ended(1))
    await call.played()
    call.hear(Vocabulary(("yes",)))
    call.start([Prompt("b")])
    assert await call.next(None) == Key("4", 0.5)
    call.report(ended(2))
    assert await call.next(None) == PromptEnded(1.0)


async def test_the_end_of_a_replaced_prompt_is_not_the_end_of_the_new_one(line: Line):
    call, _, _ = line
    call.start([Prompt("a")])
    call.start([Prompt("b")])
    call.report(ended(1, complete=False))
    assert await call.next(call.now()) is None
    call.stop()
    call.report(ended(2, complete=False))
    assert await call.next(call.now()) is None


async def test_words_of_an_earlier_step_are_not_heard_in_a_later_one(line: Line):
    call, stream, _ = line
    call.hear(Vocabulary(("yes", "no")))
    call.report(protocol.UtteranceStarted(1, 1, 1.0))
    call.report(protocol.WordSpotted(1, 1, "yes", 0.9, 1.5))
    assert await call.next(None) == SpeechStarted(1.0)
    call.hear(Vocabulary(("one",)))
    call.report(protocol.UtteranceEnded(1, 1, [protocol.HeardWord("yes", 0.9, 1.1, 1.5)], 2.0))
    assert await call.next(call.now()) is None
    call.report(protocol.WordSpotted(1, 2, "one", 0.9, 2.5))
    call.report(protocol.UtteranceEnded(1, 2, [protocol.HeardWord("one", 0.9, 2.1, 2.5)], 3.0))
    assert await call.next(None) == BargeIn("one", 2.5)
    assert await call.next(None) == Words(("one",), 3.0)
    call.hear(None)
    assert stream.heard == [("yes", "no"), ("one",), ()]


async def test_an_utterance_that_ends_as_a_prompt_is_repeated_is_not_lost(line: Line):
    call, _, _ = line
    call.hear(Vocabulary(("yes",)))
    call.start([Prompt("a")])
    call.report(ended(1))
    call.report(protocol.UtteranceEnded(1, 1, [protocol.HeardWord("yes", 0.9, 1.1, 1.5)], 2.0))
    call.start([Prompt("a")])
    assert await call.next(None) == Words(("yes",), 2.0)
    assert await call.next(call.now()) is None


async def test_nothing_is_armed_where_no_words_are_wanted(line: Line):
    call, stream, _ = line
    call.hear(Vocabulary(()))
    call.hear(None)
    assert stream.heard == []


async def test_a_deadline_passes(line: Line):
    call, _, _ = line
    begun = call.now()
    assert await call.next(begun + 0.03) is None
    assert call.now() >= begun + 0.03


async def test_the_first_end_wins_and_wakes_whoever_waits(line: Line):
    call, _, _ = line
    waits = [asyncio.create_task(call.next(None))]
    await asyncio.sleep(0)
    assert call.end("caller", "hung up")
    assert not call.end("limit", "too long")
    for wait in waits:
        with pytest.raises(CallEnded, match="caller: hung up"):
            await wait
    for method in (call.answer(), call.played(), call.next(None), call.pause(1), call.transfer("1")):
        with pytest.raises(CallEnded, match="hung up"):
            await method
    call.start([Prompt("a")])
    call.hear(Vocabulary(("yes",)))
    call.tell(Entered("a/b", "s"))
    assert call.path == "a/b"


async def test_hanging_up_is_the_flows_end(line: Line):
    call, _, _ = line
    with pytest.raises(CallEnded, match="flow: said goodbye"):
        await call.hangup("said goodbye")
    call.settle("limit", "went round in circles")
    assert call.ending == ("limit", "went round in circles")


async def test_a_transfer_waits_for_its_final_word(line: Line):
    call, _, signalling = line
    waiting = asyncio.create_task(call.transfer("+39022"))
    await asyncio.sleep(0)
    assert signalling.referred == ["+39022"]
    assert call.being_transferred
    outcome = TransferOutcome(accepted=False, status=486, reason="Busy Here")
    call.transferred(outcome)
    assert await waiting == outcome
    assert not call.being_transferred


async def test_a_caller_who_leaves_after_a_transfer_was_transferred(line: Line):
    call, _, _ = line
    waiting = asyncio.create_task(call.transfer("+39022"))
    await asyncio.sleep(0)
    outcome = TransferOutcome(accepted=True, status=200, reason="the caller left")
    call.transferred(outcome)
    call.end("flow", "transferred")
    assert await waiting == outcome
    with pytest.raises(CallEnded, match="flow: transferred"):
        await call.next(None)


async def test_endless_keys_do_not_fill_the_memory(line: Line):
    call, _, _ = line
    for index in range(MAX_TYPED_AHEAD + 10):
        call.report(protocol.DigitHeard(1, str(index % 10), "rfc4733", float(index)))
    kept = []
    while (item := await call.next(call.now())) is not None:
        kept.append(item)
    assert len(kept) == MAX_TYPED_AHEAD
    assert kept[0] == Key("0", 10.0)
