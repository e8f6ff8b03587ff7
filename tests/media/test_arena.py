"""Prompts in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest
from media_studio import write_wav

from media.arena import AT_ONCE, RESAMPLED_AT_ONCE, Arena, BadClip, read_clip
from media.rates import FRAME, RATE, WIDE_RATE


class ByHand(Executor):
    """Runs what is submitted when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future, Callable[[], object]]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future, work in waiting:
            try:
                future.set_result(work())
            except BadClip as error:
                future.set_exception(error)


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[int, int], str]:
    def make(value: int, frames: int) -> str:
        return write_wav(tmp_path / f"{value}.wav", np.full(frames * FRAME, value))

    return make


def tone(hertz: float, rate: int, seconds: float) -> np.ndarray:
    return np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate))


def amplitude(sound: np.ndarray, hertz: float, rate: int) -> float:
    return float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hertz * np.arange(sound.size) / rate))))


@pytest.mark.parametrize("have", [RATE, WIDE_RATE])
@pytest.mark.parametrize("want", [RATE, WIDE_RATE])
def test_a_clip_is_read_at_the_rate_that_is_asked_for(tmp_path: Path, have: int, want: int) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1000, have, 0.99), rate=have)
    sound = read_clip(path, want)
    assert (sound.dtype, sound.size) == (np.int16, want)  # whole frames
    assert not sound[round(0.992 * want) :].any()
    assert amplitude(sound[want // 10 : want // 2], 1000, want) == pytest.approx(8000, rel=0.005)


def test_what_narrow_ears_cannot_hear_does_not_fold_into_what_they_can(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(3000, WIDE_RATE, 1.0) + tone(5000, WIDE_RATE, 1.0), rate=WIDE_RATE)
    narrow, wide = read_clip(path, RATE)[800:-800], read_clip(path, WIDE_RATE)
    assert narrow.std() == pytest.approx(8000 / np.sqrt(2), rel=0.01)
    assert amplitude(narrow, 3000, RATE) == pytest.approx(8000, rel=0.01)
    assert amplitude(wide, 5000, WIDE_RATE) == pytest.approx(8000, rel=0.01)


def test_resampling_keeps_silence_and_full_scale(tmp_path: Path) -> None:
    quiet = write_wav(tmp_path / "a.wav", np.zeros(WIDE_RATE), rate=WIDE_RATE)
    assert not read_clip(quiet, RATE).any()
    loud = write_wav(tmp_path / "b.wav", 32767 * np.sign(tone(100, WIDE_RATE, 1.0)), rate=WIDE_RATE)
    assert read_clip(loud, RATE).max() == 32767
    assert read_clip(write_wav(tmp_path / "c.wav", np.zeros(0), rate=WIDE_RATE), RATE).size == 0


def test_pieces_of_a_long_clip_join_without_a_seam(tmp_path: Path) -> None:
    seconds = 2 * RESAMPLED_AT_ONCE + 0.5
    path = write_wav(tmp_path / "a.wav", tone(440, WIDE_RATE, seconds), rate=WIDE_RATE)
    sound = read_clip(path, RATE)[100:-100].astype(float)
    assert sound.size == round(seconds * RATE / FRAME + 0.4) * FRAME - 200
    assert np.abs(sound - tone(440, RATE, seconds + 1)[100 : 100 + sound.size])[:-FRAME].max() < 8


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (48000, 1), (8000, 2), (16000, 2)])
def test_other_forms_are_refused(tmp_path: Path, rate: int, channels: int) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(rate), rate=rate, channels=channels)
    with pytest.raises(BadClip, match=f"{rate} Hz, 16 bit, {channels} channels instead of"):
        read_clip(path, WIDE_RATE)


def test_a_wide_arena_holds_wide_frames(tmp_path: Path) -> None:
    reader = ByHand()
    store = Arena(1 << 20, reader, rate=WIDE_RATE)
    path = write_wav(tmp_path / "a.wav", tone(5000, WIDE_RATE, 0.5), rate=WIDE_RATE)
    assert store.acquire(path) is None
    reader.run()
    found = store.acquire(path)
    assert found is not None
    assert store.frames.shape[1] == store.frame == 2 * FRAME
    assert found.count == 25
    sound = store.frames[found.start : found.start + found.count].ravel()
    assert amplitude(sound, 5000, WIDE_RATE) == pytest.approx(8000, rel=0.01)


def arena(frames: int) -> tuple[Arena, ByHand]:
    reader = ByHand()
    return Arena(frames * FRAME * 2 + 4096, reader), reader


def test_a_short_clip_is_there_once_it_is_read(clip) -> None:
    store, reader = arena(2000)
    path = clip(5, AT_ONCE)
    assert store.acquire(path) is None
    reader.run()
    found = store.acquire(path)
    assert found is not None
    assert (store.frames[found.start : found.start + found.count] == 5).all()
    assert reader.waiting == []


def test_a_long_clip_is_copied_by_the_reader_and_keeps_its_place_meanwhile(clip) -> None:
    store, reader = arena(4 * AT_ONCE)
    long, other = clip(5, 2 * AT_ONCE), clip(6, AT_ONCE)
    assert store.acquire(long) is None
    reader.run()
    assert store.acquire(long) is None
    assert not store.frames.any()  # not in the tick
    copying, reader.waiting = reader.waiting, []
    assert store.acquire(other) is None
    reader.run()
    beside = store.acquire(other)
    assert store.acquire(long) is None
    assert reader.waiting == []
    reader.waiting = copying
    reader.run()
    found = store.acquire(long)
    assert found is not None
    assert beside is not None
    assert (found.count, beside.count) == (2 * AT_ONCE, AT_ONCE)
    assert (store.frames[found.start : found.start + found.count] == 5).all()
    assert (store.frames[beside.start : beside.start + beside.count] == 6).all()


def test_tidying_finishes_what_nobody_waits_for_any_more(clip) -> None:
    store, reader = arena(4 * AT_ONCE)
    long = clip(5, 2 * AT_ONCE)
    assert store.acquire(long) is None
    for _ in range(2):
        reader.run()
        store.tidy()
    found = store.acquire(long)
    assert found is not None
    assert (store.frames[found.start : found.start + found.count] == 5).all()


def test_a_long_clip_without_room_is_refused_and_leaves_nothing_behind(clip) -> None:
    store, reader = arena(3 * AT_ONCE)
    long, longer = clip(5, 2 * AT_ONCE), clip(6, 2 * AT_ONCE)
    assert store.acquire(long) is None
    reader.run()
    assert store.acquire(long) is None
    reader.run()
    held = store.acquire(long)
    assert held is not None
    assert store.acquire(longer) is None
    reader.run()
    with pytest.raises(BadClip, match="no room"):
        store.acquire(longer)
    store.release(held)
    assert store.acquire(longer) is None
    for _ in range(2):
        reader.run()
        found = store.acquire(longer)
    assert found is not None
    assert (store.frames[found.start : found.start + found.count] == 6).all()


def test_a_file_that_cannot_be_played_is_refused_each_time(tmp_path: Path) -> None:
    store, reader = arena(100)
    for _ in range(2):
        assert store.acquire(str(tmp_path / "none.wav")) is None
        reader.run()
        with pytest.raises(BadClip, match="not a file"):
            store.acquire(str(tmp_path / "none.wav"))
