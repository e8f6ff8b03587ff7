"""Who an account's users and dialplans are to the Realtime API: extensions, by id, number and telephone.

An extension that leads to a user is of type ``user``, any other is a ``dialplan``. A flow that has a number from
outside and no extension is a dialplan too, under that number. Ids are those of the rows: 32 hex digits that stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.accounts import repository
from engine.addresses import plain_number


@dataclass(frozen=True, slots=True)
class Extension:
    """A user or a dialplan that can be called. ``external``: the number of a dialplan from outside, without ``+``."""

    id: str
    name: str
    number: str
    type: Literal["user", "dialplan"]
    external: str = ""
    user_id: str = ""
    group_id: str = ""
    flow_id: str = ""
    reach: str = ""
    """The number by which a call reaches it, as the account has it."""

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {"id": self.id, "name": self.name, "number": self.number, "type": self.type}
        return {**shown, "external_number": self.external} if self.external else shown


@dataclass(frozen=True, slots=True)
class Agents:
    """All of an account, as the database has them."""

    extensions: tuple[Extension, ...]
    numbers: tuple[e.Number, ...]
    """Those from outside that are one number each."""
    users: dict[str, e.User] = field(default_factory=dict)
    groups: dict[str, e.Group] = field(default_factory=dict)
    _by_number: dict[str, Extension] = field(default_factory=dict)
    _by_device: dict[str, Extension] = field(default_factory=dict)

    def by_id(self, wanted: str) -> Extension | None:
        """The extension with this id."""
        return next((each for each in self.extensions if each.id == wanted), None)

    def by_number(self, number: str) -> Extension | None:
        """Whom a number reaches within the account: its own, or that of a dialplan from outside."""
        plain = plain_number(number)
        return self._by_number.get(plain) or self._by_number.get(_digits(plain))

    def by_device(self, device: str) -> Extension | None:
        """The user who has a telephone of this name."""
        return self._by_device.get(device)

    def of_user(self, user_id: str) -> tuple[Extension, ...]:
        """The extensions that ring a user, the oldest first."""
        return tuple(each for each in self.extensions if each.user_id == user_id)


async def read_agents(connection: AsyncConnection, account_id: str) -> Agents:
    """The account's. Raises SQLAlchemy's errors."""
    users = {each.id: each for each in await repository.users(connection, account_id)}
    groups = {each.id: each for each in await repository.all_of(connection, e.Group, account_id)}
    flows = {each.id: each for each in await repository.all_of(connection, e.Flow, account_id)}
    extensions = await repository.all_of(connection, e.Extension, account_id)
    numbers = await repository.all_of(connection, e.Number, account_id)
    return make_agents(users, groups, flows, extensions, numbers)


def make_agents(
    users: dict[str, e.User],
    groups: dict[str, e.Group],
    flows: dict[str, e.Flow],
    extensions: Iterable[e.Extension],
    numbers: Iterable[e.Number],
) -> Agents:
    """Put together; pure. What ``extensions`` and ``numbers`` lead to is in the other three, by id; what leads nowhere,
    as its target went while all this was read, is left out.
    """
    exact = tuple(each for each in numbers if _digits(each.number).isdigit() and each.flow_id in flows)
    extensions = [
        each for each in extensions if each.user_id in users or each.group_id in groups or each.flow_id in flows
    ]
    outside: dict[str, str] = {}
    for number in exact:
        outside.setdefault(number.flow_id, _digits(number.number))
    made = [_extension(each, users, groups, flows, outside) for each in extensions]
    inside = {each.flow_id for each in made if each.flow_id}
    for number in exact:
        if number.flow_id not in inside:
            inside.add(number.flow_id)
            digits = _digits(number.number)
            made.append(
                Extension(
                    number.id,
                    flows[number.flow_id].name,
                    digits,
                    "dialplan",
                    digits,
                    flow_id=number.flow_id,
                    reach=number.number,
                )
            )
    of_flow: dict[str, Extension] = {}
    for each in made:
        if each.flow_id:
            of_flow.setdefault(each.flow_id, each)
    by_number = {_digits(number.number): of_flow[number.flow_id] for number in exact}
    by_number |= {plain_number(each.number): each for each in made}  # its own first, should they be alike
    by_device: dict[str, Extension] = {}
    for each in made:
        for device in users[each.user_id].devices if each.user_id else ():
            by_device.setdefault(device, each)
    return Agents(tuple(made), exact, users, groups, by_number, by_device)


def _extension(
    row: e.Extension,
    users: dict[str, e.User],
    groups: dict[str, e.Group],
    flows: dict[str, e.Flow],
    outside: dict[str, str],
) -> Extension:
    number = row.number
    if row.user_id is not None:
        return Extension(row.id, users[row.user_id].name, number, "user", user_id=row.user_id, reach=number)
    if row.group_id is not None:
        return Extension(row.id, groups[row.group_id].name, number, "dialplan", group_id=row.group_id, reach=number)
    flow = row.flow_id or ""
    outer = outside.get(flow, "")
    return Extension(row.id, flows[flow].name, number, "dialplan", outer, flow_id=flow, reach=number)


def _digits(number: str) -> str:
    return number.removeprefix("+")
