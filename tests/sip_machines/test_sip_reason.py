from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sip.body import UnsupportedBody, readable_description, session_description
from engine.sip.headers import Headers
from engine.sip.message import Response
from engine.sip.reason import Reason, read_reason, write_reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Reason(None, "")),
        (['Q.850;cause=16;text="Normal call clearing"'], Reason(16, "Normal call clearing")),
        (["q.850 ; cause=17"], Reason(17, "")),
        (['SIP;cause=200;text="Call completed elsewhere"'], Reason(None, "Call completed elsewhere")),
        (['SIP;cause=480;text="a, b", Q.850;cause=31;text="c"'], Reason(31, "c")),
        (['SIP;cause=480;text="say \\"no\\""'], Reason(None, 'say "no"')),
        (["Q.850;cause=16", "SIP;cause=200;text=bare"], Reason(16, "bare")),
        (["Q.850;cause=999"], Reason(None, "")),
        (["Q.850;cause=sixteen"], Reason(None, "")),
        (["", ";;;", '"'], Reason(None, "")),
    ],
)
def test_read(values: list[str], expected: Reason) -> None:
    assert read_reason(Headers([("Reason", value) for value in values])) == expected


def test_write() -> None:
    assert write_reason("the end") == 'SIP;cause=200;text="the end"'
    assert write_reason('a "b" \\') == 'SIP;cause=200;text="a \\"b\\" \\\\"'
    assert write_reason("", "Q.850", 17) == "Q.850;cause=17"
    assert write_reason("Q.850;cause=16") == "Q.850;cause=16"
    assert write_reason("a\r\nX: y") == 'SIP;cause=200;text="a X: y"'


@given(st.text(max_size=40))
def test_round_trip(text: str) -> None:
    headers = Headers([("Reason", write_reason(text))])
    read = read_reason(headers)
    assert read.q850 is None or text.lstrip()[:5].upper() == "Q.850"


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n"), max_size=80), max_size=4))
def test_garbage_is_read_as_nothing_worse(values: list[str]) -> None:
    read_reason(Headers([("Reason", value) for value in values]))


def body(kind: str, content: bytes, *, encoding: str = "", disposition: str = "") -> Response:
    headers = Headers()
    if kind:
        headers.add("Content-Type", kind)
    if encoding:
        headers.add("Content-Encoding", encoding)
    if disposition:
        headers.add("Content-Disposition", disposition)
    return Response(200, "OK", headers, content)


MIXED = 'multipart/mixed;boundary="--b,1"'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (body("application/sdp", b"v=0"), b"v=0"),
        (body("Application/SDP;charset=utf-8", b"v=0", encoding="identity"), b"v=0"),
        (body("", b""), None),
        (body("text/plain", b"x", disposition="icon;handling=optional"), None),
        (body(MIXED, b"----b,1\r\nc: application/sdp\r\n\r\nv=0\r\n----b,1--"), b"v=0\r\n"),
        (body(MIXED, b"preamble\n----b,1\nContent-Type:application/sdp;a=b\n\nv=0\n----b,1--"), b"v=0\n"),
    ],
)
def test_description(message: Response, expected: bytes | None) -> None:
    assert session_description(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        body("text/plain", b"x"),
        body("", b"v=0"),
        body("application/sdp", b"v=0", encoding="gzip"),
        body("multipart/mixed", b"--x"),
        body(MIXED, b""" x """),
        body(MIXED, b"----b,1\r\nContent-Type: text/plain\r\n\r\nx----b,1--"),
        body(MIXED, b"----b,1\r\n" * 1000),
        body("text/plain", b"x", disposition="session;handling=required"),
    ],
)
def test_unsupported(message: Response) -> None:
    with pytest.raises(UnsupportedBody):
        session_description(message)
    assert readable_description(message) is None


@given(st.binary(max_size=200), st.text(st.characters(blacklist_characters="\r\n"), max_size=60))
def test_bodies_never_raise_anything_else(content: bytes, kind: str) -> None:
    readable_description(body("multipart/mixed;" + kind, content))
