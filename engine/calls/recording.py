"""One recording of a call: where it goes, and that its end is known. The disk may hang: only threads wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engine.callbacks import records
from engine.calls.media import Stream
from engine.log import Logger
from media import mp3info, protocol

PATIENCE = 3.0
"""Seconds to wait for the writer to complete a recording."""

DISK_PATIENCE = 2.0
"""Seconds to wait for the disk to say how long a file is; after them it counts as empty."""

WRITING_PATIENCE = 1.5
"""Seconds, out of these, in which a writer whose worker is gone may still write what was left to it."""

STILL = 0.3
"""Seconds in which a file has not grown when nobody writes into it any more."""

WHOLE_CALL = 0
"""The number of a call's own recording on its stream; those that a flow makes count from 1."""


class Recording:
    """``YYYY/MM/DD/<call id>.wav`` below a folder (UTC): received left, sent right."""

    def __init__(self, call_id: str, folder: Path, append: Callable[[records.Record], None], log: Logger) -> None:
        self.path = folder / datetime.now(UTC).strftime("%Y/%m/%d") / f"{call_id}.wav"
        self._call_id = call_id
        self._append = append
        self._log = log
        self._ended = asyncio.Event()
        self._started = False

    def start(self, stream: Stream) -> None:
        """Begin. The writer makes the folder; one that cannot be made costs the recording, not the call."""
        self._append(records.RecordingStarted(time.time(), call=self._call_id, path=str(self.path)))
        stream.send(protocol.Record(stream.number, WHOLE_CALL, str(self.path)))
        self._started = True

    def done(self, report: protocol.Recorded) -> None:
        """The writer has completed the file, or failed to: put that down at once, whether or not the call goes on."""
        self._end(
            records.RecordingFinished(
                time.time(),
                call=self._call_id,
                path=report.path,
                seconds=report.seconds,
                lost=report.lost,
                reason=report.reason,
            )
        )

    async def finish(self, stream: Stream | None) -> None:
        """Complete the file, and put down how long it is. Without a stream, as far as the writer came."""
        if not self._started or self._ended.is_set():
            return
        reason = ""
        if stream is not None:
            stream.send(protocol.StopRecord(stream.number, WHOLE_CALL))
            try:
                await asyncio.wait_for(self._ended.wait(), PATIENCE)
            except TimeoutError:
                reason = "the writer does not answer"
            else:
                return
        seconds = await _seconds_when_still(str(self.path))
        self._end(
            records.RecordingFinished(
                time.time(), call=self._call_id, path=str(self.path), seconds=seconds, reason=reason
            )
        )

    def _end(self, record: records.RecordingFinished) -> None:
        """Only the first end counts."""
        if self._ended.is_set():
            return
        self._ended.set()
        if record.reason:
            self._log.error("recording_failed", path=record.path, reason=record.reason)
        self._append(record)


async def _seconds_when_still(path: str) -> float:
    """The length of ``path`` in seconds once it grows no more; 0 when the disk does not say it in time."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[float] = loop.create_future()

    def settle(seconds: float) -> None:
        if not answer.done():
            answer.set_result(seconds)

    def read() -> None:
        _wait_until_still(path, time.monotonic() + WRITING_PATIENCE)
        seconds = _seconds(path)
        try:
            loop.call_soon_threadsafe(settle, seconds)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    # A thread of its own: one that hangs must not keep others, or the end of the process, waiting.
    threading.Thread(target=read, name="length of a recording", daemon=True).start()
    try:
        return await asyncio.wait_for(answer, DISK_PATIENCE)
    except TimeoutError:
        return 0.0


def _wait_until_still(path: str, until: float) -> None:
    """Return when ``path`` has not grown for a while, is not there, or the monotonic time is ``until``."""
    before = -1
    while time.monotonic() < until:
        try:
            size = Path(path).stat().st_size
        except (OSError, ValueError):
            return
        if size == before:
            return
        before = size
        time.sleep(STILL)


def _seconds(path: str) -> float:
    """What the header of ``path`` says, 0 if there is none."""
    try:
        if path.endswith(".mp3"):
            return mp3info.seconds(Path(path))
        with wave.open(path, "rb") as file:
            return file.getnframes() / file.getframerate()
    except (OSError, EOFError, ValueError, wave.Error, ZeroDivisionError):
        return 0.0


def finished_by_file(call_id: str, path: str) -> records.RecordingFinished:
    """The end of a recording whose writer is not there to tell it: what its header says, 0 if there is none."""
    return records.RecordingFinished(time.time(), call=call_id, path=path, seconds=_seconds(path))
