"""Keys that streams press: as telephone-events where those were agreed on (RFC 4733), else as tones."""

from __future__ import annotations

from media import dtmf
from media.player import Player
from media.sender import Sender

AGAIN_MS, AGAIN_PAUSE_MS = 100, 50
"""How a key is pressed again that came in on another stream."""

MOST_TONES = 120
"""Frames of tones that may wait when another key is to be pressed again."""


class Keypad:
    """The keypads of all streams of a worker."""

    def __init__(self, sender: Sender, player: Player) -> None:
        self._sender = sender
        self._player = player

    def press(self, slot: int, digits: str, on_ms: int, off_ms: int, *, as_events: bool) -> None:
        """Press ``digits``, ``on_ms`` each and ``off_ms`` apart: ``as_events`` if possible."""
        if not (as_events and self._sender.press(slot, digits, on_ms, off_ms)):
            self._player.tone(slot, dtmf.tones(digits, on_ms, off_ms))

    def press_again(self, slot: int, digit: str) -> None:
        """Press a key that came in on another stream; it is left out when too many wait already."""
        if self._sender.press(slot, digit, AGAIN_MS, AGAIN_PAUSE_MS):
            return
        if self._player.toning(slot) < MOST_TONES:
            self._player.tone(slot, dtmf.tones(digit, AGAIN_MS, AGAIN_PAUSE_MS))
