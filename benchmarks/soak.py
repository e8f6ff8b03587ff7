"""Calls at a steady rate for a long time with packets lost, and a look at everything that could grow.

``make soak``, or ``python -m benchmarks.soak --minutes 120 --rate 15 --report benchmarks/SOAK.md``. SIPp makes the
calls: half of them walk two levels by in-band keys, recorded, with callbacks; others hang up in the middle, are bridged
to a telephone and leave at any time, or are sent to another number. As root with nftables all this happens in a network
of its own that loses one UDP packet in a hundred, of SIP and of sound; elsewhere SIPp loses one SIP message in a
hundred of the bridged calls. Exit status 1 when a call failed, a process, a figure of ``/metrics`` or the number of
descriptors grew, a call or leg has no end, a recording does not open, or a call's end or callback is missing.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

from kit import sipp, trees
from kit.daemon import Daemon, alive, poll
from kit.ports import free_range

from benchmarks.long_run import caller, machine, report, table
from benchmarks.soak_watch import Watch, at_rest, family, left_open, not_as_before, tallying

TOGETHER = 500
STRAYED = 0.02
"""Share of callers whose path may be another when packets of sound, with keys in them, are lost."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of calls: its share of all, what the callers do, and where they call."""

    name: str
    share: float
    scenario: str
    number: str
    fill: dict[str, str]
    lossy: bool = False
    """One SIP message in a hundred is lost by SIPp, each way, where the network does not do it."""

    given_up: float = 0.002
    """Share that SIPp may count as failed when packets are lost: it does not know every order of messages that a loss
    makes, such as a REFER that comes again behind its NOTIFY, or a BYE before the lost answer to the last NOTIFY. What
    is asked of the daemon is asked of all calls.
    """

    @property
    def hook(self) -> str:
        return "/" + self.name.replace(" ", "-")


KINDS = (
    Kind("whole", 0.5, "uac_audio", "1000", {}),
    Kind("cut", 0.1, "uac_hangup", "1001", {"TALK_MS": "900"}),
    Kind("bridged", 0.25, "uac_leaves", "1002", {}, lossy=True),
    Kind("sent on", 0.15, "uac_refer", "1003", {"TARGET": "390222", "OUTCOME": "200 OK"}, given_up=0.05),
)
"""Two levels of a tree by keys; a caller who leaves in the middle; a bridge to a telephone that is left at any time; a
caller who is sent to another number."""

LOSS = ("-lost", "1")
_NETWORK = "--in-lossy-network"
_RULES = """table inet loss {
  chain incoming {
    type filter hook input priority 0; policy accept;
    meta l4proto udp numgen random mod 100 0 counter drop
  }
}
"""


def enter_lossy_network() -> None:
    """Start this program again in a network of its own. Does not return."""
    os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "benchmarks.soak", *sys.argv[1:], _NETWORK])


def lose_packets() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)


