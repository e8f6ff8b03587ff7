"""io_uring through ctypes and numpy: many system calls in one, without a Python step for each.

Entries of the submission queue are a numpy structured array that is filled once and used again and again; a batch
is submitted by writing the numbers of its entries into the index ring. Knows nothing of sockets or RTP.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRY = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("ioprio", "u2"),
        ("fd", "i4"),
        ("offset", "u8"),
        ("address", "u8"),
        ("length", "u4"),
        ("op_flags", "u4"),
        ("user_data", "u8"),
        ("buffer", "u2"),
        ("personality", "u2"),
        ("file", "i4"),
        ("extra", "u8", (2,)),
    ]
)
"""struct io_uring_sqe, as far as socket operations use it."""

COMPLETION = np.dtype([("user_data", "u8"), ("result", "i4"), ("flags", "u4")])
"""struct io_uring_cqe."""

RECVMSG = 10
SEND = 26
RECV = 27
SILENT_SUCCESS = 1 << 6
"""Entry flag: only a failure makes a completion."""

_SETUP, _ENTER = 425, 426  # system calls; the same numbers on every architecture
_CQSIZE, _SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 3, 1 << 7, 1 << 12, 1 << 13
_FLAVOURS = (_CQSIZE | _SUBMIT_ALL | _SINGLE_ISSUER | _DEFER_TASKRUN, _CQSIZE)
"""What is asked for, newest first: Linux 6.1, then 5.17 (for SILENT_SUCCESS)."""

_GETEVENTS = 1
_SKIPS_SUCCESS = 1 << 11  # IORING_FEAT_CQE_SKIP
_ONE_MAPPING = 1 << 0  # IORING_FEAT_SINGLE_MMAP
_ENTRIES_AT = 0x10000000
_PARAMETERS = 120

# PyDLL keeps the GIL: nothing in here blocks, and a thread that got it in between would keep it for milliseconds.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("vectors", "u8"),
        ("vector_count", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
    ]
)
"""struct msghdr on 64-bit Linux."""

CONTROL = np.dtype([("length", "u8"), ("level", "i4"), ("kind", "i4"), ("seconds", "i8"), ("nanoseconds", "i8")])
"""A struct cmsghdr with the struct timespec of SO_TIMESTAMPNS."""

SO_TIMESTAMPNS = 35


def addresses(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Where each row of an array lies in memory."""
    return rows.ctypes.data + np.arange(len(rows), dtype=np.uint64) * np.uint64(rows.strides[0])


