"""Offer and answer: codecs, directions, refused lines, hold (RFC 3264)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.sip import sdp
from engine.sip.offer_answer import Agreed, LocalMedia, NotAcceptable, make_answer, make_offer, read_answer

US = LocalMedia(host="192.0.2.254", port=16384, session_id=7, version=3)


def offer(
    *lines: str, media: str = "audio 5004 RTP/AVP 0 8 101", session: str = "c=IN IP4 192.0.2.1"
) -> sdp.SessionDescription:
    text = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", *([session] if session else []), "t=5 6", f"m={media}", *lines]
    return sdp.parse("\r\n".join(text).encode())


EVENTS = "a=rtpmap:101 telephone-event/8000"


def agree(*lines: str, media: str = "audio 5004 RTP/AVP 0 8 101", session: str = "c=IN IP4 192.0.2.1") -> Agreed:
    return make_answer(offer(*lines, media=media, session=session), US)[1]


def test_plain_answer() -> None:
    answer, agreed = make_answer(offer(EVENTS), US)
    assert agreed == Agreed(0, 101, 20, "192.0.2.1", 5004, 5005, send=True, receive=True, held=False)
    assert answer.encode() == (
        b"v=0\r\no=- 7 3 IN IP4 192.0.2.254\r\ns=-\r\nc=IN IP4 192.0.2.254\r\nt=5 6\r\n"
        b"m=audio 16384 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        b"a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def test_the_offer_decides_the_codec() -> None:
    assert agree(media="audio 5004 RTP/AVP 18 9 8 0").payload_type == 8
    assert agree(media="audio 5004 RTP/AVP 8").payload_type == 8
    with_names = agree("a=rtpmap:8 pcma/8000", "a=rtpmap:0 PCMU/8000/1", media="audio 5004 RTP/AVP 0 8")
    assert with_names.payload_type == 0


@pytest.mark.parametrize(
    "media", ["audio 5004 RTP/AVP 9 18", "audio 5004 RTP/AVP 97", "audio 0 RTP/AVP 0", "video 1 RTP/AVP 0"]
)
def test_no_common_ground(media: str) -> None:
    with pytest.raises(NotAcceptable):
        agree(media=media)


def test_a_static_number_that_means_something_else() -> None:
    assert agree("a=rtpmap:0 PCMU/16000", media="audio 5004 RTP/AVP 0 8").payload_type == 8


def test_a_profile_with_early_feedback_is_echoed() -> None:
    lines = (EVENTS, "a=rtcp-fb:* trr-int 5000")
    answer, agreed = make_answer(offer(*lines, media="audio 5004 RTP/AVPF 0 101"), US)
    assert (agreed.payload_type, answer.media[0].protocol) == (0, "RTP/AVPF")
    assert make_offer(replace(US, version=4), previous=answer).media[0].protocol == "RTP/AVPF"
    assert read_answer(make_offer(US), offer(media="audio 5004 RTP/AVPF 0")).payload_type == 0


def test_only_plain_rtp() -> None:
    for protocol in ("RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udp"):
        with pytest.raises(NotAcceptable, match=protocol):
            agree(media=f"audio 5004 {protocol} 0")


def test_event_numbers() -> None:
    assert agree("a=rtpmap:96 Telephone-Event/8000", media="audio 5004 RTP/AVP 0 96").event_type == 96
    both = agree(
        "a=rtpmap:97 telephone-event/48000", "a=rtpmap:98 telephone-event/8000", media="audio 5004 RTP/AVP 97 0 98"
    )
    assert both.event_type == 98
    assert agree(media="audio 5004 RTP/AVP 0 101").event_type == -1  # no rtpmap, no meaning
    assert make_answer(offer(EVENTS), replace(US, event_type=-1))[1].event_type == -1


def test_extra_lines_are_refused_in_their_places() -> None:
    text = (
        b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
        b"m=video 6000 RTP/AVP 31 32\nm=audio 5000 RTP/SAVP 0\nm=audio 5002 RTP/AVP 8 0\nm=audio 5004 RTP/AVP 0\n"
        b"m=image 7000 udptl t38\n"
    )
    answer, agreed = make_answer(sdp.parse(text), US)
    assert [(media.kind, media.port, media.protocol, media.formats) for media in answer.media] == [
        ("video", 0, "RTP/AVP", ("31", "32")),
        ("audio", 0, "RTP/SAVP", ("0",)),
        ("audio", 16384, "RTP/AVP", ("8",)),
        ("audio", 0, "RTP/AVP", ("0",)),
        ("image", 0, "udptl", ("t38",)),
    ]
    assert (agreed.port, agreed.payload_type) == (5002, 8)


@pytest.mark.parametrize(
    ("theirs", "ours", "send", "receive", "held"),
    [
        ("sendrecv", "sendrecv", True, True, False),
        ("sendonly", "recvonly", False, True, True),
        ("recvonly", "sendonly", True, False, False),
        ("inactive", "inactive", False, False, True),
    ],
)
@pytest.mark.parametrize("level", ["media", "session"])
def test_directions(level: str, theirs: str, ours: str, send: bool, receive: bool, held: bool) -> None:
    described = (
        offer(f"a={theirs}") if level == "media" else offer(session=f"c=IN IP4 192.0.2.1\r\na={theirs}\r\nb=AS:1")
    )
    answer, agreed = make_answer(described, US)
    assert (agreed.send, agreed.receive, agreed.held) == (send, receive, held)
    assert answer.direction_of(answer.media[0]) == ours


def test_the_media_level_wins() -> None:
    described = offer("a=sendrecv", session="c=IN IP4 192.0.2.1\r\na=inactive")
    assert make_answer(described, US)[1].held is False


@pytest.mark.parametrize(
    ("direction", "ours"),
    [("sendrecv", "recvonly"), ("sendonly", "recvonly"), ("recvonly", "inactive"), ("inactive", "inactive")],
)
@pytest.mark.parametrize("address", ["IP4 0.0.0.0", "IP4 hold.invalid"])
def test_hold_the_old_way(direction: str, ours: str, address: str) -> None:
    answer, agreed = make_answer(offer(f"a={direction}", session=f"c=IN {address}"), US)
    assert agreed.held
    assert not agreed.send
    assert answer.direction_of(answer.media[0]) == ours


def test_our_own_direction_counts_too() -> None:
    answer, agreed = make_answer(offer(), replace(US, direction="sendonly"))
    assert (agreed.send, agreed.receive, agreed.held) == (True, False, False)
    assert answer.direction_of(answer.media[0]) == "sendonly"


@pytest.mark.parametrize(
    ("lines", "ptime"),
    [
        ((), 20),
        (("a=ptime:30",), 30),
        (("a=ptime:10",), 10),
        (("a=ptime:5",), 10),
        (("a=ptime:200",), 60),
        (("a=ptime:25",), 20),
        (("a=ptime:20.0",), 20),
        (("a=ptime:0",), 20),
        (("a=ptime:x",), 20),
        (("a=ptime",), 20),
        (("a=maxptime:10",), 10),
        (("a=ptime:60", "a=maxptime:40"), 40),
        (("a=ptime:99999999999",), 20),
    ],
)
def test_ptime(lines: tuple[str, ...], ptime: int) -> None:
    answer, agreed = make_answer(offer(*lines), US)
    assert agreed.ptime == ptime
    assert answer.media[0].attribute("ptime") == str(ptime)


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ((), 5005),
        (("a=rtcp:6001",), 6001),
        (("a=rtcp:6001 IN IP4 203.0.113.9",), 6001),
        (("a=rtcp:x",), 5005),
        (("a=rtcp:70000",), 0),
    ],
)
def test_rtcp_port(lines: tuple[str, ...], port: int) -> None:
    assert agree(*lines).rtcp_port == port
    assert agree(media="audio 65535 RTP/AVP 0").rtcp_port == 0


@pytest.mark.parametrize(
    "address",
    ["IP4 224.2.1.1/127", "IP4 224.2.1.1", "IP4 255.255.255.255", "IP6 2001:db8::1", "IP4 media.example", "IP4 1.2.3"],
)
def test_addresses_that_we_do_not_send_to(address: str) -> None:
    with pytest.raises(NotAcceptable):
        agree(session=f"c=IN {address}")


def test_no_address() -> None:
    with pytest.raises(NotAcceptable, match="c="):
        agree(session="")


def test_ipv6() -> None:
    us = replace(US, host="2001:db8::fe")
    answer, agreed = make_answer(offer(session="c=IN IP6 2001:db8::1"), us)
    assert agreed.host == "2001:db8::1"
    assert b"c=IN IP6 2001:db8::fe\r\n" in answer.encode()
    assert make_answer(offer(session="c=IN IP6 ::"), us)[1].held


# --- our offers -------------------------------------------------------------------------


def test_offer() -> None:
    assert make_offer(US).encode() == (
        b"v=0\r\no=- 7 3 IN IP4 192.0.2.254\r\ns=-\r\nc=IN IP4 192.0.2.254\r\nt=0 0\r\n"
        b"m=audio 16384 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def test_read_answer() -> None:
    answer = offer("a=rtpmap:101 telephone-event/8000", "a=ptime:40", "a=recvonly", media="audio 5004 RTP/AVP 8 101")
    agreed = read_answer(make_offer(US), answer)
    assert agreed == Agreed(8, 101, 40, "192.0.2.1", 5004, 5005, send=True, receive=False, held=False)


def test_answer_that_forgets_the_name_of_our_events() -> None:
    assert read_answer(make_offer(US), offer(media="audio 5004 RTP/AVP 0 101")).event_type == 101
    assert read_answer(make_offer(US), offer(media="audio 5004 RTP/AVP 0")).event_type == -1
    assert read_answer(make_offer(replace(US, event_type=-1)), offer(EVENTS)).event_type == -1


@pytest.mark.parametrize(
    "media", ["audio 0 RTP/AVP 0", "audio 5004 RTP/AVP 18", "audio 5004 RTP/SAVP 0", "video 5004 RTP/AVP 0"]
)
def test_answers_that_cannot_be_used(media: str) -> None:
    with pytest.raises(NotAcceptable):
        read_answer(make_offer(US), offer(media=media))


def test_answer_without_media() -> None:
    with pytest.raises(NotAcceptable, match="lacks"):
        read_answer(make_offer(US), sdp.parse(b"v=0\n"))


def test_answer_with_another_number_for_events() -> None:
    agreed = read_answer(make_offer(US), offer("a=rtpmap:96 telephone-event/8000", media="audio 5004 RTP/AVP 0 96"))
    assert (agreed.event_type, agreed.receive_event_type) == (96, 101)  # RFC 3264 section 6.1
    same = read_answer(make_offer(US), offer(EVENTS))
    assert (same.event_type, same.receive_event_type) == (101, -1)


def test_both_laws_may_come_if_both_descriptions_list_them() -> None:
    def read(media: str) -> tuple[int, int]:
        agreed = read_answer(make_offer(US), offer(media=media))
        return agreed.payload_type, agreed.other_payload_type

    assert read("audio 5004 RTP/AVP 8 0") == (8, 0)
    assert read("audio 5004 RTP/AVP 0 18 8 8") == (0, 8)
    assert read("audio 5004 RTP/AVP 0 0") == (0, -1)
    assert agree(media="audio 5004 RTP/AVP 0 8").other_payload_type == -1  # our answer lists one


def test_both_ends_agree() -> None:
    them = LocalMedia("192.0.2.1", 5004, 1, codecs=(8, 0), event_type=96, ptime=30)
    ours = make_offer(US)
    answer, theirs = make_answer(ours, them)
    agreed = read_answer(ours, answer)
    assert (agreed.payload_type, theirs.payload_type) == (0, 0)
    assert (agreed.event_type, theirs.event_type) == (101, 101)
    assert (agreed.host, agreed.port) == ("192.0.2.1", 5004)
    assert (theirs.host, theirs.port) == ("192.0.2.254", 16384)


def test_a_later_offer_keeps_the_places_of_the_session() -> None:
    first = offer(media="video 6000 RTP/AVP 31\r\nm=audio 5004 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000")
    answer, _ = make_answer(first, US)
    again = make_offer(replace(US, version=4), previous=answer)
    assert [(media.kind, media.port) for media in again.media] == [("video", 0), ("audio", 16384)]
    assert again.media[1].formats == ("0", "8", "96")
    agreed = read_answer(again, offer(media="video 0 RTP/AVP 31\r\nm=audio 7000 RTP/AVP 8"))
    assert (agreed.port, agreed.payload_type) == (7000, 8)
