"""Streams into messages: framing, keep-alives, resynchronisation, limits."""

from __future__ import annotations

from random import Random

import pytest

from engine.sip.message import Malformed, Request
from engine.sip.parser import KeepAlive, StreamBroken, StreamParser


def message(call_id: str, body: bytes = b"", *, extra: str = "") -> bytes:
    return (
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\n"
        f"To: <sip:a@b>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def names(items: list[object]) -> list[str]:
    return [item.call_id if isinstance(item, Request) else type(item).__name__ for item in items]


STREAM = (
    message("one", b"\r\n\r\nOPTIONS not a message\r\n\r\n")
    + b"\r\n"
    + message("two")
    + b"\r\n\r\n"
    + message("three", bytes(range(256)))
    + message("bad name", b"skipped")
    + message("four", extra="Max-Forwards: 1\r\nMax-Forwards: 2\r\n")
    + message("five")
    + b"\r\n\r\n"
)
EXPECTED = ["one", "two", "KeepAlive", "three", "Malformed", "Malformed", "five", "KeepAlive"]


def test_whole() -> None:
    parser = StreamParser()
    found = parser.feed(STREAM)
    assert names(found) == EXPECTED
    assert isinstance(found[0], Request)
    assert found[0].body == b"\r\n\r\nOPTIONS not a message\r\n\r\n"
    assert not parser.partial


def test_byte_by_byte() -> None:
    parser = StreamParser()
    found = [item for index in range(len(STREAM)) for item in parser.feed(STREAM[index : index + 1])]
    assert names(found) == EXPECTED


@pytest.mark.parametrize("seed", range(20))
def test_cut_anywhere(seed: int) -> None:
    random = Random(seed)
    parser = StreamParser()
    found = []
    rest = STREAM
    while rest:
        size = random.choice([1, 2, 3, 5, 100, 500])
        found += parser.feed(rest[:size])
        rest = rest[size:]
    assert names(found) == EXPECTED


def test_partial_tells_whether_a_message_is_under_way() -> None:
    parser = StreamParser()
    assert not parser.partial
    parser.feed(b"\r\n")
    assert not parser.partial
    parser.feed(b"O")
    assert parser.partial
    parser.feed(message("x", b"body")[1:-1])
    assert parser.partial
    assert len(parser.feed(b"y")) == 1
    assert not parser.partial


def test_two_halves_of_a_keep_alive() -> None:
    parser = StreamParser()
    assert parser.feed(b"\r\n") == []
    assert parser.feed(b"\r") == []
    assert parser.feed(b"\n") == [KeepAlive()]


def test_an_answer_to_our_own_keep_alive_is_nothing() -> None:
    parser = StreamParser()
    assert names(parser.feed(b"\r\n" + message("x"))) == ["x"]


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (message("x").replace(b"Content-Length: 0\r\n", b""), 400, "Content-Length missing"),
        (message("x", extra="l: 5\r\n"), 400, "more than one Content-Length"),
        (message("x").replace(b"Length: 0", b"Length: -1"), 400, "malformed Content-Length"),
        (message("x").replace(b"Length: 0", b"Length: 99999999"), 513, "body too long"),
        (message("x", extra="X: y\nContent-Length: 3\r\n"), 400, "stray CR or LF"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None, "not SIP"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", None, "not SIP"),
    ],
)
def test_lost_framing_breaks_the_stream(data: bytes, status: int | None, why: str) -> None:
    parser = StreamParser()
    found = parser.feed(message("before") + data + message("after"))
    assert names(found) == ["before", "Malformed"]
    assert isinstance(found[1], Malformed)
    assert found[1].status == status
    assert why in parser.broken
    with pytest.raises(StreamBroken):
        parser.feed(b"more")


def test_endless_headers_break_the_stream() -> None:
    parser = StreamParser(max_head=1000)
    assert parser.feed(b"X" * 999) == []
    assert not parser.broken
    parser.feed(b"XX")
    assert parser.broken
    parser = StreamParser(max_head=100)
    assert parser.feed(message("x")) == []
    assert parser.broken


def test_a_body_at_the_limit_is_taken() -> None:
    parser = StreamParser(max_body=10)
    assert names(parser.feed(message("x", b"0123456789"))) == ["x"]
    parser.feed(message("y", b"0123456789a"))
    assert parser.broken


def test_work_is_linear_in_the_bytes_fed() -> None:
    parser = StreamParser()
    total = 0
    for _ in range(50):
        total += len(parser.feed(message("x") * 100))
    assert total == 5000
