"""How long packets wait in the jitter buffer: after our own stalls, after bursts, on a shifted grid."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from media.delay import PATIENCE
from media.jitter import FIRST_DELAY, MAX_DELAY, JitterBuffers
from media.rates import FRAME

SLOT = np.array([0])
SECOND = 50


class Course:
    """A stream whose packet ``n`` is sent in frame ``n``; ``wait`` has what an on-time packet waits, per frame."""

    def __init__(self) -> None:
        self.buffers = JitterBuffers(1)
        self.buffers.open(0)
        self.wait: list[int] = []
        self.out: list[int] = []
        self.next = 0

    def put(self, numbers: Iterable[int]) -> None:
        for n in numbers:
            stamp = np.array([n * FRAME % 2**32], np.uint32)
            self.buffers.insert(SLOT, stamp, np.full((1, FRAME), 1 + n % 30000, np.int16))

    def run(self, frames: int) -> None:
        """Frames in which each packet comes at its time."""
        for _ in range(frames):
            self.put([self.next])
            self.play()

    def put_up_to(self, number: int) -> None:
        self.put(range(self.next, number))
        self.next = number

    def play(self) -> None:
        self.out.append(int(self.buffers.play(SLOT)[0][80]) - 1)
        self.wait.append(self.next - self.out[-1] if self.out[-1] >= 0 else 0)
        self.next += 1

    def silent(self, frames: int) -> None:
        """Frames in which nothing comes."""
        kept = self.next
        for _ in range(frames):
            self.play()
        self.next = kept

    def own_stall(self, frames: int) -> None:
        """We do not run; what was sent meanwhile lies in the socket, and comes at once."""
        self.buffers.pause(SLOT, frames)
        self.put_up_to(self.next + frames)


@pytest.mark.parametrize("frames", [11, 15, 30, 60, 200])
def test_our_own_stall_does_not_delay_the_call(frames: int) -> None:
    course = Course()
    course.run(SECOND)
    course.own_stall(frames)
    course.run(SECOND)
    assert course.wait[-SECOND + 2 :] == [FIRST_DELAY] * (SECOND - 2)
    assert course.buffers.late[0] <= frames


def test_two_stalls_in_a_row_do_not_delay_the_call() -> None:
    course = Course()
    course.run(SECOND)
    course.buffers.pause(SLOT, 12)
    course.buffers.pause(SLOT, 14)
    course.put_up_to(course.next + 26)
    course.run(SECOND)
    assert course.wait[-10:] == [FIRST_DELAY] * 10


def test_after_a_stall_the_network_is_judged_again() -> None:
    course = Course()
    course.run(SECOND)
    course.own_stall(15)
    course.run(6 * SECOND)
    course.silent(5)  # now the network takes 100 ms longer
    for _ in range(20):
        course.put([course.next])
        course.out.append(int(course.buffers.play(SLOT)[0][80]) - 1)
        course.next += 1
    assert course.out[-10:] == list(range(course.out[-1] - 9, course.out[-1] + 1))


def network_stall(frames: int) -> Course:
    course = Course()
    course.run(SECOND)
    kept = course.next
    course.silent(frames)
    course.put_up_to(kept + frames)
    return course


@pytest.mark.parametrize("frames", [8, 15, 23, 46])
def test_delay_after_a_burst_is_given_back_within_seconds(frames: int) -> None:
    course = network_stall(frames)
    course.run(16 * SECOND)
    assert max(course.wait) >= 7
    after = course.wait[SECOND + frames :]
    assert max(after[7 * SECOND :]) <= MAX_DELAY // 2
    assert max(after[10 * SECOND :]) <= 3


def test_a_delay_beyond_the_greatest_is_given_back_at_once() -> None:
    course = Course()
    course.put_up_to(20)
    course.run(8 * SECOND)
    assert max(course.wait[: 4 * SECOND]) > MAX_DELAY
    assert set(course.wait[4 * SECOND :]) == {20 + FIRST_DELAY, FIRST_DELAY}
    assert max(course.wait[6 * SECOND :]) == FIRST_DELAY


def test_a_delay_that_some_packets_need_is_kept() -> None:
    course = Course()
    course.put_up_to(6)  # so that all wait six frames longer than the first
    for _ in range(20 * SECOND):
        if course.next % 10 != 1:
            course.put([course.next])
        if (course.next - 5) % 10 == 1:  # every tenth comes five frames later
            course.put([course.next - 5])
        course.play()
    assert course.buffers.late[0] == 0
    assert course.wait[-1] == 5 + FIRST_DELAY


def test_packets_on_another_grid_after_a_silence_take_the_usual_path(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[int] = []
    insert_odd = JitterBuffers._insert_odd

    def noting(self: JitterBuffers, slot: int, offset: int, timestamp: int, sound: np.ndarray) -> None:
        odd.append(offset)
        insert_odd(self, slot, offset, timestamp, sound)

    monkeypatch.setattr(JitterBuffers, "_insert_odd", noting)
    course = Course()
    course.run(SECOND)
    course.silent(10)
    out = []
    for n in range(SECOND):
        stamp = np.array([(course.next + 10 + n) * FRAME + 57], np.uint32)
        course.buffers.insert(SLOT, stamp, np.full((1, FRAME), 1000 + n, np.int16))
        out.append(course.buffers.play(SLOT)[0])
    assert len(odd) <= 1
    begun = next(index for index, frame in enumerate(out) if frame[80] == 1000)
    assert begun <= FIRST_DELAY + 1
    for n, frame in enumerate(out[begun:]):
        assert (frame == 1000 + n).all()


def test_packets_of_another_length_keep_their_place() -> None:
    """30 ms: every second packet begins between two frames, also when two come at once after a silence."""
    course = Course()
    course.run(SECOND)
    course.silent(10)
    sound = np.arange(1000, 1000 + 6 * 240, dtype=np.int16)
    start = (course.next + 10) * FRAME + 57
    for packet in range(6):
        stamp = np.array([start + packet * 240], np.uint32)
        course.buffers.insert(SLOT, stamp, sound[None, packet * 240 : (packet + 1) * 240])
    heard = np.concatenate([course.buffers.play(SLOT)[0] for _ in range(12)])
    first = int(np.flatnonzero(heard == 1000)[0])
    assert heard[first : first + sound.size].tolist() == sound.tolist()


def test_a_frame_left_out_in_loud_sound_gives_way_smoothly() -> None:
    """Full scale on both sides of the join: more than 16 bits between them."""
    buffers = JitterBuffers(1)
    buffers.open(0)
    heard = []
    for n in range(8 * SECOND):
        for number in range(6) if n == 0 else [n + 5]:  # all wait six frames longer than the first
            sound = np.full((1, FRAME), 30000 if number // 3 % 2 else -30000, np.int16)
            buffers.insert(SLOT, np.array([number * FRAME], np.uint32), sound)
        heard.append(buffers.play(SLOT)[0].astype(int))
    assert buffers.moved[0] > 0
    joins = [frame for frame in heard[1:] if abs(frame[0]) != 30000]
    assert joins
    for frame in joins:
        assert (np.diff(frame[:41]) * np.sign(frame[-1]) > 0).all()


def test_a_change_that_later_packets_rule_out_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[int] = []
    settle = JitterBuffers._settle

    def noting(self: JitterBuffers, slot: int, *rest: object) -> None:
        settled.append(int(self.clock[slot]))
        settle(self, slot, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(JitterBuffers, "_settle", noting)
    course = Course()
    course.put_up_to(8)
    while not course.buffers._change[0]:
        course.put([course.next])
        course.play()
    assert course.buffers._change[0] < -1
    kept = course.next
    course.silent(8)  # from now on the network takes that much longer: packets come just in time
    course.next = kept
    settled.clear()
    for _ in range(20 * SECOND):
        course.put([course.next])
        course.play()
    assert len(settled) <= PATIENCE
    assert course.buffers._settled[0]
