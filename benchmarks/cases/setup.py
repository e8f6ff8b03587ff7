"""What it costs to set a call up and take it down: callers that are answered and hung up on at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import plots, processes, whole_daemon
from benchmarks.bench import Bench, CaseError, Section, Table
from benchmarks.figures import number, percentiles
from benchmarks.media_processes import scratch
from benchmarks.responder import respond
from benchmarks.sip_alone import answer_all
from benchmarks.sip_callers import Outcome, SipGenerator

SCENARIO = Path(__file__).parents[1] / "scenarios" / "hung_up.xml"


@contextlib.contextmanager
def answering(how: Callable[[Connection], None]) -> Iterator[tuple[int, int]]:
    """(port, process id) of a process that does nothing but answer calls."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=how, args=(far_end,), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield pipe.recv(), process.pid
    finally:
        process.kill()
        process.join()


def run_sipp(port: int, calls: int, rate: float) -> None:
    """SIPp makes the calls. Raises CaseError when one of them failed."""
    with scratch() as folder:
        command = ["sipp", "-sf", str(SCENARIO), "-s", "1000", "-i", "127.0.0.1", "-m", str(calls), "-r", f"{rate:g}"]
        command += ["-nostdin", "-timeout", f"{calls / rate + 30:.0f}", "-timeout_error", "-skip_rlimit"]
        done = subprocess.run(
            [*command, f"127.0.0.1:{port}"], cwd=folder, check=False, capture_output=True, text=True, errors="replace"
        )
    if done.returncode:
        raise CaseError(f"SIPp, {rate:g} calls a second: exit status {done.returncode}, {done.stderr.strip()[-200:]}")


