"""Random schedules of everything that SIP does in the life of a call, on networks of any kind, in virtual time.

:func:`run` draws a schedule from a seed and carries it out: two switches that call each other, one that registers with
the other, a telephone with a lamp. Whatever is lost, late, doubled or overtaken, both sides come to an end of
everything, exactly once, and nothing is left. The same seed is the same schedule to the last packet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Packet, Peer, Phone

from engine.sip.digest import Credentials, DigestClient
from engine.sip.events import (
    Answered,
    Ended,
    Event,
    Invited,
    Progressed,
    ReferProgress,
    ReferRefused,
    ReferRequested,
    RegistrationChanged,
    ReofferAnswered,
    Reoffered,
    SubscriptionChanged,
)
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.registration import Registration, RegistrationConfig
from engine.sip.replaces import Replaces
from engine.sip.server import IncomingSession
from engine.sip.session import Session
from engine.sip.session_timer import SessionTimers
from engine.sip.uri import Address, Uri

DEVICE, PASSWORD = "desk", "one"
T1, T2, GIVE_UP = 0.5, 4.0, 32.0
LONGEST = 4000.0
"""Seconds after the last deed within which everything must be over: a registration that could not be taken back, and
a subscription, last an hour."""

DEEDS = (
    *("call", "call", "accept", "ring", "progress", "reject", "bye", "terminate"),
    *("reinvite", "reinvite", "offerless", "update", "update", "info", "refer", "refer", "replace", "replace"),
    *("watch", "unwatch", "publish", "register"),
)
"""What may be done; some more often than others."""
METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "PRACK", "INFO", "REFER", "NOTIFY", "REGISTER", "SUBSCRIBE")


@dataclass(slots=True)
class Weather:
    """What the network does to packets: drawn anew now and then, with hours in which one side hears nothing."""

    random: Random
    loss: float = 0.0
    doubled: float = 0.0
    jitter: float = 0.0
    """Seconds; 40 lets packets come when every timer of 32 s has fired."""
    astray: float = 0.0
    """How many take 33 to 100 s."""
    deaf: tuple[int, ...] = ()
    """Hosts, by the last number of their address, that hear nothing."""

    def turn(self) -> None:
        choose = self.random.choice
        self.loss = choose((0.0, 0.0, 0.05, 0.05, 0.2, 0.2, 0.5, 0.9))
        self.doubled = choose((0.0, 0.2, 0.5))
        self.jitter = choose((0.0, 0.0, 0.05, 0.3, 3.0, 40.0))
        self.astray = choose((0.0, 0.0, 0.0, 0.05))
        self.deaf = choose(((), (), (), (), (1,), (2,), (1, 2)))

    def delays(self, packet: Packet) -> list[float]:
        random = self.random
        found = []
        for _ in range(2 if random.random() < self.doubled else 1):
            if int(packet.target[0].rpartition(".")[2]) in self.deaf or random.random() < self.loss:
                continue
            late = random.uniform(33.0, 100.0) if random.random() < self.astray else 0.0
            found.append(0.02 + random.random() * self.jitter + late)
        return found


class Lamp(Peer):
    """A telephone that watches a line, as RFC 3261 17.1.2 has it: repeats, answers a challenge, gives up."""

    def __init__(self, network: Network, random: Random) -> None:
        super().__init__(network, CAROL)
        self.random = random
        self.digest = DigestClient(Credentials(DEVICE, PASSWORD), random)
        self.serial = 0
        self.to_tag = ""
        self.call_id = ""
        self.pending: tuple[Request, float, float, float] | None = None
        """The request, when it is repeated, after how long, and when it is given up."""
        self.challenged = 0
        self.react = self._react

    def subscribe(self, seconds: int) -> None:
        """Watch the line, go on watching it, or for 0 s no longer."""
        if self.pending is not None:
            return
        if not self.to_tag:
            self.call_id = f"lamp{self.serial}"
        self.challenged = 0
        self._send(seconds)

    def _send(self, seconds: int) -> None:
        self.serial += 1
        headers = Headers()
        host, port = self.host
        headers.add("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKlamp{self.serial}")
        headers.add("From", f"<sip:{DEVICE}@ivrea>;tag=lamp")
        headers.add("To", "<sip:line@ivrea>" + (f";tag={self.to_tag}" if self.to_tag else ""))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{self.serial} SUBSCRIBE")
        headers.add("Contact", f"<sip:{DEVICE}@{host}:{port}>")
        headers.add("Event", "dialog")
        headers.add("Expires", str(seconds))
        request = Request("SUBSCRIBE", "sip:line@ivrea", headers)
        self.digest.authorize(request)
        self.pending = (request, self.network.now + T1, T1, self.network.now + GIVE_UP)
        self.send(ALICE, request)

    def _react(self, message: Request | Response) -> None:
        if isinstance(message, Request):
            if message.method == "NOTIFY":
                known = self.to_tag == message.from_.tag or not self.to_tag
                self.reply(message, 200 if known else 481)
            return
        pending = self.pending
        if pending is None or message.cseq.number != self.serial or message.status < 200:
            return
        self.pending = None
        request = pending[0]
        if message.status == 401 and self.challenged < 3 and self.digest.challenged(message, request):
            self.challenged += 1
            self._send(request.expires or 0)
        elif message.status == 200:
            self.to_tag = message.to.tag if request.expires else ""
        else:
            self.to_tag = ""

    def deadline(self) -> float | None:
        return min(self.pending[1], self.pending[3]) if self.pending is not None else None

    def handle_timers(self, now: float) -> None:
        if self.pending is None:
            return
        request, _, after, over = self.pending
        if now >= over:
            self.pending, self.to_tag = None, ""
        else:
            after = min(after * 2, T2)
            self.pending = (request, now + after, after, over)
            self.send(ALICE, request)


@dataclass(slots=True)
class Told:
    """What a schedule came to, for the sums of many."""

    packets: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    events: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    """Of virtual time."""

    def add(self, other: Told) -> None:
        self.packets += other.packets
        self.lost += other.lost
        self.events += other.events
        self.seconds += other.seconds


class World:
    """Two switches, a registration, a lamp, and the weather."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.network = Network()
        self.weather = Weather(Random(seed + 1))
        self.lost = 0
        self.network.delays = self._delays
        timers = SessionTimers(expires=random.choice((0, 90, 1800)))
        self.alice = Phone(self.network, ALICE, seed=seed + 2, devices={DEVICE: PASSWORD}, session_timers=timers)
        self.bob = Phone(self.network, BOB, seed=seed + 3, session_timers=SessionTimers(expires=0))
        self.lamp = Lamp(self.network, Random(seed + 4))
        self.phones = (self.alice, self.bob)
        self.registration: Registration | None = None
        self.closing = False
        self.seen_before = 0
        self.answers = random.random() < 0.7
        """Whether who is called takes calls without being told to."""
        self.calls: dict[Phone, list[Session]] = {self.alice: [], self.bob: []}
        self.referrals: Counter[Session] = Counter()
        for phone in self.phones:
            phone.react = self._reacting(phone)

    def _delays(self, packet: Packet) -> list[float]:
        found = self.weather.delays(packet)
        self.lost += not found
        return found

    def later(self, phone: Phone, what: Callable[[float], object], least: float = 0.0) -> None:
        """Something that takes a phone's owner a moment, or a minute; nobody waits for it in the end."""
        delay = least + self.random.choice((0.0, 0.0, 0.5, 5.0, 40.0)) * self.random.random()
        phone.endpoint._core.queue.at(phone.now + delay, lambda now: what(now) and None)

    def _reacting(self, phone: Phone) -> Callable[[Event], None]:
        def react(event: Event) -> None:
            match event:
                case Invited(session=session):
                    self.calls[phone].append(session)
                    if self.closing:
                        session.reject(480, phone.now)
                    elif self.answers:
                        self._take(phone, session)
                case Reoffered(session=session):
                    if self.random.random() < 0.8:
                        self.later(phone, lambda now: session.answer_reoffer(ANSWER, now))
                    else:
                        self.later(phone, lambda now: session.reject_reoffer(488, now))
                case Answered(session=session) if session.owes_ack:
                    self.later(phone, lambda now: session.acknowledge(ANSWER, now))
                case ReofferAnswered(session=session, sdp=sdp) if sdp is not None:
                    session.acknowledge(ANSWER, phone.now)
                case Progressed(session=session, offered=True, tag=tag):
                    self.later(phone, lambda now: session.answer_progress(ANSWER, now, tag))
                case ReferRequested(referral=referral):
                    for status in self.random.choice(((200,), (180, 200), (180, 486), ())):
                        self.later(phone, lambda now, status=status: referral.notify(status, now))  # type: ignore[misc]

        return react

    def _take(self, phone: Phone, session: IncomingSession) -> None:
        """Ring, perhaps with early media, and answer; who is replaced is let go."""

        def answer(now: float) -> None:
            session.accept(ANSWER, now)
            if session.replaces is not None:
                session.replaces.terminate(now)

        ring = self.random.choice((None, session.ringing, lambda now: session.progress(now, ANSWER)))
        if ring is not None:
            self.later(phone, ring)
        self.later(phone, answer, least=0.1)

    # --- deeds ------------------------------------------------------------------------------

    def do(self, phone: Phone, what: str) -> None:
        """Do what the word says, if it is possible now."""
        other = self.bob if phone is self.alice else self.alice
        match what:
            case "call":
                self._call(phone, other, [])
            case "replace" if phone is self.bob:  # Alice's calls are taken over by somebody at Bob's
                up = [each for each in self.calls[self.alice] if each.has_dialog]
                if up:
                    dialog = self.random.choice(up).dialog
                    value = str(Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag))
                    self._call(phone, other, [("Replaces", value)])
            case "watch" | "unwatch":
                self.lamp.subscribe(600 if what == "watch" else 0)
            case "publish":
                state = self.random.choice(("early", "confirmed", "terminated"))
                self.alice.do(lambda now: self.alice.endpoint.notifier.publish("line", state, now))
            case "register":
                if self.registration is None:
                    self.bob.do(self._register)
                else:
                    self.bob.do(self.registration.refresh)
            case _:
                for session in self.calls[phone]:
                    if self.random.random() < 0.7:
                        self._deed(phone, session, what)

    def _deed(self, phone: Phone, session: Session, what: str) -> None:
        if what == "refer" and session.state in {"answered", "confirmed"} and not session.transferring:
            self.referrals[session] += 1
        phone.do(deed(session, what))
        if what == "accept" and session.role == "uas" and session.replaces is not None:  # type: ignore[attr-defined]
            phone.do(session.replaces.terminate)  # type: ignore[attr-defined]

    def _call(self, phone: Phone, other: Phone, headers: list[tuple[str, str]]) -> None:
        if self.random.random() < 0.3:
            headers = [*headers, ("Require", "100rel")]
        self.calls[phone].append(phone.call(other.host, self.random.choice((OFFER, OFFER, None)), headers=headers))

    def _register(self, now: float) -> None:
        host, port = ALICE
        self.registration = self.bob.endpoint.register(
            RegistrationConfig(
                name="trunk",
                registrar=Uri.parse(f"sip:{host}:{port}"),
                aor=Address.parse(f"<sip:{DEVICE}@{host}>"),
                flow=self.bob.flow(ALICE),
                credentials=Credentials(DEVICE, PASSWORD),
                expires=self.random.choice((60, 300, 3600)),
            ),
            now,
        )

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Hang everything up, and see that nothing goes on."""
        self.closing = True
        self.seen_before = len(self.bob.seen)
        self.alice.do(self.alice.endpoint.notifier.close)
        self.lamp.subscribe(0)
        if self.registration is not None:
            self.bob.do(self.registration.remove)
        for phone in self.phones:
            for session in self.calls[phone]:
                phone.do(session.terminate)
        self.network.settle(LONGEST)

    def judge(self) -> None:
        """Nothing is left, and everything has ended once."""
        assert len(self.alice.endpoint.notifier) == 0
        for phone in self.phones:
            assert phone.endpoint.idle, (phone.host, phone.endpoint.held())
            assert not phone.endpoint._reception._merging
            for session in self.calls[phone]:
                mine = [event for event in phone.seen if getattr(event, "session", None) is session]
                assert session.state == "ended", session
                assert [type(event) for event in mine].count(Ended) == 1, mine
                assert isinstance(mine[-1], Ended), mine  # nothing follows it
                decided = sum(isinstance(e, ReferRefused) or (isinstance(e, ReferProgress) and e.final) for e in mine)
                assert 0 <= self.referrals[session] - decided <= 1, mine  # the end of the call decides the last one
            known = {id(session) for session in self.calls[phone]}
            assert all(id(event.session) in known for event in phone.of(Ended))
        changes = [event.active for event in self.alice.of(SubscriptionChanged)]
        assert changes.count(True) == changes.count(False)
        removed = [event for event in self.bob.seen[self.seen_before :] if isinstance(event, RegistrationChanged)]
        assert [(event.registered, event.retry_at) for event in removed] == [(False, None)] * bool(self.registration)


def deed(session: Session, what: str) -> Callable[[float], object]:
    """What ``what`` means for a session in its present state; nothing if it cannot be done."""
    answered = session.state in {"answered", "confirmed"}
    if what == "reinvite" and answered:
        return lambda now: session.reinvite(OFFER, now)
    if what == "update" and session.can_update:
        return lambda now: session.update(OFFER, now)
    if what == "offerless" and answered:
        return lambda now: session.reinvite(None, now)
    if what == "info" and session.has_dialog:
        return lambda now: session.info("application/dtmf", b"1", now)
    if what == "refer" and answered and not session.transferring:
        return lambda now: session.refer("sip:carol@192.0.2.3", now)
    if what in {"bye", "terminate"}:
        return getattr(session, what)  # type: ignore[no-any-return]
    if session.role == "uas" and what in {"accept", "reject", "ring", "progress"}:
        return {
            "accept": lambda now: session.accept(ANSWER, now),
            "reject": lambda now: session.reject(486, now),
            "ring": session.ringing,
            "progress": lambda now: session.progress(now, ANSWER),
        }[what]
    if session.role == "uac" and what == "accept":
        return lambda now: session.answer_progress(ANSWER, now) or session.acknowledge(ANSWER, now)
    return lambda now: None


def run(seed: int) -> Told:
    """Carry out the schedule of ``seed``. Raises AssertionError when something is left or has ended twice."""
    world = World(seed)
    random = world.random
    began = world.network.now
    for _ in range(random.randint(1, 25)):
        if random.random() < 0.15:
            world.weather.turn()
        world.network.run(random.choice((0.0, 0.01, 0.1, 1.0, 5.0, 5.0, 40.0)) * random.random())
        world.do(random.choice(world.phones), random.choice(DEEDS))
    world.network.run(random.choice((0.0, 1.0, 100.0)))
    world.close()
    world.judge()
    told = Told(lost=world.lost, seconds=world.network.now - began)
    told.packets.update(packet.kind.rpartition(" ")[2] or "keep-alive" for packet in world.network.trace)
    for phone in world.phones:
        told.events.update(type(event).__name__ for event in phone.seen)
    return told
