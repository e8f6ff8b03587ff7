"""Cases for SIPp: a scenario, what is filled into it, and how its call has to end.

A :class:`Fleet` runs them against daemons that they share, several at a time, the longest first: a test only asks for
what has become of its own. Each has an address of its own (127.x.y.z), as refusals are counted by address.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import sipp
from kit.api import Api
from kit.daemon import Daemon
from kit.ports import free_port
from kit.relays import Relay, Splitter

TOGETHER = 12
"""Cases at a time; most of what they do is waiting."""
NO_CALL: Mapping[str, object] = {"call": None}
"""The end of a case that never became a call."""


@dataclass(frozen=True, slots=True)
class Case:
    """``scenario`` is a file in ``scenarios/``, ``variant`` tells cases with the same one apart.

    ``end`` has what the closing line of the call must say if SIPp calls, what the API must say if SIPp is called.
    """

    scenario: str
    end: Mapping[str, object]
    variant: str = ""
    number: str = "keys"
    """What is called: a number of the house."""
    fill: Mapping[str, str] = field(default_factory=dict)
    transport: str = "u1"
    patience: int = 12
    """Seconds that SIPp has."""
    repeated: str = ""
    """What SIPp must have received at least twice: the beginning of a line."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    in_pieces: bool = False
    """Every byte goes alone."""
    house: str = "open"
    devices: bool = False
    """It is a device of the house, with the name of the case."""
    trunk: bool = False
    """It is a trunk of the house that asks for a password."""
    login: str = ""
    """The user part of the URI that credentials are for."""
    held: int = -1
    """The number of the message of SIPp's, from 0, that reaches the house together with the next one."""
    moves: int = -1
    """The number of the message from which on they come from another port."""
    act: str = ""
    """What the API is asked to do with the call that SIPp has answered."""
    flow: str = ""
    """What runs when SIPp has answered: the flow of a number of the house; otherwise :attr:`pause`."""
    timeout: float = 30.0
    """Seconds that who is called may ring."""
    pause: float = 1
    """Seconds that the flow lasts if nobody hangs up."""
    hung_up: bool = False
    """The API ends the call once SIPp is done: others still talk."""
    legs: int = -1
    """How many legs the API must know beside the call's own, all of them over; -1: nobody looks."""

    @property
    def called(self) -> bool:
        """Whether SIPp is the one that is called."""
        return self.scenario.startswith("callee/")

    @property
    def name(self) -> str:
        return "_".join(filter(None, (self.scenario.partition("/")[2], self.variant)))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a case: what SIPp saw, and how the daemon says that it ended."""

    messages: str
    end: dict[str, Any]

    def received(self, beginning: str) -> int:
        """How many messages came to SIPp that have a line with this beginning."""
        came = re.split(r"^.* message (received|sent).*$", self.messages, flags=re.MULTILINE)
        texts = [text for kind, text in zip(came[1::2], came[2::2], strict=True) if kind == "received"]
        return sum(any(line.startswith(beginning) for line in text.splitlines()) for text in texts)


class Fleet:
    """All cases of a session on their way."""

    def __init__(self, cases: Sequence[Case], folder: Path) -> None:
        self._folder = folder
        self._hosts = {case.name: f"127.1.{index // 250}.{index % 250 + 1}" for index, case in enumerate(cases)}
        self._ports = {case.name: free_port(host=self._hosts[case.name]) for case in cases if case.trunk}
        self._pool = ThreadPoolExecutor(TOGETHER)
        self._runs: dict[str, Future[Run]] = {}
        self.cases = sorted(cases, key=lambda case: -case.patience)
        self.houses: dict[str, Daemon] = {}
        self.others: dict[str, str] = {}
        """URIs of others who may be called, by the word that stands for them in scenarios."""

    def devices(self) -> list[dict[str, object]]:
        return [{"name": case.name, "password": "secret"} for case in self.cases if case.devices]

    def trunks(self) -> list[dict[str, object]]:
        login = {"username": "ivrea", "password": "secret"}
        return [{"name": name, "host": f"{self._hosts[name]}:{port}", **login} for name, port in self._ports.items()]

    def sail(self) -> None:
        """Begin, once the houses are there."""
        for case in self.cases:
            run = self._call_it if case.called else self._call_us
            self._runs[case.name] = self._pool.submit(run, case, self.houses[case.house])

    def result(self, case: Case) -> Run:
        """What became of ``case``. Raises AssertionError with SIPp's story if it failed there."""
        return self._runs[case.name].result(case.patience + 90)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    # --- one case, on a thread of its own -------------------------------------------------------

    def _start(self, case: Case, folder: Path, server: tuple[str, int] | None) -> sipp.Sipp:
        for name, content in case.files.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        arguments = ["-cid_str", f"%u.{case.name}@sipp", "-key", "blank", " ", "-recv_timeout", "6000"]
        if case.login and server is not None:
            arguments += ["-auth_uri", f"{case.login}@{server[0]}:{server[1]}"]
        return sipp.start(
            case.scenario,
            folder,
            server=server,
            number=case.number,
            fill={"HEADER": "Subject: none", **case.fill, "DEVICE": case.name, **self.others},
            transport=case.transport,
            host=self._hosts[case.name],
            port=self._ports.get(case.name, 0),
            patience=case.patience,
            arguments=arguments,
        )

    def _call_us(self, case: Case, house: Daemon) -> Run:
        with contextlib.ExitStack() as stack:
            server = house.address
            if case.in_pieces:
                server = stack.enter_context(Splitter(server)).address
            if case.held >= 0 or case.moves >= 0:
                server = stack.enter_context(Relay(server, held=case.held, moves=case.moves)).address
            running = self._start(case, self._folder / case.name, server)
            stack.callback(running.stop)
            running.finish(case.patience + 5)
        call_id = f"1.{case.name}@sipp"
        if case.end == NO_CALL:
            begun = [row for row in house.events() if row.get("sip_call_id") == call_id]
            return Run(running.messages(), {"call": begun[0] if begun else None})
        if case.hung_up:
            status, answer = Api(house).ask("DELETE", f"/calls/{house.call_id(call_id)}")
            assert status == 202, answer
        end = house.closing(call_id, patience=60 if case.patience > 12 else 10)
        if case.legs >= 0:
            legs = Api(house).wait(end["call_id"], "ended")["legs"]
            assert [bool(leg["ended_at"]) for leg in legs] == [True] * case.legs, legs
        return Run(running.messages(), end)

    def _call_it(self, case: Case, house: Daemon) -> Run:
        running = self._start(case, self._folder / case.name, None)
        api = Api(house)
        kind = "" if case.transport.startswith("u") else ";transport=tcp"
        to = "+39011" if case.trunk else f"sip:{case.name}@{running.host}:{running.port}{kind}"
        more: dict[str, object] = {"trunk": case.name} if case.trunk else {}
        try:
            steps = [{"id": "hear", "action": "pause", "options": {"length": case.pause}}]
            flow = f"{case.flow}.json" if case.flow else {"document": {"title": "pause", "steps": steps}}
            call = api.call(to, flow, timeout=case.timeout, **more)
            if case.act:
                api.wait(call, "answered")
                status, answer = api.ask("POST", f"/calls/{call}/{case.act}", {})
                assert status == 202, answer
            running.finish(case.patience + 5)
        finally:
            running.stop()
        return Run(running.messages(), api.wait(call, "ended", patience=60 if case.patience > 12 else 10))


def flattened(end: Mapping[str, Any], wanted: Mapping[str, object]) -> dict[str, object]:
    """What ``end`` says of the keys of ``wanted``; ``end.sip`` is a key within a key."""
    found: dict[str, object] = {}
    for key in wanted:
        value: Any = end
        for part in key.split("."):
            value = value[part]
        found[key] = value
    return found


def check(case: Case, run: Run) -> None:
    """Whether the call ended as it has to."""
    assert flattened(run.end, case.end) == dict(case.end)
    if case.repeated:
        assert run.received(case.repeated) >= 2, run.messages[-6000:]
