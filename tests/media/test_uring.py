"""io_uring: entries are done in order, and where it is forbidden the worker goes on without it."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from media_studio import Phone, Studio, sine

from media import ipc, uring
from media.commands import Direct, Drop, Open
from media.ipc import Child, Failed, Ready
from media.rates import FRAME, RATE
from media.reports import Closed, Opened, Report


@pytest.fixture
def ring() -> Iterator[uring.Ring]:
    try:
        made = uring.Ring(8)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    yield one, other
    one.close()
    other.close()


def has_ring() -> bool:
    try:
        uring.Ring(8).close()
    except OSError:
        return False
    return True


def fill(ring: uring.Ring, number: int, opcode: int, sock: socket.socket, row: np.ndarray, *, flags: int = 0) -> None:
    entry = ring.entries[number]
    entry["opcode"], entry["fd"], entry["flags"] = opcode, sock.fileno(), flags
    entry["address"], entry["length"] = row.ctypes.data, row.nbytes
    entry["op_flags"], entry["user_data"] = socket.MSG_DONTWAIT, number


def test_a_batch_is_done_in_order_when_submit_returns(ring: uring.Ring, pair: tuple[socket.socket, ...]) -> None:
    out = np.frombuffer(b"onetwothree"[:9], np.uint8).reshape(3, 3).copy()
    into = np.zeros((3, 8), np.uint8)
    for number in range(3):
        fill(ring, number, uring.SEND, pair[0], out[number])
        fill(ring, 3 + number, uring.RECV, pair[1], into[number])
    assert ring.submit(np.arange(6, dtype=np.uint32)) == 6
    users, results = ring.completions()
    assert users.tolist() == [0, 1, 2, 3, 4, 5]
    assert results.tolist() == [3] * 6
    assert into[:, :3].tobytes() == out.tobytes()


def test_an_empty_socket_says_so_and_success_can_be_silent(ring: uring.Ring, pair: tuple[socket.socket, ...]) -> None:
    row = np.zeros(8, np.uint8)
    fill(ring, 0, uring.RECV, pair[1], row)
    fill(ring, 1, uring.SEND, pair[0], row, flags=uring.SILENT_SUCCESS)
    ring.submit(np.array([0, 1], np.uint32))
    users, results = ring.completions()
    assert (users.tolist(), results.tolist()) == ([0], [-errno.EAGAIN])
    assert ring.completions()[0].size == 0
    assert len(pair[1].recv(100)) == 8


def test_rings_go_round(ring: uring.Ring, pair: tuple[socket.socket, ...]) -> None:
    """Many more operations than entries, in batches that do not divide their number."""
    out, into = np.zeros(4, np.uint8), np.zeros(4, np.uint8)
    fill(ring, 0, uring.SEND, pair[0], out)
    fill(ring, 1, uring.RECV, pair[1], into)
    for turn in range(200):
        out[:] = turn
        batch = [0, 1] * (1 + turn % 3)
        ring.submit(np.array(batch, np.uint32))
        users, results = ring.completions()
        assert users.tolist() == batch
        assert (results == 4).all()
        assert (into == turn).all()


def test_a_bad_descriptor_costs_its_own_entry(ring: uring.Ring, pair: tuple[socket.socket, ...]) -> None:
    row = np.zeros(4, np.uint8)
    fill(ring, 0, uring.SEND, pair[0], row)
    fill(ring, 1, uring.SEND, pair[0], row)
    ring.entries[0]["fd"] = -1
    assert ring.submit(np.array([0, 1], np.uint32)) == 2
    users, results = ring.completions()
    assert dict(zip(users.tolist(), results.tolist(), strict=True)) == {0: -errno.EBADF, 1: 4}


def test_completions_may_come_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels up to 6.1 tell of empty sockets first: every packet must still be that of its own stream."""
    studio = Studio("io_uring") if has_ring() else pytest.skip("no io_uring here")
    plain = uring.Ring.completions

    def failures_first(ring: uring.Ring) -> tuple[np.ndarray, np.ndarray]:
        users, results = plain(ring)
        order = np.argsort(results >= 0, kind="stable")[:: 1 if (results < 0).any() else -1]
        return users[order], results[order]

    monkeypatch.setattr(uring.Ring, "completions", failures_first)
    phones = [Phone() for _ in range(8)]
    for stream, phone in enumerate(phones, 1):
        studio.connect(phone, stream)
    for turn in range(60):
        for number, phone in enumerate(phones):
            phone.ssrc = 100 + number
            if turn < 10 or (turn + number) % 3:
                phone.raw(phone.sound(np.full(FRAME, 100.0 * number)))
            else:
                phone.timestamp += FRAME
        studio.run(0.02)
    for stream in range(1, 9):
        studio.do(Drop(stream))
    closed = {report.stream: report.stats for report in studio.reports(Closed)}
    for number, phone in enumerate(phones):
        stats = closed[number + 1]
        assert (stats.malformed, stats.foreign, stats.duplicated, stats.lost) == (0, 0, 0, 0)
        assert stats.received == 10 + sum(bool((turn + number) % 3) for turn in range(10, 60))
        phone.close()


