"""Recordings of a call: where they go, and that their end is known. The disk may hang: only threads wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import wave
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.callbacks import records
from engine.calls.media import Stream
from engine.log import Logger
from flows.call import RecordingOrder
from flows.orders import Sides
from media import commands, mp3info, reports
from media.soundfile import in_use

PATIENCE = 3.0
"""Seconds to wait for the writer to complete a recording."""

DISK_PATIENCE = 5.0
"""Seconds to wait for the disk to say how long a file is; after them it counts as empty."""

WRITING_PATIENCE = 4.0
"""Seconds, out of these, in which a writer whose worker is gone may still write what was left to it."""

STILL = 0.3
"""Seconds in which a file has not grown when nobody writes into it any more."""

NOTHING = "there is no sound in the file"
"""Why a recording failed whose call, worker or server was gone before its writer had written any."""

WHOLE_CALL = 0
"""The number of a call's own recording on its stream; those that a flow makes count from 1."""


_SIDES: dict[Sides, commands.Sides] = {
    "caller": "caller",
    "peer": "engine",
    "mix": "mix",
    "stereo": "both",
    "each": "both",
}

WHOLE_CALL_ORDER = RecordingOrder(sides="stereo")


class Recording:
    """``YYYY/MM/DD/<call id>.wav`` below a folder (UTC): received left, sent right.

    Those that a flow makes are numbered from 1: ``<call id>-1.wav``.
    """

    def __init__(
        self,
        call_id: str,
        folder: Path,
        append: Callable[[records.Record], None],
        log: Logger,
        *,
        number: int = WHOLE_CALL,
        order: RecordingOrder = WHOLE_CALL_ORDER,
        path: Path | None = None,
    ) -> None:
        self.id = f"{call_id}-{number}" if number else call_id
        self.path = path or folder / datetime.now(UTC).strftime("%Y/%m/%d") / f"{self.id}.{order.format}"
        self.seconds = 0.0
        self.why = ""
        """Why it ended, or what went wrong; empty before."""
        self.number = number
        self.order = order
        self._call_id = call_id
        self._append = append
        self._log = log
        self.stream: Stream | None = None
        """What is recorded, once it is."""
        self._ended = asyncio.Event()
        self._started = _started(call_id, str(self.path), number, order)

    def start(self, stream: Stream) -> None:
        """Begin. The writer makes the folder; one that cannot be made costs the recording, not the call."""
        order = self.order
        self._append(msgspec.structs.replace(self._started, at=time.time()))
        stream.send(
            commands.Record(
                stream.number,
                self.number,
                str(self.path),
                _SIDES[order.sides],
                order.format,
                order.limit,
                order.silence,
                order.trim,
                order.beep,
            )
        )
        self.stream = stream

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.stream is not None and not self._ended.is_set()

    def stop(self) -> None:
        """End it now; :meth:`done` follows."""
        if self.stream is not None and self.running:
            self.stream.send(commands.StopRecord(self.stream.number, self.number))

    def done(self, report: reports.Recorded) -> None:
        """The writer has completed the file, or failed to: put that down at once, whether or not the call goes on."""
        if self._ended.is_set():
            return
        self.why = report.reason or report.why
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

    async def finish(self, *, lost: bool = False) -> None:
        """Complete the file, and put down how long it is; if the stream is ``lost``, as far as the writer came."""
        if not self.running:
            return
        reason = ""
        if not lost:
            self.stop()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ended.wait()
            except TimeoutError:
                reason = "the writer does not answer"
            else:
                return
        seconds = await _seconds_when_still(str(self.path))
        reason = reason or ("" if seconds else NOTHING)
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
        self.seconds = record.seconds
        self.why = self.why or record.reason
        if record.reason:
            self._log.error("recording_failed", path=record.path, reason=record.reason)
        for each in completed(record, self._started):
            self._append(each)


