"""What comes in: usual and unusual packets, sources, floods, garbage, silence of the network."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import SILENCE, Phone, Studio, sine

from media import commands, reports
from media.rates import FRAME


def test_counts_what_comes_in(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    packets = [phone.sound(SILENCE) for _ in range(50)]
    del packets[20]
    packets[10], packets[11] = packets[11], packets[10]
    packets.insert(30, packets[29])
    for packet in packets:
        phone.raw(packet)
        studio.run(0.02)
    phone.raw(b"")
    phone.raw(b"\x80")
    phone.raw(b"x" * 200)
    phone.raw(b"x" * 1700)
    phone.raw(phone.packet(b"other", 97))
    studio.run(0.1)
    stats = studio.drop()
    assert (stats.received, stats.lost, stats.reordered, stats.duplicated) == (49, 1, 1, 1)
    assert (stats.malformed, stats.foreign) == (5, 0)


def decorated(phone: Phone, sound: np.ndarray, kind: str) -> bytes:
    plain = bytearray(phone.sound(sound))
    if kind == "padding":
        plain[0] |= 0x20
        return bytes(plain) + b"\0\0\0\4"
    if kind == "sources":
        plain[0] |= 2
        return bytes(plain[:12] + bytes(8) + plain[12:])
    plain[0] |= 0x10
    return bytes(plain[:12] + struct.pack("!HH", 0xBEDE, 1) + bytes(4) + plain[12:])


@pytest.mark.parametrize("kind", ["padding", "sources", "extension"])
def test_unusual_packets_are_heard(studio: Studio, phone: Phone, tmp_path, kind: str) -> None:
    studio.connect(phone)
    studio.do(commands.Activity(1, True))
    for n in range(60):
        sound = sine(300, 0.02, 6000) if 20 <= n < 40 else SILENCE
        phone.raw(decorated(phone, sound, kind))
        studio.run(0.02)
    speech = studio.last(reports.SpeechEnded)
    assert speech.at - speech.since == pytest.approx(0.4, abs=0.05)
    assert speech.dbfs == pytest.approx(20 * np.log10(6000 / 32768), abs=1)


def test_two_sources_on_one_address_do_not_take_turns(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    other = Phone()
    studio.talk(phone, np.zeros(5 * FRAME))
    for _ in range(50):
        phone.raw(other.sound(SILENCE)[:8] + b"\0\0\0\7" + bytes(FRAME))
        studio.talk(phone, np.zeros(FRAME))
    assert studio.drop().received == 5 + 50
    other.close()


def test_a_new_source_on_the_same_address(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.do(commands.Activity(1, True))
    studio.talk(phone, np.zeros(10 * FRAME))
    phone.ssrc, phone.sequence, phone.timestamp = 77, 5, 123456
    studio.talk(phone, sine(300, 0.4))
    studio.talk(phone, np.zeros(30 * FRAME))
    stats = studio.drop()
    assert (stats.received, stats.lost) == (10 + 20 + 30 - 1, 0)
    speech = studio.last(reports.SpeechEnded)
    assert speech.at - speech.since == pytest.approx(0.4, abs=0.05)


def test_a_stall_is_made_up_for_at_once(studio: Studio, phone: Phone) -> None:
    """What lay in the socket meanwhile is taken with the next frames, not one by one."""
    studio.connect(phone)
    studio.talk(phone, np.zeros(20 * FRAME))
    for _ in range(15):
        phone.raw(phone.sound(np.zeros(FRAME)))
    studio.now += 0.3
    studio.tick(skipped=15)
    studio.run(0.06)
    studio.talk(phone, np.zeros(50 * FRAME))
    stats = studio.drop()
    assert stats.received == 85
    assert stats.late <= 18
    assert stats.delay_ms < 80


def test_loss_of_the_network_is_told_once_and_not_on_hold(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.do(commands.RtpTimeout(1, 2.0))
    studio.talk(phone, np.zeros(50 * FRAME))
    studio.run(1.9)
    assert studio.reports(reports.RtpLost) == []
    studio.run(0.2)
    (lost,) = studio.reports(reports.RtpLost)
    assert lost.seconds == pytest.approx(2.0, abs=0.05)
    studio.run(5)
    assert len(studio.reports(reports.RtpLost)) == 1
    studio.direct(phone, receive=False)
    studio.run(5)
    studio.direct(phone)
    studio.run(1.9)
    assert len(studio.reports(reports.RtpLost)) == 1
    studio.run(0.2)
    assert len(studio.reports(reports.RtpLost)) == 2


def test_a_peer_that_is_gone_is_no_error(studio: Studio) -> None:
    phone = Phone()
    studio.connect(phone)
    studio.talk(phone, np.zeros(800))
    phone.close()
    studio.run(0.5)
    assert studio.drop().received == 5


def test_a_flood_on_one_port_starves_nobody(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    quiet = Phone()
    studio.connect(quiet, 2)
    for _ in range(300):
        phone.raw(b"\x80" + bytes(171))
    studio.talk(quiet, np.zeros(10 * FRAME))
    studio.do(commands.Drop(1), commands.Drop(2))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 10
    quiet.close()


Datagram = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda first, second, rest: bytes([first, second]) + rest,
        st.sampled_from([0x80, 0x90, 0xA0, 0x81, 0xBF]),
        st.sampled_from([0, 0x80, 13, 101, 0xE5, 8, 200, 201, 202, 203, 205]),
        st.binary(max_size=700),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["peer", "stranger", "control"]), Datagram), max_size=30))
def test_no_datagram_breaks_the_plane(datagrams: list[tuple[str, bytes]]) -> None:
    studio, peer, quiet, stranger = Studio(), Phone(), Phone(), Phone()
    studio.connect(peer)
    studio.connect(quiet, 2)
    stranger.to = peer.to
    studio.do(commands.Activity(1, True), commands.Hear(1, 1, ["yes"]))
    studio.talk(quiet, np.zeros(2 * FRAME))
    for origin, data in datagrams:
        if origin == "control":
            peer.control.sendto(data, ("127.0.0.1", peer.to + 1))
        else:
            (peer if origin == "peer" else stranger).raw(data)
        studio.talk(quiet, np.zeros(FRAME))
    studio.run(0.1)
    studio.do(commands.Drop(1), commands.Drop(2))
    stats = studio.last(reports.Closed).stats
    assert (stats.received, stats.lost, stats.late, stats.malformed) == (2 + len(datagrams), 0, 0, 0)
    for phone in (peer, quiet, stranger):
        phone.close()


def test_packets_of_zeros_are_nobodys(studio: Studio, phone: Phone) -> None:
    """Whatever begins like no RTP packet is refused, also where nothing is expected yet."""
    stranger = Phone()
    studio.do(commands.Open(1, "127.0.0.1"))
    studio.open.add(1)
    stranger.to = studio.last(reports.Opened).port
    heads = [b"\0\0", b"\0\x80", b"\x80\0", b"\0\x7f", b"\xff\xff"]
    for head in heads:
        stranger.raw(head + bytes(170))
    studio.run(0.1)
    studio.direct(phone)
    for _ in range(10):
        for head in heads:
            stranger.raw(head + bytes(10) + np.arange(160, dtype=np.uint8).tobytes())
        studio.run(0.05)
    stats = studio.drop()
    assert stats.received <= 10  # those with a valid header are RTP, and latch where nobody else speaks
    assert stats.malformed + stats.foreign + stats.received >= 50
    stranger.close()
