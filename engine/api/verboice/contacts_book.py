"""Contacts of a project, their addresses and their variables, as the database has them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.api.verboice.book import VARIABLES
from engine.store import about_to_write
from engine.store import projects as t

_CONTACTS, _ADDRESSES = cast("Table", t.Contact.__table__), cast("Table", t.ContactAddress.__table__)
_VALUES = cast("Table", t.ContactVariable.__table__)

LONGEST_ADDRESS = 255
AT_A_TIME = 500
"""Contacts whose values are changed by one statement: others wait until all have been."""


@dataclass(slots=True)
class Contact:
    """Somebody; ``vars`` by the names of the project's variables."""

    id: int
    addresses: list[str] = field(default_factory=list)
    vars: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As Verboice has it; what is an integer is one."""
        return {"id": self.id, "addresses": self.addresses, "vars": {k: typed(v) for k, v in self.vars.items()}}


def typed(value: str) -> int | str:
    """``38`` is a number, ``007`` is none."""
    whole = value == "0" or (value.isascii() and value.isdigit() and value[0] != "0" and len(value) < 19)
    return int(value) if whole else value


async def contacts(connection: AsyncConnection, project_id: int) -> list[Contact]:
    """All of a project, the oldest first."""
    return await _contacts(connection, _CONTACTS.c.project_id == project_id)


async def by_address(connection: AsyncConnection, project_id: int, address: str) -> Contact | None:
    """Whose address it is."""
    who = select(_ADDRESSES.c.contact_id).where(_ADDRESSES.c.project_id == project_id, _ADDRESSES.c.address == address)
    found = await _contacts(connection, _CONTACTS.c.id.in_(who))
    return found[0] if found else None


async def by_id(connection: AsyncConnection, project_id: int, contact_id: int) -> Contact | None:
    """One of a project."""
    found = await _contacts(connection, _CONTACTS.c.project_id == project_id, _CONTACTS.c.id == contact_id)
    return found[0] if found else None


async def add(connection: AsyncConnection, project_id: int, addresses: Sequence[str]) -> Contact:
    """A new one; its addresses must be free."""
    row = {"project_id": project_id, "created_at": time.time()}
    contact_id: int = (await connection.execute(insert(_CONTACTS).returning(_CONTACTS.c.id), row)).scalar_one()
    rows = [{"project_id": project_id, "contact_id": contact_id, "address": address} for address in addresses]
    if rows:
        await connection.execute(insert(_ADDRESSES), rows)
    return Contact(contact_id, list(addresses))


async def known_as(connection: AsyncConnection, project_id: int, address: str) -> Contact:
    """Whose address it is; a new contact if it is nobody's. One that is too long is cut."""
    address = address[:LONGEST_ADDRESS]
    found = await by_address(connection, project_id, address)
    if found is None:
        about_to_write(connection)
        try:
            async with connection.begin_nested():
                return await add(connection, project_id, [address])
        except IntegrityError:  # another call made it at the same time
            found = await by_address(connection, project_id, address)
            assert found is not None
    return found


async def set_values(connection: AsyncConnection, contact_ids: Iterable[int], values: Mapping[int, str]) -> None:
    """Give contacts these values, by the ids of variables."""
    contacts = list(contact_ids)
    for start in range(0, len(contacts) if values else 0, AT_A_TIME):
        some = contacts[start : start + AT_A_TIME]
        same = _VALUES.c.contact_id.in_(some), _VALUES.c.variable_id.in_(list(values))
        await connection.execute(delete(_VALUES).where(*same))
        rows = [
            {"contact_id": contact, "variable_id": variable, "value": value}
            for contact in some
            for variable, value in values.items()
        ]
        await connection.execute(insert(_VALUES), rows)


async def _contacts(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[Contact]:
    ids = select(_CONTACTS.c.id).where(*where).order_by(_CONTACTS.c.id)
    found = {row.id: Contact(row.id) for row in await connection.execute(ids)}
    chosen = ids.order_by(None).scalar_subquery()
    addresses = select(_ADDRESSES).where(_ADDRESSES.c.contact_id.in_(chosen)).order_by(_ADDRESSES.c.id)
    for row in await connection.execute(addresses):
        found[row.contact_id].addresses.append(row.address)
    values = (
        select(_VALUES.c.contact_id, VARIABLES.c.name, _VALUES.c.value)
        .join(VARIABLES, VARIABLES.c.id == _VALUES.c.variable_id)
        .where(_VALUES.c.contact_id.in_(chosen))
        .order_by(VARIABLES.c.id)
    )
    for row in await connection.execute(values):
        found[row.contact_id].vars[row.name] = row.value
    return list(found.values())
