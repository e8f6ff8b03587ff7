"""A network in virtual time: endpoints and scripted peers, latency, loss, reordering, duplicates."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, TypeVar

from engine.sip.endpoint import Endpoint
from engine.sip.events import Event, Invited
from engine.sip.flow import Flow
from engine.sip.guard import GuardLimits
from engine.sip.message import Malformed, Request, Response
from engine.sip.parser import is_keep_alive, parse
from engine.sip.uri import Address

Host = tuple[str, int]
E = TypeVar("E")

ALICE: Host = ("192.0.2.1", 5060)
BOB: Host = ("192.0.2.2", 5060)
CAROL: Host = ("192.0.2.3", 5060)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
ANSWER = b"v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\n"


@dataclass(frozen=True)
class Packet:
    at: float
    source: Host
    target: Host
    data: bytes
    transport: str = "udp"
    connection: int = 0

    @property
    def line(self) -> str:
        return self.data.partition(b"\r\n")[0].decode()

    @property
    def kind(self) -> str:
        """``INVITE``, ``200 INVITE``: the method, with the status before it in a response; ``""`` for a keep-alive."""
        if is_keep_alive(self.data):
            return ""
        message = parse(self.data)
        return message.method if isinstance(message, Request) else f"{message.status} {message.cseq.method}"

    @property
    def message(self) -> Request | Response:
        return parse(self.data)


Delays = Callable[[Packet], list[float]]
"""Delays with which a packet arrives: none if it is lost, two if it is duplicated."""


class Network:
    def __init__(self, latency: float = 0.02) -> None:
        self.now = 1000.0
        self.latency = latency
        self.delays: Delays | None = None
        self.trace: list[Packet] = []
        self._flying: list[tuple[float, int, Packet]] = []
        self._serial = count()
        self._nodes: dict[Host, Phone | Peer] = {}

    def attach(self, host: Host, node: Phone | Peer) -> None:
        self._nodes[host] = node

    def send(self, flow: Flow, data: bytes) -> None:
        packet = Packet(self.now, flow.local, flow.remote, data, flow.transport, flow.connection)
        self.trace.append(packet)
        for delay in [self.latency] if self.delays is None else self.delays(packet):
            heapq.heappush(self._flying, (self.now + delay, next(self._serial), packet))

    def run(self, seconds: float) -> None:
        """Let time pass; every packet and timer of it happens in order."""
        end = self.now + seconds
        while True:
            due = self._next()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self._step()
        self.now = end

    def settle(self, limit: float = 600.0) -> float:
        """Run until nothing flies and no timer is set; the time that took."""
        start = self.now
        while (due := self._next()) is not None:
            assert due - start < limit, f"still busy after {limit} s: {self.trace[-1]}"
            self.now = max(self.now, due)
            self._step()
        return self.now - start

    def _next(self) -> float | None:
        times = [deadline for node in self._nodes.values() if (deadline := node.deadline()) is not None]
        if self._flying:
            times.append(self._flying[0][0])
        return min(times, default=None)

    def _step(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            packet = heapq.heappop(self._flying)[2]
            node = self._nodes.get(packet.target)
            if node is not None:
                flow = Flow(packet.transport, packet.target, packet.source, packet.connection)
                node.receive(packet.data, flow, self.now)
        for node in list(self._nodes.values()):
            deadline = node.deadline()
            if deadline is not None and deadline <= self.now:
                node.handle_timers(self.now)

    def kinds(self, source: Host | None = None) -> list[str]:
        """What was sent, by everybody or one."""
        return [packet.kind for packet in self.trace if source is None or packet.source == source]

    def sent(self, kind: str, source: Host | None = None) -> list[Packet]:
        return [p for p in self.trace if (source is None or p.source == source) and p.kind == kind]


class Phone:
    """An endpoint on the network; ``react`` is called with each event."""

    def __init__(
        self, network: Network, host: Host, seed: int = 1, guard: GuardLimits | None = None, **options: Any
    ) -> None:
        self.network = network
        self.host = host
        self.seen: list[Event] = []
        self.react: Callable[[Any], None] | None = None
        self.admits = True
        """Whether callers hear 100."""
        self.endpoint = Endpoint(
            random=Random(seed), contact_host=lambda flow: flow.local, user_agent="Ivrea test", guard=guard, **options
        )
        network.attach(host, self)

    @property
    def now(self) -> float:
        return self.network.now

    def flow(self, target: Host, transport: str = "udp", connection: int = 0) -> Flow:
        return Flow(transport, self.host, target, connection)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        if flow.transport == "udp":
            self.endpoint.receive(data, flow, now)
        else:
            self.endpoint.receive_message(parse(data), flow, now)
        self.flush()

    def deadline(self) -> float | None:
        return self.endpoint.deadline()

    def handle_timers(self, now: float) -> None:
        self.endpoint.handle_timers(now)
        self.flush()

    def flush(self) -> None:
        while True:
            for flow, data in self.endpoint.outgoing():
                self.network.send(flow, data)
            events = self.endpoint.events()
            if not events:
                return
            for event in events:
                self.seen.append(event)
                if isinstance(event, Invited) and self.admits:
                    event.session.trying(self.now)
                if self.react is not None:
                    self.react(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.seen if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.of(kind)[-1]

    def call(self, target: Host, sdp: bytes | None = OFFER, **options: Any) -> Any:
        session = self.endpoint.invite(
            f"sip:bob@{target[0]}:{target[1]}",
            from_=Address.parse(f"<sip:alice@{self.host[0]}>"),
            to=Address.parse(f"<sip:bob@{target[0]}>"),
            sdp=sdp,
            flow=options.pop("flow", self.flow(target)),
            now=self.now,
            **options,
        )
        self.flush()
        return session

    def do(self, action: Callable[[float], Any]) -> Any:
        """Call something that takes the time, and send what comes of it."""
        result = action(self.now)
        self.flush()
        return result


class Peer:
    """A scripted peer: keeps what it gets, sends what it is told."""

    def __init__(self, network: Network, host: Host) -> None:
        self.network = network
        self.host = host
        self.inbox: list[Request | Response] = []
        self.unreadable: list[bytes] = []
        self.react: Callable[[Request | Response], None] | None = None
        network.attach(host, self)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        try:
            message = parse(data)
        except Malformed:
            self.unreadable.append(data)  # an answer to something malformed repeats what was
            return
        self.inbox.append(message)
        if self.react is not None:
            self.react(message)

    def deadline(self) -> float | None:
        return None

    def handle_timers(self, now: float) -> None: ...

    def send(self, target: Host, message: Request | Response | bytes) -> None:
        data = message if isinstance(message, bytes) else message.encode()
        self.network.send(Flow("udp", self.host, target), data)

    def reply(
        self, request: Request, status: int, *, tag: str = "peer", headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"", target: Host = ALICE, contact: str | None = None,
    ) -> Response:  # fmt: skip
        response = request.response(status, to_tag=tag)
        response.headers.add("Contact", contact or f"<sip:peer@{self.host[0]}:{self.host[1]}>")
        for name, value in headers:
            response.headers.add(name, value)
        if body:
            response.headers.add("Content-Type", "application/sdp")
            response.body = body
        self.send(target, response)
        return response

    def requests(self, method: str) -> list[Request]:
        return [m for m in self.inbox if isinstance(m, Request) and m.method == method]

    def responses(self, status: int | None = None, method: str | None = None) -> list[Response]:
        return [
            m
            for m in self.inbox
            if isinstance(m, Response)
            and (status is None or m.status == status)
            and (method is None or m.cseq.method == method)
        ]
