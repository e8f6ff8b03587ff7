"""Ports for peers and daemons: each test process has its own share, and nothing is given out twice in a while."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading


def _share(low: int, high: int) -> tuple[int, int]:
    """The part of a range of ports that is this process's, of those that test side by side (pytest-xdist)."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (high - low) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return low + number * size, low + (number + 1) * size


PORTS = _share(10_240, 30_000)
"""Those that tests choose from: below those of the media tests (30,000 and up) and those that the kernel gives."""

_choosing = threading.Lock()
"""Cases of SIPp begin on threads of their own."""
_next = random.Random(os.getpid()).randrange(*PORTS)
"""Where to look next. All others come before one is given again: its owner may not have bound it yet, or binds it only
during a call.
"""


def _bindable(port: int, kinds: tuple[socket.SocketKind, ...], host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(socket.socket(family, kind)).bind((host, port))
        return True
    return False


def _find(size: int, kinds: tuple[socket.SocketKind, ...], host: str, *, even: bool) -> range:
    global _next  # noqa: PLW0603 - the one place
    low, high = PORTS
    with _choosing:
        for _ in range(high - low):
            first = _next + (_next % 2 if even else 0)
            if first + size > high:
                _next = low
                continue
            ports = range(first, first + size)
            busy = next((port for port in reversed(ports) if not _bindable(port, kinds, host)), None)
            _next = ports.stop if busy is None else busy + 1
            if busy is None:
                return ports
    raise AssertionError(f"no {size} free ports in a row")


def free_port(*kinds: socket.SocketKind, host: str = "127.0.0.1", following: int = 0) -> int:
    """A port of :data:`PORTS` that is free for all of ``kinds`` (UDP and TCP) now, as are the ``following`` ones."""
    every = kinds or (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    return _find(1 + following, every, host, even=False).start


def free_range(size: int) -> tuple[int, int]:
    """First and last of ``size`` free UDP ports, the first even."""
    found = _find(size, (socket.SOCK_DGRAM,), "127.0.0.1", even=True)
    return found.start, found.stop - 1
