"""The portable way in and out: epoll, ``recv_into`` and ``send`` on preallocated rows.

Everything that knows about sockets is in here and in :mod:`media.ringsockets`, behind a seam: the plane sees rows of
matrices, their slots and lengths. No RTP socket wakes the worker: what lies in them is taken with the ticks.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import logging
import select
import socket
import struct
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from media.frames import NO_SLOTS, Floats, Slots
from media.latch import Address
from media.ports import PortPool
from media.rates import FRAME
from media.rtp import HEADER_SIZE

ROW = 1600
"""Octets of a received row. A datagram that fills it was longer than any RTP packet may be here."""

ROWS = 2048
"""Packets taken in one round; what is left waits in the kernel for the next."""

BACKLOG = 2
"""A round that brings more than this many times what a phase sends is followed by another."""

OUT_ROW = HEADER_SIZE + FRAME
"""Octets of a row that is sent: a frame of G.711."""

MAX_CONTROL = 64
"""RTCP packets taken in one round."""

_log = logging.getLogger(__name__)

_IN_ORDER = np.arange(ROWS)
_LIBC = ctypes.CDLL(None, use_errno=True)
_UNSPECIFIED = struct.pack("=H26x", socket.AF_UNSPEC)
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_STAMP = struct.Struct("=qq")
_SO_TIMESTAMPNS = 35


class NoPort(Exception):
    """No RTP port pair could be bound."""


def literal(host: str, port: int) -> Address | None:
    """An IP literal as the kernel reports it; ``None`` when nothing can be sent there."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or not 0 < port <= 65535:
        return None
    return str(address), port


def disconnect(sock: socket.socket) -> None:
    """Dissolve the association of a connected datagram socket; it stays bound. Raises :class:`OSError`."""
    if _LIBC.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode.get(number, "connect"))


class _Pair:
    """The two sockets of a stream."""

    __slots__ = ("control", "port", "rtp")

    def __init__(self, rtp: socket.socket, control: socket.socket, port: int) -> None:
        self.rtp = rtp
        self.control = control
        self.port = port


def _bind(family: int, local: str, port: int) -> _Pair:
    opened: list[socket.socket] = []
    try:
        for number in (port, port + 1):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            opened.append(sock)
            sock.setblocking(False)
            sock.bind((local, number))
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return _Pair(opened[0], opened[1], port)


