from __future__ import annotations

import pytest

from engine.calls.supervisor import read_info_digit
from engine.calls.switch import accepts_sdp
from engine.sip.headers import Headers
from engine.sip.message import Request


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
