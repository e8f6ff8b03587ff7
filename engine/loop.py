"""The event loop of the control process: uvloop where it is installed (extra ``fast``), else the standard one.

And what could hold it up that is no callback: the garbage collector.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes a uvloop, or ``None`` where there is none that can be used."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Like :func:`asyncio.run`, on the fastest loop there is."""
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        return runner.run(work)


def about_loop() -> str:
    """What the running loop is, in words."""
    if type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop":
        return f"uvloop {importlib.metadata.version('uvloop')}"
    if fast_loop() is None:
        return "asyncio's own (uvloop is not installed)"
    return "asyncio's own"


YOUNG, MIDDLE, OLD = 10_000, 10, 10
"""When the garbage collector runs: after so many new objects on balance, after so many of its runs for those that
outlived one, and again for all. SIP remembers every call for 32 s, so nearly all that is new outlives the collector's
usual 700 objects: by these it would spend a third of the time that SIP takes on looking at what is in use.
"""


def settle_garbage() -> None:
    """To be called when the process is up: what lives by then lives as long as the process, and is not looked at again.

    A full collection that goes through all modules and tables stops the loop for 50 to 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
