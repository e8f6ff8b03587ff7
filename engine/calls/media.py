"""The media workers as the control process sees them: a pool of processes and a handle for each stream.

New streams go to the worker that is least busy (:mod:`engine.calls.capacity`). A worker that dies takes its streams
with it: each is told once, and the worker is started again.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine import tasks
from engine.calls.capacity import WorkerGauge
from engine.calls.crossing import PATIENCE as KEY_PATIENCE
from engine.calls.crossing import CrossingKeys
from engine.log import get_logger
from engine.sip.offer_answer import Agreed
from media import commands, ipc, reports
from media.ipc import Child
from media.speech.messages import RecogniserLoad, UtteranceEnded, WordSpotted

log = get_logger(__name__)

START_PATIENCE = 20.0
"""Seconds that a new worker may take to say that it is ready."""

OPEN_PATIENCE = 5.0
"""Seconds that a worker may take to open a stream."""

RESTART_PAUSE = (0.1, 0.5, 2.0, 5.0)
"""Seconds before a dead worker is started again, growing while it keeps dying."""

StreamReport = (
    reports.PlayEnded
    | reports.DigitHeard
    | reports.SpeechStarted
    | reports.SpeechEnded
    | reports.Talking
    | WordSpotted
    | reports.UtteranceStarted
    | UtteranceEnded
    | reports.ToneHeard
    | reports.MachineVerdict
    | reports.MachineListens
    | reports.RtpLost
    | reports.Recorded
)


LATE_LIMIT_MS = 10.0
BUSY_LIMIT = 0.85


class MediaError(Exception):
    """No stream is to be had: no worker, no port, or the worker died."""


class MediaOverload(MediaError):
    """Another stream would be at the cost of those that are open; the text is the reason, for metrics."""


class Stream:
    """One RTP stream of one worker. ``on_report`` gets what the worker says of it."""

    def __init__(
        self,
        worker: Worker,
        number: int,
        on_report: Callable[[StreamReport], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.number = number
        self.port = 0
        self.call = ""
        """The call that it is of (:mod:`engine.captures.media`)."""
        self.captured = False
        self.closed: asyncio.Future[reports.StreamStats] = asyncio.get_running_loop().create_future()
        self.on_report = on_report
        self.on_lost = on_lost
        self._worker = worker
        self._opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._plays = itertools.count(1)
        self._tickets = itertools.count(1)
        self._crossing = CrossingKeys()

    def play(self, files: Sequence[Path], *, start_at: float = 0.0, loop: bool = False) -> int:
        """Start ``files`` in place of what plays; the number comes back in :class:`~media.reports.PlayEnded`."""
        number = next(self._plays)
        self.send(commands.Play(self.number, number, [str(file) for file in files], start_at, loop))
        return number

    def relay(self, to: Stream | None) -> None:
        """Pass what is received on to ``to``, a stream of the same worker, or no longer."""
        self._crossing.disconnected()
        self.send(commands.Relay(self.number, 0 if to is None else to.number))

    @property
    def worker(self) -> Worker:
        return self._worker

    def direct(self, agreed: Agreed, *, relatch: bool = False) -> None:
        """Send and receive as SDP agreed on; ``relatch`` lets symmetric RTP latch anew."""
        keys = agreed.srtp
        self.send(
            commands.Direct(
                self.number,
                agreed.host,
                agreed.port,
                agreed.rtcp_port,
                agreed.payload_type,
                agreed.event_type,
                agreed.ptime,
                agreed.send,
                agreed.receive,
                relatch,
                agreed.receive_event_type,
                agreed.other_payload_type,
                agreed.codec,
                agreed.receive_payload_type,
                None if keys is None else commands.Srtp(keys.suite, keys.send, keys.receive),
            )
        )

    def pass_key(self, digit: str) -> None:
        """Its telephone sent a key by INFO: whoever it is relayed to gets it, unless it is in the sound as well."""
        loop = asyncio.get_running_loop()
        if ticket := self._crossing.told(digit, loop.time()):
            loop.call_later(KEY_PATIENCE, self._press_key, ticket)

    def _press_key(self, ticket: int) -> None:
        if digit := self._crossing.due(ticket):
            self.send(commands.PassKey(self.number, digit))

    def stop(self) -> None:
        self.send(commands.Stop(self.number))

    def hear(self, words: Sequence[str], language: str = "en") -> int:
        """Listen for ``words`` (none: no longer); what is heard carries the ticket returned."""
        ticket = next(self._tickets)
        self.send(commands.Hear(self.number, ticket, list(words), language))
        return ticket

    def send(self, command: ipc.Message) -> None:
        self._worker.send(command)

    async def close(self, patience: float = 2.0) -> reports.StreamStats:
        """Close the ports; the statistics of the stream, empty if the worker died or kept them."""
        self.send(commands.Drop(self.number))
        await asyncio.wait([self.closed], timeout=patience)
        if self.closed.done():
            return self.closed.result()
        self._worker.forget(self.number)
        return reports.StreamStats()

    async def opened(self, patience: float) -> int:
        """The port. Raises :class:`MediaError`, and :class:`TimeoutError` after ``patience`` seconds."""
        try:
            await asyncio.wait([self._opened], timeout=patience)
            if self._opened.done():
                return self._opened.result()
            raise TimeoutError
        finally:
            self._opened.cancel()  # nobody waits for it any more

    def part(self) -> None:
        """Let go of whoever hears of it: it is closed."""
        self.on_report, self.on_lost = nobody_hears, nobody_hears

    def take(self, report: reports.Report) -> None:
        """A report of the worker about this stream."""
        match report:
            case reports.Opened(port=port):
                self.port = port
                if not self._opened.done():
                    self._opened.set_result(port)
            case reports.OpenFailed(reason=reason):
                self._fail(reason)
            case reports.Closed(stats=stats):
                if not self.closed.done():
                    self.closed.set_result(stats)
            case ipc.Ready() | ipc.Failed() | reports.WorkerLoad() | RecogniserLoad() | reports.Captured():
                pass
            case reports.DigitHeard(method=method, digit=digit, at=at):
                self._crossing.passed(method, digit, at)
                self.on_report(report)
            case _:
                self.on_report(report)

    def lost(self, reason: str) -> None:
        """The worker died."""
        self._fail(reason)
        if not self.closed.done():
            self.closed.set_result(reports.StreamStats())
        self.on_lost(reason)

    def _fail(self, reason: str) -> None:
        if not self._opened.done():
            self._opened.set_exception(MediaError(reason))
            self._opened.exception()  # whoever opens reads it; nobody else has to


class Worker:
    """One media worker process, started again whenever it dies."""

    def __init__(self, name: str, arguments: Sequence[str], numbers: Iterator[int], gauge: WorkerGauge) -> None:
        self.name = name
        self.gauge = gauge
        self.about = ""
        """What the process says it chose: I/O path, priority and the like."""
        self.streams: dict[int, Stream] = {}
        self.load: reports.WorkerLoad | None = None
        self.restarts = 0
        self.ready = asyncio.Event()
        self.failure = ""
        self.on_captured: Callable[[reports.Captured], None] = nobody_hears
        """Gets the ends of captures, also of streams that are closed."""
        self._arguments = arguments
        self._numbers = numbers
        self._child: Child[reports.Report] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._recognisers: dict[int, commands.UseRecogniser] = {}

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises :class:`MediaError`."""
        self._keeper = asyncio.create_task(self._keep())
        waits = [asyncio.create_task(self.ready.wait()), self._keeper]
        await asyncio.wait(waits, timeout=START_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        waits[0].cancel()
        if not self.ready.is_set():
            await self.close()
            raise MediaError(f"media worker {self.name} did not start: {self.failure or 'no answer'}")

    async def _keep(self) -> None:
        deaths = 0
        while True:
            self._child = Child("media.worker", reports.Report, self._take, arguments=self._arguments)
            try:
                await self._child.start()
            except OSError as error:  # no memory, no file descriptors: better later
                self.failure = error.strerror or str(error)
                log.error("media_worker_not_started", worker=self.name, error=self.failure)
                if not self.restarts:
                    return
                await asyncio.sleep(RESTART_PAUSE[-1])
                continue
            for recogniser in self._recognisers.values():
                self.send(recogniser)
            status = await self._child.exited
            came_up = self.ready.is_set()
            self.ready.clear()
            self.load = None
            reason = f"media worker {self.name} died ({_status(status)})"
            for stream in list(self.streams.values()):
                stream.lost(reason)
            self.streams.clear()
            await self._child.close()
            if not came_up and not self.restarts:
                return
            deaths = deaths + 1 if not came_up else 0
            self.restarts += 1
            log.error("media_worker_died", worker=self.name, status=_status(status))
            await asyncio.sleep(RESTART_PAUSE[min(deaths, len(RESTART_PAUSE) - 1)])

    def _take(self, report: reports.Report) -> None:
        match report:
            case ipc.Ready(pid=pid, about=about):
                self.about = about
                self.gauge.started(time.monotonic())
                self.ready.set()
                log.info("media_worker_ready", worker=self.name, pid=pid, about=about)
            case ipc.Failed(reason=reason):
                self.failure = reason
                log.error("media_worker_failed", worker=self.name, reason=reason)
            case reports.WorkerLoad():
                self.load = report
                self.gauge.report(report, time.monotonic())
            case RecogniserLoad():
                pass
            case reports.Captured():
                self.on_captured(report)
            case _:
                stream = self.streams.get(report.stream)
                if stream is None:
                    return
                if isinstance(report, reports.Closed | reports.OpenFailed):  # the latter also when nobody waits
                    self.forget(report.stream)
                stream.take(report)

    async def open(
        self, local: str, on_report: Callable[[StreamReport], None], on_lost: Callable[[str], None]
    ) -> Stream:
        """A stream with ports bound on ``local``. Raises :class:`MediaError`."""
        stream = Stream(self, next(self._numbers), on_report, on_lost)
        if not self.ready.is_set():
            raise MediaError(f"media worker {self.name} is not running")
        self.streams[stream.number] = stream
        self.gauge.opened(time.monotonic())
        self.send(commands.Open(stream.number, local))
        try:
            await stream.opened(OPEN_PATIENCE)
        except TimeoutError:
            self.send(commands.Drop(stream.number))
            raise MediaError(f"media worker {self.name} does not answer") from None
        except asyncio.CancelledError:
            self.send(commands.Drop(stream.number))
            raise
        return stream

    def use_recogniser(self, recogniser: commands.UseRecogniser) -> None:
        self._recognisers[recogniser.number] = recogniser
        self.send(recogniser)

    def send(self, command: ipc.Message) -> None:
        if self._child is not None:
            self._child.send(command)

    def forget(self, number: int) -> None:
        if self.streams.pop(number, None) is not None:
            self.gauge.closed(time.monotonic())

    async def close(self) -> None:
        if self._keeper is not None:
            await tasks.end([self._keeper])
        if self._child is not None:
            await self._child.close()


class MediaPool:
    """All media workers. :meth:`admit` keeps each under ``busy_limit`` (share of a core) and ``late_limit_ms``."""

    def __init__(
        self,
        ports: tuple[int, int],
        count: int,
        *,
        busy_limit: float = BUSY_LIMIT,
        late_limit_ms: float = LATE_LIMIT_MS,
        arguments: Sequence[str] = (),
    ) -> None:
        numbers = itertools.count(1)
        self.workers = [
            Worker(
                str(index),
                ("--ports", f"{low}-{high}", *arguments),
                numbers,
                WorkerGauge(busy_limit, late_limit_ms, (high + 1 - low) // 2),
            )
            for index, (low, high) in enumerate(split_ports(ports, count))
        ]

    async def start(self) -> None:
        """Start all workers. Raises :class:`MediaError` if one does not come up."""
        try:
            for worker in self.workers:
                await worker.start()
        except BaseException:
            await self.close()
            raise

    def admit(self) -> Worker:
        """The worker that is to carry a new call, which is counted to its load from now on.

        Raises :class:`MediaOverload` when each is as busy or as late as it may be, :class:`MediaError` when none runs.
        """
        worker = self._least_busy()
        now = time.monotonic()
        if worker.gauge.refusal(now):  # the least busy one may be late, or silent: any other will do
            able = [each for each in self._ready() if not each.gauge.refusal(now)]
            if not able:
                raise MediaOverload(worker.gauge.refusal(now))
            worker = min(able, key=lambda each: each.gauge.rank)
        worker.gauge.promise()
        return worker

    async def open(
        self, local: str, on_report: Callable[[StreamReport], None], on_lost: Callable[[str], None]
    ) -> Stream:
        """A stream with an RTP port bound on the address ``local``, however busy. Raises :class:`MediaError`."""
        return await self._least_busy().open(local, on_report, on_lost)

    def streams_of(self, call: str) -> list[Stream]:
        """The open streams of a call."""
        return [stream for worker in self.workers for stream in worker.streams.values() if stream.call == call]

    def _ready(self) -> list[Worker]:
        ready = [worker for worker in self.workers if worker.ready.is_set()]
        if not ready:
            raise MediaError("no media worker is running")
        return ready

    def _least_busy(self) -> Worker:
        return min(self._ready(), key=lambda worker: worker.gauge.rank)

    def use_recogniser(self, recogniser: commands.UseRecogniser) -> None:
        """All workers, also those to come, are to send it its share of the streams."""
        for worker in self.workers:
            worker.use_recogniser(recogniser)

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self.workers))


def split_ports(ports: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """``ports`` (both ends belong to it) in ``count`` ranges that begin with an even port.

    Raises ValueError when a worker would not have one pair.
    """
    low = ports[0] + ports[0] % 2
    pairs = (ports[1] + 1 - low) // 2
    if pairs < count:
        raise ValueError(f"rtp.ports: {ports[0]}-{ports[1]} has {max(pairs, 0)} port pairs for {count} workers")
    share = pairs // count
    return [(low + 2 * share * index, low + 2 * share * (index + 1) - 1) for index in range(count)]


def nobody_hears(what: object) -> None:
    """For a stream that nobody has yet, or any more."""


def _status(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
