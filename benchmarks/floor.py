"""The unit of the figures: what the kernel alone takes for a packet out and a packet in.

``sendmmsg`` of 172-octet packets from one unconnected socket to 500 different ones, and ``recvmmsg`` of 500 such
packets on one socket, loopback; CPU of the thread, user and system. Emptying the one and filling the other is not
counted.
"""

from __future__ import annotations

import contextlib
import time
from typing import Self

from benchmarks.mmsg import Batch, datagram_socket

PACKETS = 500
OCTETS = 172
PACKETS_PER_SECOND = 50
BUFFER = 4 * 1024 * 1024


class Floor:
    """Sockets for the measurement, kept open between one and the next."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._targets = [self._stack.enter_context(datagram_socket()) for _ in range(PACKETS)]
        self._source = self._stack.enter_context(datagram_socket())
        self._sink = self._stack.enter_context(datagram_socket(buffer=BUFFER))
        self._out, self._fill, self._in = (Batch(PACKETS, OCTETS) for _ in range(3))
        self._out.ports[:] = [sock.getsockname()[1] for sock in self._targets]
        self._fill.ports[:] = self._sink.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, seconds: float = 0.6) -> float:
        """Microseconds of CPU per pair of packets, the mean over ``seconds``."""
        sending = receiving = rounds = received = 0
        clock = time.thread_time_ns
        until = time.monotonic() + seconds
        while time.monotonic() < until or rounds < 5:
            begun = clock()
            self._out.send(self._source, PACKETS)
            sending += clock() - begun
            for sock in self._targets:
                sock.recv(OCTETS)
            self._fill.send(self._source, PACKETS)
            begun = clock()
            count = self._in.receive(self._sink)
            receiving += clock() - begun
            received += count
            rounds += 1
        return sending / 1000 / (rounds * PACKETS) + receiving / 1000 / received


def per_call_second(pair: float) -> float:
    """Milliseconds of CPU per call-second, of microseconds per pair: 50 packets a second each way."""
    return pair * PACKETS_PER_SECOND / 1000
