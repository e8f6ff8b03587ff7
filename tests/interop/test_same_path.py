"""``simulate`` and the live call: the same path, spoken texts and callbacks, on every example."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from kit.daemon import ROOT, Daemon
from kit.hooks import HookServer

SCRIPTS = {
    "hello": ("say yes; say no", "press 1; press 1", "say no"),
    "survey": ("say yes; press 1", "say no; say yes", ""),
    "menu": ("press *", "press 2; say no", "press 1; press 2; press 11"),
    "callbacks": ("say yes; say no", "press 2"),
}
ELSEWHERE = {"clinic", "kazoo-reception", "messagebird"}
"""Examples that ring telephones or ask web servers that are not here: test_flows_live.py walks their verbs."""

RUNS = [(example, script) for example, scripts in SCRIPTS.items() for script in scripts]
AT_ONCE = 6

pytestmark = [pytest.mark.peer("pyttsx3", "espeakng_loader"), pytest.mark.sound, pytest.mark.timeout(300)]


def ivrea(*arguments: str) -> Any:
    """The JSON that a command prints."""
    command = [sys.executable, "-m", "engine.cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.stdout, f"{arguments}: {done.stderr}"
    return json.loads(done.stdout)


def number(index: int) -> str:
    return f"{5000 + index}"


@pytest.fixture(scope="module")
def receiver() -> Iterator[HookServer]:
    server = HookServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, receiver: HookServer) -> Iterator[Daemon]:
    """A daemon with a number for every run: the examples, their callbacks pointed at our own server."""
    flows: dict[str, object] = {}
    folder = tmp_path_factory.mktemp("examples")
    for index, (example, _) in enumerate(RUNS):
        path = folder / f"{number(index)}.json"
        text = (ROOT / "examples" / f"{example}.json").read_text()
        path.write_text(text.replace("http://127.0.0.1:9000/", receiver.url(f"/{number(index)}/")))
        flows[number(index)] = path
    with Daemon(folder / "daemon", flows) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def calls(live: Daemon) -> list[Future[Any]]:
    """All live calls, some at a time: a prompt takes as long as it takes.

    They are over before the first test goes on: none runs beside another process's test that has to be alone.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [  # and waits for them
            pool.submit(ivrea, "dial", live.uri(number(index)), "--script", script)
            for index, (_, script) in enumerate(RUNS)
        ]


@pytest.mark.parametrize(
    "index", range(len(RUNS)), ids=lambda index: f"{RUNS[index][0]}: {RUNS[index][1] or 'silence'}"
)
def test_simulated_and_live_agree(live: Daemon, receiver: HookServer, calls: list[Future[Any]], index: int) -> None:
    flow = live.folder / f"{number(index)}.json"
    simulated = ivrea("simulate", str(flow), "--script", RUNS[index][1])
    calls[index].result()
    (call,) = live.calls_to(number(index))
    closing = live.wait_closed(call, 30)
    assert closing["path"] == simulated["path"]
    spoken = [note["prompt"]["text"] or note["prompt"]["media"] for note in live.stored_notes(call, "Spoke")]
    assert spoken == [each.get("text") or each["media"] for each in simulated["spoken"]]
    expected: dict[str, list[tuple[str, str]]] = {}
    for each in simulated["callbacks"]:
        path = "/" + each["url"].partition("://")[2].partition("/")[2].partition("?")[0]
        expected.setdefault(path, []).append((each["params"]["e"], each["params"]["path"]))
    for path, events in expected.items():
        told = [(event["e"], event["path"]) for event in receiver.wait_for("close", path)]
        assert told == events


@pytest.mark.parametrize("index", range(len(RUNS)))
def test_a_live_call_can_be_replayed(live: Daemon, calls: list[Future[Any]], index: int) -> None:
    """Out of the database, with the times of a real caller, on the flow that it had."""
    calls[index].result()
    (call,) = live.calls_to(number(index))
    live.wait_closed(call, 30)
    live.stored_notes(call, "Spoke")  # so that it is in the database
    flow = live.folder / f"{number(index)}.json"
    again = ivrea("replay", call, str(flow), "--config", str(live.folder / "ivrea.toml"))
    assert again["same_way"], again["parted"]
    assert again["not_made"] == []


def test_every_example_is_compared() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.json")} == set(SCRIPTS) | ELSEWHERE
