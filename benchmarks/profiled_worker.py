"""A media worker that measures itself: ``python -m benchmarks.profiled_worker``, with the options of ``media.worker``.

The time of every method of the media plane is taken by wrapping the classes of ``media.*`` before the plane is made,
so it needs to know none of them. What a method takes does not include the methods that it calls. Once a second, with
the load, the table is written to the file that :data:`TABLE` names.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import media.worker
from media.plane import Plane

TABLE = "IVREA_BENCH_PROFILE"
ROOT = "Plane.tick"
_LEFT_ALONE = ("media.commands", "media.reports", "media.ipc", "media.process", "media.cadence")


class Stopwatch:
    """Own time of wrapped functions, in ns, while the root runs. One thread."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.taken = 0
        """How often the time of a function was taken."""
        self._stack: list[int] = []  # ns that were spent in what the functions under way called
        self._thread = threading.get_ident()

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, measured as ``name``."""
        times, stack, clock = self.times, self._stack, time.perf_counter_ns
        is_root, thread = name == ROOT, self._thread
        times[name] = 0

        @functools.wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            if not (stack or is_root) or threading.get_ident() != thread:
                return function(*arguments, **named)
            stack.append(0)
            begun = clock()
            try:
                return function(*arguments, **named)
            finally:
                took = clock() - begun
                times[name] += took - stack.pop()
                self.taken += 1
                if stack:
                    stack[-1] += took

        return measured


def cost_of_taking() -> float:
    """ns that one measurement adds to what is measured around it."""
    watch = Stopwatch()

    def nothing() -> None:
        pass

    measured = watch.wrap("nothing", nothing)

    def many(function: Callable[[], None]) -> int:
        begun = time.perf_counter_ns()
        for _ in range(20_000):
            function()
        return time.perf_counter_ns() - begun

    took = 0

    def tick() -> None:
        nonlocal took
        took = many(measured) - many(nothing)

    watch.wrap(ROOT, tick)()
    return took / 20_000


def instrument(watch: Stopwatch) -> None:
    """Wrap the methods of all classes of the media plane that were imported."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("media.") or name.startswith(_LEFT_ALONE):
            continue
        for kind in list(vars(module).values()):
            if not inspect.isclass(kind) or kind.__module__ != name or issubclass(kind, enum.Enum | BaseException):
                continue
            for method, function in list(vars(kind).items()):
                if inspect.isfunction(function) and not method.startswith("__"):
                    setattr(kind, method, watch.wrap(f"{kind.__name__}.{method}", function))


def main() -> None:
    watch = Stopwatch()
    instrument(watch)
    path = Path(os.environ[TABLE])
    load = Plane.load
    begun = time.monotonic()
    cost = cost_of_taking()

    def load_and_write(plane: Plane, *arguments: Any, **named: Any) -> Any:
        table = {"seconds": time.monotonic() - begun, "times": watch.times, "taking": watch.taken * cost}
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(table))
        fresh.replace(path)
        return load(plane, *arguments, **named)

    Plane.load = load_and_write
    media.worker.main()


if __name__ == "__main__":
    main()
