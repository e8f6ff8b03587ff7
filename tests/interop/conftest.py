"""Fixtures: a callback server and a daemon shared by tests that only call, and a maker of daemons for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import trees
from kit.daemon import Daemon
from kit.hooks import HookServer

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Put the end of the daemons' logs into the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Daemon):
                report.sections.append((f"log of {name}", value.log()[-5000:]))
    return report
