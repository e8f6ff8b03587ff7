"""Reading and changing what accounts have.

Every function runs in the caller's transaction, and looks at the rows of the account that it is given and at no others:
what belongs to somebody else is as if it were not there. They raise :class:`Unknown` for what is not there,
:class:`Taken` for a name or number that is, and SQLAlchemy's errors when the database is out of reach.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Table, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.callflow import DIALECT, document_of
from engine.store import accounts as t
from engine.store.accounts import API, OF_NUMBER
from engine.store.realtime import ShownNumber

_Row = TypeVar("_Row")


class Unknown(LookupError):
    """The account has no such thing; the text says what."""


class Taken(ValueError):
    """A name or a number is in use already; the text says which."""


class FromFile(ValueError):
    """The row comes from the configuration: it is changed there; the text says which."""


_TABLES: Mapping[type[Any], Table] = {
    e.Account: cast("Table", t.Account.__table__),
    e.User: cast("Table", t.User.__table__),
    e.Device: cast("Table", t.Device.__table__),
    e.Group: cast("Table", t.Group.__table__),
    e.Flow: cast("Table", t.StoredFlow.__table__),
    e.Number: cast("Table", t.Number.__table__),
    e.Extension: cast("Table", t.Extension.__table__),
    e.Trunk: cast("Table", t.Trunk.__table__),
    e.Media: cast("Table", t.Media.__table__),
}
_USERS, _DEVICES = _TABLES[e.User], _TABLES[e.Device]
_USER_DEVICES = cast("Table", t.UserDevice.__table__)
_VERSIONS = cast("Table", t.FlowVersion.__table__)
_SHOWN = cast("Table", ShownNumber.__table__)


def table_of(kind: type[Any]) -> Table:
    """The table of an entity."""
    return _TABLES[kind]


async def _rows(connection: AsyncConnection, kind: type[_Row], *where: ColumnElement[bool]) -> list[_Row]:
    table = _TABLES[kind]
    query = select(table).where(*where).order_by(table.c.created_at, table.c.id)
    found = (await connection.execute(query)).mappings()
    return [kind(**{name: _frozen(value) for name, value in row.items()}) for row in found]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# --- reading ----------------------------------------------------------------------------


async def accounts(connection: AsyncConnection) -> list[e.Account]:
    """All accounts; for the daemon itself, not for anybody's question."""
    return await _rows(connection, e.Account)


async def account(connection: AsyncConnection, wanted: str) -> e.Account:
    """An account by its id or its name. Raises :class:`Unknown`."""
    table = _TABLES[e.Account]
    found = await _rows(connection, e.Account, or_(table.c.id == wanted, table.c.name == wanted))
    found.sort(key=lambda each: each.id != wanted)
    return _one(found, f"account {wanted!r}")


async def all_of(connection: AsyncConnection, kind: type[_Row], account_id: str | None) -> list[_Row]:
    """The rows of a kind that an account has, oldest first; of every account for ``None``: for the daemon itself.

    Users come without their devices: :func:`users` has them.
    """
    table = _TABLES[kind]
    return await _rows(connection, kind, *(() if account_id is None else (table.c.account_id == account_id,)))


async def get(connection: AsyncConnection, kind: type[_Row], account_id: str, wanted: str) -> _Row:
    """One row of an account by its id, or its name (its number). Raises :class:`Unknown`."""
    table = _TABLES[kind]
    name = table.c.name if "name" in table.c else table.c.number
    found = await _rows(connection, kind, table.c.account_id == account_id, or_(table.c.id == wanted, name == wanted))
    found.sort(key=lambda each: cast("Any", each).id != wanted)
    return _one(found, f"{kind.__name__.lower()} {wanted!r}")


async def users(connection: AsyncConnection, account_id: str | None) -> list[e.User]:
    """Users with the names of their devices."""
    query = (
        select(_USER_DEVICES.c.user_id, _DEVICES.c.name)
        .join(_DEVICES, _DEVICES.c.id == _USER_DEVICES.c.device_id)
        .order_by(_USER_DEVICES.c.position)
    )
    if account_id is not None:
        query = query.where(_DEVICES.c.account_id == account_id)
    owned: dict[str, list[str]] = {}
    for user, device in await connection.execute(query):
        owned.setdefault(user, []).append(device)
    return [
        dataclasses.replace(each, devices=tuple(owned.get(each.id, ())))
        for each in await all_of(connection, e.User, account_id)
    ]


