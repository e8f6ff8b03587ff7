"""Keys as tones (ITU-T Q.23, Q.24), found in the sound of many streams at once, and made.

The sound is cut into hops of 5 ms. Each hop is correlated with the eight frequencies in one matrix product; four
hops together are a window of 20 ms, and the turn of its phase from one window to the next says how far the tone
really is from the nominal frequency. With that the power is corrected, so a tone that is 1.8 % off counts in
full and one that is 3 % off is refused, which a bank of plain Goertzel filters of this length cannot do.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Powers, Samples, Slots, power
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
"""Windows in a row without the key until it counts as released."""

TOLERANCE = 0.024
"""Relative deviation of a frequency; Q.24 wants 1.5 to 1.8 % accepted and 3 to 3.5 % refused."""

MAX_TWIST = 10 ** (9.0 / 10)
"""Ratio of the powers of the two tones; Q.24 wants up to 8 dB accepted."""

PURITY = 0.75
"""Share of the window's power that the two tones must have. At 9 dB over noise it is 0.89; below 0.7 a burst of 23 ms
that fills most of four windows would pass."""

QUIETEST = power(-42.0)
"""Power of a frame below which no key is looked for."""

_Hops: TypeAlias = NDArray[np.complex64]
_FREQUENCIES = np.array(ROWS + COLUMNS)
_SAMPLES = np.arange(HOP)
_BASIS = np.exp(-2j * np.pi * np.outer(_SAMPLES, _FREQUENCIES) / RATE)
_BASIS_PARTS: NDArray[np.float32] = np.concatenate([_BASIS.real, _BASIS.imag], axis=1).astype(np.float32)
_TURN = 2 * np.pi * _FREQUENCIES * HOP / RATE
_NO_KEY = -1


class ToneReceiver:
    """The in-band key receivers of all streams of a worker."""

    def __init__(self, capacity: int) -> None:
        self._before: _Hops = np.zeros((capacity, 4, 8), np.complex64)
        self._powers_before: Powers = np.zeros((capacity, 3), np.float32)
        self._clock: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._idle: Flags = np.ones(capacity, np.bool_)
        self._key: NDArray[np.int8] = np.full(capacity, _NO_KEY, np.int8)
        self._candidate: NDArray[np.int8] = np.full(capacity, _NO_KEY, np.int8)
        self._passes: NDArray[np.int8] = np.zeros(capacity, np.int8)
        self._misses: NDArray[np.int8] = np.zeros(capacity, np.int8)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._quiet(np.array([slot]))
        self._key[slot] = self._candidate[slot] = _NO_KEY
        self._passes[slot] = self._misses[slot] = 0
        self._idle[slot] = True

    def feed(self, slots: Slots, frames: Samples, levels: Powers) -> list[tuple[int, str]]:
        """One frame for each of ``slots``, with its power; (slot, digit) of the keys that went down in it."""
        self._clock[slots] += 1
        loud = levels >= QUIETEST
        worth = loud | ~self._idle[slots]
        if not worth.all():
            self._quiet(slots[~worth])
            slots, frames = slots[worth], frames[worth]
        if not slots.size:
            return []
        hops, hop_powers = self._correlate(slots, frames)
        windows = hops[:, 0:5] + hops[:, 1:6] + hops[:, 2:7] + hops[:, 3:8]
        strength = windows.real**2 + windows.imag**2
        # A tone of amplitude A has |W| = A * WINDOW / 2 and the power A * A / 2.
        strength *= np.float32(2.0 / WINDOW**2)
        total = hop_powers[:, 0:4] + hop_powers[:, 1:5] + hop_powers[:, 2:6] + hop_powers[:, 3:7]
        total *= np.float32(0.25)
        # A cheap screen: even 1.8 % off, with a twist of 8 dB, most of the power of two tones is in two bins.
        best = strength[:, 1:, :4].max(axis=2) + strength[:, 1:, 4:].max(axis=2)
        plausible = ((best > np.float32(0.4) * total) & (total > QUIETEST)).any(axis=1)
        heard = np.full((slots.size, HOPS), _NO_KEY, np.int8)
        if plausible.any():
            heard[plausible] = self._keys(windows[plausible], strength[plausible], total[plausible])
        busy = plausible | ~self._idle[slots]
        return self._follow(slots[busy], heard[busy])

    def _quiet(self, slots: Slots) -> None:
        self._before[slots] = 0
        self._powers_before[slots] = 0

    def _correlate(self, slots: Slots, frames: Samples) -> tuple[_Hops, Powers]:
        """Hops -4 to 3 of each stream: correlations (n, 8, 8) with absolute phase, and powers of hops -3 to 3."""
        pieces = frames.astype(np.float32).reshape(-1, HOP)
        parts = (pieces @ _BASIS_PARTS).reshape(slots.size, HOPS, 16)
        fresh = np.empty((slots.size, 8, 8), np.complex64)
        fresh[:, :4] = self._before[slots]
        # Phases count from the hop's own beginning; turned back by the stream's clock they count from one origin.
        turns = (self._clock[slots] * HOPS)[:, None, None] + np.arange(HOPS)[None, :, None]
        angle = (turns * (_TURN / (2 * np.pi))) % 1.0
        fresh[:, 4:] = (parts[:, :, :8] + 1j * parts[:, :, 8:]) * np.exp(-2j * np.pi * angle).astype(np.complex64)
        self._before[slots] = fresh[:, 4:]
        hop_powers = np.empty((slots.size, 7), np.float32)
        hop_powers[:, :3] = self._powers_before[slots]
        hop_powers[:, 3:] = np.einsum("ij,ij->i", pieces, pieces).reshape(-1, HOPS) / np.float32(HOP)
        self._powers_before[slots] = hop_powers[:, 4:]
        return fresh, hop_powers

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
                misses = 0 if key == down else misses + 1
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
