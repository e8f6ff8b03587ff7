"""Offer and answer: codecs, directions, refused lines, hold (RFC 3264)."""

from __future__ import annotations

from dataclasses import replace

import pytest

import media.codecs
from engine.sip import sdp
from engine.sip.offer_answer import (
    CODECS,
    Agreed,
    LocalMedia,
    NotAcceptable,
    codecs_offered,
    make_answer,
    make_offer,
    read_answer,
)

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


ALL = replace(US, codecs=CODECS)


@pytest.mark.parametrize(
    ("lines", "formats", "codec", "number"),
    [
        ((), "9 0 8", "G722", 9),
        ((), "8 9", "PCMA", 8),
        (("a=rtpmap:9 G722/8000",), "9 0", "G722", 9),
        (("a=rtpmap:9 g722/8000/1",), "9 0", "G722", 9),
        (("a=rtpmap:9 G722/16000",), "9 0", "PCMU", 0),
        (("a=rtpmap:110 G722/8000",), "110 0", "G722", 110),
        (("a=rtpmap:96 L16/8000",), "96 0", "L16", 96),
        (("a=rtpmap:127 L16/8000/1",), "127 0", "L16", 127),
        (("a=rtpmap:128 L16/8000/1",), "128 0", "PCMU", 0),
        (("a=rtpmap:96 L16/16000",), "96 8", "PCMA", 8),
        (("a=rtpmap:96 L16/8000/2",), "96 8", "PCMA", 8),
        (("a=rtpmap:96 L16/16000", "a=rtpmap:97 L16/8000"), "96 97 8", "L16", 97),
        ((), "11 10 8", "PCMA", 8),  # static, at 44.1 kHz
        ((), "96 8", "PCMA", 8),  # no rtpmap, no meaning
        (("a=rtpmap:96 PCMU/8000",), "96 8", "PCMA", 8),
    ],
)
def test_each_codec_in_the_order_of_the_offer(lines: tuple[str, ...], formats: str, codec: str, number: int) -> None:
    answer, agreed = make_answer(offer(*lines, media=f"audio 5004 RTP/AVP {formats}"), ALL)
    assert (agreed.codec, agreed.payload_type, agreed.receive_payload_type) == (codec, number, -1)
    assert answer.media[0].formats == (str(number),)
    assert answer.media[0].attribute("rtpmap") == f"{number} {codec}/8000"


@pytest.mark.parametrize(
    ("prefer", "codec", "number"),
    [
        (("PCMU",), "PCMU", 0),
        (("PCMU", "G722"), "PCMU", 0),
        (("L16", "G722"), "G722", 9),  # the first that is offered
        (("L16",), "PCMA", 8),
        ((), "PCMA", 8),
    ],
)
def test_a_codec_that_is_preferred_is_taken_before_the_order_of_the_offer(
    prefer: tuple[str, ...], codec: str, number: int
) -> None:
    described = offer(EVENTS, media="audio 5004 RTP/AVP 8 9 0 101")
    answer, agreed = make_answer(described, ALL, prefer)
    assert (agreed.codec, agreed.payload_type, agreed.other_payload_type) == (codec, number, -1)
    assert answer.media[0].formats == (str(number), "101")


def test_codecs_of_an_offer_in_its_order() -> None:
    lines = ("a=rtpmap:96 L16/8000", "m=audio 5006 RTP/AVP 0")
    assert codecs_offered(offer(*lines, media="audio 5004 RTP/AVP 8 96 18 0"), ALL) == ("PCMA", "L16", "PCMU")
    assert codecs_offered(offer(*lines, media="audio 5004 RTP/AVP 96"), US) == ("PCMU",)  # of the section we take
    assert codecs_offered(offer(media="audio 0 RTP/AVP 0"), ALL) == ()


def test_only_allowed_codecs_are_taken() -> None:
    media = "audio 5004 RTP/AVP 9 96 0 8"
    lines = "a=rtpmap:96 L16/8000"
    assert agree(lines, media=media).codec == "PCMU"
    assert make_answer(offer(lines, media=media), replace(US, codecs=("PCMA", "L16")))[1].codec == "L16"
    with pytest.raises(NotAcceptable, match=r"no common codec \(we have G722\)"):
        make_answer(offer(media="audio 5004 RTP/AVP 0 8"), replace(US, codecs=("G722",)))


def test_our_own_table_of_codecs_is_that_of_the_media_plane() -> None:
    assert tuple(media.codecs.CODECS) == CODECS
    for name, codec in media.codecs.CODECS.items():
        if codec.payload_type >= 0:
            taken = make_answer(offer(media=f"audio 5004 RTP/AVP {codec.payload_type}"), ALL)[1]
            assert (taken.codec, taken.payload_type) == (name, codec.payload_type)


