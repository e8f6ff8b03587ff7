"""Ticks that come late: what was said and played is recorded all the same, each frame once and in its place."""

from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, Studio, read_wav, samples_of, write_wav

from media import commands, dtmf, g711, reports, rtp
from media.cadence import Cadence
from media.g711 import Law
from media.rates import FRAME, FRAME_SECONDS, RATE


def noise(seconds: float, seed: int) -> np.ndarray:
    """Sound whose every frame is another one, as G.711 leaves it."""
    loud = np.random.default_rng(seed).integers(-9000, 9000, round(RATE * seconds)).astype(np.int16)
    return g711.decode(g711.encode(loud, Law.PCMU), Law.PCMU)


class Course:
    """A caller who talks on while the ticks of the worker are late, both in virtual time."""

    def __init__(self, studio: Studio, phone: Phone, said: np.ndarray) -> None:
        self.studio, self.phone = studio, phone
        self.frames = said.reshape(-1, FRAME)
        self.sent = 0
        self.came: list[bytes] = []
        self.skipped = 0
        self.worst = 0.0
        self.cadence = Cadence(studio.now)
        self.begun = studio.now

    def tick(self, stall: float = 0.0, work: float = 0.0) -> None:
        """The next tick, after the process stood still for ``stall`` seconds; ``work`` is what it takes."""
        studio = self.studio
        studio.now = max(studio.now, self.cadence.due) + stall
        while self.sent < len(self.frames) and self.begun + self.sent * FRAME_SECONDS <= studio.now + 1e-9:
            self.phone.raw(self.phone.sound(self.frames[self.sent]))
            self.sent += 1
        tick = self.cadence.begin(studio.now)
        self.skipped += tick.skipped
        self.worst = max(self.worst, tick.late)
        studio.plane.tick(studio.now, tick.number, tick.skipped, tick.behind)
        studio.written.pump(studio.now)
        studio.collect()
        self.came += self.phone.take()
        studio.now += work

    def run(self, seconds: float, work: float = 0.0) -> None:
        """Ticks for so long, each of which takes ``work`` seconds."""
        until = self.studio.now + seconds
        while self.studio.now < until:
            self.tick(work=work)

    def record(self, path: Path, prompt: str) -> None:
        self.studio.do(commands.Record(1, 1, str(path)), commands.Play(1, 1, [prompt]))

    def recorded(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Both sides of the recording, which ends."""
        self.studio.do(commands.StopRecord(1, 1))
        self.run(0.05)
        recorded = self.studio.last(reports.Recorded)
        assert (recorded.reason, recorded.lost) == ("", 0)
        sound = read_wav(path).astype(np.int16)
        return sound[:, 0].reshape(-1, FRAME), sound[:, 1].reshape(-1, FRAME)

    def assert_what_was_said(self, left: np.ndarray) -> int:
        """``left`` has all that was said, in order and at once; returns with which frame it begins."""
        loud = np.flatnonzero(left.any(axis=1))
        first = int(loud[0])
        assert left[first : first + self.sent].tolist() == self.frames[: self.sent].tolist()
        return first

    def assert_what_was_sent(self, right: np.ndarray, prompt: np.ndarray) -> int:
        """``right`` is what the caller got, at the times that its timestamps tell, and the whole of ``prompt``; returns
        with which frame the prompt begins.
        """
        stamps = [rtp.parse(packet).timestamp for packet in self.came]
        sounds = {
            rtp.timestamp_delta(stamp, stamps[0]) // FRAME: samples_of(packet).astype(np.int16)
            for stamp, packet in zip(stamps, self.came, strict=True)
        }
        begin = int(np.flatnonzero(right.any(axis=1))[0])
        shift = next(place for place, sound in sounds.items() if sound.any()) - begin
        for place in range(begin, len(right)):
            sent = sounds.get(place + shift)
            assert np.array_equal(right[place], np.zeros(FRAME) if sent is None else sent), place
        played = right[right.any(axis=1)]
        assert played.tolist() == prompt.reshape(-1, FRAME)[: len(played)].tolist()
        return begin


@pytest.fixture
def prompt() -> np.ndarray:
    return noise(8.0, 2)


def course_of(studio: Studio, phone: Phone, seconds: float = 4.0) -> Course:
    studio.connect(phone)
    return Course(studio, phone, noise(seconds, 1))


@pytest.mark.parametrize("stalls", [(0.06,), (0.195,), (0.06, 0.2, 0.19), (0.23,), (0.6,), (0.3, 0.25, 0.9)])
def test_a_late_tick_leaves_nothing_out_of_a_recording(
    studio: Studio, phone: Phone, tmp_path: Path, prompt: np.ndarray, stalls: tuple[float, ...]
) -> None:
    course = course_of(studio, phone)
    path = tmp_path / "call.wav"
    course.record(path, write_wav(tmp_path / "prompt.wav", prompt))
    course.run(0.5)
    for stall in stalls:
        course.tick(stall)
        course.run(0.3)
    course.run(4.0)
    left, right = course.recorded(path)
    assert course.worst >= max(stalls) - 0.001
    assert bool(course.skipped) is (max(stalls) >= 0.2)
    assert course.sent == len(course.frames)
    assert abs(course.assert_what_was_said(left) - course.assert_what_was_sent(right, prompt)) <= 2
    assert len(left) * FRAME_SECONDS == pytest.approx(studio.now - course.begun, abs=0.08)


def test_ticks_that_are_late_for_long_do_not_change_the_delay(
    studio: Studio, phone: Phone, tmp_path: Path, prompt: np.ndarray
) -> None:
    """What waits for a late tick says nothing of the network: no frame is dropped for it, and none is missing when the
    ticks are in time again.
    """
    course = course_of(studio, phone, 24.0)
    path = tmp_path / "call.wav"
    course.record(path, write_wav(tmp_path / "prompt.wav", prompt))
    course.run(1.0)
    for _ in range(2):
        course.tick(0.18)
        course.run(8.0, work=0.005)
        course.run(3.0)
    course.run(3.0)
    left, right = course.recorded(path)
    assert not course.skipped
    course.assert_what_was_said(left)
    course.assert_what_was_sent(right, prompt)
    assert studio.plane._jitter.moved.sum() == 0


def test_a_call_that_begins_while_ticks_are_late(
    studio: Studio, phone: Phone, tmp_path: Path, prompt: np.ndarray
) -> None:
    """Its delay is the one that is right once they are in time."""
    studio.connect(phone)
    course = Course(studio, phone, noise(4.0, 1))
    course.begun += 1.0
    path = tmp_path / "call.wav"
    course.record(path, write_wav(tmp_path / "prompt.wav", prompt))
    course.tick(0.15)
    course.run(2.0, work=0.005)
    course.run(4.0)
    left, right = course.recorded(path)
    course.assert_what_was_sent(right, prompt)
    first = np.flatnonzero(left.any(axis=1))[0]
    begun = np.flatnonzero((left[first] != 0).any() & (course.frames[:3] == left[first]).all(axis=1))
    assert begun.size  # what came before the kernel filters the port is thrown away
    said = course.frames[begun[0] :]
    assert left[first : first + len(said)].tolist() == said.tolist()
    assert int(studio.plane._jitter.late.sum()) == 0
    assert (first - begun[0]) * FRAME_SECONDS <= 1.0 + 3 * FRAME_SECONDS


def test_a_stop_of_seconds_is_silence_and_shifts_nothing(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    course = course_of(studio, phone, 8.0)
    path = tmp_path / "call.wav"
    studio.do(commands.Record(1, 1, str(path)))
    course.run(0.5)
    course.tick(3.0)
    course.run(6.0)
    left, _ = course.recorded(path)
    first = int(np.flatnonzero(left.any(axis=1))[0])
    kept = (left[first : first + course.sent] == course.frames[: course.sent]).all(axis=1)
    missing = np.flatnonzero(~kept)
    assert 0 < missing.size <= 2.2 / FRAME_SECONDS
    assert missing[-1] - missing[0] <= 2.2 / FRAME_SECONDS


def test_a_key_is_heard_though_no_tick_was_in_time(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    keys = np.concatenate([np.zeros(RATE, np.int16), dtmf.tones("5", 100, 200).astype(np.int16), np.zeros(RATE)])
    course = Course(studio, phone, keys[: keys.size // FRAME * FRAME])
    course.run(0.9)
    course.tick(0.5)
    course.run(0.3)
    assert [report.digit for report in studio.reports(reports.DigitHeard)] == ["5"]


def test_a_recording_waits_for_its_beep_though_the_tick_is_late(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    course = course_of(studio, phone)
    course.run(0.2)
    path = tmp_path / "call.wav"
    studio.do(commands.Record(1, 1, str(path), beep=True))
    course.tick(0.4)
    course.run(2.0)
    _, right = course.recorded(path)
    assert not right.any()  # the beep is not in it
