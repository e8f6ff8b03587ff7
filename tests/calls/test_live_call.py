"""The live call on a stream and a signalling that only write down what they are told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.live import LiveCall
from engine.calls.services import PromptError
from engine.calls.waiting import MAX_TYPED_AHEAD
from flows.call import (
    BargeIn,
    CallEnded,
    Entered,
    Key,
    Note,
    PromptEnded,
    RecordingEnded,
    RecordingOrder,
    Replaced,
    Reply,
    Request,
    SpeechStarted,
    TransferOutcome,
    Trouble,
    Unsupported,
    Vocabulary,
    Words,
)
from flows.orders import (
    DetectMachine,
    Dial,
    Order,
    Outcome,
    Presence,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
    Upload,
)
from flows.prompts import Prompt
from media import commands, reports
from media.speech.messages import HeardWord, UtteranceEnded, WordSpotted


class Stream:
    def __init__(self) -> None:
        self.played: list[tuple[list[str], float]] = []
        self.stopped = 0
        self.heard: list[tuple[str, ...]] = []

    def play(self, files: list[Path], *, start_at: float = 0.0, loop: bool = False) -> int:
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
        self.early = ""
        self.log: list[str] = []
        self.orders: list[RecordingOrder] = []
        self.since = 0.0

    def early_media(self) -> str:
        self.log.append("early media")
        return self.early

    def respond(self, status: int, reason: str) -> None:
        self.log.append(f"respond {status} {reason}")

    def keys_are_secret(self, since: float | None) -> None:
        self.log.append("secret" if since is not None else "open")
        self.since = since if since is not None else self.since

    def send_digits(self, digits: str, tone: float, gap: float) -> None:
        self.log.append(f"digits {digits} {tone} {gap}")

    def publish(self, entity: str, state: str) -> None:
        self.log.append(f"{entity} {state}")

    def detect_machine(self, limits: commands.MachineLimits | None) -> None:
        self.log.append("detect" if limits is not None else "detect no more")

    def begin_recording(self, order: RecordingOrder) -> str:
        self.log.append(f"record {order.sides} {order.format}")
        self.orders.append(order)
        return "c1-1"

    def end_recording(self, recording: str) -> None:
        self.log.append(f"stop {recording}")

    async def complete_recording(self, recording: str) -> tuple[float, str]:
        self.log.append(f"complete {recording}")
        return 3.5, "stopped"

    async def dial(self, order: Dial) -> Outcome:
        self.log.append("dial")
        return Outcome()

    async def answer(self) -> float:
        return asyncio.get_running_loop().time()

    def refer(self, target: str) -> None:
        self.referred.append(target)

    def put_down(self, note: Note) -> None:
        self.notes.append(note)


class Web:
    """Sounds and answers, each after ``release`` was set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.release.set()
        self.cancelled = 0

    async def _wait(self) -> None:
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def render(self, prompt: Prompt) -> Path:
        await self._wait()
        if prompt.text == "bad":
            raise PromptError("cannot be spoken")
        return Path(f"/made/{prompt.text}.wav")

    async def fetch(self, request: Request) -> Reply:
        await self._wait()
        return Reply(200, "text/plain", b"hello", request.url)


@pytest.fixture
async def web() -> Web:
    return Web()


@pytest.fixture
async def line(web: Web) -> tuple[LiveCall, Stream, Signalling]:
    stream, signalling = Stream(), Signalling()
    call = LiveCall(
        call_id="c1",
        caller="+39",
        callee="1000",
        signalling=signalling,
        prompts={Prompt(name): Path(f"/{name}.wav") for name in "abc"},
        render=web.render,
        fetch=web.fetch,
        settle=0.1,
        facts={},
        recording_url="http://h/{}".format,
    )
    call.attach(stream)  # type: ignore[arg-type]
    return call, stream, signalling


Line = tuple[LiveCall, Stream, Signalling]


def ended(play: int, *, complete: bool = True) -> reports.PlayEnded:
    return reports.PlayEnded(1, play, 1.0, complete)


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
    call.report(reports.DigitHeard(1, "4", "rfc4733", 0.5))
    call.report(ended(1))
    await call.played()
    call.hear(Vocabulary(("yes",)))
    call.start([Prompt("b")])
    assert await call.next(None) == Key("4", 0.5)
    call.report(ended(2))
    assert await call.next(None) == PromptEnded(1.0)


