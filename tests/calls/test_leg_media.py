"""What a leg tells its media stream of an agreement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.leg import CallerLeg, PeerLeg
from engine.calls.media import Stream
from engine.log import get_logger
from engine.sip import sdp
from media import commands


def leg_and_stream(codecs: tuple[str, ...], offer: bytes | None = None) -> tuple[CallerLeg, list[Any]]:
    """A leg whose stream keeps what it is told."""
    sent: list[Any] = []
    session = SimpleNamespace(
        offer=offer, negotiated=False, accept=lambda body, now: sdp.parse(body).media[0].port == 4000
    )
    leg = CallerLeg(
        cast("Any", session),
        host="192.0.2.254",
        codecs=codecs,
        rtp_timeout=20.0,
        on_agreed=lambda agreed, before: None,
        on_changed=lambda: None,
        log=get_logger("test"),
    )
    stream = Stream(cast("Any", SimpleNamespace(send=sent.append)), 1, lambda report: None, lambda reason: None)
    stream.port = 4000
    leg.attach(stream)
    return leg, sent


def direct_of(sent: list[Any]) -> commands.Direct:
    (direct,) = [message for message in sent if isinstance(message, commands.Direct)]
    return direct


async def test_both_numbers_of_an_answer_reach_the_stream() -> None:
    """We offered 101 and both laws in the 200; the answer in the ACK has 96 and both laws."""
    leg, sent = leg_and_stream(("PCMU", "PCMA"))
    leg.answer(0.0)
    leg.acknowledged(
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
    )
    direct = direct_of(sent)
    assert (direct.codec, direct.payload_type, direct.other_payload_type) == ("PCMA", 8, 0)
    assert (direct.event_type, direct.receive_event_type, direct.relatch) == (96, 101, False)


async def test_the_codec_of_an_offer_reaches_the_stream() -> None:
    offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 97 9 0\r\na=rtpmap:97 L16/8000\r\n"
    for codecs, expected in (
        (("PCMU", "PCMA", "G722", "L16"), ("L16", 97)),
        (("PCMU", "G722"), ("G722", 9)),
        (("PCMU", "PCMA"), ("PCMU", 0)),
    ):
        leg, sent = leg_and_stream(codecs, offer)
        leg.answer(0.0)
        direct = direct_of(sent)
        assert (direct.codec, direct.payload_type, direct.receive_payload_type) == (*expected, -1)


async def test_both_numbers_of_a_dynamic_codec_reach_the_stream() -> None:
    leg, sent = leg_and_stream(("L16",))
    leg.answer(0.0)
    leg.acknowledged(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 100\r\na=rtpmap:100 L16/8000/1\r\n")
    direct = direct_of(sent)
    assert (direct.codec, direct.payload_type, direct.receive_payload_type) == ("L16", 100, 96)


async def test_an_offer_of_ours_has_no_codecs_that_could_come_beside_another() -> None:
    """The answer may list all that we offer, and the caller then send any of them (RFC 3264 section 6.1)."""
    leg, sent = leg_and_stream(("G722", "PCMA", "L16", "PCMU"))
    said: list[bytes] = []
    leg.session.accept = lambda body, now: not said.append(body)  # type: ignore[method-assign, assignment, func-returns-value]
    leg.answer(0.0)
    assert sdp.parse(said[0]).media[0].formats == ("8", "0", "101")
    leg.acknowledged(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0 8 9\r\n")
    direct = direct_of(sent)
    assert (direct.codec, direct.payload_type, direct.other_payload_type) == ("PCMU", 0, 8)


async def test_an_offer_of_ours_keeps_the_codec_in_use() -> None:
    offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 97 9 0\r\na=rtpmap:97 L16/8000\r\n"
    leg, sent = leg_and_stream(("PCMU", "PCMA", "G722", "L16"), offer)
    leg.answer(0.0)
    said: list[bytes] = []
    leg.session.answer_reoffer = lambda body, now: not said.append(body)  # type: ignore[method-assign, assignment, func-returns-value]
    leg.reoffered(None, 1.0)
    assert sdp.parse(said[0]).media[0].formats == ("97", "0", "8", "101")
    sent.clear()
    leg.acknowledged(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 97\r\na=rtpmap:97 L16/8000\r\n")
    assert (direct_of(sent).codec, direct_of(sent).payload_type) == ("L16", 97)


OFFER = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0\r\n"


def timeouts(sent: list[Any]) -> list[float]:
    return [message.seconds for message in sent if isinstance(message, commands.RtpTimeout)]


async def test_nobody_has_to_send_before_the_answer() -> None:
    """Early media without RTP from the caller is normal: the timeout runs from the answer on."""
    leg, sent = leg_and_stream(("PCMU",), OFFER)
    leg.session.progress = lambda now, body: None  # type: ignore[method-assign, assignment, union-attr]
    leg.session.ended = False  # type: ignore[misc, union-attr]
    assert leg.early(0.0) == ""
    assert timeouts(sent) == [0.0]
    sent.clear()
    leg.answer(1.0)
    assert timeouts(sent) == [20.0]


@pytest.mark.parametrize("body", [None, OFFER], ids=["described before", "described again"])
async def test_a_phone_that_is_called_may_be_silent_until_it_answers(body: bytes | None) -> None:
    sent: list[Any] = []
    leg = PeerLeg(
        host="192.0.2.254",
        codecs=("PCMU",),
        rtp_timeout=20.0,
        on_agreed=lambda agreed, before: None,
        on_changed=lambda: None,
        log=get_logger("test"),
    )
    stream = Stream(cast("Any", SimpleNamespace(send=sent.append)), 1, lambda report: None, lambda reason: None)
    stream.port = 4000
    leg.attach(stream)
    leg.offer()
    assert leg.progressed(OFFER)
    assert timeouts(sent) == [0.0]
    sent.clear()
    leg.answered(body)
    assert timeouts(sent) == [20.0]


@pytest.mark.parametrize("made", [CallerLeg, PeerLeg])
async def test_an_update_before_the_answer_is_no_answer(made: type[CallerLeg | PeerLeg]) -> None:
    """RFC 3311 section 5.1: offers in early dialogs; what is told of the dialog begins with the 200."""
    offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0\r\n"
    told: list[str] = []
    session = SimpleNamespace(
        offer=offer, negotiated=False, ended=False,
        progress=lambda now, body: None, accept=lambda body, now: True, answer_reoffer=lambda body, now: True,
    )  # fmt: skip
    settings: dict[str, Any] = {"host": "192.0.2.254", "codecs": ("PCMU",), "rtp_timeout": 20.0}
    settings |= {"on_agreed": lambda agreed, before: None, "on_changed": lambda: told.append("changed")}
    settings["log"] = get_logger("test")
    leg = CallerLeg(cast("Any", session), **settings) if made is CallerLeg else PeerLeg(**settings)
    stream = Stream(
        cast("Any", SimpleNamespace(send=lambda message: None)), 1, lambda report: None, lambda reason: None
    )
    stream.port = 4000
    leg.attach(stream)
    if isinstance(leg, CallerLeg):
        leg.early(0.0)
    else:
        leg.session = cast("Any", session)
        leg.offer()
        assert leg.progressed(offer)
    leg.reoffered(offer, 1.0)
    assert told == []
    if isinstance(leg, CallerLeg):
        leg.answer(2.0)
    else:
        leg.answered(offer)
    assert told == ["changed"]
    leg.reoffered(offer, 3.0)
    assert told == ["changed"] * 2


def formats_of(body: bytes) -> tuple[str, ...]:
    return sdp.parse(body).media[0].formats


BOTH = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 9 8 0\r\n"


def said_by(leg: CallerLeg) -> list[bytes]:
    """What the leg says from now on."""
    said: list[bytes] = []
    session: Any = leg.session
    session.ended = False
    session.progress = lambda now, body: said.append(body)
    session.accept = lambda body, now: not said.append(body)  # type: ignore[func-returns-value]
    session.answer_reoffer = session.accept
    return said


async def test_the_answer_has_the_codec_of_the_other_leg_and_keeps_it() -> None:
    """A phone that puts the call on hold offers its list once more."""
    leg, sent = leg_and_stream(("PCMU", "PCMA", "G722"), BOTH)
    said = said_by(leg)
    assert leg.codecs == ("G722", "PCMA", "PCMU")
    leg.prefer(("PCMU",))
    leg.answer(0.0)
    assert (direct_of(sent).codec, leg.codecs) == ("PCMU", ("PCMU",))
    leg.reoffered(BOTH, 1.0)
    leg.reoffered(OFFER.replace(b"AVP 0", b"AVP 8"), 2.0)
    assert [formats_of(each) for each in said] == [("0",), ("0",), ("8",)]


async def test_early_media_is_the_answer_whoever_answers_then() -> None:
    leg, _ = leg_and_stream(("PCMU", "PCMA", "G722"), BOTH)
    said = said_by(leg)
    leg.prefer(("PCMA",))
    assert leg.early(0.0) == ""
    leg.prefer(("PCMU",))
    leg.answer(1.0)
    assert [formats_of(each) for each in said] == [("8",), ("8",)]


async def test_an_offer_of_ours_begins_with_the_codec_of_the_other_leg() -> None:
    leg, sent = leg_and_stream(("PCMU", "PCMA", "G722"))
    said = said_by(leg)
    assert leg.codecs == ()
    leg.prefer(("PCMA",))
    leg.answer(0.0)
    leg.acknowledged(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 8\r\n")
    assert direct_of(sent).codec == "PCMA"
    leg.reoffered(None, 1.0)
    assert [formats_of(each) for each in said] == [("8", "0", "101"), ("8", "0", "101")]


@pytest.mark.parametrize(
    ("codecs", "prefer", "formats"),
    [
        (("PCMU", "PCMA", "G722"), ("G722", "PCMA", "PCMU"), ("9", "8", "0", "101")),
        (("PCMU", "PCMA", "G722"), ("PCMA",), ("8", "0", "101")),
        (("PCMU", "PCMA"), ("G722", "PCMA"), ("8", "0", "101")),
        (("PCMU", "PCMA", "G722"), (), ("0", "8", "101")),
        (("G722",), (), ("9", "101")),
    ],
)
@pytest.mark.parametrize("srtp", [False, True])
async def test_who_is_called_is_offered_what_the_other_leg_may_have(
    codecs: tuple[str, ...], prefer: tuple[str, ...], formats: tuple[str, ...], srtp: bool
) -> None:
    leg = PeerLeg(
        host="192.0.2.254",
        codecs=codecs,
        rtp_timeout=20.0,
        on_agreed=lambda agreed, before: None,
        on_changed=lambda: None,
        log=get_logger("test"),
    )
    leg.prefer(prefer)
    offered = sdp.parse(leg.offer(srtp=srtp)).media[0]
    assert (offered.formats, offered.protocol) == (formats, "RTP/SAVP" if srtp else "RTP/AVP")
