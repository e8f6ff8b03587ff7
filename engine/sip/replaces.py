"""The Replaces header (RFC 3891): an INVITE that takes the place of a call that is up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.sip.grammar import escape, unescape

if TYPE_CHECKING:
    from engine.sip.core import Core
    from engine.sip.message import Request
    from engine.sip.session import Session
    from engine.sip.uri import Uri

OPTION = "replaces"

_CALL_ID = re.compile(r"[!-:<-~]{1,256}")  # callid (RFC 3261 25.1) without ";", which ends it here
_TAG = re.compile(r"[!-:<-~]{1,256}")
_HEADER_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()]")


@dataclass(frozen=True, slots=True)
class Replaces:
    """Which dialog is meant, seen from whoever gets the header: ``to_tag`` is its own tag."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @staticmethod
    def parse(text: str) -> Replaces:
        """Read one value (section 6.1). Raises ValueError."""
        call_id, *params = (part.strip() for part in text.split(";"))
        named: dict[str, str] = {}
        for param in params:
            name, _, value = param.partition("=")
            if name.strip().lower() in named:
                raise ValueError("parameter given twice in Replaces")
            named[name.strip().lower()] = value.strip()
        to_tag, from_tag = named.get("to-tag", ""), named.get("from-tag", "")
        if not (_CALL_ID.fullmatch(call_id) and _TAG.fullmatch(to_tag) and _TAG.fullmatch(from_tag)):
            raise ValueError("malformed Replaces")
        return Replaces(call_id, to_tag, from_tag, "early-only" in named)

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


class NoReplacement(Exception):
    """The INVITE cannot replace anything: ``status`` is what to refuse it with."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def find_replaced(request: Request, core: Core) -> Session | None:
    """The session that an INVITE replaces, ``None`` if it says nothing of the kind (section 3).

    Raises :class:`NoReplacement`. Whether its sender may do that is for the user of the core to decide.
    """
    values = request.headers.all("Replaces")
    if not values:
        return None
    try:
        (value,) = values
        replaces = Replaces.parse(value)
    except ValueError as error:
        raise NoReplacement(400) from error  # more than one, or not readable
    session = core.sessions.get((replaces.call_id, replaces.to_tag))
    if session is None or not session.has_peer(replaces.from_tag):
        raise NoReplacement(481)
    if session.ended:
        raise NoReplacement(603)  # "already terminated": declined
    if session.state in {"inviting", "early"}:
        if session.role == "uas":
            raise NoReplacement(481)  # "an early dialog that was not initiated by this UA"
    elif replaces.early_only:
        raise NoReplacement(486)
    return session


def replaces_in(uri: Uri) -> Replaces | None:
    """What a Refer-To URI wants the INVITE to replace, ``None`` if nothing. Raises ValueError."""
    values = [value for name, _, value in (item.partition("=") for item in uri.headers.split("&")) if is_replaces(name)]
    if len(values) > 1:
        raise ValueError("more than one Replaces")
    return Replaces.parse(unescape(values[0])) if values else None


def is_replaces(name: str) -> bool:
    return unescape(name).strip().lower() == "replaces"


def refer_target(session: Session) -> str:
    """What to put into a REFER so that its recipient takes our place in ``session`` (RFC 5589 7).

    Raises SessionStateError if nobody has answered there yet.
    """
    dialog = session.dialog
    replaces = Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag)
    target = dialog.remote_target.as_request_uri()
    return f"{target}?Replaces={escape(str(replaces), _HEADER_SAFE)}"