class Sockets:
    """The RTP and RTCP sockets of all streams of a worker.

    After :meth:`receive`, packet ``i`` of a round lies in ``rows[places[i]]``, ``lengths[i]`` octets long, for
    ``slots[i]``. ``arrivals`` has the wall clock's seconds at which the kernel got it, or NaN: nobody knows; it may be
    one number for all, or ``None``: just now. ``sources`` has the origin, by row, of those whose stream has not latched
    yet, and ``control`` the RTCP packets of the round. ``stamps`` has, by row, the wall clock's seconds at which the
    kernel got packets of streams that are to be stamped (:meth:`stamp`), NaN if it does not tell.
    Row ``slot`` of ``out`` is what :meth:`transmit` sends for it; ``send`` sends other packets.
    ``about`` says in words how packets move.
    """

    def __init__(self, capacity: int, ports: PortPool, *, why: str = "") -> None:
        """``why`` nothing better is used, to be told in ``about``."""
        self.capacity = capacity
        self.about = f"portable I/O (epoll; {why})" if why else "portable I/O (epoll)"
        self.rows = np.zeros((ROWS, ROW), np.uint8)
        self.out = np.zeros((capacity, OUT_ROW), np.uint8)
        self.places: Slots = NO_SLOTS
        self.slots: Slots = NO_SLOTS
        self.lengths: Slots = NO_SLOTS
        self.arrivals: float | Floats | None = None
        self.sources: dict[int, Address] = {}
        self.control: list[tuple[int, bytes, Address]] = []
        self.refused = 0
        self.stamps: Floats = np.full(ROWS, np.nan)
        self.send: list[Callable[[memoryview | bytes], object]] = [_nowhere] * capacity
        self._views = [row.data for row in self.rows]
        self._out_views = [row.data for row in self.out]
        self._ports = ports
        self._pairs: list[_Pair | None] = [None] * capacity
        self._epoll = select.epoll()
        self._receivers: dict[int, tuple[int, Callable[[memoryview], int] | None]] = {}
        self._to_stamp: set[int] = set()
        self._dropped: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._dropped_before = 0  # at sockets that are closed
        self._row_of = {id(view): row for row, view in enumerate(self._views)}

    def open(self, slot: int, local: str, now: float) -> int:
        """Bind a pair for ``slot`` on the address ``local``; returns the RTP port. Raises :class:`NoPort`."""
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(local).version == 6 else socket.AF_INET
        except ValueError as error:
            raise NoPort(f"{local!r} is not an IP address") from error
        reason = "all RTP ports are taken or rest"
        for port in self._ports.candidates(now):
            try:
                pair = _bind(family, local, port)
            except OSError as error:
                self._ports.release(port, now)
                reason = f"{local} port {port}: {error.strerror}"
                if error.errno != errno.EADDRINUSE:
                    break
                continue
            self._pairs[slot] = pair
            self._receivers[pair.rtp.fileno()] = (slot, None)
            self._receivers[pair.control.fileno()] = (-1 - slot, None)
            self._epoll.register(pair.rtp, select.EPOLLIN)
            self._epoll.register(pair.control, select.EPOLLIN)
            return port
        raise NoPort(reason)

    def close(self, slot: int, now: float) -> None:
        """Close the pair of ``slot``; its ports rest."""
        pair = self._take(slot)
        self._dropped_before += self._drops(slot)
        self._dropped[slot] = 0
        self._pairs[slot] = None
        self.send[slot] = _nowhere
        for sock in (pair.rtp, pair.control):
            del self._receivers[sock.fileno()]
            sock.close()  # which takes it out of the epoll set, as nothing else holds it
        self._ports.release(pair.port, now)

    def direct(self, slot: int, remote: Address | None) -> None:
        """Send to ``remote`` (``None``: nowhere) and take packets from anywhere."""
        pair = self._take(slot)
        if self._receivers[pair.rtp.fileno()][1] is not None:
            self._receivers[pair.rtp.fileno()] = (slot, None)
            try:
                disconnect(pair.rtp)
            except OSError as error:  # the kernel goes on filtering, until the stream latches elsewhere
                self.refused += 1
                _log.warning("port %d stays with its old peer: %s", pair.port, error)
            self._discard(pair.rtp)  # what came from the old peer
        self.point(slot, remote)

    def _watch(self, slot: int, *, on: bool) -> None:
        """Have the RTP socket of ``slot`` in the epoll set, or not."""
        rtp = self._take(slot).rtp
        if on:
            self._epoll.register(rtp, select.EPOLLIN)
        else:
            self._epoll.unregister(rtp)

    def point(self, slot: int, remote: Address | None) -> None:
        """Send to ``remote`` (``None``: nowhere); packets are taken from where they were before."""
        self.send[slot] = _nowhere if remote is None else partial(_send_to, self._take(slot).rtp, remote)

    def latch(self, slot: int, source: Address) -> None:
        """Exchange packets with ``source`` alone. Raises :class:`OSError` when the kernel will not."""
        sock = self._take(slot).rtp
        sock.connect(source)
        self._discard(sock)  # what came in before the kernel began to filter may be anybody's
        self._receivers[sock.fileno()] = (slot, self._receiver(slot, sock))
        self.send[slot] = sock.send

    def _receiver(self, slot: int, sock: socket.socket) -> Callable[[memoryview], int]:
        """What takes a packet of a socket that has latched."""
        return partial(self._receive_stamped, sock) if slot in self._to_stamp else sock.recv_into

    def stamp(self, slot: int, *, on: bool) -> None:
        """Have the kernel tell when packets of ``slot`` come (``stamps``), or no longer."""
        (self._to_stamp.add if on else self._to_stamp.discard)(slot)
        sock = self._take(slot).rtp
        if on:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if self._receivers[sock.fileno()][1] is not None:
            self._receivers[sock.fileno()] = (slot, self._receiver(slot, sock))

    def local(self, slot: int, remote: Address, *, control: bool = False) -> Address:
        """The address that ``slot`` has towards ``remote``, also when it is bound to all of them."""
        pair = self._take(slot)
        sock = pair.control if control else pair.rtp
        host, port = sock.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            with socket.socket(sock.family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
                probe.connect(remote)  # asks the kernel for the way there; nothing is sent
                host = probe.getsockname()[0]
        return host, port

    def _discard(self, sock: socket.socket) -> None:
        """Throw away what waits at ``sock``; at most a few packets."""
        for _ in range(64):
            try:
                sock.recv_into(self._views[-1])
            except BlockingIOError:
                return
            except OSError:  # an ICMP error that an earlier packet of ours came back with
                self.refused += 1

    def send_control(self, slot: int, packet: bytes, remote: Address) -> None:
        """Send RTCP; what the kernel refuses is counted."""
        try:
            self._take(slot).control.sendto(packet, remote)
        except OSError:
            self.refused += 1

    def receive(self, due: Slots, early: Slots = NO_SLOTS, *, anew: bool) -> int:
        """Take at most one packet from every socket; returns how many lie in ``rows``. ``due`` are the streams whose
        turn it is, or those of :meth:`again`: then it is not ``anew``; ``early`` are others that do not wait for their
        turn. Here all are taken from.
        """
        self.sources.clear()
        self.control.clear()
        slots, lengths = self._poll(0)
        self.slots = np.array(slots, np.intp)
        self.lengths = np.array(lengths, np.intp)
        self.places = _IN_ORDER[: len(slots)]
        return len(slots)

    def suspect(self, slots: Slots) -> None:
        """The packet of each of ``slots`` was not the one that it should have been: more may lie behind it."""

    def again(self, due: Slots, *, all_of_it: bool = False) -> Slots:
        """Of which streams sockets may hold more than the last round brought; ``all_of_it``: until nothing is there."""
        return self.slots if all_of_it or self.slots.size > BACKLOG * (due.size + 1) else NO_SLOTS

    def transmit(self, slots: Slots) -> list[int]:
        """Send their rows; returns the slots whose packet the kernel refused: a full buffer, or an ICMP error that an
        earlier one came back with.
        """
        send, views, lost = self.send, self._out_views, []
        for slot in slots.tolist():
            try:
                send[slot](views[slot])
            except OSError:
                lost.append(slot)
        return lost

    def _poll(self, row: int) -> tuple[list[int], list[int]]:
        """(slots, lengths) of what lies in the sockets of the epoll set, put into the rows from ``row`` on."""
        slots: list[int] = []
        lengths: list[int] = []
        for fd, _ in self._epoll.poll(0, ROWS - 1 - row):
            slot, receiver = self._receivers[fd]
            try:
                if receiver is not None:
                    length = receiver(self._views[row])
                elif slot < 0:
                    self._receive_control(-1 - slot)
                    continue
                else:
                    length = self._receive_from_anywhere(slot, row)
            except BlockingIOError:
                continue
            except OSError:  # an ICMP error that an earlier packet of ours came back with
                self.refused += 1
                continue
            slots.append(slot)
            lengths.append(length)
            row += 1
        return slots, lengths

    def _receive_from_anywhere(self, slot: int, row: int) -> int:
        """The length of a packet of a stream that has not latched."""
        sock, view = self._take(slot).rtp, self._views[row]
        if slot in self._to_stamp:
            return self._receive_stamped(sock, view, self.sources)
        length, source = sock.recvfrom_into(view)
        self.sources[row] = source[:2]
        return length

    def _receive_stamped(self, sock: socket.socket, view: memoryview, sources: dict[int, Address] | None = None) -> int:
        """The same with the time, as the kernel has it; ``sources`` gets the origin."""
        row = self._row_of[id(view)]
        length, ancillary, _, source = sock.recvmsg_into([view], socket.CMSG_SPACE(_STAMP.size))
        self.stamps[row] = np.nan
        for level, kind, data in ancillary:
            if (level, kind, len(data)) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS, _STAMP.size):
                seconds, nanoseconds = _STAMP.unpack(data)
                self.stamps[row] = seconds + nanoseconds * 1e-9
        if sources is not None:
            sources[row] = source[:2]
        return length

    def _receive_control(self, slot: int) -> None:
        if len(self.control) < MAX_CONTROL:
            data, source = self._take(slot).control.recvfrom(ROW)
            self.control.append((slot, data, source[:2]))

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped at RTP sockets, as far as :meth:`note_drops` or closing them told."""
        return self._dropped_before + int(self._dropped.sum())

    def note_drops(self, slots: Slots) -> None:
        """Ask the kernel what it dropped at the RTP sockets of ``slots`` since they were opened."""
        for slot in slots.tolist():
            self._dropped[slot] = self._drops(slot)

    def _drops(self, slot: int) -> int:
        information = self._take(slot).rtp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(information)[8]) if len(information) == _MEMINFO.size else 0

    def _take(self, slot: int) -> _Pair:
        pair = self._pairs[slot]
        if pair is None:
            raise LookupError(f"slot {slot} has no sockets")
        return pair


def _send_to(sock: socket.socket, remote: Address, packet: memoryview | bytes) -> None:
    sock.sendto(packet, remote)


def _nowhere(packet: memoryview | bytes) -> None:
    raise OSError(errno.EDESTADDRREQ, "no address to send to")
