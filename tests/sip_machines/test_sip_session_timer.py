"""Session timers, both roles, as refresher and not (RFC 4028)."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Packet, Peer, Phone

from engine.sip.client import OutgoingSession
from engine.sip.events import Ended, Event, Invited, Refused, ReofferAnswered, Reoffered, ReofferRefused
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.server import IncomingSession
from engine.sip.session_timer import LONGEST, SessionTimers, read_min_se, read_session_expires

HOLD = b"v=0\r\nhold\r\n"
branches = count(1)


def answer_everything(phone: Phone) -> None:
    def react(event: Event) -> None:
        if isinstance(event, Invited):
            event.session.accept(ANSWER, phone.now)
        elif isinstance(event, Reoffered):
            event.session.answer_reoffer(ANSWER, phone.now)

    phone.react = react


def up(network: Network, alice: Phone, bob: Phone) -> tuple[OutgoingSession, IncomingSession]:
    answer_everything(alice)
    answer_everything(bob)
    caller = alice.call(BOB)
    network.run(1)
    network.trace.clear()
    return caller, bob.last(Invited).session


def end(network: Network, alice: Phone, bob: Phone) -> None:
    for event in bob.of(Invited):
        bob.do(event.session.bye)
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1


# --- two of our own -------------------------------------------------------------------------------


def test_caller_refreshes_by_update(network: Network, alice: Phone, bob: Phone) -> None:
    start = network.now
    caller, callee = up(network, alice, bob)
    assert (caller.timer.interval, caller.timer.ours) == (1800, True)
    assert (callee.timer.interval, callee.timer.ours) == (1800, False)
    network.run(4000)
    assert network.kinds() == ["UPDATE", "200 UPDATE"] * 4
    assert [round(packet.at - start) for packet in network.sent("UPDATE")] == [900, 1800, 2700, 3600]
    update = network.sent("UPDATE", ALICE)[0].message
    assert update.headers.get("Session-Expires") == "1800;refresher=uac"
    assert update.body == b""
    assert alice.of(ReofferAnswered) == bob.of(Reoffered) == []  # nobody is bothered with it
    assert not caller.ended
    end(network, alice, bob)


def test_refresh_by_reinvite_does_not_change_anything(network: Network, alice: Phone, bob: Phone) -> None:
    caller, _ = up(network, alice, bob)
    caller.disallow("UPDATE")
    network.run(902)
    assert network.kinds() == ["INVITE", "100 INVITE", "200 INVITE", "ACK"]
    refresh = network.sent("INVITE", ALICE)[0].message
    assert refresh.body == OFFER
    assert refresh.headers.get("Session-Expires") == "1800;refresher=uac"
    assert "timer" in refresh.headers.tokens("Supported")
    assert bob.last(Reoffered).sdp == OFFER
    assert alice.of(ReofferAnswered) == []
    end(network, alice, bob)


def test_answer_to_a_refresh_that_differs_is_told(network: Network, alice: Phone, bob: Phone) -> None:
    caller, callee = up(network, alice, bob)
    caller.disallow("UPDATE")
    bob.react = lambda event: isinstance(event, Reoffered) and callee.answer_reoffer(HOLD, bob.now)
    network.run(902)
    assert alice.of(ReofferAnswered) == [ReofferAnswered(caller, HOLD)]
    end(network, alice, bob)


def test_a_reinvite_is_a_refresh(network: Network, alice: Phone, bob: Phone) -> None:
    caller, callee = up(network, alice, bob)
    network.run(800)
    bob.do(lambda now: callee.reinvite(HOLD, now))  # from the one who does not refresh
    network.run(800)
    (reinvite,) = network.sent("INVITE", BOB)
    assert reinvite.message.headers.get("Session-Expires") == "1800;refresher=uas"
    assert network.sent("UPDATE") == []
    assert (caller.timer.ours, callee.timer.ours) == (True, False)
    network.run(200)
    assert len(network.sent("UPDATE", ALICE)) == 1
    end(network, alice, bob)


@pytest.mark.parametrize("silent", [ALICE, BOB])
def test_silent_peer_is_noticed(network: Network, alice: Phone, bob: Phone, silent: tuple[str, int]) -> None:
    caller, callee = up(network, alice, bob)
    network.delays = lambda packet: [] if silent in {packet.source, packet.target} else [0.02]
    network.run(1900)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]  # its UPDATE is not answered
    assert [(e.by, e.status, e.reason) for e in bob.of(Ended)] == [("timeout", 408, "the session timer expired")]
    bye = network.sent("BYE", BOB)[0]
    assert bye.message.headers.get("Reason") == 'SIP;cause=408;text="the session timer expired"'
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle
    assert caller.timer.interval == callee.timer.interval == 0


@pytest.mark.parametrize("kind", ["UPDATE", "200 UPDATE"])
def test_lost_refreshes(network: Network, alice: Phone, bob: Phone, kind: str) -> None:
    caller, _ = up(network, alice, bob)
    random = Random(7)

    def weather(packet: Packet) -> list[float]:
        if packet.kind != kind:
            return [0.02]
        return [0.02 + random.random() for _ in range(2) if random.random() > 0.4]

    network.delays = weather
    network.run(20_000)
    assert not caller.ended
    network.delays = None
    end(network, alice, bob)


def test_hanging_up_stops_the_timer(network: Network, alice: Phone, bob: Phone) -> None:
    up(network, alice, bob)
    network.run(898.9)
    end(network, alice, bob)
    assert network.sent("UPDATE") == []


def test_no_timers(network: Network) -> None:
    off = SessionTimers(expires=0)
    alice, bob = Phone(network, ALICE, 1, session_timers=off), Phone(network, BOB, 2, session_timers=off)
    caller, callee = up(network, alice, bob)
    network.run(5000)
    assert network.trace == []
    assert caller.timer.interval == callee.timer.interval == 0
    end(network, alice, bob)


def test_called_side_asks_for_a_timer_if_the_caller_does_not(network: Network, bob: Phone) -> None:
    alice = Phone(network, ALICE, 1, session_timers=SessionTimers(expires=0))
    caller, callee = up(network, alice, bob)
    assert (callee.timer.interval, callee.timer.ours, caller.timer.ours) == (1800, True, False)
    network.run(1000)
    assert len(network.sent("UPDATE", BOB)) == 1
    end(network, alice, bob)


def test_interval_that_is_too_small_is_raised(network: Network) -> None:
    alice = Phone(network, ALICE, 1, session_timers=SessionTimers(expires=120, minimum=90))
    bob = Phone(network, BOB, 2, session_timers=SessionTimers(expires=600, minimum=300))
    answer_everything(bob)
    caller = alice.call(BOB)
    network.run(1)
    assert network.kinds() == [
        "INVITE", "422 INVITE", "ACK", "INVITE", "100 INVITE", "200 INVITE", "ACK",
    ]  # fmt: skip
    first, again = (packet.message for packet in network.sent("INVITE", ALICE))
    assert first.headers.get("Session-Expires") == "120"
    assert again.headers.get("Session-Expires") == "300"
    assert again.headers.get("Min-SE") == "300"
    assert (first.call_id, first.from_.tag, first.cseq.number + 1) == (
        again.call_id, again.from_.tag, again.cseq.number,
    )  # fmt: skip
    assert caller.timer.interval == 300
    assert alice.of(Refused) == []
    network.run(2000)
    assert not caller.ended
    end(network, alice, bob)


# --- against a scripted callee --------------------------------------------------------------------


def answered(network: Network, alice: Phone, peer: Peer, *headers: tuple[str, str]) -> OutgoingSession:
    session: OutgoingSession = alice.call(BOB)
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 200, headers=headers, body=ANSWER)
    network.run(0.1)
    return session


def hang_up(network: Network, alice: Phone, peer: Peer, session: OutgoingSession) -> None:
    alice.do(session.bye)
    network.run(0.1)
    for bye in peer.requests("BYE"):
        peer.reply(bye, 200)
    network.settle()
    assert alice.endpoint.idle


def test_what_an_invite_asks_for(network: Network, alice: Phone, peer: Peer) -> None:
    session = answered(network, alice, peer)
    invite = peer.requests("INVITE")[0]
    assert invite.headers.get("Session-Expires") == "1800"
    assert invite.headers.get("Min-SE") is None  # 90 goes without saying
    assert {"timer", "100rel"} <= set(invite.headers.tokens("Supported"))
    assert session.timer.interval == 0  # this peer knows no timers
    network.run(10_000)
    assert not session.ended
    assert len(peer.inbox) == 2
    hang_up(network, alice, peer, session)


@pytest.mark.parametrize(
    ("value", "interval", "ours"),
    [
        ("600;refresher=uac", 600, True),
        ("600;refresher=uas", 600, False),
        ("600 ; Refresher = UAS", 600, False),
        ("600", 600, True),
        ("1;refresher=uac", 90, True),
        ("4294967295;refresher=uas", LONGEST, False),
        ("x;refresher=uas", 0, False),
        ("0", 0, False),
        ("", 0, False),
        ("600;refresher=both", 600, True),
    ],
)
def test_what_the_answer_says(network, alice: Phone, peer: Peer, value: str, interval: int, ours: bool) -> None:
    session = answered(network, alice, peer, ("Session-Expires", value))
    assert session.timer.interval == interval
    if interval:
        assert session.timer.ours is ours
    hang_up(network, alice, peer, session)


def test_peer_that_should_refresh_and_does_not(network: Network, alice: Phone, peer: Peer) -> None:
    session = answered(network, alice, peer, ("Session-Expires", "90;refresher=uas"))
    start = network.now
    network.run(100)
    (bye,) = network.sent("BYE", ALICE)[:1]
    assert round(bye.at - start) == 60  # 10: a third of the interval before its end
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]
    hang_up(network, alice, peer, session)


def test_update_that_the_peer_does_not_know_after_all(network: Network, alice: Phone, peer: Peer) -> None:
    session = answered(network, alice, peer, ("Session-Expires", "600;refresher=uac"), ("Allow", "INVITE, UPDATE"))
    network.run(300)
    (update,) = peer.requests("UPDATE")
    peer.reply(update, 501)
    network.run(0.1)
    reinvite = peer.requests("INVITE")[-1]
    assert reinvite.to.tag == "peer"
    peer.reply(reinvite, 200, headers=(("Session-Expires", "600;refresher=uac"),), body=ANSWER)
    network.run(310)
    assert len(peer.requests("UPDATE")) == 1
    assert len({request.cseq.number for request in peer.requests("INVITE")}) == 3
    assert not session.ended
    hang_up(network, alice, peer, session)


@pytest.mark.parametrize("status", [400, 488, 500, 503])
def test_refresh_that_fails_is_tried_again_until_the_end(network, alice: Phone, peer: Peer, status: int) -> None:
    session = answered(network, alice, peer, ("Session-Expires", "90;refresher=uac"), ("Allow", "UPDATE"))
    start = network.now
    peer.react = lambda message: (
        isinstance(message, Request) and message.method == "UPDATE" and peer.reply(message, status)
    )
    network.run(89)
    assert len(peer.requests("UPDATE")) == 4
    assert not session.ended
    network.run(2)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]
    assert round(network.sent("BYE", ALICE)[0].at - start) == 90
    assert alice.of(ReofferRefused) == []
    hang_up(network, alice, peer, session)


def test_refresh_that_the_peer_finds_too_frequent(network: Network, alice: Phone, peer: Peer) -> None:
    session = answered(network, alice, peer, ("Session-Expires", "90;refresher=uac"), ("Allow", "UPDATE"))
    network.run(45)
    peer.reply(peer.requests("UPDATE")[0], 422, headers=(("Min-SE", "400"),))
    network.run(0.1)
    again = peer.requests("UPDATE")[1]
    assert again.headers.get("Session-Expires") == "400;refresher=uac"
    assert again.headers.get("Min-SE") == "400"
    peer.reply(again, 422, headers=(("Min-SE", "400"),))  # no end of it: once is enough
    network.run(0.1)
    assert len(peer.requests("UPDATE")) == 2
    hang_up(network, alice, peer, session)


def test_peer_ends_the_timer(network: Network, alice: Phone, peer: Peer) -> None:
    session = answered(network, alice, peer, ("Session-Expires", "90;refresher=uac"), ("Allow", "UPDATE"))
    network.run(45)
    peer.reply(peer.requests("UPDATE")[0], 200)
    network.run(1000)
    assert session.timer.interval == 0
    assert not session.ended
    hang_up(network, alice, peer, session)


@pytest.mark.parametrize("minimum", ["", "90", "x", "999999", "99999999999"])
def test_strange_422_is_a_refusal(network: Network, alice: Phone, peer: Peer, minimum: str) -> None:
    alice.call(BOB)
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 422, headers=(("Min-SE", minimum),))
    network.run(0.1)
    assert [event.status for event in alice.of(Refused)] == [422]
    network.settle()
    assert alice.endpoint.idle


def test_422_again_and_again_is_bounded(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    seen: list[int] = []

    def react(message: object) -> None:
        if isinstance(message, Request) and message.method == "INVITE" and message.cseq.number not in seen:
            seen.append(message.cseq.number)
            peer.reply(message, 422, headers=(("Min-SE", str(1800 + 100 * len(seen))),))

    peer.react = react
    network.run(30)
    assert len(seen) == 2
    assert [event.status for event in alice.of(Refused)] == [422]
    network.settle()
    assert alice.endpoint.idle


# --- against a scripted caller --------------------------------------------------------------------


def invite(network: Network, alice: Phone, *headers: tuple[str, str]) -> Peer:
    peer = Peer(network, BOB)
    send(peer, "INVITE", 1, *headers, body=OFFER)
    return peer


def send(peer: Peer, method: str, cseq: int, *headers: tuple[str, str], to_tag: str = "", body: bytes = b"") -> None:
    lines = [
        f"{method} sip:ivr@192.0.2.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{next(branches)}",
        "From: <sip:bob@b>;tag=b",
        "To: <sip:ivr@a>" + (f";tag={to_tag}" if to_tag else ""),
        "Call-ID: timers",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:bob@192.0.2.2:5060>",
        "Allow: INVITE, ACK, BYE",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if body:
        lines.append("Content-Type: application/sdp")
    peer.send(ALICE, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    peer.network.run(0.1)


TIMER = ("Supported", "timer")


@pytest.mark.parametrize(
    ("headers", "says", "requires"),
    [
        # 9, table 2
        ((TIMER, ("Session-Expires", "600")), "600;refresher=uac", True),
        ((TIMER, ("Session-Expires", "600;refresher=uac")), "600;refresher=uac", True),
        ((TIMER, ("Session-Expires", "600;refresher=uas")), "600;refresher=uas", False),
        ((("Session-Expires", "600"),), "600;refresher=uas", False),
        ((("Require", "timer"), ("Session-Expires", "600")), "600;refresher=uac", True),
        ((TIMER,), "1800;refresher=uas", False),
        ((TIMER, ("Min-SE", "2400")), "2400;refresher=uas", False),
        ((TIMER, ("Session-Expires", "4294967295")), "86400;refresher=uac", True),
        ((), None, False),
        ((("Session-Expires", "20"),), None, False),
        ((TIMER, ("Session-Expires", "nonsense")), "1800;refresher=uas", False),
        ((("x", "600"), ("k", "timer")), "600;refresher=uac", True),
    ],
)
def test_what_our_answer_says(network, alice: Phone, headers, says: str | None, requires: bool) -> None:
    answer_everything(alice)
    peer = invite(network, alice, *headers)
    ok = peer.responses(200, "INVITE")[0]
    assert ok.headers.get("Session-Expires") == says
    assert ("timer" in ok.headers.tokens("Require")) is requires
    session = alice.last(Invited).session
    send(peer, "ACK", 1, to_tag=session.local_tag)
    alice.do(session.bye)
    network.settle()
    assert alice.endpoint.idle


def test_too_small_an_interval_is_refused(network: Network, alice: Phone) -> None:
    peer = invite(network, alice, TIMER, ("Session-Expires", "89"))
    (refusal,) = peer.responses(422)
    assert refusal.headers.get("Min-SE") == "90"
    assert alice.of(Invited) == []
    assert alice.endpoint.idle
    for _ in range(50):  # a trunk that does so for each call is told each time
        send(peer, "INVITE", 1, TIMER, ("Session-Expires", "89"))
    assert len(peer.responses(422)) == 51


def test_within_the_call(network: Network, alice: Phone) -> None:
    answer_everything(alice)
    peer = invite(network, alice, TIMER, ("Session-Expires", "100;refresher=uac"))
    session = alice.last(Invited).session
    tag = session.local_tag
    send(peer, "ACK", 1, to_tag=tag)
    network.run(60)
    send(peer, "UPDATE", 2, TIMER, ("Session-Expires", "10;refresher=uac"), to_tag=tag)
    (refusal,) = peer.responses(422)
    assert refusal.headers.get("Min-SE") == "90"
    send(peer, "UPDATE", 3, TIMER, ("Session-Expires", "100;refresher=uac"), to_tag=tag)
    assert peer.responses(method="UPDATE")[-1].headers.get("Session-Expires") == "100;refresher=uac"
    network.run(60)
    send(peer, "INVITE", 4, TIMER, ("Session-Expires", "100;refresher=uas"), to_tag=tag, body=HOLD)
    assert peer.responses(200, "INVITE")[-1].headers.get("Session-Expires") == "100;refresher=uas"
    send(peer, "ACK", 4, to_tag=tag)
    assert session.timer.ours
    network.run(55)
    refresh = peer.requests("INVITE")[-1]  # this peer allows no UPDATE
    assert refresh.body == ANSWER
    peer.reply(refresh, 200, tag="", body=HOLD)
    network.run(1)
    assert session.timer.interval == 0
    alice.do(session.bye)
    network.settle()
    assert alice.endpoint.idle


def test_peer_that_stops_refreshing(network: Network, alice: Phone) -> None:
    answer_everything(alice)
    peer = invite(network, alice, TIMER, ("Session-Expires", "300;refresher=uac"))
    send(peer, "ACK", 1, to_tag=alice.last(Invited).session.local_tag)
    network.run(267)
    assert alice.of(Ended) == []
    network.run(2)
    assert [(e.by, e.status, e.reason) for e in alice.of(Ended)] == [("timeout", 408, "the session timer expired")]
    network.settle()
    assert alice.endpoint.idle


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(1800, 60), (80, 90), (100_000, 90), (-1, 90)])
def test_limits_that_make_no_sense(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="session timers"):
        SessionTimers(*limits)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=60))
def test_any_value_can_be_read(value: str) -> None:
    request = Request("UPDATE", "sip:a", Headers())
    request.headers.add("Session-Expires", value)
    request.headers.add("Min-SE", value)
    read = read_session_expires(request)
    assert read is None or (0 < read[0] < 1 << 32 and read[1] in {"", "uac", "uas"})
    assert read_min_se(request) >= 90
