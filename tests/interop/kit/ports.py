"""Ports for peers and daemons: each test process has its own share, and nothing is given out twice in a while."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections import deque

_dice = random.Random(os.getpid())


def _share(low: int, high: int) -> tuple[int, int]:
    """The part of a range of ports that is this process's, of those that test side by side (pytest-xdist)."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (high - low) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return low + number * size, low + (number + 1) * size


PORTS = _share(16_384, 30_000)
"""Those that tests choose from: below those of the media tests (30,000 and up) and those that the kernel gives."""

_MEMORY = (PORTS[1] - PORTS[0]) // 2
_choosing = threading.Lock()
"""Cases of SIPp begin on threads of their own."""
_given: deque[range] = deque()
"""What was given out last. Its owner may not have bound it yet, or binds it only during a call."""


def _remember(ports: range) -> None:
    _given.append(ports)
    while sum(map(len, _given)) > _MEMORY and len(_given) > 1:
        _given.popleft()


def _bindable(port: int, kinds: tuple[socket.SocketKind, ...], host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(socket.socket(family, kind)).bind((host, port))
        return True
    return False


def _find(size: int, kinds: tuple[socket.SocketKind, ...], host: str, *, even: bool) -> range:
    with _choosing:
        for _ in range(1000):
            first = _dice.randrange(PORTS[0], PORTS[1] - size)
            first -= first % 2 if even else 0
            ports = range(first, first + size)
            taken = any(ports.start < given.stop and given.start < ports.stop for given in _given)
            if not taken and all(_bindable(port, kinds, host) for port in ports):
                _remember(ports)
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
