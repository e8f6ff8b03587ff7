"""Captures: packets that anybody can read, ladders, and what is not in them."""

from __future__ import annotations

import os
import struct
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.captures.archive import archive
from engine.captures.ladder import ladder
from engine.captures.media import CapturedMedia
from engine.captures.pcap import checksum, pcap, without_digits
from engine.captures.shelf import CaptureShelf, _clean
from engine.sip.flow import Flow
from engine.transport.tap import Seen, Tap, Watch

UDP = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5062))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("198.51.100.8", 33000), 1)
SIX = Flow("udp", ("2001:db8::1", 5060), ("2001:db8::2", 5060))
INVITE = b"INVITE sip:1@x SIP/2.0\r\nCSeq: 1 INVITE\r\nCall-ID: a\r\n\r\nv=0\r\n"
OK = b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nCall-ID: a\r\n\r\n"
CALL = "0" * 32


def packets(data: bytes) -> list[tuple[float, bytes]]:
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 101)
    found, at = [], 24
    while at < len(data):
        seconds, micros, length, whole = struct.unpack_from("<IIII", data, at)
        assert length == whole
        found.append((seconds + micros / 1e6, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def test_each_message_is_a_packet_with_right_headers() -> None:
    seen = [Seen(2.5, "out", UDP, OK), Seen(1.25, "in", UDP, INVITE), Seen(3.0, "in", SIX, INVITE)]
    (first_at, first), (_, second), (_, third) = packets(b"".join(pcap(seen)))
    assert first_at == pytest.approx(1.25)
    assert first[12:20] == bytes([198, 51, 100, 7, 192, 0, 2, 1])
    assert struct.unpack_from("!HHH", first, 20) == (5062, 5060, 8 + len(INVITE))
    assert (first[28:], second[28:]) == (INVITE, OK)
    assert checksum(first[:20]) == 0
    for packet in (first, second):
        pseudo = packet[12:20] + struct.pack("!HH", 17, len(packet) - 20)
        assert checksum(pseudo + packet[20:]) == 0
    assert third[0] >> 4 == 6
    assert checksum(third[8:40] + struct.pack("!II", len(third) - 40, 17) + third[40:]) == 0


def test_a_connection_has_running_numbers() -> None:
    seen = [Seen(1.0, "in", TCP, INVITE), Seen(2.0, "out", TCP, OK), Seen(3.0, "in", TCP, INVITE)]
    numbers = [struct.unpack_from("!II", packet, 24) for _, packet in packets(b"".join(pcap(seen)))]
    assert numbers == [(1, 1), (1, 1 + len(INVITE)), (1 + len(INVITE), 1 + len(OK))]


@given(st.binary(max_size=70_000), st.sampled_from([UDP, TCP, SIX]))
def test_any_message_can_be_written(data: bytes, flow: Flow) -> None:
    ((_, packet),) = packets(b"".join(pcap([Seen(1.0, "in", flow, data)])))
    assert len(packet) <= 65_535


def test_pressed_digits_are_not_in_it() -> None:
    relay = b"INFO x SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal= 5\r\nDuration=160\r\n"
    plain = b"INFO x SIP/2.0\r\ncontent-type : application/dtmf\r\n\r\n7"
    other = b"INFO x SIP/2.0\r\nContent-Type: text/plain\r\n\r\nSignal=5"
    assert without_digits(relay).endswith(b"Signal= *\r\nDuration=160\r\n")
    assert without_digits(plain).endswith(b"\r\n\r\n*")
    assert without_digits(other) == other
    assert b"Signal= 5" not in b"".join(pcap([Seen(1.0, "in", UDP, relay)]))


def test_a_ladder_shows_who_said_what_to_whom() -> None:
    text = ladder([Seen(2.0, "out", TCP, INVITE), Seen(1.0, "in", UDP, INVITE), Seen(3.0, "in", TCP, OK)])
    head, first, second, third = text.splitlines()
    assert head.split() == ["time", "(UTC)", "Ivrea", "udp:198.51.100.7:5062", "tcp:198.51.100.8:33000"]
    assert first.startswith("00:00:01.000  |<---")
    assert "INVITE + SDP" in first
    assert second.startswith("00:00:02.000  |---")
    assert second.endswith(">|")
    assert "200 OK (1 INVITE)" in third
    assert len(second) > len(first.rstrip("|").rstrip())


async def test_what_is_wanted_is_kept_and_nothing_else(tmp_path: Path) -> None:
    shelf = CaptureShelf(tmp_path / "captures")
    tap = Tap(shelf.ended)
    leg, own = Watch(), Watch()
    leg.add(Seen(2.0, "out", TCP, INVITE))
    own.add(Seen(1.0, "in", UDP, INVITE))
    other = "1" * 32
    tap.ended(other, "", own)
    shelf.want(CALL)
    tap.ended(CALL, "leg1", leg)
    tap.ended(CALL, "", own)
    assert [(each.at, each.flow.transport, each.data) for each in await shelf.messages(CALL)] == [
        (1.0, "udp", INVITE),
        (2.0, "tcp", INVITE),
    ]
    assert await shelf.messages(other) == []
    assert await shelf.messages("../../etc/passwd") == []
    assert not shelf.wants(CALL), "it has ended"
    with (tmp_path / "captures" / f"{CALL}.jsonl").open("a") as file:
        file.write('[3.0, "in", "u')
    assert len(await shelf.messages(CALL)) == 2, "a line that a kill cut short"
    await shelf.close()


def test_old_captures_go(tmp_path: Path) -> None:
    old = [tmp_path / f"{CALL}.jsonl", tmp_path / f"{CALL}-1.rtp"]
    for path in old:
        path.touch()
    _clean(tmp_path, time.time() - 60.0)
    assert all(path.exists() for path in old)
    os.utime(old[0], (0, 0))
    _clean(tmp_path, time.time() - 60.0)
    assert all(path.exists() for path in old), "what says which keys are secret goes with the last of the packets"
    _clean(tmp_path, time.time() + 60.0)
    assert not any(path.exists() for path in old)
    _clean(tmp_path / "nowhere", time.time())


def test_all_in_one_file(tmp_path: Path) -> None:
    sound = tmp_path / "call.wav"
    sound.write_bytes(b"RIFF")
    out = BytesIO()
    nothing = CapturedMedia((), ())
    archive(out, [Seen(1.0, "in", UDP, INVITE)], nothing, {"call": {"id": CALL}}, [sound, tmp_path / "gone.wav"])
    with zipfile.ZipFile(out) as file:
        assert sorted(file.namelist()) == [
            "call.pcap",
            "capture.json",
            "ladder.txt",
            "record.json",
            "recordings/call.wav",
        ]
        assert "INVITE" in file.read("ladder.txt").decode()