# --- the worker -------------------------------------------------------------------------

# A seccomp filter, as containers have it: io_uring_setup (425) fails with EPERM.
FORBID = """
import ctypes, os, struct, sys
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *rule) for rule in rules))
program = struct.pack("=H6xQ", len(rules), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
assert prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, "seccomp"
os.execv(sys.executable, [sys.executable, "-m", "media.worker", *sys.argv[1:]])
"""


def first_word(*arguments: str) -> Report:
    """What a worker says first that may not use io_uring."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", FORBID, "--fd", str(theirs.fileno()), "--ports", "31000-31098", *arguments]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, **ipc.ONE_THREAD}) as process:
        theirs.close()
        link: ipc.Link[Report] = ipc.Link(ours, Report)
        try:
            waiter = select.poll()  # select() refuses high descriptors
            waiter.register(ours, select.POLLIN)
            assert waiter.poll(30_000), "the worker says nothing"
            return link.receive()[0]
        finally:
            link.close()
            process.wait(10)


def test_where_io_uring_is_forbidden_the_worker_takes_the_portable_way_and_says_why() -> None:
    ready = first_word()
    assert isinstance(ready, Ready)
    assert ready.about.startswith(f"portable I/O (epoll; io_uring: {os.strerror(errno.EPERM)})")


def test_where_io_uring_must_be_and_is_forbidden_the_worker_does_not_start() -> None:
    failed = first_word("--io", "uring")
    assert isinstance(failed, Failed)
    assert os.strerror(errno.EPERM) in failed.reason


async def test_jitter_is_that_of_the_network_not_of_our_turns() -> None:
    """In real time: the kernel tells when packets came. The sender notes when it sent them, and both must agree."""
    reports: asyncio.Queue[Report] = asyncio.Queue()
    child: Child[Report] = Child("media.worker", Report, reports.put_nowait, arguments=["--ports", "31100-31198"])
    await child.start()
    phone, rng = Phone(), Random(4)
    try:
        while not isinstance(report := await asyncio.wait_for(reports.get(), 30), Ready):
            pass
        if "io_uring" not in report.about.partition(",")[0].partition("(")[0]:
            pytest.skip(f"no io_uring here: {report.about}")
        child.send(Open(1, "127.0.0.1"))
        while not isinstance(report := await asyncio.wait_for(reports.get(), 5), Opened):
            pass
        phone.to = report.port
        child.send(Direct(1, "127.0.0.1", phone.port, phone.control_port, 0, 101))
        sent: list[float] = []
        sound = sine(440, 0.02)
        began = time.monotonic()
        for number in range(400):
            due = began + number * FRAME / RATE + rng.uniform(0, 0.012)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent.append(time.monotonic())
            phone.raw(phone.sound(sound))
        child.send(Drop(1))
        while not isinstance(report := await asyncio.wait_for(reports.get(), 5), Closed):
            pass
    finally:
        phone.close()
        await child.close()
    transit = np.array(sent) - np.arange(400) * FRAME / RATE
    spread = 1000 * np.abs(np.diff(transit[::8])).mean()  # every eighth is timed
    assert spread > 2
    assert report.stats.jitter_ms == pytest.approx(spread, rel=0.6)


def test_addresses_are_those_of_the_rows() -> None:
    rows = np.arange(40, dtype=np.uint8).reshape(4, 10)
    for row, address in zip(rows[::2], uring.addresses(rows[::2]).tolist(), strict=True):
        assert ctypes.string_at(address, 10) == row.tobytes()
