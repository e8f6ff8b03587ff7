from __future__ import annotations

import pytest

from engine.calls.keys import read_info_digit
from engine.calls.plans import in_words
from engine.calls.switch import accepts_sdp
from engine.sip.headers import Headers
from engine.sip.message import Request
from flows.call import EndedBy


def invite(*accepts: str) -> Request:
    headers = Headers()
    for accept in accepts:
        headers.add("Accept", accept)
    return Request("INVITE", "sip:1000@127.0.0.1", headers)


@pytest.mark.parametrize(
    ("accepts", "answer"),
    [
        ((), True),
        (("application/sdp",), True),
        (("text/plain, application/SDP;level=1",), True),
        (("text/plain", "application/*"), True),
        (("*/*",), True),
        (("text/nobodyKnowsThis",), False),
        (("",), False),
    ],
)
def test_accept(accepts: tuple[str, ...], answer: bool):
    assert accepts_sdp(invite(*accepts)) is answer


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("Application/DTMF-Relay; charset=utf-8", b"Duration=160\nSignal = # \n", "#"),
        ("application/dtmf-relay", b"Signal=10\r\n", "*"),
        ("application/dtmf-relay", b"signal=11", "#"),
        ("application/dtmf", b"7", "7"),
        ("application/dtmf", b"a\r\n", "A"),
        ("application/dtmf-relay", b"Duration=160\r\n", ""),
        ("application/dtmf", b"55", ""),
        ("application/dtmf", b"\xff\xfe", ""),
        ("text/plain", b"5", ""),
        ("application/dtmf", b"5" * 100_000, ""),
    ],
)
def test_info(kind: str, body: bytes, digit: str):
    assert read_info_digit(kind, body) == digit


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (("caller", "hung up", "yes/no", 12.34), "the caller hung up after 12.3 s, at yes/no"),
        (("caller", "cancelled before the answer", "", None), "the call was cancelled before the answer"),
        (("flow", "end of the flow", "", 3.0), "the flow ended the call (end of the flow) after 3.0 s, at the root"),
        (("limit", "too long", "a", 7200.0), "a limit ended the call (too long) after 7200.0 s, at a"),
        (("error", "no media", "", None), "an error ended the call (no media)"),
    ],
)
def test_the_end_in_words(ending: tuple[EndedBy, str, str, float | None], sentence: str):
    assert in_words(*ending) == sentence
