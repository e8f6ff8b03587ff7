"""The media plane beside other ways to do it, in the same minutes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from benchmarks import engines, plots, works
from benchmarks.bench import Bench, LeftOut, Section, Table
from benchmarks.cases.pacing import run_engine
from benchmarks.engines import Engine
from benchmarks.figures import number
from benchmarks.generator import Heard
from benchmarks.measure import measure
from benchmarks.media_processes import ProcessError

Measured = tuple[Heard, float, float, float]


def _needs(package: str, engine: Engine) -> Engine:
    if importlib.util.find_spec(package) is None:
        raise LeftOut(f"{package} is not installed")
    return engine


class Baselines:
    name = "baselines"
    title = "Beside other engines"

    def _candidates(self, bench: Bench) -> list[tuple[str, int, Callable[[int], Measured]]]:
        seconds = bench.seconds(6.0, 1.5)

        def engine(made: Callable[[], Engine]) -> Callable[[int], Measured]:
            return lambda calls: run_engine(bench, made(), calls=calls, seconds=seconds)

        def ivrea(calls: int) -> Measured:
            sample = measure(bench, works.PlayAndKeys(), calls=calls, io="portable", seconds=seconds)
            return sample.heard, sample.cost, sample.generator_cpu, sample.floor

        naive = engine(lambda: engines.asyncio_engine)
        on_uvloop = engine(lambda: _needs("uvloop", engines.uvloop_engine))
        pyvoip = engine(lambda: _needs("pyVoIP", engines.pyvoip_engine))
        found: list[tuple[str, int, Callable[[int], Measured]]] = []
        for calls in (20,) if bench.quick else (100, 400):
            found += [
                ("Ivrea (with keys, jitter buffer, RTCP)", calls, ivrea),
                ("asyncio, a protocol and a timer per call", calls, naive),
                ("the same on uvloop", calls, on_uvloop),
            ]
        return [*found, ("pyVoIP, two threads per call", bench.size(40, 5), pyvoip)]

    def steps(self, bench: Bench) -> int:
        return len(self._candidates(bench))

    def run(self, bench: Bench) -> Section:
        section = Section(self.title)
        rows: list[list[str]] = []
        costs: dict[str, float] = {}
        for name, calls, run in self._candidates(bench):
            bench.advance(f"{self.name}: {name}, {calls} calls")
            try:
                heard, own, generated, floor = run(calls)
            except LeftOut as reason:
                section.left_out.append(str(reason))
                continue
            except (ProcessError, RuntimeError) as error:
                section.failures.append(f"{name}: {error}")
                continue
            reception = heard.reception
            costs[f"{name.partition(',')[0].partition('(')[0].strip()}, {calls}"] = own / floor
            wrong = [verdict for verdict in reception.sounds if verdict.wrong]
            rows.append(
                [
                    name,
                    str(calls),
                    number(own, 3),
                    number(own / floor),
                    number(50 * reception.packets / max(1, heard.sent), 1),
                    f"{reception.paced} of {reception.streams}",
                    str(reception.long_gaps),
                    str(max(0, reception.lost - heard.kernel_drops)),
                    "right" if not wrong else f"{len(wrong)} of {len(reception.sounds)} wrong",
                    number(generated, 3),
                ]
            )
        head = ["engine", "calls", "CPU, ms", "times the floor", "packets per call-second", "streams 20 ± 3 ms at p99"]
        head += ["gaps over 40 ms", "lost", "sound", "generator, ms"]
        section.tables.append(Table(head, rows))
        section.text += self._interpret(costs)
        if costs:
            plots.bars(bench.plots / "baselines.png", "CPU per call", "times the kernel floor", costs)
            section.plots.append(("baselines.png", "CPU per call of several engines"))
        section.notes.append(
            "All get the same callers and play the same prompt. Only Ivrea looks for keys and keeps jitter "
            "buffers; the others "
            "parse the header of what comes and forget it."
        )
        return section

    @staticmethod
    def _interpret(costs: dict[str, float]) -> list[str]:
        text = []
        for name, cost in costs.items():
            kind, _, calls = name.rpartition(", ")
            own = costs.get(f"Ivrea, {calls}") or min(
                (c for n, c in costs.items() if n.startswith("Ivrea")), default=0.0
            )
            if kind != "Ivrea" and own:
                text.append(f"{kind}, {calls} calls: {number(cost / own, 1)} times the CPU of Ivrea.")
        return text
