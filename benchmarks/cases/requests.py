"""What requests to the HTTP API cost with 1,000 calls up, and what their sound feels of it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import callers, whole_daemon
from benchmarks.bench import Bench, CaseError, Section, Table
from benchmarks.callers import Sound
from benchmarks.cases.pacing import PACING_HEAD, pacing_row
from benchmarks.figures import number, percentiles
from benchmarks.generator import Expected, Generator, Heard, Plan
from benchmarks.helpers import Helper
from benchmarks.measure import spread_out
from benchmarks.sip_callers import SipGenerator, reply
from media.rates import RATE

if TYPE_CHECKING:
    from kit.daemon import Daemon

CONTROL = "control process"
CALLED = "sip:busy@127.0.0.1:{port}"
"""Whom ``call.cas`` calls: :class:`Busy`, so that a call is little more than its request."""


@dataclass(slots=True)
class Answered:
    """What became of requests: their times in ms, octets of the last answer, and statuses other than 200."""

    times: list[float] = field(default_factory=list)
    octets: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds if self.seconds else 0.0


class HttpClient(Helper):
    """Makes requests one after the other on one connection, in a process of its own."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__("the HTTP client", _client, (port, token), patience=150.0)

    def begin(self, path: str, body: dict[str, object], *, seconds: float, rate: float) -> None:
        """``rate`` a second, if the answers come in time; 0: each as soon as the last is answered."""
        self.pipe.send((path, json.dumps(body).encode(), seconds, rate))

    def finish(self) -> Answered:
        """Wait for the last answer."""
        answered: Answered = self.answer()
        return answered


def _client(pipe: Connection, port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    while True:
        try:
            path, body, seconds, rate = pipe.recv()
        except EOFError:
            return
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)  # the last one was idle for too long
        found, begun = Answered(), time.monotonic()
        while (now := time.monotonic()) < begun + seconds:
            if rate and (early := begun + len(found.times) / rate - now) > 0:
                time.sleep(early)
            sent = time.monotonic()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            found.octets = len(answer.read())
            found.times.append(1000 * (time.monotonic() - sent))
            if answer.status != 200:
                found.faults[str(answer.status)] += 1
        found.seconds = time.monotonic() - begun
        connection.close()
        pipe.send(found)


class Busy(Helper):
    """A telephone that is busy for all who call, in a process of its own."""

    def __init__(self) -> None:
        super().__init__("the busy telephone", _refuse, ())
        self.port: int = self.answer()


def _refuse(pipe: Connection) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        pipe.send(sock.getsockname()[1])
        while True:
            data, far = sock.recvfrom(65535)
            if data.startswith(b"INVITE "):
                sock.sendto(reply(data, b"486 Busy Here"), far)


