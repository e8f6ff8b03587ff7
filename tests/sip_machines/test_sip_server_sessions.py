"""The called side, against a caller that does everything wrong that callers do."""

from __future__ import annotations

import pytest
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Peer, Phone

from engine.sip.events import Acknowledged, Ended, InfoReceived, Invited
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.server import IncomingSession


class Caller(Peer):
    """A caller that is scripted message by message."""

    def request(
        self, method: str, cseq: int, *, to_tag: str = "", body: bytes = b"", content_type: str = "application/sdp",
        from_tag: str = "b", branch: str = "", headers: tuple[tuple[str, str], ...] = (),
        uri: str = "sip:alice@192.0.2.1",
    ) -> None:  # fmt: skip
        fields = Headers()
        branch = branch or f"z9hG4bK{method}{cseq}"
        fields.add("Via", f"SIP/2.0/UDP {self.host[0]}:{self.host[1]};branch={branch}")
        fields.add("From", f"<sip:bob@example.com>;tag={from_tag}")
        fields.add("To", "<sip:alice@example.com>" + (f";tag={to_tag}" if to_tag else ""))
        fields.add("Call-ID", "c1")
        fields.add("CSeq", f"{cseq} {method}")
        if method in {"INVITE", "UPDATE"} and not any(name == "Contact" for name, _ in headers):
            fields.add("Contact", f"<sip:bob@{self.host[0]}:{self.host[1]}>")
        for name, value in headers:
            if value:
                fields.add(name, value)
        if body:
            fields.add("Content-Type", content_type)
        self.send(ALICE, Request(method, uri, fields, body))
        self.network.run(0.1)

    def statuses(self, method: str) -> list[int]:
        return [response.status for response in self.responses(method=method)]


@pytest.fixture
def caller(network: Network) -> Caller:
    return Caller(network, BOB)


@pytest.fixture
def session(network: Network, alice: Phone, caller: Caller) -> IncomingSession:
    """A call that rings."""
    caller.request("INVITE", 1, body=OFFER)
    session = alice.last(Invited).session
    alice.do(session.ringing)
    network.run(0.1)
    return session


@pytest.fixture
def talking(session: IncomingSession, alice: Phone, caller: Caller) -> IncomingSession:
    """A call that was answered and acknowledged."""
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("ACK", 1, to_tag=session.local_tag)
    assert session.state == "confirmed"
    return session


def finished(network: Network, phone: Phone) -> list[tuple[str, int]]:
    """How the session ended, once everything has settled and is forgotten."""
    network.settle()
    assert phone.endpoint.idle
    return [(event.by, event.status) for event in phone.of(Ended)]


# --- the answer -------------------------------------------------------------------------------


def test_responses_share_one_tag_and_contact(session: IncomingSession, alice: Phone, caller: Caller) -> None:
    alice.do(lambda now: session.progress(now, ANSWER))
    alice.do(lambda now: session.accept(ANSWER, now, headers=[("X-Call", "7")]))
    caller.network.run(0.1)
    trying, ringing, progress, ok = caller.responses(method="INVITE")
    assert [r.status for r in (trying, ringing, progress, ok)] == [100, 180, 183, 200]
    assert {r.to.tag for r in (ringing, progress, ok)} == {session.local_tag}
    assert str(ok.contacts[0].uri) == "sip:alice@192.0.2.1:5060"
    assert (ok.body, progress.body, ringing.body) == (ANSWER, ANSWER, b"")
    assert ok.headers.get("X-Call") == "7"
    assert "UPDATE" in ok.headers.tokens("Allow")


def test_record_routes_are_copied(network: Network, alice: Phone, caller: Caller) -> None:
    caller.request("INVITE", 1, headers=(("Record-Route", "<sip:p1;lr>"), ("Record-Route", "<sip:p2;lr>")))
    alice.do(lambda now: alice.last(Invited).session.accept(ANSWER, now))
    network.run(0.1)
    assert [str(a) for a in caller.responses(200)[0].record_routes] == ["<sip:p1;lr>", "<sip:p2;lr>"]


