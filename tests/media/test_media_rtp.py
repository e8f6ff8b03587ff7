import struct

import numpy as np
import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from media import rtp
from media.rates import FRAME
from media.reception import Reception


def aiortc_packet(**fields: object) -> bytes:
    packet = RtpPacket(payload_type=0, sequence_number=7, timestamp=99, ssrc=5, payload=b"sound")
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet.serialize()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"marker": 1, "payload_type": 101},
        {"csrc": [1, 2, 3]},
        {"padding_size": 4},
        {"sequence_number": 65535, "timestamp": 2**32 - 1, "ssrc": 2**32 - 1},
    ],
)
def test_understands_what_another_stack_makes(fields: dict) -> None:
    data = aiortc_packet(**fields)
    packet, other = rtp.parse(data), RtpPacket.parse(data)
    assert (packet.payload_type, packet.marker) == (other.payload_type, bool(other.marker))
    assert (packet.sequence, packet.timestamp, packet.ssrc) == (other.sequence_number, other.timestamp, other.ssrc)
    assert bytes(packet.payload) == other.payload


def test_passes_over_a_header_extension() -> None:
    data = struct.pack("!BBHII", 0x90, 0, 1, 2, 3) + struct.pack("!HH", 0xBEDE, 2) + bytes(8) + b"sound"
    assert bytes(rtp.parse(data).payload) == b"sound"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        struct.pack("!BBHII", 0x40, 0, 1, 2, 3),
        struct.pack("!BBHII", 0x83, 0, 1, 2, 3) + bytes(8),
        struct.pack("!BBHII", 0x90, 0, 1, 2, 3) + b"\xbe\xde",
        struct.pack("!BBHII", 0x90, 0, 1, 2, 3) + struct.pack("!HH", 0xBEDE, 9),
        struct.pack("!BBHII", 0xA0, 0, 1, 2, 3) + b"\0",
        struct.pack("!BBHII", 0xA0, 0, 1, 2, 3) + b"\xff",
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(rtp.Malformed):
        rtp.parse(data)


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_understood(data: bytes) -> None:
    try:
        packet = rtp.parse(data)
    except rtp.Malformed:
        return
    assert len(packet.payload) <= len(data) - 12


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31) + 1, 2**31 - 1))
def test_serial_arithmetic(start: int, step: int) -> None:
    assert rtp.timestamp_delta((start + step) & 0xFFFFFFFF, start) == step
    small = step % 65536 - 32768
    assert rtp.sequence_delta((start + small) & 0xFFFF, start & 0xFFFF) == small


def test_columns_read_and_write_network_order() -> None:
    rows = np.zeros((2, 172), np.uint8)
    columns = rtp.Columns(rows)
    columns.first[:] = rtp.PLAIN
    columns.second[:] = [0, 0x80 | 8]
    columns.sequence[:] = [1, 65535]
    columns.timestamp[:] = [2, 2**32 - 1]
    columns.ssrc[:] = [3, 0xDEADBEEF]
    packets = [rtp.parse(row.tobytes()) for row in rows]
    assert [(p.payload_type, p.marker, p.sequence, p.timestamp, p.ssrc) for p in packets] == [
        (0, False, 1, 2, 3),
        (8, True, 65535, 2**32 - 1, 0xDEADBEEF),
    ]


class Source:
    """Feeds one slot of a :class:`Reception` and, at the same time, another one with a steady stream."""

    def __init__(self) -> None:
        self.reception = Reception(4)
        for slot in range(4):
            self.reception.open(slot)
        self.begun = False
        self.now = 0.0

    def receive(self, *sequences: int, spacing: float = 0.02, step: int = FRAME) -> list[bool]:
        fresh = []
        for sequence in sequences:
            if not self.begun:
                self.reception.begin(1, sequence)
                self.reception.begin(3, 0)
                self.begun = True
                self.steady = 0
            slots = np.array([3, 1])
            numbers = np.array([self.steady, sequence % 65536], np.uint16)
            stamps = np.array([self.steady * FRAME, sequence * step % 2**32], np.uint32)
            fresh.append(bool(self.reception.note(slots, numbers, stamps, self.now)[1]))
            self.steady += 1
            self.now += spacing
        return fresh

    def counts(self) -> tuple[int, int, int, int]:
        r = self.reception
        assert r.lost(3) == 0
        return r.received(1), r.lost(1), int(r.reordered[1]), int(r.duplicated[1])


