"""Callers by template: many calls from one UDP socket, every response checked.from benchmarks.helpers import Helper


:class:`Callers` is the caller's side without sockets or clock; :class:`SipGenerator` runs it in a process of its own.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.helpers import Helper

T1 = 0.5
"""RFC 3261 17.1.1.1."""

GIVE_UP = 8.0
"""Seconds after which a call that was not answered has failed."""

_CALL = re.compile(rb"\r\n(?:Call-ID|i)\s*:\s*(\d+)-", re.IGNORECASE)
_CSEQ = re.compile(rb"\r\nCSeq\s*:\s*(\d+ [A-Z]+)", re.IGNORECASE)
_TO = re.compile(rb"\r\n(?:To|t)\s*:\s*([^\r]*)", re.IGNORECASE)
_CONTACT = re.compile(rb"\r\n(?:Contact|m)\s*:\s*[^<\r]*<([^>\r]*)>", re.IGNORECASE)
_MEDIA = re.compile(rb"\r\nm=audio (\d+) RTP/AVP 0\b")
_COPIED = re.compile(rb"\r\n((?:Via|v|From|f|To|t|Call-ID|i|CSeq)\s*:[^\r]*)", re.IGNORECASE)

_OFFER = (
    "v=0\r\no=bench 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
)


@dataclass(slots=True)
class _Call:
    invited: float = 0.0
    again: float = 0.0
    interval: float = T1
    answered: float = 0.0
    to: bytes = b""
    target: bytes = b""
    port: int = 0
    ended: bool = False
    failed: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of the calls. ``faults`` counts what should not happen, by name."""

    answered: int = 0
    ended: int = 0
    retransmitted: int = 0
    """INVITEs that were sent again."""
    repeated: int = 0
    """Responses with 200 that came again."""
    faults: Counter[str] = field(default_factory=Counter)
    answer_ms: list[float] = field(default_factory=list)
    """INVITE to 200, of each call that was answered."""
    ports: list[int] = field(default_factory=list)
    """Where each call's sound goes, by SDP; 0 if it was not answered."""
    seconds: float = 0.0


class Callers:
    """``calls`` callers of ``number``, one every 1 / ``rate`` seconds; ``media`` are their own RTP ports, in turn.

    Times are seconds of any clock, passed in; datagrams to be sent come back.
    """

    def __init__(
        self, own: str, server: str, number: str, calls: int, rate: float, media: Sequence[int], now: float
    ) -> None:
        self.outcome = Outcome()
        self._own, self._server, self._number = own, server, number
        self._media = media
        self._run = secrets.token_hex(4)
        self._calls = [_Call() for _ in range(calls)]
        self._begun = now
        self._rate = rate
        self._invited = 0
        self._waiting: deque[int] = deque()

    @property
    def all_answered(self) -> bool:
        """Whether every call was answered, or failed."""
        return self._invited == len(self._calls) and not self._waiting

    @property
    def all_ended(self) -> bool:
        return all(call.ended or call.failed for call in self._calls)

    def due(self, now: float) -> list[bytes]:
        """INVITEs whose time has come, for the first time or again."""
        datagrams: list[bytes] = []
        while self._invited < len(self._calls) and now >= self._begun + self._invited / self._rate:
            call = self._calls[self._invited]
            call.invited, call.again = now, now + T1
            datagrams.append(self._invite(self._invited))
            self._waiting.append(self._invited)
            self._invited += 1
        for _ in range(len(self._waiting)):
            index = self._waiting.popleft()
            call = self._calls[index]
            if call.answered or call.failed:
                continue
            if now >= call.invited + GIVE_UP:
                call.failed = True
                self.outcome.faults["no answer"] += 1
                continue
            self._waiting.append(index)
            if now >= call.again:
                call.interval *= 2
                call.again = now + call.interval
                self.outcome.retransmitted += 1
                datagrams.append(self._invite(index))
        return datagrams

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """A datagram came; what to say to it."""
        found = _CALL.search(data)
        index = int(found[1]) if found else -1
        if not 0 <= index < self._invited:
            self.outcome.faults["stray"] += 1
            return []
        call = self._calls[index]
        if data.startswith(b"SIP/2.0 "):
            return self._response(index, call, data, now)
        if data.startswith(b"BYE "):
            if not call.answered:
                self.outcome.faults["BYE before 200"] += 1
            elif not call.ended:
                call.ended = True
                self.outcome.ended += 1
            return [reply(data)]
        self.outcome.faults["other requests"] += 1
        return []

    def _response(self, index: int, call: _Call, data: bytes, now: float) -> list[bytes]:
        status = data[8:11]
        cseq = _CSEQ.search(data)
        if cseq is None or cseq[1] not in {b"1 INVITE", b"2 BYE"}:
            self.outcome.faults["wrong CSeq"] += 1
            return []
        if cseq[1] == b"2 BYE":
            if status == b"200" and not call.ended:
                call.ended = True
                self.outcome.ended += 1
            return []
        if status.startswith(b"1"):
            call.again = now + GIVE_UP
            return []
        if status != b"200":
            if not call.failed:
                call.failed = True
                self.outcome.faults[status.decode(errors="replace")] += 1
            return [self._request(index, "ACK", 1)]
        if not call.answered:
            to, contact, media = _TO.search(data), _CONTACT.search(data), _MEDIA.search(data)
            if to is None or contact is None or media is None or b";tag=" not in to[1]:
                call.failed = True
                self.outcome.faults["200 without tag, Contact or PCMU"] += 1
                return []
            call.answered, call.to, call.target, call.port = now, to[1], contact[1], int(media[1])
            self.outcome.answered += 1
            self.outcome.answer_ms.append(1000 * (now - call.invited))
        else:
            self.outcome.repeated += 1
        return [self._request(index, "ACK", 1)]

    def hang_up(self) -> list[bytes]:
        """BYE of all calls that are up."""
        up = (index for index, call in enumerate(self._calls) if call.answered and not call.ended)
        return [self._request(index, "BYE", 2) for index in up]

    def account(self, now: float) -> Outcome:
        self.outcome.ports = [call.port for call in self._calls]
        self.outcome.seconds = now - self._begun
        return self.outcome

    def _invite(self, index: int) -> bytes:
        return self._request(index, "INVITE", 1, _OFFER.format(port=self._media[index % len(self._media)]))

    def _request(self, index: int, method: str, cseq: int, body: str = "") -> bytes:
        call = self._calls[index]
        target = call.target.decode() or f"sip:{self._number}@{self._server}"
        to = call.to.decode() or f"<sip:{self._number}@{self._server}>"
        # RFC 3261 17.1.1.3: the ACK of a failure has the branch of its INVITE, that of a success one of its own.
        branch = f"{index}-{self._run}{method if call.answered or method != 'ACK' else 'INVITE'}"
        head = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._own};branch=z9hG4bK{branch}",
            "Max-Forwards: 70",
            f"From: <sip:caller@{self._own}>;tag={index}{self._run}",
            f"To: {to}",
            f"Call-ID: {index}-{self._run}@bench",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:caller@{self._own}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*head, "", body]).encode()


