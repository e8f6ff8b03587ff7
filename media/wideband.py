"""The wideband side of what streams send: prompts at 16 kHz, and the rest brought up to it.

A stream whose codec is wideband plays from an arena and by a player of its own. What it sends is told in both bands,
since echo gate and recording are narrow. What plays when the codec of its stream changes goes on in the other band.
"""

from __future__ import annotations

import numpy as np

from media.arena import Arena
from media.frames import Flags, Samples, Slots, some
from media.halfband import Downsampler, Upsampler
from media.player import Player
from media.reports import Report

Sounds = dict[int, Samples]
"""One frame of 16 kHz for each slot."""


class Wideband:
    """``player`` plays wide clips; ``is_wide`` are the slots whose codec is wideband."""

    def __init__(self, capacity: int, arena: Arena, reports: list[Report]) -> None:
        self.player = Player(capacity, arena, reports)
        self.is_wide: Flags = np.zeros(capacity, np.bool_)
        self._count = 0
        self._up = Upsampler(capacity)
        self._room = Upsampler(capacity)
        self._down = Downsampler(capacity)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do in a tick."""
        return not self._count and self.player.idle

    def direct(self, slot: int, *, wide: bool) -> None:
        """The codec of ``slot`` is wideband, or is not."""
        self._count += int(wide) - int(self.is_wide[slot])
        self.is_wide[slot] = wide
        self._up.reset(np.array([slot]))
        self._down.reset(np.array([slot]))
        self._room.reset(np.array([slot]))

    def drop(self, slot: int, now: float) -> None:
        """The stream is going."""
        self.player.drop(slot, now)
        self.direct(slot, wide=False)

    def add(self, slots: Slots, frames: Samples, wide: Sounds) -> None:
        """Narrow sound of ``slots`` over what those among them that are wideband play: into ``wide``."""
        if not self._count:
            return
        raised = self.is_wide[slots]
        for slot, sound in zip(slots[raised].tolist(), self._room.feed(slots[raised], frames[raised]), strict=True):
            both = sound.astype(np.int32) + wide.get(slot, 0)
            wide[slot] = both.clip(-32768, 32767).astype(np.int16)

    def gather(self, members: Slots, sounding: Slots, frames: Samples, now: float) -> tuple[Slots, Samples, Sounds]:
        """The next frame of ``members``, of which ``sounding`` have ``frames`` of narrow sound: (slots that are not
        silent, their narrow frames, the wide frames of those whose codec is wideband). Narrow sound, such as key tones,
        comes in place of what plays wide.
        """
        playing, played = self.player.gather(members, now)
        raised = self.is_wide[sounding]
        wide: Sounds = {}
        if some(raised):
            wide.update(zip(sounding[raised].tolist(), self._up.feed(sounding[raised], frames[raised]), strict=True))
        self._up.reset(np.setdiff1d(members, sounding, assume_unique=True))
        self._down.reset(np.setdiff1d(members, playing, assume_unique=True))
        if not playing.size:
            return sounding, frames, wide
        lowered = self._down.feed(playing, played)
        alone = ~np.isin(playing, sounding)
        playing, played, lowered = playing[alone], played[alone], lowered[alone]
        heard = self.is_wide[playing]
        wide.update(zip(playing[heard].tolist(), played[heard], strict=True))
        return np.concatenate([sounding, playing]), np.concatenate([frames, lowered]), wide
