"""What a leg tells its media stream of an agreement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from engine.calls.leg import Leg
from engine.calls.media import Stream
from engine.log import get_logger
from engine.sip import sdp
from media import protocol


async def test_both_numbers_of_an_answer_reach_the_stream() -> None:
    """We offered 101 and both laws in the 200; the answer in the ACK has 96 and both laws."""
    sent: list[Any] = []
    session = SimpleNamespace(offer=None, accept=lambda body, now: sdp.parse(body).media[0].port == 4000)
    leg = Leg(
        cast("Any", session),
        host="192.0.2.254",
        rtp_timeout=20.0,
        on_agreed=lambda agreed, before: None,
        on_changed=lambda: None,
        log=get_logger("test"),
    )
    stream = Stream(cast("Any", SimpleNamespace(send=sent.append)), 1, lambda report: None, lambda reason: None)
    stream.port = 4000
    leg.attach(stream)
    leg.answer(0.0)
    leg.acknowledged(
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
    )
    (direct,) = [message for message in sent if isinstance(message, protocol.Direct)]
    assert (direct.payload_type, direct.other_payload_type) == (8, 0)
    assert (direct.event_type, direct.receive_event_type, direct.relatch) == (96, 101, False)
