"""When a recording begins, pauses and ends: judged by what is in the file, and what the caller hears meanwhile."""

from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, Studio, Tone, read_sound, read_wav, rms, samples_of, sine, tone_power, voice

from media import commands, reports
from media.g711 import Law, decode, encode
from media.rates import FRAME, RATE
from media.recorder import AT_ONCE


def ends(studio: Studio) -> list[tuple[int, str, float]]:
    return [(r.recording, r.why, r.seconds) for r in studio.reports(reports.Recorded)]


def near(seconds: float, tolerance: float = 0.021) -> object:
    return pytest.approx(seconds, abs=tolerance)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.wav"


# --- limits and silence -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_limit_ends_one_recording_to_the_sample(studio: Studio, phone: Phone, tmp_path: Path, suffix: str) -> None:
    studio.connect(phone)
    limited, whole = tmp_path / f"limited.{suffix}", tmp_path / "whole.wav"
    studio.do(
        commands.Record(1, 1, str(limited), format=suffix, limit=1.0),
        commands.Record(1, 2, str(whole), limit=0.001),
        commands.Record(1, 3, str(whole.with_name("b.wav"))),
    )
    studio.talk(phone, sine(700, 2.0))
    assert ends(studio) == [(2, "limit", 0.02), (1, "limit", 1.0)]
    studio.do(commands.StopRecord(1, 1), commands.StopRecord(1, 3))
    studio.run(0.02)
    assert ends(studio)[2:] == [(3, "stopped", near(2.0))]
    sound = read_sound(limited)
    assert len(sound) == RATE
    assert tone_power(sound[1000:, 0], 700) == pytest.approx(8000, rel=0.1)


def test_a_caller_who_says_nothing_ends_a_recording(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), "caller", silence=1.5))
    noise = np.random.default_rng(1).normal(0, 20, 3 * RATE)
    studio.talk(phone, noise)
    assert ends(studio) == [(1, "silence", near(1.5))]


def test_a_caller_who_falls_silent_ends_a_recording(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), "caller", silence=1.5), commands.Record(1, 2, str(path) + "2", "caller"))
    studio.talk(phone, np.concatenate([np.zeros(RATE), voice(4.0)]))
    assert ends(studio) == []
    studio.talk(phone, np.zeros(2 * RATE))
    assert ends(studio) == [(1, "silence", near(6.5, 0.3))]
    studio.do(commands.StopRecord(1, 2))
    studio.run(0.02)
    assert ends(studio)[1:] == [(2, "stopped", near(7.0))]


