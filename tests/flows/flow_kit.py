"""A flow in one line, and a call whose every input is given by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from flows.call import (
    ALL_SHOWN,
    CallEnded,
    FetchFailed,
    Input,
    Note,
    RecordingEnded,
    RecordingOrder,
    Reply,
    Request,
    TransferOutcome,
    Unsupported,
    Vocabulary,
)
from flows.dialects.brombler import compile_brombler
from flows.graph import Graph
from flows.orders import Order, Outcome
from flows.prompts import Prompt
from flows.simulate import Scenario, Simulation, simulate


def graph_of(document: object) -> Graph:
    compiled = compile_brombler(document)
    assert compiled.graph is not None, compiled.findings
    return compiled.graph


def play(document: object, script: str = "", **scenario: Any) -> Simulation:
    """Compile a document and simulate a script on it."""
    return simulate(graph_of(document), script, scenario=Scenario(**scenario))


def texts(simulation: Simulation) -> list[str]:
    return [spoken.prompt.text or spoken.prompt.media for spoken in simulation.spoken]


def told(simulation: Simulation) -> list[tuple[str, str, str]]:
    """Event, path and URL of every callback, in order."""
    return [(each.params["e"], each.params["path"], each.url) for each, _ in simulation.callbacks]


class HandCall:
    """A Call whose inputs are listed beforehand; time passes only where an input or a deadline says so."""

    id = "hand"
    caller = "+4021"
    callee = "1000"

    def __init__(self, inputs: Sequence[Input | float] = ()) -> None:
        self.inputs: deque[Input | float] = deque(inputs)
        self.answered_at: float | None = None
        self.clock = 0.0
        self.log: list[str] = []
        self.notes: list[Note] = []
        self.facts: Mapping[str, str] = {}

    def now(self) -> float:
        return self.clock

    def tell(self, note: Note) -> None:
        self.notes.append(note)

    def when_answered(self, told: Callable[[], None]) -> None:
        self.told = told

    async def answer(self) -> None:
        self.log.append("answer")
        if self.answered_at is None:
            self.answered_at = self.clock
            self.told()

    async def early_media(self) -> None:
        self.log.append("early media")

    async def prepare(self, prompts: Sequence[Prompt], shown: Mapping[Prompt, Prompt] = ALL_SHOWN) -> Sequence[Prompt]:
        return prompts

    async def fetch(self, request: Request) -> Reply:
        raise FetchFailed("no web here")

    async def compute(self, work: Callable[[], Any], size: int) -> Any:
        return work()

    async def stored_flow(self, flow: str) -> Graph | None:
        return None

    async def perform(self, order: Order) -> Outcome:
        raise Unsupported(f"no {type(order).__name__} here")

    def record(self, order: RecordingOrder) -> str:
        raise Unsupported("no recorder here")

    def stop_recording(self, recording: str) -> None:
        pass

    async def recording_end(self, recording: str) -> RecordingEnded:
        return RecordingEnded(recording, 0.0, "stopped", self.clock)

    def start(self, prompts: Sequence[Prompt]) -> None:
        self.log.append("start " + "+".join(p.text for p in prompts))

    def stop(self) -> None:
        self.log.append("stop")

    async def played(self) -> None:
        self.log.append("played")

    def hear(self, vocabulary: Vocabulary | None) -> None:
        self.log.append("hear " + (",".join(vocabulary.words) if vocabulary else "-"))

    async def next(self, deadline: float | None) -> Input | None:
        if self.inputs and not isinstance(self.inputs[0], float):
            at = self.inputs[0].at
            if deadline is None or at <= deadline:
                self.clock = max(self.clock, at)
                return self.inputs.popleft()  # type: ignore[return-value]
        if deadline is None:
            raise CallEnded("caller", "hung up")
        self.clock = max(self.clock, deadline)
        return None

    async def pause(self, seconds: float) -> None:
        self.clock += seconds

    async def transfer(self, target: str) -> TransferOutcome:
        self.log.append(f"transfer {target}")
        return TransferOutcome(False, 486, "Busy Here")

    async def hangup(self, reason: str) -> NoReturn:
        self.log.append(f"hangup {reason}")
        raise CallEnded("flow", reason)