def flows(url: str, echo: int) -> dict[str, object]:
    bridge = {"id": "b", "action": "transfer", "options": {"destination": f"sip:echo@127.0.0.1:{echo}"}}
    return {
        "1000": trees.two_levels(url + "/whole"),
        "1001": trees.two_levels(url + "/cut"),
        "1002": {"title": "bridged", "steps": [bridge]},
        "1003": trees.straight_transfer("+390222", url + "/sent-on"),
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What SIPp counted."""

    good: int
    failed: int
    sent_again: int


def outcome(running: sipp.Sipp) -> Outcome:
    with (running.folder / "stats.csv").open() as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    return Outcome(*(int(last[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall", "Retransmissions")))


class Soak:
    """One soak; ``lossy``: the network loses packets."""

    def __init__(self, folder: Path, minutes: float, rate: float, *, lossy: bool) -> None:
        self.folder, self.minutes, self.rate, self.lossy = folder, minutes, rate, lossy
        self.counts = {kind.name: max(1, round(minutes * 60 * rate * kind.share)) for kind in KINDS}
        self.problems: list[str] = []
        self.lines: list[str] = []

    def run(self) -> None:
        patience = ["-timeout", f"{round(self.minutes * 60 + 180)}", "-trace_stat", "-stf", "stats.csv", "-fd", "30"]
        hooks, tally = tallying()
        hooks.start()
        echo = sipp.start(
            "uas_echo",
            self.folder / "echo",
            calls=self.counts["bridged"],
            together=TOGETHER,
            traced=False,
            arguments=[*patience, *self._loss(lossy=True)],
        )
        low, high = free_range(3000)
        daemon = Daemon(
            self.folder / "daemon",
            flows(hooks.url(""), echo.port),
            settings={"rtp": {"ports": f"{low}-{high}"}},
            record=["1000"],
            sounds=trees.SOUNDS,
        ).start()
        before = at_rest(daemon)
        callers = {
            kind.name: sipp.start(
                kind.scenario,
                self.folder / kind.hook[1:],
                server=daemon.address,
                audio=caller(),
                number=kind.number,
                calls=self.counts[kind.name],
                rate=self.rate * kind.share,
                together=TOGETHER,
                fill=kind.fill,
                traced=False,
                arguments=[*patience, *self._loss(lossy=kind.lossy)],
            )
            for kind in KINDS
        }
        watch = Watch(daemon)
        began = time.monotonic()
        watch.until(lambda: all(each.process.poll() is not None for each in callers.values()))
        seconds = time.monotonic() - began
        figures = [[name, *(f"{value:g}" for value in values)] for name, *values, _ in watch.rows()]
        grown = [problem for *_, problem in watch.rows() if problem]
        echo.stop()

        total = sum(self.counts.values())
        self._expect(lambda: daemon.log().count('"event": "call ended"') >= total, f"{total} calls have ended")
        for kind in KINDS:
            if kind.name != "bridged":
                wanted = self.counts[kind.name]
                self._expect(
                    lambda kind=kind, n=wanted: tally.events[kind.hook, "close"] == n,
                    f"{kind.name}: {wanted} ends told",
                )
        self._callers(callers, daemon)
        unfinished, rows = left_open(daemon.folder / "ivrea.db")
        self.problems += unfinished
        watch.take_recordings(0.0)
        if watch.recordings != self.counts["whole"]:
            self.problems.append(f"{watch.recordings} recordings of {self.counts['whole']} calls")
        self.problems += [*grown, *watch.broken[:20]]
        time.sleep(40)  # closed ports rest for a while, and so do connections to web servers and transactions
        self.problems += not_as_before(before, at_rest(daemon))
        pids = [pid for _, pid in family(daemon)]
        if daemon.stop() != 0 or any(map(alive, pids)):
            self.problems.append("the daemon did not stop cleanly")
        hooks.stop()

        self.lines += [
            f"{total:,} calls in {seconds / 60:.0f} minutes ({total / seconds:.1f} a second).",
            f"{watch.recordings:,} recordings of {watch.seconds / 3600:.1f} hours were opened.",
            f"{sum(tally.events.values()):,} callbacks, {tally.repeats:,} of them more than once.",
            "",
            table(["figure", "first quarter, median", "last quarter, median", "greatest"], figures),
            "",
            "Rows at the end: " + ", ".join(f"{name} {count:,}" for name, count in rows.items()) + ".",
        ]

    def _loss(self, *, lossy: bool) -> tuple[str, ...]:
        return LOSS if lossy and not self.lossy else ()

    def _expect(self, what: Callable[[], bool], sentence: str) -> None:
        try:
            poll(lambda: what() or None, 90, sentence, every=1.0)
        except AssertionError as error:
            self.problems.append(f"not so: {error}")

    def _callers(self, callers: dict[str, sipp.Sipp], daemon: Daemon) -> None:
        rows = []
        for kind in KINDS:
            running = callers[kind.name]
            counted = outcome(running)
            rows.append([kind.name, f"{counted.good:,}", f"{counted.failed:,}", f"{counted.sent_again:,}"])
            allowed = kind.given_up * self.counts[kind.name] if self.lossy or kind.lossy else 0
            if counted.failed > allowed or counted.good + counted.failed != self.counts[kind.name]:
                self.problems.append(f"{kind.name}: {counted}; SIPp: {running.story()[-600:]}")
        walked = daemon.log().count(f'"path": "{trees.path("key:1", "key:2")}"')
        strayed = self.counts["whole"] - walked
        if strayed > (STRAYED * self.counts["whole"] if self.lossy else 0):
            self.problems.append(f"{strayed} calls did not take their path")
        self.lines += [
            table(["calls", "good for SIPp", "failed for SIPp", "messages sent again by SIPp"], rows),
            "",
            f"{walked:,} of {self.counts['whole']:,} callers got to the end of the tree by keys in their sound.",
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=5.0, help="calls a second")
    parser.add_argument("--report", type=Path, help="write what was seen to this file, too")
    parser.add_argument(_NETWORK, action="store_true", help=argparse.SUPPRESS, dest="lossy")
    options = parser.parse_args()
    if not options.lossy and os.geteuid() == 0 and all(map(shutil.which, ("unshare", "nft", "ip"))):
        enter_lossy_network()
    if options.lossy:
        lose_packets()
    with tempfile.TemporaryDirectory(prefix="ivrea-soak-") as folder:
        soak = Soak(Path(folder), options.minutes, options.rate, lossy=options.lossy)
        soak.run()
    lost = "one UDP packet in a hundred" if options.lossy else "one SIP message in a hundred of bridges"
    pace = f"{options.rate:g} calls a second for {options.minutes:g} minutes"
    intro = f"{pace} (`make soak`) on {machine()}; {lost} lost."
    return report("Soak", intro, soak.lines, soak.problems, options.report)


if __name__ == "__main__":
    sys.exit(main())
