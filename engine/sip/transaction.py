"""The four transaction machines: RFC 3261 figures 5 to 8, with the Accepted states of RFC 6026.

A machine is given messages that were already matched to it, keeps the lettered timers in the endpoint's
queue, and removes itself from the endpoint's table when it terminates. State names are the RFCs'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.sip.flow import Flow, Links
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.routing import default_port
from engine.sip.timers import Timer, TimerQueue, Timers

ServerKey = tuple[str, ...]
ClientKey = tuple[str, str]
Failure = Literal["timeout", "transport"]


@dataclass(slots=True)
class Counters:
    """What an endpoint has seen and done since it was made. All are counts of messages or transactions."""

    received: int = 0
    sent: int = 0
    retransmissions_sent: int = 0
    retransmissions_received: int = 0
    malformed: int = 0
    unauthorised: int = 0
    rate_limited: int = 0
    merged: int = 0
    strays: int = 0
    """Responses, ACKs and CANCELs that belong to nothing we know."""
    refused: int = 0
    """Well-formed requests answered by the endpoint itself with an error (405, 420, 481, …)."""
    refers_refused: int = 0
    """REFERs that we did not take."""
    dropped: int = 0
    """Messages that nobody could make sense of or answer."""
    timeouts: int = 0
    transport_failures: int = 0


class Host(Protocol):
    """What the machines need of the endpoint that they live in."""

    timing: Timers
    queue: TimerQueue
    counters: Counters
    servers: dict[ServerKey, ServerTransaction]
    clients: dict[ClientKey, ClientTransaction]
    links: Links

    def transmit(self, flow: Flow, data: bytes) -> None: ...


class InviteServerUser(Protocol):
    """Who answers an INVITE."""

    def on_cancel(self, cancel: Request, now: float) -> None:
        """A CANCEL came before any final response; its own 200 has been sent."""

    def on_unacknowledged(self, now: float) -> None:
        """The refusal was never acknowledged (timer H), or could not be sent."""


class ClientUser(Protocol):
    """Who sent a request."""

    def on_response(self, response: Response, now: float) -> None:
        """Every provisional response, every 2xx to an INVITE, and the one final response otherwise."""

    def on_failure(self, failure: Failure, now: float) -> None:
        """No final response will come. Called at most once, and never after a final response."""

    def on_gone(self) -> None:
        """After a 2xx to an INVITE: no other one will come."""


class _Nobody:
    """The user of a client transaction that has nothing more to say, or whose answer nobody waits for."""

    def on_response(self, response: Response, now: float) -> None:
        pass

    def on_failure(self, failure: Failure, now: float) -> None:
        pass

    def on_gone(self) -> None:
        pass


NOBODY = _Nobody()


class ServerTransaction:
    """What both server machines share."""

    __slots__ = ("_host", "_last", "flow", "key", "on_gone", "request", "state", "to_tag")

    def __init__(self, host: Host, key: ServerKey, request: Request, flow: Flow) -> None:
        self._host = host
        self._last: bytes | None = None
        self.key = key
        self.request = request
        """Forgotten once a request other than INVITE has its final response: repeats are matched by key."""
        self.flow = flow
        """Where responses go (RFC 3261 18.2.2, RFC 3581 4)."""
        self.to_tag: str | None = None
        """The tag that all responses carry, once one was chosen."""
        self.on_gone: Callable[[], None] | None = None
        self.state = "trying"
        host.servers[key] = self
        if flow.reliable:
            host.links.attach(flow, self)

    def respond(self, response: Response, now: float) -> None:
        """Send ``response``; what the state no longer allows is not sent."""
        raise NotImplementedError

    def retransmitted(self, now: float) -> None:
        """The request came again."""
        self._host.counters.retransmissions_received += 1
        if self._last is not None and self.state in {"proceeding", "completed"}:
            self._host.counters.retransmissions_sent += 1
            self._host.transmit(self.flow, self._last)

    def on_link_lost(self, flow: Flow, now: float) -> None:
        """The connection of the request is gone: respond to its Via address, over a new one (RFC 3261 18.2.2)."""
        self._host.links.detach(self.flow, self)
        port = self.request.via.port or default_port(flow.transport)
        self.flow = self.flow._replace(remote=(flow.remote[0], port), connection=0)

    def abandon(self) -> None:
        """Terminate without a word."""
        self._terminate()

    def _send(self, response: Response) -> None:
        self._last = response.encode()
        self._host.transmit(self.flow, self._last)

    def _terminate(self) -> None:
        if self.state == "terminated":
            return
        self.state = "terminated"
        self._host.servers.pop(self.key, None)
        if self.flow.reliable:
            self._host.links.detach(self.flow, self)
        if self.on_gone is not None:
            self.on_gone()
            self.on_gone = None


class NonInviteServer(ServerTransaction):
    """RFC 3261 figure 8."""

    __slots__ = ("_timer_j",)

    def __init__(self, host: Host, key: ServerKey, request: Request, flow: Flow) -> None:
        super().__init__(host, key, request, flow)
        self._timer_j: Timer | None = None

    def respond(self, response: Response, now: float) -> None:
        if self.state not in {"trying", "proceeding"}:
            return
        self._send(response)
        if response.status < 200:
            self.state = "proceeding"
            return
        self.state = "completed"
        if self.flow.reliable:
            self._terminate()
        else:
            del self.request
            self._timer_j = self._host.queue.at(now + self._host.timing.transaction, self._expire)

    def abandon(self) -> None:
        self._host.queue.cancel(self._timer_j)
        self._terminate()

    def _expire(self, now: float) -> None:
        self._terminate()


class InviteServer(ServerTransaction):
    """RFC 3261 figure 7 as changed by RFC 6026 7.1."""

    __slots__ = ("_interval", "_timer_end", "_timer_g", "user")

    def __init__(self, host: Host, key: ServerKey, request: Request, flow: Flow) -> None:
        super().__init__(host, key, request, flow)
        self.state = "proceeding"
        self.user: InviteServerUser | None = None
        self._interval = host.timing.t1
        self._timer_g: Timer | None = None
        self._timer_end: Timer | None = None

    def respond(self, response: Response, now: float) -> None:
        status = response.status
        if self.state != "proceeding":
            return
        self._send(response)
        if status < 200:
            return
        queue, timing = self._host.queue, self._host.timing
        if status < 300:
            self.state = "accepted"  # RFC 6026 7.1: timer L, on every transport
            self._timer_end = queue.at(now + timing.transaction, self._expire)
            return
        self.state = "completed"
        if not self.flow.reliable:
            self._timer_g = queue.at(now + self._interval, self._repeat)
        self._timer_end = queue.at(now + timing.transaction, self._unacknowledged)  # timer H

    def resend(self) -> None:
        """Send the last response again, when its user says so: a 2xx without ACK (RFC 3261 13.3.1.4), a ringing."""
        if self._last is not None and self.state in {"proceeding", "accepted"}:
            self._host.counters.retransmissions_sent += 1
            self._host.transmit(self.flow, self._last)

    def acknowledged(self, now: float) -> None:
        """An ACK that matched this transaction, so one for a non-2xx response."""
        if self.state != "completed":
            return
        queue = self._host.queue
        queue.cancel(self._timer_g)
        queue.cancel(self._timer_end)
        self.state = "confirmed"
        if self.flow.reliable:
            self._terminate()
        else:
            self._timer_end = queue.at(now + self._host.timing.t4, self._expire)  # timer I

    def abandon(self) -> None:
        self._host.queue.cancel(self._timer_g)
        self._host.queue.cancel(self._timer_end)
        self._terminate()

    def _repeat(self, now: float) -> None:
        self._host.counters.retransmissions_sent += 1
        assert self._last is not None
        self._host.transmit(self.flow, self._last)
        self._interval = min(self._interval * 2, self._host.timing.t2)
        self._timer_g = self._host.queue.at(now + self._interval, self._repeat)

    def _unacknowledged(self, now: float) -> None:
        self._host.queue.cancel(self._timer_g)
        self._host.counters.timeouts += 1
        user = self.user
        self._terminate()
        if user is not None:
            user.on_unacknowledged(now)

    def _expire(self, now: float) -> None:
        self._terminate()

    def _terminate(self) -> None:
        super()._terminate()
        self.user = None  # which has this transaction


class ClientTransaction:
    """What both client machines share: the request on its way, timers for repeating it and for giving up.

    ``request`` has its Via, whose branch is ``branch``.
    """

    __slots__ = ("_data", "_give_up", "_host", "_interval", "_repeat_timer", "flow", "key", "request", "state", "user")

    def __init__(self, host: Host, branch: str, request: Request, flow: Flow, user: ClientUser, now: float) -> None:
        self._host = host
        self._data = request.encode()
        self._interval = host.timing.t1
        self._repeat_timer: Timer | None = None
        self.key: ClientKey = (branch, request.method)
        self.request = request
        self.flow = flow
        self.user = user
        self.state = "trying"
        host.clients[self.key] = self
        host.links.attach(flow, self)
        host.transmit(flow, self._data)
        if not flow.reliable:
            self._repeat_timer = host.queue.at(now + self._interval, self._repeat)  # timer A or E
        self._give_up: Timer | None = host.queue.at(now + host.timing.transaction, self._timed_out)  # timer B or F

    def receive(self, response: Response, now: float) -> None:
        raise NotImplementedError

    def fail(self, failure: Failure, now: float) -> None:
        """The request cannot be delivered, or will not be answered (RFC 3261 17.1.4)."""
        unanswered, user = self.unanswered, self.user
        self._terminate()
        if unanswered:
            if failure == "timeout":
                self._host.counters.timeouts += 1
            else:
                self._host.counters.transport_failures += 1
            user.on_failure(failure, now)

    @property
    def unanswered(self) -> bool:
        """Whether a final response is still to come."""
        return self.state in {"trying", "calling", "proceeding"}

    def move(self, flow: Flow) -> None:
        """Send on ``flow`` from now on."""
        self._host.links.detach(self.flow, self)
        self.flow = flow
        self._host.links.attach(flow, self)

    def on_link_lost(self, flow: Flow, now: float) -> None:
        if self.unanswered:
            self.fail("transport", now)

    def abandon(self) -> None:
        """Terminate without a word to anybody."""
        self._terminate()

    def _repeat(self, now: float) -> None:
        self._host.counters.retransmissions_sent += 1
        self._host.transmit(self.flow, self._data)
        self._interval = self._next_interval()
        self._repeat_timer = self._host.queue.at(now + self._interval, self._repeat)

    def _next_interval(self) -> float:
        raise NotImplementedError

    def _timed_out(self, now: float) -> None:
        self.fail("timeout", now)

    def _stop_timers(self) -> None:
        self._host.queue.cancel(self._repeat_timer)
        self._host.queue.cancel(self._give_up)

    def _linger(self, deadline: float, state: str) -> None:
        """Stay to absorb what is still on its way."""
        self._stop_timers()
        self.state = state
        self._give_up = self._host.queue.at(deadline, self._expire)

    def _expire(self, now: float) -> None:
        user = self.user
        self._terminate()
        user.on_gone()

    def _terminate(self) -> None:
        if self.state == "terminated":
            return
        self._stop_timers()
        self.state = "terminated"
        self.user = NOBODY  # who has this transaction
        self._host.clients.pop(self.key, None)
        self._host.links.detach(self.flow, self)


class NonInviteClient(ClientTransaction):
    """RFC 3261 figure 6."""

    __slots__ = ()

    def receive(self, response: Response, now: float) -> None:
        if self.state not in {"trying", "proceeding"}:
            self._host.counters.retransmissions_received += 1
            return
        user = self.user
        if response.status < 200:
            self.state = "proceeding"
        else:
            self.user = NOBODY  # who has this transaction
            if self.flow.reliable:
                self._terminate()
            else:
                self._linger(now + self._host.timing.t4, "completed")  # timer K
        user.on_response(response, now)

    def _next_interval(self) -> float:
        timing = self._host.timing
        # Figure 6: timer E runs at T2 from the first provisional response on.
        return timing.t2 if self.state == "proceeding" else min(self._interval * 2, timing.t2)


class InviteClient(ClientTransaction):
    """RFC 3261 figure 5 as changed by RFC 6026 7.2."""

    __slots__ = ("_ack",)

    def __init__(self, host: Host, branch: str, request: Request, flow: Flow, user: ClientUser, now: float) -> None:
        super().__init__(host, branch, request, flow, user, now)
        self.state = "calling"
        self._ack: bytes | None = None

    def receive(self, response: Response, now: float) -> None:
        status, user = response.status, self.user
        if self.state in {"calling", "proceeding"}:
            self._stop_timers()
            if status < 200:
                self.state = "proceeding"
            elif status < 300:
                self._linger(now + self._host.timing.transaction, "accepted")  # timer M
            else:
                self._refused(response, now)
            user.on_response(response, now)
        elif self.state == "accepted" and 200 <= status < 300:
            user.on_response(response, now)  # a repeat, or a 2xx of another fork
        elif self.state == "completed" and status >= 300:
            self._host.counters.retransmissions_received += 1
            if self._ack is not None:
                self._host.transmit(self.flow, self._ack)
        else:
            self._host.counters.strays += 1

    def _refused(self, response: Response, now: float) -> None:
        self.user = NOBODY  # who has this transaction
        self._ack = self._acknowledgement(response).encode()
        self._host.transmit(self.flow, self._ack)
        if self.flow.reliable:
            self._terminate()
        else:
            self._linger(now + self._host.timing.d, "completed")  # timer D

    def _acknowledgement(self, response: Response) -> Request:
        """The ACK for a non-2xx response, hop by hop (RFC 3261 17.1.1.3)."""
        sent = self.request.headers
        headers = Headers()
        for name in ("Via", "From"):
            headers.add(name, sent.get(name) or "")
        headers.add("To", response.headers.get("To") or "")
        headers.add("Call-ID", self.request.call_id)
        headers.add("CSeq", f"{self.request.cseq.number} ACK")
        headers.add("Max-Forwards", "70")
        for route in sent.all("Route"):
            headers.add("Route", route)
        return Request("ACK", self.request.uri, headers)

    def _next_interval(self) -> float:
        return self._interval * 2  # figure 5: timer A is not bounded by T2
