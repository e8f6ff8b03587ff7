"""``sendmmsg`` and ``recvmmsg`` on arrays that are made once: packets, addresses and lengths of a whole batch."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys

import numpy as np
from numpy.typing import NDArray

SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_CONTROL = 32
"""Octets of the control message that carries a time: cmsghdr and timespec."""

_ADDRESS = np.dtype([("family", "=u2"), ("port", ">u2"), ("host", ">u4"), ("pad", "V8")])
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_HEADER = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u4"),
        ("pad", "u4"),
        ("vectors", "u8"),
        ("vector_count", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u4"),
        ("pad2", "u4"),
        ("length", "u4"),
        ("pad3", "u4"),
    ]
)
"""``struct mmsghdr`` of 64-bit Linux."""

_LOOPBACK = 0x7F000001
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_LIBC.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]


def datagram_socket(port: int = 0, *, buffer: int = 0, timestamps: bool = False) -> socket.socket:
    """A non-blocking UDP socket bound on 127.0.0.1, with ``buffer`` octets to receive into where that is allowed.

    ``timestamps``: the kernel notes when each packet came in (``SO_TIMESTAMPNS``).
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 33, buffer)  # SO_RCVBUFFORCE, beyond net.core.rmem_max
    if timestamps:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def kernel_drops(sock: socket.socket) -> int:
    """Packets that did not fit into the buffer of ``sock``."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)[32:36], sys.byteorder)


class Batch:
    """Up to ``capacity`` datagrams of up to ``size`` octets; ``timed``: for :meth:`arrivals`.

    ``packets`` has the shape (capacity, size); ``lengths`` their octets; ``ports`` where they go to or come from, on
    127.0.0.1; what came over a :func:`datagram_socket` with ``timestamps`` has its arrival.
    """

    def __init__(self, capacity: int, size: int, *, timed: bool = False) -> None:
        self.capacity = capacity
        self.packets: NDArray[np.uint8] = np.zeros((capacity, size), np.uint8)
        self._addresses = np.zeros(capacity, _ADDRESS)
        self._addresses["family"] = socket.AF_INET
        self._addresses["host"] = _LOOPBACK
        self._vectors = np.zeros(capacity, _VECTOR)
        self._control: NDArray[np.int64] = np.zeros((capacity, _CONTROL // 8), np.int64)
        self._headers = np.zeros(capacity, _HEADER)
        rows = np.arange(capacity, dtype=np.uint64)
        self._vectors["base"] = self.packets.ctypes.data + rows * np.uint64(size)
        self._vectors["length"] = size
        self._headers["name"] = self._addresses.ctypes.data + rows * np.uint64(_ADDRESS.itemsize)
        self._headers["name_length"] = _ADDRESS.itemsize
        self._headers["vectors"] = self._vectors.ctypes.data + rows * np.uint64(_VECTOR.itemsize)
        self._headers["vector_count"] = 1
        if timed:
            self._headers["control"] = self._control.ctypes.data + rows * np.uint64(_CONTROL)
            self._headers["control_length"] = _CONTROL
        self._timed = timed
        self._pointer = self._headers.ctypes.data
        self._used = 0
        self.ports = self._addresses["port"]
        self.lengths = self._vectors["length"]
        self.received_lengths = self._headers["length"]

    def receive(self, sock: socket.socket) -> int:
        """Take what waits at ``sock``, at most ``capacity`` packets; their number."""
        if self._timed:
            self._headers["control_length"][: self._used] = _CONTROL  # the kernel has put other lengths there
        count = _LIBC.recvmmsg(sock.fileno(), self._pointer, self.capacity, socket.MSG_DONTWAIT, None)
        self._used = max(0, count)
        if count >= 0:
            return int(count)
        number = ctypes.get_errno()
        if number in {errno.EAGAIN, errno.ECONNREFUSED, errno.EINTR}:
            return 0
        raise OSError(number, os.strerror(number))

    def arrivals(self, count: int) -> NDArray[np.int64]:
        """When the first ``count`` packets came in, in ns since the epoch."""
        control = self._control[:count]
        return control[:, 2] * 1_000_000_000 + control[:, 3]

    def send(self, sock: socket.socket, count: int) -> int:
        """Send the first ``count`` packets; how many the kernel took (a refused port costs its own packet alone)."""
        done = taken = 0
        while done < count:
            sent = _LIBC.sendmmsg(sock.fileno(), self._pointer + done * _HEADER.itemsize, count - done, 0)
            if sent > 0:
                done += sent
                taken += sent
                continue
            number = ctypes.get_errno()
            if number not in {errno.EAGAIN, errno.ECONNREFUSED, errno.EINTR, errno.ENOBUFS, errno.EPERM}:
                raise OSError(number, os.strerror(number))
            done += 1
        return taken
