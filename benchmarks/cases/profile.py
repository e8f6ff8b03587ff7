"""Where the microseconds of a tick go: a worker that takes the time of every method of the media plane."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks import callers, profiled_worker, works
from benchmarks.bench import Bench, CaseError, LeftOut, Section, Table
from benchmarks.callers import EVENT_TYPE
from benchmarks.cases.plane import NAMES
from benchmarks.figures import number
from benchmarks.generator import Generator, Plan
from benchmarks.media_processes import IO_PATHS, MediaProcesses, ProcessError, scratch
from media import commands

SHOWN = 0.01
"""Share of the whole from which a method has a row of its own."""


@dataclass(frozen=True, slots=True)
class Profile:
    """µs per packet pair by method, and of the kernel floor."""

    floor: float
    times: dict[str, float]
    taking: float
    """What of it is the taking of the time."""

    @property
    def whole(self) -> float:
        return sum(self.times.values())


class TickProfile:
    name = "profile"
    title = "Profile of a tick"

    def steps(self, bench: Bench) -> int:
        return len(IO_PATHS)

    def run(self, bench: Bench) -> Section:
        section = Section(self.title)
        calls = bench.size(1000, 40)
        found: dict[str, Profile] = {}
        for io in IO_PATHS:
            bench.advance(f"{self.name}: {calls:,} calls, {NAMES[io]}")
            try:
                with scratch() as folder:
                    found[io] = asyncio.run(self._profile(bench, folder, io, calls))
            except LeftOut as reason:
                section.left_out.append(f"{NAMES[io]}: {reason}")
            except (ProcessError, RuntimeError, CaseError) as error:
                section.failures.append(f"{NAMES[io]}: {error}")
        if found:
            section.tables.append(self._table(found))
        for io, profile in found.items():
            first, second, *_ = sorted(profile.times.items(), key=lambda each: -each[1])
            section.text.append(
                f"{NAMES[io]}: {number(profile.whole)} µs per packet pair in ticks, "
                f"{number(profile.whole / profile.floor, 1)} "
                f"times the floor of {number(profile.floor)} µs; most of it in {first[0]} ({number(first[1])}) and "
                f"{second[0]} "
                f"({number(second[1])})."
            )
        section.notes.append(
            f"{calls:,} calls with prompt and keys. Each row is a method of the media plane without what it calls, "
            "in µs of "
            "wall clock. Rows under one percent are summed up."
        )
        return section

    @staticmethod
    async def _profile(bench: Bench, folder: Path, io: str, calls: int) -> Profile:
        work, bank = works.PlayAndKeys(), callers.make_bank()
        callers.write_prompt(folder / "prompt.wav")
        path = folder / "profile.json"
        os.environ[profiled_worker.TABLE] = str(path)
        floor = bench.floor.measure(bench.seconds(0.6, 0.2))
        seconds = bench.seconds(8.0, 2.0)
        with Generator(Plan(work.schedule(bank, calls), seconds)) as generator:
            async with MediaProcesses(folder, io=io, module="benchmarks.profiled_worker") as worker:
                if io != "portable" and "portable" in worker.about:
                    raise LeftOut(f"the worker chose {worker.about}")
                ports = await worker.open(calls)
                for stream in range(calls):
                    far = generator.port(stream), generator.control_port
                    worker.send(commands.Direct(stream + 1, "127.0.0.1", *far, 0, EVENT_TYPE))
                    for command in work.commands(stream, folder):
                        worker.send(command)
                generator.start(ports)
                await worker.run(bench.seconds(3.0, 1.5))
                first = json.loads(path.read_text())
                await worker.run(seconds)
                last = json.loads(path.read_text())
        pairs = (last["seconds"] - first["seconds"]) * calls * 50
        if not pairs:
            raise CaseError("the worker wrote no second table")
        times = {name: (spent - first["times"][name]) / 1000 / pairs for name, spent in last["times"].items()}
        taking = (last["taking"] - first["taking"]) / 1000 / pairs
        return Profile(floor, {name: spent for name, spent in times.items() if spent > 0}, taking)

    @staticmethod
    def _table(found: dict[str, Profile]) -> Table:
        names = sorted(
            {name for each in found.values() for name, spent in each.times.items() if spent >= SHOWN * each.whole},
            key=lambda name: -max(each.times.get(name, 0.0) for each in found.values()),
        )
        rows = [
            [name, *(number(each.times[name]) if name in each.times else "–" for each in found.values())]
            for name in names
        ]
        rest = (each.whole - sum(each.times.get(name, 0.0) for name in names) for each in found.values())
        rows.append(["all others", *(number(spent) for spent in rest)])
        rows.append(["**whole tick**", *(f"**{number(each.whole)}**" for each in found.values())])
        rows.append(["of which taking the time, about", *(number(each.taking) for each in found.values())])
        rows.append(["kernel floor", *(number(each.floor) for each in found.values())])
        return Table(["µs per packet pair", *(NAMES[io] for io in found)], rows)
