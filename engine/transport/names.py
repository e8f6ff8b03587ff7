"""Host names into addresses, off the loop, remembered for a while."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from engine.addresses import is_literal

TIME_TO_LIVE = 60.0
"""Seconds that an answer is used; the system resolver does not tell its own."""
FAILURE_TIME_TO_LIVE = 5.0
_REMEMBERED = 1024
_AT_ONCE = 4
"""Look-ups under way. Peers may name any host, so they have threads of their own, not those that disks wait for."""
_WAITING = 256

Then = Callable[[list[str]], None]
"""Called with the addresses found, the preferred first; none: the name does not resolve."""


class Names:
    """Resolves through ``getaddrinfo``: hosts file, DNS, whatever the system has."""

    def __init__(self) -> None:
        self.failures = 0
        self._loop = asyncio.get_running_loop()
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._waiting: dict[str, list[Then]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_AT_ONCE, "names")

    def known(self, host: str) -> list[str] | None:
        """What is known of ``host`` without asking; ``None`` if nothing is."""
        if is_literal(host):
            return [host]
        entry = self._known.get(host.lower())
        return None if entry is None or entry[0] < self._loop.time() else entry[1]

    def resolve(self, host: str, then: Then) -> None:
        """Call ``then`` with the addresses of ``host``, at once if they are known."""
        found = self.known(host)
        if found is not None:
            then(found)
            return
        host = host.lower()
        waiting = self._waiting.get(host)
        if waiting is not None:
            waiting.append(then)
        elif len(self._waiting) >= _WAITING:
            then([])
        else:
            self._waiting[host] = [then]
            task = self._loop.create_task(self._look_up(host))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def addresses(self, host: str) -> list[str]:
        """All addresses of ``host``; none: there are none, or too much is asked already."""
        found: asyncio.Future[list[str]] = self._loop.create_future()
        self.resolve(host, lambda addresses: None if found.done() else found.set_result(addresses))
        return await found

    async def _look_up(self, host: str) -> None:
        addresses: list[str] = []
        try:
            addresses = await self._loop.run_in_executor(self._threads, _ask, host)
        except (OSError, UnicodeError):  # UnicodeError: a label that IDNA cannot encode
            self.failures += 1
        lifetime = TIME_TO_LIVE if addresses else FAILURE_TIME_TO_LIVE
        self._known[host] = (self._loop.time() + lifetime, addresses)
        self._known.move_to_end(host)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        for then in self._waiting.pop(host, []):
            then(addresses)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _ask(host: str) -> list[str]:
    """The addresses of ``host``, each once. Blocks; raises OSError or UnicodeError if there are none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