class StampedReads:
    """Message headers to read datagrams into ``rows`` with, together with the time at which the kernel got them."""

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        count, length = rows.shape
        self._rows = rows  # whose memory must stay
        self._vectors: NDArray[np.uint64] = np.zeros((count, 2), np.uint64)
        self._vectors[:, 0], self._vectors[:, 1] = addresses(rows), length
        self._controls: NDArray[np.void] = np.zeros(count, CONTROL)
        self._seconds: NDArray[np.int64] = self._controls["seconds"]
        self._nanoseconds: NDArray[np.int64] = self._controls["nanoseconds"]
        self.headers: NDArray[np.void] = np.zeros(count, MESSAGE)
        self.headers["vectors"], self.headers["vector_count"] = addresses(self._vectors), 1
        self.headers["control"] = addresses(self._controls)

    def prepare(self, count: int) -> None:
        """The first ``count`` rows are to be read into."""
        self.headers["control_length"][:count] = CONTROL.itemsize
        self._seconds[:count] = 0

    def times(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """When what was read into ``places`` came, in seconds of the wall clock; NaN where that is not known."""
        seconds = self._seconds[places]
        return np.where(seconds != 0, seconds + self._nanoseconds[places] * 1e-9, np.nan)


class Ring:
    """One io_uring, used by one thread. ``entries`` may be filled by the caller at will.

    Raises :class:`OSError` when the kernel is too old or forbids it, as containers often do.
    """

    def __init__(self, entries: int) -> None:
        self._fd, parameters = self._set_up(entries)
        size, completions = struct.unpack_from("=II", parameters, 0)
        features = struct.unpack_from("=I", parameters, 20)[0]
        if features & (_SKIPS_SUCCESS | _ONE_MAPPING) != _SKIPS_SUCCESS | _ONE_MAPPING:
            os.close(self._fd)
            raise OSError(errno.ENOSYS, "io_uring is older than Linux 5.17")
        submission = struct.unpack_from("=8I", parameters, 40)  # head, tail, mask, entries, flags, dropped, array
        completion = struct.unpack_from("=8I", parameters, 80)  # head, tail, mask, entries, overflow, cqes
        whole = max(submission[6] + 4 * size, completion[5] + COMPLETION.itemsize * completions)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._rings = mmap.mmap(self._fd, whole, flags, protection)
        self._memory = mmap.mmap(self._fd, ENTRY.itemsize * size, flags, protection, offset=_ENTRIES_AT)
        self.entries: NDArray[np.void] = np.frombuffer(self._memory, ENTRY, size)
        self._tail = self._number(submission[1])
        self._order = np.frombuffer(self._rings, np.uint32, size, submission[6])
        self._mask = size - 1
        self._head = self._number(completion[0])
        self._end = self._number(completion[1])
        done = np.frombuffer(self._rings, COMPLETION, completions, completion[5])
        self._users, self._results = done["user_data"], done["result"]
        self._done_mask = completions - 1

    @staticmethod
    def _set_up(entries: int) -> tuple[int, bytearray]:
        for flavour in _FLAVOURS:
            parameters = bytearray(_PARAMETERS)
            struct.pack_into("=3I", parameters, 0, entries, 2 * entries, flavour)
            buffer = (ctypes.c_char * _PARAMETERS).from_buffer(parameters)
            try:
                return _call(_SETUP, ctypes.c_uint(entries), ctypes.byref(buffer)), parameters
            except OSError as error:
                if error.errno != errno.EINVAL or flavour == _FLAVOURS[-1]:
                    raise
        raise AssertionError("unreachable")

    def _number(self, offset: int) -> NDArray[np.uint32]:
        return np.frombuffer(self._rings, np.uint32, 1, offset)

    def submit(self, numbers: NDArray[np.uint32]) -> int:
        """Let the kernel do the entries with these numbers, in this order; returns how many it took: fewer when it has
        no memory for them.

        Operations on sockets with MSG_DONTWAIT are done on return.
        """
        count = numbers.size
        start = int(self._tail[0])
        place = start & self._mask
        first = min(count, self._mask + 1 - place)
        self._order[place : place + first] = numbers[:first]
        self._order[: count - first] = numbers[first:]
        self._tail[0] = (start + count) & 0xFFFFFFFF
        done = 0
        with contextlib.suppress(OSError):
            while done < count:
                taken = _call(
                    _ENTER, self._fd, ctypes.c_uint(count - done), ctypes.c_uint(0), ctypes.c_uint(_GETEVENTS), None, 0
                )
                if not taken:
                    break
                done += taken
        self._tail[0] = (start + done) & 0xFFFFFFFF
        return done

    def completions(self) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """(user data, result) of what was done since the last call, in any order: kernels up to 6.1 tell of failures
        first. A negative result is an error number.
        """
        begin, end = int(self._head[0]), int(self._end[0])
        count = (end - begin) & 0xFFFFFFFF
        place = begin & self._done_mask
        last = place + count
        if last <= self._done_mask + 1:
            done = self._users[place:last].copy(), self._results[place:last].copy()
        else:
            places = (place + np.arange(count)) & self._done_mask
            done = self._users[places], self._results[places]
        self._head[0] = end
        return done[0].astype(np.intp), done[1]

    def close(self) -> None:
        os.close(self._fd)
