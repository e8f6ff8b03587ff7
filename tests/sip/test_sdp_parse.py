"""Session descriptions: what is tolerated, what is refused, what is written."""

from __future__ import annotations

import dataclasses

import pytest

from engine.sip.offer_answer import LocalMedia, make_answer
from engine.sip.sdp import Connection, RtpMap, SdpError, parse

FULL = (
    b"v=0\r\no=alice 2890844526 2890844527 IN IP4 host.example\r\ns=A call\r\ni=information\r\nu=http://x\r\n"
    b"c=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=1 2\r\nr=7d 1h 0 25h\r\na=sendonly\r\na=tool:x y:z\r\n"
    b"m=audio 49170/2 RTP/AVP 0 8 101\r\ni=mic\r\nc=IN IP4 192.0.2.2\r\nb=AS:64\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000/1\r\na=fmtp:101 0-16\r\na=recvonly\r\n"
    b"m=video 0 RTP/AVP 31\r\n"
)


def test_everything() -> None:
    description = parse(FULL)
    assert description.origin == "alice 2890844526 2890844527 IN IP4 host.example"
    assert description.name == "A call"
    assert description.connection == Connection("IP4", "192.0.2.1")
    assert description.time == (1, 2)
    assert description.attribute("tool") == "x y:z"
    audio, video = description.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 49170, "RTP/AVP", ("0", "8", "101"))
    assert audio.rtpmap("0") == RtpMap("pcmu", 8000)
    assert audio.rtpmap("101") == RtpMap("telephone-event", 8000)
    assert audio.rtpmap("8") is None
    assert audio.attribute("fmtp") == "101 0-16"
    assert description.connection_of(audio) == Connection("IP4", "192.0.2.2")
    assert description.connection_of(video) == description.connection
    assert description.direction_of(audio) == "recvonly"
    assert description.direction_of(video) == "sendonly"


def test_round_trip() -> None:
    description = parse(FULL)
    assert parse(description.encode()) == description
    assert description.encode().endswith(b"\r\n")


@pytest.mark.parametrize(
    "mangled",
    [
        FULL.removesuffix(b"\r\n"),
        FULL.replace(b"\r\n", b"\n"),
        FULL.replace(b"\r\n", b"\r"),
        FULL.replace(b"\r\n", b"\r\n\r\n"),
        FULL + b"\r\n\r\n",
        FULL.replace(b"192.0.2.1\r", b"192.0.2.1 \r").replace(b"m=audio ", b"m=audio  "),
        FULL.replace(b"t=1 2\r\n", b"z=0 0\r\nt=1 2\r\nq=unknown\r\nnonsense\r\n=\r\n"),
    ],
)
def test_tolerated(mangled: bytes) -> None:
    assert parse(mangled) == parse(FULL)


def test_missing_lines() -> None:
    description = parse(b"v=0\nm=audio 5004 RTP/AVP 0\nc=IN IP4 192.0.2.1")
    assert description.time == (0, 0)
    assert description.connection is None
    assert description.connection_of(description.media[0]) == Connection("IP4", "192.0.2.1")
    assert description.direction_of(description.media[0]) == "sendrecv"
    assert b"\r\ns=-\r\n" in description.encode()


def test_multicast_is_told() -> None:
    connection = parse(b"v=0\nc=IN IP4 224.2.36.42/127\n").connection
    assert connection == Connection("IP4", "224.2.36.42", is_multicast=True)


def test_latin1_text() -> None:
    assert parse(b"v=0\ns=caf\xe9\n").name == "café"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"v=1\r\n",
        b"o=x\r\n",
        b"m=audio 5004 RTP/AVP 0\r\n",
        b"{}",
        b"v=0\nm=audio\n",
        b"v=0\nm=audio 5004 RTP/AVP\n",
        b"v=0\nm=audio x RTP/AVP 0\n",
        b"v=0\nm=audio 65536 RTP/AVP 0\n",
        b"v=0\nc=IN IP5 x\n",
        b"v=0\nc=\n",
        b"v=0\nc=IN IP4 a b\n",
        b"v=0\n" + b"m=audio 1 RTP/AVP 0\n" * 33,
        b"v=0\n" + b"a=x\n" * 1000,
        b"v=0\na=" + b"x" * 65536,
    ],
)
def test_refused(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(body)


def test_broken_attributes_are_as_if_absent() -> None:
    media = parse(b"v=0\nm=audio 1 RTP/AVP 97\na=rtpmap:97\na=rtpmap\na=rtpmap:97 x\na=rtpmap: 97  PCMU/8000 \n").media[
        0
    ]
    assert media.rtpmap("97") == RtpMap("pcmu", 8000)


def test_formats_are_counted_once_and_bounded() -> None:
    head = b"v=0\r\nm=audio 1 RTP/AVP 0"
    assert parse(head + b" 97 0 97" * 5000).media[0].formats == ("0", "97")
    assert len(parse(head + b"".join(b" %d" % n for n in range(1, 128))).media[0].formats) == 128
    with pytest.raises(SdpError, match="formats"):
        parse(head + b"".join(b" %d" % n for n in range(1, 129)))


def test_attributes_are_read_once_however_many_formats_there_are() -> None:
    formats = b"".join(b" %d" % n for n in range(1, 128))
    body = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 0" + formats + b"\r\n" + b"a=rtpmap:1 x/8\r\n" * 900
    section = parse(body).media[0]
    reads = 0

    class Counted(tuple):  # type: ignore[type-arg]  # noqa: SLOT001
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal reads
            reads += 1
            return super().__iter__()

    counted = dataclasses.replace(section, attributes=Counted(section.attributes))
    offer = dataclasses.replace(parse(body), media=(counted,))
    make_answer(offer, LocalMedia("192.0.2.254", 4000, 1))
    assert reads < 10
