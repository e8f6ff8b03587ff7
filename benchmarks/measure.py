"""One measurement of the media plane: so many calls at some work, CPU over the floor of the same minute."""

from __future__ import annotations

import asyncio
import time
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import checks
from benchmarks.bench import Bench, LeftOut
from benchmarks.callers import EVENT_TYPE, Bank, Schedule, Sound, make_bank, write_prompt
from benchmarks.generator import Expected, Generator, Heard, Plan
from benchmarks.media_processes import MediaProcesses, scratch
from media import commands, conceal, ipc, reports
from media.rates import FRAME

COMPARED = 8
"""Streams whose sound is compared."""

LATE_MS = 20.0
"""A packet that the generator sends later than this may miss its turn in the jitter buffer, and is made up then."""


class Work(Protocol):
    """What each call does. Streams are counted from 0 here; the worker's numbers are one more."""

    words: bool

    def schedule(self, bank: Bank, calls: int) -> Schedule:
        """What the callers say."""

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        """What is asked of the worker for a stream, after all of them are open and directed."""

    def expected(self, bank: Bank, schedule: Schedule, prompt: Sound) -> list[Expected]:
        """What some streams should hear."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured once. CPU in ms per call-second, by process."""

    calls: int
    about: str
    cpu: dict[str, float]
    generator_cpu: float
    floors: tuple[float, float]
    memory_kib: float
    """Per call, of what came on top of the idle processes."""
    heard: Heard
    keys: dict[str, int]
    utterances: int
    loads: list[reports.WorkerLoad]
    stats: list[reports.StreamStats]
    problems: list[str]

    @property
    def floor(self) -> float:
        return sum(self.floors) / 2

    @property
    def delivered(self) -> float:
        """The share of the packets due that came, 1 at most; an engine that is overloaded sends fewer."""
        return min(1.0, self.heard.reception.packets / max(1, self.heard.sent))

    @property
    def cost(self) -> float:
        """ms of CPU per call-second that was delivered, of all processes."""
        return sum(self.cpu.values()) / max(self.delivered, 0.01)

    @property
    def ratio(self) -> float:
        return self.cost / self.floor


def spread_out(calls: int, count: int = COMPARED) -> list[int]:
    """Some streams, from all phases."""
    return sorted({round(index * (calls - 1) / max(1, count - 1)) for index in range(min(count, calls))})


def measure(bench: Bench, work: Work, *, calls: int, io: str, warm: float = 2.0, seconds: float = 6.0) -> Sample:
    """Run ``work``. Raises :class:`LeftOut` when the worker has no such ``io``, ProcessError when it fails."""
    if bench.quick:
        warm, seconds = min(warm, 1.0), min(seconds, 1.5)
    with scratch() as folder:
        return asyncio.run(_measure(bench, work, folder, calls, io, warm, seconds))


async def _measure(bench: Bench, work: Work, folder: Path, calls: int, io: str, warm: float, seconds: float) -> Sample:
    bank = make_bank()
    schedule = work.schedule(bank, calls)
    prompt = write_prompt(folder / "prompt.wav")
    before = bench.floor_now()
    plan = Plan(schedule, seconds, work.expected(bank, schedule, prompt))
    with Generator(plan) as generator:
        async with MediaProcesses(folder, io=io, words=work.words) as worker:
            if io != "portable" and "portable" in worker.about:
                raise LeftOut(f"asked for {io}, the worker chose: {worker.about}")
            idle = worker.memory()
            ports = await worker.open(calls)
            for stream in range(calls):
                worker.send(
                    commands.Direct(
                        stream + 1, "127.0.0.1", generator.port(stream), generator.control_port, 0, EVENT_TYPE
                    )
                )
            for stream in range(calls):
                for command in work.commands(stream, folder):
                    worker.send(command)
            generator.start(ports)
            await worker.run(warm)
            worker.loads.clear()
            worker.keys.clear()
            generator.mark()
            begun, own, others = time.monotonic(), worker.cpu(), generator.cpu()
            await worker.run(seconds)
            took = (time.monotonic() - begun) * calls / 1000
            cpu = {name: (used - own.get(name, 0.0)) / took for name, used in worker.cpu().items()}
            generated = (generator.cpu() - others) / took
            keys = dict(worker.keys)
            loads = list(worker.loads)
            heard = await asyncio.to_thread(generator.stop)
            memory = (worker.memory() - idle) / calls  # now that a look disturbs nobody any more
            stats = await worker.drop_all()
        problems = heard.reception.problems(heard.kernel_drops) + worker.not_recorded[:1]
        wrong = check_recordings(folder, bank, schedule, None if heard.reception.skipped else prompt)
        if wrong and heard.late_ms_max > LATE_MS:
            wrong[0] += f" (the generator itself sent up to {heard.late_ms_max:.0f} ms late)"
        problems += wrong
    return Sample(
        calls=calls,
        about=worker.about,
        cpu=cpu,
        generator_cpu=generated,
        floors=(before, bench.floor_now()),
        memory_kib=memory,
        heard=heard,
        keys=keys,
        utterances=worker.utterances,
        loads=loads,
        stats=stats,
        problems=problems,
    )


def check_recordings(folder: Path, bank: Bank, schedule: Schedule, prompt: Sound | None) -> list[str]:
    """Some recordings, ``N.wav``: the caller on the left, the prompt on the right, if it was sent without gaps."""
    paths = sorted(folder.glob("[0-9]*.wav"), key=lambda path: int(path.stem))
    wrong = 0
    chosen = spread_out(len(paths), 4) if paths else []
    for stream in chosen:
        with wave.open(str(paths[stream])) as file:
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        frames = frames[50 * FRAME : _last_packet(frames[:, 0])]
        caller, engine = np.ascontiguousarray(frames.T)
        verdict = checks.compare(stream, caller, [bank.sound(schedule[stream])], 0.9)
        is_wrong = verdict.right < verdict.loud
        if prompt is not None:
            is_wrong |= checks.compare(stream, engine, [prompt], 0.9).wrong
        wrong += is_wrong
    return [f"{wrong} of {len(chosen)} compared recordings are not what was said"] if wrong else []


def _last_packet(caller: NDArray[np.int16]) -> int:
    """The sample after which a caller sent nothing more: the generator stops before the recordings do, and what is made
    up in the place of missing packets is not what was said.
    """
    made_up = conceal.LONGEST * FRAME + conceal.CROSS_FADE
    return max(0, int(np.flatnonzero(caller)[-1]) - made_up) if caller.any() else 0
