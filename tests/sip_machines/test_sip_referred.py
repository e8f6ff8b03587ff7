"""REFERs of the peer: accepted, told about, refused (RFC 3515, 3892, 4488)."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Packet, Peer, Phone

from engine.sip.events import Ended, Invited, ReferProgress, ReferRequested
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.referred import AFTER_THE_CALL, LASTS, BadReferral, IncomingReferral, read_refer_to
from engine.sip.replaces import Replaces
from engine.sip.server import IncomingSession
from engine.sip.transfers import MOST_LIVE, MOST_REFERS

branches = count(1)
TARGET = "sip:carol@192.0.2.3"


class Caller:
    """A phone by hand, in a call with Alice."""

    def __init__(self, network: Network, alice: Phone) -> None:
        self.peer = Peer(network, BOB)
        self.network = network
        self.alice = alice
        self.tag = ""
        self.cseq = 0
        self.answers = True
        """Whether NOTIFYs are answered with 200."""
        self.peer.react = self.react
        self.send("INVITE", body=OFFER)
        self.session: IncomingSession = alice.last(Invited).session
        self.tag = self.session.local_tag
        alice.do(lambda now: self.session.accept(ANSWER, now))
        network.run(0.1)
        self.send("ACK", cseq=1)

    def react(self, message: object) -> None:
        if isinstance(message, Request) and message.method in {"NOTIFY", "BYE"} and self.answers:
            self.peer.reply(message, 200)

    def send(self, method: str, *headers: tuple[str, str], body: bytes = b"", cseq: int = 0) -> int:
        self.cseq = cseq or self.cseq + 1
        lines = [
            f"{method} sip:ivr@192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{next(branches)}",
            "From: <sip:bob@b>;tag=b",
            "To: <sip:ivr@a>" + (f";tag={self.tag}" if self.tag else ""),
            "Call-ID: refer",
            f"CSeq: {self.cseq} {method}",
            "Contact: <sip:bob@192.0.2.2:5060>",
            *(f"{name}: {value}" for name, value in headers),
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        self.peer.send(ALICE, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.network.run(0.2)
        answers = [response for response in self.peer.responses(method=method) if response.cseq.number == self.cseq]
        return answers[-1].status if answers else 0

    def refer(self, target: str = f"<{TARGET}>", *headers: tuple[str, str]) -> int:
        return self.send("REFER", ("Refer-To", target), *headers)

    @property
    def referral(self) -> IncomingReferral:
        return self.alice.last(ReferRequested).referral

    def told(self) -> list[tuple[str, str]]:
        """What the NOTIFYs said, repeats aside."""
        notifies = {notify.cseq.number: notify for notify in self.peer.requests("NOTIFY")}
        return [
            ((notify.headers.get("Subscription-State") or "").partition(";")[0], notify.body.decode().strip())
            for notify in notifies.values()
        ]

    def finish(self) -> None:
        self.alice.do(self.session.bye)
        self.network.settle()
        assert self.alice.endpoint.idle
        assert len(self.alice.of(Ended)) == 1


@pytest.fixture
def caller(network: Network, alice: Phone) -> Caller:
    return Caller(network, alice)


def test_transfer_that_works(network: Network, alice: Phone, caller: Caller) -> None:
    assert caller.refer(f"Carol <{TARGET}>", ("Referred-By", "<sip:bob@b>")) == 202
    referral = caller.referral
    assert (str(referral.target), referral.replaces, referral.subscribed) == (TARGET, None, True)
    assert referral.referred_by is not None
    assert str(referral.referred_by.uri) == "sip:bob@b"
    assert caller.told() == [("active", "SIP/2.0 100 Trying")]
    first = caller.peer.requests("NOTIFY")[0]
    assert (first.headers.get("Event"), first.content_type) == ("refer", "message/sipfrag")
    assert first.headers.get("Subscription-State") == f"active;expires={LASTS}"
    assert first.contacts
    alice.do(lambda now: referral.notify(180, now))
    network.run(0.1)
    alice.do(lambda now: referral.notify(200, now))
    network.run(0.1)
    assert caller.told()[1:] == [("active", "SIP/2.0 180 Ringing"), ("terminated", "SIP/2.0 200 OK")]
    assert caller.peer.requests("NOTIFY")[-1].headers.get("Subscription-State") == "terminated;reason=noresource"
    assert not referral.live
    alice.do(lambda now: referral.notify(500, now))  # nobody listens any more
    network.run(1)
    assert len(caller.told()) == 3
    assert not caller.session.ended
    caller.finish()


def test_attended_transfer(network: Network, alice: Phone, caller: Caller) -> None:
    assert caller.refer(f"<{TARGET}?Replaces=a%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&X-Evil=1>") == 202
    assert caller.referral.replaces == Replaces("a@h", "1", "2")
    assert str(caller.referral.target) == TARGET
    caller.finish()


def test_two_of_ours(network: Network, alice: Phone, bob: Phone) -> None:
    """Our REFER at our REFER."""
    caller = alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(0.1)
    alice.do(lambda now: caller.refer(TARGET, now))
    network.run(0.1)
    referral = bob.last(ReferRequested).referral
    bob.do(lambda now: referral.notify(180, now))
    bob.do(lambda now: referral.notify(486, now))
    network.run(0.5)
    told = [(event.status, event.final) for event in alice.of(ReferProgress)]
    assert told == [(100, False), (180, False), (486, True)]
    alice.do(lambda now: caller.refer("sip:dave@192.0.2.4", now))
    network.run(0.1)
    second = bob.last(ReferRequested).referral
    bob.do(lambda now: second.notify(200, now))
    network.run(0.5)
    assert network.sent("NOTIFY", BOB)[-1].message.headers.get("Event") == f"refer;id={second.id}"
    assert alice.last(ReferProgress) == ReferProgress(caller, 200, "OK", final=True)
    alice.do(caller.bye)
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 400),
        ((("Refer-To", ""),), 400),
        ((("Refer-To", "<sip:x@"),), 400),
        ((("Refer-To", "<http://example.com/>"),), 416),
        ((("Refer-To", "<sip:x@y;method=BYE>"),), 501),
        ((("Refer-To", "<sip:x@y?Replaces=nonsense>"),), 400),
        ((("Refer-To", "<sip:x@y?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&replaces=b>"),), 400),
        ((("Refer-To", "<sip:x@y>"), ("Require", "unheard-of")), 420),
        ((("Refer-To", "<sip:x@y>"), ("Require", "norefersub")), 202),
        ((("Refer-To", "tel:+3912345"),), 202),
        ((("r", "<sip:x@y;method=INVITE>"),), 202),
    ],
)
def test_what_is_refused(network: Network, alice: Phone, caller: Caller, headers, status: int) -> None:
    assert caller.send("REFER", *headers) == status
    assert len(alice.of(ReferRequested)) == (status == 202)
    assert alice.endpoint.counters.refers_refused == (status not in {202, 420})
    caller.finish()


def test_no_subscription_wanted(network: Network, alice: Phone, caller: Caller) -> None:
    assert caller.refer(f"<{TARGET}>", ("Refer-Sub", "false")) == 202
    assert caller.peer.responses(202)[0].headers.get("Refer-Sub") == "false"
    assert not caller.referral.subscribed
    alice.do(lambda now: caller.referral.notify(200, now))
    network.run(1)
    assert caller.told() == []
    caller.finish()


def test_outside_of_a_call(network: Network, alice: Phone, caller: Caller) -> None:
    tag, caller.tag = caller.tag, ""
    assert caller.refer() == 403
    caller.tag = "other"
    assert caller.refer() == 481
    caller.tag = tag
    assert alice.of(ReferRequested) == []
    assert alice.endpoint.counters.refers_refused == 2
    caller.finish()


def test_too_many_at_once_and_in_all(network: Network, alice: Phone, caller: Caller) -> None:
    statuses = [caller.refer() for _ in range(MOST_LIVE + 2)]
    assert statuses == [202] * MOST_LIVE + [491, 491]
    while len(alice.of(ReferRequested)) < MOST_REFERS:
        for event in alice.of(ReferRequested):
            alice.do(lambda now, referral=event.referral: referral.notify(486, now))
        network.run(0.1)
        caller.refer()
    for event in alice.of(ReferRequested):
        alice.do(lambda now, referral=event.referral: referral.notify(486, now))
    network.run(0.1)
    assert caller.refer() == 603
    caller.finish()


def test_only_the_latest_is_told_to_a_slow_peer(network: Network, alice: Phone, caller: Caller) -> None:
    caller.answers = False
    caller.refer()
    for status in (180, 183, 181, 486):
        alice.do(lambda now, status=status: caller.referral.notify(status, now))
    network.run(0.1)
    assert len(caller.told()) == 1
    caller.answers = True
    caller.peer.reply(caller.peer.requests("NOTIFY")[0], 200)
    network.run(0.2)
    assert caller.told()[1:] == [("terminated", "SIP/2.0 486 Busy Here")]
    caller.finish()


@pytest.mark.parametrize("status", [481, 0])
def test_peer_that_does_not_listen(network: Network, alice: Phone, caller: Caller, status: int) -> None:
    caller.answers = False
    caller.refer()
    if status:
        caller.peer.reply(caller.peer.requests("NOTIFY")[0], status)
    network.run(33)
    assert not caller.referral.live
    assert not caller.session.ended  # what is lost is the subscription, not the call
    caller.answers = True
    caller.finish()


def test_peer_leaves_and_still_hears_of_it(network: Network, alice: Phone, caller: Caller) -> None:
    caller.refer()
    assert caller.send("BYE") == 200
    assert [event.by for event in alice.of(Ended)] == ["remote"]
    network.run(100)
    alice.do(lambda now: caller.referral.notify(200, now))
    network.run(0.1)
    assert caller.told()[-1] == ("terminated", "SIP/2.0 200 OK")
    network.settle()
    assert alice.endpoint.idle


def test_nobody_tells_anything(network: Network, alice: Phone, caller: Caller) -> None:
    caller.refer()
    network.run(LASTS + 1)
    assert caller.told()[-1] == ("terminated", "SIP/2.0 100 Trying")
    assert caller.peer.requests("NOTIFY")[-1].headers.get("Subscription-State") == "terminated;reason=timeout"
    assert not caller.referral.live
    caller.finish()


def test_we_leave_without_a_word(network: Network, alice: Phone, caller: Caller) -> None:
    caller.refer()
    alice.do(caller.session.bye)
    assert network.settle() < 2 * AFTER_THE_CALL + 40
    assert caller.told()[-1][0] == "terminated"
    assert alice.endpoint.idle


def test_renewed_and_ended_by_the_peer(network: Network, alice: Phone, caller: Caller) -> None:
    caller.refer()
    network.run(100)
    assert caller.send("SUBSCRIBE", ("Event", "refer"), ("Expires", "9999")) == 200
    assert caller.peer.responses(200, "SUBSCRIBE")[0].headers.get("Expires") == str(LASTS)
    network.run(100)
    assert caller.referral.live
    assert caller.send("SUBSCRIBE", ("Event", f"refer;id={caller.referral.id}"), ("Expires", "0")) == 200
    network.run(0.2)
    assert caller.told()[-1][0] == "terminated"
    assert not caller.referral.live
    assert caller.send("SUBSCRIBE", ("Event", "refer")) == 481
    assert caller.send("SUBSCRIBE", ("Event", "dialog")) == 489
    caller.finish()


def test_before_the_answer(network: Network, alice: Phone, bob: Phone) -> None:
    caller = alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(callee.ringing)
    network.run(0.1)
    alice.do(lambda now: caller.refer(TARGET, now))
    network.run(0.1)
    assert bob.of(ReferRequested) == []
    alice.do(caller.cancel)
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle


@pytest.mark.parametrize("seed", range(12))
def test_bad_weather(network: Network, alice: Phone, bob: Phone, seed: int) -> None:
    random = Random(seed)

    def weather(packet: Packet) -> list[float]:
        return [0.02 + random.random() for _ in range(random.choice([1, 1, 2])) if random.random() > 0.25]

    caller = alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(0.1)
    network.delays = weather
    alice.do(lambda now: caller.refer(TARGET, now))
    network.run(40)
    for event in bob.of(ReferRequested):
        bob.do(lambda now, referral=event.referral: referral.notify(180, now))
        network.run(random.random())
        bob.do(lambda now, referral=event.referral: referral.notify(200, now))
    network.run(40)
    assert len([event for event in alice.of(ReferProgress) if event.final]) <= 1
    alice.do(caller.bye)
    bob.do(callee.bye)
    network.settle(2000)
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1
    assert alice.endpoint.idle
    assert bob.endpoint.idle


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=80))
def test_any_target_is_read_or_refused(text: str) -> None:
    request = Request("REFER", "sip:a", Headers())
    request.headers.add("Refer-To", text)
    try:
        uri, _ = read_refer_to(request)
    except BadReferral:
        return
    assert uri.is_sip or uri.scheme == "tel"
