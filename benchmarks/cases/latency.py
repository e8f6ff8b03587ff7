"""How long a caller waits: for the answer, for the first sound, for silence after a key."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import plots, whole_daemon
from benchmarks.bench import Bench, Section, Table
from benchmarks.figures import number, percentiles

if TYPE_CHECKING:
    from kit.rtp import Packet

AT_A_TIME = 5
KINDS = {"rfc4733": "RFC 4733", "inband": "in-band"}


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one call, in ms: INVITE to 200, 200 to the first packet, 200 to the first of the prompt, key to its last."""

    answer: float
    first_packet: float
    prompt: float
    barge_in: float


def last_of(packets: Iterable[Packet], hertz: float, since: float) -> float:
    """When the last packet came in that carries the tone that sounded at ``since``, be it dying away."""
    from kit import sound
    from kit.rtp import RtpEndpoint

    last = since
    for packet in packets:
        if packet.payload_type == 0 and packet.at >= since:
            if sound.power_at(RtpEndpoint.decode(packet), hertz) < -45:
                break
            last = packet.at
    return last


def one_call(server: tuple[str, int], number: str, kind: str, hertz: float) -> Latencies:
    """Call, let the prompt (a tone of ``hertz``) play for a second, press 1. Raises AssertionError as the kit does."""
    from kit import sound
    from kit.phone import Phone

    with Phone(server) as phone:
        invited = time.time()
        answer = phone.call(number)
        if answer.status != 200:
            raise AssertionError(answer.start)
        first = phone.rtp.wait_for(lambda packets: packets[0].at if packets else None, 5, "no RTP")
        prompt = phone.rtp.wait_for_sound(hertz)
        time.sleep(1.0)
        if kind == "rfc4733":
            phone.rtp.press("1", name="key")
        else:
            phone.rtp.say(sound.dtmf("1"), "key")
        phone.rtp.drained()
        pressed = phone.rtp.sent_at["key"]
        time.sleep(0.7)
        last = last_of(list(phone.rtp.packets), hertz, pressed)
        answered = phone.answered_at
        return Latencies(
            1000 * (answered - invited), 1000 * (first - answered), 1000 * (prompt - answered), 1000 * (last - pressed)
        )


class Latency:
    name = "latency"
    title = "Latency of a call"

    def steps(self, bench: Bench) -> int:
        return len(KINDS)

    def run(self, bench: Bench) -> Section:
        from kit import sound, trees

        section = Section(self.title)
        calls = bench.size(40, 4)
        tree = {"_": "long.wav", "key:1": {"_": "quiet.wav", "key:2": "quiet.wav"}}
        sounds = {"long.wav": sound.tone(trees.ROOT_HZ, 20.0), "quiet.wav": sound.silence(2.0)}
        found: dict[str, list[Latencies]] = {}
        with whole_daemon.daemon_with(tree, sounds) as daemon, ThreadPoolExecutor(AT_A_TIME) as pool:
            for kind, name in KINDS.items():
                bench.advance(f"{self.name}: {calls} calls, {name}")
                running = [pool.submit(one_call, daemon.address, "1000", kind, trees.ROOT_HZ) for _ in range(calls)]
                for call in running:
                    try:
                        found.setdefault(kind, []).append(call.result())
                    except AssertionError as error:
                        section.failures.append(f"{name}: {str(error)[:200]}")
        self._tell(bench, section, found)
        return section

    @staticmethod
    def _tell(bench: Bench, section: Section, found: dict[str, list[Latencies]]) -> None:
        every = [each for calls in found.values() for each in calls]
        if not every:
            return
        series: dict[str, Sequence[float]] = {
            "INVITE to 200": [each.answer for each in every],
            "200 to first RTP": [each.first_packet for each in every],
            "200 to begin of prompt": [each.prompt for each in every],
        }
        for kind, calls in found.items():
            series[f"{KINDS[kind]} key to last of prompt"] = [each.barge_in for each in calls]
        rows = [[name, str(len(values)), *percentiles(values)] for name, values in series.items()]
        section.tables.append(Table(["from … to", "calls", "median, ms", "p90, ms", "greatest, ms"], rows))
        plots.distribution(bench.plots / "latency.png", "Latencies of a call", "ms", series)
        section.plots.append(("latency.png", "latencies of a call"))
        barge_in = ", ".join(
            f"{number(sorted(values)[len(values) // 2], 0)} ms after the begin of a key by {name.partition(' key')[0]}"
            for name, values in series.items()
            if "key" in name
        )
        section.text.append(f"In the median a prompt ends {barge_in}.")
        section.notes.append(
            f"{AT_A_TIME} calls at a time over SIP and RTP; packets are timed by the kernel when they come in, "
            "keys when their "
            "first packet leaves. The prompt begins 100 ms after the answer by configuration (`calls.settle_ms`). "
            "An in-band "
            "key has to sound for 40 ms before it is one (ITU-T Q.24)."
        )