def reply(request: bytes, status: bytes = b"200 OK") -> bytes:
    """The answer to a request, without a body."""
    kept = b"\r\n".join(match[1] for match in _COPIED.finditer(request.partition(b"\r\n\r\n")[0]))
    return b"SIP/2.0 " + status + b"\r\n" + kept + b"\r\nContent-Length: 0\r\n\r\n"


class SipGenerator(Helper):
    """:class:`Callers` in a process of its own."""

    def __init__(
        self,
        server: tuple[str, int],
        *,
        calls: int,
        rate: float,
        media: Sequence[int] = (9,),
        number: str = "1000",
        hold: bool = False,
    ) -> None:
        """``hold``: calls stay up until :meth:`finish`; otherwise the other side hangs up."""
        arguments = (server, number, calls, rate, list(media))
        super().__init__("the SIP generator", _run, arguments, {"hold": hold}, patience=calls / rate + GIVE_UP + 30)
        self.answer()

    def call(self) -> Outcome:
        """Make the calls: until all have ended, or, if they are held, are up."""
        return self._ask("go")

    def finish(self) -> Outcome:
        """Hang up what is held."""
        return self._ask("bye")

    def _ask(self, what: str) -> Outcome:
        self.pipe.send(what)
        outcome: Outcome = self.answer()
        return outcome


def _run(
    pipe: Connection, server: tuple[str, int], number: str, calls: int, rate: float, media: list[int], *, hold: bool
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind(("127.0.0.1", 0))
        sock.connect(server)  # what others send to this port is not for us
        sock.setblocking(False)
        own = f"127.0.0.1:{sock.getsockname()[1]}"
        pipe.send(None)
        if not _told(pipe):
            return
        callers = Callers(own, f"{server[0]}:{server[1]}", number, calls, rate, media, time.monotonic())

        def exchange() -> None:
            """What is due, and what comes within 2 ms; times are those at which it is taken in."""
            for datagram in callers.due(time.monotonic()):
                sock.send(datagram)
            select.select([sock], [], [], 0.002)
            while True:
                try:
                    data = sock.recv(65535)
                except (BlockingIOError, ConnectionRefusedError):
                    return
                for answer in callers.receive(data, time.monotonic()):
                    sock.send(answer)

        while not (callers.all_answered if hold else callers.all_answered and callers.all_ended):
            exchange()
        pipe.send(callers.account(time.monotonic()))
        if not _told(pipe):
            return
        for datagram in callers.hang_up():
            sock.send(datagram)
        until = time.monotonic() + GIVE_UP
        while not callers.all_ended and time.monotonic() < until:
            exchange()
        pipe.send(callers.account(time.monotonic()))


def _told(pipe: Connection) -> bool:
    """Wait for the word to go on; false when nobody is there any more."""
    try:
        pipe.recv()
    except EOFError:
        return False
    return True