def test_counts_over_the_wrap_of_sequence_numbers() -> None:
    source = Source()
    source.receive(*range(65530, 65545))
    assert source.counts() == (15, 0, 0, 0)


def test_tells_loss_order_and_repetition_apart() -> None:
    source = Source()
    assert source.receive(10, 11, 13, 12, 13, 15, 12) == [True, True, True, True, False, True, False]
    assert source.counts() == (5, 1, 1, 2)  # 14 is lost, 12 came late, 13 and 12 came again


def test_first_packets_out_of_order() -> None:
    source = Source()
    source.receive(2, 1, 3)
    received, lost, reordered, duplicated = source.counts()
    assert (received, lost, duplicated) == (3, 0, 0)
    assert reordered == 1


def test_a_restart_of_the_numbering_is_no_loss() -> None:
    source = Source()
    assert source.receive(10, 11, 40000, 40001, 40002) == [True, True, False, True, True]
    assert source.counts() == (4, 0, 0, 0)


@pytest.mark.parametrize("strays", [(40000,), (40000, 40000), (40000, 40002, 30000), (65535,)])
def test_strays_from_far_away_restart_nothing(strays: tuple[int, ...]) -> None:
    source = Source()
    source.receive(*range(20000, 20010))
    for n, stray in enumerate(strays):
        assert source.receive(stray, 20010 + n) == [False, True]
    received, *others = source.counts()
    assert (received, others) == (10 + len(strays), [0, 0, 0])


def test_jitter_follows_rfc_3550() -> None:
    source = Source()
    source.receive(*range(100))
    assert source.reception.jitter[1] == pytest.approx(0, abs=1e-6)
    expected = 0.0
    for index in range(100, 200):
        source.now += 0.005 if index % 2 else -0.005
        source.receive(index)
        expected += ((0.005 * 8000) - expected) / 16
    assert source.reception.jitter[1] == pytest.approx(expected, rel=0.02)


def test_key_events_say_nothing_of_jitter() -> None:
    source = Source()
    source.receive(*range(10))
    for n in range(10, 20):  # all with the timestamp of the beginning
        stamps = np.array([10 * FRAME], np.uint32)
        source.reception.note(np.array([1]), np.array([n], np.uint16), stamps, source.now, timed=False)
        source.now += 0.02
    source.now += 0.4  # the clock of the sound was set back meanwhile, as some senders do
    source.receive(*range(20, 30))
    assert source.reception.jitter[1] == pytest.approx(0, abs=1e-6)
    assert source.counts() == (30, 0, 0, 0)


def test_an_old_packet_of_one_stream_leaves_the_jitter_of_others_alone() -> None:
    sources = [Source(), Source()]
    sources[0].receive(*range(40))
    sources[1].receive(*[n ^ 1 for n in range(40)])  # each second packet is late, in the batch of a steady stream
    for source in sources:
        source.now += 0.005
        source.receive(40)
    assert sources[0].reception.jitter[3] == sources[1].reception.jitter[3] > 0


def test_reports_are_about_the_source_there_is_now() -> None:
    source = Source()
    source.receive(*[n for n in range(100) if n % 2])
    source.now += 0.01
    source.receive(100)
    assert source.reception.jitter[1] > 0
    source.reception.report(1)
    source.reception.begin(1, 7)
    assert source.reception.jitter[1] == 0
    source.receive(7, 8, 10, 11)
    block = source.reception.report(1)
    assert (block.fraction_lost, block.cumulative_lost, block.highest) == (256 // 5, 1, 11)
    assert source.counts()[:2] == (51 + 4, 49 + 1)  # the first number was 1


def test_report_block_of_an_interval() -> None:
    source = Source()
    source.receive(*range(10))
    source.reception.report(1)
    source.receive(*[n for n in range(10, 20) if n not in (12, 15)])
    block = source.reception.report(1)
    assert (block.fraction_lost, block.cumulative_lost, block.highest) == (256 * 2 // 10, 2, 19)
    assert source.reception.report(1).fraction_lost == 0
