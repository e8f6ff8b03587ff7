"""A request of ours until its final response, asked for credentials or not (RFC 3261 22.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from engine.sip.core import Core
from engine.sip.digest import DigestClient
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.reason import write_reason
from engine.sip.timers import Timer
from engine.sip.transaction import NOBODY, ClientTransaction, Failure, NonInviteClient

MAX_CHALLENGES = 3
"""A proxy and the far end may both ask, and a nonce may have gone stale; more is a loop."""

OnFinal = Callable[[int, Response | None, float], None]
"""Status, response and time. Without a response the status is 408 (timer B or F) or 503 (transport error)."""

OnProvisional = Callable[[Response, float], None]


class Silence(NamedTuple):
    """Calls ``then`` with the time when no response, not even 100, came within ``seconds`` of sending a request, or of
    repeating it with credentials. The transaction goes on.
    """

    seconds: float
    then: Callable[[float], None]


class Exchange:
    """Sends ``request``, which has no Via yet, and repeats it with credentials when challenged.

    ``on_final`` is called once; for an INVITE once for every 2xx, repeats included. Who asked is let go of when nothing
    more can come: it may own the exchange, and both are to be freed then.
    """

    __slots__ = (
        "_challenges",
        "_core",
        "_digest",
        "_flow",
        "_next_cseq",
        "_on_final",
        "_on_provisional",
        "_reroute",
        "_silence",
        "_unheard",
        "final",
        "request",
        "transaction",
    )

    def __init__(
        self,
        core: Core,
        request: Request,
        flow: Flow,
        *,
        digest: DigestClient | None,
        next_cseq: Callable[[], int],
        on_final: OnFinal,
        on_provisional: OnProvisional | None = None,
        reroute: Callable[[], Flow] | None = None,
        silence: Silence | None = None,
        now: float,
    ) -> None:
        self._core = core
        self._flow = flow
        self._digest = digest
        self._next_cseq = next_cseq
        self._on_final = on_final
        self._on_provisional = on_provisional
        self._reroute = reroute
        """For requests that may be repeated safely: another way when the connection broke under them."""
        self._silence = silence
        self._unheard: Timer | None = None
        self._challenges = 0
        self.final = False
        """Whether a final response other than a challenge came, or none will."""
        if digest is not None:
            digest.authorize(request)  # with the nonces known so far
        self.request = request
        self.transaction: ClientTransaction = core.send(request, flow, self, now)
        self._expect_response(now)

    def forgo_credentials(self) -> None:
        """Take a challenge for a refusal, and silence for nothing, from now on: the request is no longer wanted."""
        self._digest = None
        self._core.queue.cancel(self._unheard)

    def cancel(self, now: float, reason: str = "") -> None:
        """Send a CANCEL for the INVITE, which has had a provisional response (9.1); its final response follows."""
        self.forgo_credentials()
        invite, transaction = self.request, self.transaction
        headers = Headers()
        for name in ("Via", "From", "To", "Call-ID"):
            headers.add(name, invite.headers.get(name) or "")
        headers.add("CSeq", f"{invite.cseq.number} CANCEL")
        headers.add("Max-Forwards", "70")
        for route in invite.headers.all("Route"):
            headers.add("Route", route)
        if reason:
            headers.add("Reason", write_reason(reason))
        cancel = Request("CANCEL", invite.uri, headers)
        NonInviteClient(self._core, transaction.key[0], cancel, transaction.flow, NOBODY, now)  # the INVITE's branch

    def again(self, headers: Iterable[tuple[str, str]], now: float) -> None:
        """Send the request once more, after its final response, with other ``headers``."""
        for name, value in headers:
            self.request.headers.set(name, value)
        self.final = False
        self._send_again(now)

    def abandon(self) -> None:
        """Forget about it without a word."""
        self.final = True
        self.transaction.abandon()
        self._part()

    def on_response(self, response: Response, now: float) -> None:
        self._core.queue.cancel(self._unheard)
        if response.status < 200:
            if self._on_provisional is not None:
                self._on_provisional(response, now)
            return
        if response.status in {401, 407} and self._repeat(response, now):
            return
        self.final = True
        self._on_final(response.status, response, now)
        if self.final and self.transaction.state != "accepted":
            self._part()

    def on_failure(self, failure: Failure, now: float) -> None:
        if failure == "transport" and self._reroute is not None:
            flow, self._reroute = self._reroute(), None
            if flow != self._flow:
                self._flow = flow
                self._send_again(now)
                return
        self.final = True
        self._on_final(408 if failure == "timeout" else 503, None, now)
        if self.final:
            self._part()

    def on_gone(self) -> None:
        self._part()

    def _expect_response(self, now: float) -> None:
        self._core.queue.cancel(self._unheard)
        if self._silence is not None:
            self._unheard = self._core.queue.at(now + self._silence.seconds, self._silence.then)

    def _part(self) -> None:
        self._core.queue.cancel(self._unheard)
        self._on_final, self._on_provisional, self._silence = nobody_waits, None, None

    def _repeat(self, response: Response, now: float) -> bool:
        """Send the request again with what the challenge asks for; whether that could be done."""
        if self._digest is None or self._challenges >= MAX_CHALLENGES:
            return False
        self._challenges += 1
        if not self._digest.challenged(response, self.request):
            return False
        self._send_again(now)
        return True

    def _send_again(self, now: float) -> None:
        """A new request in all but content: new transaction, new CSeq, same Call-ID and From (22.2)."""
        sent = self.request
        again = Request(sent.method, sent.uri, sent.headers.copy(), sent.body)
        again.headers.remove("Via")
        again.headers.set("CSeq", f"{self._next_cseq()} {sent.method}")
        if self._digest is not None:
            self._digest.authorize(again)
        self.request = again
        self.transaction = self._core.send(again, self._flow, self, now)
        self._expect_response(now)


def nobody_waits(status: int, response: Response | None, now: float) -> None:
    """For an answer that changes nothing."""
