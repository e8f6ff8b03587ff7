"""A name server on loopback, in a thread: answers out of a table."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
"""Records as text, by absolute name and type."""


class NameServer:
    """Listens on :attr:`address`. ``asked`` counts questions; names in ``silent`` get no answer at all."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.asked: Counter[tuple[str, str]] = Counter()
        self.silent: set[str] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, though it is no stream
        self._thread.join(2)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(4096)
                query = dns.message.from_wire(data)
            except (OSError, dns.exception.DNSException):
                return
            (question,) = query.question
            key = (question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
            self.asked[key] += 1
            if key[0] in self.silent:
                continue
            response = dns.message.make_response(query)
            response.flags |= dns.flags.RA
            if key in self.zone:
                response.answer.append(dns.rrset.from_text(key[0], 120, "IN", key[1], *self.zone[key]))
            elif not any(name == key[0] for name, _ in self.zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(response.to_wire(), source)
