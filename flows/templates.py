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
