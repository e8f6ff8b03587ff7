"""Ticks, ports, latching, jitter buffers."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.cadence import Cadence
from media.jitter import AHEAD, FIRST_DELAY, JitterBuffers
from media.latch import FORMER, PLAUSIBLE, PROVISIONAL, SILENT, SURPRISING, Address, Latch, Verdict
from media.ports import PortPool, parse_range
from media.rates import FRAME, PHASE_SECONDS, PHASES
from media.rtp import Packet

# --- ticks ------------------------------------------------------------------------------


def test_ticks_keep_to_absolute_deadlines() -> None:
    cadence = Cadence(100.0)
    for number in range(1000):
        tick = cadence.begin(cadence.due + 0.0004)
        assert (tick.number, tick.skipped) == (number, 0)
        assert tick.late == pytest.approx(0.0004, abs=1e-6)
    assert cadence.due == pytest.approx(100 + 1000 * PHASE_SECONDS)


@given(st.lists(st.floats(0, 0.18), max_size=40))
def test_a_stream_never_ticks_twice_within_ten_milliseconds(delays: list[float]) -> None:
    cadence = Cadence(0.0)
    last: dict[int, float] = {}
    for delay in [*delays, *[0.0] * 200]:
        now = cadence.due + delay
        tick = cadence.begin(now)
        phase = tick.number % PHASES
        assert now - last.get(phase, -1.0) >= PHASES * PHASE_SECONDS / 2 - 1e-9
        last[phase] = now
    assert tick.late < 1e-6  # it has caught up, and lost no frame


def test_after_a_long_stop_whole_frames_are_skipped() -> None:
    cadence = Cadence(0.0)
    cadence.begin(0.0)
    tick = cadence.begin(0.005 + 1.001)
    assert tick.skipped == 50
    assert tick.number == 1 + 50 * PHASES
    assert cadence.due - (0.005 + 1.001) == pytest.approx(PHASE_SECONDS - 0.001)


# --- ports ------------------------------------------------------------------------------


def test_ports_are_even_pairs_inside_the_range() -> None:
    pool = PortPool(10001, 10011, Random(1))
    assert sorted(pool.candidates(0.0)) == [10002, 10004, 10006, 10008, 10010]


def test_a_closed_port_rests_and_the_longest_rested_comes_first() -> None:
    pool = PortPool(10000, 10005, Random(1))
    taken = list(pool.candidates(0.0))
    pool.release(taken[1], 1.0)
    pool.release(taken[0], 2.0)
    assert list(pool.candidates(5.9)) == []
    assert next(pool.candidates(7.0)) == taken[1]
    assert next(pool.candidates(7.0)) == taken[0]


@pytest.mark.parametrize(("low", "high"), [(0, 10), (10, 9), (11, 11), (65535, 65535), (1, 70000)])
def test_impossible_ranges(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="no RTP port pair"):
        PortPool(low, high, Random(1))


def test_range_text() -> None:
    assert parse_range("16384-32767") == (16384, 32767)
    with pytest.raises(ValueError, match="not a port range"):
        parse_range("16384")


# --- latching ---------------------------------------------------------------------------

SDP, ELSEWHERE, STRANGER = ("10.0.0.1", 4000), ("10.0.0.2", 5000), ("10.0.0.3", 6000)
PUBLIC, SAME_HOST, FAR = ("8.8.8.8", 4000), ("8.8.8.8", 5000), ("9.9.9.9", 6000)
REFUSED, PEER, FOR_NOW, LATCHED = Verdict.REFUSED, Verdict.PEER, Verdict.PROVISIONAL, Verdict.LATCHED


class Course:
    """A latch and the packets that come to it, 20 ms apart."""

    def __init__(self, remote: Address | None = SDP) -> None:
        self.latch = Latch()
        self.now = 50.0
        self.numbers: dict[Address, int] = {}
        self.direct(remote)

    def direct(self, remote: Address | None, *, anew: bool = False) -> bool:
        return self.latch.direct(remote, self.now, anew=anew)

    def offer(self, source: Address, sequence: int | None = None, ssrc: int = 1) -> Verdict:
        number = self.numbers.get(source, 65534) + 1 if sequence is None else sequence
        self.numbers[source] = number
        self.now += 0.02
        return self.latch.offer(source, Packet(0, False, number & 0xFFFF, 0, ssrc, memoryview(b"")), self.now)

    def talk(self, source: Address, count: int) -> list[Verdict]:
        return [self.offer(source) for _ in range(count)]


def test_the_address_of_sdp_convinces_at_once_and_for_good() -> None:
    course = Course()
    assert course.offer(SDP) is LATCHED
    assert course.talk(ELSEWHERE, 200) == [REFUSED] * 200
    assert course.offer(SDP) is PEER


def test_another_address_convinces_with_two_packets_in_sequence() -> None:
    course = Course()
    assert [course.offer(*one) for one in ((ELSEWHERE, 65535), (STRANGER, 7), (ELSEWHERE, 65535))] == [REFUSED] * 3
    assert course.offer(ELSEWHERE, 0, ssrc=2) is REFUSED
    assert course.offer(ELSEWHERE, 1, ssrc=2) is FOR_NOW
    assert course.latch.source == ELSEWHERE


def test_another_address_becomes_certain_and_then_stays() -> None:
    course = Course()
    verdicts = course.talk(ELSEWHERE, 100)
    since, until = verdicts.index(FOR_NOW), verdicts.index(LATCHED)
    assert verdicts == [REFUSED, FOR_NOW] + [PEER] * (until - 2) + [LATCHED] + [PEER] * (99 - until)
    assert (until - since) * 0.02 == pytest.approx(PROVISIONAL, abs=0.03)
    assert course.offer(SDP) is REFUSED
    assert course.offer(ELSEWHERE) is PEER


def test_the_address_of_sdp_overrules_a_stranger() -> None:
    course = Course()
    course.talk(STRANGER, 20)
    assert course.latch.source == STRANGER
    assert course.offer(SDP) is LATCHED
    assert course.talk(STRANGER, 100) == [REFUSED] * 100


def test_against_a_public_address_other_hosts_have_to_convince_longer() -> None:
    course = Course(PUBLIC)
    assert course.talk(FAR, SURPRISING) == [REFUSED] * (SURPRISING - 1) + [FOR_NOW]
    course = Course(PUBLIC)
    assert course.talk(SAME_HOST, PLAUSIBLE) == [REFUSED] * (PLAUSIBLE - 1) + [FOR_NOW]


def test_strangers_do_not_keep_each_other_from_convincing() -> None:
    course = Course()
    course.offer(ELSEWHERE)
    course.talk(STRANGER, 1)
    assert course.offer(ELSEWHERE) is FOR_NOW
    flooded = Course()
    for n in range(1000):  # from ever new ports; no more is remembered of them than has to be
        assert flooded.offer(("10.0.0.3", 6000 + n)) is REFUSED
    assert len(flooded.latch._candidates) <= 4
    assert flooded.talk(ELSEWHERE, 2)[-1] is FOR_NOW


def test_a_stranger_that_falls_silent_gives_way() -> None:
    course = Course()
    course.talk(STRANGER, 2)
    verdicts = course.talk(ELSEWHERE, round(SILENT / 0.02) + 2)
    assert verdicts.index(FOR_NOW) * 0.02 == pytest.approx(SILENT, abs=0.03)
    assert course.latch.source == ELSEWHERE
    assert course.offer(STRANGER) is REFUSED


def test_only_sdp_dissolves_a_latch() -> None:
    course = Course()
    course.offer(SDP)
    assert not course.direct(SDP)
    assert course.latch.source == SDP
    assert course.direct(SDP, anew=True)
    assert course.latch.source is None
    course.offer(SDP)
    assert course.direct(ELSEWHERE)
    assert course.latch.source is None
    assert not course.latch.certain


@pytest.mark.parametrize("held", [False, True])
def test_after_a_move_the_old_peer_does_not_come_back(held: bool) -> None:
    course = Course(SDP)
    course.talk(ELSEWHERE, 200)  # it is behind a NAT
    if held:
        course.direct(None)
    course.direct(STRANGER)
    assert course.talk(ELSEWHERE, round(FORMER / 0.02) - 2) == [REFUSED] * (round(FORMER / 0.02) - 2)
    assert course.offer(STRANGER) is LATCHED


def test_after_a_move_to_where_it_was_the_peer_is_heard_at_once() -> None:
    course = Course(SDP)
    course.talk(ELSEWHERE, 200)
    course.direct(ELSEWHERE)  # SDP names the address outside now
    assert course.offer(ELSEWHERE) is LATCHED


def test_after_hold_the_peer_behind_a_nat_is_heard_at_once() -> None:
    course = Course(SDP)
    course.talk(ELSEWHERE, 200)
    course.direct(None)
    course.direct(SDP)
    assert course.talk(ELSEWHERE, 2) == [REFUSED, FOR_NOW]


# --- jitter buffers ---------------------------------------------------------------------


class Line:
    """One slot among several, fed packet by packet; frame ``n`` is full of the value ``100 + n``."""

    def __init__(self, start: int = 2**32 - 5 * FRAME) -> None:
        self.buffers = JitterBuffers(3)
        self.start = start
        for slot in range(3):
            self.buffers.open(slot)

    def put(self, n: float, frames: float = 1) -> None:
        sound = np.repeat(100 + np.floor(n + np.arange(round(frames * FRAME)) / FRAME), 1).astype(np.int16)
        stamp = np.array([(self.start + round(n * FRAME)) % 2**32], np.uint32)
        self.buffers.insert(np.array([1]), stamp, sound[None, :])

    def play(self, ticks: int = 1) -> list[int]:
        """The middle sample of the frames that come out, less 100."""
        return [int(self.buffers.play(np.array([1]))[0][80]) - 100 for _ in range(ticks)]


def test_steady_packets_come_out_in_order_after_the_delay() -> None:
    line = Line()
    out = []
    for n in range(20):
        line.put(n)
        out += line.play()
    assert out == [-100] * FIRST_DELAY + list(range(20 - FIRST_DELAY))


@pytest.mark.parametrize("order", [(1, 0), (2, 1, 0), (0, 2, 1), (1, 0, 1, 0)])
def test_reordered_and_repeated_packets(order: tuple[int, ...]) -> None:
    line = Line()
    line.put(0)
    heard = line.play()
    for n in order:
        line.put(1 + n)
    assert (heard + line.play(4))[: FIRST_DELAY + 3] == [-100] * FIRST_DELAY + [0, 1, 2]
    assert line.buffers.late[1] == 0


def test_a_lost_frame_is_concealed_and_a_long_gap_dies_away() -> None:
    line = Line()
    for n in (0, 1, 3):
        line.put(n)
    line.play(FIRST_DELAY)
    frames = [int(line.buffers.play(np.array([1]))[0][-1]) for _ in range(10)]
    assert frames[:2] == [100, 101]
    assert 0 < frames[2] < 101
    assert frames[3] == 103
    assert 103 > frames[4] > frames[5] > frames[6] == 0
    assert frames[7:] == [0, 0, 0]
    assert line.buffers.concealed[1] == 1 + 3


@pytest.mark.parametrize("length", [0.5, 1.5, 2.0, 3.0])
def test_other_packet_times(length: float) -> None:
    line = Line()
    sent, out = 0.0, []
    for tick in range(30):
        while sent + length <= tick + 1:
            line.put(sent, length)
            sent += length
        out += line.play()
    begun = out.index(0)
    assert out[begun:] == list(range(30 - begun))
    assert begun <= FIRST_DELAY + length


def test_a_first_packet_that_waited_long_delays_nothing_after_it() -> None:
    """Those between it and the second were thrown away, as they came before the kernel filtered the port."""
    line = Line()
    line.put(0)
    out = line.play()
    for n in range(8, 40):
        line.put(n)
        out += line.play()
    assert out == [-100] * FIRST_DELAY + [0, *range(8, 40)][: len(out) - FIRST_DELAY]
    assert line.buffers.moved[1] == line.buffers.concealed[1] == 0


def test_an_early_jump_of_the_timestamp_begins_anew() -> None:
    line = Line()
    for n in range(3):
        line.put(n)
    line.play(3)
    line.put(5000)
    assert line.play(FIRST_DELAY + 1)[-1] == 5000
    line.put(10)  # and back again
    assert line.play(FIRST_DELAY + 1)[-1] == 10


def test_a_pause_with_a_frozen_timestamp_begins_anew() -> None:
    line = Line()
    line.put(0)
    line.play(FIRST_DELAY + 1 + 200)
    line.put(1)
    assert line.play(FIRST_DELAY + 1)[-1] == 1


def test_a_pause_with_a_running_timestamp_keeps_its_place() -> None:
    line = Line()
    line.put(0)
    line.play(101)
    line.put(101)
    assert line.play(FIRST_DELAY)[-1] == -100
    assert line.play()[-1] in (100, 101)


def test_delay_grows_when_packets_come_late() -> None:
    line = Line()
    out: list[int] = []
    for n in range(100):
        if n >= 10:  # from here on the network takes 80 ms longer
            line.put(n - 4)
        elif n < 6:
            line.put(n)
        out += line.play()
    late = int(line.buffers.late[1])
    assert 3 <= late <= 6
    assert out[-20:] == list(range(out[-1] - 19, out[-1] + 1))
    assert out[-1] >= 99 - 4 - FIRST_DELAY - 4


def test_delay_shrinks_again_frame_by_frame() -> None:
    line = Line()
    for n in range(FIRST_DELAY + 4):  # a burst: everything waits 4 frames longer than needed
        line.put(n)
    n, behind = FIRST_DELAY + 4, []
    for _ in range(1500):
        line.put(n)
        behind.append(n - line.play()[0])
        n += 1
    assert behind[300] > behind[-1]
    assert behind[-1] <= FIRST_DELAY + 1


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 480), st.integers(0, 3)), max_size=30))
def test_hostile_timestamps_disturb_nobody_else(packets: list[tuple[int, int, int]]) -> None:
    line = Line()
    other: list[int] = []
    tick = 0
    for stamp, length, ticks in packets:
        line.buffers.insert(np.array([1]), np.array([stamp], np.uint32), np.ones((1, length), np.int16))
        for _ in range(ticks):
            sound = np.full((1, FRAME), 1 + tick, np.int16)
            line.buffers.insert(np.array([2]), np.array([tick * FRAME], np.uint32), sound)
            other.append(int(line.buffers.play(np.array([1, 2]))[1][0]))
            tick += 1
    assert other == ([0] * FIRST_DELAY + list(range(1, tick + 1)))[:tick]


def test_history_is_what_was_played() -> None:
    line = Line()
    for n in range(40):
        line.put(n)
        line.play()
    history = line.buffers.history(1, AHEAD).reshape(-1, FRAME)
    assert (history[:, 0] - 100).tolist() == list(range(40 - FIRST_DELAY - AHEAD, 40 - FIRST_DELAY))