async def test_keys_pressed_ahead_of_a_secret_step_are_secret_too(line: Line) -> None:
    call, _, signalling = line
    began = call.now()
    call.key("rfc4733", "1", began - 9.0)
    assert await call.key_or_change(None) == "1"
    for digit, ago in ("4", 5.0), ("7", 4.0):
        call.key("rfc4733", digit, began - ago)
    with call.secret():
        assert signalling.since == began - 5.0
        assert signalling.log == ["secret"]
        assert await call.key_or_change(None) == "4"
    call.key("rfc4733", "7", call.now())
    call.end("caller", "hung up")
    with pytest.raises(CallEnded), call.secret():
        await call.key_or_change(None)
    assert signalling.log == ["secret", "open", "secret", "open"]
    with call.secret([Key("1", began - 9.0)]):
        assert signalling.since == began - 9.0, "it was taken by an earlier step"


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
    call.report(reports.UtteranceStarted(1, 1, 1.0))
    call.report(WordSpotted(1, 1, "yes", 0.9, 1.5))
    assert await call.next(None) == SpeechStarted(1.0)
    call.hear(Vocabulary(("one",)))
    call.report(UtteranceEnded(1, 1, [HeardWord("yes", 0.9, 1.1, 1.5)], 2.0))
    assert await call.next(call.now()) is None
    call.report(WordSpotted(1, 2, "one", 0.9, 2.5))
    call.report(UtteranceEnded(1, 2, [HeardWord("one", 0.9, 2.1, 2.5)], 3.0))
    assert await call.next(None) == BargeIn("one", 2.5)
    assert await call.next(None) == Words(("one",), 3.0)
    call.hear(None)
    assert stream.heard == [("yes", "no"), ("one",), ()]


async def test_an_utterance_that_ends_as_a_prompt_is_repeated_is_not_lost(line: Line):
    call, _, _ = line
    call.hear(Vocabulary(("yes",)))
    call.start([Prompt("a")])
    call.report(ended(1))
    call.report(UtteranceEnded(1, 1, [HeardWord("yes", 0.9, 1.1, 1.5)], 2.0))
    call.start([Prompt("a")])
    assert await call.next(None) == Words(("yes",), 2.0)
    assert await call.next(call.now()) is None


async def test_who_takes_the_callers_place_hears_the_prompt_from_its_beginning_and_is_listened_to(line: Line):
    call, before, _ = line
    await call.answer()
    call.start([Prompt("a"), Prompt("b")], loop=True)
    call.hear(Vocabulary(("yes", "no"), "en"))
    playing = asyncio.ensure_future(call.played())
    sounding, stream = call.sounding, Stream()
    call.attach(stream)  # type: ignore[arg-type]
    call.sound(sounding)
    assert [files for files, _ in stream.played] == [["/a.wav", "/b.wav"]] == [files for files, _ in before.played]
    assert stream.heard == [("yes", "no")]
    await asyncio.sleep(0)
    assert not playing.done()
    call.report(ended(1))
    await playing
    assert call.sounding.files == ()


async def test_nothing_is_played_to_who_comes_while_nothing_is(line: Line):
    call, _, _ = line
    await call.answer()
    call.start([Prompt("a")])
    call.report(ended(1))
    call.hear(None)
    sounding, stream = call.sounding, Stream()
    call.attach(stream)  # type: ignore[arg-type]
    call.sound(sounding)
    assert (stream.played, stream.heard) == ([], [])


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
        call.report(reports.DigitHeard(1, str(index % 10), "rfc4733", float(index)))
    kept = []
    while (item := await call.next(call.now())) is not None:
        kept.append(item)
    assert len(kept) == MAX_TYPED_AHEAD
    assert kept[0] == Key("0", 10.0)


# --- prompts, requests and orders that are known on the call only -----------------------


def troubles(signalling: Signalling) -> list[str]:
    return [note.what for note in signalling.notes if isinstance(note, Trouble)]