async def user_by_email(connection: AsyncConnection, email: str) -> e.User | None:
    """Who logs in with this address, of whatever account; without their devices. ``None``: nobody."""
    found = await _rows(connection, e.User, _USERS.c.email == email.strip().casefold())
    return found[0] if found else None


async def shown_numbers(connection: AsyncConnection) -> dict[str, str]:
    """The numbers that users of whatever account chose to show outside, by their ids; for the daemon itself."""
    numbers = _TABLES[e.Number]
    query = select(_SHOWN.c.user_id, numbers.c.number).join(numbers, numbers.c.id == _SHOWN.c.number_id)
    return {row.user_id: row.number for row in await connection.execute(query)}


async def set_shown_number(connection: AsyncConnection, account_id: str, user_id: str, number_id: str) -> None:
    """Have a user show this number of the account outside. Raises :class:`Unknown`."""
    user, number = (
        await get(connection, e.User, account_id, user_id),
        await get(connection, e.Number, account_id, number_id),
    )
    await connection.execute(delete(_SHOWN).where(_SHOWN.c.user_id == user.id))
    await connection.execute(insert(_SHOWN), {"user_id": user.id, "number_id": number.id})


async def set_login(
    connection: AsyncConnection, account_id: str, user: str, *, email: str | None, password: str | None
) -> None:
    """How a user logs in; ``password`` as :func:`engine.accounts.secrets.hashed` makes it. ``None``: not at all.

    Raises :class:`Unknown`, and :class:`Taken` for an address that somebody has.
    """
    found = await get(connection, e.User, account_id, user)
    address = email.strip().casefold() if email else None
    if address is not None:
        owner = await user_by_email(connection, address)
        if owner is not None and owner.id != found.id:
            raise Taken(f"the address {address!r} is taken")
    await connection.execute(update(_USERS).where(_USERS.c.id == found.id).values(email=address, password=password))


async def flow_version(
    connection: AsyncConnection, account_id: str, wanted: str, number: int | None = None
) -> e.FlowVersion:
    """A version of a flow of the account, by the flow's id or name; without a ``number`` the newest.

    Raises :class:`Unknown`.
    """
    flow = await get(connection, e.Flow, account_id, wanted)
    number = flow.version if number is None else number
    query = select(_VERSIONS).where(_VERSIONS.c.flow_id == flow.id, _VERSIONS.c.number == number)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise Unknown(f"there is no version {number} of the flow {wanted!r}")
    return e.FlowVersion(flow, row["number"], row["document"], row["created_at"])


async def flow_versions(connection: AsyncConnection, account_id: str, wanted: str) -> list[e.FlowVersion]:
    """All versions of a flow, the oldest first. Raises :class:`Unknown`."""
    flow = await get(connection, e.Flow, account_id, wanted)
    query = select(_VERSIONS).where(_VERSIONS.c.flow_id == flow.id).order_by(_VERSIONS.c.number)
    found = (await connection.execute(query)).mappings()
    return [e.FlowVersion(flow, row["number"], row["document"], row["created_at"]) for row in found]


async def newest_versions(connection: AsyncConnection, flow_ids: Collection[str]) -> dict[str, e.FlowVersion]:
    """The newest versions of flows of any account, by the flow's id; for the daemon itself."""
    table = _TABLES[e.Flow]
    flows = {flow.id: flow for flow in await _rows(connection, e.Flow, table.c.id.in_(flow_ids))}
    newest = table.join(_VERSIONS, (_VERSIONS.c.flow_id == table.c.id) & (_VERSIONS.c.number == table.c.version))
    query = select(_VERSIONS).select_from(newest).where(table.c.id.in_(flow_ids))
    found = (await connection.execute(query)).mappings()
    return {
        row["flow_id"]: e.FlowVersion(flows[row["flow_id"]], row["number"], row["document"], row["created_at"])
        for row in found
    }


# --- changing ---------------------------------------------------------------------------


