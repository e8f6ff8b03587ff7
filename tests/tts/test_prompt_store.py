from __future__ import annotations

import os
import time
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from media.tts.store import GRACE, PromptStore, content_key, key_for_text

KEY = content_key("a test")
SAMPLES = np.arange(-800, 800, dtype=np.int16)


def test_what_is_put_is_there(store: PromptStore) -> None:
    assert not store.has(KEY)
    path = store.put(KEY, SAMPLES)
    assert path == store.path(KEY)
    assert store.has(KEY)
    assert store.seconds(KEY) == 0.2
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.readframes(1600) == SAMPLES.tobytes()


def test_wideband_is_kept_as_such(store: PromptStore) -> None:
    with wave.open(str(store.put(KEY, SAMPLES, 16000))) as file:
        assert file.getframerate() == 16000
    assert store.seconds(KEY) == 0.1
    with pytest.raises(ValueError, match="22050 Hz"):
        store.put(KEY, SAMPLES, 22050)


def test_every_part_makes_another_key() -> None:
    base = ("espeak-ng", "1.52", "en", "en", 160, "hello")
    keys = {key_for_text(*base)}
    for place, other in enumerate(("x", "2", "ro", "ro", 161, "Hello")):
        changed = list(base)
        changed[place] = other
        keys.add(key_for_text(*changed))  # type: ignore[arg-type]
    assert len(keys) == 7
    assert key_for_text(*base) == key_for_text(*base)
    assert content_key("ab", "c") != content_key("a", "bc")


@pytest.mark.parametrize("key", ["", "../../../etc/passwd", KEY.upper(), KEY + "0", KEY + "\n", "g" * 64])
def test_what_is_no_key_finds_no_file(store: PromptStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a store key"):
        store.path(key)


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(8, np.float32), np.zeros((2, 8), np.int16)])
def test_what_is_no_prompt_is_not_stored(store: PromptStore, samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="16-bit"):
        store.put(KEY, samples)
    assert not store.has(KEY)


def test_a_failed_write_leaves_nothing(store: PromptStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put(KEY, SAMPLES)
    assert not store.has(KEY)
    assert [file for file in store.folder.rglob("*") if file.is_file()] == []


def test_a_reader_never_sees_half_a_prompt(store: PromptStore) -> None:
    long = np.ones(400_000, np.int16)

    def read() -> set[int]:
        sizes = set()
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            if store.has(KEY):
                sizes.add(len(store.path(KEY).read_bytes()))
        return sizes

    with ThreadPoolExecutor(3) as pool:
        seen = pool.submit(read)
        for _ in range(10):
            for written in [pool.submit(store.put, KEY, long) for _ in range(2)]:
                written.result()
    assert seen.result() == {800_044}


def test_only_old_leftovers_are_swept(store: PromptStore) -> None:
    store.put(KEY, SAMPLES)
    old, fresh = (store.path(KEY).with_name(name) for name in (".old.tmp", ".fresh.tmp"))
    for leftover in (old, fresh):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert store.sweep() == 1
    assert (old.exists(), fresh.exists(), store.has(KEY)) == (False, True, True)


def test_an_empty_file_is_no_prompt(store: PromptStore) -> None:
    store.put(KEY, SAMPLES).write_bytes(b"")
    assert not store.has(KEY)


def aged(store: PromptStore, name: str, seconds: float) -> str:
    """A prompt of 2044 octets that was last used so long ago."""
    key = content_key(name)
    path = store.put(key, np.ones(1000, np.int16))
    at = time.time() - seconds
    os.utime(path, (at, at))
    return key


def test_what_was_not_used_for_longest_goes_first(store: PromptStore) -> None:
    """Down to nine tenths; not what is held, and not what somebody has just asked for."""
    keys = [aged(store, f"{age}", GRACE + age) for age in (5000, 4000, 3000, 2000, 1000)]
    fresh = aged(store, "fresh", 0.0)
    assert store.trim(100_000) == (6 * 2044, 0)
    assert store.has(keys[1]), "used again"
    left, removed = store.trim(4 * 2044, {store.path(keys[0])})
    assert (left, removed) == (3 * 2044, 3)
    there = [key for key in [*keys, fresh] if store.path(key).exists()]
    assert there == [keys[0], keys[1], fresh]
    assert store.trim(1, {store.path(keys[0])}) == (3 * 2044, 0), "none of these can go"
    os.utime(store.path(keys[0]), (1.0, 1.0))
    assert store.trim(1) == (2 * 2044, 1)
