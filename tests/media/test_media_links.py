"""Links under adverse conditions: an overloaded worker, high descriptors, faulty handlers, garbage."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from media import commands, ipc, reports, ring, writer
from media.ipc import Child
from media.worker import Worker

# --- overload ---------------------------------------------------------------------------


class SlowPlane:
    """Every tick takes longer than the time between two."""

    idle = False

    def __init__(self) -> None:
        self.reports: list[reports.Report] = []
        self.obeyed: list[commands.Command] = []
        self.obeyed_at_tick: list[int] = []

    def tick(self, now: float, number: int, skipped: int, behind: int) -> None:
        self.obeyed_at_tick.append(len(self.obeyed))
        time.sleep(0.0056)

    def command(self, message: commands.Command, now: float) -> None:
        self.obeyed.append(message)

    def load(self, late_ms: np.ndarray) -> reports.Report:
        return reports.RtpLost(1, 1.0)


@pytest.fixture
def overloaded() -> Iterator[tuple[SlowPlane, ipc.Link, threading.Thread]]:
    ours, theirs = socket.socketpair()
    plane = SlowPlane()
    began = time.monotonic() - 0.02  # behind from the beginning
    worker = Worker(ipc.Link(theirs, commands.Command), plane, began)  # type: ignore[arg-type]

    def run() -> None:
        with pytest.raises(ipc.LinkClosed):
            worker.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    link: ipc.Link = ipc.Link(ours, reports.Report)
    yield plane, link, thread
    link.close()
    thread.join(2)


def wait(condition, seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_an_overloaded_worker_still_obeys_and_goes_on_ticking(overloaded) -> None:
    plane, link, _ = overloaded
    time.sleep(0.1)
    for stream in range(100):
        link.send(commands.Drop(stream))
    link.flush()
    assert wait(lambda: len(plane.obeyed) == 100)
    assert [message.stream for message in plane.obeyed] == list(range(100))
    assert np.diff(plane.obeyed_at_tick).max() <= 64  # not all before the next tick


def test_an_overloaded_worker_sees_the_end_of_its_link(overloaded) -> None:
    _, link, thread = overloaded
    time.sleep(0.1)
    link.close()
    thread.join(0.5)  # before its next report would tell it
    assert not thread.is_alive()


# --- descriptors that select() cannot take ----------------------------------------------


@pytest.fixture
def high() -> Iterator:
    """Moves a socket to a descriptor beyond 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("no descriptors beyond 1024 on this system")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    moved: list[socket.socket] = []

    def move(sock: socket.socket) -> socket.socket:
        with sock:
            moved.append(socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 1100)))
        return moved[-1]

    yield move
    for sock in moved:
        sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def next_messages(link: ipc.Link) -> list:
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    messages: list = []
    while not messages and poll.poll(5000):
        messages = link.receive()
    return messages


def test_a_writer_works_on_a_high_descriptor(high, tmp_path: Path) -> None:
    memory = ring.create(8)
    ours, theirs = socket.socketpair()
    theirs = high(theirs)
    with subprocess.Popen(
        [sys.executable, "-m", "media.writer", "--fd", str(theirs.fileno()), "--ring", str(memory)],
        pass_fds=(theirs.fileno(), memory),
        env={**os.environ, **ipc.ONE_THREAD},
    ) as process:
        theirs.close()
        link: ipc.Link[writer.Finished] = ipc.Link(ours, writer.Finished)
        link.send(writer.Begin(1, str(tmp_path / "a.wav")))
        link.send(writer.Finish(1, 0, 3))
        link.flush()
        try:
            assert next_messages(link) == [writer.Finished(1, 3)]
        finally:
            link.close()
        assert process.wait(5) == 0
    os.close(memory)


SERVANT = """
import sys
from media import commands, ipc, reports
from media.servant import Servant
servant = Servant(int(sys.argv[1]), commands.Command)
for request in servant.requests():
    servant.send(ipc.Failed("x" * 4_000_000))
"""


def test_a_servant_with_a_high_descriptor_waits_for_a_slow_reader(high) -> None:
    ours, theirs = socket.socketpair()
    theirs = high(theirs)
    fd = theirs.fileno()
    with subprocess.Popen([sys.executable, "-c", SERVANT, str(fd)], pass_fds=(fd,)) as process:
        theirs.close()
        link: ipc.Link[reports.Report] = ipc.Link(ours, reports.Report)
        link.send(commands.Drop(1))
        link.flush()
        time.sleep(0.1)
        try:
            (answer,) = next_messages(link)
        finally:
            link.close()
        assert isinstance(answer, ipc.Failed)
        assert len(answer.reason) == 4_000_000
        assert process.wait(5) == 0


# --- the asyncio side -------------------------------------------------------------------

BABBLER = """
import socket, struct, sys, time
import msgspec
from media import commands, ipc, reports
link = ipc.Link.from_fd(int(sys.argv[2]), commands.Command)
for number in range(3):
    link.send(reports.RtpLost(number, 1.0))
link.flush()
garbage = {garbage!r}
if garbage:
    socket.socket(fileno=link.fileno()).send(garbage)
time.sleep(60)
"""


async def babbler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: bytes, on_message) -> Child:
    (tmp_path / "babbler.py").write_text(BABBLER.format(garbage=garbage))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(ipc.__file__).parent.parent)]))
    child: Child = Child("babbler", reports.Report, on_message)
    await child.start()
    return child


async def test_a_fault_in_a_handler_costs_one_message_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()

    def on_message(message: reports.RtpLost) -> None:
        if message.stream == 1:
            raise KeyError("a fault")
        heard.put_nowait(message.stream)

    child = await babbler(tmp_path, monkeypatch, b"", on_message)
    try:
        assert [await asyncio.wait_for(heard.get(), 5) for _ in range(2)] == [0, 2]
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "RtpLost from babbler" in record.getMessage()
        assert record.exc_info is not None
        assert not child.exited.done()
    finally:
        child.kill()
        await child.close()


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\3abc", b"\0\0\0\1\xc1"])
async def test_a_process_that_sends_garbage_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    heard: list[msgspec.Struct] = []
    child = await babbler(tmp_path, monkeypatch, garbage, heard.append)
    assert await asyncio.wait_for(child.exited, 5) == -9
    assert len(heard) in (0, 3)  # those before the garbage, unless both came in one piece
    assert "cannot be read" in caplog.text
    await child.close()