class Requests:
    name = "requests"
    title = "Requests to the HTTP API beside calls"

    def steps(self, bench: Bench) -> int:
        return 5

    def run(self, bench: Bench) -> Section:
        from kit import sound, trees

        calls = bench.size(1000, 20)
        bench.advance(f"{self.name}: {calls:,} calls are set up")
        prompt = sound.tone(trees.ROOT_HZ, 120.0)
        section = Section(self.title)
        settings = {"api": {"brombler_rate": 0}}
        tree = {"_": "long.wav", "key:1": "long.wav"}
        with (
            whole_daemon.daemon_with(tree, {"long.wav": prompt}, settings=settings) as daemon,
            HttpClient(daemon.http_port, _token(daemon)) as client,
            Busy() as busy,
        ):
            self._measure(bench, daemon, client, calls, (prompt * 32767).astype("int16"), busy.port, section)
        return section

    def _measure(
        self, bench: Bench, daemon: Daemon, client: HttpClient, calls: int, prompt: Sound, port: int, section: Section
    ) -> None:
        rate = bench.size(20, 5)
        call: dict[str, object] = {"who": CALLED.format(port=port), "tree": {"_": "Hello!"}}
        wishes: list[tuple[str, str, dict[str, object], float]] = [
            ("none", "", {}, 0.0),
            (f"`list.cas`, {rate} a second", "/list.cas", {}, rate),
            ("`list.cas`, one after the other", "/list.cas", {}, 0.0),
            (f"`call.cas`, {rate} a second", "/call.cas", call, rate),
        ]
        seconds = bench.seconds(20, 2)
        costs: list[list[str]] = []
        pacing: list[list[str]] = []
        bank = callers.make_bank()
        expected = [Expected(stream, [prompt[: 20 * RATE]]) for stream in spread_out(calls)]
        for what, path, body, pace in wishes:
            bench.advance(f"{self.name}: {what}")
            schedule = callers.half_talking(bank, calls, keys=False)
            with ExitStack() as stack:
                media = stack.enter_context(Generator(Plan(schedule, seconds, expected)))
                far = [media.port(stream) for stream in range(calls)]
                signalling = stack.enter_context(
                    SipGenerator(daemon.address, calls=calls, rate=bench.size(50, 20), media=far, hold=True)
                )
                up = signalling.call()
                if up.answered < calls:
                    raise CaseError(f"{up.answered} of {calls} calls were answered: {dict(up.faults)}")
                media.start(up.ports)
                time.sleep(bench.seconds(3, 1))
                idle = self._idle(daemon, bench.seconds(5, 1))
                media.mark()
                before = whole_daemon.cpu(daemon)
                answered = None
                if path:
                    client.begin(path, body, seconds=seconds, rate=pace)
                    answered = client.finish()
                else:
                    time.sleep(seconds)
                spent = whole_daemon.cpu(daemon)[CONTROL] - before[CONTROL]
                heard = media.stop()
                signalling.finish()
            whole_daemon.settle(daemon)
            pacing.append(pacing_row(f"{calls:,} calls, requests: {what}", heard))
            if answered is not None:
                costs.append(self._cost(section, what, calls, answered, spent, idle))
            self._judge(section, what, heard)
        head = ["POST", "calls in the account", "requests a second", "CPU of the control process, ms a request"]
        head += ["answer after, ms: median, p90, greatest", "octets of the answer", "other than 200"]
        section.tables += [Table(head, costs), Table(PACING_HEAD, pacing)]
        section.notes.append(
            "One client in a process of its own, on one connection. One after the other: as soon as the last "
            "is answered. `call.cas` has a call tree in the request, and the calls are to a telephone "
            "that is busy: INVITE, 486, ACK and their record are in the figure. The CPU is what the control process "
            "takes while requests are made, less what it takes before with the same calls and no request. Calls are "
            "made anew for "
            "each line; times of packets are those at which the kernel took each one in."
        )

    @staticmethod
    def _idle(daemon: Daemon, seconds: float) -> float:
        """Share of a core that the control process takes with its calls alone."""
        before, begun = whole_daemon.cpu(daemon)[CONTROL], time.monotonic()
        time.sleep(seconds)
        return (whole_daemon.cpu(daemon)[CONTROL] - before) / (time.monotonic() - begun)

    @staticmethod
    def _cost(section: Section, what: str, calls: int, answered: Answered, spent: float, idle: float) -> list[str]:
        requests = len(answered.times)
        each = 1000 * max(0.0, spent - idle * answered.seconds) / max(1, requests)
        faults = ", ".join(f"{count} × {status}" for status, count in answered.faults.items())
        if faults:
            section.failures.append(f"{what}: {faults}")
        section.text.append(
            f"{what}, with {calls:,} calls up: {number(answered.rate, 1)} requests a second, {number(each)} ms of CPU "
            f"of the control process for each."
        )
        times = " / ".join(percentiles(answered.times))
        return [
            what,
            f"{calls:,}",
            number(answered.rate, 1),
            number(each),
            times,
            f"{answered.octets:,}",
            faults or "none",
        ]

    @staticmethod
    def _judge(section: Section, what: str, heard: Heard) -> None:
        wrong = heard.reception.problems(heard.kernel_drops)
        section.failures += [f"the sound of the calls, requests: {what}: {problem}" for problem in wrong]
        worst = float(np.max(heard.reception.p99_off_ms, initial=0.0))
        section.text.append(
            f"Pacing, requests: {what}: the worst stream is {number(worst)} ms off 20 ms at p99, "
            f"{heard.reception.long_gaps:,} gaps over 40 ms in {heard.reception.packets:,} packets."
        )


def _token(daemon: Daemon) -> str:
    """A token of ``auth.cas``, for a client that is made for it."""
    from kit.api import Api

    api = Api(daemon)
    client = api.ask("POST", "/clients", {"name": "bench", "user": "owner"})[1]
    connection = http.client.HTTPConnection("127.0.0.1", daemon.http_port, timeout=10)
    wish = {"client_id": client["client_id"], "client_secret": client["client_secret"], "exp": 7200}
    connection.request("POST", "/auth.cas", json.dumps(wish), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    if answer.status != 200:
        raise CaseError(f"auth.cas answers {found}")
    return str(found["access_token"])
