"""A scripted endpoint, messages, and sockets to talk to a transport with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.message import Malformed, Request, Response
from engine.transport import SipTransport, TcpLimits


def options(call_id: str = "x", *, transport: str = "UDP", body: bytes = b"") -> bytes:
    return (
        f"OPTIONS sip:ivrea.example SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1;rport;branch=z9hG4bK{call_id}\r\n"
        f"From: <sip:c@d>;tag=1\r\nTo: <sip:ivrea.example>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@dataclass
class NoCounters:
    received: int = 0


class FakeEndpoint:
    """Records what it is told; says what the test puts into it."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, Flow]] = []
        self.lost: list[Flow] = []
        self.fired: list[float] = []
        self.to_send: list[tuple[Flow, bytes]] = []
        self.to_tell: list[Any] = []
        self.wake_at: float | None = None
        self.counters = NoCounters()
        self.quiet = True
        self.needs: Callable[[Flow], bool] = lambda _flow: False
        self.on_receive: Callable[[Any, Flow], None] = lambda _message, _flow: None

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        self.heard.append((data, flow))
        self.on_receive(data, flow)

    def receive_message(self, message: Request | Response | Malformed, flow: Flow, now: float) -> None:
        self.heard.append((message, flow))
        self.on_receive(message, flow)

    def connection_lost(self, flow: Flow, now: float) -> None:
        self.lost.append(flow)

    def handle_timers(self, now: float) -> None:
        self.fired.append(now)
        self.wake_at = None

    def deadline(self) -> float | None:
        return self.wake_at

    def outgoing(self) -> list[tuple[Flow, bytes]]:
        sent, self.to_send = self.to_send, []
        return sent

    def events(self) -> list[Any]:
        told, self.to_tell = self.to_tell, []
        return told


class Rig:
    """A transport over a fake endpoint (or a real one), and the events that came out."""

    def __init__(self, *, real: bool = False, limits: TcpLimits | None = None, **settings: Any) -> None:
        self.fake = FakeEndpoint()
        self.events: list[Any] = []
        self.handle: Callable[[Any], None] = self.events.append

        def make(contact_host: Any) -> Endpoint:
            if real:
                return Endpoint(random=Random(1), contact_host=contact_host)
            return cast("Endpoint", self.fake)

        self.transport = SipTransport(make, on_event=self._handle, limits=limits, **settings)

    def _handle(self, event: Any) -> None:
        self.handle(event)

    async def listen(self, *addresses: str) -> None:
        await self.transport.listen(addresses)

    @property
    def port(self) -> int:
        return self.transport.addresses[0].port

    def send(self, flow: Flow, data: bytes) -> None:
        self.fake.to_send.append((flow, data))
        self.transport.pump()

    def counts(self) -> dict[str, int]:
        return dict(self.transport.counts())


class UdpPeer(asyncio.DatagramProtocol):
    """A UDP socket of somebody else."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> UdpPeer:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_datagram_endpoint(cls, local_addr=(host, 0))
        return peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.received.put_nowait((data, addr[:2]))

    @property
    def address(self) -> tuple[str, int]:
        assert self.transport is not None
        return cast("tuple[str, int]", self.transport.get_extra_info("sockname")[:2])

    def send(self, data: bytes, host: str, port: int) -> None:
        assert self.transport is not None
        self.transport.sendto(data, (host, port))

    async def next(self) -> tuple[bytes, tuple[str, int]]:
        return await asyncio.wait_for(self.received.get(), 2.0)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


async def until(condition: Callable[[], bool], patience: float = 2.0) -> None:
    """Wait for something that other tasks of this loop bring about."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 (any condition, whoever changes it)
            await asyncio.sleep(0.005)