class Recordings:
    """All recordings of one call: the one of the whole call, and those that its flow makes."""

    def __init__(self, call_id: str, folder: Path, append: Callable[[records.Record], None], log: Logger) -> None:
        self._call_id = call_id
        self._folder = folder
        self._append = append
        self._log = log
        self._made: list[Recording] = []
        self._whole: Recording | None = None
        self._next = WHOLE_CALL + 1

    def whole_call(self, stream: Stream) -> None:
        """Record the whole call from now on."""
        self._whole = self._make(WHOLE_CALL, WHOLE_CALL_ORDER)
        self._whole.start(stream)

    @property
    def whole_running(self) -> bool:
        """Whether the whole call is recorded as its plan has it."""
        return self._whole is not None and self._whole.running

    def running(self, recording: str) -> bool:
        """Whether this one has begun and not ended."""
        return any(made.id == recording and made.running for made in self._made)

    def running_besides(self, others: Collection[str]) -> bool:
        """Whether a step of the flow waits for one: it is none of ``others``, nor of the whole call."""
        return any(made.running and made.order is not WHOLE_CALL_ORDER and made.id not in others for made in self._made)

    async def move(self, old: Stream, new: Stream) -> list[tuple[str, str]]:
        """Complete what is recorded of ``old``, which is about to be closed. What was to record the whole call goes on
        with ``new``, in another file; the ids of such recordings, before and after.
        """
        ending = [made for made in self._made if made.stream is old and made.running]
        await asyncio.gather(*(made.finish() for made in ending))
        return [(made.id, self.begin(new, made.order).id) for made in ending if made.order is WHOLE_CALL_ORDER]

    def begin(
        self, stream: Stream, order: RecordingOrder, path: Path | None = None, *, listed: bool = True
    ) -> Recording:
        """Record what a flow asks for. What is not ``listed`` is not put down anywhere."""
        recording = self._make(self._next, order, path, self._append if listed else _nowhere)
        self._next += 1
        recording.start(stream)
        return recording

    def stop(self, recording: str) -> None:
        """End a recording by its id; no error when it has ended."""
        for made in self._made:
            if made.id == recording:
                made.stop()

    def done(self, report: reports.Recorded) -> Recording | None:
        """The writer has completed a file, or failed to. Returns which, if a flow made it."""
        for made in self._made:
            if made.number == report.recording:
                made.done(report)
                return None if made is self._whole else made
        return None

    async def complete(self, recording: str, *, lost: bool) -> tuple[float, str]:
        """End one and wait for its file: its seconds, and why it ended or what went wrong."""
        for made in self._made:
            if made.id == recording:
                await made.finish(lost=lost)
                return made.seconds, made.why
        return 0.0, "there is no such recording"

    async def finish(self, *, lost: bool) -> None:
        """Complete all of them."""
        await asyncio.gather(*(made.finish(lost=lost) for made in self._made))

    def _make(
        self,
        number: int,
        order: RecordingOrder,
        path: Path | None = None,
        append: Callable[[records.Record], None] | None = None,
    ) -> Recording:
        append = append or self._append
        recording = Recording(self._call_id, self._folder, append, self._log, number=number, order=order, path=path)
        self._made.append(recording)
        return recording


def _nowhere(record: records.Record) -> None:
    """For what nobody is to hear of."""


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
        async with asyncio.timeout(DISK_PATIENCE):
            return await answer
    except TimeoutError:
        return 0.0


def _wait_until_still(path: str, until: float) -> None:
    """Return when ``path`` has sound and nobody writes into it any more, when it is not there, or the monotonic time is
    ``until``. As long as there is no sound, a writer that has just been started in the place of another may bring it.
    """
    before = -1
    while time.monotonic() < until:
        try:
            size = Path(path).stat().st_size
            if size == before and not in_use(Path(path)) and _seconds(path):
                return
        except (OSError, ValueError):
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


def _started(call_id: str, path: str, number: int, order: RecordingOrder) -> records.RecordingStarted:
    upload = order.upload
    return records.RecordingStarted(
        time.time(),
        call=call_id,
        path=path,
        upload=upload.place if upload is not None else "",
        method=upload.method if upload is not None else "PUT",
        least=max(order.least, 0.0),
        transcribe=order.transcribe,
        number=number,
    )


def completed(end: records.RecordingFinished, started: records.RecordingStarted) -> list[records.Record]:
    """What to put down of a recording that is complete: its end, and its upload if that is owed."""
    if started.transcribe and end.seconds > 0:
        end = msgspec.structs.replace(end, transcribe=started.transcribe, number=started.number)
    if not started.upload or end.seconds <= started.least:
        return [end]
    owed = records.UploadOwed(end.at, call=end.call, path=end.path, url=started.upload, method=started.method)
    return [end, owed]


def wait_for_writers(paths: Iterable[str], until: float) -> None:
    """Wait for writers of an earlier life that still have one of ``paths`` open, until the monotonic time ``until``."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            while time.monotonic() < until and in_use(Path(path)):
                time.sleep(STILL)


def finished_by_file(call_id: str, path: str) -> records.RecordingFinished:
    """The end of a recording whose writer is not there to tell it: what its header says, failed if that is nothing."""
    seconds = _seconds(path)
    return records.RecordingFinished(
        time.time(), call=call_id, path=path, seconds=seconds, reason="" if seconds else NOTHING
    )
