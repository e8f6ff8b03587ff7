"""Reliable provisional responses: RFC 3262. ``100rel`` from the called side, RSeq and RAck from both."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from engine.sip.core import ALLOW, SUPPORTED, Core, has_option
from engine.sip.message import Request, Response
from engine.sip.timers import Timer
from engine.sip.transaction import InviteServer

OPTION = "100rel"

MOST_WAITING = 16
"""Responses that wait for the PRACK of the one before them; of more, the oldest without SDP are left out."""

# RAck = response-num LWS CSeq-num LWS Method (7.2); RSeq = response-num (7.1).
_RACK = re.compile(r"\s*(\d{1,10})\s+(\d{1,10})\s+([A-Za-z]{1,32})\s*")
_RSEQ = re.compile(r"\s*(\d{1,10})\s*")


class RAck(NamedTuple):
    """Which response a PRACK acknowledges."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def read_rack(request: Request) -> RAck | None:
    """The RAck of a PRACK, ``None`` if there is none that can be read."""
    match = _RACK.fullmatch(request.headers.get("RAck") or "")
    return RAck(int(match[1]), int(match[2]), match[3]) if match is not None else None


def read_rseq(response: Response) -> int | None:
    """The number of a reliable provisional response, ``None`` if it is not reliable (4)."""
    match = _RSEQ.fullmatch(response.headers.get("RSeq") or "")
    if match is None or not 100 < response.status < 200 or not has_option(response, "Require", OPTION):
        return None
    number = int(match[1])
    return number if 0 < number < 1 << 32 else None


class Respond(Protocol):
    """Sends a response to the INVITE."""

    def __call__(
        self, status: int, now: float, *, headers: tuple[tuple[str, str], ...], sdp: bytes | None
    ) -> Response: ...


class ReliableResponses:
    """Those to one INVITE of a peer: one at a time, each repeated until its PRACK comes (section 3)."""

    __slots__ = (
        "_core",
        "_data",
        "_interval",
        "_limit",
        "_on_timeout",
        "_open",
        "_repeat_timer",
        "_respond",
        "_rseq",
        "_transaction",
        "_waiting",
        "carried_sdp",
        "possible",
        "required",
    )

    def __init__(
        self, core: Core, transaction: InviteServer, respond: Respond, on_timeout: Callable[[float], None]
    ) -> None:
        """``on_timeout`` is called when no PRACK came for 64*T1."""
        request = transaction.request
        self.required = has_option(request, "Require", OPTION)
        """Whether all provisional responses but 100 must be sent reliably."""
        self.possible = self.required or has_option(request, "Supported", OPTION)
        self.carried_sdp = False
        """Whether the response that waits for its PRACK, or was acknowledged last, had a session description."""
        self._core = core
        self._transaction = transaction
        self._respond = respond
        self._on_timeout = on_timeout
        self._rseq = 0
        self._open = False
        self._data = b""
        self._waiting: deque[tuple[int, bytes | None]] = deque()
        self._interval = 0.0
        self._repeat_timer: Timer | None = None
        self._limit: Timer | None = None

    @property
    def blocks_answer(self) -> bool:
        """Whether a 2xx must wait: a session description has no PRACK yet (3)."""
        return (self._open and self.carried_sdp) or any(sdp is not None for _, sdp in self._waiting)

    def send(self, status: int, sdp: bytes | None, now: float) -> None:
        """Send a response now, or once those before it were acknowledged."""
        if not self._open:
            self._send(status, sdp, now)
            return
        if len(self._waiting) >= MOST_WAITING:
            spare = next((item for item in self._waiting if item[1] is None), self._waiting[0])
            self._waiting.remove(spare)
        self._waiting.append((status, sdp))

    def acknowledged(self, prack: Request) -> bool:
        """Take a PRACK: whether it is for the response that waits for one. Call :meth:`proceed` after answering it."""
        rack = read_rack(prack)
        expected = RAck(self._rseq, self._transaction.request.cseq.number, "INVITE")
        if not self._open or rack != expected:
            return False
        self._open = False
        self._stop_timers()
        return True

    def proceed(self, now: float) -> None:
        """Send what waits."""
        if self._waiting and not self._open:
            self._send(*self._waiting.popleft(), now)

    def stop(self) -> None:
        """The final response is sent: nothing is sent or repeated any more, but a PRACK is still welcome (3)."""
        self._waiting.clear()
        self._stop_timers()

    def _send(self, status: int, sdp: bytes | None, now: float) -> None:
        # 3: the first number is chosen at random from 1 to 2**31 - 1, the following ones go up by one.
        self._rseq = self._rseq + 1 if self._rseq else self._core.random.randint(1, (1 << 31) - 1)
        # Allow: an UPDATE may follow in the early dialog (RFC 3311 5.1).
        headers = (("Require", OPTION), ("RSeq", str(self._rseq)), ("Allow", ALLOW), ("Supported", SUPPORTED))
        self._data = self._respond(status, now, headers=headers, sdp=sdp).encode()
        self._open = True
        self.carried_sdp = sdp is not None
        self._interval = self._core.timing.t1
        self._repeat_timer = self._core.queue.at(now + self._interval, self._repeat)
        self._limit = self._core.queue.at(now + self._core.timing.transaction, self._timed_out)

    def _repeat(self, now: float) -> None:
        """On every transport: what is acknowledged is that the other end has it (3)."""
        self._core.counters.retransmissions_sent += 1
        self._core.transmit(self._transaction.flow, self._data)
        self._interval *= 2
        self._repeat_timer = self._core.queue.at(now + self._interval, self._repeat)

    def _timed_out(self, now: float) -> None:
        self._core.counters.timeouts += 1
        self.stop()
        self._on_timeout(now)

    def _stop_timers(self) -> None:
        self._core.queue.cancel(self._repeat_timer)
        self._core.queue.cancel(self._limit)
