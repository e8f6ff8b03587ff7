"""The TCP side: framing, reuse of connections, limits, ends."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Self

import pytest
from transport_kit import Rig, options, until

from engine.sip.flow import Flow
from engine.sip.message import Malformed, Request
from engine.transport import TcpLimits, streams

pytestmark = pytest.mark.both_loops

Make = Callable[..., Rig]
FAST = TcpLimits(first_message=0.15, partial=0.15, idle=0.15, sweep=0.02, linger=0.1, connect=1.0)


async def connect(one: Rig, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", one.port, local_addr=(host, 0))


async def gone(reader: asyncio.StreamReader) -> bool:
    """Whether the other end closes the connection, without having sent a thing."""
    try:
        return await asyncio.wait_for(reader.read(), 2.0) == b""
    except ConnectionError:
        return True


def call_ids(one: Rig) -> list[str]:
    return [message.call_id for message, _ in one.fake.heard if isinstance(message, Request)]


class Server:
    """Somebody else's TCP listener."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.received = bytearray()
        self.address = ("", 0)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while data := await reader.read(65536):
            self.received += data

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.close()


# --- in ---------------------------------------------------------------------------------


async def test_request_and_answer(rig: Make) -> None:
    one = rig(real=True)
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    data = options("one", transport="TCP", body=b"abc") + options("two", transport="TCP")
    for index in range(0, len(data), 7):
        writer.write(data[index : index + 7])
        await writer.drain()
        await asyncio.sleep(0)
    text = b""
    while text.count(b"SIP/2.0 200") < 2:
        text += await asyncio.wait_for(reader.read(65536), 2.0)
    assert text.index(b"Call-ID: one") < text.index(b"Call-ID: two")
    writer.close()


