"""1,500 calls with prompt, keys and recording on one worker: pace, loss and memory."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from benchmarks import callers, engines, plots, works
from benchmarks.bench import Bench, LeftOut, Section, Table
from benchmarks.cases.plane import NAMES
from benchmarks.checks import BIN_MS, Reception
from benchmarks.engines import Engine, EngineProcess
from benchmarks.figures import number, verdict
from benchmarks.generator import Expected, Generator, Heard, Plan
from benchmarks.measure import Sample, measure, spread_out
from benchmarks.media_processes import IO_PATHS, ProcessError, scratch
from media import g711
from media.g711 import Law

MEMORY_LIMIT = 50.0


def run_engine(
    bench: Bench, engine: Engine, *, calls: int, seconds: float, by_ssrc: bool = False
) -> tuple[Heard, float, float, float]:
    """An engine of :mod:`benchmarks.engines` under the callers of the case ``play``: what was heard, CPU in ms per
    call-second that was delivered of it and of the generator, and the floor.
    """
    bank = callers.make_bank()
    schedule = callers.half_talking(bank, calls, keys=True)
    with scratch() as folder:
        prompt = callers.write_prompt(folder / "prompt.wav")
    codes = g711.encode(prompt, Law.PCMU).tobytes()
    expected = [Expected(stream, [prompt]) for stream in spread_out(calls)]
    before = bench.floor_now()
    plan = Plan(schedule, seconds, expected, "ssrc" if by_ssrc else "port")
    with contextlib.ExitStack() as stack:
        generator = stack.enter_context(Generator(plan))
        far = [generator.port(stream) for stream in range(calls)]
        running = stack.enter_context(EngineProcess(engine, far, codes))
        generator.start(running.ports)
        time.sleep(bench.seconds(2.0, 1.0))
        generator.mark()
        begun, own, others = time.monotonic(), running.cpu(), generator.cpu()
        time.sleep(seconds)
        took = (time.monotonic() - begun) * calls / 1000
        used, generated = (running.cpu() - own) / took, (generator.cpu() - others) / took
        heard = generator.stop()
    used /= max(0.01, min(1.0, heard.reception.packets / max(1, heard.sent)))
    return heard, used, generated, (before + bench.floor_now()) / 2


def pacing_row(who: str, heard: Heard) -> list[str]:
    reception = heard.reception
    worst = float(np.max(reception.p99_off_ms, initial=0.0))
    lost = max(0, reception.lost - heard.kernel_drops)
    return [
        who,
        f"{reception.packets:,}",
        f"{reception.paced:,} of {reception.streams:,}",
        number(worst),
        f"{reception.long_gaps:,}",
        number(reception.longest_gap_ms, 1),
        str(lost),
        str(heard.kernel_drops),
        number(heard.late_ms_p99),
    ]


PACING_HEAD = ["sender", "packets", "streams 20 ± 3 ms at p99", "worst stream's p99, ms off", "gaps over 40 ms"]
PACING_HEAD += ["longest gap, ms", "lost", "dropped at the generator", "generator late p99, ms"]


class Pacing:
    name = "pacing"
    title = "1,500 calls with prompt, keys and recording"

    def steps(self, bench: Bench) -> int:
        return len(IO_PATHS) + 1

    def run(self, bench: Bench) -> Section:
        calls, seconds = bench.size(1500, 40), bench.seconds(40, 1.5)
        section = Section(self.title)
        rows, histograms = [], {}
        bench.advance(f"{self.name}: {calls:,} calls, bare sender")
        bare, _, _, _ = run_engine(bench, engines.bare, calls=calls, seconds=seconds, by_ssrc=True)
        rows.append(pacing_row("bare sender", bare))
        histograms["bare sender"] = bare.reception.histogram.tolist()
        for io in IO_PATHS:
            bench.advance(f"{self.name}: {calls:,} calls, {NAMES[io]}")
            try:
                sample = measure(bench, works.Recorded(), calls=calls, io=io, seconds=seconds)
            except LeftOut as reason:
                section.left_out.append(f"{NAMES[io]}: {reason}")
                continue
            except (ProcessError, RuntimeError) as error:
                section.failures.append(f"{NAMES[io]}: {error}")
                continue
            section.failures += [f"{NAMES[io]}: {problem}" for problem in sample.problems]
            rows.append(pacing_row(f"Ivrea, {NAMES[io]}", sample.heard))
            histograms[f"Ivrea, {NAMES[io]}"] = sample.heard.reception.histogram.tolist()
            section.text += self._interpret(io, sample, bare.reception)
        section.tables.append(Table(PACING_HEAD, rows))
        plots.histogram(
            bench.plots / "pacing.png",
            f"Time between packets of a stream, {calls:,} calls, {seconds:g} s",
            "ms",
            BIN_MS,
            histograms,
        )
        section.plots.append(("pacing.png", "time between packets of a stream"))
        section.notes.append(
            "The times are those at which the kernel took each packet in (`SO_TIMESTAMPNS`), all streams. The bare "
            "sender is a "
            "loop of `sendmmsg` on the same four phases, one socket, no engine, with the same packets coming in."
        )
        return section

    @staticmethod
    def _interpret(io: str, sample: Sample, bare: Reception) -> list[str]:
        reception = sample.heard.reception
        lost_in = sum(stats.lost for stats in sample.stats)
        late_in = sum(stats.late for stats in sample.stats)
        load = sample.loads[-1] if sample.loads else None
        drops = f"{load.kernel_drops} in its sockets, {load.ring_drops} frames of recordings" if load else "unknown"
        paced = "all streams keep" if reception.paced == reception.streams else (
            f"{reception.streams - reception.paced:,} of {reception.streams:,} streams miss"
        )  # fmt: skip
        return [
            (
                f"{NAMES[io]}: {paced} 20 ms ± 3 ms at p99 (bare sender: {bare.paced:,} of {bare.streams:,} keep it); "
                f"{reception.long_gaps:,} gaps over 40 ms, {bare.long_gaps:,} with the bare sender. "
                f"Of the packets due {100 * sample.delivered:.1f} % came."
            ),
            (
                f"Packets lost inside: {max(0, reception.lost - sample.heard.kernel_drops)} on the way out; on the "
                "way in "
                f"{lost_in} missing and {late_in} too late by the worker's statistics of all streams; drops "
                f"counted: {drops}."
            ),
            (
                f"Memory: {number(sample.memory_kib, 0)} KiB a call over the idle processes; the goal is "
                f"{MEMORY_LIMIT:g}: "
                f"{verdict(sample.memory_kib, MEMORY_LIMIT)}. CPU: {number(sample.ratio)} times the floor."
            ),
        ]
