"""What the loop of the control process feels of 1,000 calls with sound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import callers, whole_daemon
from benchmarks.bench import Bench, LeftOut, Section, Table
from benchmarks.callers import Sound
from benchmarks.figures import number, verdict
from benchmarks.generator import Expected, Generator, Heard, Plan
from benchmarks.measure import spread_out
from benchmarks.sip_callers import SipGenerator
from media.rates import RATE

if TYPE_CHECKING:
    from kit.daemon import Daemon

METRIC = "ivrea_loop_lag_ms"
LIMIT = 5.0


def samples(metrics: str, metric: str) -> dict[str, float]:
    """The samples of one metric in the text that Prometheus reads, by their labels."""
    found = {}
    for line in metrics.splitlines():
        if line.startswith(metric):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix(metric)] = float(value)
    return found


class Lag:
    name = "lag"
    title = "The loop of the control process under media"

    def steps(self, bench: Bench) -> int:
        return 2

    def run(self, bench: Bench) -> Section:
        from kit import sound, trees

        calls = bench.size(1000, 20)
        bench.advance(f"{self.name}: {calls:,} calls are set up")
        prompt = sound.tone(trees.ROOT_HZ, 120.0)
        with whole_daemon.daemon_with({"_": "long.wav", "key:1": "long.wav"}, {"long.wav": prompt}) as daemon:
            offered = METRIC in daemon.get("/metrics")
            if offered:
                section = self._measure(bench, daemon, calls, (prompt * 32767).astype("int16"))
        if not offered:
            raise LeftOut(f"/metrics does not offer {METRIC}")
        return section

    def _measure(self, bench: Bench, daemon: Daemon, calls: int, prompt: Sound) -> Section:
        rate, seconds = bench.size(50, 20), bench.seconds(70, 2)
        section = Section(self.title)
        schedule = callers.half_talking(callers.make_bank(), calls, keys=False)
        expected = [Expected(stream, [prompt[: 20 * RATE]]) for stream in spread_out(calls)]
        with Generator(Plan(schedule, seconds, expected)) as media:
            ports = [media.port(stream) for stream in range(calls)]
            with SipGenerator(daemon.address, calls=calls, rate=rate, media=ports, hold=True) as signalling:
                up = signalling.call()
                if up.answered < calls:
                    section.failures.append(f"{up.answered} of {calls} calls were answered: {dict(up.faults)}")
                    return section
                bench.advance(f"{self.name}: {calls:,} calls, {seconds:g} s")
                media.start(up.ports)
                time.sleep(bench.seconds(3, 1))
                media.mark()
                seen = self._watch(daemon, seconds)
                heard = media.stop()
                done = signalling.finish()
        self._tell(section, calls, seen, heard, done.ended)
        return section

    @staticmethod
    def _watch(daemon: Daemon, seconds: float) -> list[dict[str, float]]:
        """The metric, once a second."""
        seen = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1.0)
            seen.append(samples(daemon.get("/metrics"), METRIC))
        return seen

    @staticmethod
    def _tell(section: Section, calls: int, seen: list[dict[str, float]], heard: Heard, ended: int) -> None:
        labels = list(seen[-1])
        rows = [
            [label or "–", number(seen[-1][label]), number(max(each.get(label, 0.0) for each in seen))]
            for label in labels
        ]
        section.tables.append(Table([METRIC, "at the end", "greatest seen"], rows))
        high = [label for label in labels if "99" in label]
        if high:
            value = max(seen[-1][label] for label in high)
            greatest = max(each.get(label, 0.0) for each in seen for label in high)
            section.text.append(
                f"With {calls:,} calls playing and receiving, the loop is {number(value)} ms late at p99 in the "
                "last minute, "
                f"{number(greatest)} with their set-up; the goal is {LIMIT:g}: {verdict(value, LIMIT)}."
            )
        wrong = heard.reception.problems(heard.kernel_drops)
        section.failures += [f"the sound of the calls: {problem}" for problem in wrong]
        section.notes.append(
            f"{ended:,} of {calls:,} calls ended with our BYE; {heard.reception.packets:,} packets were checked."
        )
