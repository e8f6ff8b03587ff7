"""Who may take the place of somebody who is alone with a flow, and what becomes of calls where that fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.changing import UnderWay
from engine.calls.parking import Lots, Waiting
from engine.calls.peer import Peer, PeerEnd
from engine.calls.supervisor import Supervisor
from engine.calls.taking_over import occupied, take_over
from flows.orders import BridgeSession, Conference, Dial, Enqueue, Park


class Call:
    """A call that is alone with its flow, as far as it matters here."""

    no_successor = Supervisor.no_successor

    def __init__(self) -> None:
        self.id = "here"
        self.parker = ""
        self.call = SimpleNamespace(
            answered_at=1.0, ending=None, being_transferred=False, background=SimpleNamespace(running=set())
        )
        self.conversation: Any = None
        self.doing: object = None
        self.recordings = SimpleNamespace(running_besides=lambda _: False)
        self.outside = SimpleNamespace(lots=Lots(cast("Any", None)))
        self.successor = self.succession = self.line_end = None
        self.transfer_by = ""
        self.peers = SimpleNamespace(move_in=lambda _: None)
        self.over: list[PeerEnd] = []

    def line_is_over(self, end: PeerEnd) -> None:
        self.over.append(end)


def test_nobody_takes_a_place_while_there_is_more_on_a_call_than_its_flow() -> None:
    call = Call()
    assert occupied(cast("Any", call)) == ""
    call.doing = Conference(room="r")
    assert occupied(cast("Any", call)) == ""
    for doing in (Park(), Enqueue(queue="q")):
        call.doing = doing
        waiting = Waiting(cast("Any", call.call), 0.0)
        call.outside.lots.slots["a", "700"] = waiting
        assert occupied(cast("Any", call)) == ""
        waiting.taker = cast("Any", object())
        assert "took the call" in occupied(cast("Any", call))
    call.doing = BridgeSession(session="b")
    assert "bridged" in occupied(cast("Any", call))
    call.doing = Dial(targets=())
    assert "being called" in occupied(cast("Any", call))
    call.doing = None
    call.recordings.running_besides = lambda _: True
    assert "recorded" in occupied(cast("Any", call))
    call.call.being_transferred = True
    assert "transferred" in occupied(cast("Any", call))
    for fact, value in (("answered_at", None), ("ending", ("flow", "over"))):
        setattr(call.call, fact, value)
        assert "alone" in occupied(cast("Any", call))


async def no_more(*_: object) -> None:
    """Nothing is left to be done."""


def telephone(name: str) -> Peer:
    """A leg that has answered."""
    nothing = cast("Any", SimpleNamespace(resume=no_more))
    return Peer(name, nothing, nothing, nothing, lambda: 0.0, lambda: None, nothing, "answered")


def other(wanted: asyncio.Future[Any], *, changing: bool = False) -> Any:
    """A call whose conversation gives somebody away."""
    return SimpleNamespace(conversation=SimpleNamespace(changing=changing, give=lambda _: wanted), transfer_by="")


async def test_one_after_the_other() -> None:
    call, told = Call(), []
    wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take(another: Any) -> None:
        take_over(cast("Any", call), another, "peer", by="desk", tell=lambda status, _: told.append(status))

    with pytest.raises(UnderWay):
        take(other(wanted, changing=True))
    with pytest.raises(UnderWay):
        take(SimpleNamespace(conversation=None))
    take(other(wanted))
    with pytest.raises(UnderWay):
        take(other(wanted))
    wanted.cancel()
    assert call.succession is not None
    await call.succession
    assert (told, call.successor, call.over) == ([481], None, [])


async def test_who_has_hung_up_and_gets_no_successor_ends_the_call() -> None:
    call, told = Call(), []
    wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    take_over(cast("Any", call), other(wanted), "peer", by="desk", tell=lambda status, _: told.append(status))
    end = PeerEnd(200, "hung up")
    call.line_end = cast("Any", end)
    await asyncio.sleep(0)
    wanted.cancel()
    assert call.succession is not None
    await call.succession
    assert (told, call.over) == ([481], [end])


async def test_who_has_hung_up_gets_no_bye_when_the_successor_is_there() -> None:
    call, told = Call(), []
    log: list[object] = []
    comes, leaver = telephone("bob"), telephone("alice")
    leaver.destination = cast("Any", SimpleNamespace(device="desk"))
    here = cast("Any", call)
    here.direction, here.line_name, here.ends = "inbound", "alice", lambda: ("alice", "6000")
    here.call.sounding, here.call.sound = "sound", log.append
    here.exchange = lambda peer: leaver
    here.put_down_transfer = lambda leg, before, after, attended: log.append((leg, before, after))
    here.follow_recordings = here.peers.forget = no_more
    wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    take_over(here, other(wanted), "peer", by="desk", tell=lambda status, _: told.append(status))
    end = PeerEnd(200, "hung up")
    call.line_end = cast("Any", end)
    wanted.set_result(comes)
    assert call.succession is not None
    await call.succession
    assert log == ["sound", ("bob", ("alice", "6000"), ("alice", "6000"))]
    assert (told, call.over, call.successor, leaver.end, comes.end) == ([200], [], None, end, None)
    assert here.parker == "desk"


async def test_a_call_that_is_over_waits_for_nobody() -> None:
    call, told = Call(), []
    wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    take_over(cast("Any", call), other(wanted), "peer", by="desk", tell=lambda status, _: told.append(status))
    await asyncio.sleep(0)
    await cast("Any", call).no_successor()
    assert (told, wanted.cancelled(), call.succession) == ([487], True, None)


async def test_who_comes_when_the_flow_has_gone_on_to_call_somebody_is_let_go() -> None:
    call, told = Call(), []
    let_go: list[object] = []

    async def forget(peer: object) -> None:
        let_go.append(peer)

    call.peers.forget = forget
    comes = telephone("bob")
    wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    take_over(cast("Any", call), other(wanted), "peer", by="desk", tell=lambda *said: told.append(said))
    call.doing = Dial(targets=())
    wanted.set_result(comes)
    assert call.succession is not None
    await call.succession
    assert (told, let_go, call.successor) == ([(603, "Others are being called")], [comes], None)
