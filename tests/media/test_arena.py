"""Prompts in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest
from media_studio import write_wav

from media.arena import AT_ONCE, Arena, BadClip
from media.rates import FRAME


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
