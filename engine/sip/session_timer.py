"""Session timers: RFC 4028. Who is called or calls asks from time to time whether the other end is still there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.sip.core import has_option
from engine.sip.headers import read_seconds
from engine.sip.message import Message, Request, Response
from engine.sip.part import Part
from engine.sip.timers import Timer

if TYPE_CHECKING:
    from engine.sip.session import Session

OPTION = "timer"
SMALLEST = 90
"""RFC 4028 5: no Min-SE may be smaller, and this is what its absence means."""
LONGEST = 86400
"""Seconds between refreshes that we let a peer talk us into."""
GRACE = 32.0
"""10: who waits for refreshes hangs up this long before the interval ends, or a third of it if that is less."""
LAST_TRY = 5.0
"""Seconds before the end of the interval in which no refresh is tried any more."""

HeaderFields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SessionTimers:
    """What we ask for and what we put up with. Seconds."""

    expires: int = 1800
    """The interval that we ask for; 0 asks for none, and leaves it to the peer to do so."""
    minimum: int = SMALLEST
    """Shorter intervals are refused with 422; not less than 90."""

    def __post_init__(self) -> None:
        if self.minimum < SMALLEST or not (self.expires == 0 or self.minimum <= self.expires <= LONGEST):
            raise ValueError(f"session timers must be between {SMALLEST} and {LONGEST} s, expires not below minimum")


def read_session_expires(message: Message) -> tuple[int, str] | None:
    """Interval and refresher (``uac``, ``uas`` or nothing) of a Session-Expires, ``None`` if it cannot be read."""
    value, *params = (message.headers.get("Session-Expires") or "").split(";")
    seconds = read_seconds(value)
    if not seconds:
        return None
    named = dict(param.partition("=")[::2] for param in params)
    refresher = next((text.strip().lower() for name, text in named.items() if name.strip().lower() == "refresher"), "")
    return seconds, refresher if refresher in {"uac", "uas"} else ""


def read_min_se(message: Message) -> int:
    """The Min-SE, or what its absence means."""
    seconds = read_seconds((message.headers.get("Min-SE") or "").partition(";")[0])
    return max(SMALLEST, seconds or 0)


def too_brief(request: Request, minimum: int) -> HeaderFields:
    """The Min-SE to refuse ``request`` with (422), empty if its interval is long enough or it knows no timers (9)."""
    asked = read_session_expires(request)
    if asked is None or asked[0] >= minimum or not knows_timers(request):
        return ()
    return (("Min-SE", str(minimum)),)


def knows_timers(message: Message) -> bool:
    return has_option(message, "Supported", OPTION) or has_option(message, "Require", OPTION)


class SessionTimer(Part):
    """That of one session. It runs from each 2xx to an INVITE or UPDATE that has a Session-Expires to the next."""

    __slots__ = ("_ends_at", "_expiry", "_minimum", "_raised", "_refresh_timer", "interval", "ours")

    def __init__(self, session: Session) -> None:
        self.interval = 0
        """Seconds from one refresh to when the session counts as dead; 0 if no timer runs."""
        self.ours = False
        """Whether it is us who refresh."""
        super().__init__(session)
        self._minimum = session.core.session_timers.minimum
        self._raised = False
        """Whether a 422 was heeded since the last 2xx: a second one is a refusal."""
        self._ends_at = 0.0
        self._expiry: Timer | None = None
        self._refresh_timer: Timer | None = None

    # --- requests of ours -------------------------------------------------------------------

    def wishes(self) -> HeaderFields:
        """What an INVITE or UPDATE of ours says (7.1, 7.4). Before the session is up: what we would like."""
        if self._session.state in {"inviting", "early"}:
            asked = self._session.core.session_timers.expires
            if not asked:
                return ()
            expires = str(max(asked, self._minimum))
        elif self.interval:
            # 7.4: the roles are those of the request that it is in, and stay with whoever has them.
            expires = f"{max(self.interval, self._minimum)};refresher={'uac' if self.ours else 'uas'}"
        else:
            return ()
        return (("Session-Expires", expires), *((("Min-SE", str(self._minimum)),) if self._minimum > SMALLEST else ()))

    def raised(self, response: Response) -> bool:
        """Take the Min-SE of a 422 (7.3): whether it asks for more than we did, and not for too much."""
        shortest = read_min_se(response)
        if self._raised or not self._minimum < shortest <= LONGEST:
            return False
        self._raised = True
        self._minimum = shortest
        return True

    def accepted(self, response: Response, now: float) -> None:
        """A 2xx to an INVITE or UPDATE of ours (7.2): without Session-Expires the peer wants no timer."""
        self._raised = False
        agreed = read_session_expires(response)
        if agreed is None:
            self.stop()
        else:
            seconds, refresher = agreed
            self._start(min(max(seconds, SMALLEST), LONGEST), now, ours=refresher != "uas")

    # --- requests of the peer ---------------------------------------------------------------

    def refusal(self, request: Request) -> HeaderFields:
        """The headers of a 422 to ``request``, empty if its interval is fine."""
        return too_brief(request, self._session.core.session_timers.minimum)

    def agree(self, request: Request, now: float) -> HeaderFields:
        """What our 2xx to ``request`` says (9, table 2); the timer runs from now on."""
        ours = self._session.core.session_timers
        asked, knows = read_session_expires(request), knows_timers(request)
        if asked is None:
            if not knows or not ours.expires:
                self.stop()
                return ()
            seconds, refresher = max(ours.expires, min(read_min_se(request), LONGEST)), "uas"
        else:
            seconds, refresher = min(asked[0], max(LONGEST, read_min_se(request))), asked[1]
            if not knows:
                # A proxy has put it in: nobody but us can refresh, and nobody may be told of too short an interval.
                if seconds < ours.minimum:
                    self.stop()
                    return ()
                refresher = "uas"
            elif not refresher:
                refresher = "uas" if self.interval and self.ours else "uac"
        self._start(seconds, now, ours=refresher == "uas")
        require = (("Require", OPTION),) if refresher == "uac" else ()
        return (("Session-Expires", f"{seconds};refresher={refresher}"), *require)

    # --- while it runs ----------------------------------------------------------------------

    def stop(self) -> None:
        if not self.interval:
            return
        self.interval = 0
        self._session.core.queue.cancel(self._expiry)
        self._session.core.queue.cancel(self._refresh_timer)

    def _start(self, seconds: int, now: float, *, ours: bool) -> None:
        self.stop()
        queue = self._session.core.queue
        self.interval = seconds
        self.ours = ours
        self._ends_at = now + seconds
        if ours:
            self._refresh_timer = queue.at(now + seconds / 2, self._refresh)
            self._expiry = queue.at(self._ends_at, self._expired)
        else:
            self._expiry = queue.at(self._ends_at - min(GRACE, seconds / 3), self._expired)

    def _refresh(self, now: float) -> None:
        """Ask, and again in half the time that is left, until an answer has started the timer anew."""
        left = (self._ends_at - now) / 2
        if left > LAST_TRY:
            self._refresh_timer = self._session.core.queue.at(now + left, self._refresh)
        self._session.refresh(now)

    def _expired(self, now: float) -> None:
        self.interval = 0
        self._session.core.queue.cancel(self._refresh_timer)
        self._session.expire(now)
