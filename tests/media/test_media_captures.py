"""Captured streams: every packet of both ways with its time and addresses, bounded, and nobody else's."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from media_studio import Phone, Studio, samples_of, sine, tone_power
from pylibsrtp import Policy, Session

from media import commands, packetlog, reports, rtcp, writer
from media.packetlog import RECEIVED, SENT, End, Packet, Way
from media.rates import FRAME

CALL = "c1"
PLENTY = 1 << 20


def capture(path: Path, stream: int = 1, limit: int = PLENTY, call: str = CALL) -> commands.Capture:
    return commands.Capture(stream, str(path), call, limit)


def read(path: Path) -> tuple[list[Packet], list[End]]:
    ends: list[End] = []
    with path.open("rb") as file:
        return list(packetlog.in_order(packetlog.read(file, ends.append))), ends


def sequences(packets: list[Packet], kind: int) -> list[int]:
    chosen = [packet for packet in packets if packet.kind == kind and not packet.way.control]
    return [int.from_bytes(packet.data[2:4], "big") for packet in chosen]


def ended(studio: Studio) -> list[tuple[int, str]]:
    studio.run(0.04)
    return [(report.stream, report.why) for report in studio.reports(reports.Captured)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "captures" / "c1-1.rtp"


def test_both_ways_with_times_and_addresses(studio: Studio, phone: Phone, path: Path, tone) -> None:
    port = studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440.0)]))
    before = time.time()
    studio.do(capture(path))
    came = studio.talk(phone, sine(1000, 0.5))
    after = time.time()
    assert studio.open
    studio.do(commands.StopCapture(1))
    assert ended(studio) == [(1, "closed")]
    studio.talk(phone, sine(1000, 0.1))
    packets, ends = read(path)
    assert [end.why for end in ends] == ["closed"]
    assert all(before <= packet.at <= after for packet in packets)
    assert [packet.at for packet in packets] == sorted(packet.at for packet in packets)
    assert {(packet.way.local, packet.way.remote) for packet in packets} == {
        (("127.0.0.1", port), ("127.0.0.1", phone.port))
    }
    received = [packet.data for packet in packets if packet.kind == RECEIVED]
    assert sequences(packets, RECEIVED) == [(65530 + number) & 0xFFFF for number in range(25)]
    heard = np.concatenate([samples_of(data) for data in received])
    assert tone_power(heard, 1000) == pytest.approx(8000, rel=0.1)
    sent = [packet.data for packet in packets if packet.kind == SENT]
    assert sent == came, "what was heard, octet by octet"
    assert packets[0].way.events == (101,)


def test_the_kernels_time_is_that_of_the_packet(studio: Studio, phone: Phone, path: Path) -> None:
    """Not that of the tick which takes it in: latched or not."""
    studio.connect(phone)
    studio.do(capture(path))
    sent_at = []
    for _ in range(6):
        sent_at.append(time.time())
        phone.raw(phone.sound(np.zeros(FRAME)))
        time.sleep(0.03)  # the worker is late
        studio.run(0.02)
    studio.do(commands.StopCapture(1))
    studio.run(0.04)
    received = [packet.at for packet in read(path)[0] if packet.kind == RECEIVED]
    assert len(received) == 6
    for at, began in zip(received, sent_at, strict=True):
        assert 0 <= at - began < 0.02


def test_control_packets_lie_on_the_port_beside(studio: Studio, phone: Phone, path: Path) -> None:
    port = studio.connect(phone)
    studio.do(capture(path))
    studio.talk(phone, sine(1000, 0.1))
    report = rtcp.report(phone.ssrc, sender=(1 << 40, 160, 5, 800), about=None, cname="p")
    phone.control.sendto(report, (phone.host, port + 1))
    studio.run(0.04)
    studio.drop()
    assert ended(studio) == [(1, "closed")]
    packets, ends = read(path)
    control = [packet for packet in packets if packet.way.control]
    ways = {(packet.kind, packet.way.local[1], packet.way.remote[1]) for packet in control}
    assert ways == {(RECEIVED, port + 1, phone.control_port), (SENT, port + 1, phone.control_port)}
    assert control[0].data == report
    assert control[-1].data[-8:-4] == rtcp.bye(0)[:4], "the last one says BYE"
    assert len(ends) == 1


def test_what_was_encrypted_can_be_read(studio: Studio, phone: Phone, path: Path) -> None:
    ours, theirs = bytes(range(30)), bytes(range(30, 60))
    suite = "AES_CM_128_HMAC_SHA1_80"
    studio.connect(phone, srtp=commands.Srtp(suite, ours, theirs))
    studio.do(capture(path))
    session = Session(
        Policy(theirs, Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    )
    for _ in range(10):
        phone.raw(session.protect(phone.sound(np.zeros(FRAME))))
        studio.run(0.02)
    wire = phone.take()
    phone.raw(phone.sound(np.zeros(FRAME)))  # not encrypted: nobody's
    studio.run(0.02)
    studio.do(commands.StopCapture(1))
    studio.run(0.04)
    packets, _ = read(path)
    received = [packet.data for packet in packets if packet.kind == RECEIVED]
    assert [len(data) for data in received] == [12 + FRAME] * 10
    assert all(data[12:] == b"\xff" * FRAME for data in received)
    sent = [packet.data for packet in packets if packet.kind == SENT]
    assert len(sent) >= len(wire)
    assert {len(data) for data in sent} == {12 + FRAME}
    assert {len(data) for data in wire} == {12 + FRAME + 10}


def test_both_legs_of_a_bridge(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    other = Phone()
    first, second = tmp_path / "c1-1.rtp", tmp_path / "c1-2.rtp"
    try:
        studio.connect(phone, 1)
        studio.connect(other, 2)
        studio.do(capture(first, 1), capture(second, 2))
        studio.talk(other, np.zeros(FRAME * 3))
        studio.do(commands.Relay(1, 2), commands.Relay(2, 1))
        studio.talk(phone, sine(700, 0.4))
        stamp = phone.timestamp
        phone.raw(phone.event(7, 160, stamp))
        phone.raw(phone.event(7, 320, stamp, end=True))
        studio.run(0.06)
        studio.do(commands.StopCapture(1), commands.StopCapture(2))
        studio.run(0.04)
    finally:
        other.close()
    (near, _), (far, _) = read(first), read(second)
    passed = [packet.data for packet in far if packet.kind == SENT]
    heard = np.concatenate([samples_of(data) for data in passed if data[1] & 0x7F == 0])
    assert tone_power(heard[-2400:], 700) > 4000
    events = [packet.data[12:] for packet in near if packet.data[1] & 0x7F == 101]
    assert events == [data[12:] for data in passed if data[1] & 0x7F == 101]
    assert len(events) == 2


def test_a_limit_is_that_of_all_streams_of_a_call(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    other = Phone()
    paths = [tmp_path / f"c-{number}.rtp" for number in (1, 2)]
    try:
        studio.connect(phone, 1)
        studio.connect(other, 2)
        studio.do(capture(paths[0], 1, 8000), capture(paths[1], 2, 8000))
        studio.talk(phone, sine(500, 1.0))
    finally:
        other.close()
    assert sorted(ended(studio)) == [(1, "limit"), (2, "limit")]
    found = [read(path) for path in paths]
    assert [[end.why for end in ends] for _, ends in found] == [["limit"], ["limit"]]
    assert sum(len(packet.data) + packetlog.HEAD.size for packets, _ in found for packet in packets) <= 8000
    assert sum(report.octets for report in studio.reports(reports.Captured)) <= 8000
    assert studio.plane._captures.idle


def test_another_file_takes_the_place_of_the_one_before(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    first, second = tmp_path / "a-1.rtp", tmp_path / "b-1.rtp"
    studio.do(capture(first, call="a"))
    studio.talk(phone, sine(500, 0.1))
    studio.do(capture(second, call="b"))
    studio.talk(phone, sine(500, 0.1))
    studio.do(commands.StopCapture(1))
    assert ended(studio) == [(1, "closed"), (1, "closed")]
    one, other = (sequences(read(path)[0], RECEIVED) for path in (first, second))
    assert one + other == [(65530 + number) & 0xFFFF for number in range(10)]


def test_a_disk_that_refuses_ends_the_capture_alone(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone)
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    studio.do(capture(blocked / "c1-1.rtp"))
    studio.talk(phone, sine(500, 0.1))
    studio.do(commands.StopCapture(1))
    assert ended(studio) == [(1, "failed")]
    assert studio.last(reports.Captured).reason
    assert studio.talk(phone, sine(500, 0.1)), "the call goes on"


def test_a_stream_that_is_not_there(studio: Studio, path: Path) -> None:
    studio.do(capture(path, 9))
    assert ended(studio) == [(9, "failed")]


def test_strangers_cannot_make_addresses_without_end(studio: Studio, phone: Phone, path: Path) -> None:
    studio.connect(phone)
    studio.do(capture(path))
    for _ in range(70):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\x80\x00" + bytes(170), (phone.host, phone.to))
            studio.run(0.02)
    studio.talk(phone, np.zeros(FRAME))
    studio.do(commands.StopCapture(1))
    studio.run(0.04)
    packets, _ = read(path)
    assert len({packet.way.remote for packet in packets}) <= 64
    assert sequences(packets, SENT), "who is talked with has a place"


def test_a_writer_that_dies_costs_what_it_had(studio: Studio, phone: Phone, path: Path) -> None:
    """What comes after goes into another file: the last record of the first may be cut off."""
    studio.connect(phone)
    studio.do(capture(path))
    studio.talk(phone, sine(500, 0.1))
    captures = studio.plane._captures
    captures.writer_lost()
    studio.talk(phone, sine(500, 0.1))
    studio.do(commands.StopCapture(1))
    assert ended(studio) == [(1, "closed")]
    packets, ends = read(path.with_name("c1-1-2.rtp"))
    assert len(ends) == 1
    assert sequences(packets, RECEIVED)[-5:] == [(65535 + number) & 0xFFFF for number in range(5)]


def test_what_a_writer_does_not_take_is_lost_and_counted(studio: Studio, phone: Phone, path: Path, monkeypatch) -> None:
    monkeypatch.setattr("media.captures.EVERY", 0.0)
    monkeypatch.setattr("media.captures.MOST_PENDING", -1)
    studio.connect(phone)
    studio.do(capture(path))
    studio.talk(phone, sine(500, 0.1))
    monkeypatch.setattr("media.captures.MOST_PENDING", PLENTY)
    studio.talk(phone, sine(500, 0.1))
    studio.do(commands.StopCapture(1))
    studio.run(0.04)
    packets, (end,) = read(path)
    assert end.lost > 5
    assert len(sequences(packets, RECEIVED)) >= 4, "addresses are told again"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_that_a_kill_cut_short_is_read_up_to_there(tmp_path: Path, cut: int) -> None:
    way = msgspec.json.encode(Way(("127.0.0.1", 4000), ("::1", 5000), events=(101,)))
    whole = packetlog.record(packetlog.WAY, 0, 1.0, way)
    whole += packetlog.record(RECEIVED, 0, 2.0, b"a" * 20) + packetlog.record(SENT, 0, 3.0, b"b" * 20)
    path = tmp_path / "x.rtp"
    path.write_bytes(whole[:-cut])
    packets, ends = read(path)
    assert [packet.data[:1] for packet in packets] == ([b"a"] if cut <= 32 else [])
    assert not ends
    path.write_bytes(whole + b"\xff" * 30)
    assert [packet.at for packet in read(path)[0]] == [2.0, 3.0], "garbage ends it"


def test_packets_are_put_in_order() -> None:
    way = Way(("127.0.0.1", 1), ("127.0.0.1", 2))
    times = [1.0, 1.02, 1.01, 1.5, 1.49, 5.0, 4.99]
    ordered = packetlog.in_order(Packet(at, SENT, way, b"") for at in times)
    assert [packet.at for packet in ordered] == sorted(times)


def test_who_is_not_captured_is_not_looked_at(studio: Studio, phone: Phone, path: Path, monkeypatch) -> None:
    """Nothing of captures is called for packets, RTCP and keys as long as no stream is captured."""
    captures, called = studio.plane._captures, []
    for name in ("received", "sent", "sent_one", "control"):
        monkeypatch.setattr(captures, name, lambda *_args, name=name, **_more: called.append(name))

    def talk() -> None:
        studio.do(commands.SendDigits(1, "5"))
        phone.control.sendto(rtcp.report(1, sender=None, about=None, cname="p"), (phone.host, phone.to + 1))
        studio.talk(phone, sine(500, 0.2))

    studio.connect(phone)
    talk()
    assert not called
    studio.do(capture(path))
    talk()
    assert set(called) == {"received", "sent", "sent_one", "control"}


def test_the_writer_closes_what_a_worker_left(tmp_path: Path) -> None:
    studio = Studio()
    try:
        path = tmp_path / "x.rtp"
        assert studio.written.writer is not None
        studio.written.writer.handle(writer.Append(str(path), b"abc"))
        studio.written.writer.handle(writer.Append(str(path), b"def"))
        studio.written.writer.close()
        assert path.read_bytes() == b"abcdef"
    finally:
        studio.close()


@pytest.mark.parametrize(("bound", "host"), [("::1", "::1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_the_local_address_is_the_real_one(studio: Studio, path: Path, bound: str, host: str) -> None:
    phone = Phone(host)
    try:
        studio.do(commands.Open(1, bound))
        phone.to = studio.last(reports.Opened).port
        studio.open.add(1)
        studio.direct(phone)
        studio.do(capture(path))
        studio.talk(phone, sine(500, 0.1))
        studio.do(commands.StopCapture(1))
        studio.run(0.04)
    finally:
        phone.close()
    packets, _ = read(path)
    assert len(sequences(packets, RECEIVED)) == 5
    assert {(packet.way.local, packet.way.remote) for packet in packets} == {((host, phone.to), (host, phone.port))}
