"""Keys as tones (ITU-T Q.23, Q.24), found in the sound of many streams at once, and made.

Hardly any frame holds a key, so all of them go through a cheap screen first: the second half of the frame, one matrix
product, and the share of the power that lies near one frequency of each group.

What passes is cut into hops of 5 ms, together with the frame before it. Each hop is correlated with the eight
frequencies; four hops together are a window of 20 ms, and the turn of its phase from one window to the next says how
far the tone really is from the nominal frequency. With that the power is corrected, so a tone that is 1.8 % off counts
in full and one that is 3 % off is refused, which a bank of plain Goertzel filters of this length cannot do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Powers, Samples, Slots, power, some
from media.rates import FRAME, RATE

ROWS = (697.0, 770.0, 852.0, 941.0)
COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = "123A456B789C*0#D"
"""By row, then column."""

HOP = 40
HOPS = FRAME // HOP
WINDOW = 4 * HOP

PASSES = 4
"""Windows in a row that must agree on a key: 35 ms of tone."""

MISSES = 8
"""Windows in a row without the key, or with it in one alone, until it counts as released: a window that lies half in a
tone may pass."""

TOLERANCE = 0.024
"""Relative deviation of a frequency; Q.24 wants 1.5 to 1.8 % accepted and 3 to 3.5 % refused."""

MAX_TWIST = 10 ** (10.0 / 10)
"""Ratio of the powers of the two tones; Q.24 wants up to 8 dB accepted."""

PURITY = 0.72
"""Share of the window's power that the two tones must have. At 9 dB over noise it is 0.89. With more than this, some
tones of 40 ms that are 1.5 % off do not fill four windows; with less, more than one in 500 bursts of 23 ms would."""

QUIETEST = power(-42.0)
"""Power of a frame below which no key is looked for."""

SCREEN_SHARE = 0.55
"""Share of the power that the screen wants near one frequency of each group together. The tones of a key, 1.8 % off and
in noise 10 dB below them, have 0.60 at least; of speech, two frames in a thousand have as much."""

SCREEN_LEAST = 0.02
"""The same for the weaker of the two: with a twist of 8.5 dB it has at least 0.022."""

_Hops: TypeAlias = NDArray[np.complex64]
_FREQUENCIES = np.array(ROWS + COLUMNS)
_NO_KEY = -1


def _basis(samples: int) -> NDArray[np.complex128]:
    """The eight frequencies over ``samples``, as columns."""
    return np.exp(-2j * np.pi * np.outer(np.arange(samples), _FREQUENCIES) / RATE)


def _parts(basis: NDArray[np.complex128]) -> NDArray[np.float32]:
    return np.concatenate([basis.real, basis.imag], axis=1).astype(np.float32)


_HALF = FRAME // 2
_HALF_BASIS = _parts(_basis(_HALF))
_HOP_BASIS = _parts(_basis(HOP))
# The phase of a hop counts from its own beginning; turned back by this it counts from that of the first of two frames.
_TURNS = np.exp(-2j * np.pi * np.outer(np.arange(2 * HOPS) * HOP, _FREQUENCIES) / RATE).astype(np.complex64)


class ToneReceiver:
    """The in-band key receivers of all streams of a worker."""

    def __init__(self, capacity: int, before: Callable[[Slots], Samples]) -> None:
        """``before``: the frames that came before those that are fed."""
        self._before = before
        self._idle: Flags = np.ones(capacity, np.bool_)
        self._key: NDArray[np.int8] = np.full(capacity, _NO_KEY, np.int8)
        self._candidate: NDArray[np.int8] = np.full(capacity, _NO_KEY, np.int8)
        self._passes: NDArray[np.int8] = np.zeros(capacity, np.int8)
        self._misses: NDArray[np.int8] = np.zeros(capacity, np.int8)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._key[slot] = self._candidate[slot] = _NO_KEY
        self._passes[slot] = self._misses[slot] = 0
        self._idle[slot] = True

    def feed(self, slots: Slots, frames: Samples, levels: Powers) -> list[tuple[int, str]]:
        """One frame for each of ``slots``, with its power; (slot, digit) of the keys that went down in it."""
        busy = ~self._idle[slots]
        loud = np.flatnonzero(levels >= QUIETEST)
        if loud.size:
            busy[loud] |= self._may_hold_key(frames[loud, _HALF:])
        if not some(busy):
            return []
        chosen = slots[busy]
        return self._follow(chosen, self._listen(np.concatenate([self._before(chosen), frames[busy]], axis=1)))

    @staticmethod
    def _may_hold_key(halves: Samples) -> Flags:
        """The screen. Of the frames that a key fills in part, those that it begins or ends in are found with the one
        between them.
        """
        sound = halves.astype(np.float32)
        parts = sound @ _HALF_BASIS
        parts *= parts
        near = parts[:, :8] + parts[:, 8:]
        low, high = near[:, :4].max(axis=1), near[:, 4:].max(axis=1)
        # A tone of amplitude A has |W| = A * _HALF / 2, and the power A * A / 2.
        total = np.einsum("ij,ij->i", sound, sound) * np.float32(_HALF / 2)
        may: Flags = (low + high >= total * np.float32(SCREEN_SHARE)) & (
            np.minimum(low, high) >= total * np.float32(SCREEN_LEAST)
        )
        return may

    def _listen(self, sound: Samples) -> NDArray[np.int8]:
        """The key, or -1, of each of the four windows that end in the second of two frames: (n, 320) to (n, 4)."""
        pieces = sound.astype(np.float32).reshape(-1, HOP)
        parts = (pieces @ _HOP_BASIS).reshape(-1, 2 * HOPS, 16)
        hops = (parts[:, :, :8] + 1j * parts[:, :, 8:]) * _TURNS
        windows = hops[:, 0:5] + hops[:, 1:6] + hops[:, 2:7] + hops[:, 3:8]
        strength = windows.real**2 + windows.imag**2
        # A tone of amplitude A has |W| = A * WINDOW / 2 and the power A * A / 2.
        strength *= np.float32(2.0 / WINDOW**2)
        powers = np.einsum("ij,ij->i", pieces, pieces).reshape(-1, 2 * HOPS) / np.float32(HOP)
        total = (powers[:, 1:5] + powers[:, 2:6] + powers[:, 3:7] + powers[:, 4:8]) * np.float32(0.25)
        return self._keys(windows, strength, total)

    @staticmethod
    def _keys(windows: _Hops, strength: NDArray[np.float32], total: Powers) -> NDArray[np.int8]:
        """The key of each of the last four windows, or -1."""
        now, before = windows[:, 1:], windows[:, :-1]
        picked: list[tuple[NDArray[np.intp], NDArray[np.float32], Flags]] = []
        for group in (slice(0, 4), slice(4, 8)):
            place = strength[:, 1:, group].argmax(axis=2)[:, :, None]
            product = np.take_along_axis(now[:, :, group] * before[:, :, group].conj(), place, 2)[:, :, 0]
            nominal = _FREQUENCIES[group][place[:, :, 0]]
            off = np.angle(product) * (RATE / (2 * np.pi * HOP))  # Hz from nominal, up to +-100
            share = np.sinc(off * WINDOW / RATE) ** 2  # of the power that a window sees this far off
            corrected = np.take_along_axis(strength[:, 1:, group], place, 2)[:, :, 0] / np.maximum(share, 0.2)
            picked.append((place[:, :, 0], corrected.astype(np.float32), np.abs(off) <= TOLERANCE * nominal))
        (row, low, low_fits), (column, high, high_fits) = picked
        fits = low_fits & high_fits & (low <= MAX_TWIST * high) & (high <= MAX_TWIST * low)
        fits &= (low + high >= PURITY * total) & (total > QUIETEST)
        return np.where(fits, row * 4 + column, _NO_KEY).astype(np.int8)

    def _follow(self, slots: Slots, heard: NDArray[np.int8]) -> list[tuple[int, str]]:
        """Run each stream through its windows: presses and releases."""
        pressed: list[tuple[int, str]] = []
        for slot, keys in zip(slots.tolist(), heard.tolist(), strict=True):
            down, candidate = int(self._key[slot]), int(self._candidate[slot])
            passes, misses = int(self._passes[slot]), int(self._misses[slot])
            for key in keys:
                passes = passes + 1 if key == candidate and key != _NO_KEY else int(key != _NO_KEY)
                candidate = key
                misses = 0 if key == down and passes > 1 else misses + 1
                if down != _NO_KEY and misses >= MISSES:
                    down = _NO_KEY
                if passes >= PASSES and key != down:
                    down, misses = key, 0
                    pressed.append((slot, KEYS[key]))
            self._key[slot], self._candidate[slot] = down, candidate
            self._passes[slot], self._misses[slot] = min(passes, 100), min(misses, 100)
            self._idle[slot] = down == _NO_KEY and passes == 0
        return pressed


def tones(digits: str, on_ms: int, off_ms: int, dbfs: float = -13.0) -> Samples:
    """``digits`` as sound: whole frames, each tone with edges of 2 ms, each of its two frequencies at ``dbfs``."""
    on, off = max(1, on_ms) * RATE // 1000, max(0, off_ms) * RATE // 1000
    amplitude = 32768 * 10 ** (dbfs / 20)
    time = np.arange(on) / RATE
    edge = np.minimum(1.0, (np.minimum(np.arange(on), np.arange(on)[::-1]) + 1) / (0.002 * RATE))
    parts = []
    for digit in digits.upper():
        place = KEYS.find(digit)
        if place < 0:
            continue
        low, high = ROWS[place // 4], COLUMNS[place % 4]
        parts += [amplitude * edge * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)), np.zeros(off)]
    sound = np.concatenate(parts) if parts else np.zeros(0)
    padded = np.zeros(-(-len(sound) // FRAME) * FRAME, np.int16)
    padded[: len(sound)] = np.clip(sound, -32767, 32767).astype(np.int16)
    return padded
