"""INVITEs with Replaces (RFC 3891), and REFERs that ask for one (RFC 5589)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_network import ALICE, ANSWER, BOB, CAROL, Network, Peer, Phone

from engine.sip.events import Ended, Invited, Refused
from engine.sip.replaces import Replaces, refer_target, replaces_in
from engine.sip.session import Session, SessionStateError
from engine.sip.uri import Uri

Answering = Callable[[Phone], Phone]


def meant(session: Session, **changes: str) -> str:
    """The Replaces that means ``session``, seen from the endpoint that it lives in."""
    dialog = session.dialog
    value = Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag)
    parts = {"call_id": value.call_id, "to_tag": value.to_tag, "from_tag": value.from_tag} | changes
    return str(Replaces(**parts))


@pytest.fixture
def carol(network: Network) -> Phone:
    return Phone(network, CAROL, seed=3)


def replace(network: Network, carol: Phone, target: tuple[str, int], value: str) -> Session:
    session: Session = carol.call(target, headers=[("Replaces", value), ("Require", "replaces")])
    network.run(0.2)
    return session


def over(network: Network, *phones: Phone) -> None:
    for phone in phones:
        for session in list(phone.endpoint._core.sessions.values()):
            phone.do(session.terminate)
    network.settle()
    for phone in phones:
        assert phone.endpoint.idle
        assert not phone.endpoint._core.sessions


def test_call_that_is_up(network: Network, alice: Phone, bob: Phone, carol: Phone, answering: Answering) -> None:
    """Attended transfer seen from the one who stays: the new call takes the place of the old one."""
    answering(bob)
    alice.call(BOB)
    network.run(0.2)
    old = bob.last(Invited).session
    assert old.replaces is None
    bob.react = None
    replace(network, carol, BOB, meant(old))
    new = bob.last(Invited).session
    assert new.replaces is old
    bob.do(lambda now: new.accept(ANSWER, now))
    bob.do(new.replaces.terminate)
    network.run(0.2)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 200)]
    assert new.state == "confirmed"
    over(network, alice, bob, carol)


def test_call_of_ours_that_rings(network: Network, alice: Phone, bob: Phone, carol: Phone) -> None:
    """Call pick-up: an early dialog that we have begun may be replaced (section 3)."""
    old = alice.call(BOB)
    network.run(0.1)
    bob.do(bob.last(Invited).session.ringing)
    network.run(0.1)
    replace(network, carol, ALICE, meant(old) + ";early-only")
    assert alice.last(Invited).session.replaces is old
    over(network, alice, bob, carol)


def test_another_fork_may_be_meant(network: Network, alice: Phone, peer: Peer, carol: Phone) -> None:
    old = alice.call(BOB)
    network.run(0.1)
    for tag in ("one", "two"):
        peer.reply(peer.requests("INVITE")[0], 180, tag=tag)
    network.run(0.1)
    replace(network, carol, ALICE, meant(old, from_tag="two"))
    assert alice.last(Invited).session.replaces is old


def test_ringing_call_to_us_may_not_be_replaced(network: Network, alice: Phone, bob: Phone, carol: Phone) -> None:
    alice.call(BOB)
    network.run(0.1)
    old = bob.last(Invited).session
    bob.do(old.ringing)
    replace(network, carol, BOB, meant(old))
    assert [event.status for event in carol.of(Refused)] == [481]
    assert len(bob.of(Invited)) == 1
    over(network, alice, bob, carol)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda value: value + ";early-only", 486),
        (lambda value: value.replace("from-tag=", "from-tag=x"), 481),
        (lambda value: value.replace("to-tag=", "to-tag=x"), 481),
        (lambda value: "x" + value, 481),
        (lambda value: value.partition(";from-tag")[0], 400),
        (lambda value: "", 400),
        (lambda value: ";;;", 400),
        (lambda value: value + ";to-tag=again", 400),
        (lambda value: value.replace("from-tag=", "from-tag=0;x="), 481),
    ],
)
def test_what_is_refused(network, alice, bob, carol, answering, change, status: int) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(0.2)
    replace(network, carol, BOB, change(meant(bob.last(Invited).session)))
    assert [event.status for event in carol.of(Refused)] == [status]
    assert len(bob.of(Invited)) == 1
    assert not bob.last(Invited).session.ended
    over(network, alice, bob, carol)


def test_two_of_them(network, alice, bob, carol, answering: Answering) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(0.2)
    value = meant(bob.last(Invited).session)
    carol.call(BOB, headers=[("Replaces", value), ("Replaces", value)])
    network.run(0.2)
    assert [event.status for event in carol.of(Refused)] == [400]


def test_bye_in_flight(network: Network, alice: Phone, bob: Phone, carol: Phone, answering: Answering) -> None:
    """The call to be replaced is just being hung up: declined (section 3)."""
    answering(bob)
    alice.call(BOB)
    network.run(0.2)
    old = bob.last(Invited).session
    value = meant(old)
    network.delays = lambda packet: [] if packet.target == ALICE else [0.02]
    bob.do(old.bye)
    replace(network, carol, BOB, value)
    assert [event.status for event in carol.of(Refused)] == [603]
    network.run(40)
    network.delays = None
    replace(network, carol, BOB, value)
    assert [event.status for event in carol.of(Refused)] == [603, 481]
    over(network, alice, bob, carol)


def test_replaced_call_ends_while_the_new_one_rings(network, alice, bob, carol, answering: Answering) -> None:
    answering(bob)
    caller = alice.call(BOB)
    network.run(0.2)
    old = bob.last(Invited).session
    bob.react = None
    replace(network, carol, BOB, meant(old))
    alice.do(caller.bye)
    network.run(0.2)
    new = bob.last(Invited).session
    bob.do(lambda now: new.accept(ANSWER, now))
    bob.do(new.replaces.terminate)  # nothing happens
    network.run(0.2)
    assert new.state == "confirmed"
    over(network, alice, bob, carol)


def test_refer_target_names_the_call_as_its_peer_knows_it(network, alice, bob, answering: Answering) -> None:
    answering(bob)
    caller = alice.call(BOB)
    network.run(0.2)
    uri = Uri.parse(refer_target(caller))
    replaces = replaces_in(uri)
    assert replaces is not None
    assert str(replaces) == meant(bob.last(Invited).session)
    assert str(uri.as_request_uri()) == str(caller.remote_target)
    over(network, alice, bob)


def test_refer_target_needs_an_answer(alice: Phone) -> None:
    with pytest.raises(SessionStateError):
        refer_target(alice.call(BOB))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        replaces = Replaces.parse(text)
    except ValueError:
        return
    assert Replaces.parse(str(replaces)) == replaces


@pytest.mark.parametrize("text", ["a;to-tag=1;from-tag=2", "a@h:5060 ; From-Tag=2;to-TAG=1;early-only;x=y"])
def test_spellings(text: str) -> None:
    replaces = Replaces.parse(text)
    assert (replaces.to_tag, replaces.from_tag) == ("1", "2")
