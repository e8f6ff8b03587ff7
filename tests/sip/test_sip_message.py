"""Requests, responses, and the responses made out of requests."""

from __future__ import annotations

import pytest

from engine.sip.headers import Headers
from engine.sip.message import REASONS, Request, Response
from engine.sip.parser import parse

INVITE = (
    b"INVITE sip:1000@ivrea.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP proxy.example;branch=z9hG4bK2, SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport\r\n"
    b"Via: SIP/2.0/TCP old.example;branch=z9hG4bK0\r\n"
    b"Record-Route: <sip:p2.example;lr>\r\n"
    b"Record-Route: <sip:p1.example;lr>\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Caller" <sip:+39012345@example.com>;tag=abc\r\n'
    b"To: <sip:1000@ivrea.example>\r\n"
    b"Call-ID: 1@10.0.0.1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Contact: <sip:caller@10.0.0.1:5070>\r\n"
    b"Timestamp: 54\r\n"
    b"Content-Type: application/SDP ; charset=x\r\n"
    b"Expires: 120\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)


@pytest.fixture
def invite() -> Request:
    message = parse(INVITE)
    assert isinstance(message, Request)
    return message


def test_properties(invite: Request) -> None:
    assert invite.method == "INVITE"
    assert invite.ruri.user == "1000"
    assert invite.call_id == "1@10.0.0.1"
    assert invite.via.branch == "z9hG4bK2"
    assert len(invite.vias) == 3
    assert invite.from_.uri.user == "+39012345"
    assert invite.to.tag == ""
    assert [str(route.uri) for route in invite.record_routes] == ["sip:p2.example;lr", "sip:p1.example;lr"]
    assert invite.routes == ()
    assert (invite.max_forwards, invite.expires) == (70, 120)
    assert invite.content_type == "application/sdp"
    assert invite.body == b"v=0\n"


def test_response_copies_what_section_8_2_6_2_says(invite: Request) -> None:
    response = invite.response(200, to_tag="us")
    assert response.reason == "OK"
    assert [str(via) for via in response.vias] == [str(via) for via in invite.vias]
    assert response.headers.all("Record-Route") == invite.headers.all("Record-Route")
    assert response.to.tag == "us"
    assert response.from_ == invite.from_
    assert (response.call_id, response.cseq) == (invite.call_id, invite.cseq)
    assert {name for name, _ in response.headers} == {"Via", "Record-Route", "From", "To", "Call-ID", "CSeq"}


def test_trying_has_timestamp_and_no_tag(invite: Request) -> None:
    response = invite.response(100, to_tag="us")
    assert response.to.tag == ""
    assert response.headers.get("Timestamp") == "54"
    assert "Record-Route" not in response.headers


def test_refusals_form_no_dialog(invite: Request) -> None:
    response = invite.response(486, to_tag="us")
    assert "Record-Route" not in response.headers
    assert response.to.tag == "us"


def test_a_tag_that_is_there_stays(invite: Request) -> None:
    invite.headers.set("To", "<sip:1000@ivrea.example>;tag=old")
    assert invite.response(200, to_tag="new").to.tag == "old"


def test_a_bare_to_gets_its_tag_as_header_parameter(invite: Request) -> None:
    invite.headers.set("To", "sip:1000@ivrea.example")
    response = invite.response(200, to_tag="us")
    assert response.to.tag == "us"
    assert response.to.uri.params == ()


def test_bye_answers_copy_no_record_route(invite: Request) -> None:
    invite.method = "BYE"
    assert "Record-Route" not in invite.response(200).headers


def test_every_reason_fits_its_status(invite: Request) -> None:
    assert all(100 <= status < 700 and reason for status, reason in REASONS.items())
    assert invite.response(499).reason == "Unknown"
    assert invite.response(486, "").encode().startswith(b"SIP/2.0 486 \r\n")


def test_note_source_marks_the_first_via_only(invite: Request) -> None:
    invite.note_source("198.51.100.7", 4444)
    assert invite.via.received == "198.51.100.7"
    assert [via.branch for via in invite.vias] == ["z9hG4bK2", "z9hG4bK1", "z9hG4bK0"]
    assert [via.received for via in invite.vias] == ["198.51.100.7", None, None]
    assert len(invite.headers.all("Via")) == 3


def test_note_source_leaves_an_unreadable_via() -> None:
    response = Response(400, "Bad Request", Headers([("Via", "SIP/2.0/UDP h;=")]))
    response.note_source("198.51.100.7", 4444)
    assert response.headers.all("Via") == ["SIP/2.0/UDP h;="]


def test_encode_counts_the_body_and_nothing_else(invite: Request) -> None:
    invite.body = "ș".encode()
    invite.headers.add("l", "99")
    data = invite.encode()
    assert data.count(b"Content-Length") == 1
    assert b"Content-Length: 2\r\n\r\n" in data
    assert parse(data).body == invite.body


def test_nothing_is_smuggled_into_the_start_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        Request("INVITE", "sip:a@b SIP/2.0\r\nVia: x", Headers()).encode()
    with pytest.raises(ValueError, match="line break"):
        Response(200, "OK\r\nVia: x", Headers()).encode()


def test_missing_headers_of_built_messages_raise_value_errors() -> None:
    empty = Request("INVITE", "sip:a@b", Headers())
    for name in ("via", "from_", "to", "cseq"):
        with pytest.raises(ValueError, match="missing"):
            getattr(empty, name)
    assert empty.contacts == empty.routes == ()
    assert empty.max_forwards is None
    assert empty.content_type == ""


def test_wildcard_contact() -> None:
    register = Request("REGISTER", "sip:a", Headers([("Contact", "*")]))
    assert register.contact_is_wildcard
    assert register.contacts == ()
