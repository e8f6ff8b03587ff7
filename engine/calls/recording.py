"""One recording of a call: where it goes, and that its end is known."""

from __future__ import annotations

import asyncio
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

WHOLE_CALL = 0
"""The number of a call's own recording on its stream; those that a flow makes count from 1."""


class Recording:
    """``YYYY/MM/DD/<call id>.wav`` below a folder (UTC): received left, sent right."""

    def __init__(self, call_id: str, folder: Path, append: Callable[[records.Record], None], log: Logger) -> None:
        self.path = folder / datetime.now(UTC).strftime("%Y/%m/%d") / f"{call_id}.wav"
        self._call_id = call_id
        self._append = append
        self._log = log
        self._recorded: asyncio.Future[protocol.Recorded] = asyncio.get_running_loop().create_future()
        self._started = False

    def start(self, stream: Stream) -> None:
        """Begin. A folder that cannot be made costs the recording, not the call."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._log.error("recording_failed", path=str(self.path), reason=error.strerror)
            return
        self._append(records.RecordingStarted(time.time(), call=self._call_id, path=str(self.path)))
        stream.send(protocol.Record(stream.number, WHOLE_CALL, str(self.path)))
        self._started = True

    def done(self, report: protocol.Recorded) -> None:
        """The writer has completed the file, or failed to."""
        if not self._recorded.done():
            self._recorded.set_result(report)

    async def finish(self, stream: Stream | None) -> None:
        """Complete the file, and put down how long it is. Without a stream, as far as the writer came."""
        if not self._started:
            return
        report: protocol.Recorded | None = None
        if stream is not None:
            stream.send(protocol.StopRecord(stream.number, WHOLE_CALL))
            try:
                report = await asyncio.wait_for(asyncio.shield(self._recorded), PATIENCE)
            except TimeoutError:
                self._log.error("recording_failed", path=str(self.path), reason="the writer does not answer")
        if report is None:
            self._append(finished_by_file(self._call_id, str(self.path)))
            return
        if report.reason:
            self._log.error("recording_failed", path=report.path, reason=report.reason)
        self._append(
            records.RecordingFinished(
                time.time(), call=self._call_id, path=report.path, seconds=report.seconds, lost=report.lost
            )
        )


def finished_by_file(call_id: str, path: str) -> records.RecordingFinished:
    """The end of a recording whose writer is not there to tell it: what its header says, 0 if there is none."""
    try:
        if path.endswith(".mp3"):
            seconds = mp3info.seconds(Path(path))
        else:
            with wave.open(path, "rb") as file:
                seconds = file.getnframes() / file.getframerate()
    except (OSError, EOFError, ValueError, wave.Error, ZeroDivisionError):
        seconds = 0.0
    return records.RecordingFinished(time.time(), call=call_id, path=path, seconds=seconds)
