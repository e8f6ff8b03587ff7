"""The UDP side and the pump, over loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from itertools import pairwise

import pytest
from transport_kit import Rig, UdpPeer, options, until

from engine.sip.flow import Flow
from engine.sip.parser import parse
from engine.transport import TransportError, udp

pytestmark = pytest.mark.both_loops

Make = Callable[..., Rig]


async def test_request_and_answer(rig: Make, peer: UdpPeer) -> None:
    one = rig(real=True)
    await one.listen("udp:127.0.0.1:0")
    peer.send(options(), "127.0.0.1", one.port)
    data, source = await peer.next()
    response = parse(data)
    assert data.startswith(b"SIP/2.0 200")
    assert source == ("127.0.0.1", one.port)
    assert (response.via.received, response.via.rport) == peer.address
    assert one.counts()["received"] == 1


async def test_a_wildcard_answers_from_the_address_that_was_asked(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:0.0.0.0:0")
    one.fake.on_receive = lambda _data, flow: one.fake.to_send.append((flow, b"answer"))
    for host in ("127.0.0.1", "127.0.0.7"):
        peer.send(b"question", host, one.port)
        assert await peer.next() == (b"answer", (host, one.port))
        flow = one.fake.heard[-1][1]
        assert flow == Flow("udp", (host, one.port), peer.address)
        assert one.transport.contact_host(flow) == (host, one.port)


async def test_ipv6(rig: Make) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    one = rig()
    try:
        await one.listen("udp:[::]:0", "udp:[::1]:0")
    except TransportError:
        pytest.skip("no IPv6 loopback")
    peer = await UdpPeer.open("::1")
    one.fake.on_receive = lambda _data, flow: one.fake.to_send.append((flow, b"answer"))
    for address in one.transport.addresses:
        peer.send(b"question", "::1", address.port)
        assert await peer.next() == (b"answer", ("::1", address.port))
        assert one.fake.heard[-1][1] == Flow("udp", ("::1", address.port), peer.address)
    peer.close()


async def test_a_wildcard_is_never_told_to_anybody(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:0.0.0.0:0")
    for remote in (peer.address, ("nobody.invalid", 5060), ("203.0.113.1", 5060)):
        host, port = one.transport.contact_host(Flow("udp", ("0.0.0.0", 0), remote))
        assert host not in ("0.0.0.0", "")
        assert port == one.port
    assert one.transport.local_host(Flow("udp", ("", 0), peer.address)) == "127.0.0.1"


async def test_advertise(rig: Make) -> None:
    named = rig(advertise=("sip.example.com", 0))
    await named.listen("udp:127.0.0.1:0")
    flow = Flow("udp", ("127.0.0.1", named.port), ("192.0.2.1", 5060))
    assert named.transport.contact_host(flow) == ("sip.example.com", named.port)
    assert named.transport.local_host(flow) == "127.0.0.1"
    both = rig(advertise=("203.0.113.5", 6060))
    await both.listen("udp:127.0.0.1:0")
    assert both.transport.contact_host(flow) == ("203.0.113.5", 6060)


async def test_keep_alives_do_not_reach_the_endpoint(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    for data in (b"\r\n\r\n", b"\0\0\0\0", b"\0", b"x"):
        peer.send(data, "127.0.0.1", one.port)
    await until(lambda: len(one.fake.heard) == 1)
    assert one.fake.heard[0][0] == b"x"
    assert one.counts()["udp_keep_alives"] == 3


async def test_what_the_kernel_drops_is_reported(rig: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "RECEIVE_BUFFER", 4096)
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    assert one.counts()["udp_kernel_drops"] == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):  # the loop does not run meanwhile
            sender.sendto(b"x" * 1000, ("127.0.0.1", one.port))
    await until(lambda: len(one.fake.heard) + one.counts()["udp_kernel_drops"] == 200)
    assert one.counts()["udp_kernel_drops"] > 0


async def test_the_receive_buffer_is_sized(rig: Make) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    granted = one.transport._udp[0]._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert granted > 400_000  # the kernel's default is 212,992


async def test_a_flood_leaves_the_loop_to_others(rig: Make) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def look() -> None:
        seen.append(len(one.fake.heard))
        if len(one.fake.heard) < 300:
            loop.call_soon(look)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(300):
            sender.sendto(b"hello", ("127.0.0.1", one.port))
    look()
    await until(lambda: seen[-1] == 300)
    steps = [later - sooner for sooner, later in pairwise(seen)]
    assert max(steps) <= udp.BATCH


async def test_addresses_in_use_are_named(rig: Make) -> None:
    one, two = rig(), rig()
    await one.listen("udp:127.0.0.1:0", "tcp:127.0.0.1:0")
    for address in one.transport.addresses:
        with pytest.raises(TransportError, match=f"{address}.*in use"):
            await two.listen(str(address))


# --- sending ----------------------------------------------------------------------------


async def test_names_are_resolved(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    flow = Flow("udp", ("127.0.0.1", 0), ("localhost", peer.address[1]))
    one.send(flow, b"one")
    one.send(flow, b"two")
    assert [(await peer.next())[0] for _ in range(2)] == [b"one", b"two"]


async def test_what_cannot_be_sent_is_told(rig: Make) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    local = ("127.0.0.1", one.port)
    impossible = [
        Flow("udp", local, ("nobody.invalid", 5060)),
        Flow("udp", local, ("2001:db8::1", 5060)),
        Flow("udp", local, ("127.0.0.1", 99999)),
        Flow("tls", local, ("127.0.0.1", 5061)),
        Flow("tcp", local, ("127.0.0.1", 5060), 77),
    ]
    for flow in impossible:
        one.send(flow, b"x")
        assert flow not in one.fake.lost  # not while the endpoint is still being asked
    await until(lambda: set(one.fake.lost) == set(impossible))


async def test_a_message_too_long_for_a_datagram_is_lost_and_the_way_is_not(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    flow = Flow("udp", ("127.0.0.1", one.port), peer.address)
    one.send(flow, bytes(70_000))
    one.send(flow, b"next")
    assert await peer.next() == (b"next", ("127.0.0.1", one.port))
    assert one.fake.lost == []  # what else is under way to that peer goes on
    assert one.counts()["udp_send_failures"] == 1


@pytest.mark.parametrize(
    ("number", "lost"), [("EPERM", False), ("ENOBUFS", False), ("ECONNREFUSED", False), ("ENETUNREACH", True)]
)
async def test_errors_of_a_moment_are_loss(monkeypatch: pytest.MonkeyPatch, number: str, lost: bool) -> None:
    class Refusing:
        def sendto(self, data: bytes, remote: tuple[str, int]) -> int:
            raise OSError(getattr(errno, number), number)

    listener = udp.UdpListener("127.0.0.1", 0, on_datagram=lambda *_: None, on_batch=lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(listener, "_socket", Refusing())
        error = listener.send(b"x", "127.0.0.1", ("127.0.0.1", 5060))
    listener.close()
    assert (error is not None) == lost
    assert listener.send_failures == 1


async def test_a_closed_port_at_the_other_end_harms_nobody(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    gone = await UdpPeer.open()
    address = gone.address
    gone.close()
    await asyncio.sleep(0)
    for _ in range(3):
        one.send(Flow("udp", ("127.0.0.1", one.port), address), b"x")
        await asyncio.sleep(0.01)
    peer.send(b"still there?", "127.0.0.1", one.port)
    await until(lambda: len(one.fake.heard) == 1)


async def test_the_right_one_of_several_sockets_sends(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0", "udp:127.0.0.2:0", "udp:127.0.0.2:0")
    for address in one.transport.addresses:
        one.send(Flow("udp", (address.host, address.port), peer.address), b"x")
        assert (await peer.next())[1] == (address.host, address.port)
    one.send(Flow("udp", ("127.0.0.2", 0), peer.address), b"x")
    assert (await peer.next())[1][0] == "127.0.0.2"


# --- the pump ---------------------------------------------------------------------------


async def test_events_reach_their_handler_and_may_pump(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")

    def handle(event: str) -> None:
        one.events.append(event)
        if event == "first":
            one.fake.to_send.append((Flow("udp", ("", 0), peer.address), b"reaction"))
            one.fake.to_tell.append("second")
            one.transport.pump()

    one.handle = handle
    one.fake.to_tell = ["first", "other"]
    one.transport.pump()
    assert one.events == ["first", "other", "second"]
    assert (await peer.next())[0] == b"reaction"


async def test_a_handler_that_fails_stops_nobody(rig: Make) -> None:
    one = rig()

    def handle(event: str) -> None:
        one.events.append(event)
        raise RuntimeError("a fault of one call")

    one.handle = handle
    one.fake.to_tell = ["one", "two"]
    one.transport.pump()
    assert one.events == ["one", "two"]


async def test_the_timer_fires_at_the_deadline_and_not_before(rig: Make) -> None:
    one = rig()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.05
    one.fake.wake_at = deadline
    one.transport.pump()
    await until(lambda: bool(one.fake.fired))
    assert one.fake.fired[0] >= deadline
    assert one.fake.fired[0] < deadline + 0.5


async def test_the_timer_follows_the_deadline(rig: Make) -> None:
    one = rig()
    loop = asyncio.get_running_loop()
    one.fake.wake_at = loop.time() + 30.0
    one.transport.pump()
    one.fake.wake_at = sooner = loop.time() + 0.02
    one.transport.pump()
    await until(lambda: len(one.fake.fired) == 1)
    assert one.fake.fired[0] >= sooner
    one.fake.wake_at = loop.time() + 0.02
    one.transport.pump()
    one.fake.wake_at = None
    one.transport.pump()
    await asyncio.sleep(0.05)
    assert len(one.fake.fired) == 1


async def test_settle_waits_for_the_last_answers(rig: Make) -> None:
    one = rig()
    loop = asyncio.get_running_loop()
    await one.transport.settle()
    one.fake.quiet = False
    started = loop.time()
    await one.transport.settle(patience=0.05)
    assert loop.time() - started >= 0.048  # loops keep time in milliseconds
    waiting = asyncio.create_task(one.transport.settle(patience=10.0))
    await asyncio.sleep(0)
    one.fake.quiet = True
    one.transport.pump()
    await asyncio.wait_for(waiting, 1.0)


async def test_a_closed_transport_is_silent(rig: Make, peer: UdpPeer) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    port = one.port
    one.fake.wake_at = asyncio.get_running_loop().time() + 0.02
    one.transport.pump()
    await one.transport.close()
    await one.transport.close()
    one.send(Flow("udp", ("", 0), peer.address), b"x")
    peer.send(b"anybody?", "127.0.0.1", port)
    await asyncio.sleep(0.05)
    assert (one.fake.heard, one.fake.fired) == ([], [])
    assert peer.received.empty()


async def test_a_damaged_saved_dialog_is_left(rig: Make) -> None:
    one = rig(real=True)
    one.transport.resume_bye({}, "restart")
    one.transport.resume_bye({"call_id": 5}, "restart")
    assert one.counts()["sent"] == 0
