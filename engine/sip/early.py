"""The early dialogs of an INVITE of ours: one for each phone that it was forked to (RFC 3261 12.1, 13.2.2)."""

from __future__ import annotations

from collections.abc import Callable

from engine.sip.dialog import Dialog
from engine.sip.message import Response
from engine.sip.reliable import RAck, read_rseq

MAX_FORKS = 16
"""Phones that one INVITE is taken to have reached; more are a flood."""

MakeDialog = Callable[[Response], Dialog]


class EarlyDialog:
    """One of them, and the reliable provisional responses in it (RFC 3262 4)."""

    __slots__ = ("_cseq", "_rseq", "answered", "dialog", "sdp", "unanswered")

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.answered = False
        """Whether a session description came reliably: the answer to the INVITE's offer, or an offer."""
        self.sdp: bytes | None = None
        """That description."""
        self.unanswered: RAck | None = None
        """The response whose offer waits for our answer, which its PRACK will carry."""
        self._cseq = 0
        self._rseq = 0

    def take(self, response: Response) -> RAck | None:
        """What to acknowledge a reliable response with; ``None`` for one that came before or out of order (4).

        The peer repeats a response that overtook another until it is acknowledged in its turn.
        """
        rseq, cseq = read_rseq(response), response.cseq
        if rseq is None:
            return None
        if self._cseq == cseq.number and rseq != self._rseq + 1:
            return None
        self._cseq, self._rseq = cseq.number, rseq
        return RAck(rseq, cseq.number, cseq.method)


class EarlyDialogs:
    """All of one INVITE, by the peer's tag."""

    __slots__ = ("_by_tag",)

    def __init__(self) -> None:
        self._by_tag: dict[str, EarlyDialog] = {}

    def __len__(self) -> int:
        return len(self._by_tag)

    def find(self, tag: str) -> EarlyDialog | None:
        return self._by_tag.get(tag)

    def first(self) -> EarlyDialog | None:
        """The oldest."""
        return next(iter(self._by_tag.values()), None)

    def of(self, response: Response, make: MakeDialog) -> EarlyDialog | None:
        """That of a provisional response with a tag, ``make`` makes its dialog; ``None`` if there are too many."""
        tag = response.to.tag
        found = self._by_tag.get(tag)
        if found is None and len(self._by_tag) < MAX_FORKS:
            found = self._by_tag[tag] = EarlyDialog(make(response))
        return found

    def drop(self, tag: str) -> None:
        """It is over (199, RFC 6228, or a BYE)."""
        self._by_tag.pop(tag, None)
