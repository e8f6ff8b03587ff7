"""The callers by template check each response."""

from __future__ import annotations

import re

from benchmarks.responder import _answer, _bye
from benchmarks.sip_callers import GIVE_UP, T1, Callers

PORT = 5070


def callers(calls: int = 2, rate: float = 10.0) -> Callers:
    return Callers("127.0.0.1:5999", f"127.0.0.1:{PORT}", "1000", calls, rate, [4000, 4002], 0.0)


def test_a_call_that_is_hung_up_on_is_whole() -> None:
    side = callers(1)
    (invite,) = side.due(0.0)
    assert invite.startswith(b"INVITE sip:1000@127.0.0.1:5070 SIP/2.0\r\n")
    assert b"m=audio 4000 RTP/AVP 0 101\r\n" in invite
    (ack,) = side.receive(_answer(invite, PORT), 0.02)
    assert ack.startswith(b"ACK sip:127.0.0.1:5070 SIP/2.0\r\n")
    assert b";tag=1\r\n" in ack
    assert side.all_answered is False or side.due(0.03) == []
    (ok,) = side.receive(_bye(ack, PORT, 7), 0.05)
    assert ok.startswith(b"SIP/2.0 200 OK\r\n")
    assert b"CSeq: 1 BYE" in ok
    assert side.all_ended
    outcome = side.account(0.05)
    assert (outcome.answered, outcome.ended, outcome.ports) == (1, 1, [9])
    assert outcome.answer_ms == [20.0]
    assert not outcome.faults


def test_calls_begin_at_their_rate() -> None:
    side = callers(3, rate=10.0)
    assert len(side.due(0.0)) == 1
    assert side.due(0.05) == []
    assert len(side.due(0.21)) == 2


def test_an_invite_without_answer_is_repeated_and_given_up() -> None:
    side = callers(1)
    (invite,) = side.due(0.0)
    assert side.due(T1 - 0.01) == []
    assert side.due(T1) == [invite]
    assert side.due(T1 + 2 * T1) == [invite]
    side.due(GIVE_UP)
    outcome = side.account(GIVE_UP)
    assert outcome.retransmitted == 2
    assert outcome.faults == {"no answer": 1}
    assert side.all_ended


def test_held_calls_are_hung_up() -> None:
    side = callers(1)
    (invite,) = side.due(0.0)
    side.receive(_answer(invite, PORT), 0.01)
    (bye,) = side.hang_up()
    assert bye.startswith(b"BYE sip:127.0.0.1:5070 ")
    call_id = re.search(rb"Call-ID: [^\r]*", bye)
    assert call_id is not None
    side.receive(b"SIP/2.0 200 OK\r\n" + call_id[0] + b"\r\nCSeq: 2 BYE\r\n\r\n", 0.02)
    assert side.all_ended


def test_a_refusal_is_acknowledged_in_its_transaction_and_counted() -> None:
    side = callers(1)
    (invite,) = side.due(0.0)
    refusal = _answer(invite, PORT).replace(b"200 OK", b"503 Service Unavailable")
    (ack,) = side.receive(refusal, 0.01)
    branch = re.search(rb"branch=[^\r;]*", invite)
    assert branch is not None
    assert branch[0] in ack
    assert side.account(0.01).faults == {"503": 1}


def test_what_no_call_expects_is_counted() -> None:
    side = callers(1)
    (invite,) = side.due(0.0)
    answer = _answer(invite, PORT)
    side.receive(b"OPTIONS sip:x SIP/2.0\r\nCall-ID: z\r\n\r\n", 0.0)
    side.receive(answer.replace(b"CSeq: 1 INVITE", b"CSeq: 3 INVITE"), 0.0)
    side.receive(answer.replace(b";tag=1", b""), 0.0)
    faults = side.account(0.0).faults
    assert faults == {"stray": 1, "wrong CSeq": 1, "200 without tag, Contact or PCMU": 1}
