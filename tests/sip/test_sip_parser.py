"""Datagrams into messages: limits, tolerance, refusals."""

from __future__ import annotations

import contextlib
import time

import pytest

from engine.sip.message import Malformed, Request, Response
from engine.sip.parser import MAX_HEADERS, is_keep_alive, parse

HEAD = (
    "OPTIONS sip:a@b SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
    "From: <sip:c@d>;tag=1\r\n"
    "To: <sip:a@b>\r\n"
    "Call-ID: x\r\n"
    "CSeq: 1 OPTIONS\r\n"
)


def message(extra: str = "", *, body: bytes = b"", head: str = HEAD) -> bytes:
    return (head + extra + "\r\n").encode() + body


def refusal(data: bytes) -> Malformed:
    with pytest.raises(Malformed) as raised:
        parse(data)
    return raised.value


def test_without_content_length_the_rest_is_the_body() -> None:
    assert parse(message(body=b"abc")).body == b"abc"
    assert parse(message("Content-Length: 2\r\n", body=b"abc")).body == b"ab"
    assert parse(memoryview(message(body=b"abc"))).body == b"abc"


def test_crlf_before_the_start_line_is_ignored() -> None:
    assert isinstance(parse(b"\r\n\r\n" + message()), Request)


def test_body_may_be_binary() -> None:
    body = bytes(range(256))
    assert parse(message(body=body)).body == body


def test_a_head_that_is_no_utf8_is_latin1() -> None:
    data = message().replace(b"<sip:c@d>", b"M\xfcller <sip:c@d>")
    parsed = parse(data)
    assert parsed.from_.display == "Müller"
    parsed.encode().decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x01\x00\x00!\x12\xa4B",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 99 OK\r\n\r\n",
        b"SIP/2.0 700 OK\r\n\r\n",
        b"SIP/3.0 200 OK\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a@b\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        message().replace(b"OPTIONS", b"ACK").replace(b"CSeq: 1 ACK", b"CSeq: 1 INVITE"),
        message().replace(b"\r\n", b"\n"),
    ],
)
def test_dropped(data: bytes) -> None:
    error = refusal(data)
    assert error.status is None
    assert error.response is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sip:a@b SIP/2.0", "sip:a@b  SIP/2.0"),
        ("sip:a@b SIP/2.0", "a@b SIP/2.0"),
        ("sip:a@b SIP/2.0", "sip:@ SIP/2.0"),
        ("Call-ID: x", "Call-ID: "),
        ("Call-ID: x", "Call-ID: x y"),
        ("Call-ID: x", "X: x"),
        ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
        ("CSeq: 1 OPTIONS", "CSeq: OPTIONS"),
        ("To: <sip:a@b>", "To: <sip:a@b>, <sip:e@f>"),
        ("To: <sip:a@b>", "To: <sip:a@b>\r\nt: <sip:a@b>"),
        ("To: <sip:a@b>", "To <sip:a@b>"),
        ("To: <sip:a@b>", "To: \x01<sip:a@b>"),
        ("To: <sip:a@b>", "To: <sip:a@b>\nEvil: x"),
        ("To: <sip:a@b>", "To: <sip:a@b>\rEvil: x"),
        ("Call-ID: x", "Call-ID: x\r\nContact: *"),
        ("Call-ID: x", "Call-ID: x\r\nContact: <sip:a@b>;="),
        ("Call-ID: x", "Call-ID: x\r\nContact: <sip:a@b>\r\nContact: *"),
        ("Call-ID: x", "Call-ID: x\r\nRoute: nonsense"),
        ("Call-ID: x", "Call-ID: x\r\nRecord-Route: <sip:a;lr>, <sip:b;lr"),
        ("Call-ID: x", "Call-ID: x\r\nContent-Length: 1e1"),
        ("Call-ID: x", "Call-ID: x\r\nContent-Length: 99999999999"),
        ("branch=z9hG4bKx", "branch=Z9HG4BK"),
        ("branch=z9hG4bKx", "branch=z9hG4bKx, SIP/2.0/UDP"),
    ],
)
def test_refused_with_400(old: str, new: str) -> None:
    assert old in HEAD
    error = refusal(message(head=HEAD.replace(old, new, 1)))
    assert error.status == 400
    assert error.response is not None
    sent = error.response.encode()
    assert sent.startswith(b"SIP/2.0 400 Bad Request (")
    assert b"Via: SIP/2.0/UDP 192.0.2.1;branch=" in sent
    assert b"Evil" not in sent.split(b"\r\n")


def test_a_refusal_carries_what_its_sender_matches_on() -> None:
    error = refusal(message("Content-Length: x\r\n"))
    assert error.response is not None
    response = parse(error.response.encode())
    assert isinstance(response, Response)
    assert (response.call_id, response.from_.tag, response.via.branch) == ("x", "1", "z9hG4bKx")


def test_malformed_responses_are_dropped() -> None:
    head = HEAD.replace("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK")
    assert isinstance(parse(message(head=head)), Response)
    for old, new in (("To: <sip:a@b>", "To: <"), ("Call-ID: x\r\n", ""), ("CSeq: 1", "CSeq: -1")):
        assert refusal(message(head=head.replace(old, new))).status is None


