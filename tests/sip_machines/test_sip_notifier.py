"""Watching calls: SUBSCRIBE and NOTIFY for the dialog package (RFC 6665, 4235)."""

from __future__ import annotations

from itertools import count
from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_network import ALICE, BOB, CAROL, Network, Packet, Peer, Phone

from engine.sip.dialog_info import DialogInfo, write_dialog_info
from engine.sip.digest import Credentials, DigestClient
from engine.sip.events import SubscriptionChanged
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.notifier import MOST_DIALOGS, NotifierLimits
from engine.sip.parser import parse
from engine.sip.subscription import event_id

branches = count(1)
NAMESPACE = "{urn:ietf:params:xml:ns:dialog-info}"
LIMITS = NotifierLimits(most=6, most_of_one=4)


class Watcher:
    """A phone with lamps, by hand."""

    def __init__(self, network: Network, switch: Phone, host: tuple[str, int] = BOB, name: str = "desk") -> None:
        self.network = network
        self.switch = switch
        self.peer = Peer(network, host)
        self.peer.react = self.react
        self.name = name
        self.digest = DigestClient(Credentials(name, "one"), Random(3))
        self.call_id = f"w{next(branches)}"
        self.cseq = 0
        self.to_tag = ""
        self.answer = 200
        self.notified: dict[int, Request] = {}

    def react(self, message: object) -> None:
        if isinstance(message, Request) and message.method == "NOTIFY":
            if message.cseq.number not in self.notified:
                self.notified[message.cseq.number] = message
            if self.answer:
                self.peer.reply(message, self.answer)

    def send(
        self, entity: str = "100", *headers: tuple[str, str], method: str = "SUBSCRIBE", event: str = "dialog",
        contact: bool = True,
    ) -> int:  # fmt: skip
        self.cseq += 1
        host, port = self.peer.host
        fields = Headers()
        fields.add("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{next(branches)}")
        fields.add("From", f"<sip:{self.name}@ivrea>;tag=w")
        fields.add("To", f"<sip:{entity}@ivrea>" + (f";tag={self.to_tag}" if self.to_tag else ""))
        fields.add("Call-ID", self.call_id)
        fields.add("CSeq", f"{self.cseq} {method}")
        if contact:
            fields.add("Contact", f"<sip:{self.name}@{host}:{port}>")
        if event:
            fields.add("Event", event)
        for name, value in headers:
            fields.add(name, value)
        self.request = Request(method, f"sip:{entity}@ivrea", fields)
        self.digest.authorize(self.request)
        self.peer.send(ALICE, self.request)
        self.network.run(0.1)
        mine = [
            r for r in self.peer.responses(method=method) if r.cseq.number == self.cseq and r.call_id == self.call_id
        ]
        self.last: Response | None = mine[-1] if mine else None
        return self.last.status if self.last is not None else 0

    def watch(self, entity: str = "100", *headers: tuple[str, str], **options: object) -> int:
        status = self.send(entity, *headers, **options)  # type: ignore[arg-type]
        if status == 401 and self.last is not None and self.digest.challenged(self.last, self.request):
            status = self.send(entity, *headers, **options)  # type: ignore[arg-type]
        if status == 200 and self.last is not None:
            self.to_tag = self.last.to.tag
        return status

    def lamps(self) -> list[list[tuple[str, str]]]:
        """What each NOTIFY said: the id and state of each call."""
        return [
            [(each.get("id") or "", each.findtext(f"{NAMESPACE}state") or "") for each in self.document(notify)]
            for notify in self.notified.values()
        ]

    @staticmethod
    def document(notify: Request) -> ET.Element:
        return ET.fromstring(notify.body)

    def states(self) -> list[str]:
        return [(notify.headers.get("Subscription-State") or "") for notify in self.notified.values()]


@pytest.fixture
def switch(network: Network) -> Phone:
    return Phone(network, ALICE, devices={"desk": "one", "door": "one"}, notifier=LIMITS)


@pytest.fixture
def watcher(network: Network, switch: Phone) -> Watcher:
    return Watcher(network, switch)


def publish(switch: Phone, entity: str, state: str, **options: str) -> None:
    switch.do(lambda now: switch.endpoint.notifier.publish(entity, state, now, **options))
    switch.network.run(0.1)


