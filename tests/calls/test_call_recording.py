"""How recordings of calls end, and the length of those whose writer is not there to tell it."""

import asyncio
import os
import threading
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from engine.callbacks import records
from engine.calls import recording as module
from engine.calls.recording import (
    DISK_PATIENCE,
    STILL,
    WHOLE_CALL_ORDER,
    Recording,
    Recordings,
    finished_by_file,
    wait_for_writers,
)
from engine.log import get_logger
from flows.call import RecordingOrder
from media import commands, reports
from media.mp3 import Mp3File
from media.rates import FRAME
from media.soundfile import open_regular
from media.wav import WavFile


def test_a_wav_says_it_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 12000))
    record = finished_by_file("c1", str(path))
    assert (record.call, record.path, record.seconds, record.reason) == ("c1", str(path), 1.5, "")


@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_that_was_never_completed_says_it_by_its_size(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.mp3"
    file = Mp3File(open_regular(path), channels, resume=False)
    file.write(0, np.zeros((100, channels, 160), np.int16))
    assert 1.7 < finished_by_file("c1", str(path)).seconds < 2.0  # the encoder holds the rest
    file.close()
    assert finished_by_file("c1", str(path)).seconds == pytest.approx(2.0)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"\xff\xe3\x48\x04" * 200])
def test_a_file_that_is_none_is_a_recording_that_failed(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"a.{suffix}"
    if content is not None:
        path.write_bytes(content)
    record = finished_by_file("c1", str(path))
    assert (record.seconds, record.reason) == (0.0, module.NOTHING)


async def test_a_recording_whose_worker_died_before_there_was_a_file_has_failed(tmp_path: Path) -> None:
    recording, _stream, journal = begun(tmp_path)
    await recording.finish(lost=True)
    assert [(end.seconds, end.reason) for end in ends(journal)] == [(0.0, module.NOTHING)]


def begun(folder: Path) -> tuple[Recording, Any, list[records.Record]]:
    """A recording that has started, its stream, and the journal."""
    journal: list[records.Record] = []
    recording = Recording("c1", folder, journal.append, get_logger("test"))
    stream = cast("Any", SimpleNamespace(number=1, send=lambda message: None))
    recording.start(stream)
    return recording, stream, journal


def ends(journal: list[records.Record]) -> list[records.RecordingFinished]:
    return [record for record in journal if isinstance(record, records.RecordingFinished)]


async def test_a_recording_that_fails_during_the_call_is_put_down_at_once_and_once(tmp_path: Path) -> None:
    recording, _stream, journal = begun(tmp_path)
    recording.done(reports.Recorded(1, 0, str(recording.path), 4.0, 160, "disk full", "failed"))
    (end,) = ends(journal)
    assert (end.seconds, end.lost, end.reason) == (4.0, 160, "disk full")
    await recording.finish()
    await recording.finish(lost=True)
    assert ends(journal) == [end]


async def test_a_writer_that_answers_late_leaves_one_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    recording, _stream, journal = begun(tmp_path)
    await recording.finish()
    recording.done(reports.Recorded(1, 0, str(recording.path), 4.0, 0))
    (end,) = ends(journal)
    assert (end.seconds, end.reason) == (0.0, "the writer does not answer")


async def test_a_disk_that_hangs_holds_up_nothing_but_its_recording(tmp_path: Path) -> None:
    """A pipe without a writer: to open it waits for ever."""
    recording, _, journal = begun(tmp_path)
    recording.path.parent.mkdir(parents=True)  # fails if it is there: the folder is the writer's affair
    os.mkfifo(recording.path)
    began = time.monotonic()
    finishing = asyncio.create_task(recording.finish(lost=True))
    longest, last = 0.0, began
    while not finishing.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    os.close(os.open(recording.path, os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go
    assert longest < 0.5
    assert last - began < DISK_PATIENCE + 0.5
    assert [end.seconds for end in ends(journal)] == [0.0]


async def test_what_a_writer_still_writes_after_its_worker_counts(tmp_path: Path) -> None:
    recording, _, journal = begun(tmp_path)
    recording.path.parent.mkdir(parents=True)

    def write() -> None:
        with wave.open(str(recording.path), "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            for _ in range(8):
                file.writeframes(bytes(4 * 800))
                time.sleep(0.05)

    writing = threading.Thread(target=write)
    writing.start()
    await asyncio.sleep(0.05)
    await recording.finish(lost=True)
    writing.join()
    assert [(end.seconds, end.reason) for end in ends(journal)] == [(pytest.approx(0.8), "")]


@pytest.mark.parametrize("first", [0, 10])
async def test_a_writer_that_is_slow_is_waited_for(tmp_path: Path, first: int) -> None:
    """It has the file open and writes nothing for longer than one that is done would; or it is not even there yet."""
    recording, _, journal = begun(tmp_path)
    recording.path.parent.mkdir(parents=True)
    recording.path.touch()

    def write() -> None:
        if not first:
            time.sleep(3 * STILL)
        file = WavFile(open_regular(recording.path), 2, resume=False)
        if first:
            file.write(0, np.ones((first, 2, FRAME), np.int16))
            file.state()
            time.sleep(3 * STILL)
        file.write(first, np.ones((40 - first, 2, FRAME), np.int16))
        file.close()

    writing = threading.Thread(target=write)
    writing.start()
    await asyncio.sleep(STILL / 3)
    await recording.finish(lost=True)
    writing.join()
    assert [(end.seconds, end.reason) for end in ends(journal)] == [(pytest.approx(0.8), "")]


def test_writers_of_an_earlier_life_have_their_time(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    file = WavFile(open_regular(path), 2, resume=False)
    began = time.monotonic()
    wait_for_writers([str(tmp_path / "b.wav"), str(path)], began + 0.5)
    assert time.monotonic() - began >= 0.5
    file.close()
    wait_for_writers([str(path)], time.monotonic() + 60)


def test_a_recording_that_has_ended_is_not_ended_again_after_a_kill() -> None:
    journal: list[records.Record] = [
        records.CallStarted(1.0, call="c1", caller="a", callee="b"),
        records.RecordingStarted(2.0, call="c1", path="/r/1.wav"),
        records.RecordingStarted(2.0, call="c1", path="/r/2.wav"),
        records.RecordingFinished(3.0, call="c1", path="/r/1.wav", seconds=1.0, reason="disk full"),
    ]
    (history,) = records.calls_of(journal)
    assert list(history.recordings) == ["/r/2.wav"]


async def test_the_whole_call_is_recorded_on_when_somebody_else_is_on_its_line(tmp_path: Path) -> None:
    """What was recorded of who leaves is complete; what a flow recorded of them has an end."""
    journal: list[records.Record] = []
    made = Recordings("c1", tmp_path, journal.append, get_logger("test"))

    def writer(message: Any) -> None:
        if isinstance(message, commands.StopRecord):
            made.done(reports.Recorded(1, message.recording, f"{message.recording}.wav", 2.0, 0))

    left, stays = (cast("Any", SimpleNamespace(number=number, send=writer)) for number in (1, 2))
    made.whole_call(left)
    flow = made.begin(left, RecordingOrder(sides="caller"))
    wanted = made.begin(left, WHOLE_CALL_ORDER)
    assert made.whole_running
    assert await made.move(left, stays) == [("c1", "c1-3"), (wanted.id, "c1-4")]
    assert not made.whole_running
    assert [made.running(each) for each in ("c1", flow.id, wanted.id, "c1-3", "c1-4")] == [False] * 3 + [True] * 2
    assert len(ends(journal)) == 3
