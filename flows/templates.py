"""Text with variables in it, and conditions on variables: everything a flow computes, and nothing it could abuse.

Variables are text. Names with a dot belong to the call (:data:`CALL_VARIABLES`, :data:`HEADER`, ``digits.NAME``,
``recording.…``, ``dial.…``); what a flow names itself is kept as ``var.NAME``. A variable that was never set is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import quote

CALL_VARIABLES = (
    "call.id",
    "call.leg",
    "call.account",
    "call.caller",
    "call.caller_name",
    "call.caller_realm",
    "call.callee",
    "call.callee_realm",
    "call.request",
    "call.request_realm",
    "call.direction",
    "call.language",
    "call.status",
    "call.user",
    "call.date",
    "call.weekday",
    "call.clock",
)
"""What a call may know of itself; a fact that it does not know is empty.

``call.date`` is ``2026-03-31``, ``call.weekday`` ``tuesday``, ``call.clock`` the seconds since midnight, all in the
local time of the daemon when the call came (:func:`time_facts`).
"""

HEADER = "header."
"""Before the name of a SIP header of the INVITE that is no standard's own: ``header.X-Shop``."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

MAX_FILLED = 65_536
"""Characters that a template may come to."""

Variables = Mapping[str, str]


def time_facts(moment: datetime) -> dict[str, str]:
    """What a call knows of the time at which it came."""
    return {
        "call.date": moment.date().isoformat(),
        "call.weekday": WEEKDAYS[moment.weekday()],
        "call.clock": str(moment.hour * 3600 + moment.minute * 60 + moment.second),
    }