def test_silence_before_a_pause_does_not_count_after_it(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), silence=1.0))
    studio.talk(phone, np.zeros(round(0.8 * RATE)))
    studio.do(commands.PauseRecord(1, 1, True))
    studio.talk(phone, np.zeros(3 * RATE))
    studio.do(commands.PauseRecord(1, 1, False))
    studio.talk(phone, np.zeros(round(0.8 * RATE)))
    assert ends(studio) == []
    studio.talk(phone, np.zeros(round(0.4 * RATE)))
    assert ends(studio) == [(1, "silence", near(1.8, 0.05))]


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("why", ["stopped", "silence", "closed"])
def test_trailing_silence_is_cut_off(studio: Studio, phone: Phone, tmp_path: Path, suffix: str, why: str) -> None:
    file = tmp_path / f"a.{suffix}"
    studio.connect(phone)
    silence = 2.0 if why == "silence" else 0.0
    studio.do(commands.Record(1, 1, str(file), "caller", suffix, silence=silence, trim=True))
    words = voice(2.0)
    studio.talk(phone, np.concatenate([np.zeros(RATE // 2), words, np.zeros(3 * RATE)]))
    if why == "stopped":
        studio.do(commands.StopRecord(1, 1))
    elif why == "closed":
        studio.drop()
    studio.tick()
    studio.tick()
    ((_, ended, seconds),) = ends(studio)
    assert ended == why
    assert 2.5 < seconds < 2.9
    sound = read_sound(file, 1)[:, 0]
    assert len(sound) == round(seconds * RATE)
    heard = np.concatenate([np.zeros(RATE // 2), words])
    assert rms(sound) * len(sound) ** 0.5 == pytest.approx(rms(heard) * len(heard) ** 0.5, rel=0.1)


def test_a_trimmed_recording_without_a_word_is_empty(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), trim=True))
    studio.talk(phone, np.zeros(RATE))
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert ends(studio) == [(1, "stopped", 0.0)]
    assert len(read_wav(path)) == 0


# --- pauses -----------------------------------------------------------------------------


def test_a_pause_leaves_sound_out_without_a_click(studio: Studio, phone: Phone, tone: Tone, path: Path) -> None:
    studio.connect(phone)
    low = sine(200, 2.0)
    studio.do(commands.Record(1, 1, str(path)))
    studio.talk(phone, low[: RATE // 2])
    studio.do(commands.PauseRecord(1, 1, True))
    studio.talk(phone, low[RATE // 2 :][:FRAME])
    studio.do(commands.Play(1, 1, [tone(700, 0.3)]))
    studio.talk(phone, low[RATE // 2 + FRAME : RATE + 1000])
    studio.do(commands.PauseRecord(1, 1, False))
    studio.talk(phone, low[RATE + 1000 :][: RATE // 2])
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert ends(studio) == [(1, "stopped", near(1.0, 0.041))]
    left, right = read_wav(path).T
    cut = round(0.4 * RATE)
    steepest = 8000 * 2 * np.pi * 200 / RATE
    assert np.abs(np.diff(left[600:])).max() < 1.6 * steepest
    assert tone_power(left[800:cut], 200) == pytest.approx(8000, rel=0.05)
    assert tone_power(left[len(left) - cut : -400], 200) == pytest.approx(8000, rel=0.05)
    assert rms(right) == 0
    quiet = np.abs(left[600:]).reshape(-1, 20).max(axis=1) < 100
    assert 0 < quiet.sum() * 20 <= FRAME  # the frame of the cut, and no more


def test_a_pause_that_is_taken_back_at_once_cuts_nothing(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path)))
    low = sine(200, 1.0)
    studio.talk(phone, low[: RATE // 2])
    for on in (True, False, False, True, True, False):
        studio.do(commands.PauseRecord(1, 1, on))
    studio.talk(phone, low[RATE // 2 :])
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    sent = decode(encode(low.astype(np.int16), Law.PCMU), Law.PCMU).astype(float)
    left = read_wav(path)[:, 0]
    begin = int(np.flatnonzero(np.abs(left) > 500)[0]) - int(np.flatnonzero(np.abs(sent) > 500)[0])
    assert begin >= 0
    assert np.array_equal(left[begin:], sent[: len(left) - begin])


def test_what_is_paused_counts_towards_no_limit(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), limit=1.0))
    studio.run(0.5)
    studio.do(commands.PauseRecord(1, 1, True))
    studio.run(2.0)
    assert ends(studio) == []
    studio.do(commands.PauseRecord(1, 1, False))
    studio.run(0.6)
    assert ends(studio) == [(1, "limit", 1.0)]


def test_a_paused_recording_can_be_stopped(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path)))
    studio.run(0.5)
    studio.do(commands.PauseRecord(1, 1, True))
    studio.run(0.5)
    studio.do(commands.StopRecord(1, 1), commands.PauseRecord(1, 1, False))
    studio.run(0.5)
    assert ends(studio) == [(1, "stopped", near(0.5, 0.041))]
    assert len(read_wav(path)) == round(ends(studio)[0][2] * RATE)


# --- the beep ---------------------------------------------------------------------------


def heard(packets: list[bytes]) -> np.ndarray:
    return np.concatenate([samples_of(packet) for packet in packets])


def beeps(sound: np.ndarray) -> list[tuple[float, float]]:
    """(Begin, length) in seconds of what sounds, at least 50 ms apart."""
    loud = np.flatnonzero(np.abs(sound) > 300)
    gaps = np.flatnonzero(np.diff(loud) > 400)
    firsts, lasts = loud[[0, *(gaps + 1)]], loud[[*gaps, -1]]
    return [(first / RATE, (last - first) / RATE) for first, last in zip(firsts, lasts, strict=True)]


def test_a_beep_is_heard_and_not_recorded(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), beep=True))
    packets = studio.talk(phone, sine(600, 0.2))
    packets += studio.talk(phone, np.zeros(RATE // 2))
    packets += studio.talk(phone, sine(600, 0.5))
    sound = heard(packets)
    ((begin, length),) = beeps(sound)
    assert length == pytest.approx(0.25, abs=0.006)
    middle = sound[round(begin * RATE) :][200:1800]
    amplitude = tone_power(middle, 1000)
    assert rms(middle) == pytest.approx(amplitude / 2**0.5, rel=0.02)
    assert np.abs(np.diff(sound)).max() < 1.2 * amplitude * 2 * np.pi * 1000 / RATE
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert ends(studio) == [(1, "stopped", near(1.2 - 0.26))]
    left, right = read_wav(path).T
    assert rms(right) == 0
    ((since, _),) = beeps(left)  # what was said into the beep is not there
    assert since == pytest.approx(0.7 - 0.26 + 0.02, abs=0.04)


def test_a_beep_waits_for_tones_and_the_recording_for_the_beep(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(commands.SendDigits(1, "12", "inband", 100, 100), commands.Record(1, 1, str(path), beep=True))
    packets = studio.talk(phone, np.zeros(RATE))
    lengths = [length for _, length in beeps(heard(packets))]
    assert lengths == [near(0.1, 0.01), near(0.1, 0.01), near(0.25, 0.01)]
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert rms(read_wav(path)[:, 1]) == 0
    assert ends(studio) == [(1, "stopped", near(1.0 - 0.66))]


def test_a_recording_paused_during_its_beep_begins_with_the_end_of_the_pause(
    studio: Studio, phone: Phone, path: Path
) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, str(path), beep=True), commands.PauseRecord(1, 1, True))
    studio.run(1.0)
    studio.do(commands.PauseRecord(1, 1, False))
    studio.run(0.5)
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    assert ends(studio) == [(1, "stopped", near(0.5))]


# --- odd commands -----------------------------------------------------------------------


def test_every_record_is_answered_once(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    for number in range(AT_ONCE + 1):
        studio.do(commands.Record(1, number, str(tmp_path / f"{number}.wav")))
    studio.run(0.1)
    assert ends(studio) == [(AT_ONCE, "failed", 0.0)]
    studio.do(commands.Record(1, 0, str(tmp_path / "again.wav")), commands.StopRecord(1, 77))
    studio.do(commands.PauseRecord(1, 77, True), commands.PauseRecord(77, 1, True), commands.StopRecord(77, 1))
    studio.run(0.1)
    assert ends(studio)[1:] == [(0, "stopped", near(0.1))]
    studio.do(commands.Record(77, 5, str(tmp_path / "none.wav")))
    assert studio.last(reports.Recorded).reason == "no such stream"
    studio.drop()
    studio.tick()
    studio.tick()
    closed = [(0, "closed", near(0.1)), *((number, "closed", near(0.2)) for number in range(1, AT_ONCE))]
    assert sorted(ends(studio)[3:]) == closed
    assert studio.plane.idle
    assert not studio.recorder.active.any()


@pytest.mark.parametrize("name", ["a\0.wav", "b" * 300 + ".wav", "", "."])
def test_a_path_that_is_none(studio: Studio, phone: Phone, tmp_path: Path, name: str) -> None:
    studio.connect(phone)
    studio.do(commands.Record(1, 1, f"{tmp_path}/{name}"), commands.Record(1, 2, str(tmp_path / "good.wav")))
    studio.run(0.1)
    assert ends(studio) == [(1, "failed", 0.0)]
