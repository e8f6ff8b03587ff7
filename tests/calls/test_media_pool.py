"""The pool with real worker processes: ports, balance, and what a dead worker leaves behind."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket

import pytest

from engine.calls.capacity import WorkerGauge
from engine.calls.media import MediaError, MediaPool, StreamReport, Worker, split_ports
from media import reports

PORTS = (61_000, 61_039)


def ignore(_report: StreamReport) -> None: ...


def test_ports_are_shared_in_pairs():
    assert split_ports((16385, 16400), 2) == [(16386, 16391), (16392, 16397)]
    with pytest.raises(ValueError, match=r"rtp\.ports"):
        split_ports((16384, 16385), 2)


@pytest.mark.both_loops
async def test_streams_go_to_the_worker_with_fewest_and_a_dead_worker_tells_its_own():
    pool = MediaPool(PORTS, 2)
    await pool.start()
    try:
        lost: list[tuple[int, str]] = []
        told = asyncio.Event()

        def losing(index: int):
            def lose(reason: str) -> None:
                lost.append((index, reason))
                told.set()

            return lose

        streams = [await pool.open("127.0.0.1", ignore, losing(index)) for index in range(4)]
        first, second = pool.workers
        assert len(first.streams) == len(second.streams) == 2
        assert len({stream.port for stream in streams}) == 4
        mine = [index for index, stream in enumerate(streams) if stream.number in first.streams]
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await asyncio.wait_for(told.wait(), 5)
        assert sorted(index for index, _ in lost) == mine
        assert all("died (signal 9)" in reason for _, reason in lost)
        assert (await streams[mine[0]].close()).received == 0
        await asyncio.wait_for(first.ready.wait(), 10)
        assert first.restarts == 1
        again = await pool.open("127.0.0.1", ignore, losing(9))
        assert again.number in first.streams
        survivor = next(stream for index, stream in enumerate(streams) if index not in mine)
        await survivor.close()
        assert survivor.number not in second.streams
    finally:
        await pool.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", streams[0].port))


async def test_no_ports_left_is_a_clear_error():
    pool = MediaPool((61_100, 61_101), 1)
    await pool.start()
    try:
        stream = await pool.open("127.0.0.1", ignore, lambda _: None)
        with pytest.raises(MediaError, match="no room"):
            await pool.open("127.0.0.1", ignore, lambda _: None)
        await stream.close()
    finally:
        await pool.close()


async def test_an_address_that_is_not_ours_is_a_clear_error():
    pool = MediaPool((61_110, 61_119), 1)
    await pool.start()
    try:
        with pytest.raises(MediaError):
            await pool.open("192.0.2.1", ignore, lambda _: None)
        assert not pool.workers[0].streams
    finally:
        await pool.close()


async def test_a_stream_that_cannot_be_opened_is_forgotten_also_when_nobody_waits():
    worker = Worker("0", (), itertools.count(1), WorkerGauge(0.85, 10.0))
    worker.ready.set()
    opening = asyncio.create_task(worker.open("127.0.0.1", ignore, lambda _: None))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert (len(worker.streams), worker.gauge.streams) == (1, 1)  # its ports may yet be bound
    worker._take(reports.OpenFailed(1, "no room"))
    assert (len(worker.streams), worker.gauge.streams) == (0, 0)