@pytest.mark.parametrize(("ptime", "agreed"), [("10", 10), ("30", 30), ("60", 60), ("100", 60)])
def test_packet_times_hold_for_every_codec(ptime: str, agreed: int) -> None:
    for formats, codec in (("9", "G722"), ("96", "L16")):
        described = offer("a=rtpmap:96 L16/8000", f"a=ptime:{ptime}", media=f"audio 5004 RTP/AVP {formats}")
        taken = make_answer(described, ALL)[1]
        assert (taken.codec, taken.ptime) == (codec, agreed)


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
    expected = Agreed(8, 101, 40, "192.0.2.1", 5004, 5005, send=True, receive=False, held=False, codec="PCMA")
    assert agreed == expected


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
    them = LocalMedia("192.0.2.1", 5004, 1, codecs=("PCMA", "PCMU"), event_type=96, ptime=30)
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


# --- numbers of our own -----------------------------------------------------------------


def test_an_offer_of_all_codecs_in_our_order() -> None:
    section = make_offer(ALL).media[0]
    assert section.formats == ("0", "8", "9", "96", "101")
    assert [value for name, value in section.attributes if name == "rtpmap"] == [
        "0 PCMU/8000",
        "8 PCMA/8000",
        "9 G722/8000",
        "96 L16/8000",
        "101 telephone-event/8000",
    ]
    wide_first = make_offer(replace(US, codecs=("G722", "L16", "PCMA"), event_type=96)).media[0]
    assert wide_first.formats == ("9", "97", "8", "96")


@pytest.mark.parametrize(
    ("lines", "formats", "expected"),
    [
        ((), "9", ("G722", 9, -1)),
        (("a=rtpmap:96 L16/8000",), "96", ("L16", 96, -1)),
        ((), "96 0", ("L16", 96, -1)),  # taken in under our number, its rtpmap forgotten
        (("a=rtpmap:100 L16/8000/1",), "100", ("L16", 100, 96)),  # RFC 3264 section 6.1
        (("a=rtpmap:100 G722/8000",), "100", ("G722", 100, 9)),
        (("a=rtpmap:96 L16/16000",), "96 8", ("PCMA", 8, -1)),
    ],
)
def test_answers_to_all_codecs(lines: tuple[str, ...], formats: str, expected: tuple[str, int, int]) -> None:
    agreed = read_answer(make_offer(ALL), offer(*lines, media=f"audio 5004 RTP/AVP {formats}"))
    assert (agreed.codec, agreed.payload_type, agreed.receive_payload_type) == expected
    assert agreed.other_payload_type == -1


def test_what_we_did_not_offer_is_not_taken() -> None:
    with pytest.raises(NotAcceptable, match="PCMU, PCMA"):
        read_answer(make_offer(US), offer("a=rtpmap:96 L16/8000", media="audio 5004 RTP/AVP 9 96"))


def test_beside_a_g711_law_only_the_other_law_may_come() -> None:
    def other(media: str) -> int:
        return read_answer(make_offer(ALL), offer(media=media)).other_payload_type

    assert other("audio 5004 RTP/AVP 0 9 8") == 8
    assert other("audio 5004 RTP/AVP 9 0 8") == -1
    assert other("audio 5004 RTP/AVP 0 9") == -1


def test_numbers_keep_their_meaning_through_a_session() -> None:
    """We answered with their numbers; a later offer of ours must not give them another meaning (section 8.3.2)."""
    lines = ("a=rtpmap:96 telephone-event/8000", "a=rtpmap:101 L16/8000")
    answer, _ = make_answer(offer(*lines, media="audio 5004 RTP/AVP 101 96"), ALL)
    assert make_offer(replace(ALL, version=4), answer).media[0].formats == ("0", "8", "9", "101", "96")
    without_events, _ = make_answer(offer("a=rtpmap:101 L16/8000", media="audio 5004 RTP/AVP 101"), ALL)
    assert make_offer(replace(ALL, version=4), without_events).media[0].formats == ("0", "8", "9", "101", "96")
    events_at_96, _ = make_answer(offer(lines[0], media="audio 5004 RTP/AVP 0 96"), ALL)
    assert make_offer(replace(ALL, version=4), events_at_96).media[0].formats == ("0", "8", "9", "97", "96")
    dynamic, _ = make_answer(offer("a=rtpmap:98 G722/8000", media="audio 5004 RTP/AVP 98"), ALL)
    assert make_offer(replace(ALL, version=4), dynamic).media[0].formats == ("0", "8", "98", "96", "101")
