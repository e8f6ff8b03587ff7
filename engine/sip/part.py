"""A part of a session, which refers to the session weakly: both are freed as soon as nobody needs the session."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sip.session import Session


class Part:
    """What one :class:`~engine.sip.session.Session` owns. Only the session, and its timers while it lives, use it."""

    __slots__ = ("_owner",)

    def __init__(self, session: Session) -> None:
        self._owner = weakref.ref(session)

    @property
    def _session(self) -> Session:
        session = self._owner()
        assert session is not None, "a part outlived its session"
        return session