def over(network: Network, switch: Phone) -> None:
    switch.do(switch.endpoint.notifier.close)
    network.settle()
    assert switch.endpoint.idle
    assert len(switch.endpoint.notifier) == 0
    assert not switch.endpoint.notifier._watchers
    begun = [event.active for event in switch.of(SubscriptionChanged)]
    assert begun.count(True) == begun.count(False)


def test_a_lamp(network: Network, switch: Phone, watcher: Watcher) -> None:
    assert watcher.watch("100", ("Expires", "600")) == 200
    assert watcher.last is not None
    assert (watcher.last.headers.get("Expires"), watcher.last.contacts != ()) == ("600", True)
    assert switch.of(SubscriptionChanged) == [SubscriptionChanged("100", "desk", active=True)]
    assert watcher.lamps() == [[]]
    publish(switch, "100", "early", remote="sip:0123@x")
    publish(switch, "100", "confirmed", remote="sip:0123@x")
    publish(switch, "200", "confirmed")  # somebody else's
    publish(switch, "100", "terminated")
    publish(switch, "100", "terminated")  # no news
    assert watcher.lamps() == [[], [("1", "early")], [("1", "confirmed")], [("1", "terminated")]]
    assert watcher.states()[0] == "active;expires=600"
    notify = list(watcher.notified.values())[1]
    assert (notify.headers.get("Event"), notify.content_type) == ("dialog", "application/dialog-info+xml")
    root = watcher.document(notify)
    assert (root.get("entity"), root.get("state"), root.get("version")) == ("sip:100@ivrea", "full", "1")
    assert root.findtext(f"{NAMESPACE}dialog/{NAMESPACE}remote/{NAMESPACE}identity") == "sip:0123@x"
    over(network, switch)
    assert watcher.states()[-1] == "terminated;reason=deactivated"


def test_state_is_told_at_once_to_who_comes_later(network: Network, switch: Phone, watcher: Watcher) -> None:
    publish(switch, "100", "early", dialog="a")
    publish(switch, "100", "confirmed", dialog="b")
    watcher.watch()
    assert watcher.lamps() == [[("a", "early"), ("b", "confirmed")]]
    publish(switch, "100", "terminated", dialog="a")
    assert watcher.lamps()[-1] == [("b", "confirmed"), ("a", "terminated")]
    over(network, switch)


def test_expiry(network: Network, switch: Phone, watcher: Watcher) -> None:
    watcher.watch("100", ("Expires", "100"))
    network.run(90)
    assert watcher.watch("100", ("Expires", "100")) == 200  # renewed, without being asked for a password again
    assert len(switch.endpoint.notifier) == 1
    assert len(watcher.notified) == 2
    network.run(99)
    assert len(switch.endpoint.notifier) == 1
    network.run(2)
    assert watcher.states()[-1] == "terminated;reason=timeout"
    assert len(switch.endpoint.notifier) == 0
    assert watcher.watch("100", ("Expires", "100")) == 481
    over(network, switch)


def test_unsubscribing(network: Network, switch: Phone, watcher: Watcher) -> None:
    watcher.watch()
    assert watcher.watch("100", ("Expires", "0")) == 200
    assert watcher.states()[-1] == "terminated;reason=timeout"
    assert len(switch.endpoint.notifier) == 0
    over(network, switch)


def test_only_asking(network: Network, switch: Phone, watcher: Watcher) -> None:
    """Expires: 0 in the first SUBSCRIBE fetches the state (RFC 6665 4.4.3)."""
    publish(switch, "100", "confirmed")
    assert watcher.watch("100", ("Expires", "0")) == 200
    assert watcher.lamps() == [[("1", "confirmed")]]
    assert watcher.states() == ["terminated;reason=timeout"]
    over(network, switch)


