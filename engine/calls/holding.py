"""On hold (RFC 3264 section 8.4, RFC 6337 section 5.3): whether a leg is, and what both sides of a bridge hear then.

A leg can be held from either end. Its phone holds us when it takes no more sound: whoever talks with it hears music.
We hold a leg when we offer to send only: its phone hears music, and nobody hears it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.callbacks import records
from engine.calls.media import Stream
from engine.sip.offer_answer import Agreed


@dataclass(slots=True)
class Hold:
    """Whether a leg is on hold. ``held``: by its phone; ``holding``: by us. Watchers are told of each change."""

    held: bool = False
    holding: bool = False
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether nothing is to be passed on of what the phone sends: its own music, for example."""
        return self.held or self.holding

    def watch(self, told: Callable[[], None]) -> None:
        self._watchers.append(told)

    def unwatch(self, told: Callable[[], None]) -> None:
        if told in self._watchers:
            self._watchers.remove(told)

    def set(self, *, held: bool | None = None, holding: bool | None = None) -> None:
        """Take note; nobody is told if it is as it was."""
        before = self.held, self.holding
        self.held = self.held if held is None else held
        self.holding = self.holding if holding is None else holding
        if before != (self.held, self.holding):
            for told in list(self._watchers):
                told()


BY_ITSELF = "telephone"
"""Who wanted a hold that a telephone began itself."""


def hold_of(agreed: Agreed, before: Agreed | None, call: str, leg: str = "") -> records.Held | records.Resumed | None:
    """What to put down when a telephone has put us on hold, or takes us off it, by a new agreement."""
    held = before is not None and before.held
    if agreed.held == held:
        return None
    kind = records.Held if agreed.held else records.Resumed
    return kind(time.time(), call=call, leg=leg, by=BY_ITSELF)


@dataclass(slots=True)
class Side:
    """One side of a bridge. ``gone`` says whether its stream is no longer to be told anything."""

    stream: Stream
    hold: Hold
    gone: Callable[[], bool] = lambda: False
    music: bool = False
    """Whether the bridge plays music to it."""


class Bridge:
    """Passes sound between two streams of one worker, both ways; who waits for a phone on hold hears ``music``."""

    def __init__(self, one: Side, other: Side, music: Path) -> None:
        self._sides = (one, other)
        self._music = music
        self._open = False

    def connect(self) -> None:
        """Begin."""
        self._open = True
        for side in self._sides:
            side.hold.watch(self._settle)
        self._settle()

    def disconnect(self) -> None:
        """Pass nothing more, and play nothing."""
        if not self._open:
            return
        self._open = False
        for side in self._sides:
            side.hold.unwatch(self._settle)
            if not side.gone():
                side.stream.relay(None)
                self._play(side, on=False)

    def _settle(self) -> None:
        """As it is to be now: music first to its end, then sound, so that nobody hears both."""
        one, other = self._sides
        passing = not (one.hold.quiet or other.hold.quiet)
        for side, opposite in ((one, other), (other, one)):
            if side.gone():
                continue
            if side.hold.holding:
                side.music = False  # its leg plays to it
            else:
                self._play(side, on=opposite.hold.held)
            side.stream.relay(opposite.stream if passing and not opposite.gone() else None)

    def _play(self, side: Side, *, on: bool) -> None:
        if on and not side.music:
            side.stream.play([self._music], loop=True)
        elif side.music and not on and not side.hold.holding:
            side.stream.stop()
        side.music = on
