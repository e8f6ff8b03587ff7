"""The scopes of the Realtime API, and who may grant which ("Available Scopes")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from engine.accounts.entities import MAY

ADMIN_ROLES = frozenset({"owner", "admin"})
WRITE = "calls.write"
"""What a role has to allow for whoever changes something."""


@dataclass(frozen=True, slots=True)
class Scope:
    """``only_admins``: nobody else may grant it. ``meaning`` is what the consent page says.

    ``right``: what the role of whoever grants it has to allow (a name of :data:`engine.accounts.entities.MAY`).
    """

    name: str
    meaning: str
    only_admins: bool = False
    right: str = "calls.read"


SCOPES: dict[str, Scope] = {
    each.name: each
    for each in (
        Scope("user.info", "Read your name and extension"),
        Scope("company.dialplans", "Read the list of the company's dialplans, not what they do"),
        Scope("company.users", "Read the list of the company's users"),
        Scope("calls.events", "Follow all calls of everybody in the company", only_admins=True),
        Scope("calls.events.personal", "Follow your own calls"),
        Scope("calls.events.presence", "See who in the company is on the telephone"),
        Scope("calls.manage", "Hang up, transfer, hold and record calls of everybody", only_admins=True, right=WRITE),
        Scope("calls.manage.personal", "Hang up, transfer, hold and record your own calls", right=WRITE),
        Scope("calls.create", "Start calls in the name of everybody", only_admins=True, right=WRITE),
        Scope("calls.create.personal", "Start calls from your own telephone", right=WRITE),
    )
}

REACHES: Mapping[str, str] = MappingProxyType(
    {"company": "calls.events", "presence": "calls.events.presence", "personal": "calls.events.personal"}
)
"""The scope by which a subscription reaches as far as it does (:class:`engine.store.realtime.EventSubscription`)."""

USUAL: tuple[str, ...] = tuple(each.name for each in SCOPES.values() if not each.only_admins)
"""What a request without a scope asks for (RFC 6749 section 3.3): all that needs no admin."""


def is_admin(role: str) -> bool:
    """Whether a user of this role may grant what concerns the whole company."""
    return role in ADMIN_ROLES


def grantable(wanted: Iterable[str], role: str) -> tuple[str, ...]:
    """Those of ``wanted`` that a user of this role may grant, and may use, in order."""
    return tuple(name for name in wanted if name in SCOPES and _may_grant(SCOPES[name], role))


def _may_grant(scope: Scope, role: str) -> bool:
    return scope.right in MAY.get(role, frozenset()) and (is_admin(role) or not scope.only_admins)


def read_scopes(text: str) -> tuple[str, ...]:
    """The scopes of a space-delimited list, each once. Raises :class:`ValueError` that names what is none."""
    wanted = tuple(dict.fromkeys(text.split(" ")) if text else USUAL)
    for name in wanted:
        if name not in SCOPES:
            raise ValueError(f"scope: there is no scope {name!r}" if name else "scope: two blanks in a row")
    return wanted


def any_of(granted: Collection[str], *wanted: str) -> bool:
    """Whether one of ``wanted`` was granted."""
    return any(name in granted for name in wanted)
