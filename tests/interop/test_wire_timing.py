"""Times on the wire, by the kernel's own stamps: RTP after the answer, the first prompt, barge-in."""

from __future__ import annotations

import numpy as np
import pytest
from kit import sound
from kit.daemon import Daemon
from kit.phone import Phone
from kit.trees import ONE_HZ, ROOT_HZ

pytestmark = pytest.mark.alone

SETTLE = 0.100


def test_rtp_and_first_prompt_start_on_time(house: Daemon) -> None:
    firsts, prompts = [], []
    for _ in range(5):
        with Phone(house.address) as phone:
            assert phone.call("3000").status == 200
            prompts.append(phone.rtp.wait_for_sound(ROOT_HZ, 3) - phone.answered_at)
            firsts.append(phone.rtp.packets[0].at - phone.answered_at)
    assert max(firsts) <= 0.040, f"first RTP after the answer, in ms: {[round(at * 1000) for at in firsts]}"
    assert all(abs(at - SETTLE) <= 0.020 for at in prompts), f"prompt after the answer, s: {np.round(prompts, 3)}"


@pytest.mark.parametrize("method", ["rfc4733", "inband"])
def test_barge_in_stops_the_prompt_at_once(house: Daemon, method: str) -> None:
    delays = []
    for _ in range(5):
        with Phone(house.address) as phone:
            assert phone.call("3000").status == 200
            phone.rtp.wait_for_sound(ROOT_HZ, 3)
            if method == "rfc4733":
                phone.rtp.press("1", name="key")
            else:
                phone.rtp.say(sound.dtmf("1", 0.1, 0.02), "key")
            phone.rtp.wait_for_sound(ONE_HZ, 3)
            key = phone.rtp.sent_at["key"]
            last = max(
                packet.at
                for packet in phone.rtp.loud_packets()
                if sound.power_at(phone.rtp.decode(packet), ROOT_HZ) > -35
                and sound.power_at(phone.rtp.decode(packet), ONE_HZ) < -40
            )
            delays.append(last - key)
    assert max(delays) <= 0.060, f"last packet of the prompt after the key, in ms: {[round(d * 1000) for d in delays]}"


def test_packets_leave_every_20_ms_and_never_two_at_once(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call("3000").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        phone.serve(3.0)
        packets = phone.rtp.packets[:]
    gaps = np.diff([packet.at for packet in packets])
    assert np.median(gaps) == pytest.approx(0.020, abs=0.0005)
    assert gaps.min() > 0.004, f"two frames {gaps.min() * 1000:.1f} ms apart"
    assert np.percentile(gaps, 99) < 0.045
    assert np.all(np.diff([packet.sequence for packet in packets]) % 65536 == 1)
    assert np.all(np.diff([packet.timestamp for packet in packets]) % 2**32 == 160)
    assert packets[0].marker
    assert not any(packet.marker for packet in packets[1:])
