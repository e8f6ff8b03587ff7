"""Redirection of our INVITEs (RFC 3261 8.1.3.4, 19.1.5, 21.3): where a call may go next, within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from engine.sip.message import Response
from engine.sip.uri import Address, Uri

MAX_REDIRECTS = 5
"""How often one call is redirected, one after another: 3xx that lead to 3xx."""
MAX_TARGETS = 10
"""How many addresses one call is sent to in all."""
MAX_CONTACTS = 16
"""Of one response; more are left out."""


def read_q(contact: Address) -> float:
    """The preference of a contact (20.10): 1 if it has none, 0 if that cannot be read."""
    text = contact.param("q")
    if text is None:
        return 1.0
    try:
        q = float(text) if len(text) <= 8 and text.isascii() else 0.0
    except ValueError:
        return 0.0
    return q if 0.0 <= q <= 1.0 else 0.0


def in_q_order(contacts: Iterable[Address]) -> tuple[Address, ...]:
    """``contacts``, the most wanted first; equal ones as they are listed."""
    return tuple(sorted(contacts, key=read_q, reverse=True))


def redirected_to(response: Response) -> tuple[Address, ...]:
    """Where a 3xx sends us: its SIP and tel contacts in order of preference."""
    return in_q_order(c for c in response.contacts[:MAX_CONTACTS] if c.uri.is_sip or c.uri.scheme == "tel")


class Trail:
    """Where one call has been and where it may go, shared by the sessions that follow each other.

    No address is tried twice, whatever its parameters say of it otherwise: that ends every loop.
    """

    __slots__ = ("_depth", "_tried", "_waiting", "first")

    def __init__(self, first: Uri) -> None:
        self.first = first
        self._tried: set[tuple[str | None, str, int | None]] = {_place(first)}
        self._waiting: deque[tuple[Uri, int]] = deque()
        self._depth = 0
        """How many redirections led to where the call is now."""

    def redirected(self, contacts: Iterable[Address]) -> None:
        """A 3xx came from where the call is now: its contacts are tried before what was known until now."""
        depth = self._depth + 1
        if depth <= MAX_REDIRECTS:
            # 8.1.3.4: a call to a sips URI stays secure.
            secure = self.first.scheme == "sips"
            found = [(c.uri, depth) for c in contacts if c.uri.scheme == "sips" or (c.uri.is_sip and not secure)]
            self._waiting.extendleft(reversed(found))
            while len(self._waiting) > MAX_CONTACTS:
                self._waiting.pop()

    def next(self) -> Uri | None:
        """The next address, without the headers that it may ask for; ``None`` if there is none or enough were tried."""
        while self._waiting and len(self._tried) < MAX_TARGETS:
            uri, depth = self._waiting.popleft()
            if _place(uri) not in self._tried:
                self._tried.add(_place(uri))
                self._depth = depth
                return uri.as_request_uri()
        return None


def _place(uri: Uri) -> tuple[str | None, str, int | None]:
    return uri.user, uri.host.lower(), uri.port
