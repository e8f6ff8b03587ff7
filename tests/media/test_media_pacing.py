"""When packets leave, and what time they say: packet times, phases, hold, and time that was missed."""

import numpy as np
import pytest
from media_studio import Phone, Studio, Tone, assert_continuous, headers, sounds, tone_power

from media import commands, reports, rtp
from media.rates import FRAME


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
def test_packet_times(studio: Studio, phone: Phone, tone: Tone, ptime: int) -> None:
    studio.connect(phone, ptime=ptime)
    studio.do(commands.Play(1, 1, [tone(440, 2)]))
    arrivals: list[float] = []
    packets: list[bytes] = []

    def listen() -> None:
        for packet in phone.take():
            arrivals.append(studio.now)
            packets.append(packet)

    studio.each_tick = listen
    studio.run(1.2)
    assert_continuous(packets, 8 * ptime)
    assert {len(packet) for packet in packets} == {12 + 8 * ptime}
    assert np.diff(arrivals) == pytest.approx(ptime / 1000, abs=1e-6)
    assert tone_power(sounds(packets)[1600:8000], 440) == pytest.approx(8000, rel=0.02)


def test_streams_are_spread_over_phases_and_ticks_are_even(studio: Studio) -> None:
    phones = [Phone() for _ in range(8)]
    for number, phone in enumerate(phones):
        studio.connect(phone, number)
    studio.run(0.1)
    per_tick = []
    for phone in phones:
        phone.take()
    studio.each_tick = lambda: per_tick.append([bool(phone.take()) for phone in phones])
    studio.run(0.2)
    assert {sum(row) for row in per_tick} == {2}
    for column in zip(*per_tick, strict=True):
        assert np.diff(np.flatnonzero(column)).tolist() == [4] * 9
    for phone in phones:
        phone.close()


def test_time_that_the_process_missed_shows_in_the_timestamps(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.run(0.1)
    before = headers(phone.take())[-1]
    studio.now += 0.5
    studio.tick(skipped=25)
    studio.run(0.02)
    after = headers(phone.take())[0]
    assert rtp.timestamp_delta(after.timestamp, before.timestamp) == 26 * FRAME
    assert (after.sequence - before.sequence) & 0xFFFF == 1
    assert after.marker


def test_hold_stops_sending_and_the_prompt_goes_on_unheard(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 0.3)]))
    studio.run(0.1)
    before = headers(phone.take())[-1]
    studio.direct(phone, send=False)
    studio.run(0.4)
    assert phone.take() == []
    assert studio.last(reports.PlayEnded).complete
    studio.direct(phone)
    studio.run(0.1)
    after = headers(phone.take())[0]
    assert after.marker
    assert rtp.timestamp_delta(after.timestamp, before.timestamp) == 21 * FRAME


@pytest.mark.parametrize("ptime", [10, 30, 40, 60])
def test_the_clock_of_other_packet_times_goes_on_through_hold_and_stalls(
    studio: Studio, phone: Phone, ptime: int
) -> None:
    studio.connect(phone, ptime=ptime)
    behind: list[float] = []

    def listen() -> None:
        behind.extend(studio.now * 8000 - packet.timestamp for packet in headers(phone.take()))

    studio.each_tick = listen
    studio.run(0.5)
    studio.direct(phone, ptime=ptime, send=False)
    studio.run(1.01)
    studio.direct(phone, ptime=ptime)
    studio.run(0.5)
    studio.now += 0.5
    studio.tick(skipped=25)
    studio.run(0.5)
    assert len(behind) >= 3 * 8
    drift = (np.array(behind) - behind[0] + 2**31) % 2**32 - 2**31
    off = np.abs(drift) > max(FRAME, 8 * ptime)
    assert off.sum() <= 1  # a packet that waited between two frames when time stood still
    assert not off[-8:].any()
