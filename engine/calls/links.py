"""Streams of different workers that hear each other: a pair of L16 streams between the two, over loopback.

A *stand-in* of a stream on another worker sounds like it, and what is played or mixed for the stand-in is heard on it.
On its own worker a stream stands for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from engine.calls.holding import Bridge, Side
from engine.calls.media import Stream, StreamReport, Worker
from engine.sip.offer_answer import Agreed

LOOPBACK = "127.0.0.1"
_L16, _EVENTS = 97, 101


@contextlib.asynccontextmanager
async def stand_in(stream: Stream, worker: Worker, lost: Callable[[], None] = lambda: None) -> AsyncIterator[Stream]:
    """A stream of ``worker`` that stands for ``stream``; ``lost`` is called when that worker dies.

    Raises :class:`~engine.calls.media.MediaError`.
    """
    if stream.worker is worker:
        yield stream
        return
    near = await stream.worker.open(LOOPBACK, _report, _known)
    try:
        far = await worker.open(LOOPBACK, _report, lambda _: lost())
        try:
            near.direct(_towards(far))
            far.direct(_towards(near))
            stream.relay(near)
            near.relay(stream)
            yield far
        finally:
            stream.relay(None)
            near.relay(None)
            await asyncio.shield(far.close())
    finally:
        await asyncio.shield(near.close())


@contextlib.asynccontextmanager
async def coupled(one: Side, other: Side, music: Path) -> AsyncIterator[None]:
    """Both hear each other, or ``music``. Raises :class:`~engine.calls.media.MediaError`."""
    async with stand_in(one.stream, other.stream.worker) as near:
        bridge = Bridge(replace(one, stream=near), other, music)
        bridge.connect()
        try:
            yield
        finally:
            bridge.disconnect()


def _towards(link: Stream) -> Agreed:
    return Agreed(
        payload_type=_L16,
        event_type=_EVENTS,
        ptime=20,
        host=LOOPBACK,
        port=link.port,
        rtcp_port=0,
        send=True,
        receive=True,
        held=False,
        codec="L16",
    )


def _report(report: StreamReport) -> None:
    """Nothing that happens on a link is news: both its ends are ours."""


def _known(reason: str) -> None:
    """The worker died, and the call whose stream is on it knows."""
