"""Lost frames: what is heard in their place."""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pytest
from media_studio import rms, sine, tone_power, voice

from media import conceal, g711
from media.dtmf import COLUMNS, KEYS, ROWS, ToneReceiver
from media.frames import powers
from media.g711 import Law
from media.jitter import FIRST_DELAY, JitterBuffers
from media.rates import FRAME, RATE


def played(sounds: list[np.ndarray], lost: Collection[int], *, together: bool = True) -> list[np.ndarray]:
    """What comes out for ``sounds``, one per stream, without the frames whose numbers are ``lost``."""
    count = -(-max(map(len, sounds)) // FRAME)
    buffers = JitterBuffers(len(sounds))
    for slot in range(len(sounds)):
        buffers.open(slot)
    frames = np.zeros((len(sounds), count * FRAME), np.int16)
    for row, sound in zip(frames, sounds, strict=True):
        row[: len(sound)] = np.clip(sound, -32767, 32767)
    slots, out = np.arange(len(sounds)), []
    for n in range(count + FIRST_DELAY):
        if n < count and n not in lost:
            stamps = np.full(len(sounds), n * FRAME, np.uint32)
            buffers.insert(slots, stamps, np.ascontiguousarray(frames[:, n * FRAME : (n + 1) * FRAME]))
        out.append(buffers.play(slots))
    return list(np.concatenate(out, axis=1)[:, FIRST_DELAY * FRAME :].astype(float))


def repeated(sound: np.ndarray, lost: Collection[int]) -> np.ndarray:
    """The same with the plain repetition of the last frame, 2 dB weaker."""
    out = np.trunc(sound)
    for n in lost:
        out[n * FRAME : (n + 1) * FRAME] = 0.8 * out[(n - 1) * FRAME : n * FRAME]
    return out


def snr(sound: np.ndarray, out: np.ndarray, lost: Collection[int]) -> float:
    """Signal to error in the lost frames and the one after each, in dB."""
    places = np.concatenate([np.arange(n * FRAME, (n + 2) * FRAME) for n in lost])
    error = rms(out[places] - sound[places])
    return 20 * np.log10(rms(sound[places]) / max(error, 1e-3))


LOST = (20, 27, 34, 41)


def vowel(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """One vowel, held."""
    time_ = np.arange(round(RATE * seconds)) / RATE
    sound = np.zeros(time_.size)
    for harmonic in range(1, int(3400 / pitch)):
        weight = sum(np.exp(-(((harmonic * pitch - formant) / 180) ** 2)) for formant in (600, 1150, 2500))
        sound += (0.05 + weight) * np.sin(2 * np.pi * harmonic * pitch * time_ + harmonic**2)
    return 2500 * sound / rms(sound)


@pytest.mark.parametrize("pitch", [75, 97, 120, 163, 210, 255])
def test_a_held_vowel_goes_on(pitch: float) -> None:
    sound = vowel(pitch)
    (out,) = played([sound], LOST)
    assert snr(sound, out, LOST) > 3
    assert snr(sound, out, LOST) > snr(sound, repeated(sound, LOST), LOST) + 3.5


@pytest.mark.parametrize("hertz", [120, 333, 440, 1004, 2600])
def test_a_tone_goes_on(hertz: float) -> None:
    sound = sine(hertz, 1)
    (out,) = played([sound], LOST)
    assert snr(sound, out, LOST) > 9
    for n in LOST:
        part = out[(n - 1) * FRAME : (n + 3) * FRAME]
        assert tone_power(part, hertz) > 7000


def test_running_speech_is_better_than_with_plain_repetition() -> None:
    gains = []
    for seed, pitch in enumerate((85, 110, 140, 180, 220)):
        sound = voice(4, pitch, -18, seed)
        lost = range(11, 195, 9)
        gains.append(snr(sound, played([sound], lost)[0], lost) - snr(sound, repeated(sound, lost), lost))
    assert min(gains) > 0.7
    assert np.mean(gains) > 1.7


@pytest.mark.parametrize("run", [1, 2, 3, 8])
def test_nothing_clicks(run: int) -> None:
    """No step is much larger than the sound's own."""
    sounds = [vowel(97), vowel(210), sine(440, 1), sine(130, 1, 12000), voice(1, 120, -15, syllables=False)]
    lost = [n + k for n in (20, 33) for k in range(run)]
    for sound, out in zip(sounds, played(sounds, lost), strict=True):
        own = np.abs(np.diff(sound)).max()
        if run <= conceal.LONGEST:
            steps = np.abs(np.diff(out))
        else:  # what begins after a longer silence is left as it came
            steps = np.abs(np.diff(out[: (33 + run) * FRAME]))
            steps[(20 + run) * FRAME - 1] = 0
        assert steps.max() <= 1.5 * own


def test_it_fades_from_ten_to_sixty_milliseconds() -> None:
    sound = sine(500, 1, 10000)
    (out,) = played([sound], range(20, 30))
    gap = out[20 * FRAME : 30 * FRAME]
    envelope = [np.abs(gap[start : start + 80]).max() / 10000 for start in range(0, gap.size, 80)]
    assert envelope[0] == pytest.approx(1, abs=0.02)
    assert envelope[2] == pytest.approx(0.8, abs=0.03)
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(envelope))
    assert not gap[480:].any()


def test_the_first_good_frame_is_itself_after_four_milliseconds() -> None:
    sound = voice(1, 130, -15, syllables=False)
    (out,) = played([sound], LOST)
    for n in LOST:
        start = (n + 1) * FRAME + conceal.CROSS_FADE
        assert (out[start : start + FRAME] == np.trunc(sound)[start : start + FRAME]).all()


def test_digital_silence_stays_silence() -> None:
    quiet, low = played([np.zeros(8000), np.full(8000, -8.0)], LOST)
    assert not quiet.any()
    assert np.abs(low).max() <= 8


def test_noise_keeps_its_level_and_gets_no_pitch() -> None:
    noise = np.random.default_rng(5).normal(0, 1500, RATE)
    (out,) = played([noise], LOST)
    for n in LOST:
        assert rms(out[n * FRAME : n * FRAME + 80]) == pytest.approx(1500, rel=0.25)
    history = noise[: conceal.HISTORY].astype(np.int16)[None, :]
    assert conceal.periods(history).tolist() == [conceal.NO_PITCH]


def test_a_stream_that_begins_with_losses() -> None:
    sound = sine(440, 0.5)
    (out,) = played([sound], (1, 2, 4))
    assert np.isfinite(out).all()
    assert (out[:FRAME] == np.trunc(sound)[:FRAME]).all()
    assert np.abs(out).max() <= 8400
    buffers = JitterBuffers(1)
    buffers.open(0)
    assert not any(buffers.play(np.array([0])).any() for _ in range(10))
    assert buffers.concealed[0] == 0


def test_full_scale_does_not_wrap() -> None:
    square = np.sign(sine(90, 1)) * 32767
    (out,) = played([square], LOST)
    assert np.abs(np.diff(out)).max() <= 65534
    assert (np.abs(out[21 * FRAME + conceal.CROSS_FADE : 27 * FRAME]) >= 32766).mean() > 0.99


def test_streams_beyond_the_limit_are_repeated_and_an_outage_is_cheap() -> None:
    count = 10 * conceal.MAX_SEARCHES
    history = np.tile(vowel(120)[: conceal.HISTORY].astype(np.int16), (count, 1))
    found = conceal.periods(history)
    assert (found[: conceal.MAX_SEARCHES] == found[0]).all()
    assert found[0] in (66, 67)
    assert (found[conceal.MAX_SEARCHES :] == conceal.NO_PITCH).all()
    buffers = JitterBuffers(count)
    for slot in range(count):
        buffers.open(slot)
    slots = np.arange(count)
    for n in range(5):
        buffers.insert(slots, np.full(count, n * FRAME, np.uint32), history[:, :FRAME].copy())
        buffers.play(slots)
    before = time.process_time()
    for _ in range(4):
        buffers.play(slots)
    assert time.process_time() - before < 0.2


# --- keys -------------------------------------------------------------------------------


def press(key: str, ms: float, start: int) -> np.ndarray:
    place = KEYS.index(key)
    when = np.arange(round(8 * ms)) / RATE
    tone = 4000 * (np.sin(2 * np.pi * ROWS[place // 4] * when) + np.sin(2 * np.pi * COLUMNS[place % 4] * when))
    return np.concatenate([np.zeros(start), tone, np.zeros(4000)])


def keys_in(sounds: list[np.ndarray]) -> list[str]:
    last = np.zeros((len(sounds), FRAME), np.int16)
    receiver, slots = ToneReceiver(len(sounds), lambda chosen: last[chosen]), np.arange(len(sounds))
    heard = [""] * len(sounds)
    whole = np.stack(sounds).astype(np.int16)
    whole = g711.decode(g711.encode(whole, Law.PCMU), Law.PCMU)
    for start in range(0, whole.shape[1] // FRAME * FRAME, FRAME):
        frames = np.ascontiguousarray(whole[:, start : start + FRAME])
        for slot, digit in receiver.feed(slots, frames, powers(frames)):
            heard[slot] += digit
        last[:] = frames
    return heard


@pytest.mark.parametrize("lost", [(7,), (8,), (7, 8, 9), (8, 9)])
def test_a_key_before_a_loss_is_one_key(lost: tuple[int, ...]) -> None:
    """40 ms of tone that end in frame 7, in all places of it. Without frame 7 less than a key may be left of it."""
    starts = range(5 * FRAME, 6 * FRAME, 10)
    sounds = [press(key, 40, start) for key in "159D*0#" for start in starts]
    length = min(map(len, sounds))
    out = played([sound[:length] for sound in sounds], lost)
    expected = [key for key in "159D*0#" for _ in starts]
    heard = keys_in(out)
    if 7 in lost:
        assert sum(map(len, heard)) > 0.6 * len(expected)
        expected = [key if one else "" for key, one in zip(expected, heard, strict=True)]
    assert heard == expected


def test_a_key_with_lost_frames_inside_is_one_key() -> None:
    sounds = [press(key, 200, 1600)[:6000] for key in KEYS]
    assert keys_in(played(sounds, (12, 15, 16, 18))) == list(KEYS)


def test_speech_with_losses_makes_no_keys() -> None:
    sounds = [voice(8, pitch, -15, seed)[:64000] for seed, pitch in enumerate((80, 95, 120, 150, 190, 230, 270))]
    rng = np.random.default_rng(7)
    lost = set(np.flatnonzero(rng.random(400) < 0.15).tolist())
    assert keys_in(played(sounds, lost)) == [""] * len(sounds)


def test_sound_that_stops_for_a_key_dies_away_and_is_not_made_up() -> None:
    """Events take the place of sound: nothing is missing, and no click is heard where it stops."""
    buffers, slots = JitterBuffers(4), np.array([2])
    buffers.open(2)
    time = np.arange(30 * FRAME) / RATE
    sound = (8000 * np.sin(2 * np.pi * 310 * time)).astype(np.int16)
    out = []
    for frame in range(30):
        if not 12 <= frame < 20:
            part = sound[frame * FRAME : (frame + 1) * FRAME]
            buffers.insert(slots, np.array([frame * FRAME], np.uint32), part[None, :])
        else:
            buffers.hush(2)
        out.append(buffers.play(slots)[0])
    heard = np.concatenate(out).astype(float)
    begin = (12 + FIRST_DELAY) * FRAME
    assert buffers.concealed[2] == 0
    assert np.abs(heard[begin + 41 : begin + 7 * FRAME]).max() == 0
    step = np.abs(np.diff(heard))
    assert step[begin - 2 : begin + 60].max() < 1.2 * step[begin - 3 * FRAME : begin - 2].max()
    assert np.abs(heard[begin + 8 * FRAME :]).max() > 7000
