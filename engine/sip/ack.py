"""The handshake of a 2xx to an INVITE, which belongs to no transaction (RFC 3261 13.2.2.4, 13.3.1.4)."""

from __future__ import annotations

from collections.abc import Callable

from engine.sip.core import ACCEPT, Core
from engine.sip.dialog import Dialog
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.timers import Timer
from engine.sip.transaction import InviteServer


class AckWait:
    """RFC 3261 13.3.1.4: the 2xx is sent again after T1, doubling up to T2, for 64*T1, on every transport."""

    __slots__ = ("_core", "_interval", "_limit", "_on_timeout", "_repeat_timer", "_transaction", "cseq", "initial")

    def __init__(
        self,
        core: Core,
        transaction: InviteServer,
        cseq: int,
        now: float,
        on_timeout: Callable[[float], None],
        *,
        initial: bool = False,
    ) -> None:
        self.cseq = cseq
        self.initial = initial
        """Whether it is the answer to the INVITE that made the dialog."""
        self._core = core
        self._transaction = transaction
        self._on_timeout = on_timeout
        self._interval = core.timing.t1
        self._repeat_timer: Timer = core.queue.at(now + self._interval, self._repeat)
        self._limit: Timer = core.queue.at(now + core.timing.transaction, self._timed_out)

    def stop(self) -> None:
        self._core.queue.cancel(self._repeat_timer)
        self._core.queue.cancel(self._limit)

    def _repeat(self, now: float) -> None:
        self._transaction.resend()
        self._interval = min(self._interval * 2, self._core.timing.t2)
        self._repeat_timer = self._core.queue.at(now + self._interval, self._repeat)

    def _timed_out(self, now: float) -> None:
        self._core.queue.cancel(self._repeat_timer)
        self._on_timeout(now)


class Acknowledger:
    """The ACK for the 2xx of one INVITE of ours: kept, to be sent again for each repeat of the 2xx (13.2.2.4)."""

    __slots__ = ("_core", "_dialog", "_sent")

    def __init__(self, core: Core, dialog: Dialog) -> None:
        self._core = core
        self._dialog = dialog
        self._sent: tuple[Flow, bytes] | None = None

    @property
    def sent(self) -> bool:
        return self._sent is not None

    def send(self, invite: Request, sdp: bytes | None) -> None:
        """Acknowledge the 2xx to ``invite``; ``sdp`` answers the offer that it carried."""
        ack = self._dialog.request("ACK", invite.cseq.number)
        for name in ("Authorization", "Proxy-Authorization"):  # the INVITE's (13.2.2.4)
            for value in invite.headers.all(name):
                ack.headers.add(name, value)
        if sdp is not None:
            ack.headers.add("Content-Type", ACCEPT)
            ack.body = sdp
        flow = self._dialog.next_hop()
        self._core.add_via(ack, flow)
        self._sent = flow, ack.encode()
        self._core.transmit(*self._sent)

    def repeat(self) -> None:
        """The 2xx was repeated."""
        if self._sent is not None:
            self._core.counters.retransmissions_sent += 1
            self._core.transmit(*self._sent)
