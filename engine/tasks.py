"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.5
"""Seconds until a task that goes on is cancelled once more."""


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks`` until all have ended, whatever they raise.

    One cancellation may get lost: ``asyncio.wait_for`` of Python 3.11 drops it when what it waits for is done in the
    same turn of the loop, and a loop that waits for its next work so would go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN)
        await asyncio.gather(*done, return_exceptions=True)
