"""Who is told what about a call: the callbacks of call trees (``open``, ``tree``, ``close``).

The :class:`Narrator` is the one place that knows which URLs are subscribed, in what order
events are numbered and who has had a ``close``. What it knows it can find again in the notes that the
call has put down so far, so that after a crash the next start says exactly what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .call import Callback, Entered, Note, Subscribed

Event = Literal["open", "tree", "close"]


class Narrator:
    """Callbacks of one call, in order. ``answered_at`` and ``now`` are seconds on the same clock."""

    def __init__(self, call_id: str, caller: str, callee: str) -> None:
        self.call_id = call_id
        self.caller = caller
        self.callee = callee
        self.path = ""
        self._seq = 0
        self._urls: dict[str, None] = {}  # distinct, in the order of subscription
        self._closed: set[str] = set()

    @classmethod
    def restore(cls, call_id: str, caller: str, callee: str, notes: Iterable[Note]) -> Narrator:
        """The narrator as it was after it had told ``notes``."""
        narrator = cls(call_id, caller, callee)
        for note in notes:
            if isinstance(note, Entered):
                narrator.path = note.path
            elif isinstance(note, Subscribed):
                narrator._urls[note.url] = None
            elif isinstance(note, Callback) and "e" in note.params:
                narrator._seq = max(narrator._seq, _number(note.params.get("seq", "")))
                if note.params["e"] == "close":
                    narrator._closed.add(note.url)
        return narrator

    @property
    def urls(self) -> tuple[str, ...]:
        """The subscribed URLs, in the order in which they were reached."""
        return tuple(self._urls)

    def subscribe(self, url: str) -> Subscribed | None:
        """Subscribe ``url``; ``None`` when it is subscribed already."""
        if url in self._urls:
            return None
        self._urls[url] = None
        return Subscribed(url)

    def open(self, answered_at: float | None, now: float) -> list[Callback]:
        """The call was answered: to everybody subscribed by then."""
        return [self._callback("open", url, answered_at, now) for url in self._urls]

    def tree(self, answered_at: float | None, now: float, *, to: str | None = None) -> list[Callback]:
        """A node was entered: to ``to`` alone when it subscribed in that very node, or to everybody."""
        urls = self.urls if to is None else (to,)
        return [self._callback("tree", url, answered_at, now) for url in urls]

    def close(self, answered_at: float | None, now: float) -> list[Callback]:
        """The call is over: once to each URL, however often this is asked for."""
        left = [url for url in self._urls if url not in self._closed]
        self._closed.update(left)
        return [self._callback("close", url, answered_at, now) for url in left]

    def _callback(self, event: Event, url: str, answered_at: float | None, now: float) -> Callback:
        self._seq += 1
        params = {"e": event, "path": self.path, "from": self.caller, "to": self.callee, "id": self.call_id}
        duration = 0
        if answered_at is not None:
            params["answered"] = "true"
            duration = max(0, int(now - answered_at))
        params |= {"duration": str(duration), "seq": str(self._seq)}
        return Callback(url, params)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