def test_answer_is_repeated_until_its_ack(network: Network, alice: Phone, caller: Caller, session) -> None:
    start = network.now
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(12)
    sent = [round(p.at - start, 3) for p in network.sent("200 INVITE", ALICE)]
    assert sent == [0, 0.5, 1.5, 3.5, 7.5, 11.5]  # T1, doubling up to T2
    caller.request("ACK", 1, to_tag=session.local_tag)
    network.run(30)
    assert len(network.sent("200 INVITE", ALICE)) == len(sent)
    assert len(alice.of(Acknowledged)) == 1


def test_an_ack_with_an_invented_to_tag_counts_by_its_branch(session, alice: Phone, caller: Caller) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("ACK", 1, to_tag="invented", branch="z9hG4bKINVITE1")
    assert session.state == "confirmed"
    assert len(alice.of(Acknowledged)) == 1


def test_an_ack_with_an_invented_to_tag_and_branch_is_nobodys(session, alice: Phone, caller: Caller) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("ACK", 1, to_tag="invented")
    assert session.state == "answered"


def test_answer_without_ack_becomes_a_bye(network: Network, alice: Phone, caller: Caller, session) -> None:
    start = network.now
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(40)
    (bye,) = network.sent("BYE", ALICE)[:1]
    assert round(bye.at - start, 3) == 32.0
    assert finished(network, alice) == [("timeout", 408)]


def test_ack_may_come_with_the_answer_to_our_offer(network: Network, alice: Phone, caller: Caller) -> None:
    caller.request("INVITE", 1)
    session = alice.last(Invited).session
    assert session.offer is None
    alice.do(lambda now: session.accept(OFFER, now))
    caller.request("ACK", 1, to_tag=session.local_tag, body=ANSWER)
    assert alice.of(Acknowledged) == [Acknowledged(session, ANSWER)]
    caller.request("ACK", 1, to_tag=session.local_tag, body=ANSWER)
    assert len(alice.of(Acknowledged)) == 1


def test_ack_of_another_cseq_or_tag_acknowledges_nothing(network: Network, alice: Phone, caller, session) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("ACK", 2, to_tag=session.local_tag)
    caller.request("ACK", 1, to_tag="other")
    caller.request("ACK", 1, to_tag=session.local_tag, from_tag="other")
    assert not session.acknowledged


def test_ringing_is_repeated_every_minute(network: Network, alice: Phone, caller: Caller, session) -> None:
    network.run(125)
    assert caller.statuses("INVITE") == [100, 180, 180, 180]
    alice.do(lambda now: session.reject(480, now))
    caller.request("ACK", 1, branch="z9hG4bKINVITE1", to_tag=session.local_tag)
    assert finished(network, alice) == [("local", 480)]


def test_refusal_with_headers(alice: Phone, caller: Caller, session: IncomingSession) -> None:
    alice.do(lambda now: session.reject(503, now, headers=[("Retry-After", "5")]))
    caller.network.run(0.1)
    refusal = caller.responses(503)[0]
    assert refusal.headers.get("Retry-After") == "5"
    assert refusal.to.tag == session.local_tag


def test_answering_twice_or_after_the_end_does_nothing(network: Network, alice, caller, session) -> None:
    assert alice.do(lambda now: session.accept(ANSWER, now)) is True
    assert alice.do(lambda now: session.accept(ANSWER, now)) is False
    alice.do(lambda now: session.reject(486, now))
    alice.do(session.ringing)
    network.run(0.1)
    assert caller.statuses("INVITE") == [100, 180, 200]


# --- CANCEL -----------------------------------------------------------------------------------


def test_cancel(network: Network, alice: Phone, caller: Caller, session: IncomingSession) -> None:
    reason = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
    caller.request("CANCEL", 1, branch="z9hG4bKINVITE1", headers=(reason,))
    assert caller.statuses("CANCEL") == [200]
    assert caller.statuses("INVITE") == [100, 180, 487]
    assert {r.to.tag for r in caller.responses()[1:]} == {session.local_tag}
    caller.request("ACK", 1, branch="z9hG4bKINVITE1", to_tag=session.local_tag)
    assert alice.do(lambda now: session.accept(ANSWER, now)) is False
    assert alice.last(Ended).reason == "Call completed elsewhere"
    assert finished(network, alice) == [("remote", 487)]