async def test_prompts_are_made_on_the_call_once_and_bad_ones_are_left_out(line: Line) -> None:
    call, stream, signalling = line
    ready = await call.prepare([Prompt("a"), Prompt("bad"), Prompt("new")])
    assert ready == [Prompt("a"), Prompt("new")]
    assert troubles(signalling) == ["'bad' is not heard: cannot be spoken"]
    call.start(ready)
    assert stream.played[0][0] == ["/a.wav", "/made/new.wav"]
    assert not await call.prepare([Prompt("bad")], {Prompt("bad"): Prompt("hidden")})
    assert troubles(signalling)[1:] == ["'hidden' is not heard: cannot be spoken"]


async def test_what_a_call_waits_for_is_given_up_when_it_ends(line: Line, web: Web) -> None:
    call, _, _ = line
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    web.release.clear()
    waits = [
        asyncio.create_task(call.prepare([Prompt("new")])),
        asyncio.create_task(call.fetch(Request("http://h/"))),
    ]
    await asyncio.sleep(0.01)
    call.end("caller", "hung up")
    for wait in waits:
        with pytest.raises(CallEnded):
            await wait
    await asyncio.sleep(0)
    assert web.cancelled == 2
    waits.clear()
    del wait
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_small_and_large_documents_are_computed(line: Line, size: int) -> None:
    assert await line[0].compute(lambda: 42, size) == 42


async def test_early_media_or_silence_before_the_answer(line: Line) -> None:
    call, stream, signalling = line
    await call.early_media()
    call.start([Prompt("a")])
    assert len(stream.played) == 1
    signalling.early = "the INVITE has no offer"
    await call.early_media()
    call.start([Prompt("b")])
    await call.played()
    assert len(stream.played) == 1
    assert troubles(signalling) == ["nothing is heard before the answer: the INVITE has no offer"]
    told: list[str] = []
    call.when_answered(lambda: told.append("answered"))
    await call.answer()
    assert told == ["answered"]
    call.start([Prompt("b")])
    assert len(stream.played) == 2


async def test_keys_are_sent_for_as_long_as_they_take(line: Line) -> None:
    call, _, signalling = line
    began = call.now()
    await call.perform(SendDigits(digits="12", tone=0.02, gap=0.01))
    assert call.now() - began >= 0.06
    assert signalling.log == ["digits 12 0.02 0.01"]


async def test_a_response_ends_the_call_with_its_status(line: Line) -> None:
    call, _, signalling = line
    with pytest.raises(CallEnded, match="486 Busy Here"):
        await call.perform(Respond(code=486, reason="Busy Here"))
    assert signalling.log == ["respond 486 Busy Here"]


async def test_recordings_in_the_background_and_in_a_step(line: Line) -> None:
    call, _, signalling = line
    assert (await call.perform(StopRecording())).story == ""
    await call.perform(StartRecording(format="mp3", upload=Upload("http://h/")))
    assert (await call.perform(StopRecording())).story == "recording stopped"
    assert signalling.log == ["record stereo mp3", "stop c1-1"]
    call.recorded("c1-1", reports.Recorded(1, 1, "/r/c1-1.wav", 4.5, why="silence"))
    assert await call.next(None) == RecordingEnded(
        "c1-1", 4.5, "silence", pytest.approx(call.now(), abs=1.0), "http://h/c1-1"
    )
    call.recorded("c1-1", reports.Recorded(1, 1, "/r/c1-1.wav", 0.0, reason="disk full", why="failed"))
    assert "the recording c1-1 failed: disk full" in troubles(signalling)


async def test_a_transfer_is_recorded_in_a_file_for_each_voice(line: Line) -> None:
    """Contract §5.3: `both` = two files."""
    call, _, signalling = line
    await call.perform(Dial(targets=(), record="each"))
    assert signalling.log == ["record caller wav", "record peer wav", "dial", "stop c1-1", "stop c1-1"]


async def test_each_voice_is_sent_under_a_name_of_its_own(line: Line) -> None:
    call, _, signalling = line
    await call.perform(StartRecording(sides="each", upload=Upload("http://h/", name="r.wav", numbered=True, number=2)))
    assert [order.upload.place for order in signalling.orders if order.upload] == [
        "http://h/r-2.wav",
        "http://h/r-3.wav",
    ]