async def add_account(connection: AsyncConnection, name: str, *, id: str = "", **values: Any) -> e.Account:  # noqa: A002
    """A new account; ``values`` are its other columns. Raises :class:`Taken`."""
    await _refuse_taken(connection, e.Account, f"the account {name!r}", name=name)
    key = id or new_id()
    row = {"id": key, "name": name, "created_at": time.time(), **values}
    await connection.execute(insert(_TABLES[e.Account]), row)
    return await account(connection, key)


async def change_account(connection: AsyncConnection, account_id: str, *, name: str, **values: Any) -> e.Account:
    """Change an account: name and the columns ``values``. Raises :class:`Unknown`, and :class:`Taken` for a name."""
    before = await account(connection, account_id)
    if name != before.name:
        await _refuse_taken(connection, e.Account, f"the account {name!r}", name=name)
    table = _TABLES[e.Account]
    await connection.execute(update(table).where(table.c.id == before.id).values(name=name, **values))
    return await account(connection, before.id)


async def remove_account(connection: AsyncConnection, account_id: str) -> None:
    """Delete an account and all that belongs to it; its calls stay in the record."""
    table = _TABLES[e.Account]
    await connection.execute(delete(table).where(table.c.id == account_id))


async def add_user(
    connection: AsyncConnection,
    account_id: str,
    name: str,
    *,
    role: e.Role = "none",
    devices: Sequence[str] = (),
    origin: str = API,
) -> e.User:
    """A new user; ``devices`` are named. Raises :class:`Taken` and :class:`Unknown`."""
    await _refuse_taken(connection, e.User, f"the user {name!r}", account_id=account_id, name=name)
    made = await _add(connection, e.User, account_id, origin, name=name, role=role)
    await set_devices(connection, account_id, made.id, devices)
    return dataclasses.replace(made, devices=tuple(devices))


async def set_devices(connection: AsyncConnection, account_id: str, user_id: str, devices: Sequence[str]) -> None:
    """Give a user these devices, by name, and no others. Raises :class:`Unknown`."""
    found = [await get(connection, e.Device, account_id, name) for name in dict.fromkeys(devices)]
    await connection.execute(delete(_USER_DEVICES).where(_USER_DEVICES.c.user_id == user_id))
    rows = [{"user_id": user_id, "device_id": each.id, "position": place} for place, each in enumerate(found)]
    if rows:
        await connection.execute(insert(_USER_DEVICES), rows)


async def add_device(
    connection: AsyncConnection, account_id: str, name: str, settings: Mapping[str, Any], *, origin: str = API
) -> e.Device:
    """A new device. Raises :class:`Taken`: names of devices are those of one registrar, whoever has them."""
    await _refuse_taken(connection, e.Device, f"the device {name!r}", name=name)
    return await _add(connection, e.Device, account_id, origin, name=name, settings=dict(settings))


async def add_group(
    connection: AsyncConnection, account_id: str, name: str, members: Sequence[str], *, origin: str = API
) -> e.Group:
    """A new group. Raises :class:`Taken`, and :class:`Unknown` for a member that is neither user nor device."""
    await _refuse_taken(connection, e.Group, f"the group {name!r}", account_id=account_id, name=name)
    await check_members(connection, account_id, members)
    return await _add(connection, e.Group, account_id, origin, name=name, members=list(members))


async def check_members(connection: AsyncConnection, account_id: str, members: Sequence[str]) -> None:
    """Raises :class:`Unknown` for a name that is neither a user's nor a device's of the account."""
    known = {each.name for each in await all_of(connection, e.User, account_id)}
    known |= {each.name for each in await all_of(connection, e.Device, account_id)}
    for name in members:
        if name not in known:
            raise Unknown(f"there is no user or device {name!r}")


async def save_flow(
    connection: AsyncConnection,
    account_id: str,
    name: str,
    document: str,
    *,
    dialect: str = "",
    source: str = "",
    origin: str = API,
) -> e.FlowVersion:
    """Store a flow under ``name``: a new one, or a new version if the document or its dialect has changed.

    Raises :class:`Taken` when the name is that of a flow of another ``source``.
    """
    table = _TABLES[e.Flow]
    found = await _rows(connection, e.Flow, table.c.account_id == account_id, table.c.name == name)
    now = time.time()
    if not found:
        flow = await _add(connection, e.Flow, account_id, origin, name=name, source=source, dialect=dialect, version=1)
        return await _add_version(connection, flow, document, now)
    (flow,) = found
    if (flow.source, flow.origin) != (source, origin):
        raise Taken(f"the flow {name!r} was made otherwise")
    newest = await flow_version(connection, account_id, flow.id)
    if newest.document == document and flow.dialect == dialect:
        return newest
    moved = update(table).where(table.c.id == flow.id, table.c.version == flow.version)
    result = await connection.execute(moved.values(version=flow.version + 1, dialect=dialect))
    if result.rowcount != 1:
        raise Taken(f"the flow {name!r} is being changed by somebody else")
    return await _add_version(connection, await get(connection, e.Flow, account_id, flow.id), document, now)