def test_version_in_any_case() -> None:
    assert isinstance(parse(message(head=HEAD.replace("sip:a@b SIP/2.0", "sip:a@b sip/2.0"))), Request)
    assert refusal(message(head=HEAD.replace("sip:a@b SIP/2.0", "sip:a@b SIP/2.1"))).status == 505


def test_register_may_have_a_wildcard_contact() -> None:
    head = HEAD.replace("OPTIONS", "REGISTER")
    assert parse(message("Contact: *\r\nExpires: 0\r\n", head=head)).contact_is_wildcard


def test_folding() -> None:
    parsed = parse(message("Subject: one\r\n two\r\n\t three\r\n"))
    assert parsed.headers.get("Subject") == "one two three"


def test_quoted_pairs_may_hold_controls() -> None:
    parsed = parse(message(head=HEAD.replace("<sip:c@d>", '"a\\\x07b" <sip:c@d>')))
    assert parsed.from_.display == "ab"


def test_a_datagram_whose_answer_would_not_fit_into_one() -> None:
    parse(message("X: " + "y" * 15_000 + "\r\n"))
    assert refusal(message("X: " + "y" * 17_000 + "\r\n")).status is None
    parse(message(body=b"y" * 17_000))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<sip:c@d>;tag=1", "<sip:@192.0.2.9>;tag=1"),
        ("<sip:c@d>;tag=1", "<sip:jos\u00e9@d;>;;tag=1;"),
        ("<sip:c@d>", "O'Neil; PhD <sip:50%@d>"),
        ("branch=z9hG4bKx", "branch=z9hG4bKx;"),
        ("CSeq", "Contact: <sip:c@d:0>,\r\nCSeq"),
        ("CSeq", "Contact: <sip:c@d;x=y@z>\r\nCSeq"),
        ("CSeq", "Contact:\r\nRoute: \r\nRecord-Route: ,\r\nCSeq"),
        ("CSeq", "Content-Type: application/sdp\r\nc: application/sdp\r\nCSeq"),
    ],
)
def test_harmless_quirks(old: str, new: str) -> None:
    assert old in HEAD
    parsed = parse(message(head=HEAD.replace(old, new)))
    assert (parsed.via.branch, parsed.from_.tag) == ("z9hG4bKx", "1")
    assert parsed.routes == parsed.record_routes == ()
    parse(parsed.encode())


def test_quirks_that_leave_a_doubt() -> None:
    for extra in ("Content-Type: a/b\r\nContent-Type: c/d\r\n", "Via:\r\n", "Via: ,\r\n", "From: <sip:c@d>;tag=1\r\n"):
        assert refusal(message(extra)).status == 400
    assert refusal(message(head=HEAD.replace("Via: ", "Via:\r\nVia: "))).status == 400


def test_too_many_headers() -> None:
    assert refusal(message("X: y\r\n" * MAX_HEADERS)).status == 400


def test_many_vias_are_fine_but_not_endless_parameters() -> None:
    parse(message("Via: SIP/2.0/UDP h;branch=z9hG4bKy\r\n" * 70))
    assert refusal(message(head=HEAD.replace("<sip:a@b>", "<sip:a@b>" + ";x" * 1000))).status == 400


@pytest.mark.parametrize("data", [b"", b"\0", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"    "])
def test_keep_alives(data: bytes) -> None:
    assert is_keep_alive(data)


def test_no_keep_alives() -> None:
    assert not is_keep_alive(b"\r\n" * 100)
    assert not is_keep_alive(b"hello")


@pytest.mark.parametrize(
    "value",
    [
        " " * 60_000,
        "\t " * 30_000 + "x",
        '"' * 60_000,
        '"' + "\\" * 60_001,
        "<" * 60_000,
        "a " * 30_000,
        "a," * 30_000,
        '"a" ' * 15_000,
        ";" * 60_000,
        ";a" * 30_000,
        "sip:" + "a:" * 29_000,
        "sip:a@" * 10_000,
        "sip:" + "%41" * 20_000,
        "sip:h" + ";x=" * 20_000,
        "<sip:h>" + " ;" * 29_000,
        "<sip:h>;x=" + '"a' * 29_000,
        "SIP/2.0/UDP " * 5_000,
        "1" * 60_000,
        "\r\n " * 20_000,
    ],
)
@pytest.mark.parametrize("name", ["Via", "From", "Contact", "CSeq", "Subject", "Route"])
def test_hostile_values_cost_linear_time(name: str, value: str) -> None:
    data = message(f"{name}: {value}\r\n")
    started = time.process_time()
    with contextlib.suppress(Malformed):
        parse(data)
    assert time.process_time() - started < 0.25  # quadratic would be seconds


def test_hostile_start_lines_cost_linear_time() -> None:
    for line in (
        "a" * 60_000,
        "A " * 30_000,
        "A sip:x SIP/" + "1" * 50_000,
        "A " + " SIP/1" * 10_000,
        "SIP/2.0 " * 8_000,
    ):
        started = time.process_time()
        with pytest.raises(Malformed):
            parse(message(head=HEAD.replace("OPTIONS sip:a@b SIP/2.0", line)))
        assert time.process_time() - started < 0.25
