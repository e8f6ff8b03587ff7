"""Where captures are kept: a file of JSON lines for each call that somebody wanted one of, a line for each message and
for each time in which keys were secret, and beside it the packets of its media (:mod:`media.packetlog`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from engine.captures.media import CapturedMedia, MediaCaptures
from engine.captures.secrets import Stretch
from engine.log import get_logger
from engine.sip.flow import Flow
from engine.transport.tap import Seen, Watch
from media.packetlog import SUFFIX

log = get_logger(__name__)

KEEP = 7 * 86_400.0
"""Seconds after which a capture is deleted."""

CLEAN_EVERY = 3600.0
MOST_WANTED = 10_000

_CALL = re.compile(r"[0-9a-f]{32}\Z")


class CaptureShelf:
    """Keeps the messages of calls whose capture is wanted: of ``every`` call, or of those that are asked for. Of
    ``all`` these, of those that are ``asked`` for or of ``none`` it has up to ``most_media`` octets of RTP and RTCP.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: bool = False,
        media: Literal["none", "asked", "all"] = "none",
        most_media: int = 0,
    ) -> None:
        self._folder = folder
        self._every = every
        self._wanted: dict[str, None] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}
        if media != "none":  # before a writer makes it, for everybody to read
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.media = MediaCaptures(folder, 0 if media == "none" else most_media)
        self.media.wanted = self.wants if media == "all" else self._wanted.__contains__
        self.media.put_down = self._put_down_secret

    def want(self, call: str) -> None:
        """Keep what is said on a call that lives, from its begin, and its media from now on."""
        self._wanted[call] = None
        while len(self._wanted) > MOST_WANTED:
            del self._wanted[next(iter(self._wanted))]
        self.media.begin(call)

    def wants(self, call: str) -> bool:
        """Whether the capture of a call is wanted."""
        return self._every or call in self._wanted

    def ended(self, call: str, leg: str, watch: Watch) -> None:
        """A leg of a call has ended; without a name it is the call's own, and the last."""
        if not self.wants(call):
            return
        if not leg:
            self._wanted.pop(call, None)
        self._put_down(call, [_row(each) for each in watch.messages])

    def _put_down_secret(self, call: str, stretch: Stretch) -> None:
        self._put_down(call, [{"secret": stretch}])

    def _put_down(self, call: str, rows: Sequence[object]) -> None:
        before = self._writing.get(call)
        task = asyncio.create_task(self._write(call, rows, before), name=f"capture {call}")
        self._writing[call] = task
        task.add_done_callback(lambda done: self._written(call, done))

    def _written(self, call: str, task: asyncio.Task[None]) -> None:
        if self._writing.get(call) is task:
            del self._writing[call]

    async def _write(self, call: str, rows: Sequence[object], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await asyncio.to_thread(_append, self._folder, self._file(call), rows)
        except OSError as error:
            log.error("capture_not_written", call_id=call, error=str(error))

    def _file(self, call: str) -> Path:
        return self._folder / f"{call}.jsonl"

    async def messages(self, call: str) -> list[Seen]:
        """What is kept of a call, in order; empty when nothing is."""
        return (await self._kept(call))[0]

    async def captured_media(self, call: str, *, lives: bool = False) -> CapturedMedia:
        """The packets that are kept of a call; of one that ``lives``, as far as they are written."""
        if not _CALL.match(call):
            return CapturedMedia((), ())
        if not lives:
            await self.media.complete(call)
        stretches = {**dict((await self._kept(call))[1]), **dict(self.media.stretches(call))}
        return await asyncio.to_thread(CapturedMedia.of, self._folder, call, sorted(stretches.items()))

    async def _kept(self, call: str) -> tuple[list[Seen], list[Stretch]]:
        if not _CALL.match(call):
            return [], []
        if (writing := self._writing.get(call)) is not None:
            await asyncio.wait([writing])
        return await asyncio.to_thread(_read, self._file(call))

    async def keep_clean(self) -> None:
        """Delete what is older than :data:`KEEP`, now and then, until cancelled."""
        while True:
            await asyncio.to_thread(_clean, self._folder, time.time() - KEEP)
            await asyncio.sleep(CLEAN_EVERY)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(list(self._writing.values()))


def _append(folder: Path, path: Path, rows: Sequence[object]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(each)}\n" for each in rows)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as out:
        out.write(lines)


def _row(seen: Seen) -> list[object]:
    data = base64.b64encode(seen.data).decode()
    return [seen.at, seen.direction, seen.flow.transport, *seen.flow.local, *seen.flow.remote, data]


def _read(path: Path) -> tuple[list[Seen], list[Stretch]]:
    """Messages by time, and stretches as they were put down: the last one with the same begin counts."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [], []
    return sorted(_seen(lines), key=lambda each: each.at), list(_stretches(lines))


def _stretches(lines: Iterable[str]) -> Iterable[Stretch]:
    for line in lines:
        if line.startswith("{"):
            with contextlib.suppress(ValueError):  # a line that a kill cut short
                begin, end = json.loads(line)["secret"]
                yield begin, end


def _seen(lines: Iterable[str]) -> Iterable[Seen]:
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):  # a line that a kill cut short
            at, direction, transport, local, local_port, remote, remote_port, data = json.loads(line)
            flow = Flow(transport, (local, local_port), (remote, remote_port))
            yield Seen(at, direction, flow, base64.b64decode(data))


def _clean(folder: Path, before: float) -> None:
    """Delete what is older, all of a call at once, its packets first: the other file says what of them is secret."""
    kept: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in (".jsonl", SUFFIX):
            kept.setdefault(path.name[:32], []).append(path)
    for paths in kept.values():
        with contextlib.suppress(OSError):
            if max(path.stat().st_mtime for path in paths) < before:
                for path in sorted(paths, key=lambda each: each.suffix != SUFFIX):
                    path.unlink()