async def _add_version(connection: AsyncConnection, flow: e.Flow, document: str, now: float) -> e.FlowVersion:
    row = {"flow_id": flow.id, "number": flow.version, "document": document, "created_at": now}
    await connection.execute(insert(_VERSIONS), row)
    return e.FlowVersion(flow, flow.version, document, now)


async def fallbacks(connection: AsyncConnection) -> list[e.Flow]:
    """The flows of all accounts that answer what has no flow; for the daemon itself."""
    return await _rows(connection, e.Flow, _TABLES[e.Flow].c.fallback.is_(True))


async def set_fallback(connection: AsyncConnection, account_id: str, flow_id: str | None) -> None:
    """Have a flow answer what comes for the account and has no flow; no other one does then. Without one, none."""
    table = _TABLES[e.Flow]
    of_account = update(table).where(table.c.account_id == account_id)
    await connection.execute(
        of_account.where(table.c.fallback.is_(True), table.c.id != (flow_id or "")).values(fallback=False)
    )
    if flow_id is not None:
        await connection.execute(of_account.where(table.c.id == flow_id).values(fallback=True))


async def add_number(
    connection: AsyncConnection,
    account_id: str,
    number: str,
    flow_id: str,
    *,
    record: bool = False,
    voice: str = "",
    callflow: Mapping[str, Any] | None = None,
    origin: str = API,
) -> e.Number:
    """A new number. Raises :class:`Taken` when any account has it, :class:`Unknown` for a flow of somebody else."""
    await get(connection, e.Flow, account_id, flow_id)
    await _refuse_taken(connection, e.Number, f"the number {number!r}", number=number)
    values = {"flow_id": flow_id, "record": record, "voice": voice, "callflow": callflow}
    return await _add(connection, e.Number, account_id, origin, number=number, **values)


async def save_callflow(
    connection: AsyncConnection, account_id: str, number: str, callflow: Mapping[str, Any]
) -> e.FlowVersion:
    """The flow of a number whose callflows a web server tells. Raises :class:`Taken`: a flow has its name."""
    document = document_of(callflow)
    name = f"callflow {number}"
    return await save_flow(connection, account_id, name, document, dialect=DIALECT, origin=OF_NUMBER)


async def drop_callflows(connection: AsyncConnection, account_id: str) -> None:
    """Delete the flows that were made for numbers, and that none leads to any more."""
    table, used = _TABLES[e.Flow], (_TABLES[e.Number], _TABLES[e.Extension])
    gone = [table.c.id.not_in(select(each.c.flow_id).where(each.c.flow_id.is_not(None))) for each in used]
    await connection.execute(delete(table).where(table.c.account_id == account_id, table.c.origin == OF_NUMBER, *gone))


async def add_extension(
    connection: AsyncConnection,
    account_id: str,
    number: str,
    *,
    user_id: str | None = None,
    group_id: str | None = None,
    flow_id: str | None = None,
    origin: str = API,
) -> e.Extension:
    """A new extension, which leads to one of the three. Raises :class:`Taken` and :class:`Unknown`."""
    for kind, wanted in ((e.User, user_id), (e.Group, group_id), (e.Flow, flow_id)):
        if wanted is not None:
            await get(connection, cast("type[e.Owned]", kind), account_id, wanted)
    await _refuse_taken(connection, e.Extension, f"the extension {number!r}", account_id=account_id, number=number)
    target = {"user_id": user_id, "group_id": group_id, "flow_id": flow_id}
    return await _add(connection, e.Extension, account_id, origin, number=number, **target)


