"""What a flow waits for on its call: keys, words, the end of a prompt, and that the call is over.

What happens is put down as it comes; one who waits is woken and takes it. The first :meth:`Waiting.end` wins, all
others are ignored, and whoever waits for anything hears of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from flows.call import CallEnded, EndedBy, Input, Key, Replaced
from flows.graph import Graph

MAX_TYPED_AHEAD = 64
"""Keys that are kept for a step that listens; more are dropped, the oldest first."""

LARGE = 32 * 1024
"""Octets of a document from which on it is compiled away from the event loop."""

_T = TypeVar("_T")


class Waiting:
    """The inputs of a call that nobody has taken yet, its end, and one who waits for the next of either."""

    def __init__(self) -> None:
        self.ending: tuple[EndedBy, str] | None = None
        self.ended_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._inputs: deque[Input] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._interrupted: set[asyncio.Future[None]] = set()  # done when the call ends, or another flow is to go on
        self._new: Graph | None = None  # what is to go on in place of the flow, until it is told

    def now(self) -> float:
        return self._loop.time()

    # --- the end --------------------------------------------------------------------------

    def end(self, by: EndedBy, reason: str) -> bool:
        """The call is over. True for the first to say so; whoever comes later changes nothing."""
        if self.ending is not None:
            return False
        self.ending = (by, reason)
        self.ended_at = self.now()
        if not self.over.done():
            self.over.set_result(None)
        self._interrupt()
        return True

    def settle(self, by: EndedBy, reason: str) -> None:
        """The flow's last word on its own end: hanging up for a limit or an error is not hanging up by plan."""
        if not self.end(by, reason) and self.ending is not None and self.ending[0] == "flow":
            self.ending = (by, reason)

    async def hangup(self, reason: str) -> NoReturn:
        self.end("flow", reason)
        assert self.ending is not None
        raise CallEnded(*self.ending)

    def _go_on_with(self, graph: Graph) -> None:
        """Whoever waits hears of it (:class:`Replaced`)."""
        self._new = graph
        self._interrupt()

    def _raise_if_ended(self) -> None:
        """Raises CallEnded when the call is over, and once Replaced when another flow is to go on."""
        if self.ending is not None:
            raise CallEnded(*self.ending)
        if self._new is not None:
            new, self._new = self._new, None
            self._inputs.clear()  # what was pressed was for the flow before
            raise Replaced(new)

    # --- inputs ---------------------------------------------------------------------------

    async def next(self, deadline: float | None) -> Input | None:
        while True:
            self._raise_if_ended()
            if self._inputs:
                return self._inputs.popleft()
            if deadline is not None and self.now() >= deadline:
                return None
            await self._wait(deadline)

    async def key_or_change(self, deadline: float | None) -> str:
        """Wait for a key, a :meth:`poke` or ``deadline``. Returns the key, empty if there was none."""
        self._raise_if_ended()
        if not self._inputs and (deadline is None or self.now() < deadline):
            await self._wait(deadline)
        while self._inputs:
            heard = self._inputs.popleft()
            if isinstance(heard, Key):
                return heard.digit
        return ""

    def _put(self, item: Input) -> None:
        self._inputs.append(item)
        if isinstance(item, Key):
            keys = [kept for kept in self._inputs if isinstance(kept, Key)]
            if len(keys) > MAX_TYPED_AHEAD:
                self._inputs.remove(keys[0])
        self._wake_up()

    def _keep(self, wanted: Callable[[Input], bool]) -> None:
        """Forget all other inputs."""
        self._inputs = deque(item for item in self._inputs if wanted(item))

    # --- waiting --------------------------------------------------------------------------

    def poke(self) -> None:
        """Something that :meth:`key_or_change` waits for has happened."""
        self._wake_up()

    async def change(self, deadline: float | None) -> None:
        """Wait until something happens, or for ``deadline``; keys stay where they are."""
        await self._wait(deadline)

    async def pause(self, seconds: float) -> None:
        until = self.now() + seconds
        while self.now() < until:
            await self._wait(until)
        self._raise_if_ended()

    async def compute(self, work: Callable[[], _T], size: int) -> _T:
        return work() if size < LARGE else await self.unless_over(asyncio.to_thread(work))

    async def unless_over(self, work: Awaitable[_T]) -> _T:
        """The result of ``work``, which is cancelled when the call ends or another flow is to go on."""
        task = asyncio.ensure_future(work)
        interrupted: asyncio.Future[None] = self._loop.create_future()
        self._interrupted.add(interrupted)
        try:
            if self.ending is None and self._new is None:
                waiting: list[asyncio.Future[Any]] = [task, interrupted]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            self._raise_if_ended()
            return await task
        finally:
            self._interrupted.discard(interrupted)
            interrupted.cancel()
            if not task.done():
                task.add_done_callback(_nobody_asks)
                task.cancel()

    def _interrupt(self) -> None:
        for wait in self._interrupted:
            if not wait.done():
                wait.set_result(None)
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _wait(self, deadline: float | None) -> None:
        self._raise_if_ended()
        await self._sleep_until(deadline)
        self._raise_if_ended()

    async def _sleep_until(self, deadline: float | None) -> None:
        """Until something happens, or the clock reads ``deadline``."""
        self._wake = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._wake_up) if deadline is not None else None
        try:
            await self._wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()


def _nobody_asks(work: asyncio.Future[Any]) -> None:
    """What comes of work that was given up: without a look at it the loop complains when it is freed."""
    if not work.cancelled():
        work.exception()
