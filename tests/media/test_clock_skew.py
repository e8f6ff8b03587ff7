"""Senders whose clocks are not ours, and networks that change: how long packets wait, and when that changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import tone_power

from media.jitter import FIRST_DELAY, MAX_DELAY, JitterBuffers
from media.rates import FRAME, FRAME_SECONDS, RATE
from media.reception import LEARNING, Reception

SLOT = np.array([0])
TALK, PAUSE = 60, 40
"""Frames: the sender speaks 1.2 s, then is quiet for 0.8 s."""


class Sender:
    """A sender whose clock is ``ppm`` faster than ours, through a network with ``jitter`` (mean delay in seconds)."""

    def __init__(self, ppm: float, jitter: float = 0.0, seed: int = 1, *, phase: float = 0.5) -> None:
        self.buffers = JitterBuffers(1)
        self.buffers.open(0)
        self.interval = 1 / (1 + ppm * 1e-6)  # frames of ours between two packets
        self.jitter = jitter / FRAME_SECONDS
        self.rng = np.random.default_rng(seed)
        self.phase = phase
        self.sent = 0
        self.now = 0
        self.flight: list[tuple[float, int]] = []
        self.loud_moves = 0
        self.waits: list[int] = []

    def frame(self, number: int) -> np.ndarray:
        """Speech has the number in its samples, and so has silence; speech is loud."""
        loud = 8000 if number % (TALK + PAUSE) < TALK else 0
        return np.full(FRAME, loud + number % 40 + 1, np.int16)

    def run(self, frames: int) -> None:
        buffers = self.buffers
        for _ in range(frames):
            while self.phase + self.sent * self.interval < self.now + 1:
                delay = self.rng.exponential(self.jitter) if self.jitter else 0.0
                self.flight.append((self.phase + self.sent * self.interval + delay, self.sent))
                self.sent += 1
            for arrival, number in sorted(packet for packet in self.flight if packet[0] < self.now + 1):
                self.flight.remove((arrival, number))
                moves = buffers.moved[0]
                stamp = np.array([number * FRAME % 2**32], np.uint32)
                buffers.insert(SLOT, stamp, self.frame(number)[None, :])
                if buffers.moved[0] != moves and number % (TALK + PAUSE) < TALK:
                    self.loud_moves += 1
            heard = int(buffers.play(SLOT)[0][80])
            if heard % 8000:
                self.waits.append((self.sent - 1 - (heard % 8000 - 1)) % 40)
            self.now += 1


HOUR = round(3600 / FRAME_SECONDS)


@pytest.mark.parametrize("ppm", [200, -200])
def test_an_hour_with_a_clock_that_is_off(ppm: float) -> None:
    """0.72 s of drift: 36 frames, each left out or put in once, while the sender is quiet."""
    sender = Sender(ppm)
    sender.run(HOUR)
    buffers = sender.buffers
    drift = 200e-6 * HOUR
    assert drift - 2 <= buffers.moved[0] <= drift + 1
    assert sender.loud_moves == 0
    assert buffers.late[0] == 0
    assert buffers.concealed[0] <= FIRST_DELAY + (drift + 1) * (ppm < 0)
    assert max(sender.waits) <= FIRST_DELAY + 1
    assert buffers.delay(0) <= (FIRST_DELAY + 1.5) * FRAME_SECONDS


@pytest.mark.parametrize("ppm", [100, -100])
def test_a_clock_that_is_off_behind_a_network_that_jitters(ppm: float) -> None:
    sender = Sender(ppm, jitter=0.004)
    sender.run(HOUR // 4)
    drift = 100e-6 * HOUR / 4
    assert sender.buffers.moved[0] <= drift + 6
    assert sender.loud_moves <= 3
    assert sender.buffers.late[0] <= 0.003 * HOUR / 4
    assert np.percentile(sender.waits, 99.5) <= 3  # a made-up frame may look like any


def test_a_clock_that_is_right_needs_no_correction() -> None:
    sender = Sender(0)
    sender.run(HOUR // 10)
    assert (sender.buffers.moved[0], sender.buffers.late[0], sender.buffers.concealed[0]) == (0, 0, 0)
    assert sender.buffers.delay(0) == pytest.approx((FIRST_DELAY + 0.5) * FRAME_SECONDS, abs=0.001)


def test_a_single_late_packet_in_a_window_costs_no_delay() -> None:
    sender = Sender(0)
    for _ in range(20):
        sender.run(230)
        sender.flight.append((sender.now + 5.5, sender.sent))  # one packet takes 100 ms longer
        sender.sent += 1
        sender.run(20)
    assert sender.buffers.late[0] == 20
    assert sender.waits[-1] == FIRST_DELAY
    assert sender.buffers.moved[0] <= 2


def test_a_network_that_gets_better_gives_the_delay_back_in_pauses() -> None:
    sender = Sender(0, jitter=0.03)
    sender.run(1500)
    worst = max(sender.waits[-200:])
    assert 3 <= worst <= MAX_DELAY + 4
    sender.jitter = 0.0
    sender.run(2500)
    assert sender.waits[-1] <= FIRST_DELAY + 1


# --- the sound of a correction ----------------------------------------------------------


@pytest.mark.parametrize("change", [-2, -1, 1])
def test_a_forced_correction_in_a_tone_is_no_click(change: int) -> None:
    buffers = JitterBuffers(1)
    buffers.open(0)
    hertz, amplitude, out = 330, 9000, []
    when = np.arange(240 * FRAME) / RATE
    sound = (amplitude * np.sin(2 * np.pi * hertz * when)).astype(np.int16).reshape(-1, FRAME)
    for n in range(240):
        if n == 200:
            buffers._change[0], buffers._change_by[0], buffers._settled[0] = change, n, False
        buffers.insert(SLOT, np.array([n * FRAME], np.uint32), sound[n][None, :])
        if n > 3:  # so that the packets wait four frames
            out.append(buffers.play(SLOT)[0].astype(float))
    heard = np.concatenate(out)[8 * FRAME :]
    assert buffers.moved[0] == 1
    own = amplitude * 2 * np.pi * hertz / RATE
    assert np.abs(np.diff(heard)).max() <= own + 2 * amplitude / 40
    assert tone_power(heard[-30 * FRAME :], hertz) == pytest.approx(amplitude, rel=0.01)


def test_nothing_of_what_was_left_out_is_heard_later() -> None:
    """The packet after a correction is lost: in its place there is no older one."""
    buffers = JitterBuffers(1)
    buffers.open(0)
    heard = []
    for n in range(30):
        if n == 15:
            buffers._change[0], buffers._change_by[0], buffers._settled[0] = -3, 0, False
        if n != 16:
            buffers.insert(SLOT, np.array([n * FRAME], np.uint32), np.full((1, FRAME), 1000 * n, np.int16))
        if n > 5:
            heard.append(int(buffers.play(SLOT)[0][60]))  # after the splice, before the fade
    numbers = [each // 1000 for each in heard if each]
    assert numbers == [*range(1, 12), 15, 15, *range(17, 17 + len(numbers) - 13)]


# --- counts -----------------------------------------------------------------------------


def test_early_packets_are_counted() -> None:
    buffers = JitterBuffers(1)
    buffers.open(0)
    for n in (0, 1, 2, 500, 501, 40):
        buffers.insert(SLOT, np.array([n * FRAME], np.uint32), np.ones((1, FRAME), np.int16))
        buffers.play(SLOT)
    assert (buffers.early[0], buffers.late[0]) == (1, 0)
    buffers.open(0)
    assert buffers.early[0] == 0


@pytest.mark.parametrize("ppm", [200.0, 35.0, -80.0])
@pytest.mark.parametrize("jitter", [0.0, 0.006])
def test_the_skew_of_a_clock_is_found(ppm: float, jitter: float) -> None:
    rng = np.random.default_rng(1)
    reception = Reception(2)
    reception.begin(0, 0)
    early = []
    for n in range(45000):  # 15 minutes
        arrival = n * FRAME_SECONDS / (1 + ppm * 1e-6) + (rng.exponential(jitter) if jitter else 0)
        tick = np.ceil((arrival + 7000) / 0.005) * 0.005  # sockets are read every 5 ms
        stamp = np.array([(n * FRAME + 2**31) % 2**32], np.uint32)
        reception.note(SLOT, np.array([n % 65536], np.uint16), stamp, tick)
        if n % 250 == 0:
            reception.report(0)
            if n * FRAME_SECONDS < LEARNING:
                early.append(reception.skew_ppm(0))
    assert reception.skew_ppm(0) == pytest.approx(ppm, abs=8)
    assert set(early) == {0.0}
    reception.begin(0, 7)
    assert reception.skew_ppm(0) == 0
    assert reception.skew_ppm(1) == 0


# --- any network ------------------------------------------------------------------------

HOPS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(HOPS, st.integers(0, 2**32 - 1), st.floats(0, 0.2), st.sets(st.integers(0, 590), max_size=4))
def test_behind_a_network_that_keeps_the_order_nothing_is_heard_twice_or_out_of_turn(
    hops: list[tuple[int, bool]], seed: int, loss: float, stalls: set[int]
) -> None:
    """Delays wander, packets are lost, and we stand still at times; the delay follows and comes back."""
    rng = np.random.default_rng(seed)
    delay = np.repeat([frames for frames, _ in hops], 600 // len(hops) + 1)[:600] * rng.random(600)
    delay[hops[0][0] * 20 :: 97] += 3 * hops[-1][1]
    arrival = np.maximum.accumulate(np.arange(600) + delay)
    buffers = JitterBuffers(1)
    buffers.open(0)
    heard: list[int] = []
    next_packet, now = 0, 0
    while now < 1000:
        if now in stalls:
            buffers.pause(SLOT, 15)
            now += 15
        while next_packet < 600 and arrival[next_packet] < now + 1:
            if rng.random() >= loss:
                sound = np.full((1, FRAME), 1 + next_packet, np.int16)
                buffers.insert(SLOT, np.array([next_packet * FRAME + 2**31], np.uint32), sound)
            next_packet += 1
        frame = buffers.play(SLOT)[0]
        if not buffers._gap[0]:
            heard.append(int(frame[80]))
        now += 1
    assert heard == sorted(set(heard))
    assert buffers.moved[0] <= 60
    for n in range(600, 1200):  # the network is good again
        buffers.insert(SLOT, np.array([n * FRAME + 2**31], np.uint32), np.full((1, FRAME), 1 + n, np.int16))
        last = int(buffers.play(SLOT)[0][80])
    assert 0 <= 1200 - last <= FIRST_DELAY + 1