async def add_trunk(
    connection: AsyncConnection,
    account_id: str,
    name: str,
    settings: Mapping[str, Any],
    *,
    shared: bool = False,
    origin: str = API,
) -> e.Trunk:
    """A new trunk. Raises :class:`Taken`."""
    await _refuse_taken(connection, e.Trunk, f"the trunk {name!r}", account_id=account_id, name=name)
    return await _add(connection, e.Trunk, account_id, origin, name=name, shared=shared, settings=dict(settings))


async def add_media(
    connection: AsyncConnection, account_id: str, name: str, *, content_type: str, digest: str, size: int
) -> e.Media:
    """Note a sound whose file is stored. Raises :class:`Taken`."""
    await _refuse_taken(connection, e.Media, f"the media {name!r}", account_id=account_id, name=name)
    return await _add(
        connection, e.Media, account_id, API, name=name, content_type=content_type, digest=digest, size=size
    )


async def has_media(connection: AsyncConnection, digest: str) -> bool:
    """Whether any account has a sound with this content."""
    table = _TABLES[e.Media]
    return (await connection.execute(select(table.c.id).where(table.c.digest == digest).limit(1))).first() is not None


_ONLY_ONE: Mapping[type[Any], tuple[str, ...]] = {
    e.Account: ("name",),
    e.User: ("account_id", "name"),
    e.Device: ("name",),
    e.Group: ("account_id", "name"),
    e.Flow: ("account_id", "name"),
    e.Number: ("number",),
    e.Extension: ("account_id", "number"),
    e.Trunk: ("account_id", "name"),
    e.Media: ("account_id", "name"),
}
"""Columns of which there is one row with the same values."""


async def changeable(connection: AsyncConnection, kind: type[_Row], account_id: str, wanted: str) -> _Row:
    """A row of an account that may be changed or deleted. Raises :class:`Unknown` and :class:`FromFile`."""
    found = await get(connection, kind, account_id, wanted)
    if getattr(found, "origin", API) == OF_NUMBER:
        raise FromFile(f"{kind.__name__.lower()} {wanted!r} was made for a number, and is changed there")
    if getattr(found, "origin", API) != API:
        raise FromFile(f"{kind.__name__.lower()} {wanted!r} stands in the configuration file, and is changed there")
    return found


async def change(connection: AsyncConnection, kind: type[_Row], account_id: str, wanted: str, **values: Any) -> _Row:
    """Change columns of a row. Raises :class:`Unknown`, :class:`FromFile`, and :class:`Taken` for a new name."""
    found: Any = await changeable(connection, kind, account_id, wanted)
    key = {name: values.get(name, getattr(found, name)) for name in _ONLY_ONE[kind]}
    if any(getattr(found, name) != value for name, value in key.items()):
        what = values.get("name", values.get("number"))
        await _refuse_taken(connection, kind, f"the {kind.__name__.lower()} {what!r}", **key)
    if kind is e.Number and "flow_id" in values:
        values.setdefault("callflow", None)
    if values:
        table = _TABLES[kind]
        await connection.execute(update(table).where(table.c.id == found.id).values(**values))
    return await get(connection, kind, account_id, found.id)


async def remove(connection: AsyncConnection, kind: type[e.Owned], account_id: str, wanted: str) -> None:
    """Delete a row of an account, and what hangs on it. Raises :class:`Unknown`."""
    found = await get(connection, kind, account_id, wanted)
    await connection.execute(delete(_TABLES[kind]).where(_TABLES[kind].c.id == found.id))
    if kind is e.Number:
        await drop_callflows(connection, account_id)


def new_id() -> str:
    """32 hex digits."""
    return uuid.uuid4().hex


async def _add(connection: AsyncConnection, kind: type[_Row], account_id: str, origin: str, **values: Any) -> _Row:
    common = {"id": new_id(), "account_id": account_id, "origin": origin, "created_at": time.time()}
    await connection.execute(insert(_TABLES[kind]), {**common, **values})
    return kind(**common, **{name: _frozen(value) for name, value in values.items()})


async def _refuse_taken(connection: AsyncConnection, kind: type[Any], what: str, **key: str) -> None:
    """The constraint would refuse it too, but would end the transaction."""
    table = _TABLES[kind]
    query = select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    if (await connection.execute(query)).first() is not None:
        raise Taken(f"{what} is taken")


def _one(found: Sequence[_Row], what: str) -> _Row:
    if not found:
        raise Unknown(f"there is no {what}")
    return found[0]
