"""Recordings: aligned, complete, and readable whatever happens."""

import mmap
import os
import signal
import time
import wave
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import InlineWriter, Phone, Studio, Tone, read_wav, rms, sine, tone_power

from media import commands, reports, wav
from media.rates import FRAME, RATE
from media.recorder import Recorder
from media.ring import Ring, create
from media.scribe import RESTART_AFTER
from media.writer import Begin, Finish, Writer, Written


def loud(side: np.ndarray, threshold: float = 500) -> np.ndarray:
    return np.flatnonzero(np.abs(side) > threshold)


def test_caller_left_and_prompt_right_at_the_same_time(
    studio: Studio, phone: Phone, tone: Tone, tmp_path: Path
) -> None:
    path = tmp_path / "2026" / "11" / "call.wav"
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path)))
    studio.talk(phone, np.zeros(RATE // 2))
    studio.do(commands.Play(1, 1, [tone(440, 0.5)]))
    studio.talk(phone, np.concatenate([sine(1000, 0.5), np.zeros(RATE)]))
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    recorded = studio.last(reports.Recorded)
    assert (recorded.path, recorded.lost, recorded.reason) == (str(path), 0, "")
    assert recorded.seconds == pytest.approx(2.0, abs=0.02)
    sound = read_wav(path)
    assert len(sound) == recorded.seconds * RATE
    left, right = sound[:, 0], sound[:, 1]
    assert tone_power(left[loud(left)[0] :][200:3800], 1000) == pytest.approx(8000, rel=0.05)
    assert tone_power(right[loud(right)[0] :][200:3800], 440) == pytest.approx(8000, rel=0.1)
    # Both were heard by the caller at the same time; the jitter buffer holds back what comes in.
    assert 0 <= (loud(left)[0] - loud(right)[0]) / RATE <= 0.06
    assert loud(right)[-1] - loud(right)[0] == pytest.approx(4000, abs=10)
    assert loud(left)[-1] - loud(left)[0] == pytest.approx(4000, abs=10)


def test_a_lossy_network_does_not_shift_the_sides(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path)))
    rng = Random(3)
    beeps = np.concatenate([np.concatenate([sine(700, 0.1), np.zeros(3200)]) for _ in range(10)])
    for start in range(0, len(beeps), FRAME):
        packet = phone.sound(beeps[start : start + FRAME])
        if rng.random() > 0.1:
            phone.raw(packet)
        if rng.random() < 0.1:
            phone.raw(packet)
        studio.run(0.02)
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    left = read_wav(path)[:, 0]
    energy = np.array([rms(part) for part in left[: len(left) // 4000 * 4000].reshape(-1, 4000)])
    assert len(energy) == 10
    assert (energy > 1000).all()
    centre = [np.average(np.arange(4000), weights=part**2) for part in left[:40000].reshape(-1, 4000)]
    assert np.ptp(centre) < 700


def test_a_new_recording_ends_the_old_one_and_drop_ends_both(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(tmp_path / "a.wav")))
    studio.run(0.5)
    studio.do(commands.Record(1, 1, str(tmp_path / "b.wav")))
    studio.run(0.3)
    studio.drop()
    studio.tick()
    studio.tick()
    assert [(Path(r.path).name, r.seconds) for r in studio.reports(reports.Recorded)] == [
        ("a.wav", pytest.approx(0.5, abs=0.021)),
        ("b.wav", pytest.approx(0.3, abs=0.021)),
    ]
    assert studio.plane.idle


def test_missed_time_is_silence(studio: Studio, phone: Phone, tone: Tone, tmp_path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(tmp_path / "a.wav")), commands.Play(1, 1, [tone(440, 3)]))
    studio.run(0.2)
    studio.now += 1.0
    studio.tick(skipped=50)
    studio.run(0.2)
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    right = read_wav(tmp_path / "a.wav")[:, 1]
    assert len(right) / RATE == pytest.approx(1.4, abs=0.03)
    assert rms(right[round(0.3 * RATE) : round(1.1 * RATE)]) == 0


def test_a_folder_that_cannot_be_made(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    studio.connect(phone)
    for path in (tmp_path / "file" / "a.wav", Path("/dev/full")):
        studio.do(commands.Record(1, 1, str(path)))
        studio.run(0.1)
        recorded = studio.last(reports.Recorded)
        assert recorded.path == str(path)
        assert recorded.reason
    assert len(phone.take()) >= 8
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.1)
    assert len(studio.reports(reports.Recorded)) == 2


# --- ring and writer --------------------------------------------------------------------


def frame(value: int) -> np.ndarray:
    return np.full((1, FRAME), value, np.int16)


def numbered(path: Path) -> list[tuple[int, int]]:
    """The value of each side in each frame."""
    return [(int(left), int(right)) for left, right in read_wav(path)[80::FRAME]]


def test_a_full_ring_loses_sound_but_not_time(tmp_path: Path) -> None:
    pump = InlineWriter()
    recorder = Recorder(4, pump.connect, cells=10)
    recorder.start(2, commands.Record(7, 1, str(tmp_path / "a.wav")))
    for n in range(1, 16):
        recorder.feed(np.array([2]), frame(n), frame(-n))
    recorder.poll(1.0)
    pump.pump(1.0)
    for n in range(16, 19):
        recorder.feed(np.array([2]), frame(n), frame(-n))
    recorder.stop(2, 1)
    for now in (2.0, 3.0):
        recorder.poll(now)
        pump.pump(now)
    assert recorder.dropped == 5
    (recorded,) = recorder.done
    assert (recorded.stream, recorded.seconds, recorded.lost) == (7, 18 * 0.02, 5 * FRAME)
    values = [n if n <= 10 or n > 15 else 0 for n in range(1, 19)]
    assert numbered(tmp_path / "a.wav") == [(v, -v) for v in values]


def test_sound_takes_memory_only_until_it_is_written(tmp_path: Path) -> None:
    pump = InlineWriter()
    recorder = Recorder(4, pump.connect, cells=4096)
    recorder.start(2, commands.Record(7, 1, str(tmp_path / "a.wav")))
    held = []
    for n in range(10_000):
        recorder.feed(np.array([2]), frame(n), frame(-n))
        if n % 1000 == 999:
            held.append(os.fstat(pump.ring_fd).st_blocks * 512)
            recorder.poll(n / 50)
            pump.pump(n / 50)
            held.append(os.fstat(pump.ring_fd).st_blocks * 512)
    recorder.stop(2, 1)
    recorder.poll(300.0)
    pump.pump(300.0)
    assert max(held[0::2]) >= 1000 * 640
    assert max(held[1::2]) <= 4096 * 8 + 20 * mmap.PAGESIZE
    assert numbered(tmp_path / "a.wav") == [(n, -n) for n in range(10_000)]


def test_what_was_written_is_not_given_up_to_new_sound_before_its_memory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer may be killed between the two; the next one goes on after what is written."""
    ring = Ring(create(100))
    first = Writer(ring)
    with monkeypatch.context() as patched:
        patched.setattr(Ring, "free", lambda self: None)
        first.handle(Begin(1, str(tmp_path / "a.wav")))
        ring.numbers[:60], ring.indexes[:60], ring.head = 1, np.arange(60), 60
        ring.sound[:60] = 5
        first.handle(Written(60))
    assert (ring.tail, ring.room) == (60, 40)
    second = Writer(ring)
    second.handle(Begin(1, str(tmp_path / "a.wav"), resume=True))
    ring.numbers[60:70], ring.indexes[60:70], ring.head = 1, np.arange(60, 70), 70
    ring.sound[60:70] = 5
    second.handle(Written(70))
    assert ring.room == 100
    second.handle(Finish(1, 70, 70))
    assert numbered(tmp_path / "a.wav") == [(5, 5)] * 70


class Course:
    """Recordings of four slots, and what must be in their files in the end: a value for each frame."""

    def __init__(self, folder: Path, cells: int) -> None:
        self.pump = InlineWriter()
        self.recorder = Recorder(4, self.pump.connect, cells=cells)
        self.folder = folder
        self.expected: dict[str, list[int]] = {}
        self.running: dict[tuple[int, int], str] = {}
        self.paused: set[str] = set()
        self.at_edge: set[str] = set()
        self.value, self.now = 0, 0.0

    def start(self, slot: int, number: int) -> None:
        name = f"{len(self.expected)}.wav"
        self.recorder.start(slot, commands.Record(slot, number, str(self.folder / name)))
        self.running[slot, number], self.expected[name] = name, []

    def stop(self, slot: int, number: int) -> None:
        self.recorder.stop(slot, number)
        self.running.pop((slot, number), None)

    def feed(self, slot: int, number: int) -> None:
        slots = np.unique([slot for slot, _ in self.running]).astype(int)
        if not slots.size:
            return
        self.value += 1
        sound = np.repeat((self.value + 100 * slots).astype(np.int16)[:, None], FRAME, axis=1)
        self.recorder.feed(slots, sound, -sound)
        for (slot, _), name in self.running.items():
            if name not in self.paused:
                self.expected[name].append(self.value + 100 * slot)
            elif name in self.at_edge:
                self.expected[name].append(0)  # gone by the middle of the frame, where it is looked at
        self.at_edge.clear()

    def skip(self, slot: int, number: int) -> None:
        self.recorder.skip(np.array([slot]), 2)
        for (other, _), name in self.running.items():
            if other == slot and (name not in self.paused or name in self.at_edge):
                self.expected[name] += [0, 0]

    def pause(self, slot: int, number: int) -> None:
        name = self.running.get((slot, number), "")
        self.recorder.pause(slot, number, on=name not in self.paused)
        if name:
            self.paused ^= {name}
            self.at_edge ^= {name}

    def write(self, slot: int, number: int) -> None:
        self.now += 1
        self.recorder.poll(self.now)
        self.pump.pump(self.now)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_course_of_recordings_lands_in_the_right_places(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    course = Course(tmp_path_factory.mktemp("rec"), data.draw(st.integers(8, 40)))
    actions = [
        course.start,
        course.stop,
        course.feed,
        course.feed,
        course.feed,
        course.write,
        course.skip,
        course.pause,
    ]
    for action in data.draw(st.lists(st.sampled_from(actions), min_size=1, max_size=60)):
        action(data.draw(st.integers(0, 3)), data.draw(st.integers(1, 2)))
    recorder = course.recorder
    for slot in range(4):
        recorder.drop(slot)
    for _ in range(3):
        course.write(0, 0)
    assert recorder.idle
    assert not recorder.active.any()
    assert len(recorder.done) == len(course.expected)
    for recorded in recorder.done:
        values = course.expected[Path(recorded.path).name]
        assert recorded.seconds == pytest.approx(len(values) * 0.02)
        found = numbered(Path(recorded.path))
        assert len(found) == len(values)
        lost = sum(sides == (0, 0) and value != 0 for value, sides in zip(values, found, strict=True))
        assert all(sides in ((value, -value), (0, 0)) for value, sides in zip(values, found, strict=True))
        assert lost <= recorded.lost / FRAME  # a lost frame may have been silent
    assert sum(recorded.lost for recorded in recorder.done) == recorder.dropped * FRAME


def test_a_new_writer_keeps_the_sound_of_all_recordings(tmp_path: Path) -> None:
    pump = InlineWriter()
    recorder = Recorder(4, pump.connect)
    for slot in range(3):
        recorder.start(slot, commands.Record(slot, 1, str(tmp_path / f"{slot}.wav")))
    for n in range(1, 11):
        sound = np.repeat(np.array([n, 20 + n, 40 + n], np.int16)[:, None], FRAME, axis=1)
        recorder.feed(np.arange(3), sound, -sound)
    for slot in range(2):
        recorder.stop(slot, 1)
    assert pump.link is not None
    pump.link.close()  # before it has read anything
    recorder.poll(1.0)
    recorder.poll(1.0 + RESTART_AFTER)
    recorder.stop(2, 1)
    for now in (3.0, 4.0):
        recorder.poll(now)
        pump.pump(now)
    recorder.poll(5.0)
    assert len(recorder.done) == 3
    for slot in range(3):
        assert numbered(tmp_path / f"{slot}.wav") == [(20 * slot + n, -20 * slot - n) for n in range(1, 11)]


def test_headers_say_the_size_every_second(tmp_path: Path) -> None:
    pump = InlineWriter()
    recorder = Recorder(4, pump.connect)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    for n in range(200):
        recorder.feed(np.array([0]), frame(n), frame(n))
        recorder.poll(n * 0.02)
        pump.pump(n * 0.02)
        assert len(read_wav(tmp_path / "a.wav")) >= (n - 65) * FRAME


def test_header_is_what_the_standard_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(640 * 3))
    assert path.read_bytes()[:44] == wav.header(3, 2)


def test_a_killed_writer_is_started_again_and_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(4)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    value = 0

    def feed(count: int) -> None:
        nonlocal value
        for _ in range(count):
            value += 1
            recorder.feed(np.array([0]), frame(value), frame(-value))

    def wait(condition, what: str) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, what
            recorder.poll(time.monotonic())
            time.sleep(0.01)

    path = tmp_path / "a.wav"
    feed(50)
    wait(lambda: path.exists() and path.stat().st_size >= 44 + 50 * 640, "first part")
    first = recorder._scribe._process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    feed(50)
    wait(lambda: recorder._scribe._link is None, "the loss is seen")
    feed(50)
    first.wait()
    recorder.poll(time.monotonic())
    began = time.monotonic()
    second = recorder._scribe._process
    assert recorder._scribe._link is not None, "one that has worked for long is replaced at once"
    assert second is not None
    os.kill(second.pid, signal.SIGKILL)
    wait(lambda: recorder._scribe._link is None, "the second loss is seen")
    wait(lambda: recorder._scribe._link is not None, "a third writer")
    assert time.monotonic() - began >= RESTART_AFTER
    recorder.stop(0, 1)
    wait(lambda: bool(recorder.done), "the end")
    assert recorder.done[0].seconds == pytest.approx(3.0)
    assert numbered(path) == [(n, -n) for n in range(1, 151)]
    third = recorder._scribe._process
    recorder.close()
    assert third is not None
    assert third.returncode == 0


@pytest.mark.parametrize("loss_is_seen", [True, False])
def test_a_worker_that_leaves_without_a_writer_starts_one(tmp_path: Path, loss_is_seen: bool) -> None:
    """The control process is killed while a killed writer has no successor yet: sound in the ring is written."""
    recorder = Recorder(4)
    path = tmp_path / "a.wav"
    recorder.start(0, commands.Record(1, 1, str(path)))
    recorder.poll(time.monotonic())
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, "the first writer"
        time.sleep(0.01)
    recorder._scribe._tried_at = time.monotonic()  # as if it were the successor of one that has just been killed
    for n in range(1, 151):
        recorder.feed(np.array([0]), frame(n), frame(-n))
    first = recorder._scribe._process
    assert first is not None
    first.kill()
    first.wait()
    if loss_is_seen:
        recorder.poll(time.monotonic())
        recorder.poll(time.monotonic())
        assert recorder._scribe._link is None
    recorder.close()
    assert recorder._scribe._process is not first
    assert numbered(path) == [(n, -n) for n in range(1, 151)]
