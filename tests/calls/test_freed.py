"""What a call leaves behind when it is over: nothing for the garbage collector."""

from __future__ import annotations

import gc
import itertools
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from switch_kit import Exchange

from engine.calls.channels import Channels
from engine.calls.media import Stream
from engine.calls.supervisor import CallPlan, Limits
from engine.transport.tap import Tap
from flows.dialects.messagebird import compile_messagebird
from flows.executor import Settings
from media import protocol


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
        stream.take(protocol.Opened(stream.number, 40000))
        return stream

    def send(self, command: protocol.Message) -> None:
        if isinstance(command, protocol.Drop):
            self.streams.pop(command.stream).take(protocol.Closed(command.stream, protocol.StreamStats()))


async def no_sound(*_: object) -> Path:
    raise AssertionError("nothing is said")


async def test_calls_that_are_over_are_freed_at_once() -> None:
    graph = compile_messagebird({"title": "t", "steps": [{"action": "hangup"}]}).graph
    plan = CallPlan("f", graph, {}, Settings(), cast("Any", no_sound), Path("/nowhere"))
    limits = Limits(60.0, 20.0, 1.0, "127.0.0.1", "127.0.0.1", ("PCMU",))
    worker = Worker()
    outside = SimpleNamespace(legs=Channels(), tap=Tap())
    exchange = Exchange(worker, plan=plan, limits=limits, outside=outside)
    gc.collect()
    gc.disable()
    try:
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
    finally:
        gc.enable()
