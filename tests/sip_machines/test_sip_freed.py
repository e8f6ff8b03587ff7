"""Sessions that are over are freed without the garbage collector: what waits for it stops everything later."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Peer, Phone

from engine.sip.client import OutgoingSession
from engine.sip.digest import Challenger, Credentials
from engine.sip.events import Invited, ReferProgress, ReferRequested
from engine.sip.message import Request

Answering = Callable[[Phone], Phone]


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """It runs when it is asked alone, and looks at nothing that was there before the test."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_a_call_that_came_in(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    alice.do(session.bye)
    network.settle()
    left = weakref.ref(bob.last(Invited).session)
    bob.seen.clear()
    bob.react = None
    assert left() is None


class Callee:
    """Does what it is told with the last INVITE."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    @property
    def invite(self) -> Request:
        self.peer.network.run(0.1)
        return self.peer.requests("INVITE")[-1]

    def reply(self, status: int, **options: Any) -> None:
        self.peer.reply(self.invite, status, **options)
        self.peer.network.run(0.1)

    def take_bye(self) -> None:
        self.peer.network.run(0.1)
        self.peer.reply(self.peer.requests("BYE")[-1], 200)


def answered(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(180)
    callee.reply(200, body=ANSWER)
    alice.do(session.bye)
    callee.take_bye()


def answered_and_repeated_after_the_bye(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    answered(alice, session, callee)
    callee.reply(200, body=ANSWER)
    assert len(callee.peer.requests("ACK")) == 2


def hung_up_by_the_callee(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(200, body=ANSWER)
    callee.peer.send(ALICE, within(callee, "BYE", 1))


def refused(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(486)


def cancelled(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(180)
    alice.do(session.cancel)
    callee.peer.network.run(0.1)
    callee.peer.reply(callee.peer.requests("CANCEL")[0], 200)
    callee.reply(487)


def cancelled_without_an_end(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(180)
    alice.do(session.cancel)


def answered_across_our_cancel(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(180)
    alice.do(session.cancel)
    callee.reply(200, body=ANSWER)
    callee.take_bye()


def forked(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    for tag in ("one", "two"):
        callee.reply(183, tag=tag, headers=(("Require", "100rel"), ("RSeq", "1")), body=ANSWER)
        callee.peer.reply(callee.peer.requests("PRACK")[-1], 200)
    for tag in ("one", "two"):
        callee.reply(200, tag=tag, body=ANSWER)
    callee.take_bye()
    alice.do(session.bye)
    callee.take_bye()


def redirected(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(302, contact="<sip:carol@192.0.2.2>")
    alice.do(lambda now: alice.endpoint.follow(session, now))
    callee.reply(486)


def timed_out(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.peer.network.run(40)


def asked_for_a_password(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    challenge = Challenger("ivrea", b"secret").challenges(alice.now)[0]
    callee.reply(407, headers=(("Proxy-Authenticate", challenge),))
    assert len(callee.peer.requests("INVITE")) == 2
    answered(alice, session, callee)


def asked_for_a_longer_interval(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(422, headers=(("Min-SE", "3600"),))
    assert len(callee.peer.requests("INVITE")) == 2
    answered(alice, session, callee)


def held(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(200, body=ANSWER)
    alice.do(lambda now: session.reinvite(OFFER, now))
    callee.reply(200, body=ANSWER)
    alice.do(session.bye)
    callee.take_bye()


def within(callee: Callee, method: str, cseq: int, *headers: tuple[str, str], body: bytes = b"") -> Request:
    """A request of the callee's in the call."""
    invite = callee.invite
    request = Request(method, str(invite.contacts[0].uri), invite.headers.copy(), body)
    for name, value in (
        ("Via", f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{method}{cseq}"),
        ("From", f"{invite.headers.get('To')};tag=peer"),
        ("To", invite.headers.get("From") or ""),
        ("Contact", "<sip:peer@192.0.2.2>"),
        ("CSeq", f"{cseq} {method}"),
        *headers,
    ):
        request.headers.set(name, value)
    return request


def transferred(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(200, body=ANSWER)
    alice.do(lambda now: session.refer("sip:carol@192.0.2.3", now))
    callee.peer.network.run(0.1)
    callee.peer.reply(callee.peer.requests("REFER")[0], 202)
    over = (("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"))
    callee.peer.send(ALICE, within(callee, "NOTIFY", 1, *over, body=b"SIP/2.0 200 OK\r\n"))
    callee.peer.network.run(0.1)
    assert alice.last(ReferProgress).final
    alice.do(session.bye)
    callee.take_bye()


def asked_for_a_transfer(alice: Phone, session: OutgoingSession, callee: Callee) -> None:
    callee.reply(200, body=ANSWER)
    callee.peer.send(ALICE, within(callee, "REFER", 1, ("Refer-To", "<sip:carol@192.0.2.3>")))
    callee.peer.network.run(0.1)
    callee.peer.reply(callee.peer.requests("NOTIFY")[0], 200)
    alice.do(lambda now: alice.last(ReferRequested).referral.notify(200, now))
    callee.peer.network.run(0.1)
    callee.peer.reply(callee.peer.requests("NOTIFY")[1], 200)
    alice.do(session.bye)
    callee.take_bye()


@pytest.mark.parametrize(
    "course",
    [
        answered,
        answered_and_repeated_after_the_bye,
        hung_up_by_the_callee,
        refused,
        cancelled,
        cancelled_without_an_end,
        answered_across_our_cancel,
        forked,
        redirected,
        timed_out,
        asked_for_a_password,
        asked_for_a_longer_interval,
        held,
        transferred,
        asked_for_a_transfer,
    ],
)
def test_a_call_that_went_out(
    network: Network, alice: Phone, peer: Peer, course: Callable[[Phone, OutgoingSession, Callee], None]
) -> None:
    session = alice.call(BOB, credentials=Credentials("alice", "secret"))
    course(alice, session, Callee(peer))
    network.settle()
    assert alice.endpoint.idle
    assert session.ended
    left = weakref.ref(session)
    alice.seen.clear()
    del session
    assert left() is None
    assert gc.collect() == 0
