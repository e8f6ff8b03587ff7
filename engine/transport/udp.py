"""One UDP socket for SIP: read in batches, big kernel buffer, answers from the address that was asked."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

from engine.addresses import is_wildcard
from engine.sip.parser import is_keep_alive

log = structlog.get_logger(__name__)

Address = tuple[str, int]

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes asked of the kernel: some 3 s of messages while the loop does something else."""
BATCH = 64
"""Datagrams read before others get their turn on the loop."""

_MAX_DATAGRAM = 65_535
_SO_RCVBUFFORCE = 33  # Linux; beyond net.core.rmem_max for whoever may
_IP_PKTINFO = 8  # Linux; the socket module names only the IPv6 twin
_PKTINFO4 = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, our address, the packet's destination
_PKTINFO6 = struct.Struct("=16sI")  # struct in6_pktinfo: address, interface
_ANCILLARY = 64
_LOST = frozenset({errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EAGAIN, errno.ECONNREFUSED})
"""Errors that speak of one datagram or one moment (too long, no memory, a filter's rule), not of the way."""

Receive = Callable[[bytes, Address, Address], None]
"""``receive(datagram, local, remote)``."""


class UdpListener:
    """A bound socket. ``on_batch`` is called after each batch of ``on_datagram`` calls.

    A socket bound to a wildcard tells with each datagram which of our addresses it came to and
    sends from the address it is told, so that hosts with several addresses answer from the right one.
    """

    def __init__(self, host: str, port: int, *, on_datagram: Receive, on_batch: Callable[[], None]) -> None:
        """Bind. Raises ``OSError``."""
        self._on_datagram = on_datagram
        self._on_batch = on_batch
        self._wildcard = is_wildcard(host)
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.send_failures = 0
        """Datagrams that the kernel did not take; what matters is sent again."""
        self.keep_alives = 0
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self._prepare()
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.address: Address = self._socket.getsockname()[:2]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _prepare(self) -> None:
        sock = self._socket
        sock.setblocking(False)
        if self.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self._wildcard:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif self._wildcard:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # The kernel doubles what it grants, for its own bookkeeping.
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * RECEIVE_BUFFER:
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except OSError:
                granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
                log.warning("udp_buffer_small", bytes=granted, wanted=RECEIVE_BUFFER, raise_with="net.core.rmem_max")

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    # --- in -----------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            for _ in range(BATCH):
                try:
                    data, local, remote = self._receive()
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    continue  # an ICMP error of something sent before
                if is_keep_alive(data):
                    self.keep_alives += 1
                else:
                    self._on_datagram(data, local, remote)
        finally:
            self._on_batch()

    def _receive(self) -> tuple[bytes, Address, Address]:
        if not self._wildcard:
            data, remote = self._socket.recvfrom(_MAX_DATAGRAM)
            return data, self.address, remote[:2]
        data, ancillary, _, remote = self._socket.recvmsg(_MAX_DATAGRAM, _ANCILLARY)
        return data, (self._destination(ancillary), self.address[1]), remote[:2]

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> str:
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return socket.inet_ntoa(_PKTINFO4.unpack_from(value)[1])
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                return socket.inet_ntop(socket.AF_INET6, _PKTINFO6.unpack_from(value)[0])
        return self.address[0]

    # --- out ----------------------------------------------------------------------------

    def send(self, data: bytes, local: str, remote: Address) -> OSError | None:
        """Send from ``local`` (when bound to a wildcard; empty: as routed). Returns why it cannot be sent, ever.

        What concerns this datagram alone is not such a reason: it is lost, as on the way.
        """
        try:
            if self._wildcard and local and not is_wildcard(local):
                self._socket.sendmsg([data], [self._source(local)], 0, remote)
            else:
                self._socket.sendto(data, remote)
        except (BlockingIOError, InterruptedError):
            self.send_failures += 1
        except (OSError, OverflowError) as error:
            self.send_failures += 1
            if not isinstance(error, OSError):
                return OSError(str(error))
            return None if error.errno in _LOST else error
        return None

    def _source(self, local: str) -> tuple[int, int, bytes]:
        if self.family == socket.AF_INET6:
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(socket.inet_pton(self.family, local), 0)
        return socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(0, socket.inet_aton(local), bytes(4))

    # --- what the kernel threw away -----------------------------------------------------

    def kernel_drops(self) -> int:
        """Datagrams that the full receive buffer refused since the socket was bound; 0 where it cannot be known."""
        table = Path("/proc/self/net/udp6" if self.family == socket.AF_INET6 else "/proc/self/net/udp")
        try:
            inode = str(os.fstat(self._socket.fileno()).st_ino)
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] == inode:
                    return int(fields[12])
        except (OSError, IndexError, ValueError):
            pass
        return 0
