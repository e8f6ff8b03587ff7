"""Fixtures: a callback server and a daemon shared by tests that only call, and a maker of daemons for the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from database_server import DatabaseServer
from kit import sipp, trees
from kit.bird import HANGUP, TOKEN, Bird
from kit.cases import Case, Fleet
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.voice import Voice
from kit.web import WebServer

RECORDED = ("2000", "2001", "2010", "2011", "2012")


@pytest.fixture(scope="session")
def hooks() -> Iterator[HookServer]:
    server = HookServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, hooks: HookServer) -> Iterator[Daemon]:
    """One daemon for all tests that leave it as it was. Every number has its own callback path."""
    flows: dict[str, object] = {
        number: trees.two_levels(hooks.url(f"/{number}"))
        for number in (*RECORDED, "2002", "2003", "2004", "2005", "2006")
    }
    flows |= {
        "3000": trees.two_levels(hooks.url("/3000"), root="long.wav"),
        "3001": trees.every_key(),
        "4000": trees.straight_transfer("+390222", hooks.url("/4000")),
        "4001": trees.straight_transfer("+390222", hooks.url("/4001")),
        "4002": trees.straight_transfer("+390222", hooks.url("/4002")),
    }
    daemon = Daemon(
        tmp_path_factory.mktemp("house"),
        flows,
        record=RECORDED,
        sounds=trees.SOUNDS,
        devices=[{"name": "pyvoip", "password": "geheim"}, {"name": "device", "password": "secret"}],
    )
    with daemon:
        yield daemon


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """PostgreSQL for all tests that are :data:`kit.stores.on_both`."""
    with DatabaseServer() as server:
        yield server


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> dict[str, object]:
    """Keys of the section ``store`` for a daemon of this module: SQLite, unless the test is
    :data:`kit.stores.on_both`, and this is its turn on PostgreSQL.
    """
    if getattr(request, "param", None) is None:
        return {}
    server: DatabaseServer = request.getfixturevalue("database_server")
    return {"url": server.another()}


@pytest.fixture
def daemon_for(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Make a daemon of one's own; it is stopped, and must stop cleanly, at the end of the test."""
    made: list[Daemon] = []

    def make(flows: dict[str, object], **more: Any) -> Daemon:
        daemon = Daemon(tmp_path / f"daemon{len(made)}", flows, sounds=trees.SOUNDS, **more)
        made.append(daemon)
        return daemon.start()

    yield make
    for daemon in made:
        daemon.stop()


def rings(uri: str) -> dict[str, object]:
    """A flow that rings ``uri``."""
    ring = {"id": "ring", "action": "transfer", "options": {"destination": uri, "timeout": 60}}
    return {"title": "rings", "steps": [ring]}


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The cases of SIPp in this module that were asked for, all on their way, to an open house and to one that wants
    passwords.
    """
    items = [item for item in request.session.items if item.getparent(pytest.Module) is request.node]
    params = [item.callspec.params.get("case") for item in items if hasattr(item, "callspec")]
    fleet = Fleet([case for case in params if isinstance(case, Case)], tmp_path_factory.mktemp("fleet"))
    with contextlib.ExitStack() as stack:
        bell = sipp.start("uas_rings_on", tmp_path_factory.mktemp("bell"), calls=1000)
        stack.callback(bell.stop)
        talks = sipp.start("uas_talks", tmp_path_factory.mktemp("talks"), calls=1000)
        stack.callback(talks.stop)
        busy = sipp.start("uas_refuse", tmp_path_factory.mktemp("busy"), calls=1000, fill={"STATUS": "486 Busy Here"})
        stack.callback(busy.stop)
        rests = sipp.start("uas_rests", tmp_path_factory.mktemp("rests"), calls=1000)
        stack.callback(rests.stop)
        there = {"BOB": talks, "BUSY": busy, "CAROL": rests}
        fleet.others = {name: f"sip:{name.lower()}@127.0.0.1:{each.port}" for name, each in there.items()}
        flows = {
            "keys": {"_": "long.wav", "key:7": "brief.wav"},
            "every": trees.every_key(),
            "brief": {"_": "brief.wav"},
            "early": {"module": "response", "data": {"code": 486, "media": "root.wav"}, "children": {}},
            "rings": rings(f"sip:bell@127.0.0.1:{bell.port}"),
            "bob": rings(fleet.others["BOB"]),
            "room": "<Response><Dial><Conference beep='false'>room</Conference></Dial></Response>",
            "queue": "<Response><Enqueue>line</Enqueue></Response>",
            "stays": {"title": "stays", "steps": [{"id": "stay", "action": "pause", "options": {"length": 300}}]},
        }
        for name in {case.house for case in fleet.cases}:
            fleet.houses[name] = Daemon(
                tmp_path_factory.mktemp(name),
                flows,
                sounds=trees.SOUNDS,
                settings={"sip": {"open": name == "open"}},
                devices=fleet.devices(),
                trunks=fleet.trunks(),
            )
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(stack.enter_context, house) for house in fleet.houses.values()]:
                started.result()
        fleet.sail()
        stack.callback(fleet.close)
        yield fleet


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory, store: dict[str, object]) -> Iterator[Bird]:
    daemon = Daemon(
        tmp_path_factory.mktemp("bird"),
        {"7000": HANGUP},
        settings={"store": store},
        devices=[{"name": "bob", "password": "geheim"}],
    )
    with WebServer() as web, daemon:
        yield Bird(daemon, Voice.of(daemon), web)


@pytest.fixture
def hook(bird: Bird, request: pytest.FixtureRequest) -> Iterator[str]:
    """A webhook for all calls: the path under which it is told."""
    path = f"/{request.node.name.partition('[')[0]}"
    (made,) = bird.voice.data("POST", "/webhooks", {"url": bird.listen(path), "token": TOKEN}, status=201)
    yield path
    bird.voice.data("DELETE", f"/webhooks/{made['id']}", status=204)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Put the end of the daemons' logs into the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Daemon):
                report.sections.append((f"log of {name}", value.log()[-5000:]))
    return report