@pytest.mark.parametrize(
    ("headers", "options", "status", "header"),
    [
        ((), {"event": "presence"}, 489, ("Allow-Events", "dialog")),
        ((), {"event": ""}, 489, ("Allow-Events", "dialog")),
        ((("Expires", "30"),), {}, 423, ("Min-Expires", "60")),
        ((("Accept", "application/pidf+xml"),), {}, 406, ("Accept", "application/dialog-info+xml")),
        ((("Accept", "text/plain, application/dialog-info+xml;q=0.5"),), {}, 200, None),
        ((("Accept", "*/*"),), {}, 200, None),
        ((), {"contact": False}, 400, None),
        ((), {"event": "Dialog;id=7"}, 200, None),
        ((("Expires", "99999999"),), {}, 200, ("Expires", "3600")),
        ((("Require", "eventlist"),), {}, 420, ("Unsupported", "eventlist")),
    ],
)
def test_what_may_be_asked(network, switch, watcher, headers, options, status: int, header) -> None:
    assert watcher.watch("100", *headers, **options) == status
    assert watcher.last is not None
    if header is not None:
        assert watcher.last.headers.get(header[0]) == header[1]
    assert len(switch.endpoint.notifier) == (status == 200)
    over(network, switch)


def test_event_id_is_repeated(network: Network, switch: Phone, watcher: Watcher) -> None:
    watcher.watch(event="dialog;id=a7")
    assert next(iter(watcher.notified.values())).headers.get("Event") == "dialog;id=a7"
    over(network, switch)


@pytest.mark.parametrize(("name", "password"), [("desk", "wrong"), ("nobody", "x")])
def test_strangers(network: Network, switch: Phone, name: str, password: str) -> None:
    stranger = Watcher(network, switch, CAROL, name)
    stranger.digest = DigestClient(Credentials(name, password), Random(3))
    assert stranger.watch() == 403
    statuses = [stranger.send() for _ in range(60)]
    assert statuses.count(0) >= 30  # silence, like for REGISTER
    assert switch.of(SubscriptionChanged) == []
    assert switch.endpoint.idle


def test_nobody_watches_a_switch_without_devices(network: Network, alice: Phone) -> None:
    assert Watcher(network, alice).send() == 405


def test_subscriptions_are_bounded(network: Network, switch: Phone) -> None:
    def fill(name: str, host: tuple[str, int]) -> list[int]:
        statuses = []
        for number in range(LIMITS.most):
            watcher = Watcher(network, switch, host, name)
            statuses.append(watcher.watch(str(number)))
        return statuses

    assert fill("desk", BOB) == [200] * 4 + [503] * 2
    assert fill("door", CAROL) == [200] * 2 + [503] * 4
    assert len(switch.endpoint.notifier) == LIMITS.most
    switch.do(switch.endpoint.notifier.close)
    network.run(40)
    assert len(switch.endpoint.notifier) == 0
    over(network, switch)


def test_calls_of_one_entity_are_bounded(switch: Phone) -> None:
    for number in range(MOST_DIALOGS * 2):
        switch.endpoint.notifier.publish("100", "confirmed", 0.0, dialog=str(number))
    assert len(switch.endpoint.notifier.state(("", "100"))) == MOST_DIALOGS
    for number in range(MOST_DIALOGS * 2):
        switch.endpoint.notifier.publish("100", "terminated", 0.0, dialog=str(number))
    assert not switch.endpoint.notifier._dialogs


