import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from speech_kit import DIGITS, on_the_phone, spoken_digit

from media import ipc, reports
from media.ipc import Child, Framing
from media.speech.messages import Audio, Begin, Cancel, End, FromRecogniser, RecogniserLoad, UtteranceEnded


class Worker:
    """A media worker's side of the recogniser's socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(10.0)
        self.framing: Framing[FromRecogniser] = Framing(FromRecogniser)
        self.inbox: list[FromRecogniser] = []

    def send(self, *messages: msgspec.Struct) -> None:
        self.socket.sendall(b"".join(self.framing.encode(message) for message in messages))

    def say(self, stream: int, ticket: int, pcm: bytes, words: list[str]) -> None:
        chunks = [pcm[i : i + 320] for i in range(0, len(pcm), 320)]
        self.send(
            Begin(stream, ticket, words, "en", 100.0),
            *(Audio(stream, ticket, chunk) for chunk in chunks),
            End(stream, ticket, 100.0 + len(pcm) / 16000),
        )

    def answer(self) -> UtteranceEnded:
        while True:
            for i, message in enumerate(self.inbox):
                if isinstance(message, UtteranceEnded):
                    del self.inbox[: i + 1]
                    return message
            data = self.socket.recv(65536)
            assert data, "the recogniser broke the connection off"
            self.inbox += self.framing.feed(data)


class Process:
    def __init__(self, path: Path, *arguments: str) -> None:
        self.path = path
        self.reports: list[ipc.Message] = []
        self.first: asyncio.Future[ipc.Message] = asyncio.get_running_loop().create_future()
        self.child: Child[ipc.Message] = Child(
            "media.speech.recogniser", reports.Report, self.on_report, arguments=["--listen", str(path), *arguments]
        )

    def on_report(self, report: ipc.Message) -> None:
        self.reports.append(report)
        if not self.first.done():
            self.first.set_result(report)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    running = Process(tmp_path / "ears.sock", "--max-listening", "2")
    await running.child.start()
    assert isinstance(await asyncio.wait_for(running.first, 20), ipc.Ready)
    yield running
    await running.child.close()


async def test_words_come_back_with_their_times(process: Process) -> None:
    worker = Worker(process.path)
    worker.say(7, 3, on_the_phone(spoken_digit(1, "lucas", 0)).tobytes(), DIGITS)
    ended = await asyncio.to_thread(worker.answer)
    assert (ended.stream, ended.ticket) == (7, 3)
    (word,) = ended.words
    assert word.word == "one"
    assert 100.1 < word.start < word.end < ended.at


async def test_utterances_of_two_workers_do_not_mix(process: Process) -> None:
    one, two = Worker(process.path), Worker(process.path)
    one.say(1, 1, on_the_phone(spoken_digit(1, "lucas", 0)).tobytes(), DIGITS)
    two.say(1, 1, on_the_phone(spoken_digit(2, "lucas", 1)).tobytes(), DIGITS)
    assert [w.word for w in (await asyncio.to_thread(one.answer)).words] == ["one"]
    assert [w.word for w in (await asyncio.to_thread(two.answer)).words] == ["two"]


async def test_every_end_is_answered_even_over_the_limit(process: Process) -> None:
    worker = Worker(process.path)
    for stream in range(5):
        worker.send(Begin(stream, 1, ["yes"], "en", 0.0))
    for stream in range(5):
        worker.send(End(stream, 1, 1.0))
    answers = [await asyncio.to_thread(worker.answer) for _ in range(5)]
    assert sorted(answer.stream for answer in answers) == [0, 1, 2, 3, 4]
    await asyncio.sleep(1.2)
    load = [report for report in process.reports if isinstance(report, RecogniserLoad)][-1]
    assert (load.decided, load.refused, load.utterances) == (2, 3, 0)


async def test_garbage_breaks_only_the_connection_that_it_came_on(process: Process) -> None:
    bad, good = Worker(process.path), Worker(process.path)
    bad.socket.sendall(struct.pack("!I", 5) + b"\xc1\xc1\xc1\xc1\xc1")
    assert await asyncio.to_thread(bad.socket.recv, 10) == b""
    good.say(1, 1, on_the_phone(spoken_digit(1, "lucas", 0)).tobytes(), DIGITS)
    assert [w.word for w in (await asyncio.to_thread(good.answer)).words] == ["one"]


async def test_cancelled_and_abandoned_utterances_leave_no_trace(process: Process) -> None:
    gone = Worker(process.path)
    gone.send(*(Begin(stream, 1, ["yes"], "en", 0.0) for stream in range(2)))
    gone.socket.close()
    worker = Worker(process.path)
    worker.send(Begin(1, 1, ["yes"], "en", 0.0), Cancel(1, 1), End(1, 1, 1.0))
    worker.say(2, 1, on_the_phone(spoken_digit(1, "lucas", 0)).tobytes(), DIGITS)
    ended = await asyncio.to_thread(worker.answer)
    assert (ended.stream, [w.word for w in ended.words]) == (2, ["one"])


async def test_leaves_when_its_parent_does(process: Process) -> None:
    before = time.monotonic()
    await process.child.close(patience=5.0)
    assert await process.child.exited == 0
    assert time.monotonic() - before < 1.0
    assert not process.path.exists()


async def test_a_missing_vosk_model_is_a_clear_failure(tmp_path: Path) -> None:
    process = Process(tmp_path / "ears.sock", "--vosk-model", str(tmp_path / "nowhere"))
    await process.child.start()
    failed = await asyncio.wait_for(process.first, 20)
    assert isinstance(failed, ipc.Failed)
    assert "nowhere" in failed.reason
    assert await process.child.exited == 1
    await process.child.close()
