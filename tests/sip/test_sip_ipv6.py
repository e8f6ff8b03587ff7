"""The messages of RFC 5118 (IPv6), section by section."""

from __future__ import annotations

import pytest

from engine.sip import sdp
from engine.sip.message import Malformed, Request
from engine.sip.parser import parse


def build(
    method: str, uri: str, via: str, *, to: str = "sip:user@example.com", contact: str = "", body: str = ""
) -> bytes:
    lines = [
        f"{method} {uri} SIP/2.0",
        f"To: {to}",
        "From: sip:user@example.com;tag=81x2",
        *(f"Via: {value}" for value in via.split(", ")),
        "Call-ID: SSG9559905523997077@hlau_4100",
        "Max-Forwards: 70",
        f"CSeq: 98176 {method}",
        *([f"Contact: {contact}"] if contact else []),
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


VIA = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111"


def understood(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    assert message.encode() == parse(message.encode()).encode()
    return message


def test_4_1_ipv6_reference() -> None:
    message = understood(build("REGISTER", "sip:[2001:db8::10]", VIA, contact='"Caller" <sip:caller@[2001:db8::1]>'))
    assert (message.ruri.host, message.ruri.address) == ("[2001:db8::10]", "2001:db8::10")
    assert message.via.host == "[2001:db8::9:1]"
    assert message.contacts[0].uri.address == "2001:db8::1"


def test_4_2_without_brackets() -> None:
    with pytest.raises(Malformed) as error:
        parse(build("REGISTER", "sip:2001:db8::10", VIA))
    assert error.value.status == 400


def test_4_3_port_ambiguous() -> None:
    uri = understood(build("REGISTER", "sip:[2001:db8::10:5070]", VIA)).ruri
    assert (uri.address, uri.port) == ("2001:db8::10:5070", None)


def test_4_4_port_unambiguous() -> None:
    uri = understood(build("REGISTER", "sip:[2001:db8::10]:5070", VIA)).ruri
    assert (uri.address, uri.port) == ("2001:db8::10", 5070)


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_4_5_received_with_and_without_delimiters(received: str) -> None:
    via = f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111"
    message = understood(build("BYE", "sip:[2001:db8::10]", via, to="sip:user@example.com;tag=bd76ya"))
    assert message.via.received == "2001:db8::9:255"
    assert message.via.branch == "z9hG4bKas3-111"


def test_4_6_session_description() -> None:
    body = (
        "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live video feed\r\n"
        "c=IN IP6 2001:db8::20\r\nt=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\n"
        "a=rtpmap:2 G726-32/8000\r\nm=video 6024 RTP/AVP 107\r\na=rtpmap:107 H263-1998/90000\r\n"
    )
    message = understood(build("INVITE", "sip:user@[2001:db8::10]", VIA, contact="<sip:c@[2001:db8::9:1]>", body=body))
    description = sdp.parse(message.body)
    assert description.connection == sdp.Connection("IP6", "2001:db8::20")
    assert description.time == (3338481189, 3370017201)
    assert [media.port for media in description.media] == [6000, 6024]


def test_4_7_addresses_of_both_kinds_in_headers() -> None:
    via = (
        "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111, "
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144, "
        "SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200"
    )
    message = understood(build("BYE", "sip:user@host.example.net", via, to="sip:user@example.net;tag=bd76ya"))
    assert [(item.host, item.port) for item in message.vias] == [
        ("[2001:db8::9:1]", 6050),
        ("192.0.2.1", None),
        ("[2001:db8::9:255]", None),
    ]
    assert message.vias[2].received == "192.0.2.200"


def test_4_8_addresses_of_both_kinds_in_sdp() -> None:
    body = (
        "v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=\r\nt=0 0\r\n"
        "m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\n"
    )
    description = sdp.parse(understood(build("INVITE", "sip:user@[2001:db8::10]", VIA, body=body)).body)
    connections = [description.connection_of(media) for media in description.media]
    assert connections == [sdp.Connection("IP4", "192.0.2.1"), sdp.Connection("IP6", "2001:db8::1")]


def test_4_9_mapped_addresses() -> None:
    via = (
        "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19, SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111"
    )
    message = understood(
        build("INVITE", "sip:user@example.com", via, contact='"T. desk phone" <sip:ted@[::ffff:192.0.2.2]>')
    )
    assert message.via.sent_by == ("[::ffff:192.0.2.10]", 19823)
    assert message.contacts[0].uri.address == "::ffff:192.0.2.2"


def test_4_10_the_third_colon_of_rfc_3261() -> None:
    """The grammar of RFC 3261 lets a third colon stand before an IPv4 tail; it means nothing."""
    wrong = understood(build("OPTIONS", "sip:user@[2001:db8:::192.0.2.1]", VIA, to="sip:user@[2001:db8:::192.0.2.1]"))
    right = understood(build("OPTIONS", "sip:user@[2001:db8::192.0.2.1]", VIA))
    assert wrong.ruri.address == right.ruri.address == "2001:db8::192.0.2.1"
    assert wrong.ruri.matches(right.ruri)
    with pytest.raises(Malformed):
        parse(build("OPTIONS", "sip:user@[2001:db8:::1]", VIA))
