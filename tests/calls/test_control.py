"""What live control refuses, on whom it works, and whom a name stands for. No telephone, no network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.callbacks import records
from engine.calls import control as module
from engine.calls.allowance import NotAllowed
from engine.calls.changing import UnderWay
from engine.calls.control import Control, ControlRefused
from engine.calls.targets import find_aim
from flows.call import Unsupported


class Leg:
    """Is held, and says so after ``answer``."""

    def __init__(self) -> None:
        self.on_hold = SimpleNamespace(holding=False)
        self.answer: asyncio.Future[bool] | bool = True

    async def _set(self, *, holding: bool) -> bool:
        done = self.answer if isinstance(self.answer, bool) else await self.answer
        self.on_hold.holding = holding if done else self.on_hold.holding
        return done

    async def hold(self, *music: object) -> bool:
        return await self._set(holding=True)

    async def resume(self) -> bool:
        return await self._set(holding=False)


class Routes:
    """Of an account with a user, and a trunk for numbers that begin with a plus."""

    def knows(self, name: str) -> bool:
        return name in ("ada", "201")

    def find(self, target: Any, order: Any, caller: Any) -> list[Any]:
        value = target.value
        return [[value]] if target.kind == "uri" or self.knows(value) or value.startswith("+") else []


class Conversation:
    def __init__(self, device: str) -> None:
        self.leg = Leg()
        self.peer = SimpleNamespace(
            id="leg1",
            leg=self.leg,
            hold=self.leg.hold,
            resume=self.leg.resume,
            destination=SimpleNamespace(device=device, label="peer"),
        )
        self.changing = False
        self.asked: list[Any] = []

    def ask(self, change: Any) -> None:
        if self.changing:
            raise UnderWay
        self.asked.append(change)


class Call:
    """A supervisor, as far as control knows it."""

    def __init__(self, *, answered: bool = True, bridged: bool = False, devices: tuple[str, str] = ("", "")) -> None:
        self.id = "c1"
        self.direction = "inbound"
        self.journal: list[records.Record] = []
        self.append = self.journal.append
        self.log = SimpleNamespace(info=lambda *_, **__: None)
        self.leg = Leg()
        self.line_name, self.line_device = "+39", devices[0]
        self.conversation = Conversation(devices[1]) if bridged else None
        self.plan = SimpleNamespace(account="a")
        self.transfer_by = ""
        self.transfer_pending = False
        self.recording = False
        self.replaced: list[str] = []
        self.moved: list[Any] = []
        flow = SimpleNamespace(graph=SimpleNamespace(name="flow of 5000"), prompts={})
        self.outside = SimpleNamespace(
            routes=lambda account: Routes(),
            plan=lambda number, account: flow if (number, account) == ("5000", "a") else None,
            is_ours=lambda uri: uri.host == "pbx.example",
            tones=SimpleNamespace(music="music"),
        )
        self.call = SimpleNamespace(
            ending=None,
            answered_at=1.0 if answered else None,
            on_hold=self.leg.on_hold,
            end=lambda by, reason: setattr(self.call, "ending", (by, reason)),
            replace=lambda graph, sounds: self.replaced.append(graph.name),
        )

    async def hold(self) -> bool:
        return await self.leg.hold()

    async def resume(self) -> bool:
        return await self.leg.resume()

    def ends(self) -> tuple[str, str]:
        return "+39", "1000"

    def put_down_transfer(self, *what: Any, **more: Any) -> None:
        self.moved.append(what)

    def start_recording(self) -> str:
        self.recording = True
        return "c1-1"

    def stop_recording(self) -> None:
        self.recording = False


def control(**options: Any) -> tuple[Control, Call]:
    call = Call(**options)
    return Control(cast("Any", call)), call


async def refusal(work: Any) -> str:
    with pytest.raises(ControlRefused) as refused:
        await work
    return refused.value.code


ACTS = ["hang_up", "hold", "resume", "start_recording", "stop_recording"]


async def test_a_call_that_has_ended_takes_nothing() -> None:
    of, call = control()
    await of.hang_up(by="ada")
    assert call.call.ending == ("flow", "hung up by ada")
    assert of.possible == frozenset()
    for act in ACTS:
        assert await refusal(getattr(of, act)()) == "ended"
    assert await refusal(of.transfer("ada")) == "ended"
    assert await refusal(of.replace_flow(cast("Any", None))) == "ended"


async def test_before_the_answer() -> None:
    of, call = control(answered=False)
    for act in ACTS[1:]:
        assert await refusal(getattr(of, act)()) == "not_answered"
    assert of.possible == {"hang_up", "transfer", "replace_flow"}
    call.direction = "outbound"
    assert of.possible == {"hang_up"}
    assert await refusal(of.transfer("ada")) == "not_answered"
    assert await refusal(of.replace_flow(cast("Any", SimpleNamespace()))) == "not_answered"


@pytest.mark.parametrize(
    ("devices", "other"),
    [(("", "desk"), "line"), (("desk", ""), "peer"), (("desk", "desk2"), "line"), (("", ""), "line")],
)
async def test_whom_a_telephone_of_the_account_has_to_do_with(devices: tuple[str, str], other: str) -> None:
    """That one is held, and stays when the telephone hands it on."""
    of, call = control(bridged=True, devices=devices)
    assert of.other() == other
    await of.hold(by="ada")
    assert of.held == {other}
    await of.hold(by="ada")
    await of.resume()
    await of.resume()
    assert of.held == frozenset()
    leg = "" if other == "line" else "leg1"
    assert [(type(each), getattr(each, "leg", "?")) for each in call.journal] == [
        (records.Held, leg),
        (records.Resumed, leg),
    ]
    await of.transfer("ada", by="ada")
    assert call.conversation
    assert call.conversation.asked[0].leaves == ("peer" if other == "line" else "line")
    await of.transfer("ada", leaves="line", attended=True)
    assert (call.conversation.asked[1].leaves, call.conversation.asked[1].attended) == ("line", True)


async def test_a_telephone_that_is_not_to_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    of, call = control()
    call.leg.answer = False
    assert await refusal(of.hold()) == "refused"
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    call.leg.answer = asyncio.get_running_loop().create_future()
    assert await refusal(of.hold()) == "refused"
    assert call.journal == []
    call.leg.answer.set_result(True)  # late
    for _ in range(5):
        await asyncio.sleep(0)
    assert [type(each) for each in call.journal] == [records.Held]
    assert await refusal(of.hold(party="peer")) == "unsupported"


async def test_recording_twice_is_recording_once() -> None:
    of, call = control()
    assert [await of.start_recording(), await of.start_recording()] == [True, False]
    assert [await of.stop_recording(), await of.stop_recording()] == [True, False]

    def no_stream() -> str:
        raise Unsupported("there is no media stream to record")

    call.start_recording = no_stream  # type: ignore[method-assign]
    assert await refusal(of.start_recording()) == "unsupported"


async def test_what_cannot_be_transferred() -> None:
    of, _ = control()
    assert await refusal(of.transfer("999")) == "no_target"
    assert await refusal(of.transfer("ada", attended=True)) == "unsupported"
    of, call = control(bridged=True)
    assert await refusal(of.transfer("5000", attended=True)) == "unsupported"
    assert call.conversation
    call.conversation.changing = True
    assert await refusal(of.transfer("ada")) == "under_way"
    assert "transfer" not in of.possible


async def test_in_a_flow_the_caller_is_handed_on() -> None:
    of, call = control()
    await of.transfer("ada")
    assert (call.replaced, call.transfer_pending) == (["transfer"], True)
    await of.replace_flow(
        cast("Any", SimpleNamespace(name="f", version=2, graph=SimpleNamespace(name="f"), prompts={}))
    )
    assert (call.replaced[-1], call.transfer_pending) == ("f", False)
    await of.transfer("5000")
    assert call.replaced[-1] == "flow of 5000"
    assert call.moved == [("", ("+39", "1000"), ("+39", "5000"))]


async def test_nobody_is_handed_on_to_where_the_account_may_not_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[Any]:
        raise NotAllowed("target_refused", "the account may not call +39055")

    monkeypatch.setattr(Routes, "find", refuse)
    for bridged in (False, True):
        of, call = control(bridged=bridged)
        assert await refusal(of.transfer("+39055")) == "not_allowed"
        assert not call.replaced
        await of.transfer("ada")


@pytest.mark.parametrize(
    ("wanted", "what", "inside"),
    [
        ("ada", "any ada", True),
        ("201", "any 201", True),
        ("sip:201@pbx.example", "any 201", True),
        ("5000", "flow", True),
        ("tel:+39055", "number +39055", False),
        ("+39055", "number +39055", False),
        ("sip:eve@elsewhere.example", "uri sip:eve@elsewhere.example", False),
        ("999", "", False),
        ("", "", False),
        ("sip:", "", False),
        ("sip:pbx.example", "", False),
    ],
)
async def test_whom_a_name_stands_for(wanted: str, what: str, inside: bool) -> None:
    aim = find_aim(wanted, "a", cast("Any", Call().outside))
    found = ""
    if aim is not None:
        found = f"{aim.order.targets[0].kind} {aim.order.targets[0].value}" if aim.order is not None else "flow"
        assert aim.inside is inside
    assert found == what
