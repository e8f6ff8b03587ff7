"""What the callers say, and how it leaves and comes in."""

from __future__ import annotations

import select
import time
from pathlib import Path

import numpy as np

from benchmarks import callers
from benchmarks.callers import EVENT_TYPE, KEY_FRAMES, PERIOD, make_bank
from benchmarks.checks import compare
from benchmarks.floor import Floor
from benchmarks.mmsg import Batch, datagram_socket


def share_of_speech(schedule: np.ndarray) -> float:
    bank = make_bank()
    return float(((schedule >= bank.speech) & (schedule < bank.keys)).mean())


def test_half_of_the_time_is_speech() -> None:
    schedule = callers.half_talking(make_bank(), 200, keys=False)
    assert schedule.shape == (200, PERIOD)
    assert 0.45 < share_of_speech(schedule) < 0.55
    assert share_of_speech(callers.silent(make_bank(), 5)) == 0
    assert share_of_speech(callers.talking(make_bank(), 5)) == 1


def test_neighbours_and_the_prompt_are_told_apart(tmp_path: Path) -> None:
    bank = make_bank()
    even, odd = (bank.sound(row) for row in callers.talking(bank, 2))
    prompt = callers.write_prompt(tmp_path / "prompt.wav")
    sounds = [even, odd, prompt]
    for heard in sounds:
        verdicts = [compare(0, heard, [source], 0.8) for source in sounds if source is not heard]
        assert all(verdict.right == 0 for verdict in verdicts)
        assert not compare(0, heard, [heard], 0.99).wrong


def test_keys_are_events_of_100_ms_with_three_ends() -> None:
    bank = make_bank()
    schedule = callers.half_talking(bank, 20, keys=True)
    for row in schedule:
        downs = np.flatnonzero((row >= bank.keys) & ((row - bank.keys) % KEY_FRAMES == 0))
        assert 3 <= downs.size <= 5  # in 20 s
        for at in downs:
            rows = row[at : at + KEY_FRAMES]
            assert (np.diff(rows) == 1).all()
            assert (bank.second[rows] & 0x7F == EVENT_TYPE).all()
            assert (bank.second[rows] & 0x80 != 0).tolist() == [True] + [False] * 7
            assert (bank.length[rows] == 4).all()
            ends = bank.payload[rows, 1] & 0x80 != 0
            durations = bank.payload[rows, 2].astype(int) << 8 | bank.payload[rows, 3]
            assert ends.tolist() == [False] * 5 + [True] * 3
            assert durations.tolist() == [160, 320, 480, 640, 800, 800, 800, 800]
            assert bank.back[rows].tolist() == list(range(KEY_FRAMES))  # RFC 4733 2.5.1.2: the timestamp of the begin


def test_two_of_ten_talk_in_a_room_and_everybody_has_a_turn() -> None:
    bank = make_bank()
    schedule = callers.in_rooms(bank, 20)
    talks = (schedule >= bank.speech).reshape(2, 10, PERIOD)
    assert (talks.sum(axis=1) == 2).all()
    assert talks.any(axis=2).all()


def test_a_batch_leaves_and_comes_in_with_sizes_sources_and_times() -> None:
    with datagram_socket() as source, datagram_socket(timestamps=True) as sink:
        out, incoming = Batch(5, 100), Batch(8, 100, timed=True)
        out.ports[:] = sink.getsockname()[1]
        out.packets[:] = np.arange(5)[:, None]
        out.lengths[:] = [10, 20, 30, 40, 50]
        before = time.time_ns()
        assert out.send(source, 5) == 5
        assert select.select([sink], [], [], 5)[0]
        assert incoming.receive(sink) == 5
        after = time.time_ns()
        assert incoming.received_lengths[:5].tolist() == [10, 20, 30, 40, 50]
        assert incoming.packets[:5, 9].tolist() == [0, 1, 2, 3, 4]
        assert set(incoming.ports[:5].tolist()) == {source.getsockname()[1]}
        assert (before <= incoming.arrivals(5)).all()
        assert (incoming.arrivals(5) <= after).all()
        assert incoming.receive(sink) == 0
        assert out.send(source, 2) == 2
        assert select.select([sink], [], [], 5)[0]
        assert incoming.receive(sink) == 2
        assert (incoming.arrivals(2) >= after).all()


def test_the_floor_is_measured() -> None:
    with Floor() as floor:
        assert 0.1 < floor.measure(0.01) < 1000  # µs: any machine
