"""Disks that are full, slow, gone: a recording ends with an event or loses counted sound, and nothing else notices."""

import contextlib
import gc
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media_studio import InlineWriter, Phone, Studio, Tone, read_sound, read_wav, rms, sine, tone_power

from media import commands, reports, writer
from media.process import SERVING_NICENESS
from media.rates import FRAME, RATE
from media.recorder import Recorder
from media.ring import Ring, create
from media.scribe import GIVE_UP_AFTER, RESTART_AFTER, STUCK_AFTER
from media.wav import WavFile


@contextlib.contextmanager
def no_bigger_than(octets: int) -> Iterator[None]:
    """Files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def by_number(studio: Studio) -> dict[int, reports.Recorded]:
    recorded = {report.recording: report for report in studio.reports(reports.Recorded)}
    assert len(recorded) == len(studio.reports(reports.Recorded))
    return recorded


def talk_undisturbed(studio: Studio, phone: Phone, seconds: float) -> None:
    """The caller sends 700 Hz, and hears the prompt of 440 Hz without a gap."""
    frames = round(seconds * RATE) // FRAME
    packets = studio.talk(phone, sine(700, seconds))
    ours = packets[len(packets) // 2][8:12]  # other programs may send to the port that this phone happened to get
    packets = [packet for packet in packets if packet[8:12] == ours]
    assert abs(len(packets) - frames) <= 1
    stamps = [int.from_bytes(packet[4:8], "big") for packet in packets]
    assert set(np.diff(stamps)) == {FRAME}


def assert_whole(path: Path, recorded: reports.Recorded, seconds: float) -> None:
    assert (recorded.why, recorded.lost) == ("stopped", 0)
    assert recorded.seconds == pytest.approx(seconds, abs=0.021)
    left, right = read_wav(path).T
    assert tone_power(left[1000:], 700) == pytest.approx(8000, rel=0.05)
    assert tone_power(right[1000:], 440) == pytest.approx(8000, rel=0.05)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_full_disk_ends_its_recording_alone(
    studio: Studio, phone: Phone, tone: Tone, tmp_path: Path, small_disk: Path, suffix: str
) -> None:
    full, other = small_disk / f"a.{suffix}", tmp_path / "b.wav"
    if suffix == "mp3":
        (small_disk / "other").write_bytes(bytes(50 * 1024))
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 8)]))
    studio.do(commands.Record(1, 1, str(full), format=suffix), commands.Record(1, 2, str(other)))
    talk_undisturbed(studio, phone, 6.0)
    ended = by_number(studio)
    assert set(ended) == {1}
    assert ended[1].why == "failed"
    assert "No space left" in ended[1].reason
    sound = read_sound(full)
    assert len(sound) / RATE == pytest.approx(ended[1].seconds, abs=0.5)
    assert len(sound) > 1.0 * RATE
    assert tone_power(sound[1000 : RATE - 1000, 0], 700) == pytest.approx(8000, rel=0.1)
    studio.do(commands.StopRecord(1, 1), commands.StopRecord(1, 2))
    studio.run(0.02)
    assert_whole(other, by_number(studio)[2], 6.0)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_quota_ends_the_recording_that_meets_it(
    studio: Studio, phone: Phone, tone: Tone, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 8)]), commands.Record(1, 1, str(path), format=suffix))
    with no_bigger_than(44 + 100 * 640 + 300 if suffix == "wav" else 288 * 30 + 100):
        talk_undisturbed(studio, phone, 4.0)
    (recorded,) = studio.reports(reports.Recorded)
    assert recorded.why == "failed"
    assert "File too large" in recorded.reason
    sound = read_sound(path)
    assert 1.0 * RATE < len(sound) < 2.4 * RATE
    assert tone_power(sound[1000:RATE, 0], 700) == pytest.approx(8000, rel=0.1)


def test_a_disk_that_is_full_from_the_beginning(studio: Studio, phone: Phone, small_disk: Path, tmp_path: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    studio.connect(phone)
    for number, suffix in enumerate(("wav", "mp3")):
        studio.do(commands.Record(1, number, str(small_disk / f"a.{suffix}"), format=suffix))
    studio.run(0.2)
    assert [(r.why, r.seconds) for r in studio.reports(reports.Recorded)] == [("failed", 0.0)] * 2


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_folder_that_vanishes(studio: Studio, phone: Phone, tone: Tone, tmp_path: Path, suffix: str) -> None:
    folder, other = tmp_path / "gone", tmp_path / "kept"
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 8)]))
    studio.do(commands.Record(1, 1, str(folder / f"a.{suffix}"), format=suffix))
    studio.do(commands.Record(1, 2, str(other / "b.wav")))
    talk_undisturbed(studio, phone, 0.5)
    shutil.rmtree(folder)
    other.rename(tmp_path / "moved")
    talk_undisturbed(studio, phone, 2.5)
    ended = by_number(studio)
    assert set(ended) == {1}
    assert ended[1].why == "failed"
    assert "removed" in ended[1].reason
    studio.do(commands.StopRecord(1, 2))
    studio.run(0.02)
    assert_whole(tmp_path / "moved" / "b.wav", by_number(studio)[2], 3.0)


def test_a_file_removed_just_before_the_end_is_told(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(tmp_path / "a.wav")))
    studio.run(0.1)
    (tmp_path / "a.wav").unlink()
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert studio.last(reports.Recorded).why == "failed"


def test_what_is_no_file_is_refused_without_waiting(studio: Studio, phone: Phone, tone: Tone, tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "a.wav"
    os.mkfifo(pipe)
    (tmp_path / "link.wav").symlink_to(file)
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 8)]), commands.Record(1, 0, str(file)))
    for number, path in enumerate((pipe, tmp_path, Path("/dev/full"))):
        studio.do(commands.Record(1, number + 1, str(path)))
    talk_undisturbed(studio, phone, 0.5)
    studio.do(commands.Record(1, 4, str(tmp_path / "link.wav")))
    talk_undisturbed(studio, phone, 0.5)
    ended = by_number(studio)
    assert {number: report.why for number, report in ended.items()} == dict.fromkeys((1, 2, 3, 4), "failed")
    assert "already" in ended[4].reason
    studio.do(commands.StopRecord(1, 0))
    studio.run(0.02)
    assert_whole(file, by_number(studio)[0], 1.0)


# --- writers that do not write ------------------------------------------------------------


class Call:
    """Frames with their number as sound, into a recorder under virtual time; measures how long it takes over them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.number = 0
        self.now = time.monotonic()
        self.longest = 0.0

    def run(self, frames: int) -> None:
        for _ in range(frames):
            self.number += 1
            self.now += 0.02
            sound = np.full((1, FRAME), self.number, np.int16)
            began = time.perf_counter()
            self.recorder.feed(np.flatnonzero(self.recorder.active[:1]), sound, -sound)
            self.recorder.poll(self.now)
            self.longest = max(self.longest, time.perf_counter() - began)

    def until(self, condition) -> None:
        """Real time, while nothing sounds."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            self.recorder.poll(self.now)
            time.sleep(0.01)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Let it stand still, and wait until it does."""
    os.kill(process.pid, signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        os.sched_yield()


def test_a_writer_that_stands_still_for_seconds_costs_counted_sound(tmp_path: Path) -> None:
    recorder = Recorder(1, cells=100)
    call = Call(recorder)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    process = recorder._scribe._process
    assert process is not None
    call.until((tmp_path / "a.wav").exists)
    stop(process)
    call.run(250)
    assert call.longest < 0.1
    assert recorder.dropped == 150
    os.kill(process.pid, signal.SIGCONT)
    call.until(lambda: recorder._ring.tail == 100)
    call.run(50)
    recorder.stop(0, 1)
    call.until(lambda: recorder.done)
    recorder.close()
    (recorded,) = recorder.done
    assert (recorded.why, recorded.seconds, recorded.lost) == ("stopped", pytest.approx(6.0), 150 * FRAME)
    left = read_wav(tmp_path / "a.wav")[::FRAME, 0]
    assert left.tolist() == [*range(1, 101), *[0] * 150, *range(251, 301)]


def test_a_writer_that_never_comes_back_is_replaced(tmp_path: Path) -> None:
    recorder = Recorder(1, cells=100)
    call = Call(recorder)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    first = recorder._scribe._process
    assert first is not None
    call.until((tmp_path / "a.wav").exists)
    stop(first)
    frames = round((STUCK_AFTER + 0.5) / 0.02)
    call.run(frames)
    assert call.longest < 0.1
    assert first.wait(5) == -signal.SIGKILL
    call.run(2)
    frames += 2
    assert recorder._scribe._process is not first
    recorder.stop(0, 1)
    call.until(lambda: recorder.done)
    recorder.close()
    (recorded,) = recorder.done
    assert (recorded.why, recorded.seconds) == ("stopped", pytest.approx(frames * 0.02))
    assert recorded.lost == (frames - 100) * FRAME
    left = read_wav(tmp_path / "a.wav")[::FRAME, 0]
    assert left.tolist() == [*range(1, 101), *[0] * (frames - 100)]


class Undying:
    """A process that a disk holds: a kill takes no effect."""

    def __init__(self) -> None:
        self.gone = False

    def kill(self) -> None:
        pass

    def poll(self) -> int | None:
        return -9 if self.gone else None

    def wait(self) -> int:
        raise AssertionError("the worker waits for a process that may never end")


def test_recordings_end_when_nobody_can_write_them(tmp_path: Path) -> None:
    pump, held = InlineWriter(), Undying()

    def connect(ring_fd: int):
        sock, _ = pump.connect(ring_fd)
        return sock, held

    recorder = Recorder(1, connect, cells=300)
    call = Call(recorder)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    recorder.start(0, commands.Record(1, 2, str(tmp_path / "b.wav")))
    call.run(75)
    recorder.stop(0, 2)
    recorder._scribe._told_at = 0.0
    recorder.poll(call.now)
    pump.pump(call.now)
    written = recorder._ring.tail
    assert written == 150
    call.run(round((STUCK_AFTER + GIVE_UP_AFTER + 0.2) / 0.02))
    assert recorder.idle
    assert not recorder.active.any()
    second, first = recorder.done
    assert (second.recording, second.why, second.seconds) == (2, "stopped", pytest.approx(1.5))
    assert (first.recording, first.why, first.seconds) == (1, "failed", pytest.approx(1.5))
    assert "does not answer" in first.reason
    assert first.lost == recorder.dropped * FRAME
    assert len(read_wav(tmp_path / "a.wav")) == 1.5 * RATE
    held.gone = True
    call.run(2)
    pump.pump(call.now)
    recorder.start(0, commands.Record(1, 3, str(tmp_path / "c.wav")))
    call.run(50)
    recorder.stop(0, 3)
    for _ in range(3):
        recorder.poll(call.now)
        pump.pump(call.now)
    third = recorder.done[-1]
    assert (third.recording, third.why, third.seconds, third.lost) == (3, "stopped", pytest.approx(1.0), 0)
    assert rms(read_wav(tmp_path / "c.wav")) > 0


def test_recordings_end_when_every_writer_dies_at_once(tmp_path: Path) -> None:
    connections = 0

    def connect(ring_fd: int):
        nonlocal connections
        connections += 1
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours, None

    recorder = Recorder(1, connect, cells=300)
    call = Call(recorder)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.wav")))
    call.run(round((GIVE_UP_AFTER - 0.5) / 0.02))
    assert not recorder.done
    call.run(round((RESTART_AFTER + 1.0) / 0.02))
    (recorded,) = recorder.done
    assert (recorded.why, recorded.seconds) == ("failed", 0.0)
    assert connections > 5


def test_a_writer_that_comes_late_begins_with_an_empty_file(tmp_path: Path) -> None:
    """What lies there is of another recording, and longer than ours."""
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(44 + 1000 * 640))
    pump, refusals = InlineWriter(), [OSError("no memory")]

    def connect(ring_fd: int):
        if refusals:
            raise refusals.pop()
        return pump.connect(ring_fd)

    recorder = Recorder(1, connect)
    call = Call(recorder)
    recorder.start(0, commands.Record(1, 1, str(path)))
    call.run(50)
    recorder._scribe._told_at = 0.0
    recorder.poll(call.now)
    pump.pump(call.now)
    assert read_wav(path)[::FRAME, 0].tolist() == list(range(1, 51))
    recorder.stop(0, 1)
    recorder.poll(call.now)
    pump.pump(call.now)
    recorder.poll(call.now)
    (recorded,) = recorder.done
    assert (recorded.why, recorded.seconds) == ("stopped", pytest.approx(1.0))


