"""The calling side: forks, challenges, CANCEL and its races."""

from __future__ import annotations

import pytest
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Peer, Phone

from engine.sip.client import MAX_FORKS
from engine.sip.digest import Challenger, Credentials
from engine.sip.events import Answered, Ended, Event, Invited, Progressed, Refused
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.uri import Address

CREDENTIALS = Credentials("alice", "secret")


def finished(network: Network, phone: Phone) -> list[tuple[str, int]]:
    network.settle()
    assert phone.endpoint.idle
    return [(event.by, event.status) for event in phone.of(Ended)]


def take(network: Network, peer: Peer) -> Request:
    network.run(0.1)
    return peer.requests("INVITE")[-1]


def test_invite_has_what_it_must_have(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, route=[Address.parse("<sip:192.0.2.2;lr>")], headers=[("X-Flow", "hello")])
    invite = take(network, peer)
    assert invite.uri == "sip:bob@192.0.2.2:5060"
    assert [str(a) for a in invite.routes] == ["<sip:192.0.2.2;lr>"]
    assert (invite.from_.tag != "", invite.to.tag, invite.max_forwards) == (True, "", 70)
    assert str(invite.contacts[0].uri) == "sip:alice@192.0.2.1:5060"
    assert (invite.headers.get("X-Flow"), invite.content_type, invite.body) == ("hello", "application/sdp", OFFER)
    assert invite.headers.get("User-Agent") == "Ivrea test"


def test_header_with_a_line_break_is_refused(alice: Phone) -> None:
    with pytest.raises(ValueError, match="line break"):
        alice.call(BOB, headers=[("X-Evil", "a\r\nRoute: <sip:evil>")])
    with pytest.raises(ValueError, match="URI"):
        alice.endpoint.invite(
            "not a uri",
            from_=Address.parse("<sip:a@b>"),
            to=Address.parse("<sip:a@b>"),
            sdp=None,
            flow=alice.flow(BOB),
            now=0.0,
        )
    assert alice.endpoint.idle


def test_early_media(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 100, tag="")
    peer.reply(invite, 183, body=ANSWER)
    network.run(0.1)
    assert alice.of(Progressed) == [Progressed(session, 183, "Session Progress", ANSWER)]
    assert session.state == "early"


def test_late_offer(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB, None)
    invite = take(network, peer)
    assert invite.body == b""
    for _ in range(2):
        peer.reply(invite, 200, body=OFFER)
        network.run(0.1)
    assert alice.of(Answered) == [Answered(session, OFFER)]
    assert peer.requests("ACK") == []
    alice.do(lambda now: session.acknowledge(ANSWER, now))
    network.run(0.1)
    (ack,) = peer.requests("ACK")
    assert (ack.body, ack.content_type) == (ANSWER, "application/sdp")
    assert session.state == "confirmed"
    peer.reply(invite, 200, body=OFFER)
    network.run(0.1)
    assert len(peer.requests("ACK")) == 2


def test_late_offer_that_nobody_answers(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB, None)
    peer.reply(take(network, peer), 200, body=OFFER)
    network.run(0.1)
    alice.do(session.bye)
    network.run(0.1)
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == ["INVITE", "ACK", "BYE"]
    peer.reply(peer.requests("BYE")[0], 200)
    assert finished(network, alice) == [("local", 200)]


