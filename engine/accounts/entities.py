"""What repositories return: rows as values that do not change, without anything of the database in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["owner", "admin", "agent", "viewer", "none"]
"""What a user may ask of the API: see :data:`MAY`. ``none``: somebody who only has telephones."""

Relay = Literal["no", "trunks", "any"]
"""Nobody's; those that trunks bring; also those of strangers (``sip.open``)."""

MAY: Mapping[str, frozenset[str]] = {
    "owner": frozenset({"calls.read", "calls.write", "flows.read", "flows.write", "account.read", "account.write"}),
    "admin": frozenset({"calls.read", "calls.write", "flows.read", "flows.write", "account.read"}),
    "agent": frozenset({"calls.read", "calls.write"}),
    "viewer": frozenset({"calls.read", "flows.read"}),
    "none": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Account:
    """``max_calls``: at a time, 0 for no limit of its own.

    ``allowed``: beginnings of the numbers that it may call by trunks, and ``sip:HOST`` for SIP addresses; empty: all.
    ``calls_per_day`` and ``minutes_per_day`` are of calls that leave us, 0 for no limit. ``relay``: whose calls, of
    those that come from outside, may go outside again. ``assigned_numbers``, ``assigned_addresses``: what it may take
    and be called from (:mod:`engine.accounts.rights`).
    """

    id: str
    name: str
    max_calls: int = 0
    created_at: float = 0.0
    allowed: tuple[str, ...] = ()
    calls_per_day: int = 0
    minutes_per_day: int = 0
    relay: Relay = "trunks"
    assigned_numbers: tuple[str, ...] = ()
    assigned_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Owned:
    """The base of all that belongs to an account. ``origin``: ``file`` or ``api``."""

    id: str
    account_id: str
    origin: str
    created_at: float


@dataclass(frozen=True, slots=True)
class User(Owned):
    """A person; ``devices`` are the names of their telephones, in the order in which they are listed.

    ``password`` is as :mod:`engine.accounts.secrets` keeps it.
    """

    name: str
    role: str
    devices: tuple[str, ...] = ()
    email: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A program with an id and a secret. With a ``user_id`` it may have tokens of that user without asking."""

    id: str
    account_id: str
    user_id: str | None
    name: str
    redirect_uris: tuple[str, ...]
    created_at: float


@dataclass(frozen=True, slots=True)
class Device(Owned):
    """A telephone; ``settings`` are the keys of ``[[devices]]`` but for the name."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group(Owned):
    """``members``: names of users and devices."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow(Owned):
    """A stored flow; ``version`` is its newest. ``source``: the file it is read from, if it is.

    ``fallback``: whether it answers what comes for the account and has no flow.
    """

    name: str
    source: str
    dialect: str
    version: int
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """One document of a flow."""

    flow: Flow
    number: int
    document: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Number(Owned):
    """What a number, or a prefix with ``*``, does. ``callflow``: where its callflows come from, if they do."""

    number: str
    flow_id: str
    record: bool
    voice: str
    callflow: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Extension(Owned):
    """What a number within the account does: exactly one of the three is set."""

    number: str
    user_id: str | None
    group_id: str | None
    flow_id: str | None


@dataclass(frozen=True, slots=True)
class Trunk(Owned):
    """``settings`` are the keys of ``[[trunks]]`` but for ``name`` and ``shared``."""

    name: str
    shared: bool
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Media(Owned):
    """A stored sound; ``digest`` (SHA-256, hex) names its file, ``size`` is in octets."""

    name: str
    content_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for, and what it is good for.

    ``scopes`` are those of the API that issued it; ``client_id``: the program that has it.
    """

    account_id: str
    user_id: str
    user: str
    role: str
    kind: str = "bearer"
    scopes: tuple[str, ...] = ()
    client_id: str | None = None

    def may(self, what: str) -> bool:
        """Whether the role allows ``what`` (a name of :data:`MAY`)."""
        return what in MAY.get(self.role, frozenset())