def test_a_writer_comes_after_its_worker_and_before_other_work() -> None:
    """In a session of its own, so that it does not share the raised niceness of the worker's scheduling group."""
    recorder = Recorder(1)
    process = recorder._scribe._process
    assert process is not None
    assert os.getsid(process.pid) == process.pid
    niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, SERVING_NICENESS)
    except PermissionError:
        assert niceness == os.getpriority(os.PRIO_PROCESS, 0)
    else:
        assert niceness == SERVING_NICENESS
    recorder.close()


# --- the writer --------------------------------------------------------------------------


def test_a_slow_disk_sees_the_ring_emptied_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(create(4 * writer.SPAN))
    seen: list[tuple[int, int]] = []
    write = WavFile.write

    def noting(self: WavFile, index: int, sound: np.ndarray) -> None:
        seen.append((ring.tail, ring.beats))
        write(self, index, sound)

    monkeypatch.setattr(WavFile, "write", noting)
    scribe = writer.Writer(ring)
    for number in (1, 2):
        scribe.handle(writer.Begin(number, str(tmp_path / f"{number}.wav")))
    head = 3 * writer.SPAN
    ring.numbers[:head] = np.arange(head) % 2 + 1
    ring.indexes[:head] = np.arange(head) // 2
    scribe.handle(writer.Written(head))
    tails, beats = zip(*seen, strict=True)
    assert tails == (0, 0, writer.SPAN, writer.SPAN, 2 * writer.SPAN, 2 * writer.SPAN)
    assert len(set(beats)) == len(beats)
    assert ring.tail == head
    before = ring.beats
    scribe.state(1.0)
    assert ring.beats >= before + 2
    scribe.close()
    assert [finished.frames for finished in scribe.finished] == [head // 2] * 2


@pytest.mark.parametrize("method", ["__init__", "write", "state", "complete"])
def test_any_failure_ends_its_recording_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    ring = Ring(create(100))
    gc.collect()  # descriptors of earlier tests
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    scribe = writer.Writer(ring)
    original = getattr(WavFile, method)

    def failing(self: WavFile, *rest: object, **named: object) -> None:
        fd = rest[0] if method == "__init__" else self.fd
        if Path(f"/proc/self/fd/{fd}").readlink().name == "1.wav":
            raise ZeroDivisionError
        original(self, *rest, **named)

    monkeypatch.setattr(WavFile, method, failing)
    for number in (1, 2):
        scribe.handle(writer.Begin(number, str(tmp_path / f"{number}.wav")))
    ring.numbers[:100] = np.arange(100) % 2 + 1
    ring.indexes[:100] = np.arange(100) // 2
    scribe.handle(writer.Written(100))
    scribe.state(1.0)
    for number in (1, 2):
        scribe.handle(writer.Finish(number, 100, 50))
    first, second = scribe.finished
    assert (first.recording, first.reason) == (1, "ZeroDivisionError")
    assert second == writer.Finished(2, 50)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_other_streams_do_not_notice_a_writer_that_stands_still(
    studio: Studio, phone: Phone, tone: Tone, tmp_path: Path
) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 8)]), commands.Record(1, 1, str(tmp_path / "a.wav")))
    talk_undisturbed(studio, phone, 0.5)
    pump, studio.written.pump = studio.written.pump, lambda now: None  # type: ignore[method-assign]
    talk_undisturbed(studio, phone, 3.0)
    studio.written.pump = pump  # type: ignore[method-assign]
    talk_undisturbed(studio, phone, 0.5)
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert_whole(tmp_path / "a.wav", by_number(studio)[1], 4.0)
