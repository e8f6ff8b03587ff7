"""RTCP: reports made, understood, due, and exchanged by a stream."""

import contextlib
from random import Random

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)
from hypothesis import given
from hypothesis import strategies as st
from media_studio import SILENCE, Phone, Studio

from media import rtcp
from media.reception import Block
from media.reporting import INTERVAL, Reporter
from media.rtp import Malformed

WALL = 1_700_000_000.0


def reporter(ssrc: int = 5, now: float = 0.0) -> Reporter:
    return Reporter(Random(1), ssrc, WALL, now)


def test_another_stack_understands_our_sender_report() -> None:
    block = Block(fraction_lost=25, cumulative_lost=-3, highest=70000, jitter=40)
    data = rtcp.report(5, sender=(1 << 40, 1234, 10, 1600), about=(9, block, 77, 88), cname="abc")
    report, description = RtcpPacket.parse(data + rtcp.bye(5))[:2]
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == 5
    assert (report.sender_info.ntp_timestamp, report.sender_info.rtp_timestamp) == (1 << 40, 1234)
    assert (report.sender_info.packet_count, report.sender_info.octet_count) == (10, 1600)
    (seen,) = report.reports
    assert (seen.ssrc, seen.fraction_lost, seen.packets_lost, seen.highest_sequence) == (9, 25, -3, 70000)
    assert (seen.jitter, seen.lsr, seen.dlsr) == (40, 77, 88)
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0].items == [(1, b"abc")]
    assert isinstance(RtcpPacket.parse(data + rtcp.bye(5))[2], RtcpByePacket)


@pytest.mark.parametrize("length", range(12))
def test_descriptions_are_padded_to_words(length: int) -> None:
    data = rtcp.report(5, sender=None, about=None, cname="x" * length)
    assert len(data) % 4 == 0
    receiver, description = RtcpPacket.parse(data)
    assert isinstance(receiver, RtcpRrPacket)
    assert description.chunks[0].items == [(1, b"x" * length)]


def foreign_report(ssrc: int, lsr: int = 0, dlsr: int = 0, lost: int = 4) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(
        ssrc=ssrc, fraction_lost=1, packets_lost=lost, highest_sequence=9, jitter=80, lsr=lsr, dlsr=dlsr
    )


def test_understands_what_another_stack_makes() -> None:
    info = RtcpSenderInfo(ntp_timestamp=1 << 33, rtp_timestamp=2, packet_count=3, octet_count=4)
    data = bytes(RtcpSrPacket(ssrc=8, sender_info=info, reports=[foreign_report(5, 6, 7, -2)]))
    data += bytes(RtcpRrPacket(ssrc=8, reports=[foreign_report(1), foreign_report(2)]))
    first, second = rtcp.parse(data)
    assert (first.ssrc, first.ntp) == (8, 1 << 33)
    assert first.blocks == (rtcp.ReportBlock(5, 1, -2, 9, 80, 6, 7),)
    assert second.ntp is None
    assert [block.ssrc for block in second.blocks] == [1, 2]


def test_round_trip_loss_and_jitter_of_the_other_side() -> None:
    ours = reporter(ssrc=5)
    sent = rtcp.parse(ours.compose(100.0, sent=(0, 1, 160), peer=None, cname="x"))[0]
    assert sent.ntp is not None
    # The other side got it after 30 ms, answered 2 s later, and the answer took 50 ms.
    block = foreign_report(5, rtcp.middle(sent.ntp), 2 * 65536)
    ours.receive(bytes(RtcpRrPacket(ssrc=8, reports=[foreign_report(6), block])), 102.08)
    assert ours.round_trip == pytest.approx(80, abs=0.1)
    assert (ours.remote_lost, ours.remote_jitter) == (4, 10.0)


def test_reports_refer_to_the_last_one_received() -> None:
    ours = reporter()
    info = RtcpSenderInfo(ntp_timestamp=0x1111222233334444, rtp_timestamp=2, packet_count=3, octet_count=4)
    ours.receive(bytes(RtcpSrPacket(ssrc=8, sender_info=info)), 10.0)
    block = Block(0, 0, 1, 0)
    report = rtcp.parse(ours.compose(11.5, sent=None, peer=(8, block), cname="x"))[0]
    assert report.ntp is None
    assert (report.blocks[0].last_report, report.blocks[0].delay) == (0x22223333, 98304)


def test_reports_about_a_new_source_do_not_refer_to_those_of_the_old() -> None:
    ours = reporter()
    info = RtcpSenderInfo(ntp_timestamp=0x1111222233334444, rtp_timestamp=2, packet_count=3, octet_count=4)
    ours.receive(bytes(RtcpSrPacket(ssrc=8, sender_info=info)), 10.0)
    about = [rtcp.parse(ours.compose(11.5, sent=None, peer=(ssrc, Block(0, 0, 1, 0)), cname="x"))[0] for ssrc in (9, 8)]
    assert [(r.blocks[0].last_report, r.blocks[0].delay) for r in about] == [(0, 0), (0x22223333, 98304)]


def test_times_of_reports_are_spread() -> None:
    ours = reporter(now=100.0)
    assert 100 + INTERVAL / 4 <= ours.due <= 100 + INTERVAL * 0.75
    steps = []
    for _ in range(200):
        now = ours.due
        ours.compose(now, sent=None, peer=None, cname="x")
        steps.append(ours.due - now)
    assert INTERVAL / 2 <= min(steps) < INTERVAL * 0.6
    assert INTERVAL * 1.4 < max(steps) <= INTERVAL * 1.5


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\x80\xc8\0",
        b"\x40\xc9\0\1\0\0\0\1",
        b"\x81\xc9\0\1\0\0\0\1",
        b"\x80\xc9\0\5\0\0\0\1",
        b"\x80\xc8\0\1\0\0\0\1",
        bytes(RtcpSdesPacket(chunks=[])),
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(Malformed):
        reporter().receive(data, 0.0)


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x81\xc8\0\x0c", b"\x82\xc9\0\x0d"]))
def test_garbage_is_refused_or_understood(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(Malformed):
        rtcp.parse(head + tail)


def test_reports_go_both_ways(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    packets = []
    for n in range(500):
        if n % 10:
            phone.raw(phone.sound(SILENCE))
        else:
            phone.sound(SILENCE)
        studio.run(0.02)
        packets += phone.take_control()
    assert 1 <= len(packets) <= 4
    report = RtcpPacket.parse(packets[-1])[0]
    assert isinstance(report, RtcpSrPacket)
    assert report.sender_info.packet_count <= 500
    assert report.reports[0].ssrc == phone.ssrc
    assert report.reports[0].fraction_lost == pytest.approx(25, abs=6)
    info = RtcpReceiverInfo(
        ssrc=report.ssrc,
        fraction_lost=0,
        packets_lost=7,
        highest_sequence=1,
        jitter=16,
        lsr=(report.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF,
        dlsr=0,
    )
    phone.control.sendto(bytes(RtcpRrPacket(ssrc=phone.ssrc, reports=[info])), ("127.0.0.1", phone.to + 1))
    phone.control.sendto(b"junk", ("127.0.0.1", phone.to + 1))
    studio.run(0.1)
    phone.take_control()
    stats = studio.drop()
    assert (stats.remote_lost, stats.remote_jitter_ms, stats.malformed) == (7, 2.0, 1)
    assert 0 <= stats.round_trip_ms < 8000
    (last,) = phone.take_control()
    assert any(isinstance(packet, RtcpByePacket) for packet in RtcpPacket.parse(last))