@dataclass(frozen=True, slots=True)
class Var:
    """The value of a variable, inside a :class:`Template`."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """Text and variables, one after the other."""

    parts: tuple[str | Var, ...]

    def fill(self, variables: Variables) -> str:
        """The text that it comes to, cut at :data:`MAX_FILLED`."""
        text = "".join(part if isinstance(part, str) else variables.get(part.name, "") for part in self.parts)
        return text[:MAX_FILLED]

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else f"{{{{{part.name}}}}}" for part in self.parts)


Text = str | Template
"""What may have variables in it."""


def var(name: str) -> Template:
    """A text that is one variable."""
    return Template((Var(name),))


def fill(text: Text, variables: Variables) -> str:
    return text if isinstance(text, str) else text.fill(variables)


class UnsafeUrl(ValueError):
    """The values of variables would make another URL of a template than its author wrote; the text says how."""


_HERE = "\0"
"""Stands for a variable where it is looked at what there is around it."""
_HTTP = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\0/?#]+[/?#]")
_SIP = re.compile(r"(?i:sips?):([^@]*@)?[^@\0;?]+([;?].*)?\Z", re.DOTALL)
_URI = re.compile(r"(?i:sips?|tel):")
_IN_URI = "!*'()+$"
"""Beside the unreserved characters, what has no meaning in any part of a SIP URI (RFC 3261, section 25.1)."""


def url_template_problem(text: Text) -> str:
    """Why variables must not stand where they do in a URL; empty when they may, and for a text without any.

    Scheme, user, host and port of a URL are written out, up to the slash, question mark or hash behind them; the host
    of a SIP URI is. So neither a caller nor a server can lead a request, or a call, to another host.
    """
    if isinstance(text, str):
        return ""
    around = _around(text)
    if _URI.match(around):
        known = around[:4].lower() == "tel:" or _SIP.match(around)
        return "" if known else "variables cannot be the host of a SIP URI, or a part of it"
    return "" if _HTTP.match(around) else "variables can only stand behind the host of a URL, not in its place"


def _around(text: Template) -> str:
    return "".join(part if isinstance(part, str) else _HERE for part in text.parts)


def fill_url(text: Text, variables: Variables) -> str:
    """A URL with the values of variables in it, percent-encoded but for unreserved characters (RFC 3986, section 2.3):
    whatever is in a value, it is a part of one path segment or of one piece of the query.

    Raises :class:`UnsafeUrl` where variables must not stand (:func:`url_template_problem`), and for a value that would
    make ``.`` or ``..`` of a path segment. What is written out stays as it is.
    """
    if isinstance(text, str):
        return text
    if problem := url_template_problem(text):
        raise UnsafeUrl(problem)
    around = _around(text)
    of_sip = bool(_URI.match(around))
    filled = _filled(text, variables, _IN_URI if of_sip else "")
    if not of_sip and _dots(filled) != _dots(around):
        raise UnsafeUrl("a variable would make . or .. of a part of the path")
    return filled


def fill_name(text: Text, variables: Variables) -> str:
    """The same for a name that is put behind a URL and a slash."""
    if isinstance(text, str):
        return text
    filled = _filled(text, variables, "")
    if _dots(filled) != _dots(_around(text)):
        raise UnsafeUrl("a variable would make . or .. of a name")
    return filled


def fill_target(text: Text, variables: Variables) -> str:
    """A number, or a URI by :func:`fill_url`; a number does not become a URI by what a variable has in it."""
    if isinstance(text, str) or _URI.match(_around(text)):
        return fill_url(text, variables)
    filled = text.fill(variables)
    if _URI.match(filled):
        raise UnsafeUrl("a variable would make a URI of a number")
    return filled


def fill_media(text: Text, variables: Variables) -> str:
    """A URL by :func:`fill_url`, or the name of a sound, which does not become a URL by what a variable has in it."""
    if isinstance(text, str) or "://" in _around(text):
        return fill_url(text, variables)
    filled = text.fill(variables)
    if "://" in filled:
        raise UnsafeUrl("a variable would make a URL of the name of a sound")
    return filled


def _filled(text: Template, variables: Variables, safe: str) -> str:
    parts = (
        part if isinstance(part, str) else quote(variables.get(part.name, ""), safe=safe, errors="replace")
        for part in text.parts
    )
    return "".join(parts)[:MAX_FILLED]


_PATH_ENDS = re.compile(r"[?#]")


def _dots(url: str) -> int:
    """Segments of a path that lead nowhere or up."""
    path = _PATH_ENDS.split(url, maxsplit=1)[0]
    return sum(segment.lower().replace("%2e", ".") in (".", "..") for segment in path.split("/"))


_BRACES = re.compile(r"\{\{\s*([A-Za-z_][\w.-]{0,63})\s*\}\}")


def parse_template(text: str, name_of: Callable[[str], str] = lambda name: f"var.{name}") -> Text:
    """``text`` with each ``{{name}}`` as a variable; ``name_of`` says which. Plain text stays ``str``."""
    parts: list[str | Var] = []
    at = 0
    for found in _BRACES.finditer(text):
        if found.start() > at:
            parts.append(text[at : found.start()])
        parts.append(Var(name_of(found.group(1))))
        at = found.end()
    if not parts:
        return text
    if at < len(text):
        parts.append(text[at:])
    return Template(tuple(parts))


Operator = Literal["is", "==", "!=", "<", "<=", ">", ">=", "contains", "starts", "ends", "exists", "absent"]


@dataclass(frozen=True, slots=True)
class Condition:
    """``variable operator value``. Both sides that are numbers are compared as numbers, all else as text.

    ``is`` compares as text in any case: ``07`` is not ``7``.
    """

    variable: str
    operator: Operator
    value: Text = ""

    def holds(self, variables: Variables) -> bool:
        return _HOLDS[self.operator](variables.get(self.variable, ""), fill(self.value, variables))


def _ordered(left: str, right: str) -> int:
    """-1, 0 or 1. ``nan`` and the like are text."""
    if _is_number(left) and _is_number(right):
        a, b = float(left), float(right)
        return (a > b) - (a < b)
    return (left > right) - (left < right)


_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?\Z", re.ASCII)


def _is_number(text: str) -> bool:
    return bool(_NUMBER.match(text.strip()))


_HOLDS: Mapping[str, Callable[[str, str], bool]] = {
    "is": lambda left, right: left == right,
    "==": lambda left, right: _ordered(left, right) == 0,
    "!=": lambda left, right: _ordered(left, right) != 0,
    "<": lambda left, right: _ordered(left, right) < 0,
    "<=": lambda left, right: _ordered(left, right) <= 0,
    ">": lambda left, right: _ordered(left, right) > 0,
    ">=": lambda left, right: _ordered(left, right) >= 0,
    "contains": lambda left, right: right in left,
    "starts": lambda left, right: left.startswith(right),
    "ends": lambda left, right: left.endswith(right),
    "exists": lambda left, right: left != "",
    "absent": lambda left, right: left == "",
}