async def test_the_end_of_a_recording_is_known_after_the_end_of_the_call(line: Line) -> None:
    call, _, signalling = line
    recording = call.record(RecordingOrder())
    call.end("caller", "hung up")
    assert await call.recording_end(recording) == RecordingEnded(
        recording, 3.5, "stopped", pytest.approx(call.now()), f"http://h/{recording}"
    )
    assert signalling.log == ["record caller wav", "complete c1-1"]


async def test_what_a_live_call_cannot_do_is_said(line: Line) -> None:
    with pytest.raises(Unsupported, match="Order is not possible"):
        await line[0].perform(Order())


@pytest.mark.parametrize(("result", "exits"), [("machine", ("machine",)), ("human", ()), ("unsure", ())])
async def test_who_picked_up_is_found_out_and_a_greeting_waited_for(
    line: Line, result: reports.MachineResult, exits: tuple[str, ...]
) -> None:
    call, _, signalling = line
    asking = asyncio.create_task(call.perform(DetectMachine(patience=5.0)))
    await asyncio.sleep(0)
    call.report(reports.MachineVerdict(1, result, "greeting", 0.9, 1.0, 2.4, 6))
    await asyncio.sleep(0.01)
    assert asking.done() == (result != "machine")
    call.report(reports.DigitHeard(1, "5", "rfc4733", 1.5))
    call.report(reports.MachineListens(1, "beep", 1000.0, 3.0))
    outcome = await asking
    assert (outcome.exits, outcome.facts["result"], outcome.facts["greeting"]) == (exits, result, "2.4")
    assert signalling.log == ["detect", "detect no more"]
    assert await call.next(None) == Key("5", 1.5)


async def test_a_line_on_which_nothing_is_heard_is_nobodys_machine(line: Line) -> None:
    outcome = await line[0].perform(DetectMachine(patience=0.05))
    assert (outcome.exits, outcome.facts["result"]) == ((), "unsure")


async def test_presence_is_published_for_the_user_of_an_address(line: Line) -> None:
    call, _, signalling = line
    await call.perform(Presence(entity="sip:anna@example.org", state="ringing"))
    await call.perform(Presence(entity="anna"))
    assert signalling.log == ["anna ringing", "anna idle"]


# --- another flow in place of the own ---------------------------------------------------------


OTHER = cast("Any", SimpleNamespace(name="other"))


@pytest.mark.parametrize("what", ["fetch", "keys", "prompt", "pause", "prepare", "transfer"])
async def test_another_flow_stops_whatever_is_under_way_once(line: Line, web: Web, what: str):
    call, _, _ = line
    await call.answer()
    web.release.clear()
    works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "fetch": lambda: call.fetch(Request("http://x")),
        "keys": lambda: call.next(None),
        "prompt": call.played,
        "pause": lambda: call.pause(60.0),
        "prepare": lambda: call.prepare([Prompt("new")]),
        "transfer": lambda: call.transfer("sip:x@y"),
    }
    call.start([Prompt("a")])
    work = asyncio.create_task(works[what]())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.replace(OTHER, {Prompt("new"): Path("/new.wav")})
    with pytest.raises(Replaced) as raised:
        await asyncio.wait_for(work, 1.0)
    assert raised.value.graph is OTHER
    await asyncio.sleep(0)
    assert web.cancelled == (what in ("fetch", "prepare"))
    assert await call.prepare([Prompt("new")]) == [Prompt("new")]  # its sounds are there, and it is not raised again


async def test_keys_that_were_pressed_for_the_flow_before_are_gone(line: Line):
    call, _, _ = line
    await call.answer()
    call.key("info", "7", 1.0)
    call.replace(OTHER, {})
    with pytest.raises(Replaced):
        await call.next(None)
    assert await call.next(call.now()) is None


async def test_the_end_comes_before_another_flow(line: Line):
    call, _, _ = line
    call.replace(OTHER, {})
    call.end("caller", "hung up")
    with pytest.raises(CallEnded):
        await call.next(None)
