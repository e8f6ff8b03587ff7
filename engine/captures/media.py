"""Captured media: which streams put down their packets, in which files, and in what times keys are secret."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.addresses import bracketed
from engine.captures.secrets import Hiding, Stretch
from engine.log import get_logger
from media import commands, reports
from media.packetlog import RECEIVED, SUFFIX, End, Packet, in_order, read

if TYPE_CHECKING:
    from engine.calls.media import Stream

log = get_logger(__name__)

PATIENCE = 2.0
"""Seconds to wait for files to be complete after the end of a call."""


@dataclass(slots=True)
class _Wanted:
    """A call whose media is captured: octets that it has taken, and the streams whose files are not complete."""

    octets: int = 0
    open: set[int] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class MediaCaptures:
    """Has the media workers put down the packets of calls that are :attr:`wanted`, up to ``limit`` octets each.

    A ``limit`` of 0: of none. ``streams`` are those that a call has, ``put_down`` keeps a stretch of a wanted call.
    """

    def __init__(self, folder: Path, limit: int = 0) -> None:
        self.wanted: Callable[[str], bool] = lambda _call: False
        self.streams: Callable[[str], Iterable[Stream]] = lambda _call: ()
        self.put_down: Callable[[str, Stretch], None] = lambda _call, _stretch: None
        self._folder = folder
        self._limit = limit
        self._calls: dict[str, _Wanted] = {}
        self._secret: dict[str, list[Stretch]] = {}

    def joins(self, call: str, stream: Stream) -> None:
        """``stream`` is of ``call`` from now on, and of no other."""
        if stream.call != call:
            stream.call = call
            if stream.captured:
                stream.captured = False
                stream.send(commands.StopCapture(stream.number))
        if self._limit and not stream.captured and self.wanted(call):
            self._start(call, stream)

    def begin(self, call: str) -> None:
        """A call that lives is wanted from now on."""
        for stretch in self._secret.get(call, ()):
            self.put_down(call, stretch)
        for stream in list(self.streams(call)):
            self.joins(call, stream)

    def _start(self, call: str, stream: Stream) -> None:
        wanted = self._calls.setdefault(call, _Wanted())
        left = self._limit - wanted.octets
        if left <= 0:
            return
        wanted.open.add(stream.number)
        wanted.complete.clear()
        stream.captured = True
        path = self._folder / f"{call}-{stream.number}{SUFFIX}"
        stream.send(commands.Capture(stream.number, str(path.absolute()), call, left))

    def done(self, report: reports.Captured) -> None:
        """A file is complete."""
        if report.why != "closed":
            log.warning("media_capture_ended", call_id=report.call, why=report.why, reason=report.reason)
        if (wanted := self._calls.get(report.call)) is None:
            return
        wanted.octets += report.octets
        wanted.open.discard(report.stream)
        if not wanted.open:
            wanted.complete.set()

    def secret(self, call: str, since: float | None) -> None:
        """Keys are secret since that time (seconds since the epoch), or (``None``) no longer."""
        stretches = self._secret.setdefault(call, [])
        if since is not None:
            stretches.append((since, None))
        elif stretches:
            stretches[-1] = (stretches[-1][0], time.time())
        if stretches and self.wanted(call):
            self.put_down(call, stretches[-1])

    def stretches(self, call: str) -> tuple[Stretch, ...]:
        """The times in which keys of a call that lives were secret."""
        return tuple(self._secret.get(call, ()))

    def over(self, call: str) -> None:
        """The call has ended, all of it."""
        self._secret.pop(call, None)
        if (wanted := self._calls.get(call)) is not None:
            # A worker that died tells nobody the end of its files.
            asyncio.get_running_loop().call_later(PATIENCE, self._forget, call, wanted)

    def _forget(self, call: str, wanted: _Wanted) -> None:
        wanted.complete.set()
        if self._calls.get(call) is wanted:
            del self._calls[call]

    async def complete(self, call: str) -> None:
        """Wait until the files of a call that has ended are complete, but not for long."""
        if (wanted := self._calls.get(call)) is not None and wanted.open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await wanted.complete.wait()


class CapturedMedia:
    """What was kept of the media of one call, without what was secret. Reads files: not on the event loop."""

    def __init__(self, files: Sequence[Path], stretches: Iterable[Stretch]) -> None:
        self._files = files
        self._stretches = tuple(stretches)
        self._ends: dict[Path, End] = {}
        self._counts: dict[Path, Counter[tuple[str, str, str]]] = {}

    @classmethod
    def of(cls, folder: Path, call: str, stretches: Iterable[Stretch]) -> CapturedMedia:
        """All files of ``call``."""
        return cls(sorted(folder.glob(f"{call}-*{SUFFIX}")), stretches)

    def __bool__(self) -> bool:
        return bool(self._files)

    def streams(self) -> list[Iterator[Packet]]:
        """The packets of each file, in order."""
        return [self._packets(path) for path in self._files]

    def _packets(self, path: Path) -> Iterator[Packet]:
        counts = self._counts[path] = Counter()
        self._ends.pop(path, None)
        try:
            with path.open("rb") as file:
                packets = in_order(read(file, lambda end: self._ends.__setitem__(path, end)))
                for packet in Hiding(self._stretches).packets(packets):
                    way = packet.way
                    kind = "rtcp" if way.control else "rtp"
                    counts[kind, _named(way.local), _named(way.remote)] += 1
                    counts["received" if packet.kind == RECEIVED else "sent", "", ""] += 1
                    yield packet
        except OSError as error:
            log.warning("media_capture_not_read", path=str(path), error=str(error))

    def about(self) -> str:
        """What the packets of :meth:`streams`, once all were taken, come to: JSON."""
        return json.dumps(
            {
                "streams": [self._about(path) for path in self._files],
                "secret": [{"from": begin, "to": end} for begin, end in self._stretches],
            },
            indent=1,
        )

    def _about(self, path: Path) -> dict[str, Any]:
        counts, end = self._counts.get(path, Counter()), self._ends.get(path)
        ways = [(kind, local, remote) for kind, local, remote in counts if local]
        return {
            "ways": [
                {"kind": kind, "local": local, "remote": remote, "packets": counts[kind, local, remote]}
                for kind, local, remote in ways
            ],
            "received": counts["received", "", ""],
            "sent": counts["sent", "", ""],
            "ended": end.why if end is not None else None,
            "lost": end.lost if end is not None else 0,
        }


def _named(address: tuple[str, int]) -> str:
    return f"{bracketed(address[0])}:{address[1]}"
