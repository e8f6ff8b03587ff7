"""Tasks end even when a cancellation of theirs gets lost."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from engine import tasks


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    woken = asyncio.Event()
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), 3600)
            woken.clear()
            turns += 1

    async def fails() -> None:
        raise ValueError("of no interest")

    task, failing = asyncio.create_task(work()), asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    woken.set()
    await asyncio.sleep(0)  # what is waited for is done; now comes the cancellation
    await asyncio.wait_for(tasks.end([task, failing]), 5)
    assert task.cancelled()


async def test_nothing_to_end() -> None:
    await tasks.end([])
