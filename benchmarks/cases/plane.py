"""What a leg costs at the kinds of work of the first table, and how that depends on the number of calls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import ClassVar

from benchmarks import plots, works
from benchmarks.bench import Bench, Goal, LeftOut, Section, Table
from benchmarks.figures import number, spread, verdict
from benchmarks.measure import Sample, Work, measure
from benchmarks.media_processes import IO_PATHS, ProcessError

NAMES = {"portable": "portable", "uring": "io_uring"}

Configuration = tuple[str, int]
"""I/O path and number of calls."""

Samples = dict[Configuration, list[Sample]]


def ratio(samples: Sequence[Sample]) -> float:
    """Times the floor, the median."""
    return statistics.median(sample.ratio for sample in samples)


class PlaneCase:
    """Measures ``work`` at several sizes, all sizes once before any of them again."""

    name = ""
    title = ""
    label = ""
    reference = "–"
    goal = ""
    limits: ClassVar[dict[str, float]]
    at: tuple[int, int] = (1000, 40)
    """Calls at which the goal is judged: of the whole run, of the quick one."""
    sizes: tuple[Sequence[int], Sequence[int]] = ((1000,), (40,))

    def work(self) -> Work:
        raise NotImplementedError

    def configurations(self, bench: Bench) -> list[Configuration]:
        return [(io, calls) for calls in self.sizes[bench.quick] for io in IO_PATHS]

    def steps(self, bench: Bench) -> int:
        return len(self.configurations(bench)) * bench.repetitions

    def run(self, bench: Bench) -> Section:
        section = Section(self.title)
        samples = self.measure(bench, section, self.work(), self.configurations(bench))
        bench.shared[self.name] = samples
        judged = self.at[bench.quick]
        measured = {}
        for io in IO_PATHS:
            found = samples.get((io, judged))
            if not found:
                continue
            measured[io] = f"{spread([sample.ratio for sample in found])} ×"
            section.text.append(
                f"At {judged:,} calls on the {NAMES[io]} path a leg costs {number(ratio(found))} times the floor; "
                f"the goal is {self.limits[io]:g}: {verdict(ratio(found), self.limits[io])}."
            )
            delivered = statistics.median(sample.delivered for sample in found)
            if delivered < 0.98:
                section.text.append(
                    f"The {NAMES[io]} path was overloaded: only {100 * delivered:.0f} % of the packets due came. "
                    "What a "
                    "leg costs is counted per call-second that was delivered."
                )
        section.goals.append(Goal(self.label, self.reference, self.goal, measured))
        return section

    def measure(
        self,
        bench: Bench,
        section: Section,
        work: Work,
        configurations: Sequence[Configuration],
        *,
        warm: float = 2.0,
        seconds: float = 6.0,
    ) -> Samples:
        """Samples of all configurations, in a table; an I/O path that is missing, or fails, is not tried again."""
        samples: Samples = {}
        given_up: set[str] = set()
        for _ in range(bench.repetitions):
            for io, calls in configurations:
                bench.advance(f"{self.name}: {calls:,} calls, {NAMES[io]}")
                if io in given_up:
                    continue
                try:
                    sample = measure(bench, work, calls=calls, io=io, warm=warm, seconds=seconds)
                except LeftOut as reason:
                    given_up.add(io)
                    section.left_out.append(f"{NAMES[io]}: {reason}")
                except (ProcessError, RuntimeError) as error:
                    given_up.add(io)
                    section.failures.append(f"{calls:,} calls, {NAMES[io]}: {error}")
                else:
                    samples.setdefault((io, calls), []).append(sample)
                    section.failures += [f"{calls:,} calls, {NAMES[io]}: {problem}" for problem in sample.problems]
        if samples:
            section.tables.append(table(samples))
            section.notes.append(checked(samples))
        return samples


def table(samples: Samples) -> Table:
    head = ["calls", "path", "worker, ms", "writer, ms", "recogniser, ms", "floor, ms"]
    head += ["times the floor", "delivered, %"]
    head += ["generator, ms", "ticks late p99, ms", "memory, KiB a call"]
    rows = []
    for (io, calls), found in samples.items():
        cpu = [
            spread([sample.cpu[process] for sample in found if process in sample.cpu], 3)
            for process in ("worker", "writer", "recogniser")
        ]
        rows.append(
            [
                f"{calls:,}",
                NAMES[io],
                *cpu,
                spread([sample.floor for sample in found], 3),
                f"**{spread([sample.ratio for sample in found])}**",
                spread([100 * sample.delivered for sample in found], 1),
                spread([sample.generator_cpu for sample in found], 3),
                spread([max((load.late_ms_p99 for load in sample.loads), default=0.0) for sample in found]),
                spread([sample.memory_kib for sample in found], 0),
            ]
        )
    return Table(head, rows)


def checked(samples: Samples) -> str:
    """What the generator checked and what it found."""
    every = [sample for found in samples.values() for sample in found]
    packets = sum(sample.heard.reception.packets for sample in every)
    lost = sum(max(0, sample.heard.reception.lost - sample.heard.kernel_drops) for sample in every)
    seconds = sum(sound.loud for sample in every for sound in sample.heard.reception.sounds)
    right = sum(sound.right for sample in every for sound in sample.heard.reception.sounds)
    skipped = sum(sample.heard.reception.skipped for sample in every)
    pressed, told = sum(sample.heard.keys for sample in every), sum(sample.keys.get("rfc4733", 0) for sample in every)
    false = sum(sample.keys.get("inband", 0) for sample in every)
    drops = sum(sample.loads[-1].kernel_drops + sample.loads[-1].ring_drops for sample in every if sample.loads)
    keys = f"Keys pressed {pressed:,}, told of {told:,}; keys taken out of speech: {false}. " if pressed or told else ""
    return (
        f"Checked: {packets:,} packets, {lost} lost, {skipped} frames skipped; {right:,} of {seconds:,} compared "
        f"seconds of sound are right. {keys}"
        f"Drops that the worker counted: {drops}. The worker said: {'; '.join(sorted({s.about for s in every}))}."
    )


class Play(PlaneCase):
    name = "play"
    title = "Prompt, keys, jitter buffer, RTCP"
    label = "play + receive + DTMF (RFC 4733 and in-band armed), jitter buffer, RTCP"
    reference = "14–17 ×"
    goal = "≤ 3 × portable, ≤ 2 × io_uring, at 1,000 calls"
    limits: ClassVar = {"portable": 3.0, "uring": 2.0}
    sizes = ((100, 500, 1000, 1500), (20, 40))

    def work(self) -> Work:
        return works.PlayAndKeys()


class Record(PlaneCase):
    name = "record"
    title = "The same with stereo recording"
    label = "the same + stereo 16-bit recording"
    reference = "25–28 × (mono mix)"
    goal = "≤ 5 ×"
    limits: ClassVar = {"portable": 5.0, "uring": 5.0}
    sizes = ((500, 1000, 1500), (40,))

    def work(self) -> Work:
        return works.Recorded()

    def configurations(self, bench: Bench) -> list[Configuration]:
        judged = self.at[bench.quick]
        return [each for each in super().configurations(bench) if each[0] == "portable" or each[1] == judged]


class Bridge(PlaneCase):
    name = "bridge"
    title = "Bridged legs"
    label = "bridged leg (relay, no transcoding)"
    goal = "≤ 3 ×"
    limits: ClassVar = {"portable": 3.0, "uring": 3.0}

    def work(self) -> Work:
        return works.Bridged()


class ConferenceRoom(PlaneCase):
    name = "conference"
    title = "Conferences of ten"
    label = "member of a conference of 10, two of whom talk"
    goal = "≤ 5 ×"
    limits: ClassVar = {"portable": 5.0, "uring": 5.0}

    def work(self) -> Work:
        return works.Conference()


class Words(PlaneCase):
    """Two kinds of caller; what talking adds is measured with few, as listening is limited by the recogniser."""

    name = "words"
    title = "Ten words armed"
    label = "ten words armed, caller silent / talking"
    goal = "≤ 3.5 × / + 5 ms"
    limits: ClassVar = {"portable": 3.5, "uring": 3.5}
    talkers = (60, 8)
    added_limit = 5.0

    def work(self) -> Work:
        return works.TenWords(talking=False)

    def configurations(self, bench: Bench) -> list[Configuration]:
        return [*super().configurations(bench), ("portable", self.talkers[bench.quick])]

    def steps(self, bench: Bench) -> int:
        return super().steps(bench) + bench.repetitions

    def run(self, bench: Bench) -> Section:
        section = super().run(bench)
        few = self.talkers[bench.quick]
        silent = bench.shared[self.name].get(("portable", few))
        here = ("portable", few)
        talking = self.measure(
            bench, section, works.TenWords(talking=True), [here], warm=bench.seconds(5, 2), seconds=10
        ).get(here)
        if not silent or not talking:
            return section
        added = statistics.median(sample.cost for sample in talking) - statistics.median(
            sample.cost for sample in silent
        )
        heard = sum(sample.utterances for sample in talking)
        unheard = sum(sample.loads[-1].not_listening for sample in talking if sample.loads)
        section.text.append(
            f"A caller who talks without end adds {number(added)} ms of CPU per call-second in all processes "
            f"({few} callers, "
            f"{heard} utterances, {unheard} not heard for want of room); the goal is {self.added_limit:g}: "
            f"{verdict(added, self.added_limit)}."
        )
        goal = section.goals[0]
        measured = dict(goal.measured)
        measured["portable"] = f"{measured.get('portable', '–')} / + {number(added)} ms"
        section.goals[0] = Goal(goal.work, goal.reference, goal.goal, measured)
        return section


class Scaling:
    """The figures of the cases before, by number of calls."""

    name = "scaling"
    title = "Cost per call by number of calls"

    def steps(self, bench: Bench) -> int:
        return 1

    def run(self, bench: Bench) -> Section:
        bench.advance(self.name)
        lines: dict[str, list[tuple[float, float]]] = {}
        for case, what in (("play", "prompt and keys"), ("record", "with recording")):
            for (io, calls), found in bench.shared.get(case, {}).items():
                lines.setdefault(f"{what}, {NAMES[io]}", []).append((calls, ratio(found)))
        lines = {name: points for name, points in lines.items() if len(points) > 1}
        if not lines:
            raise LeftOut("the cases play and record were not measured at several sizes in this run")
        section = Section(self.title)
        plots.curves(
            bench.plots / "scaling.png",
            "CPU of all processes per call",
            "calls on one worker",
            "times the kernel floor",
            lines,
            {"goal, portable": 3.0, "goal, io_uring": 2.0},
        )
        section.plots.append(("scaling.png", "cost per call by number of calls"))
        for name, points in lines.items():
            ordered = sorted(points)
            change = 100 * (ordered[-1][1] / ordered[0][1] - 1)
            how = "flat or falling" if change <= 5 else "rising"
            section.text.append(
                f"{name[0].upper()}{name[1:]}: {number(ordered[0][1])} times the floor at {ordered[0][0]:,.0f} calls, "
                f"{number(ordered[-1][1])} at {ordered[-1][0]:,.0f} ({change:+.0f} %): {how}."
            )
        return section
