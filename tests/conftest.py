"""What every test folder shares: the ``peer`` marker.

``@pytest.mark.peer("sipp", "raw-sockets")`` says what a test needs from outside. A missing peer skips
the test and names itself in the summary; with ``IVREA_REQUIRE_PEERS=1`` it fails it instead, which
is what CI wants: a suite that silently skips its peers proves nothing about them.

``@pytest.mark.alone`` keeps the other processes of pytest-xdist from testing meanwhile.

``@pytest.mark.both_loops`` runs an asynchronous test on asyncio's own loop and on uvloop, a peer in this sense.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import gc
import importlib.util
import logging
import os
import shutil
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import structlog

from engine.loop import fast_loop

MODULES = {
    "messagebird": "messagebird",
    "pyvoip": "pyVoIP",
    "requests_oauthlib": "requests_oauthlib",
    "aiortc": "aiortc",
    "pyttsx3": "pyttsx3",
    "espeakng_loader": "espeakng_loader",
}


def _raw_sockets() -> bool:
    """Whether this user may send packets with forged headers, as SIPp's pcap player does."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except OSError:
        return False
    return True


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


# Debian keeps the programs of a PostgreSQL server away from PATH.
os.environ["PATH"] += "".join(f":{folder}" for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin")))

CAPABILITIES: dict[str, Callable[[], bool]] = {"raw-sockets": _raw_sockets, "ipv6": _ipv6}


@functools.cache
def missing_peer(name: str) -> str:
    """Why ``name`` cannot be used here; empty when it can."""
    if name in CAPABILITIES:
        return "" if CAPABILITIES[name]() else f"this machine or user has no {name}"
    if name in MODULES:
        found = importlib.util.find_spec(MODULES[name]) is not None
        return "" if found else f"Python package {MODULES[name]} is not installed (group interop or extra tts)"
    return "" if shutil.which(name) else f"program {name} is not installed"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Generator[None]:
    """A command that a test runs in this process sets up logging for the process: not for the tests after it."""
    root = logging.getLogger()
    handlers, level, settings = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**settings)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("both_loops"):
        factories["uvloop"] = _new_uvloop
    return factories


def _new_uvloop() -> asyncio.AbstractEventLoop:
    factory = fast_loop()
    if factory is not None:
        return factory()
    if os.environ.get("IVREA_REQUIRE_PEERS") == "1":
        pytest.fail("uvloop is required and not installed", pytrace=False)
    pytest.skip("uvloop is not installed (group test or extra fast)")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests that are ``alone`` be alone: of several processes (pytest-xdist) the others wait meanwhile.

    Everybody passes the gate; who wants to be alone stands in it until the room is empty, and until they have done.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    paths: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    folder = paths.getbasetemp().parent  # that of the run, whichever process
    alone = item.get_closest_marker("alone") is not None
    with (folder / "gate").open("w") as gate, (folder / "room").open("w") as room:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [why for mark in item.iter_markers("peer") for name in mark.args if (why := missing_peer(name))]
    if not missing:
        return
    reason = "; ".join(missing)
    if os.environ.get("IVREA_REQUIRE_PEERS") == "1":
        pytest.fail(f"a peer is required and missing: {reason}", pytrace=False)
    pytest.skip(f"peer missing: {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Have what the tests left behind complain now: plugins import modules at the end, and CPython 3.11 cannot compile
    one while a finalizer, called in the middle of that, formats a traceback (python/cpython#106905).
    """
    gc.collect()
