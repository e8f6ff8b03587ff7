"""What messages say of TLS: Via, Contact, ``sips`` (RFC 3261 8.1.1.8, 12.1.1, RFC 5630, 5923)."""

from __future__ import annotations

from random import Random

import pytest

from engine.sip.endpoint import Endpoint
from engine.sip.events import Invited
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.parser import parse
from engine.sip.uri import Address

TLS = Flow("tls", ("192.0.2.1", 5061), ("192.0.2.2", 40000), 5)
UDP = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
HERE = "192.0.2.1:5061"


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(random=Random(1), contact_host=lambda _flow: ("192.0.2.1", 5061))


def sent(endpoint: Endpoint) -> Request | Response:
    ((_, data),) = endpoint.outgoing()
    return parse(data)


@pytest.mark.parametrize(
    ("uri", "contact", "route", "expected"),
    [
        ("sips:1@ivrea.example", "sips:b@192.0.2.2", "", f"sips:1@{HERE}"),
        ("sip:1@ivrea.example;transport=tls", "sip:b@192.0.2.2;transport=tls", "", f"sip:1@{HERE};transport=tls"),
        ("sip:1@ivrea.example", "sips:b@192.0.2.2", "", f"sips:1@{HERE}"),
        ("sip:1@ivrea.example", "sips:b@192.0.2.2", "<sip:p;lr>", f"sip:1@{HERE};transport=tls"),
        ("sip:1@ivrea.example", "sip:b@192.0.2.2", "<sips:p;lr>", f"sips:1@{HERE}"),
    ],
)
def test_the_contact_of_who_is_called(endpoint: Endpoint, uri: str, contact: str, route: str, expected: str) -> None:
    record = f"Record-Route: {route}\r\n" if route else ""
    endpoint.receive(
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:b@c>;tag=1\r\n"
        f"To: <{uri}>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n{record}Contact: <{contact}>\r\n\r\n".encode(),
        TLS,
        0.0,
    )
    (event,) = endpoint.events()
    assert isinstance(event, Invited)
    event.session.ringing(0.0)
    assert str(sent(endpoint).contacts[0].uri) == expected


@pytest.mark.parametrize(
    ("uri", "flow", "route", "expected"),
    [
        ("sips:b@h.example", TLS, (), f"<sips:a@{HERE}>"),
        ("sip:b@h.example;transport=tls", TLS, (), f"<sip:a@{HERE};transport=tls>"),
        ("sip:b@h.example", TLS, ("<sips:p;lr>",), f"<sips:a@{HERE}>"),
        ("sip:b@h.example", UDP, (), f"<sip:a@{HERE}>"),
    ],
)
def test_the_contact_and_via_of_who_calls(
    endpoint: Endpoint, uri: str, flow: Flow, route: tuple[str, ...], expected: str
) -> None:
    own = Address.parse("<sip:a@ivrea.example>")
    routes = [Address.parse(each) for each in route]
    endpoint.invite(uri, from_=own, to=Address.parse(f"<{uri}>"), sdp=None, flow=flow, now=0.0, route=routes)
    invite = sent(endpoint)
    assert str(invite.contacts[0]) == expected
    assert invite.via.transport == flow.transport.upper()
    assert (invite.via.param("alias") is not None) == (flow is TLS)