def test_entities_that_something_is_known_of_are_bounded(switch: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sip.notifier.MOST_ENTITIES", 3)
    for entity in ("1", "2", "3", "1", "4"):
        switch.endpoint.notifier.publish(entity, "confirmed", 0.0)
    assert [entity for _, entity in switch.endpoint.notifier._dialogs] == ["3", "1", "4"]


def test_a_device_sees_the_entities_of_its_own_group(network: Network, switch: Phone, watcher: Watcher) -> None:
    switch.endpoint.notifier.group_of = lambda device: {"desk": "ours", "door": "theirs"}[device]
    assert watcher.watch("100", ("Expires", "600")) == 200
    publish(switch, "100", "early", group="theirs")
    assert watcher.lamps() == [[]]
    publish(switch, "100", "confirmed", group="ours")
    assert watcher.lamps() == [[], [("1", "confirmed")]]
    over(network, switch)


@pytest.mark.parametrize("answer", [481, 0, 404, 503])
def test_watcher_that_is_gone(network: Network, switch: Phone, watcher: Watcher, answer: int) -> None:
    watcher.watch()
    watcher.answer = answer
    publish(switch, "100", "early")
    network.run(33)
    assert len(switch.endpoint.notifier) == 0
    over(network, switch)


def test_slow_watcher_hears_the_latest(network: Network, switch: Phone, watcher: Watcher) -> None:
    watcher.watch()
    watcher.answer = 0
    for state in ("early", "confirmed"):
        publish(switch, "100", state)
    for dialog in ("x", "y"):
        publish(switch, "100", "early", dialog=dialog)
        publish(switch, "100", "terminated", dialog=dialog)
    assert len(watcher.notified) == 2
    watcher.answer = 200
    network.run(1)  # it is repeated
    assert watcher.lamps()[2:] == [[("1", "confirmed"), ("x", "terminated"), ("y", "terminated")]]
    over(network, switch)


def test_what_else_comes_in_the_dialog(network: Network, switch: Phone, watcher: Watcher) -> None:
    watcher.watch()
    assert watcher.send(method="BYE") == 405
    assert watcher.send(event="presence") == 489
    assert watcher.send("100", ("Expires", "5")) == 423
    watcher.cseq -= 3
    assert watcher.send() == 500
    watcher.to_tag = "none"
    assert watcher.send() == 481
    assert len(switch.endpoint.notifier) == 1
    over(network, switch)


def test_watcher_that_moves(network: Network, switch: Phone, watcher: Watcher) -> None:
    """A refresh with another Contact: NOTIFYs go there from now on (RFC 3261 12.2.2)."""
    watcher.watch()
    there = Watcher(network, switch, CAROL)
    there.call_id, there.to_tag, there.cseq, there.digest = watcher.call_id, watcher.to_tag, 50, watcher.digest
    assert there.send() == 200
    publish(switch, "100", "early")
    assert len(watcher.notified) == 1
    assert len(there.notified) == 2
    over(network, switch)


def test_connection_of_a_watcher(network: Network, switch: Phone, watcher: Watcher) -> None:
    def over_tcp(connection: int) -> Response:
        flow = Flow("tcp", ALICE, (BOB[0], 40_000), connection)
        switch.endpoint.receive_message(watcher.request, flow, network.now)
        sent = [(way, parse(data)) for way, data in switch.endpoint.outgoing()]
        ways.append(sent[-1][0])
        assert isinstance(sent[0][1], Response)
        return sent[0][1]

    ways: list[Flow] = []
    watcher.send()
    assert watcher.last is not None
    watcher.digest.challenged(watcher.last, watcher.request)
    watcher.request.headers.set("CSeq", "7 SUBSCRIBE")
    watcher.request.headers.set("Via", "SIP/2.0/TCP 192.0.2.2:40000;branch=z9hG4bKtcp")
    watcher.digest.authorize(watcher.request)
    assert over_tcp(5).status == 200
    assert ways == [Flow("tcp", ALICE, (BOB[0], 40_000), 5)]
    assert switch.endpoint.needs(ways[0])
    switch.endpoint.connection_lost(ways[0], network.now)
    assert not switch.endpoint.needs(ways[0])
    network.run(40)
    assert len(switch.endpoint.notifier) == 0  # its NOTIFY was lost with the connection


@pytest.mark.parametrize("seed", range(8))
def test_bad_weather(network: Network, switch: Phone, watcher: Watcher, seed: int) -> None:
    random = Random(seed)

    def weather(packet: Packet) -> list[float]:
        return [0.02 + random.random() for _ in range(random.choice([1, 1, 2])) if random.random() > 0.2]

    watcher.watch()
    network.delays = weather
    for state in ("early", "confirmed", "early", "terminated", "confirmed"):
        publish(switch, "100", state)
        network.run(random.random() * 3)
    network.run(33)
    if len(switch.endpoint.notifier):
        assert watcher.lamps()[-1] == [("1", "confirmed")]
    versions = [int(watcher.document(notify).get("version") or -1) for notify in watcher.notified.values()]
    assert versions == sorted(versions)  # none overtakes another
    network.delays = None
    over(network, switch)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_document_is_well_formed_whatever_is_in_it(entity: str, number: str, remote: str) -> None:
    document = write_dialog_info(entity, 0, [DialogInfo(number, "early", "initiator", remote)])
    root = ET.fromstring(document)
    assert root[0].findtext(f"{NAMESPACE}state") == "early"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=60))
def test_event_id_is_harmless(text: str) -> None:
    request = Request("SUBSCRIBE", "sip:a", Headers())
    request.headers.add("Event", text)
    found = event_id(request)
    assert found == "" or (found.isalnum() and found.isascii())
