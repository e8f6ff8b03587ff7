"""What flows cost: compiling documents by size, a step of the executor by dialect, a long call in the simulator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench, Section, Table
from flows.dialects import compile_flow
from flows.graph import Graph
from flows.listening import Settings
from flows.simulate import Simulation, simulate

SIZES = (10, 100, 1000, 5000)
LOOPS = 2000
"""Steps of the flow whose cost per step is measured."""


def brombler(size: int) -> str:
    """A chain of choices."""
    tree: Any = "The end."
    depth = 40
    for _ in range(depth):
        tree = {"_": "Say yes, or press one.", "yes | sure | key:1": tree}
    wide = {f"key:{number}": "A leaf." for number in range(10, max(11, size - 2 * depth + 10))}
    return json.dumps({"_": "Choose.", "key:1": tree, **wide} if size > 2 * depth else {"_": "Choose.", **wide})


def kazoo(size: int) -> str:
    depth = min(size, 50)
    node: dict[str, Any] = {"module": "tts", "data": {"text": "The end."}, "children": {}}
    for number in range(depth - 1):
        node = {"module": "tts", "data": {"text": f"Text {number}."}, "children": {"_": node}}
    if size > depth:
        branches = {str(number): {"module": "tts", "data": {"text": "A leaf."}} for number in range(size - depth)}
        node = {"module": "menu", "data": {"text": "Choose."}, "children": {**branches, "_": node}}
    return json.dumps(node)


def messagebird(size: int) -> str:
    say = {"payload": "A text.", "language": "en-us", "voice": "male"}
    return json.dumps(
        {"title": "long", "steps": [{"id": f"s{n}", "action": "say", "options": say} for n in range(size)]}
    )


def twiml(size: int) -> str:
    return f"<Response>{'<Say>A text.</Say>' * size}</Response>"


MAKERS: dict[str, Callable[[int], str]] = {
    "brombler": brombler,
    "kazoo": kazoo,
    "messagebird": messagebird,
    "twiml": twiml,
}


def best_of(times: int, work: Callable[[], Any]) -> float:
    """The least time in seconds that ``work`` took."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def graph_of(dialect: str, document: str) -> Graph:
    compiled = compile_flow(document, dialect=dialect)
    if compiled.graph is None:
        raise AssertionError(f"{dialect}: {compiled.findings[:3]}")
    return compiled.graph


class Flows:
    name = "flows"
    title = "Flows: compiling, executing, simulating"

    def steps(self, bench: Bench) -> int:
        return 3

    def run(self, bench: Bench) -> Section:
        section = Section(self.title)
        bench.advance(f"{self.name}: compiling")
        section.tables.append(self._compiling(bench))
        bench.advance(f"{self.name}: executing")
        section.tables.append(self._executing(bench))
        bench.advance(f"{self.name}: simulating")
        section.text.append(self._simulating(bench))
        return section

    def _compiling(self, bench: Bench) -> Table:
        sizes = SIZES[: bench.size(len(SIZES), 2)]
        rows = []
        for dialect, make in MAKERS.items():
            cells = []
            for size in sizes:
                document = make(size)
                seconds = best_of(bench.repetitions, lambda document=document, name=dialect: graph_of(name, document))
                cells.append(f"{seconds * 1000:.2f} ms ({seconds / size * 1e6:.0f} µs a step)")
            rows.append([dialect, *cells])
        return Table(["compiling", *(f"{size:,} steps" for size in sizes)], rows)

    def _executing(self, bench: Bench) -> Table:
        size = bench.size(LOOPS, 50)
        settings = Settings(max_steps=10**7, max_steps_per_second=10**7)
        rows = []
        for dialect in ("messagebird", "twiml", "kazoo"):
            graph = graph_of(dialect, MAKERS[dialect](size if dialect != "kazoo" else 50))
            spoken = len(simulate(graph, settings=settings).spoken)
            seconds = best_of(bench.repetitions, lambda graph=graph: simulate(graph, settings=settings))
            rows.append([dialect, f"{spoken:,}", f"{seconds / spoken * 1e6:.1f} µs"])
        return Table(["executing in the simulator", "texts spoken", "CPU a text"], rows)

    def _simulating(self, bench: Bench) -> str:
        question = {"_": "Please say yes or press one, after this rather long explanation of the matter."}
        tree: dict[str, Any] = {"_": "Thank you and goodbye."}
        for _ in range(60):
            tree = {**question, "yes | key:1": tree}
        graph = graph_of("brombler", json.dumps(tree))
        script = "; ".join(["wait 2; say yes", "wait 2; press 1"] * 30)
        calls: list[Simulation] = []
        seconds = best_of(bench.repetitions, lambda: calls.append(simulate(graph, script)))
        call = calls[-1]
        return (
            f"A call of {call.duration / 60:.1f} minutes with {len(call.heard)} answers takes {seconds * 1000:.1f} ms "
            f"in the simulator: {call.duration / seconds:,.0f} times as fast as on the phone."
        )
