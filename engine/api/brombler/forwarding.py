"""``$forward``: while a call lives that asked for it, a web server gets the account's list of calls every second.

One request is under way for each call and URL; a server that is slower than a second misses beats. Nothing is kept for
later: the next list says all that this one would have.
"""

from __future__ import annotations

import asyncio
import time

from engine.api.brombler.answers import fine_text
from engine.api.brombler.calls import listed
from engine.callbacks.fetch import Fetcher, FetchFailed
from engine.callbacks.urls import Refused, with_query
from engine.calls.switch import Switch
from engine.log import get_logger, mask_text

log = get_logger(__name__)

EVERY = 1.0
PATIENCE = 5.0


class Forwarder:
    """Posts the lists. :meth:`run` is its task."""

    def __init__(self, switch: Switch, fetcher: Fetcher) -> None:
        self._switch = switch
        self._fetcher = fetcher
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failing: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Post until cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY)
                self.beat()
        finally:
            for task in self._under_way.values():
                task.cancel()

    def beat(self) -> None:
        """Post the lists that are due."""
        wanted = [(call.id, url) for call in self._switch.calls.values() for url in call.call.forwards]
        self._failing.intersection_update(wanted)
        bodies: dict[str, bytes] = {}
        for key in wanted:
            if key in self._under_way:
                continue
            account = self._switch.calls[key[0]].plan.account
            if account not in bodies:
                calls = listed(self._switch.calls_of(account), time.time())
                bodies[account] = fine_text(list=calls)
            task = asyncio.create_task(self._post(key, bodies[account]), name=f"forward {key[0]}")
            self._under_way[key] = task
            task.add_done_callback(lambda _, key=key: self._under_way.pop(key, None))  # type: ignore[misc]

    async def _post(self, key: tuple[str, str], body: bytes) -> None:
        call_id, url = key
        why = ""
        try:
            answer = await self._fetcher.fetch(
                "POST",
                with_query(url, ()),
                timeout=PATIENCE,
                data=body,
                headers={"Content-Type": "application/json"},
                body_limit=1024,
                insist=True,
            )
            why = "" if 200 <= answer.status < 300 else f"HTTP status {answer.status}"
        except (FetchFailed, Refused) as error:
            why = str(error)
        if why and key not in self._failing:  # said once, until it goes again
            log.warning("list_not_forwarded", call_id=call_id, url=mask_text(url), why=why)
            self._failing.add(key)
        elif not why:
            self._failing.discard(key)