def test_cancel_crossing_the_answer(network: Network, alice: Phone, caller: Caller, session) -> None:
    """The 200 was sent before the CANCEL came: the CANCEL changes nothing (9.2), the caller hangs up."""
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("CANCEL", 1, branch="z9hG4bKINVITE1")
    assert caller.statuses("CANCEL") == [200]
    assert alice.of(Ended) == []
    caller.request("ACK", 1, to_tag=session.local_tag)
    caller.request("BYE", 2, to_tag=session.local_tag)
    assert caller.statuses("BYE") == [200]
    assert caller.statuses("INVITE") == [100, 180, 200]
    assert finished(network, alice) == [("remote", 200)]


def test_cancel_of_nothing(alice: Phone, caller: Caller) -> None:
    caller.request("CANCEL", 1, branch="z9hG4bKwho")
    assert caller.statuses("CANCEL") == [481]
    assert alice.endpoint.counters.strays == 1


def test_repeated_cancel(network: Network, alice: Phone, caller: Caller, session: IncomingSession) -> None:
    for _ in range(3):
        caller.request("CANCEL", 1, branch="z9hG4bKINVITE1")
    assert caller.statuses("CANCEL") == [200, 200, 200]
    assert caller.statuses("INVITE").count(487) == 1
    assert finished(network, alice) == [("remote", 487)]


def test_invite_expires(network: Network, alice: Phone, caller: Caller) -> None:
    caller.request("INVITE", 1, headers=(("Expires", "20"),))
    network.run(19)
    assert alice.of(Ended) == []
    network.run(2)
    assert caller.statuses("INVITE")[:2] == [100, 487]
    assert finished(network, alice) == [("timeout", 487)]


# --- BYE --------------------------------------------------------------------------------------


def test_bye_before_the_answer(network: Network, alice: Phone, caller: Caller, session: IncomingSession) -> None:
    """An early BYE ends the INVITE too (15.1.2)."""
    caller.request("BYE", 2, to_tag=session.local_tag)
    assert caller.statuses("BYE") == [200]
    assert caller.statuses("INVITE") == [100, 180, 487]
    assert finished(network, alice) == [("remote", 200)]


def test_bye_instead_of_the_ack(network: Network, alice: Phone, caller: Caller, session: IncomingSession) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    caller.request("BYE", 2, to_tag=session.local_tag)
    network.run(40)
    assert len(network.sent("200 INVITE", ALICE)) == 1  # no longer repeated
    assert network.sent("BYE", ALICE) == []
    assert finished(network, alice) == [("remote", 200)]


def test_our_bye_waits_for_the_ack(network: Network, alice: Phone, caller: Caller, session: IncomingSession) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    alice.do(lambda now: session.bye(now, "over"))
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("local", 200)]  # the user does not wait
    network.run(1)
    assert network.sent("BYE", ALICE) == []
    caller.request("ACK", 1, to_tag=session.local_tag)
    (bye,) = caller.requests("BYE")
    assert bye.headers.get("Reason") == 'SIP;cause=200;text="over"'
    caller.reply(bye, 200)
    assert finished(network, alice) == [("local", 200)]


def test_our_bye_waits_for_the_ack_but_not_forever(network: Network, alice: Phone, caller: Caller, session) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    alice.do(session.bye)
    network.run(33)
    assert len(caller.requests("BYE")) >= 1
    assert finished(network, alice) == [("local", 200)]


def test_transfer_that_is_decided_while_our_bye_waits(network: Network, alice: Phone, caller: Caller, session) -> None:
    alice.do(lambda now: session.accept(ANSWER, now))
    alice.do(lambda now: session.refer("sip:carol@192.0.2.3", now))
    network.run(0.1)
    alice.do(session.bye)
    caller.reply(caller.requests("REFER")[0], 603)
    network.run(0.1)
    assert network.sent("BYE", ALICE) == []
    caller.request("ACK", 1, to_tag=session.local_tag)
    assert len(caller.requests("BYE")) == 1
    caller.reply(caller.requests("BYE")[0], 200)
    assert finished(network, alice) == [("local", 200)]


