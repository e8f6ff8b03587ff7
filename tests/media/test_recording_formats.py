"""What is recorded, and in which format: judged by the sound in the files."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import (
    InlineWriter,
    Phone,
    Studio,
    Tone,
    read_mp3,
    read_sound,
    read_wav,
    rms,
    sine,
    tone_power,
    voice,
    write_wav,
)

from media import commands, mp3info, reports, writer
from media.mp3 import LONGEST_GAP, Mp3File
from media.rates import FRAME, RATE
from media.recorder import Recorder
from media.soundfile import open_regular

MP3_GAIN = 0.945
"""LAME leaves half a decibel of room against clipping."""


def loud(side: np.ndarray, threshold: float = 500) -> np.ndarray:
    return np.flatnonzero(np.abs(side) > threshold)


def stop(studio: Studio, count: int) -> list[reports.Recorded]:
    studio.do(*(commands.StopRecord(1, number) for number in range(1, count + 1)))
    studio.run(0.02)
    recorded = studio.reports(reports.Recorded)
    assert [(r.recording, r.why, r.reason) for r in recorded] == [(n, "stopped", "") for n in range(1, count + 1)]
    return recorded


@pytest.mark.parametrize("amplitude", [8000, 25000])
def test_four_recordings_of_a_stream_take_a_side_each(
    studio: Studio, phone: Phone, tone: Tone, tmp_path: Path, amplitude: int
) -> None:
    studio.connect(phone)
    paths = {sides: tmp_path / f"{sides}.wav" for sides in ("caller", "both", "mix", "engine")}
    for number, (sides, path) in enumerate(paths.items(), 1):
        studio.do(commands.Record(1, number, str(path), sides))
    if amplitude == 8000:
        studio.do(commands.Play(1, 1, [tone(440, 1)]))
    else:
        studio.do(commands.SendDigits(1, "5", "inband", 500, 0))
    studio.talk(phone, sine(1000, 1.0, amplitude))
    stop(studio, 4)
    left, right = read_wav(paths["both"]).T
    assert tone_power(left[2000:6000], 1000) == pytest.approx(amplitude, rel=0.05)
    assert rms(right) > 2000
    assert tone_power(right[2000:6000], 1000) < 50
    assert np.array_equal(read_wav(paths["caller"], 1)[:, 0], left)
    assert np.array_equal(read_wav(paths["engine"], 1)[:, 0], right)
    mix = read_wav(paths["mix"], 1)[:, 0]
    assert np.array_equal(mix, np.clip(left + right, -32768, 32767))
    assert (np.abs(left + right).max() > 32768) == (amplitude > 8000)


def test_recordings_of_a_stream_begin_and_end_by_themselves(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    prompt = write_wav(tmp_path / "prompt.wav", voice(2.0))
    studio.do(commands.Record(1, 1, str(tmp_path / "call.wav")), commands.Play(1, 1, [prompt]))
    studio.run(0.5)
    studio.do(commands.Record(1, 2, str(tmp_path / "message.wav"), "engine"))
    studio.run(0.5)
    studio.do(commands.StopRecord(1, 2))
    studio.run(0.5)
    studio.drop()
    studio.tick()
    studio.tick()
    ends = [(r.recording, r.why, r.seconds) for r in studio.reports(reports.Recorded)]
    assert ends == [
        (2, "stopped", pytest.approx(0.5, abs=0.021)),
        (1, "closed", pytest.approx(1.5, abs=0.021)),
    ]
    whole, part = read_wav(tmp_path / "call.wav")[:, 1], read_wav(tmp_path / "message.wav", 1)[:, 0]
    at = np.correlate(whole, part, "valid").argmax() / RATE
    assert at == pytest.approx(0.5, abs=0.021)


def test_mp3_sounds_like_wav_at_the_same_time(studio: Studio, phone: Phone, tone: Tone, tmp_path: Path) -> None:
    studio.connect(phone)
    studio.do(
        commands.Record(1, 1, str(tmp_path / "a.wav")),
        commands.Record(1, 2, str(tmp_path / "a.mp3"), format="mp3"),
        commands.Record(1, 3, str(tmp_path / "mono.mp3"), "caller", "mp3"),
    )
    studio.talk(phone, np.zeros(RATE // 2))
    studio.talk(phone, sine(1000, 0.5))
    studio.do(commands.Play(1, 1, [tone(440, 0.5)]))
    studio.talk(phone, np.zeros(RATE))
    recorded = stop(studio, 3)
    plain, packed = read_wav(tmp_path / "a.wav"), read_mp3(tmp_path / "a.mp3")
    assert len(plain) == len(packed) == round(recorded[1].seconds * RATE)
    for side, hertz in ((0, 1000), (1, 440)):
        sounding = loud(plain[:, side])
        first, last = sounding[0], sounding[-1]
        assert tone_power(packed[first + 200 : last - 200, side], hertz) == pytest.approx(8000, rel=0.1)
        assert tone_power(packed[first + 200 : last - 200, 1 - side], hertz) < 80
        assert abs(loud(packed[:, side], 2000)[0] - first) <= 40
        assert abs(loud(packed[:, side], 2000)[-1] - last) <= 40
    assert rms(packed / MP3_GAIN - plain) < 0.05 * rms(plain)
    mono = read_mp3(tmp_path / "mono.mp3", 1)[:, 0]
    assert rms(mono / MP3_GAIN - plain[:, 0]) < 0.05 * rms(plain[:, 0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_mp3_has_the_length_it_should_and_its_sound_in_place(
    tmp_path_factory: pytest.TempPathFactory, data
) -> None:
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    channels = data.draw(st.integers(1, 2))
    file = Mp3File(open_regular(path), channels, resume=False)
    index = 0
    for count, gap in data.draw(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=6)):
        index += gap
        time_in = (index * FRAME + np.arange(count * FRAME)) / RATE
        frames = (8000 * np.sin(2 * np.pi * 600 * time_in)).astype(np.int16).reshape(count, 1, FRAME)
        file.write(index, np.repeat(frames, channels, axis=1))
        index += count
    last_from = index - count
    frames = data.draw(st.integers(max(1, index - 40), index + 20))
    cut = mp3info.seconds(path)
    assert 0 <= index * 0.02 - cut < 0.3
    file.close(frames)
    assert mp3info.seconds(path) == pytest.approx(frames * 0.02)
    sound = read_mp3(path, channels)
    assert len(sound) == frames * FRAME
    whole = sound[last_from * FRAME : index * FRAME]
    if count >= 10 and len(whole) == count * FRAME:
        reference = np.sin(2 * np.pi * 600 * (last_from * FRAME + np.arange(len(whole))) / RATE)
        in_phase = 2 * np.mean(whole * reference[:, None], axis=0)
        assert in_phase == pytest.approx(np.full(channels, 8000), rel=0.1)


@pytest.mark.parametrize("content", [b"", b"\xff\xe3\x48\x04", b"\xff\xe3\x48\x04" + bytes(400), b"RIFF" * 100])
def test_what_is_not_an_mp3_of_ours_has_no_length(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(content)
    with pytest.raises(ValueError, match="not one of our"):
        mp3info.seconds(tmp_path / "a.mp3")


def test_an_mp3_without_any_sound_can_be_opened(tmp_path: Path) -> None:
    Mp3File(open_regular(tmp_path / "a.mp3"), 2, resume=False).close(0)
    sound = read_mp3(tmp_path / "a.mp3")
    assert len(sound) < 0.1 * RATE
    assert rms(sound) == 0


def test_a_gap_too_long_to_encode_ends_an_mp3(tmp_path: Path) -> None:
    file = Mp3File(open_regular(tmp_path / "a.mp3"), 1, resume=False)
    with pytest.raises(OSError, match="missing"):
        file.write(LONGEST_GAP // FRAME + 1, np.zeros((1, 1, FRAME), np.int16))
    file.close()


# --- kills ------------------------------------------------------------------------------


class Source:
    """A tone into a recorder, frame by frame."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.frames = 0

    def feed(self, count: int) -> None:
        for _ in range(count):
            time_in = (self.frames * FRAME + np.arange(FRAME)) / RATE
            sound = (8000 * np.sin(2 * np.pi * 500 * time_in)).astype(np.int16)[None]
            self.recorder.feed(np.array([0]), sound, sound // 2)
            self.frames += 1

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, what
            self.recorder.poll(time.monotonic())
            time.sleep(0.01)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_kill_leaves_a_playable_file_and_a_new_writer_goes_on(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    recorder = Recorder(1)
    source = Source(recorder)
    recorder.start(0, commands.Record(1, 1, str(path), format=suffix))
    source.feed(150)
    octets = 44 + 150 * 640 if suffix == "wav" else 288 * 37
    source.until(lambda: path.exists() and path.stat().st_size >= octets, "3 s of sound")
    process = recorder._scribe._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    sound = read_sound(path)
    assert 2.5 * RATE <= len(sound) <= 3 * RATE
    assert tone_power(sound[400:16400, 0], 500) == pytest.approx(8000, rel=0.1)
    assert tone_power(sound[400:16400, 1], 500) == pytest.approx(4000, rel=0.1)
    source.feed(150)
    source.until(lambda: recorder._scribe._link is None, "the loss is seen")
    recorder.stop(0, 1)
    source.until(lambda: bool(recorder.done), "the end")
    recorder.close()
    assert recorder.done[0].seconds == pytest.approx(6.0)
    sound = read_sound(path)
    assert len(sound) == 6 * RATE
    reference = 8000 * np.sin(2 * np.pi * 500 * np.arange(6 * RATE) / RATE)
    windows = (sound[:, 0] - reference).reshape(-1, RATE // 10)
    wrong = [rms(window) > 800 for window in windows]
    assert sum(wrong) <= (0 if suffix == "wav" else 4)  # what the killed encoder held is silence


def test_a_writer_whose_worker_is_gone_completes_an_mp3(tmp_path: Path) -> None:
    pump = InlineWriter()
    recorder = Recorder(1, pump.connect)
    source = Source(recorder)
    recorder.start(0, commands.Record(1, 1, str(tmp_path / "a.mp3"), format="mp3"))
    source.feed(100)
    recorder.poll(1.0)
    pump.pump(1.0)
    source.feed(50)
    assert pump.writer is not None
    pump.writer.close()
    sound = read_mp3(tmp_path / "a.mp3")
    assert len(sound) == 3 * RATE
    assert tone_power(sound[400:23600, 0], 500) == pytest.approx(8000, rel=0.1)


def test_more_mp3_than_can_be_encoded_are_refused(
    studio: Studio, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MP3_AT_MOST", 1)
    studio.connect(phone)
    for number, name in enumerate(("a.mp3", "b.mp3", "c.wav"), 1):
        studio.do(commands.Record(1, number, str(tmp_path / name), "mix", name[-3:]))
    studio.run(0.2)
    (refused,) = studio.reports(reports.Recorded)
    assert (refused.recording, refused.why) == (2, "failed")
    assert "MP3" in refused.reason
    assert not (tmp_path / "b.mp3").exists()
    studio.do(commands.StopRecord(1, 1), commands.Record(1, 4, str(tmp_path / "d.mp3"), "mix", "mp3"))
    studio.run(0.2)
    assert {r.recording for r in studio.reports(reports.Recorded) if r.why == "failed"} == {2}
