from __future__ import annotations

import pytest
from sip_network import ALICE, ANSWER, BOB, Network, Peer, Phone

from engine.sip.client import OutgoingSession
from engine.sip.digest import Challenger, Credentials
from engine.sip.events import Ended, ReferProgress, ReferRefused
from engine.sip.message import Request
from engine.sip.refer import LONGEST, PATIENCE
from engine.sip.session import SessionStateError

TARGET = "sip:carol@192.0.2.3"


@pytest.fixture
def session(network: Network, alice: Phone, peer: Peer) -> OutgoingSession:
    session = alice.call(BOB, credentials=Credentials("alice", "secret"))
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 200, body=ANSWER)
    network.run(0.1)
    return session


def refer(network: Network, alice: Phone, peer: Peer, session: OutgoingSession, target: str = TARGET) -> Request:
    alice.do(lambda now: session.refer(target, now))
    network.run(0.1)
    return peer.requests("REFER")[-1]


class Notifier:
    def __init__(self, peer: Peer, session: OutgoingSession) -> None:
        self.peer = peer
        self.session = session
        self.cseq = 0

    def __call__(
        self, status: str, state: str = "active;expires=60", event: str = "refer", content: bytes | None = None
    ) -> int:
        """Send a NOTIFY; the status it got."""
        self.cseq += 1
        notify = self.session.dialog.request("NOTIFY", self.cseq)
        notify.headers.set("From", str(self.session.dialog.remote))
        notify.headers.set("To", str(self.session.dialog.local))
        notify.headers.insert_first("Via", f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKn{self.cseq}")
        notify.headers.add("Event", event)
        notify.headers.add("Subscription-State", state)
        notify.headers.add("Content-Type", "message/sipfrag;version=2.0")
        notify.body = content if content is not None else f"SIP/2.0 {status}\r\n".encode()
        self.peer.send(ALICE, notify)
        self.peer.network.run(0.1)
        return self.peer.responses(method="NOTIFY")[-1].status


@pytest.fixture
def notify(peer: Peer, session: OutgoingSession) -> Notifier:
    return Notifier(peer, session)


def finish(network: Network, alice: Phone, peer: Peer, session: OutgoingSession) -> None:
    alice.do(session.bye)
    network.run(0.1)
    for bye in peer.requests("BYE"):
        peer.reply(bye, 200)
    network.settle()
    assert len(alice.of(Ended)) == 1
    assert alice.seen[-1] == alice.of(Ended)[0]
    assert alice.endpoint.idle


def test_transfer_that_works(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    asked = refer(network, alice, peer, session)
    assert asked.headers.get("Refer-To") == f"<{TARGET}>"
    assert asked.headers.get("Referred-By") == "<sip:alice@192.0.2.1>"
    assert len(asked.contacts) == 1
    peer.reply(asked, 202)
    assert notify("100 Trying") == 200
    assert notify("180 Ringing") == 200
    assert notify("200 OK", "terminated;reason=noresource") == 200
    assert alice.of(ReferProgress) == [
        ReferProgress(session, 100, "Trying", final=False),
        ReferProgress(session, 180, "Ringing", final=False),
        ReferProgress(session, 200, "OK", final=True),
    ]
    finish(network, alice, peer, session)


def test_transfer_that_fails(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    notify("100 Trying")
    notify("486 Busy Here", "terminated;reason=noresource")
    assert alice.last(ReferProgress) == ReferProgress(session, 486, "Busy Here", final=True)
    assert not session.ended
    finish(network, alice, peer, session)


def test_notify_before_the_202(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    asked = refer(network, alice, peer, session)
    notify("100 Trying")
    notify("200 OK", "terminated;reason=noresource")
    peer.reply(asked, 202)
    network.run(0.1)
    assert [(e.status, e.final) for e in alice.of(ReferProgress)] == [(100, False), (200, True)]
    network.run(PATIENCE + LONGEST)
    assert len(alice.of(ReferProgress)) == 2
    finish(network, alice, peer, session)


def test_refused_refer(network: Network, alice: Phone, peer: Peer, session: OutgoingSession) -> None:
    peer.reply(refer(network, alice, peer, session), 603)
    network.run(0.1)
    assert alice.of(ReferRefused) == [ReferRefused(session, 603, "Decline")]
    network.run(PATIENCE + 1)
    assert alice.of(ReferProgress) == []
    finish(network, alice, peer, session)


def test_challenged_refer(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    asked = refer(network, alice, peer, session)
    challenge = Challenger("example.com", b"key").challenges(network.now)[0]
    peer.reply(asked, 401, headers=(("WWW-Authenticate", challenge),))
    network.run(0.1)
    again = peer.requests("REFER")[1]
    assert again.headers.get("Refer-To") == f"<{TARGET}>"
    peer.reply(again, 202)
    # The subscription is known by the CSeq of the REFER that was accepted (RFC 3515 2.4.6).
    assert notify("200 OK", event=f"refer;id={asked.cseq.number}") == 481
    assert notify("200 OK", event=f"refer;id={again.cseq.number}") == 200
    assert alice.of(ReferProgress) == [ReferProgress(session, 200, "OK", final=True)]


def test_peer_that_makes_no_subscription(network: Network, alice: Phone, peer: Peer, session) -> None:
    peer.reply(refer(network, alice, peer, session), 202, headers=(("Refer-Sub", "false"),))
    network.run(0.1)
    assert alice.of(ReferProgress) == [ReferProgress(session, 202, "Accepted", final=True)]
    finish(network, alice, peer, session)


def test_peer_that_never_tells(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    notify("100 Trying", "active;expires=30")
    network.run(29)
    assert len(alice.of(ReferProgress)) == 1
    network.run(2)
    last = alice.last(ReferProgress)
    assert (last.status, last.final) == (100, True)
    finish(network, alice, peer, session)


def test_subscription_is_bounded_whatever_the_peer_says(network, alice, peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    notify("180 Ringing", "active;expires=999999999")
    network.run(LONGEST)
    assert alice.last(ReferProgress).final


def test_subscription_that_ends_without_a_word(network, alice, peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    notify("", "terminated;reason=giveup", content=b"")
    assert alice.of(ReferProgress) == [ReferProgress(session, 0, "", final=True)]


def test_only_one_decision(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    notify("200 OK")
    assert notify("487 Request Terminated", "terminated") == 200
    assert notify("200 OK") == 481
    assert [(e.status, e.final) for e in alice.of(ReferProgress)] == [(200, True)]


@pytest.mark.parametrize(
    ("event", "status"), [("presence", 489), ("refer;id=9999", 481), ("REFER", 200), ("refer ;id=2", 200)]
)
def test_event_header(network, alice, peer, session, notify: Notifier, event: str, status: int) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    assert notify("180 Ringing", event=event) == status


@pytest.mark.parametrize("content", [b"", b"garbage", b"SIP/2.0 999 X", b"SIP/2.0 20", b"\xff\xfe", b"SIP/2.0 100"])
def test_strange_sipfrag(network, alice, peer, session, notify: Notifier, content: bytes) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    assert notify("", content=content) == 200
    assert all(event.status in {0, 100} for event in alice.of(ReferProgress))


def test_caller_leaves_after_the_202_and_notifies_later(network, alice, peer, session, notify: Notifier) -> None:
    """Phones hang up as soon as they call the target: their NOTIFYs are still welcome (RFC 6665 4.4.1)."""
    peer.reply(refer(network, alice, peer, session), 202)
    notify("100 Trying")
    bye = session.dialog.request("BYE", 50)
    bye.headers.set("From", str(session.dialog.remote))
    bye.headers.set("To", str(session.dialog.local))
    bye.headers.insert_first("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKbye")
    peer.send(ALICE, bye)
    network.run(0.1)
    assert alice.last(Ended).by == "remote"
    notify.cseq = 50
    assert notify("200 OK", "terminated") == 200
    assert alice.seen[-1] == alice.last(Ended)  # nothing follows it
    network.settle()
    assert alice.endpoint.idle


def test_subscription_outlives_the_call_for_a_time_only(network, alice, peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    finish(network, alice, peer, session)


def test_dialog_lost_by_refer(network: Network, alice: Phone, peer: Peer, session: OutgoingSession) -> None:
    peer.reply(refer(network, alice, peer, session), 481)
    network.run(0.1)
    assert alice.of(ReferRefused) == [ReferRefused(session, 481, "Call/Transaction Does Not Exist")]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 481)]


def test_second_transfer(network: Network, alice: Phone, peer: Peer, session, notify: Notifier) -> None:
    peer.reply(refer(network, alice, peer, session), 202)
    with pytest.raises(SessionStateError):
        session.refer(TARGET, network.now)
    notify("486 Busy Here")  # decided, but the subscription is still there
    peer.reply(refer(network, alice, peer, session, "tel:+3912345"), 202)
    notify("200 OK", "terminated")
    assert [(e.status, e.final) for e in alice.of(ReferProgress)] == [(486, True), (200, True)]
    assert peer.requests("REFER")[1].headers.get("Refer-To") == "<tel:+3912345>"
    finish(network, alice, peer, session)


def test_target_must_be_a_uri(session: OutgoingSession, network: Network) -> None:
    for target in ("1000", "sip:a@b>\r\nX: y", ""):
        with pytest.raises(ValueError, match="URI"):
            session.refer(target, network.now)
