"""Keys: telephone events in and out, tones found and made."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_studio import voice

from benchmarks.key_sweep import CRITERIA, Criterion, Press, coded, keys_in, measure, sweep, table, talk_off
from media.dtmf import tones
from media.g711 import Law
from media.rates import FRAME, RATE
from media.rfc4733 import EventReceiver, EventSender
from media.rtp import Packet

# --- telephone events -------------------------------------------------------------------


def event(
    digit: int, duration: int, timestamp: int, *, end: bool = False, ssrc: int = 1, marker: bool = False
) -> Packet:
    payload = struct.pack("!BBH", digit, 10 | end << 7, duration)
    return Packet(101, marker, 0, timestamp % 2**32, ssrc, memoryview(payload))


def press(digit: int, timestamp: int, ms: int = 100, **fields: object) -> list[Packet]:
    durations = range(FRAME, ms * 8 + 1, FRAME)
    return [event(digit, d, timestamp, **fields) for d in durations] + [
        event(digit, ms * 8, timestamp, end=True, **fields) for _ in range(3)
    ]


def heard(packets: list[Packet]) -> str:
    receiver = EventReceiver()
    return "".join(receiver.receive(packet) or "" for packet in packets)


def test_a_press_is_one_digit_at_its_first_packet() -> None:
    receiver = EventReceiver()
    assert [receiver.receive(packet) for packet in press(11, 1000)] == ["#"] + [None] * 7


@pytest.mark.parametrize("kept", [[0], [3], [-1], [-3, -2, -1], [2, 0, 1], [5, 5, 0, 0]])
def test_any_packet_of_a_press_will_do_in_any_order(kept: list[int]) -> None:
    packets = press(5, 2**32 - 100)
    assert heard([packets[i] for i in kept]) == "5"


def test_the_same_key_twice_with_all_ends_lost() -> None:
    first = [p for p in press(1, 1000, 60) if not p.payload[1] & 0x80]
    assert heard(first + press(1, 1000 + 160 * 8, 60)) == "11"


def test_stragglers_of_an_earlier_press_are_passed_over() -> None:
    one, two = press(1, 1000), press(2, 3000)
    assert heard([*one[:3], *two[:2], *one[3:], *two[2:]]) == "12"


def test_a_lost_press_that_arrives_after_the_next_one_is_not_a_new_one() -> None:
    assert heard([*press(2, 3000), *press(1, 1000)]) == "2"


def test_long_press_over_several_segments_is_one_digit() -> None:
    packets = [event(7, d, 0) for d in range(160, 65536, 1600)] + [event(7, 0xFFFF, 0)]
    packets += [event(7, d, 0xFFFF) for d in range(160, 65536, 1600)]
    packets += [event(7, d, 2 * 0xFFFF) for d in range(160, 8000, 160)] + [event(7, 8000, 2 * 0xFFFF, end=True)] * 3
    assert heard(packets) == "7"


def test_a_sender_that_ends_its_segments_with_a_whole_packet() -> None:
    packets = [event(7, d, 0) for d in range(160, 65441, 160)]
    packets += [event(7, d, 65440) for d in range(160, 8000, 160)] + [event(7, 8000, 65440, end=True)] * 3
    assert heard(packets) == "7"


@pytest.mark.parametrize("over", [65535 - 8 * 8191, 1, 65, 161, 65535, 65535 + 161])
def test_a_long_press_is_sent_in_segments_that_meet(over: int) -> None:
    """``over``: samples beyond the longest duration of one segment; presses are whole milliseconds."""
    on = -(-(0xFFFF + over) // 8)
    sender, at = EventSender(), 1000
    sender.press("7", on, 0)
    sent = []
    while (packet := sender.next(at)) is not None:
        sent.append((packet.timestamp, struct.unpack("!BBH", packet.payload), packet.marker, packet.repeats))
        at += FRAME
    segments = sorted({timestamp for timestamp, *_ in sent})
    assert segments == [1000 + n * 0xFFFF for n in range(len(segments))]
    assert len(segments) == -(-8 * on // 0xFFFF)
    for begin in segments:
        durations = [payload[2] for timestamp, payload, *_ in sent if timestamp == begin]
        assert durations == sorted(durations)
        assert durations[-1] == (0xFFFF if begin != segments[-1] else 8 * on - (begin - 1000))
    assert [bool(payload[1] & 0x80) for _, payload, *_ in sent] == [False] * (len(sent) - 1) + [True]
    assert [marker for *_, marker, _ in sent] == [True] + [False] * (len(sent) - 1)


def test_sender_that_moves_the_timestamp_with_every_packet() -> None:
    packets = [event(4, 160 * (i + 1), 1000 + 160 * i) for i in range(10)]
    packets += [event(4, 1600, 1000 + 160 * 9, end=True)] * 3
    assert heard(packets) == "4"
    again = [event(4, 160 * (i + 1), 9000 + 160 * i) for i in range(5)]
    assert heard(packets + again) == "44"


def test_sources_do_not_mix() -> None:
    assert heard([*press(1, 1000, ssrc=1)[:2], *press(1, 1000, ssrc=2)]) == "11"


def test_events_that_are_no_keys_and_cut_off_payloads() -> None:
    assert heard([event(16, 160, 0), event(255, 160, 0)]) == ""
    with pytest.raises(ValueError, match="cut off"):
        EventReceiver().receive(Packet(101, False, 0, 0, 0, memoryview(b"\1\2\3")))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.booleans())))
def test_any_events_give_at_most_a_digit_each(packets: list) -> None:
    assert len(heard([event(d, length, at, end=end) for d, length, at, end in packets])) <= len(packets)


@given(st.text("0123456789*#ABCD", min_size=1, max_size=6), st.integers(1, 400), st.integers(0, 300))
def test_what_is_sent_is_received(digits: str, on: int, off: int) -> None:
    sender, receiver = EventSender(), EventReceiver()
    sender.press(digits, on, off)
    timestamp, got, ends = 2**32 - 1600, "", []
    for _ in range(20000):
        packet = sender.next(timestamp)
        if packet is not None:
            got += (
                receiver.receive(Packet(101, packet.marker, 0, packet.timestamp, 9, memoryview(packet.payload))) or ""
            )
            _, flags, duration = struct.unpack("!BBH", packet.payload)
            if flags & 0x80:
                assert packet.repeats == 2
                ends.append(duration)
        elif sender.idle:
            break
        timestamp = (timestamp + FRAME) % 2**32
    assert got == digits
    assert ends == [on * 8] * len(digits)


# --- tones ------------------------------------------------------------------------------


def test_all_keys_in_a_row_and_streams_do_not_mix() -> None:
    order = "159D*0#ABC2346780"
    sounds = [tones(order, 70, 50), voice(2), tones(order[::-1], 50, 50)]
    assert keys_in([coded(sound, Law.PCMU) for sound in sounds]) == [order, "", order[::-1]]


def test_no_key_in_noise_voice_or_a_single_tone() -> None:
    rng = np.random.default_rng(5)
    sounds = [voice(10, pitch, -15, seed) for seed, pitch in enumerate((90, 120, 160, 210, 260))]
    sounds += [rng.normal(0, 3000, 80000), 5000 * np.sin(2 * np.pi * 770 * np.arange(80000) / RATE)]
    assert keys_in([coded(sound, Law.PCMU) for sound in sounds]) == [""] * len(sounds)


def test_made_tones_are_whole_frames_without_clipping() -> None:
    sound = tones("1#", 90, 35)
    assert sound.dtype == np.int16
    assert len(sound) % FRAME == 0
    assert abs(int(np.abs(sound).max()) - 2 * 32768 * 10 ** (-13 / 20)) < 400
    assert not tones("x", 90, 35).size


# Met by nearly every press though nobody asks for it: noise, twist and deviation at their limits together.
HARDEST = {
    "15 dB over noise, ±1.5 %, twist +4 and −8 dB": 97.0,
    "all at once: 15 dB, ±1.5 %, +4 and −8 dB, 40 ms": 93.0,
}


def test_every_criterion_of_q24(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(sweep(2))
    head, lines = table(rows)
    with capsys.disabled():
        print()
        for line in (head, *lines):
            print(f"{line[0]:52} {line[1]:24} {line[2]:>8} {line[3]:>8} {line[4]:>5}")
    assert len(rows) == len(CRITERIA)
    for cell in (cell for row in rows for cell in row):
        least = HARDEST.get(cell.criterion.name, 99.0)
        if cell.criterion.goal:
            least = 100.0
        heard = cell.percent if cell.criterion.accept else 100.0 - cell.percent
        assert heard >= least, f"{cell.criterion.name}: {cell.percent:.1f} %"


@pytest.mark.parametrize("law", list(Law))
def test_a_window_that_is_half_in_a_tone_does_not_fill_a_pause(law: Law) -> None:
    """One in some hundred pauses of 40 ms was not heard for a window that passed at its edge."""
    pause = Criterion("", (Press(ms=40, count=2, pause=40), Press(count=2, pause=40)), expect=2)
    cell = measure(pause, law, 35, seed=5)
    assert cell.right == cell.presses


def test_no_key_in_an_hour_of_speech_under_noise() -> None:
    assert talk_off(1.0) == []
