"""Who calls: what an INVITE says of that, how far it is believed, and how our INVITEs tell it.

From (RFC 3261), P-Asserted-Identity and P-Preferred-Identity (RFC 3325), Privacy (RFC 3323), Diversion (RFC 5806) and
History-Info (RFC 7044).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.addresses import rewritten
from engine.sip.message import Request
from engine.sip.uri import Address, Uri

ANONYMOUS = "anonymous"
MOST_DIVERSIONS = 5
"""Of a call that comes in; older ones are left out."""

Identity = Literal["none", "asserted", "preferred"]
History = Literal["none", "diversion", "history"]
"""How a trunk is told by whom a call was forwarded."""

IDENTITY_HEADERS = {"asserted": "P-Asserted-Identity", "preferred": "P-Preferred-Identity"}
REASONS = {"busy": "user-busy", "no-answer": "no-answer", "failed": "unavailable"}
"""Why a call is forwarded (RFC 5806 section 10), by how the dial before it went."""

_REASON = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_CAUSES = {"unconditional": 302, "user-busy": 486, "no-answer": 408, "deflection": 480, "unavailable": 503}
"""The same as the ``cause`` of a URI (RFC 4458 section 2, RFC 8119)."""


CameFrom = Literal["", "trunk", "anyone"]
"""One of our telephones or who asks by the API; a trunk; a stranger."""


@dataclass(frozen=True, slots=True)
class Diversion:
    """Who a call was for before it was forwarded, and why it was."""

    number: str
    reason: str = "unconditional"
    private: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as peers are to see it; ``withheld``: only who is trusted may see the number.

    ``diversions``: by whom the call was forwarded before it goes where it goes now, the last first. ``came_from``: who
    brought the call to us.
    """

    number: str
    name: str = ""
    withheld: bool = False
    diversions: tuple[Diversion, ...] = ()
    came_from: CameFrom = ""

    @property
    def seen(self) -> str:
        """The number that everybody may see."""
        return ANONYMOUS if self.withheld else self.number


def read_caller(request: Request, *, trusted: bool, rules: Sequence[tuple[str, str]] = ()) -> Caller:
    """Who calls by ``request``. What its sender asserts, and by whom the call was forwarded, counts if it is trusted;
    a wish for privacy always does. ``rules`` make numbers ours (:func:`engine.addresses.rewritten`).
    """
    from_ = request.from_
    number, name = from_.uri.user or "", from_.display or ""
    hidden = number.lower() == ANONYMOUS or from_.uri.host.lower() == "anonymous.invalid"
    asserted = next(_addresses(request, "P-Asserted-Identity"), None) if trusted else None
    if asserted is not None:
        number, name = asserted.uri.user or "", asserted.display or ("" if hidden else name)
    wishes = {wish.strip().lower() for value in request.headers.all("Privacy") for wish in value.split(";")}
    withheld = hidden or bool(wishes & {"id", "user"})
    diversions = tuple(itertools.islice(_diversions(request, rules), MOST_DIVERSIONS)) if trusted else ()
    return Caller(rewritten(number, rules), name, withheld, diversions)


def _addresses(request: Request, header: str) -> Iterator[Address]:
    """The SIP and tel addresses with a user in a header; what cannot be read is passed over."""
    for value in request.headers.all(header):
        try:
            found = Address.parse_many(value)
        except ValueError:
            continue
        yield from (each for each in found if each.uri.user and (each.uri.is_sip or each.uri.scheme == "tel"))


def _diversions(request: Request, rules: Sequence[tuple[str, str]]) -> Iterator[Diversion]:
    for each in _addresses(request, "Diversion"):
        private = (each.param("privacy") or "").strip('"').lower() in ("full", "uri")
        reason = (each.param("reason") or "unknown").strip('"').lower()
        yield Diversion(
            rewritten(each.uri.user or "", rules), reason if _REASON.fullmatch(reason) else "unknown", private
        )


def identity_header(identity: Identity, caller: Caller, number: str, host: str) -> tuple[tuple[str, str], ...]:
    """The header that tells ``number`` to who is trusted with it; none where nobody knows it."""
    if identity == "none" or number in ("", ANONYMOUS):
        return ()
    name = "" if caller.withheld else caller.name
    return ((IDENTITY_HEADERS[identity], str(Address(Uri("sip", number, host=host), name))),)


def history_headers(
    history: History, diversions: Sequence[Diversion], target: Uri, host: str
) -> tuple[tuple[str, str], ...]:
    """Headers that tell by whom a call to ``target`` was forwarded."""
    if history == "none" or not diversions:
        return ()
    if history == "diversion":
        return tuple(("Diversion", _diversion(each, host)) for each in diversions)
    lines: list[tuple[str, str]] = []
    index, params = "1", ""
    for each in reversed(diversions):
        privacy = "?Privacy=history" if each.private else ""
        lines.append(("History-Info", f"<{Uri('sip', each.number, host=host)}{params}{privacy}>{_hi(index)}"))
        index, params = f"{index}.1", f";cause={_CAUSES.get(each.reason, 404)}"
    lines.append(("History-Info", f"<{target}{params}>{_hi(index)}"))
    return tuple(lines)


def _hi(index: str) -> str:
    """``mp``: the entry that this one was made of (RFC 7044 section 9.1)."""
    before = index.rpartition(".")[0]
    return f";index={index};mp={before}" if before else f";index={index}"


def _diversion(each: Diversion, host: str) -> str:
    privacy = "full" if each.private else "off"
    return f"<{Uri('sip', each.number, host=host)}>;reason={each.reason};counter=1;privacy={privacy}"