class SetUp:
    name = "setup"
    title = "Call set-up"

    def steps(self, bench: Bench) -> int:
        return 7

    def run(self, bench: Bench) -> Section:
        from kit import sound

        section = Section(self.title)
        calls, rate, high = bench.size(1500, 40), bench.size(100, 20), bench.size(250, 40)
        top = bench.size(500, 40)
        minute = bench.size(60 * top, 40)
        rows: list[list[str]] = []
        bare: dict[str, float] = {}
        times: dict[str, list[float]] = {}
        with answering(respond) as (port, pid):
            bench.advance(f"{self.name}: bare responder")
            for who, run in self._callers(port, calls, rate, section):
                with self._reported(section):
                    bare[who], outcome = self._spent_by(pid, calls, run)
                    rows.append(self._row("bare responder", who, rate, calls, Counter(responder=bare[who]), outcome))
        with answering(answer_all) as (port, pid):
            bench.advance(f"{self.name}: SIP and SDP alone")
            many, fast = bench.size(20_000, 40), bench.size(1000, 40)
            alone = 0.0
            for who, run, number_of, pace in self._paces(port, (calls, rate), (many, fast), section):
                with self._reported(section):
                    alone, outcome = self._spent_by(pid, number_of, run)
                    rows.append(self._row("SIP and SDP alone", who, pace, number_of, Counter(SIP=alone), outcome))
                    section.failures += self._faults(outcome, pace)
            section.text.append(
                f"SIP and SDP alone (our transport, endpoint and offer/answer, no flow, media, journal or log) cost "
                f"{number(alone)} ms a call at {fast:g} calls a second. What is alike in all calls is then at hand in "
                "the processor's caches; at low rates every call pays for fetching it."
            )
        tick = {"tick.wav": sound.tone(440.0, 0.02)}
        with whole_daemon.daemon_with({"_": "tick.wav"}, tick) as daemon:
            bench.advance(f"{self.name}: warming up")
            with SipGenerator(daemon.address, calls=bench.size(200, 10), rate=rate) as generator:
                generator.call()
            whole_daemon.settle(daemon)
            bench.advance(f"{self.name}: {rate:g} calls a second")
            for who, run in self._callers(daemon.sip_port, calls, rate, section):
                with self._reported(section):
                    spent, outcome = self._spent(daemon, calls, run)
                    rows.append(self._row("Ivrea", who, rate, calls, spent, outcome))
                    section.text.append(self._interpret(who, rate, spent, bare.get(who)))
                    section.failures += self._faults(outcome, rate)
            for several, pace in ((calls, high), (minute, top)):
                bench.advance(f"{self.name}: {pace:g} calls a second")
                with self._reported(section), SipGenerator(daemon.address, calls=several, rate=pace) as generator:
                    spent, outcome = self._spent(daemon, several, generator.call)
                    rows.append(self._row("Ivrea", "own generator", pace, several, spent, outcome))
                    if outcome is not None:
                        times[f"{pace:g} calls a second"] = outcome.answer_ms
                        section.text.append(self._tell(outcome, pace))
                        section.failures += self._faults(outcome, pace)
            bench.advance(f"{self.name}: report")
        plots.distribution(bench.plots / "setup.png", "INVITE to 200", "ms", times)
        section.plots.append(("setup.png", "time from INVITE to 200"))
        head = ["answering", "calling", "calls", "calls a second", "CPU of all processes, ms a call", "of which"]
        head += ["INVITE to 200, ms: median, p90, greatest", "sent again", "faults"]
        section.tables.append(Table(head, rows))
        section.notes.append(
            "Each call: INVITE, 200, ACK, BYE, 200; the flow plays 20 ms and hangs up. SIPp counts a call as good "
            "when all of "
            "this came; our generator checks status, CSeq, tag, Contact and SDP of each, and lets no message pass "
            "that it "
            "does not expect. The bare responder answers with fixed bytes on one socket."
        )
        return section

    @staticmethod
    @contextlib.contextmanager
    def _reported(section: Section) -> Iterator[None]:
        try:
            yield
        except (CaseError, RuntimeError) as error:
            section.failures.append(str(error))

    @staticmethod
    def _callers(port, calls, rate, section):
        """Who calls, and how: (name, what makes the calls)."""
        if shutil.which("sipp") is not None:
            yield "SIPp", lambda: run_sipp(port, calls, rate)
        elif "SIPp is not installed" not in section.left_out:
            section.left_out.append("SIPp is not installed")
        with SipGenerator(("127.0.0.1", port), calls=calls, rate=rate) as generator:
            yield "own generator", generator.call

    def _paces(
        self, port: int, usual: tuple[int, float], fast: tuple[int, float], section: Section
    ) -> Iterator[tuple[str, Callable[[], Outcome | None], int, float]]:
        """Who calls, what makes the calls, how many, and how many a second; at the ``fast`` pace our generator."""
        for who, run in self._callers(port, *usual, section):
            yield who, run, *usual
        with SipGenerator(("127.0.0.1", port), calls=fast[0], rate=fast[1]) as generator:
            yield "own generator", generator.call, *fast

    @staticmethod
    def _spent_by(pid: int, calls: int, run: Callable[[], Outcome | None]) -> tuple[float, Outcome | None]:
        """ms of CPU per call of one process while ``run`` makes the calls."""
        before = processes.cpu(pid)
        outcome = run()
        return 1000 * (processes.cpu(pid) - before) / calls, outcome

    @staticmethod
    def _faults(outcome: Outcome | None, rate: float) -> list[str]:
        return [f"{rate:g} calls a second: {dict(outcome.faults)}"] if outcome is not None and outcome.faults else []

    @staticmethod
    def _spent(daemon, calls, run) -> tuple[Counter[str], Outcome | None]:
        """ms of CPU per call by process while ``run`` makes the calls."""
        before = whole_daemon.cpu(daemon)
        outcome = run()
        whole_daemon.settle(daemon)
        after = whole_daemon.cpu(daemon)
        return Counter({name: 1000 * (used - before[name]) / calls for name, used in after.items()}), outcome

    @staticmethod
    def _row(
        answering: str, calling: str, rate: float, calls: int, spent: Counter[str], outcome: Outcome | None
    ) -> list[str]:
        parts = ", ".join(f"{name} {number(used)}" for name, used in spent.most_common() if used >= 0.005)
        times = " / ".join(percentiles(outcome.answer_ms)) if outcome and outcome.answer_ms else "–"
        faults = ", ".join(f"{count} {what}" for what, count in outcome.faults.items()) if outcome else ""
        again = f"{outcome.retransmitted} INVITE, {outcome.repeated} 200" if outcome else "–"
        total = number(sum(spent.values()))
        return [answering, calling, f"{calls:,}", f"{rate:g}", total, parts, times, again, faults or "none"]

    @staticmethod
    def _interpret(who: str, rate: float, spent: Counter[str], bare: float | None) -> str:
        total = sum(spent.values())
        times = f", {number(total / bare, 0)} times the bare responder" if bare else ""
        return (
            f"Called by {'SIPp' if who == 'SIPp' else 'our own generator'} at {rate:g} a second, a call costs "
            f"{number(total)} ms of "
            f"CPU in all processes{times}; the busiest process takes {number(max(spent.values()))} ms of it, which "
            "bounds the "
            f"rate at {1000 / max(spent.values()):.0f} calls a second."
        )

    @staticmethod
    def _tell(outcome: Outcome, rate: float) -> str:
        faults = f"{outcome.faults.total()} faults" if outcome.faults else "none failed"
        again = f"{outcome.retransmitted} INVITEs and {outcome.repeated} answers were sent again"
        return (
            f"At {rate:g} calls a second for {outcome.seconds:.0f} s {outcome.ended:,} calls were answered and ended, "
            f"{faults}; {again}."
        )
