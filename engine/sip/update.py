"""An UPDATE of ours (RFC 3311): an offer within a dialog, early or not, or nothing but a sign of life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.sip.core import ACCEPT, ALLOW, SUPPORTED
from engine.sip.message import Response

if TYPE_CHECKING:
    from engine.sip.reoffer import Reoffers
    from engine.sip.session import Session


class OurUpdate:
    """One UPDATE. It is answered at once or not at all: no ACK, no CANCEL (RFC 3311 5.1)."""

    __slots__ = ("_reoffers", "exchange", "method", "refresh", "sdp")

    def __init__(
        self, reoffers: Reoffers, session: Session, sdp: bytes | None, now: float, *, refresh: bool = False
    ) -> None:
        """``refresh``: nobody asked for it but the session timer."""
        self._reoffers = reoffers
        self.method = "UPDATE"
        self.sdp = sdp
        self.refresh = refresh
        headers = [("Allow", ALLOW), ("Supported", SUPPORTED), *session.timer.wishes()]
        if sdp is not None:
            headers.append(("Content-Type", ACCEPT))
        self.exchange = session.ask("UPDATE", self._answered, now, headers=headers, body=sdp or b"")

    def acknowledge(self, sdp: bytes | None) -> None:
        """There is nothing to acknowledge."""

    def abandon(self) -> None:
        self.exchange.abandon()

    def _answered(self, status: int, response: Response | None, now: float) -> None:
        if response is None or status >= 300:
            self._reoffers.refused(self, status, response, now)
        else:
            self._reoffers.accepted(self, response, now)
