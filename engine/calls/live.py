"""The live call: :class:`flows.call.Call` over a SIP session and a media stream.

Everything here happens on the event loop. What SIP and the media worker report is put down as it comes
(:meth:`LiveCall.key`, :meth:`LiveCall.report`, :meth:`LiveCall.end`); the executor takes it with the awaitable methods
(:mod:`engine.calls.waiting`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.calls.background import BackgroundRecordings
from engine.calls.holding import Hold
from engine.calls.keys import KeyArbiter
from engine.calls.media import Stream, StreamReport
from engine.calls.performing import perform
from engine.calls.services import Fetch, FlowError, Renderer, StoredFlow, no_stored_flows
from engine.calls.signalling import GONE, Signalling
from engine.calls.silence import Silence
from engine.calls.waiting import Waiting
from engine.log import get_logger
from flows.call import (
    ALL_SHOWN,
    BargeIn,
    CallEnded,
    Entered,
    Forwarding,
    Input,
    Key,
    Note,
    PromptEnded,
    RecordingEnded,
    RecordingOrder,
    Reply,
    Request,
    SpeechStarted,
    TransferOutcome,
    Trouble,
    Vocabulary,
    Words,
)
from flows.graph import Graph
from flows.orders import Order, Outcome
from flows.prompts import Prompt
from media import reports
from media.speech.messages import UtteranceEnded, WordSpotted

log = get_logger(__name__)

TRANSFER_PATIENCE = 310.0
"""Seconds to wait for the word on a REFER: longer than SIP itself waits (:mod:`engine.sip.refer`)."""

PREPARE_PATIENCE = 30.0
"""Seconds that the sound of a prompt may take to be made while a caller waits for it."""

ORDINARY_ENDS = ("", "stopped", "replaced", "closed")
"""Why prompts end; everything else is a fault."""


class Sounding(NamedTuple):
    """What is played on a call, again and again with ``loop``, and the words that are listened for."""

    files: Sequence[Path]
    loop: bool
    vocabulary: Vocabulary | None


def _nowhere(_recording: str) -> str:
    """Recordings are not to be had."""
    return ""


class LiveCall(Waiting):
    """One call on a phone line."""

    def __init__(
        self,
        *,
        call_id: str,
        caller: str,
        callee: str,
        signalling: Signalling,
        prompts: Mapping[Prompt, Path],
        render: Renderer,
        fetch: Fetch,
        settle: float,
        facts: Mapping[str, str],
        stored: StoredFlow = no_stored_flows,
        on_hold: Hold | None = None,
        silence: Silence | None = None,
        recording_url: Callable[[str], str] = _nowhere,
    ) -> None:
        """``prompts`` are those whose sounds are there; ``render`` makes others. ``recording_url``: where a recording
        is to be had, by its id.
        """
        super().__init__()
        self.id = call_id
        self.caller = caller
        self.callee = callee
        self.answered_at: float | None = None
        self.rang = False
        self.path = ""
        self.forwards: list[str] = []
        """URLs that asked for the list of live calls while this one lives."""
        self.arbiter = KeyArbiter()
        self._stream: Stream | None = None
        self.transfer_accepted = False
        self.facts = facts
        self.on_hold = on_hold or Hold()
        self.silence = silence or Silence()
        self.signalling = signalling
        self._told: Callable[[], None] = _nothing
        self._sounds = dict(prompts)
        self._render = render
        self._fetch = fetch
        self._stored = stored
        self._settle = settle
        self._recording_url = recording_url
        self.background = BackgroundRecordings(signalling)
        self.machine: reports.MachineVerdict | None = None
        self.machine_listens: reports.MachineListens | None = None
        self._silent = False  # nothing can be heard before the answer
        self._play = 0
        self._ticket = 0
        self._played: tuple[Sequence[Path], bool] = ((), False)  # the last files, and whether again and again
        self._vocabulary: Vocabulary | None = None
        self._transfer: TransferOutcome | None = None
        self._referred = False

    def attach(self, stream: Stream) -> None:
        """The media stream is open, or another one is the call's from now on, which nothing is played to."""
        self._stream = stream
        self._play = self._ticket = 0
        self.silence.broken(rest=False)

    @property
    def sounding(self) -> Sounding:
        """What is played and listened for now."""
        return Sounding(*(self._played if self._play else ((), False)), self._vocabulary if self._ticket else None)

    def sound(self, before: Sounding) -> None:
        """The stream is another one: play and listen for the same, from the beginning. Who waits is woken."""
        if before.files:
            self._play_files(before.files, loop=before.loop)
        if before.vocabulary is not None:
            self.hear(before.vocabulary)
        self._wake_up()

    def part(self) -> None:
        """Let go of who signals for it and of the flow: no more will be asked of either."""
        self.signalling = self.background.signalling = GONE
        self._told = _nothing
        self.silence.part()

    # --- what the executor awaits -------------------------------------------------------

    def tell(self, note: Note) -> None:
        if isinstance(note, Entered):
            self.path = note.path
        elif isinstance(note, Forwarding) and note.url not in self.forwards:
            self.forwards.append(note.url)
        self.signalling.put_down(note)

    async def answer(self) -> None:
        self._raise_if_ended()
        if self.answered_at is None:
            self.answered_at = await self.signalling.answer()
            self._silent = False
            if self.ending is not None:
                raise CallEnded(*self.ending)
            self.background.reached("answer")
            self._told()

    def when_answered(self, told: Callable[[], None]) -> None:
        self._told = told

    async def early_media(self) -> None:
        self._raise_if_ended()
        if self.answered_at is None and (problem := self.signalling.early_media()):
            self._silent = True
            self.trouble(f"nothing is heard before the answer: {problem}")

    async def prepare(self, prompts: Sequence[Prompt], shown: Mapping[Prompt, Prompt] = ALL_SHOWN) -> Sequence[Prompt]:
        self._raise_if_ended()
        missing = [prompt for prompt in prompts if prompt not in self._sounds]
        if not missing:
            return prompts
        outcomes = await self.unless_over(
            asyncio.gather(*(self._make(prompt) for prompt in missing), return_exceptions=True)
        )
        for prompt, outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, Path):
                self._sounds[prompt] = outcome
            else:
                told = shown.get(prompt, prompt)
                what = told.media or told.text
                self.trouble(f"{what[:200]!r} is not heard: {str(outcome) or type(outcome).__name__}")
        return [prompt for prompt in prompts if prompt in self._sounds]

    @property
    def sounds(self) -> Collection[Path]:
        """All files that it has, and may play at any time."""
        return self._sounds.values()

    async def sounds_of(self, prompts: Sequence[Prompt]) -> dict[Prompt, Path]:
        """Files with the sound of ``prompts``, as far as it can be had."""
        return {prompt: self._sounds[prompt] for prompt in await self.prepare(prompts)}

    async def _make(self, prompt: Prompt) -> Path:
        async with asyncio.timeout(PREPARE_PATIENCE):
            return await self._render(prompt)

    @property
    def stream(self) -> Stream | None:
        return self._stream

    def start(self, prompts: Sequence[Prompt], *, loop: bool = False) -> None:
        """Play ``prompts``; with ``loop`` again and again until :meth:`stop`."""
        if self.ending is not None:
            return
        self._keep(_of_no_prompt)
        if self._stream is None:
            raise CallEnded("error", "there is no media stream")
        self._play_files([self._sounds[prompt] for prompt in prompts], loop=loop)

    def play_files(self, files: Sequence[Path], *, loop: bool = False) -> None:
        """The same for files of ours."""
        if self.ending is None and self._stream is not None:
            self._keep(_of_no_prompt)
            self._play_files(files, loop=loop)

    def _play_files(self, files: Sequence[Path], *, loop: bool) -> None:
        assert self._stream is not None
        if not files or self._silent:
            self._play = 0
            self._inputs.append(PromptEnded(self.now()))
            return
        settled = (self.answered_at or 0.0) + self._settle
        self._played = files, loop
        self._play = self._stream.play(files, start_at=settled, loop=loop)

    @property
    def playing(self) -> bool:
        """Whether what was started last has not ended."""
        return self._play != 0

    def stop(self) -> None:
        if self._play and self._stream is not None:
            self._stream.stop()
        self._play = 0

    async def next(self, deadline: float | None) -> Input | None:
        if self._play or self.answered_at is None:
            return await super().next(deadline)
        with self.silence.counting():
            return await super().next(deadline)

    async def played(self) -> None:
        while self._play:
            await self._wait(None)
        self._raise_if_ended()
        self._keep(_of_no_prompt)

    def hear(self, vocabulary: Vocabulary | None) -> None:
        if self.ending is not None or self._stream is None:
            return
        words = vocabulary.words if vocabulary is not None else ()
        if words or self._ticket:
            ticket = self._stream.hear(words, vocabulary.language if vocabulary is not None else "en")
            self._vocabulary = vocabulary
            self._ticket = ticket if words else 0
        self._keep(lambda item: isinstance(item, Key | PromptEnded))

    async def transfer(self, target: str) -> TransferOutcome:
        self._raise_if_ended()
        self._transfer = None
        self._referred = True
        self.transfer_accepted = False
        try:
            self.signalling.refer(target)
        except (ValueError, RuntimeError) as error:  # no URI, or another transfer is under way
            self._referred = False
            return TransferOutcome(accepted=False, status=0, reason=str(error))
        until = self.now() + TRANSFER_PATIENCE
        while self._transfer is None and self.ending is None and self._new is None and self.now() < until:
            await self._sleep_until(until)
        self._referred = False
        if self._transfer is None:
            self._raise_if_ended()
            return TransferOutcome(accepted=False, status=408, reason="nothing was heard of the transfer")
        return self._transfer

    async def fetch(self, request: Request) -> Reply:
        return await self.unless_over(self._fetch(request))

    async def stored_flow(self, flow: str) -> Graph | None:
        try:
            found = await self.unless_over(self._stored(flow))
        except FlowError as error:
            self.trouble(str(error))
            return None
        self._sounds.update(found.prompts)
        return found.graph

    async def perform(self, order: Order) -> Outcome:
        self._raise_if_ended()
        return await perform(self, order)

    def record(self, order: RecordingOrder) -> str:
        return self.signalling.begin_recording(order)

    def trouble(self, what: str) -> None:
        """Something did not go as the flow has it; the call goes on."""
        self.tell(Trouble("", what))

    def stop_recording(self, recording: str) -> None:
        self.signalling.end_recording(recording)

    async def recording_end(self, recording: str) -> RecordingEnded:
        seconds, why = await self.signalling.complete_recording(recording)
        return self._recording_ended(recording, seconds, why)

    def _recording_ended(self, recording: str, seconds: float, why: str) -> RecordingEnded:
        url = self._recording_url(recording) if seconds > 0 else ""
        return RecordingEnded(recording, seconds, why, self.now(), url)

    def replace(self, graph: Graph, sounds: Mapping[Prompt, Path]) -> None:
        """Go on with ``graph`` in place of the flow: the step that is under way is stopped (:class:`Replaced`)."""
        self._sounds.update(sounds)
        self._go_on_with(graph)

    # --- what happens to the call -------------------------------------------------------

    def key(self, method: reports.KeyMethod, digit: str, at: float) -> None:
        """A method reports a press. Digits of methods that do not own the leg are ignored."""
        self.silence.broken()
        for delivered in self.arbiter.press(method, digit, at):
            self._put(Key(delivered, at))

    def recorded(self, recording: str, report: reports.Recorded) -> None:
        """A recording that the flow asked for is over."""
        if report.why == "failed":
            self.trouble(f"the recording {recording} failed: {report.reason}")
        if recording not in self.background.running:
            reason = report.reason if report.why == "failed" else report.why
            self._put(self._recording_ended(recording, report.seconds, reason))
        self.background.running.discard(recording)

    def transferred(self, outcome: TransferOutcome) -> None:
        """The final word on the REFER that :meth:`transfer` sent."""
        self._transfer = outcome
        self._wake_up()

    @property
    def being_transferred(self) -> bool:
        return self._referred

    def report(self, report: StreamReport) -> None:
        """What the media worker says of the stream; reports about earlier steps are ignored."""
        match report:
            case reports.DigitHeard(method=method, digit=digit, at=at):
                self.key(method, digit, at)
            case reports.SpeechStarted() | reports.SpeechEnded():
                self.silence.broken()
            case reports.PlayEnded(play=play, at=at, reason=reason) if play == self._play:
                self._play = 0
                if reason not in ORDINARY_ENDS:
                    log.error("prompt_not_played", call_id=self.id, reason=reason)
                self._put(PromptEnded(at))
            case reports.UtteranceStarted(ticket=ticket, at=at) if ticket == self._ticket:
                self._put(SpeechStarted(at))
            case WordSpotted(ticket=ticket, word=word, at=at) if ticket == self._ticket:
                self._put(BargeIn(word, at))
            case UtteranceEnded(ticket=ticket, words=words, at=at) if ticket == self._ticket:
                self._put(Words(tuple(heard.word for heard in words), at))
            case reports.MachineVerdict():
                self.machine = report
                self._wake_up()
            case reports.MachineListens():
                self.machine_listens = report
                self._wake_up()
            case _:
                pass

    @contextlib.contextmanager
    def secret(self, ahead: Iterable[Key] = ()) -> Iterator[None]:
        """A PIN is asked for: what is captured of the call does not tell the keys that are taken within, those included
        that were pressed before and wait here, or were taken already (``ahead``).
        """
        waiting = [*ahead, *(heard for heard in self._inputs if isinstance(heard, Key))]
        signalling = self.signalling
        signalling.keys_are_secret(min([self.now(), *(key.at for key in waiting)]))
        try:
            yield
        finally:
            signalling.keys_are_secret(None)


def _of_no_prompt(item: Input) -> bool:
    return not isinstance(item, PromptEnded)


def _nothing() -> None:
    """Nobody is to be told."""
