"""Blind transfer: a REFER within a dialog and the subscription that it makes (RFC 3515, 4488, 6665)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.sip.events import ReferProgress, ReferRefused
from engine.sip.headers import read_seconds
from engine.sip.message import Request, Response
from engine.sip.timers import Timer
from engine.sip.uri import Uri

if TYPE_CHECKING:
    from engine.sip.session import Session

PATIENCE = 60.0
"""Seconds that the peer may be silent about a transfer if it does not say how long it takes."""
LONGEST = 300.0
"""Seconds that we keep a subscription, whatever the peer says."""

_STATUS_LINE = re.compile(rb"SIP/2\.0 ([1-6]\d\d)(?: ([^\r\n]{0,200}))?")
_EXPIRES = re.compile(r";\s*expires\s*=\s*(\d{1,9})", re.IGNORECASE)
_EVENT_ID = re.compile(r";\s*id\s*=\s*(\d{1,10})", re.IGNORECASE)


class Referral:
    """One transfer under way. A NOTIFY may overtake the 202 (RFC 3515 2.4.4)."""

    def __init__(self, session: Session, target: Uri, now: float) -> None:
        self.decided = False
        """Whether the last event about it was emitted."""
        self.live = True
        """Whether more NOTIFYs are welcome."""
        self._session = session
        self._status = 0
        self._reason = ""
        self._timer: Timer | None = None
        headers = (("Refer-To", f"<{target}>"), ("Referred-By", f"<{session.dialog.local_uri}>"))
        self._exchange = session.ask("REFER", self._answered, now, headers=headers)

    def stop(self) -> None:
        """Welcome no more NOTIFYs."""
        if self.live:
            self.live = False
            self._session.core.queue.cancel(self._timer)
            self._session.referral_over()

    def _answered(self, status: int, response: Response | None, now: float) -> None:
        if status >= 300:
            if not self.decided:
                self.decided = True
                reason = response.reason if response is not None else ""
                self._emit(ReferRefused(self._session, status, reason))
            self.stop()
            if status in {408, 481}:
                self._session.lose_dialog(status, now)
            return
        refer_sub = response.headers.get("Refer-Sub") if response is not None else None
        if refer_sub is not None and refer_sub.strip().lower().startswith("false"):
            # RFC 4488: the peer makes no subscription; that it accepted is all that we will know.
            self._decide(status, "Accepted")
            self.stop()
        elif self.live and self._timer is None:
            self._expect(PATIENCE, now)

    def notified(self, request: Request, now: float) -> int:
        """Take a NOTIFY; the status to answer it with."""
        event = request.headers.get("Event") or ""
        if event.partition(";")[0].strip().lower() != "refer":
            return 489
        number = _EVENT_ID.search(event)
        if number is not None and int(number[1]) != self._exchange.request.cseq.number:
            return 481
        state = request.headers.get("Subscription-State") or "active"
        over = state.partition(";")[0].strip().lower() == "terminated"
        line = _STATUS_LINE.match(request.body.lstrip(b"\r\n "))
        if line is not None:
            self._status = int(line[1])
            self._reason = (line[2] or b"").decode("utf-8", "replace").strip()
        if self._status >= 200 or over:
            self._decide(self._status, self._reason)
        elif line is not None and not self.decided:
            self._emit(ReferProgress(self._session, self._status, self._reason, final=False))
        if over:
            self.stop()
        else:
            expires = _EXPIRES.search(state)
            seconds = read_seconds(expires[1]) if expires is not None else None
            self._expect(min(float(seconds), LONGEST) if seconds else PATIENCE, now)
        return 200

    def _expect(self, seconds: float, now: float) -> None:
        queue = self._session.core.queue
        queue.cancel(self._timer)
        self._timer = queue.at(now + seconds, self._expired)

    def _expired(self, now: float) -> None:
        self._decide(self._status, "the peer told no outcome")
        self.stop()

    def _decide(self, status: int, reason: str) -> None:
        if not self.decided:
            self.decided = True
            self._emit(ReferProgress(self._session, status, reason, final=True))

    def _emit(self, event: ReferProgress | ReferRefused) -> None:
        if not self._session.ended:  # Ended is the last event of a session
            self._session.core.emit(event)
