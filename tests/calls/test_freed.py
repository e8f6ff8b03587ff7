"""What a call leaves behind when it is over: nothing for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from switch_kit import CALLER, HERE, Exchange

from engine.calls.channels import Channels
from engine.calls.media import Stream
from engine.calls.outbound import Wish
from engine.calls.peer import Destination, Peer
from engine.calls.plans import CallPlan, Limits
from engine.captures.media import MediaCaptures
from engine.sip import events
from engine.sip.client import OutgoingSession
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.parser import parse
from engine.sip.uri import Address, Uri
from engine.transport.tap import Tap
from flows.dialects.messagebird import compile_messagebird
from flows.executor import Settings
from media import commands, ipc, reports


class Worker:
    """Opens and closes streams as a media worker does, at once."""

    numbers = itertools.count(1)

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.opened: list[weakref.ref[Stream]] = []

    def admit(self) -> Worker:
        return self

    async def open(self, bind: str, on_report: Any, on_lost: Any) -> Stream:
        stream = Stream(cast("Any", self), next(self.numbers), on_report, on_lost)
        self.streams[stream.number] = stream
        self.opened.append(weakref.ref(stream))
        stream.take(reports.Opened(stream.number, 40000))
        return stream

    def send(self, command: ipc.Message) -> None:
        if isinstance(command, commands.Drop):
            self.streams.pop(command.stream).take(reports.Closed(command.stream, reports.StreamStats()))


async def no_sound(*_: object) -> Path:
    raise AssertionError("nothing is said")


def a_plan() -> CallPlan:
    graph = compile_messagebird({"title": "t", "steps": [{"action": "hangup"}]}).graph
    return CallPlan("f", graph, {}, Settings(), cast("Any", no_sound), Path("/nowhere"))


LIMITS = Limits(60.0, 20.0, 1.0, "127.0.0.1", "127.0.0.1", ("PCMU",))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_calls_that_are_over_are_freed_at_once() -> None:
    worker = Worker()
    outside = SimpleNamespace(
        legs=Channels(), tap=Tap(), captures=MediaCaptures(Path("/nowhere")), recording_url=nowhere
    )
    exchange = Exchange(worker, plan=a_plan(), limits=LIMITS, outside=outside)
    for _ in range(3):
        exchange.call()
        (call,) = exchange.switch.calls.values()
        parts: list[weakref.ref[Any]] = [weakref.ref(part) for part in (call, call.call, call.peers, call.leg)]
        task = next(iter(exchange.switch._tasks))
        del call
        await task
        del task
        assert [part for part in (*parts, *worker.opened) if part() is not None] == []
    assert exchange.switch.counters.ended == {"flow": 3}
    assert len(worker.opened) == 3


FLOW = Flow("udp", HERE, CALLER)
BODY = b"v=0\r\no=- 1 1 IN IP4 198.51.100.5\r\ns=-\r\nc=IN IP4 198.51.100.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def nowhere(call: str, recording: str) -> str:
    return ""


class Callees:
    """How calls reach others: one who is called answers with ``statuses``."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = statuses
        self.legs = Channels()
        self.tap = Tap()
        self.captures = MediaCaptures(Path("/nowhere"))
        self.recording_url = nowhere
        self.exchange: Exchange | None = None
        self.rung: list[weakref.ref[Any]] = []
        self._owners: dict[int, Peer] = {}
        self._destination = Destination(
            "2000", Uri.parse("sip:2000@198.51.100.5"), FLOW, Address.parse("<sip:1@i>"), Address.parse("<sip:2000@i>")
        )

    def routes(self, account: str) -> Any:
        return SimpleNamespace(find=lambda *_: [[self._destination]], allowance=None)

    async def located(self, destination: Destination) -> list[Destination]:
        return [destination]

    def media_hosts(self, flow: Flow) -> tuple[str, str]:
        return "127.0.0.1", "127.0.0.1"

    def channel(self, destination: Destination) -> None:
        return None

    def lamp(self, device: str, session: OutgoingSession, state: str, remote: str) -> None:
        pass

    def own(self, session: int, peer: Peer) -> None:
        self._owners[session] = peer

    def release(self, session: int) -> None:
        del self._owners[session]

    def invite(self, destination: Destination, body: bytes, peer: Peer) -> OutgoingSession:
        assert self.exchange is not None
        session = self.exchange.endpoint.invite(
            destination.uri, from_=destination.caller, to=destination.to, sdp=body, flow=FLOW, now=0.0
        )
        self.own(session.id, peer)
        self.rung += [weakref.ref(part) for part in (session, peer.leg, peer.changed)]
        asyncio.get_running_loop().call_soon(self._answer)
        return session

    def _answer(self) -> None:
        assert self.exchange is not None
        (invite,) = [each for each in map(parse, self._sent()) if isinstance(each, Request)]
        for status in self.statuses:
            response = invite.response(status, to_tag="t")
            response.headers.add("Contact", "<sip:2000@198.51.100.5>")
            response.headers.add("Content-Type", "application/sdp")
            response.body = BODY
            self.exchange.endpoint.receive_message(response, FLOW, 0.0)
            self.hand_over()

    def _sent(self) -> list[bytes]:
        assert self.exchange is not None
        return [data for _, data in self.exchange.endpoint.outgoing()]

    def hang_up(self) -> None:
        """Answer to the BYE, if there is one, and let all timers of the call pass."""
        assert self.exchange is not None
        for request in map(parse, self._sent()):
            if isinstance(request, Request) and request.method == "BYE":
                self.exchange.endpoint.receive_message(request.response(200), FLOW, 0.0)
        self.hand_over()
        self.exchange.endpoint.handle_timers(40.0)

    def hand_over(self) -> None:
        assert self.exchange is not None
        for event in self.exchange.endpoint.events():
            assert isinstance(event, events.SessionEvent)
            if (peer := self._owners.get(event.session.id)) is None:
                self.exchange.switch.take(event)
                continue
            if isinstance(event, events.Ended):
                del self._owners[event.session.id]
            peer.take(event)


@pytest.mark.parametrize(("statuses", "end"), [((180, 200), "flow"), ((180, 486), "caller")])
@pytest.mark.usefixtures("no_collector")
async def test_calls_that_went_out_and_are_over_are_freed_at_once(statuses: tuple[int, ...], end: str) -> None:
    worker, callees = Worker(), Callees(*statuses)
    callees.exchange = exchange = Exchange(worker, limits=LIMITS, outside=callees)
    for _ in range(2):
        call = exchange.switch.originate(Wish("2000"), a_plan())
        parts: list[weakref.ref[Any]] = [weakref.ref(part) for part in (call, call.call, call.peers)]
        task = next(iter(exchange.switch._tasks))
        del call
        await task
        del task
        callees.hand_over()
        callees.hang_up()
        assert exchange.endpoint.idle
        assert [part() for part in (*parts, *worker.opened, *callees.rung) if part() is not None] == []
    assert exchange.switch.counters.ended == {end: 2}
    assert len(worker.opened) == 2