def test_byes_cross(network: Network, alice: Phone, caller: Caller, talking: IncomingSession) -> None:
    alice.do(talking.bye)
    caller.request("BYE", 2, to_tag=talking.local_tag)
    assert caller.statuses("BYE") == [200]
    (bye,) = caller.requests("BYE")
    caller.reply(bye, 481)
    assert finished(network, alice) == [("local", 200)]


def test_bye_says_why(alice: Phone, caller: Caller, talking: IncomingSession) -> None:
    caller.request("BYE", 2, to_tag=talking.local_tag, headers=(("Reason", 'Q.850;cause=16;text="Normal"'),))
    ended = alice.last(Ended)
    assert (ended.by, ended.reason, ended.q850) == ("remote", "Normal", 16)


def test_second_bye_of_ours_does_nothing(network: Network, alice: Phone, talking: IncomingSession) -> None:
    alice.do(talking.bye)
    alice.do(talking.bye)
    alice.do(talking.terminate)
    assert len(network.sent("BYE", ALICE)) == 1


@pytest.mark.parametrize("stage", ["invited", "ringing", "answered", "talking"])
def test_terminate_in_every_state(network: Network, alice: Phone, caller: Caller, stage: str) -> None:
    caller.request("INVITE", 1, body=OFFER)
    session = alice.last(Invited).session
    if stage != "invited":
        alice.do(session.ringing)
    if stage in {"answered", "talking"}:
        alice.do(lambda now: session.accept(ANSWER, now))
    if stage == "talking":
        caller.request("ACK", 1, to_tag=session.local_tag)
    alice.do(lambda now: session.terminate(now, "drained"))
    alice.do(lambda now: session.terminate(now, "drained"))
    assert session.ended
    expected = ("local", 480) if stage in {"invited", "ringing"} else ("local", 200)
    assert finished(network, alice) == [expected]


# --- in the dialog ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/dtmf-relay", "application/DTMF", "application/dtmf; charset=utf-8"])
def test_info_with_a_key(alice: Phone, caller: Caller, talking: IncomingSession, kind: str) -> None:
    caller.request("INFO", 2, to_tag=talking.local_tag, body=b"Signal=5\r\n", content_type=kind)
    assert caller.statuses("INFO") == [200]
    (info,) = alice.of(InfoReceived)
    assert info.content_type == kind.partition(";")[0].lower()
    assert info.body == b"Signal=5\r\n"


