"""The one timer goes on whatever happens in the endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from transport_kit import Rig, UdpPeer, until

from engine.sip.flow import Flow

pytestmark = pytest.mark.both_loops

Make = Callable[..., Rig]


async def test_a_timer_that_fails_stops_neither_the_others_nor_what_was_to_be_sent(
    rig: Make, peer: UdpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    fired: list[float] = []

    def handle_timers(now: float) -> None:
        fired.append(now)
        one.fake.wake_at = now + 0.01 if len(fired) < 3 else None
        one.fake.to_send.append((Flow("udp", ("127.0.0.1", one.port), peer.address), b"%d" % len(fired)))
        raise RuntimeError("a fault of one timer")

    monkeypatch.setattr(one.fake, "handle_timers", handle_timers)
    one.fake.wake_at = asyncio.get_running_loop().time() + 0.01
    one.transport.pump()
    await until(lambda: len(fired) == 3)
    assert [(await peer.next())[0] for _ in range(3)] == [b"1", b"2", b"3"]