def test_reason_of_a_refusal(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    peer.reply(take(network, peer), 503, headers=(("Reason", 'Q.850 ;cause=34 ;text="No circuit"'),))
    network.run(0.1)
    assert alice.of(Refused) == [Refused(session, 503, "Service Unavailable", 34)]
    assert finished(network, alice) == [("remote", 503)]


def test_sequence_of_an_early_dialog_goes_on(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 183, body=ANSWER)
    network.run(0.1)
    for _ in range(2):
        alice.do(lambda now: session.info("application/dtmf", b"1", now))
        network.run(0.1)
        peer.reply(peer.requests("INFO")[-1], 200)
    ask = Request("INFO", "sip:alice@192.0.2.1", invite.headers.copy())
    ask.headers.set("From", str(invite.to.with_tag("peer")))
    ask.headers.set("To", str(invite.from_))
    for number, branch in ((7, "a"), (6, "b")):
        if number == 6:
            peer.reply(invite, 200, body=ANSWER)
            network.run(0.1)
        ask.headers.set("CSeq", f"{number} INFO")
        ask.headers.set("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{branch}")
        peer.send(ALICE, ask.encode())
        network.run(0.1)
    assert [r.status for r in peer.responses(method="INFO")] == [200, 500]  # 6 is older than 7, and still is
    alice.do(session.bye)
    network.run(0.1)
    (bye,) = peer.requests("BYE")[:1]
    assert bye.cseq.number == 4  # after the INVITE and two INFOs
    peer.reply(bye, 200)
    assert finished(network, alice) == [("local", 200)]


def test_sequence_of_another_fork_is_its_own(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 183, tag="early")
    network.run(0.1)
    alice.do(lambda now: session.info("application/dtmf", b"1", now))
    network.run(0.1)
    peer.reply(invite, 200, tag="other", body=ANSWER)
    network.run(0.1)
    alice.do(session.bye)
    network.run(0.1)
    assert peer.requests("BYE")[0].cseq.number == 2


# --- CANCEL -----------------------------------------------------------------------------------


def test_cancel(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 180)
    network.run(0.1)
    alice.do(lambda now: session.cancel(now, "gave up"))
    network.run(0.1)
    (cancel,) = peer.requests("CANCEL")
    assert cancel.headers.all("Via") == invite.headers.all("Via")[:1]
    assert (cancel.uri, str(cancel.cseq), cancel.to.tag) == (invite.uri, "1 CANCEL", "")
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="gave up"'
    peer.reply(cancel, 200)
    peer.reply(invite, 487)
    network.run(0.1)
    assert len(peer.requests("ACK")) == 1
    assert finished(network, alice) == [("local", 487)]
    assert alice.of(Refused) == []


def test_cancel_waits_for_a_provisional_response(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    alice.do(session.cancel)
    network.run(0.2)
    assert peer.requests("CANCEL") == []
    peer.reply(invite, 100, tag="")
    network.run(0.1)
    assert len(peer.requests("CANCEL")) == 1
    peer.reply(invite, 487)
    assert finished(network, alice) == [("local", 487)]


def test_cancel_of_an_invite_that_nobody_got(network: Network, alice: Phone) -> None:
    session = alice.call(BOB)
    alice.do(session.cancel)
    network.run(1)
    assert session.ended
    assert finished(network, alice) == [("local", 487)]
    assert network.sent("CANCEL") == []


def test_cancel_without_final_response(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    peer.reply(take(network, peer), 180)
    network.run(0.1)
    alice.do(session.cancel)
    network.run(33)
    assert alice.endpoint.idle
    assert finished(network, alice) == [("local", 487)]


def test_answer_crossing_the_cancel(network: Network, alice: Phone, peer: Peer) -> None:
    """9.1: the call is up then; it is acknowledged and hung up."""
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 180)
    network.run(0.1)
    alice.do(lambda now: session.cancel(now, "gave up"))
    peer.reply(invite, 200, body=ANSWER)
    network.run(0.1)
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == ["INVITE", "CANCEL", "ACK", "BYE"]
    bye = peer.requests("BYE")[0]
    assert bye.to.tag == "peer"
    assert bye.headers.get("Reason") == 'SIP;cause=200;text="gave up"'
    peer.reply(peer.requests("CANCEL")[0], 200)
    peer.reply(invite, 200, body=ANSWER)  # the ACK was late
    network.run(0.1)
    assert len(peer.requests("ACK")) == 2
    peer.reply(peer.requests("BYE")[0], 200)
    assert alice.of(Answered) == []
    assert finished(network, alice) == [("local", 487)]


def test_cancel_after_the_answer_is_a_bye(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    peer.reply(take(network, peer), 200, body=ANSWER)
    network.run(0.1)
    alice.do(session.cancel)
    network.run(0.1)
    assert peer.requests("CANCEL") == []
    peer.reply(peer.requests("BYE")[0], 200)
    assert finished(network, alice) == [("local", 200)]


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.019, 0.02, 0.021, 0.03, 0.039, 0.04, 0.041, 0.06, 0.1])
def test_cancel_and_answer_in_any_order(network: Network, alice: Phone, bob: Phone, delay: float) -> None:
    """Both endpoints real; the answer at one moment, the CANCEL somewhere around it."""

    def react(event: Event) -> None:
        if isinstance(event, Invited):
            bob.do(event.session.ringing)

    bob.react = react
    session = alice.call(BOB)
    network.run(0.05)
    callee = bob.last(Invited).session
    first, second = (session.cancel, lambda now: callee.accept(ANSWER, now))
    if delay > 0.04:
        first, second = second, first
    (alice if first == session.cancel else bob).do(first)
    network.run(min(delay, 0.1 - delay))
    (bob if first == session.cancel else alice).do(second)
    network.settle()
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1
    assert session.ended
    assert callee.ended
    assert alice.endpoint.idle
    assert bob.endpoint.idle


# --- silence ----------------------------------------------------------------------------------


def test_silence_is_given_up_in_time_and_cancelled_once_that_may_be(network: Network, alice: Phone, peer: Peer) -> None:
    """9.1: without a provisional response there is no CANCEL, and the INVITE is repeated until there is one."""
    session = alice.call(BOB, respond_within=5.0)
    invite = take(network, peer)
    network.run(4.8)
    assert not session.ended
    network.run(0.2)
    assert alice.of(Refused) == [Refused(session, 408, "no response in time", None)]
    assert [(event.by, event.status) for event in alice.of(Ended)] == [("timeout", 408)]
    network.run(3)
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == ["INVITE"] * 5
    peer.reply(invite, 180)
    network.run(0.1)
    (cancel,) = peer.requests("CANCEL")
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="no response in time"'
    peer.reply(cancel, 200)
    peer.reply(invite, 487)
    assert finished(network, alice) == [("timeout", 408)]
    assert len(alice.of(Refused)) == 1


def test_answer_that_is_too_late_is_acknowledged_and_hung_up(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, respond_within=5.0)
    invite = take(network, peer)
    network.run(6)
    peer.reply(invite, 200, body=ANSWER)
    network.run(0.1)
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == [*["INVITE"] * 4, "ACK", "BYE"]
    assert alice.of(Answered) == []
    peer.reply(peer.requests("BYE")[0], 200)
    assert finished(network, alice) == [("timeout", 408)]


def test_silence_to_the_end_leaves_nothing_behind(network: Network, alice: Phone) -> None:
    alice.call(BOB, respond_within=5.0)
    network.run(40)
    assert finished(network, alice) == [("timeout", 408)]
    assert network.sent("CANCEL") == []


@pytest.mark.parametrize("status", [100, 180])
def test_who_has_responded_may_ring_as_long_as_they_want(
    network: Network, alice: Phone, peer: Peer, status: int
) -> None:
    session = alice.call(BOB, respond_within=5.0)
    peer.reply(take(network, peer), status, tag="" if status == 100 else "peer")
    network.run(60)
    assert not session.ended


def test_silence_after_a_challenge_counts_from_there_and_gets_no_cancel(
    network: Network, alice: Phone, peer: Peer
) -> None:
    """The INVITE with the password is another one: what came for the first does not count for it (22.2, 9.1)."""
    session = alice.call(BOB, credentials=CREDENTIALS, respond_within=5.0)
    first = take(network, peer)
    peer.reply(first, 100, tag="")
    network.run(6)
    challenges = Challenger("example.com", b"key").challenges(network.now)
    peer.reply(first, 401, headers=tuple(("WWW-Authenticate", value) for value in challenges))
    network.run(4.9)
    assert not session.ended
    network.run(0.2)
    assert [(event.by, event.status) for event in alice.of(Ended)] == [("timeout", 408)]
    assert peer.requests("CANCEL") == []
    peer.reply(peer.requests("INVITE")[-1], 100, tag="")
    network.run(0.1)
    (cancel,) = peer.requests("CANCEL")
    assert cancel.cseq.number == 2


# --- forks ------------------------------------------------------------------------------------


def test_second_answer_is_acknowledged_and_hung_up(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    carol = Peer(network, CAROL)
    peer.reply(invite, 180, tag="b")
    carol.reply(invite, 180, tag="c")
    network.run(0.1)
    peer.reply(invite, 200, tag="b", body=ANSWER)
    network.run(0.1)
    for _ in range(2):
        carol.reply(invite, 200, tag="c", body=ANSWER)
        network.run(0.1)
    assert session.dialog.remote_tag == "b"
    assert [m.method for m in carol.inbox if isinstance(m, Request)] == ["ACK", "BYE", "ACK"]
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == ["INVITE", "ACK"]
    assert len(alice.of(Answered)) == 1
    carol.reply(carol.requests("BYE")[0], 200)
    network.run(0.1)
    assert alice.of(Ended) == []
    alice.do(session.bye)
    network.run(0.1)
    peer.reply(peer.requests("BYE")[0], 200)
    assert finished(network, alice) == [("local", 200)]


def test_answering_fork_need_not_be_the_one_that_rang_first(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 180, tag="b")
    peer.reply(invite, 200, tag="c", body=ANSWER, contact=f"<sip:c@{CAROL[0]}>")
    network.run(0.1)
    assert session.dialog.remote_tag == "c"
    assert session.remote_target.address == CAROL[0]


def test_flood_of_answers_is_bounded(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    invite = take(network, peer)
    for number in range(100):
        peer.reply(invite, 200, tag=f"t{number}", body=ANSWER)
    network.run(0.1)
    assert len(peer.requests("ACK")) == MAX_FORKS
    assert alice.endpoint.counters.dropped == 100 - MAX_FORKS


# --- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 407])
def test_challenge_is_answered(network: Network, alice: Phone, peer: Peer, status: int) -> None:
    challenger = Challenger("example.com", b"key")
    session = alice.call(BOB, credentials=CREDENTIALS)
    first = take(network, peer)
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    peer.reply(first, status, headers=tuple((name, value) for value in challenger.challenges(network.now)))
    second = take(network, peer)
    assert (second.call_id, second.from_.tag, second.cseq.number) == (first.call_id, first.from_.tag, 2)
    assert second.via.branch != first.via.branch
    assert second.body == OFFER
    if status == 401:
        assert challenger.verify(second, {"alice": "secret"}.get, network.now).result == "ok"
    assert [ack.cseq.number for ack in peer.requests("ACK")] == [1]
    peer.reply(second, 200, body=ANSWER)
    network.run(0.1)
    ack = peer.requests("ACK")[-1]
    assert ack.cseq.number == 2
    header = "Authorization" if status == 401 else "Proxy-Authorization"
    assert ack.headers.get(header) == second.headers.get(header)  # 13.2.2.4: the INVITE's credentials
    alice.do(session.bye)
    network.run(0.1)
    bye = peer.requests("BYE")[0]
    assert bye.cseq.number == 3
    assert bye.headers.get(header)  # the nonce is known by now
    peer.reply(bye, 200)
    assert finished(network, alice) == [("local", 200)]
    assert alice.of(Refused) == []


def test_challenge_for_a_bye(network: Network, alice: Phone, peer: Peer) -> None:
    challenger = Challenger("example.com", b"key")
    session = alice.call(BOB, credentials=CREDENTIALS)
    peer.reply(take(network, peer), 200, body=ANSWER)
    network.run(0.1)
    alice.do(session.bye)
    network.run(0.1)
    challenge = tuple(("WWW-Authenticate", value) for value in challenger.challenges(network.now))
    peer.reply(peer.requests("BYE")[0], 401, headers=challenge)
    network.run(0.1)
    again = peer.requests("BYE")[1]
    assert challenger.verify(again, {"alice": "secret"}.get, network.now).result == "ok"
    peer.reply(again, 200)
    assert finished(network, alice) == [("local", 200)]


def test_wrong_password_is_a_refusal(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, credentials=CREDENTIALS)
    for _ in range(2):
        challenge = 'Digest realm="r", nonce="n", algorithm=MD5'
        peer.reply(take(network, peer), 401, headers=(("WWW-Authenticate", challenge),))
    network.run(1)
    assert len(peer.requests("INVITE")) == 2
    assert [e.status for e in alice.of(Refused)] == [401]
    assert finished(network, alice) == [("remote", 401)]


def test_challenges_without_end_are_a_refusal(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, credentials=CREDENTIALS)
    for number in range(10):
        challenge = f'Digest realm="r", nonce="n{number}", algorithm=MD5, stale=true'
        peer.reply(take(network, peer), 401, headers=(("WWW-Authenticate", challenge),))
    network.run(1)
    assert len({i.cseq.number for i in peer.requests("INVITE")}) == 4
    assert finished(network, alice) == [("remote", 401)]


def test_challenge_without_credentials_is_a_refusal(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    peer.reply(take(network, peer), 401, headers=(("WWW-Authenticate", 'Digest realm="r", nonce="n"'),))
    network.run(1)
    assert finished(network, alice) == [("remote", 401)]


def test_challenge_after_the_call_was_cancelled(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB, credentials=CREDENTIALS)
    invite = take(network, peer)
    alice.do(session.cancel)
    peer.reply(invite, 407, headers=(("Proxy-Authenticate", 'Digest realm="r", nonce="n"'),))
    network.run(1)
    assert len(peer.requests("INVITE")) == 1
    assert finished(network, alice) == [("local", 487)]


# --- flows ------------------------------------------------------------------------------------


def test_what_follows_goes_where_the_answer_came_from(alice: Phone) -> None:
    """The INVITE went to a name, over a connection that was yet to be made."""
    endpoint = alice.endpoint
    session = alice.call(("trunk.example.com", 5060), flow=Flow("tcp", (ALICE[0], 0), ("trunk.example.com", 5060)))
    invite = alice.network.trace[0].message
    assert isinstance(invite, Request)
    answer = invite.response(200, to_tag="x")
    answer.headers.add("Contact", "<sip:bob@192.0.2.2;transport=tcp>")
    made = Flow("tcp", (ALICE[0], 41000), BOB, 12)
    endpoint.receive_message(answer, made, alice.now)
    assert [flow for flow, _ in endpoint.outgoing()] == [made]
    session.bye(alice.now)
    assert [flow for flow, _ in endpoint.outgoing()] == [made]
    assert session.save().remote_address == BOB


def test_refusal_of_another_port_is_acknowledged_where_the_invite_went(alice: Phone) -> None:
    endpoint = alice.endpoint
    alice.call(BOB)
    invite = alice.network.trace[0].message
    assert isinstance(invite, Request)
    endpoint.receive_message(invite.response(486, to_tag="x"), alice.flow((BOB[0], 49999)), alice.now)
    assert [flow.remote for flow, _ in endpoint.outgoing()] == [BOB]


# --- what callees do --------------------------------------------------------------------------


def test_bye_that_overtakes_the_answer(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    invite = take(network, peer)
    peer.reply(invite, 180)
    network.run(0.1)
    bye = session.dialog.request("BYE", 1)
    bye.headers.set("From", str(session.dialog.remote))
    bye.headers.set("To", str(session.dialog.local))
    bye.headers.insert_first("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKb")
    peer.send(ALICE, bye)
    peer.reply(invite, 200, body=ANSWER)
    network.run(0.1)
    assert [r.status for r in peer.responses(method="BYE")] == [200]
    assert len(peer.requests("ACK")) == 1
    for sent in peer.requests("BYE"):
        peer.reply(sent, 481)
    assert finished(network, alice) == [("remote", 200)]


def test_answer_without_contact_or_tag(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    answer = take(network, peer).response(200)
    answer.headers.add("Content-Type", "application/sdp")
    answer.body = ANSWER
    peer.send(ALICE, answer)
    network.run(0.1)
    assert session.state == "confirmed"
    alice.do(session.bye)
    network.run(0.1)
    assert peer.requests("BYE")[0].uri == "sip:bob@192.0.2.2:5060"


@pytest.mark.parametrize("stage", ["calling", "ringing", "answered", "talking"])
def test_terminate_in_every_state(network: Network, alice: Phone, peer: Peer, stage: str) -> None:
    session = alice.call(BOB, OFFER if stage == "talking" else None)
    invite = take(network, peer)
    if stage == "ringing":
        peer.reply(invite, 180)
    elif stage in {"answered", "talking"}:
        peer.reply(invite, 200, body=OFFER)
    network.run(0.1)
    for _ in range(2):
        alice.do(lambda now: session.terminate(now, "drained"))
    assert session.ended
    assert finished(network, alice) == [("local", 487 if stage in {"calling", "ringing"} else 200)]


def test_call_to_oneself(network: Network, alice: Phone) -> None:
    def react(event: Event) -> None:
        if isinstance(event, Invited):
            alice.do(lambda now: event.session.accept(ANSWER, now))

    alice.react = react
    session = alice.call(ALICE)
    network.run(1)
    assert session.state == "confirmed"
    assert alice.last(Invited).session.state == "confirmed"
    alice.do(session.bye)
    network.settle()
    assert len(alice.of(Ended)) == 2
    assert alice.endpoint.idle