def test_info_of_another_type(alice: Phone, caller: Caller, talking: IncomingSession) -> None:
    caller.request("INFO", 2, to_tag=talking.local_tag, body=b"<xml/>", content_type="application/media_control+xml")
    assert caller.statuses("INFO") == [415]
    assert "application/dtmf" in (caller.responses(415)[0].headers.get("Accept") or "")
    caller.request("INFO", 3, to_tag=talking.local_tag, headers=(("Info-Package", "foo"),))
    caller.request("INFO", 4, to_tag=talking.local_tag)
    assert caller.statuses("INFO") == [415, 469, 200]
    assert alice.of(InfoReceived) == []


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("OPTIONS", (), 200),
        ("MESSAGE", (), 405),
        ("FROBNICATE", (), 501),
        ("REFER", (("Refer-To", "<sip:x@y>"),), 202),
        ("NOTIFY", (("Event", "refer"),), 481),
        ("INVITE", (("Require", "100rel, precondition"),), 420),
    ],
)
def test_other_requests_in_the_dialog(
    caller: Caller, talking: IncomingSession, method: str, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    caller.request(method, 2, to_tag=talking.local_tag, headers=headers)
    answer = next(r for r in caller.responses(method=method) if r.cseq.number == 2 and r.status != 100)
    assert answer.status == status
    if status == 420:
        assert answer.headers.get("Unsupported") == "precondition"


# --- outside of dialogs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "status", "header"),
    [
        ("OPTIONS", {}, 200, "Accept"),
        ("BYE", {}, 481, None),
        ("BYE", {"to_tag": "x"}, 481, None),
        ("INFO", {"to_tag": "x"}, 481, None),
        ("UPDATE", {}, 481, None),
        ("NOTIFY", {}, 481, None),
        ("PRACK", {}, 481, None),
        ("MESSAGE", {}, 405, "Allow"),
        ("SUBSCRIBE", {}, 405, "Allow"),
        ("REFER", {}, 403, None),
        ("REGISTER", {}, 405, "Allow"),
        ("FROBNICATE", {}, 501, "Allow"),
        ("INVITE", {"headers": (("Require", "precondition"),)}, 420, "Unsupported"),
        ("INVITE", {"uri": "http://example.com/"}, 416, None),
        ("INVITE", {"headers": (("Contact", ""),)}, 400, None),
        ("INVITE", {"body": b"x", "content_type": "text/plain"}, 415, "Accept"),
        ("INVITE", {"body": b"x", "headers": (("Content-Encoding", "gzip"),)}, 415, "Accept"),
        ("INVITE", {"to_tag": "x"}, 481, None),
    ],
)
def test_refused_outside(
    network: Network, alice: Phone, caller: Caller, method: str, options: dict, status: int, header: str | None
) -> None:
    caller.request(method, 1, **options)
    assert caller.statuses(method) == [status]
    if header is not None:
        assert caller.responses(status)[0].headers.get(header)
    assert caller.responses(status)[0].to.tag
    network.settle()
    assert alice.of(Invited) == []
    assert alice.endpoint.idle


def test_invite_with_an_optional_body_is_taken(alice: Phone, caller: Caller) -> None:
    optional = (("Content-Disposition", "render;handling=optional"),)
    caller.request("INVITE", 1, body=b"x", content_type="text/plain", headers=optional)
    assert alice.last(Invited).session.offer is None


def test_offer_within_multipart(alice: Phone, caller: Caller) -> None:
    body = (
        b"--frontier\r\nContent-Type: application/isup\r\n\r\n\x00\x01\r\n"
        b"--frontier\r\nContent-Disposition: session\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n"
        b"--frontier--\r\n"
    )
    caller.request("INVITE", 1, body=body, content_type='multipart/mixed; boundary="frontier"')
    assert alice.last(Invited).session.offer == b"v=0\r\ns=-\r\n"


def test_drained_endpoint_sends_dispatchers_away(alice: Phone, caller: Caller) -> None:
    alice.endpoint.available = False
    caller.request("OPTIONS", 1)
    assert caller.statuses("OPTIONS") == [503]


def test_max_forwards_of_zero_is_the_proxies_business(alice: Phone, caller: Caller) -> None:
    caller.request("OPTIONS", 1, headers=(("Max-Forwards", "0"),))
    assert caller.statuses("OPTIONS") == [200]  # RFC 4475 3.3.11


def test_flood_is_refused_without_being_remembered(alice: Phone, caller: Caller, monkeypatch) -> None:
    monkeypatch.setattr("engine.sip.incoming.MAX_TRANSACTIONS", 1)
    caller.request("INVITE", 1)
    caller.request("INVITE", 2)
    assert caller.statuses("INVITE") == [100, 503]
    assert len(alice.endpoint._core.servers) == 1


def test_unauthorised_callers_are_rate_limited(network: Network, alice: Phone, caller: Caller) -> None:
    for cseq in range(1, 40):
        caller.request("INVITE", cseq)
        alice.do(lambda now: alice.last(Invited).session.refuse_unauthorised(403, now))
    network.run(0.1)
    refused = {r.cseq.number for r in caller.responses(403)}
    assert set(range(1, 21)) <= refused
    assert len(refused) < 32
    assert alice.endpoint.counters.unauthorised == 39
    assert alice.endpoint.counters.rate_limited == 39 - len(refused)
    assert len(alice.of(Ended)) == 39
    network.settle()
    assert alice.endpoint.idle
