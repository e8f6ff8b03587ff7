"""How long nobody has spoken on a call or pressed a key while it was for somebody to do so (``calls.max_silence``).

The time counts while a flow waits for its caller and plays nothing, and while two talk (:meth:`Silence.counting`); in
between it stands still. A sign of life begins it anew. The ears of the media worker are on until the first sign, then
off for a while (:data:`REST`): they cost a line that is talked on next to nothing, and one without a limit nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from engine.calls.media import Stream
from media import commands

REST = 5.0
"""Seconds, of a short limit a quarter, after a sign of life in which nobody listens for another: the limit is reached
that much later.
"""


class Silence:
    """The silence of one call. At ``limit`` seconds of it (0: never) ``over`` ends the call, or begins it anew."""

    def __init__(
        self,
        limit: float = 0.0,
        streams: Callable[[], Iterable[Stream]] = tuple,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """``streams``: those whose far ends are listened to. What they report is a sign of life (:meth:`broken`)."""
        self.limit = limit
        self._streams = streams
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._left = limit
        self._counting = False
        self._since: float | None = None
        self._rests_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._heard: tuple[Stream, ...] = ()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """The time within counts."""
        if not self.limit:
            yield
            return
        self._counting = True
        self._go_on()
        try:
            yield
        finally:
            self._counting = False
            self._stand_still()

    def broken(self, *, rest: bool = True) -> None:
        """A sign of life. Without a ``rest``: others are on the line now, who are listened to at once."""
        if not self.limit:
            return
        self._stand_still()
        self._left = self.limit
        self._rests_until = self._loop.time() + (min(REST, self.limit / 4) if rest else 0.0)
        self._hear(())
        if self._counting:
            self._go_on()

    def part(self) -> None:
        """The call is over: let go of it."""
        self.limit = 0.0
        self._stand_still()
        self._heard, self._streams, self._over = (), tuple, lambda: None

    def _go_on(self) -> None:
        now = self._loop.time()
        if now < self._rests_until:
            self._timer = self._loop.call_at(self._rests_until, self._go_on)
            return
        if not self._heard:
            self._hear(tuple(self._streams()))
        self._since = now
        self._timer = self._loop.call_at(now + self._left, self._reached)

    def _stand_still(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._since is not None:
            self._left -= self._loop.time() - self._since
            self._since = None

    def _reached(self) -> None:
        self._timer = None
        self._since = None
        self._over()

    def _hear(self, streams: tuple[Stream, ...]) -> None:
        """Listen to these streams, and to no others any more."""
        for stream in self._heard:
            stream.send(commands.Activity(stream.number, on=False))
        self._heard = streams
        for stream in streams:
            stream.send(commands.Activity(stream.number, on=True))
