"""RTP in captures: in its place by time, for IPv4 and IPv6, without secret keys, and only of calls that are wanted."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_captures import CALL, INVITE, UDP, packets

from engine.captures.archive import archive
from engine.captures.media import CapturedMedia, MediaCaptures
from engine.captures.pcap import checksum, pcap
from engine.captures.secrets import UNKNOWN, Hiding
from engine.captures.shelf import CaptureShelf
from engine.transport.tap import Seen, Watch
from media import commands, g711, ipc, packetlog, reports
from media.codecs import CODECS
from media.g711 import Law
from media.packetlog import RECEIVED, SENT, End, Packet, Way

FOUR = Way(("192.0.2.1", 4000), ("198.51.100.7", 5000), events=(101,), codec="PCMU")
SIX = Way(("2001:db8::1", 4000), ("2001:db8::7", 5001), events=(96, 101), codec="G722")


def rtp(kind: int, payload: bytes, *, sequence: int = 7, timestamp: int = 1600, first: int = 0x80) -> bytes:
    return struct.pack("!BBHII", first, kind, sequence, timestamp, 0xABCD) + payload


def tone(hertz: float, law: Law = Law.PCMU) -> bytes:
    sound = 8000 * np.sin(2 * np.pi * hertz * np.arange(160) / 8000)
    return g711.encode(sound.astype(np.int16), law).tobytes()


def got(data: bytes, at: float = 10.0, way: Way = FOUR) -> Packet:
    return Packet(at, RECEIVED, way, data)


# --- as packets -------------------------------------------------------------------------


def test_rtp_and_sip_in_one_file_by_time() -> None:
    first = [got(rtp(0, b"\x11" * 160), 2.0), Packet(4.0, SENT, FOUR, rtp(0, b"\x22" * 160))]
    second = [got(rtp(9, b"\x33" * 160), 3.0, SIX)]
    found = packets(b"".join(pcap([Seen(2.5, "in", UDP, INVITE)], first, second)))
    assert [at for at, _ in found] == [2.0, 2.5, 3.0, 4.0]
    one, _, six, other = [packet for _, packet in found]
    assert one[12:20] == bytes([198, 51, 100, 7, 192, 0, 2, 1])
    assert struct.unpack_from("!HHH", one, 20) == (5000, 4000, 8 + 172)
    assert other[12:20] == bytes([192, 0, 2, 1, 198, 51, 100, 7])
    assert struct.unpack_from("!HH", other, 20) == (4000, 5000)
    assert one[28:] == first[0].data
    for packet in (one, other):
        assert checksum(packet[:20]) == 0
        assert checksum(packet[12:20] + struct.pack("!HH", 17, len(packet) - 20) + packet[20:]) == 0
    assert six[0] >> 4 == 6
    assert struct.unpack_from("!HBB", six, 4) == (8 + 172, 17, 64)
    assert six[8:40] == bytes.fromhex("20010db8" + "00" * 11 + "07" + "20010db8" + "00" * 11 + "01")
    assert six[48:] == second[0].data
    assert checksum(six[8:40] + struct.pack("!II", len(six) - 40, 17) + six[40:]) == 0
    assert struct.unpack_from("!H", six, 46) != (0,), "IPv6 has no UDP without a checksum"


@given(st.binary(max_size=64))
def test_the_sum_is_that_of_the_rfc(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(data) == ~total & 0xFFFF


# --- secret keys ------------------------------------------------------------------------


@pytest.mark.parametrize("law", list(Law))
def test_tones_of_secret_keys_are_silence(law: Law) -> None:
    hiding = Hiding(((10.0, 20.0),))
    packet = got(rtp(law, tone(697, law)), 15.0)
    hidden = hiding.packet(packet)
    assert hidden.data[:12] == packet.data[:12]
    assert np.abs(g711.decode(np.frombuffer(hidden.data[12:], np.uint8), law)).max() <= 8
    assert len(hidden.data) == len(packet.data)


def test_other_codecs_are_silence_too() -> None:
    codec = CODECS["G722"]
    loud = codec.encoder().encode((8000 * np.sin(np.arange(320) / 3)).astype(np.int16))
    hiding, decoder = Hiding(((10.0, None),)), codec.decoder()
    hidden = [hiding.packet(got(rtp(9, loud), 15.0, SIX)).data[12:] for _ in range(10)]
    assert {len(payload) for payload in hidden} == {len(loud)}
    assert np.abs(np.concatenate([decoder.decode(payload) for payload in hidden])).max() < 50
    unknown = got(rtp(77, b"anything"), 15.0)
    assert Hiding(((10.0, None),)).packet(unknown).data[12:] == bytes(8), "a type that nobody agreed on"


def test_a_stretch_has_edges() -> None:
    hiding = Hiding(((10.0, 20.0), (50.0, None)))
    loud = rtp(0, tone(697))
    visible = [at for at in (8.9, 9.1, 15.0, 21.9, 22.1, 48.9, 60.0, 1e9) if hiding.packet(got(loud, at)).data == loud]
    assert visible == [8.9, 22.1, 48.9]


def test_events_of_secret_keys_tell_no_key_but_when_it_was_pressed() -> None:
    hiding = Hiding(((10.0, 20.0),))

    def key(digit: int, at: float, timestamp: int, *, end: int = 0) -> bytes:
        data = rtp(101, bytes([digit, 10 | end, 3, 32]), timestamp=timestamp)
        return hiding.packet(got(data, at)).data[12:]

    assert key(7, 8.5, 1)[0] == 7, "before it"
    assert key(7, 10.2, 1)[0] == 7, "the same key, held: it was open from its begin"
    assert key(4, 12.0, 2) == bytes([UNKNOWN, 10, 3, 32])
    assert key(5, 19.9, 3)[0] == UNKNOWN
    assert key(5, 23.0, 3, end=0x80) == bytes([UNKNOWN, 0x8A, 3, 32]), "held beyond the end"
    assert key(6, 20.5, 4)[0] == 6, "the next key is for the next step"


def test_what_is_sent_and_what_controls_stays() -> None:
    hiding = Hiding(((0.0, None),))
    report = bytes([0x80, 201, 0, 1]) + bytes(4)
    comfort = got(rtp(13, b"\x40"))
    for packet in (
        Packet(10.0, SENT, FOUR, rtp(0, tone(697))),
        got(report),
        got(report, way=msgspec.structs.replace(FOUR, control=True)),
        comfort,
    ):
        assert hiding.packet(packet) == packet


@given(st.binary(max_size=60), st.sampled_from([FOUR, SIX]))
def test_no_packet_gets_by(body: bytes, way: Way) -> None:
    """Whatever a header says, of a length that stays."""
    data = bytes([0x80 | (body[0] & 0x3F if body else 0)]) + body
    hidden = Hiding(((0.0, None),)).packet(got(data, way=way)).data
    assert len(hidden) == len(data)
    assert hidden[:12] == data[:12]


def test_extensions_and_padding_stay_around_the_silence() -> None:
    extension = struct.pack("!HHI", 0xBEDE, 1, 0x01020304)
    data = rtp(0, extension + tone(697) + b"\0\0\0\4", first=0xB0)
    hidden = Hiding(((0.0, None),)).packet(got(data)).data
    assert hidden == data[:20] + b"\xff" * 160 + data[-4:]


# --- kept -------------------------------------------------------------------------------


class FakeStream:
    def __init__(self, number: int) -> None:
        self.number, self.call, self.captured = number, "", False
        self.told: list[Any] = []

    def send(self, command: ipc.Message) -> None:
        self.told.append(command)


def joined(captures: MediaCaptures, call: str, stream: FakeStream) -> list[Any]:
    captures.joins(call, cast("Any", stream))
    told, stream.told = stream.told, []
    return told


async def test_only_streams_of_wanted_calls_are_captured(tmp_path: Path) -> None:
    shelf = CaptureShelf(tmp_path, media="asked", most_media=1000)
    one, two = FakeStream(1), FakeStream(2)
    shelf.media.streams = lambda call: [each for each in (one, two) if each.call == call]  # type: ignore[misc]
    other = "1" * 32
    assert joined(shelf.media, CALL, one) == []
    shelf.want(CALL)
    path = str(tmp_path / f"{CALL}-1.rtp")
    assert one.told == [commands.Capture(1, path, CALL, 1000)]
    one.told.clear()
    assert joined(shelf.media, CALL, one) == [], "once"
    shelf.media.done(reports.Captured(1, CALL, 400, "closed"))
    assert joined(shelf.media, CALL, two) == [commands.Capture(2, str(tmp_path / f"{CALL}-2.rtp"), CALL, 600)]
    assert joined(shelf.media, other, one) == [commands.StopCapture(1)], "another call has it, which is not wanted"
    shelf.media.done(reports.Captured(2, CALL, 600, "limit"))
    assert joined(shelf.media, CALL, one) == [], "there is no room left"
    shelf.media.over(CALL)
    await shelf.close()


async def test_the_media_of_all_calls_is_captured_only_where_that_is_wanted(tmp_path: Path) -> None:
    for media in ("none", "asked"):
        shelf = CaptureShelf(tmp_path, every=True, media=media, most_media=1000)  # type: ignore[arg-type]
        assert joined(shelf.media, CALL, FakeStream(1)) == []
    shelf = CaptureShelf(tmp_path, every=True, media="all", most_media=1000)
    assert len(joined(shelf.media, CALL, FakeStream(1))) == 1


async def test_the_end_of_files_is_waited_for(tmp_path: Path) -> None:
    shelf = CaptureShelf(tmp_path, every=True, media="all", most_media=1000)
    joined(shelf.media, CALL, FakeStream(1))
    shelf.media.over(CALL)
    waiting = asyncio.create_task(shelf.captured_media(CALL))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    shelf.media.done(reports.Captured(1, CALL, 1, "closed"))
    assert not await waiting
    assert await asyncio.wait_for(shelf.captured_media(CALL, lives=True), 1.0) is not None


async def test_secret_stretches_outlive_the_call_and_a_kill(tmp_path: Path) -> None:
    shelf = CaptureShelf(tmp_path, media="asked", most_media=1000)
    begin = time.time()
    shelf.media.secret(CALL, begin - 5)
    shelf.media.secret(CALL, None)
    shelf.want(CALL)
    shelf.media.secret(CALL, begin)
    watch = Watch()
    watch.add(Seen(1.0, "in", UDP, INVITE))
    await shelf.captured_media(CALL, lives=True)
    killed = CaptureShelf(tmp_path)
    assert json.loads((await killed.captured_media(CALL)).about())["secret"] == [
        {"from": begin - 5, "to": pytest.approx(begin, abs=1)},
        {"from": begin, "to": None},
    ], "what was not ended never ends"
    shelf.media.secret(CALL, None)
    shelf.ended(CALL, "", watch)
    shelf.media.over(CALL)
    first, second = json.loads((await shelf.captured_media(CALL)).about())["secret"]
    assert begin - 1 < first["to"] <= second["to"] < begin + 60
    assert len(await shelf.messages(CALL)) == 1
    await shelf.close()


def test_an_archive_tells_what_it_has_and_what_was_cut_off(tmp_path: Path) -> None:
    path, broken = tmp_path / f"{CALL}-1.rtp", tmp_path / f"{CALL}-2.rtp"
    way = packetlog.record(packetlog.WAY, 0, 1.0, msgspec.json.encode(FOUR))
    said = packetlog.record(RECEIVED, 0, 2.0, rtp(101, bytes([5, 10, 0, 160])))
    said += packetlog.record(SENT, 0, 1.5, rtp(0, tone(440)))
    path.write_bytes(way + said + packetlog.record(packetlog.END, 0, 3.0, msgspec.json.encode(End("limit", 2))))
    broken.write_bytes((way + said)[:-5])
    (tmp_path / f"{'1' * 32}-1.rtp").write_bytes(way + said)
    media = CapturedMedia.of(tmp_path, CALL, [(1.9, 2.1)])
    out = BytesIO()
    archive(out, [], media, {}, [])
    with zipfile.ZipFile(out) as file:
        found = packets(file.read("call.pcap"))
        about = json.loads(file.read("capture.json"))
    assert [at for at, _ in found] == [1.5, 2.0, 2.0]
    assert [data[40] for _, data in found[1:]] == [UNKNOWN, UNKNOWN]
    whole, cut = about["streams"]
    assert whole == {
        "ways": [{"kind": "rtp", "local": "192.0.2.1:4000", "remote": "198.51.100.7:5000", "packets": 2}],
        "received": 1,
        "sent": 1,
        "ended": "limit",
        "lost": 2,
    }
    assert (cut["received"], cut["sent"], cut["ended"]) == (1, 0, None)