async def test_flows_name_the_connection(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    writers = [(await connect(one))[1] for _ in range(2)]
    for index, writer in enumerate(writers):
        writer.write(options(str(index), transport="TCP"))
    await until(lambda: len(one.fake.heard) == 2)
    flows = {message.call_id: flow for message, flow in one.fake.heard}
    for index, writer in enumerate(writers):
        flow = flows[str(index)]
        assert flow[:3] == ("tcp", ("127.0.0.1", one.port), writer.get_extra_info("sockname"))
        assert one.transport.contact_host(flow) == ("127.0.0.1", one.port)
        writer.close()
    assert flows["0"].connection != flows["1"].connection
    await until(lambda: set(one.fake.lost) == set(flows.values()))


async def test_keep_alive_is_answered(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 2.0) == b"\r\n"
    writer.write(b"\r\n\r\n" * 50)
    assert await asyncio.wait_for(reader.readexactly(2), 2.0) == b"\r\n"
    assert one.fake.heard == []
    assert one.counts()["tcp_keep_alives"] == 2
    writer.close()


async def test_lost_framing_is_answered_and_closed(rig: Make) -> None:
    one = rig(real=True)
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    writer.write(options("x", transport="TCP").replace(b"Content-Length: 0", b"Content-Length: -1"))
    text = await asyncio.wait_for(reader.read(), 2.0)
    assert text.startswith(b"SIP/2.0 400 ")
    assert one.counts()["tcp_broken"] == 1
    writer.close()


async def test_malformed_but_framed_goes_on(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    _, writer = await connect(one)
    writer.write(options("bad id", transport="TCP") + options("good", transport="TCP"))
    await until(lambda: len(one.fake.heard) == 2)
    assert isinstance(one.fake.heard[0][0], Malformed)
    assert call_ids(one) == ["good"]
    writer.close()


# --- limits -----------------------------------------------------------------------------


async def test_who_does_not_speak_goes(rig: Make) -> None:
    one = rig(limits=FAST)
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    assert await gone(reader)
    assert one.counts()["tcp_timed_out"] == 1
    writer.close()


async def test_keep_alives_are_no_speech(rig: Make) -> None:
    one = rig(limits=TcpLimits(first_message=0.15, sweep=0.02))
    await one.listen("tcp:127.0.0.1:0")
    _, writer = await connect(one)
    for _ in range(20):
        if one.counts()["tcp_timed_out"]:
            break
        writer.write(b"\r\n\r\n")
        await asyncio.sleep(0.03)
    assert one.counts()["tcp_timed_out"] == 1
    writer.close()


async def test_a_message_must_come_to_its_end(rig: Make) -> None:
    one = rig(limits=TcpLimits(partial=0.15, sweep=0.02))
    await one.listen("tcp:127.0.0.1:0")
    _, writer = await connect(one)
    data = options("x", transport="TCP")
    writer.write(data)
    await until(lambda: call_ids(one) == ["x"])
    for index in range(30):  # a byte now and then does not help
        if one.counts()["tcp_timed_out"]:
            break
        writer.write(data[index : index + 1])
        await asyncio.sleep(0.02)
    assert one.counts()["tcp_timed_out"] == 1
    writer.close()


async def test_idle_connections_end(rig: Make) -> None:
    one = rig(limits=TcpLimits(idle=0.15, sweep=0.02))
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    writer.write(options("x", transport="TCP"))
    assert await gone(reader)
    writer.close()


async def test_limits_of_connections(rig: Make) -> None:
    one = rig(limits=TcpLimits(connections=3, per_source=2))
    one.fake.needs = lambda _flow: True
    await one.listen("tcp:127.0.0.1:0")
    kept = [await connect(one) for _ in range(2)]
    await until(lambda: one.counts()["tcp_accepted"] == 2)
    third, writer = await connect(one)
    assert await gone(third)
    writer.close()
    kept.append(await connect(one, "127.0.0.2"))
    await until(lambda: one.counts()["tcp_accepted"] == 3)
    fourth, writer = await connect(one, "127.0.0.3")
    assert await gone(fourth)
    writer.close()
    assert one.counts()["tcp_refused"] == 2
    kept.pop(0)[1].close()  # makes room
    await until(lambda: len(one.transport.streams.connections) == 2)
    kept.append(await connect(one))
    await until(lambda: one.counts()["tcp_accepted"] == 4)
    for _, writer in kept:
        writer.close()
    await until(lambda: not one.transport.streams.connections)
    assert not one.transport.streams.per_source


async def test_room_is_made_of_who_is_silent_longest_and_not_needed(rig: Make) -> None:
    one = rig(limits=TcpLimits(connections=3))
    await one.listen("tcp:127.0.0.1:0")
    peers = []
    for index in range(3):
        peers.append(await connect(one))
        peers[index][1].write(options(str(index), transport="TCP"))
        await until(lambda index=index: len(one.fake.heard) == index + 1)
    needed = one.fake.heard[0][1]
    one.fake.needs = lambda flow: flow == needed
    peers[1][1].write(options("again", transport="TCP"))
    await until(lambda: len(one.fake.heard) == 4)
    peers.append(await connect(one))
    assert await gone(peers[2][0])
    peers += [await connect(one) for _ in range(2)]  # each finds room, the connection that is needed stays
    assert await gone(peers[1][0])
    assert await gone(peers[3][0])
    counts = one.counts()
    assert (counts["tcp_evicted"], counts["tcp_refused"], counts["tcp_accepted"]) == (3, 0, 6)
    assert needed.connection in one.transport.streams.connections
    assert len(one.transport.streams.connections) == 3
    one.fake.needs = lambda _flow: True
    last, writer = await connect(one)
    assert await gone(last)
    assert one.counts()["tcp_refused"] == 1
    for _, each in [*peers, (last, writer)]:
        each.close()


async def test_one_subscriber_of_ipv6_has_no_more_connections_than_another(
    rig: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "subscriber", lambda _host: "2001:db8::")
    one = rig(limits=TcpLimits(per_source=2))
    await one.listen("tcp:127.0.0.1:0")
    peers = [await connect(one, f"127.0.0.{index + 1}") for index in range(3)]
    assert await gone(peers[2][0])
    for _, writer in peers:
        writer.close()
    await until(lambda: not one.transport.streams.connections)
    assert not one.transport.streams.per_source


async def test_a_peer_that_does_not_read_is_cut_off(rig: Make) -> None:
    one = rig(limits=TcpLimits(write_buffer=10_000))
    await one.listen("tcp:127.0.0.1:0")
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer, ("127.0.0.1", one.port))
        await loop.sock_sendall(peer, options("x", transport="TCP"))
        await until(lambda: len(one.fake.heard) == 1)
        flow = one.fake.heard[0][1]
        for _ in range(2000):
            one.send(flow, bytes(10_000))
            if one.counts()["tcp_choked"]:
                break
        assert one.counts()["tcp_choked"] == 1
        await until(lambda: flow in one.fake.lost)


async def test_one_connection_does_not_hold_up_the_others(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    ticks: list[int] = []
    loop = asyncio.get_running_loop()

    def tick() -> None:
        ticks.append(len(one.fake.heard))
        loop.call_soon(tick)

    _, writer = await connect(one)
    await until(lambda: one.counts()["tcp_accepted"] == 1)
    ticking = loop.call_soon(tick)
    flood = b"".join(options(str(index), transport="TCP") for index in range(1000))
    writer.write(flood)
    await until(lambda: len(one.fake.heard) == 1000)
    ticking.cancel()
    assert max(after - before for before, after in itertools.pairwise(ticks)) <= 80  # two slices between turns
    assert call_ids(one) == [str(index) for index in range(1000)]
    writer.write(options("after", transport="TCP"))  # it is read from again
    await until(lambda: len(one.fake.heard) == 1001)
    writer.write(flood)
    writer.close()  # what was sent before the end still counts
    await until(lambda: len(one.fake.heard) == 2001)


async def test_a_connection_that_ends_in_the_middle_of_its_turns(rig: Make) -> None:
    one = rig(limits=TcpLimits(sweep=0.02))
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    one.fake.on_receive = lambda _message, _flow: next(iter(one.transport.streams.connections.values())).abort()
    writer.write(b"".join(options(str(index), transport="TCP") for index in range(1000)))
    assert await gone(reader)
    await until(lambda: not one.transport.streams.connections)
    await asyncio.sleep(0.02)
    assert len(one.fake.heard) < 128  # the slice it came in, and the one that was queued behind it
    writer.close()


# --- out --------------------------------------------------------------------------------


async def test_connects_on_demand_and_keeps_the_connection(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    async with Server() as server:
        flow = Flow("tcp", ("127.0.0.1", 0), server.address)
        for text in (b"1", b"2", b"3"):
            one.send(flow, text)
        await until(lambda: server.received == b"123")
        one.send(flow, b"4")
        one.send(Flow("tcp", ("127.0.0.1", 0), ("localhost", server.address[1])), b"5")
        await until(lambda: server.received == b"12345")
        assert len(server.writers) == 1
        server.writers[0].write(options("answer", transport="TCP"))
        await until(lambda: call_ids(one) == ["answer"])
        answered_on = one.fake.heard[0][1]
        assert answered_on.remote == server.address
        assert answered_on.connection > 0
        assert one.transport.contact_host(answered_on) == ("127.0.0.1", one.port)
    # Whoever waits for an answer hears of the end, on whatever flow it was sent.
    await until(lambda: {answered_on, flow} <= set(one.fake.lost))


async def test_uses_the_connection_that_the_peer_has_opened(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    reader, writer = await connect(one)
    await until(lambda: one.counts()["tcp_accepted"] == 1)
    one.send(Flow("tcp", ("127.0.0.1", 0), writer.get_extra_info("sockname")), b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), 2.0) == b"hello"
    assert one.counts()["tcp_connected"] == 0
    writer.close()


async def test_nobody_there(rig: Make) -> None:
    one = rig()
    await one.listen("tcp:127.0.0.1:0")
    async with Server() as server:
        address = server.address
    flow = Flow("tcp", ("127.0.0.1", 0), address)
    one.send(flow, b"x")
    one.send(flow, b"y")
    await until(lambda: one.fake.lost == [flow])
    assert one.counts()["tcp_connect_failures"] == 1
    assert not one.transport.streams.connecting


async def test_a_name_that_does_not_resolve(rig: Make) -> None:
    one = rig()
    flow = Flow("tcp", ("", 0), ("nobody.invalid", 5060))
    one.send(flow, b"x")
    await until(lambda: one.fake.lost == [flow])


async def test_a_second_try_after_a_lost_connection_connects_anew(rig: Make) -> None:
    one = rig()
    async with Server() as server:
        flow = Flow("tcp", ("127.0.0.1", 0), server.address)
        one.send(flow, b"1")
        await until(lambda: server.received == b"1")
        server.writers[0].close()
        await until(lambda: flow in one.fake.lost)
        one.send(flow, b"2")
        await until(lambda: server.received == b"12")
        assert len(server.writers) == 2


async def test_closing_says_the_last_words(rig: Make) -> None:
    one = rig()
    async with Server() as server:
        flow = Flow("tcp", ("127.0.0.1", 0), server.address)
        one.send(flow, b"1")
        await until(lambda: server.received == b"1")
        one.send(flow, b"x" * 100_000)
        await one.transport.close()
        await until(lambda: len(server.received) == 100_001)
        assert not one.transport.streams.connections


async def test_closing_does_not_wait_for_a_connect(rig: Make) -> None:
    one = rig()
    one.send(Flow("tcp", ("", 0), ("192.0.2.1", 5060)), b"x")
    await asyncio.sleep(0.01)
    await asyncio.wait_for(one.transport.close(), 2.0)


@pytest.mark.parametrize("seed", range(3))
async def test_noise_breaks_one_connection_only(rig: Make, seed: int) -> None:
    one = rig(real=True)
    await one.listen("tcp:127.0.0.1:0")
    noisy, noise = await connect(one)
    reader, writer = await connect(one)
    noise.write(bytes((index * (seed + 3)) % 256 for index in range(2000)) + b"\r\n\r\n")
    assert await gone(noisy)
    writer.write(options("fine", transport="TCP"))
    assert (await asyncio.wait_for(reader.read(100), 2.0)).startswith(b"SIP/2.0 200")
    noise.close()
    writer.close()
