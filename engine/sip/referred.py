"""A REFER of the peer: what it asks for, and the subscription in which it hears how that went (RFC 3515, 4488)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.sip.exchange import Exchange
from engine.sip.message import REASONS, Request, Response
from engine.sip.replaces import Replaces, replaces_in
from engine.sip.timers import Timer
from engine.sip.uri import Address, Uri

if TYPE_CHECKING:
    from engine.sip.session import Session

LASTS = 180
"""Seconds that a subscription lasts."""
AFTER_THE_CALL = 32.0
"""Seconds that it lasts once we have hung up: nobody is going to tell more."""
SIPFRAG = "message/sipfrag;version=2.0"


class BadReferral(ValueError):
    """A REFER that we do not follow: ``status`` is what to refuse it with."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_refer_to(request: Request) -> tuple[Uri, Replaces | None]:
    """Whom a REFER wants called, and what that call is to replace. Raises :class:`BadReferral`."""
    values = request.headers.all("Refer-To")
    if len(values) != 1:
        raise BadReferral(400, "not one Refer-To")  # 2.4.2
    try:
        uri = Address.parse(values[0]).uri
        replaces = replaces_in(uri)
    except ValueError as error:
        raise BadReferral(400, "malformed Refer-To") from error
    if not uri.is_sip and uri.scheme != "tel":
        raise BadReferral(416, "not a call")
    method = uri.param("method")
    if method is not None and method.upper() != "INVITE":
        raise BadReferral(501, "not a call")
    # Of the headers that the URI may want in the INVITE, only Replaces is heeded: nobody but us writes the others.
    return uri.as_request_uri(), replaces


def read_referred_by(request: Request) -> Address | None:
    """Who wants it (RFC 3892), ``None`` if that is not said or cannot be read. It is a claim, no proof."""
    try:
        return Address.parse(request.headers.get("Referred-By") or "")
    except ValueError:
        return None


class IncomingReferral:
    """One REFER, accepted with 202. Tell of the call that it leads to with :meth:`notify`."""

    def __init__(self, session: Session, request: Request, *, first: bool) -> None:
        """Raises :class:`BadReferral`."""
        self.target, self.replaces = read_refer_to(request)
        self.referred_by = read_referred_by(request)
        self.id = request.cseq.number
        self.subscribed = (request.headers.get("Refer-Sub") or "").partition(";")[0].strip().lower() != "false"
        """Whether the peer wants to hear of it (RFC 4488)."""
        self.live = self.subscribed
        """Whether it still does."""
        # 2.4.6: the first REFER of a dialog may do without an id, and phones expect that it does.
        self._event = "refer" if first else f"refer;id={self.id}"
        self._session = session
        self._line = "SIP/2.0 100 Trying"
        self._state = ""
        """Why the subscription is over."""
        self._dirty = False
        self._exchange: Exchange | None = None
        self._expires_at = 0.0
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<IncomingReferral {self.id} to {self.target}>"

    def notify(self, status: int, now: float, reason: str | None = None) -> None:
        """Tell the status of the call; a final one is the last. Nothing happens if nobody listens any more."""
        if not self.live or self._state:
            return
        words = "".join(char for char in (reason or REASONS.get(status, "Unknown")) if char.isprintable())
        self._line = f"SIP/2.0 {status} {words}"
        if status >= 200:
            self._state = "noresource"  # RFC 3515 2.4.5: the final NOTIFY ends the subscription
        self._push(now)

    def begin(self, now: float) -> None:
        """The 202 is sent: tell that it is being tried, at once (2.4.4)."""
        if self.live:
            self._extend(LASTS, now)
            self._push(now)

    def renew(self, seconds: int, now: float) -> int:
        """The peer subscribes anew, or for 0 s no more; the seconds that it gets. Another NOTIFY follows."""
        granted = min(seconds, LASTS)
        if not granted:
            self._state = self._state or "timeout"
        else:
            self._extend(granted, now)
        self._push(now)
        return granted

    def call_ended(self, now: float) -> None:
        """We have hung up."""
        if self.live and self._expires_at > now + AFTER_THE_CALL:
            self._extend(AFTER_THE_CALL, now)

    def stop(self) -> None:
        """Say no more."""
        if self.live:
            self.live = False
            self._session.core.queue.cancel(self._timer)
            self._session.referral_over()

    def _extend(self, seconds: float, now: float) -> None:
        queue = self._session.core.queue
        queue.cancel(self._timer)
        self._expires_at = now + seconds
        self._timer = queue.at(self._expires_at, self._expired)

    def _expired(self, now: float) -> None:
        if self._state:
            self.stop()  # the last NOTIFY is on its way
        else:
            self._state = "timeout"
            self._extend(AFTER_THE_CALL, now)
            self._push(now)

    def _push(self, now: float) -> None:
        """Send a NOTIFY, one at a time: what happens meanwhile is said in the next."""
        if self._exchange is not None:
            self._dirty = True
            return
        self._dirty = False
        left = max(0, round(self._expires_at - now))
        state = f"terminated;reason={self._state}" if self._state else f"active;expires={left}"
        headers = (("Event", self._event), ("Subscription-State", state), ("Content-Type", SIPFRAG))
        body = f"{self._line}\r\n".encode()
        over = bool(self._state)

        def answered(status: int, response: Response | None, now: float) -> None:
            self._exchange = None
            if over or status in {408, 481}:
                self.stop()  # RFC 6665 4.2.2: who does not answer does not listen
            elif self._dirty and self.live:
                self._push(now)

        self._exchange = self._session.ask("NOTIFY", answered, now, headers=headers, body=body)
