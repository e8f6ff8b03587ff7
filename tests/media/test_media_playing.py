"""What a stream plays: prompts, begun to the frame, faded when stopped, and ended exactly once."""

import numpy as np
import pytest
from media_studio import Phone, Studio, Tone, assert_continuous, headers, rms, samples_of, sounds, tone_power, write_wav

from media import commands, reports
from media.g711 import Law


@pytest.mark.parametrize("law", list(Law))
def test_sends_silence_then_the_prompt_then_silence(studio: Studio, phone: Phone, tone: Tone, law: Law) -> None:
    phone.law = law
    studio.connect(phone)
    studio.run(0.1)
    studio.do(commands.Play(1, 9, [tone(440, 0.3), tone(880, 0.2)]))
    studio.run(0.7)
    packets = phone.take()
    assert_continuous(packets)
    assert [packet.marker for packet in headers(packets)] == [True] + [False] * (len(packets) - 1)
    assert {packet.payload_type for packet in headers(packets)} == {int(law)}
    sound = sounds(packets, law)
    loud = np.flatnonzero(np.abs(sound) > 100)
    prompt = sound[loud[0] : loud[-1] + 1]
    assert len(prompt) == pytest.approx(4000, abs=4)
    assert tone_power(prompt[400:2000], 440) == pytest.approx(8000, rel=0.02)
    assert tone_power(prompt[2400:4000], 880) == pytest.approx(8000, rel=0.02)
    ended = studio.reports(reports.PlayEnded)
    assert [(e.play, e.complete, e.reason) for e in ended] == [(9, True, "")]


def test_starts_when_told_to_the_frame(studio: Studio, phone: Phone, tone: Tone) -> None:
    for offset in (0.100, 0.107, 0.113):
        studio.connect(phone)
        start = studio.now + offset
        studio.do(commands.Play(1, 1, [tone(440)], start_at=start))
        began = None
        while began is None:
            studio.tick()
            if any(rms(samples_of(packet)) > 1000 for packet in phone.take()):
                began = studio.now - 0.005
        assert abs(began - start) <= 0.0101
        studio.drop()


def test_stop_fades_within_five_milliseconds_of_the_next_frame(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 3)]))
    studio.run(0.5)
    phone.take()
    studio.do(commands.Stop(1))
    studio.run(0.2)
    sound = sounds(phone.take())
    audible = np.flatnonzero(np.abs(sound) > 40)
    assert audible[-1] < 40
    assert np.abs(np.diff(sound[:200])).max() < 8000 * 2 * np.pi * 440 / 8000 * 1.3  # no click
    ended = studio.last(reports.PlayEnded)
    assert (ended.play, ended.complete, ended.reason) == (1, False, "stopped")
    studio.do(commands.Stop(1))
    studio.run(0.1)
    assert len(studio.reports(reports.PlayEnded)) == 1


def test_a_new_play_replaces_the_old_one(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 3)]))
    studio.run(0.1)
    studio.do(commands.Play(1, 2, [tone(880, 0.2)]), commands.Play(1, 3, [tone(1000, 0.2)]))
    studio.run(0.5)
    ended = [(e.play, e.complete, e.reason) for e in studio.reports(reports.PlayEnded)]
    assert sorted(ended) == [(1, False, "replaced"), (2, False, "replaced"), (3, True, "")]
    assert tone_power(sounds(phone.take()[-20:-14]), 1000) > 1000


def test_every_play_ends_exactly_once(studio: Studio, phone: Phone, tone: Tone, tmp_path) -> None:
    text = tmp_path / "not-a.wav"
    text.write_text("hello")
    stereo = write_wav(tmp_path / "stereo.wav", np.zeros(100), channels=2)
    other = write_wav(tmp_path / "other.wav", np.zeros(100), rate=22050)
    empty = write_wav(tmp_path / "empty.wav", np.zeros(0))
    studio.connect(phone)
    plays = [
        [str(text)],
        [stereo],
        [other],
        [str(tmp_path)],
        [str(tmp_path / "none.wav")],
        [],
        [empty],
        [empty, tone(440, 0.04)],
    ]
    for number, files in enumerate(plays):
        studio.do(commands.Play(1, number, files))
        studio.run(0.2)
    studio.do(commands.Play(1, 100, [empty], loop=True))
    studio.run(0.1)
    studio.do(commands.Play(1, 101, [tone(440, 0.04)], loop=True))
    studio.run(0.3)
    studio.do(commands.Drop(1), commands.Play(1, 102, [tone(440)]))
    studio.open.clear()
    ended = {e.play: (e.complete, e.reason) for e in studio.reports(reports.PlayEnded)}
    assert len(studio.reports(reports.PlayEnded)) == len(ended) == len(plays) + 3
    assert all(not ended[n][0] and ended[n][1] for n in range(5))
    assert "22050 Hz" in ended[2][1]
    assert [ended[n] for n in (5, 6, 7, 100)] == [(True, "")] * 4
    assert [ended[n] for n in (101, 102)] == [(False, "closed"), (False, "no such stream")]


def test_a_loop_goes_on_without_a_gap(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(500, 0.04)], loop=True))
    studio.run(0.5)
    packets = phone.take()
    assert all(rms(samples_of(packet)) > 1000 for packet in packets[1:])
