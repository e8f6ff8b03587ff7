"""The configuration file as an import into the account ``default``.

Done at every start and reload, and the same every time: rows that came from the file before are made what the file says
now, or go when it does not have them any more. Rows that were made otherwise stay as they are; a name or number of
theirs in the file is an error, and nothing is imported then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.repository import Taken, Unknown, table_of
from engine.addresses import plain_number
from engine.config import Config, DeviceConfig, NumberConfig, TrunkConfig
from engine.log import get_logger
from engine.store.accounts import DEFAULT_ACCOUNT, FILE

log = get_logger(__name__)


class ImportConflict(ValueError):
    """The file cannot be taken over; the text names the section, the row and the reason."""


Documents = Mapping[str, str]
"""The content of the flow files, by their paths."""


async def import_file(connection: AsyncConnection, config: Config, documents: Documents) -> None:
    """Take over what ``config`` says. Raises :class:`ImportConflict`."""
    try:
        await repository.account(connection, DEFAULT_ACCOUNT)
    except Unknown:
        await repository.add_account(connection, DEFAULT_ACCOUNT, id=DEFAULT_ACCOUNT)
    said = {name: value for name, value in config.account.values().items() if name in config.account.model_fields_set}
    if said:
        owner = await repository.account(connection, DEFAULT_ACCOUNT)
        await repository.change_account(connection, DEFAULT_ACCOUNT, name=owner.name, **said)
    devices = {each.name: {"settings": _settings(each)} for each in config.devices}
    await _Section(connection, e.Device, "devices").take(devices)
    users = await _import_users(connection, config)
    groups = await _import_groups(connection, config)
    flows, stale = await _import_flows(connection, config, documents)
    numbers = {
        plain_number(each.number): {
            "flow_id": flows[each.flow, each.dialect] if each.flow else await _import_callflow(connection, each),
            "record": each.record,
            "voice": each.voice,
            "callflow": each.callflow(),
        }
        for each in config.numbers
    }
    await _Section(connection, e.Number, "numbers", "number").take(numbers)
    await repository.drop_callflows(connection, DEFAULT_ACCOUNT)
    extensions = {
        plain_number(each.number): {
            "flow_id": flows[each.flow, each.dialect] if each.flow else None,
            "user_id": _named(users, each.user, "extensions", each.number, "user") if each.user else None,
            "group_id": _named(groups, each.group, "extensions", each.number, "group") if each.group else None,
        }
        for each in config.extensions
    }
    await _Section(connection, e.Extension, "extensions", "number").take(extensions)
    trunks = {each.name: {"shared": each.shared, "settings": _settings(each)} for each in config.trunks}
    await _Section(connection, e.Trunk, "trunks").take(trunks)
    await _drop_unused(connection, e.Flow, stale)


def flow_files(config: Config) -> dict[tuple[str, str], None]:
    """The flow files of ``config`` with their dialects, each once, in order."""
    of_numbers = [(each.flow, each.dialect) for each in config.numbers if each.flow]
    return dict.fromkeys([*of_numbers, *((each.flow, each.dialect) for each in config.extensions if each.flow)])


async def _import_callflow(connection: AsyncConnection, number: NumberConfig) -> str:
    """The id of the flow of a number that has none of its own."""
    callflow = number.callflow()
    assert callflow is not None
    try:
        saved = await repository.save_callflow(connection, DEFAULT_ACCOUNT, plain_number(number.number), callflow)
    except Taken as error:
        raise ImportConflict(f"numbers: {number.number!r}: {error}") from None
    return saved.flow.id


def _settings(section: TrunkConfig | DeviceConfig) -> dict[str, Any]:
    """All keys but those that are columns, secrets as they are."""
    data = section.model_dump(mode="python", by_alias=True, exclude={"name", "shared"})
    return {
        key: value.get_secret_value() if hasattr(value, "get_secret_value") else value for key, value in data.items()
    }


def _named(ids: Mapping[str, str], name: str, section: str, row: str, what: str) -> str:
    if name not in ids:
        raise ImportConflict(f"{section}: {row!r}: there is no {what} {name!r}")
    return ids[name]


@dataclass(frozen=True, slots=True)
class _Section:
    """Rows of one kind. ``key`` is the column that tells them apart."""

    connection: AsyncConnection
    kind: type[e.Owned]
    section: str
    key: str = "name"

    async def take(self, wanted: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Make the file's rows those of ``wanted``, by key; their ids. Raises :class:`ImportConflict`."""
        table = table_of(self.kind)
        ours, others = await self._known()
        for key in wanted:
            if key in others:
                raise ImportConflict(f"{self.section}: {key!r} is there already, and was not made by the file")
        now = time.time()
        new: list[dict[str, Any]] = []
        ids: dict[str, str] = {}
        for key, values in wanted.items():
            row = ours.get(key)
            if row is None:
                ids[key] = repository.new_id()
                common = {"id": ids[key], "account_id": DEFAULT_ACCOUNT, "origin": FILE, "created_at": now}
                new.append({**common, self.key: key, **values})
                continue
            ids[key] = row["id"]
            if any(row[name] != value for name, value in values.items()):
                await self.connection.execute(update(table).where(table.c.id == row["id"]).values(**values))
        await _drop_unused(self.connection, self.kind, [row["id"] for key, row in ours.items() if key not in wanted])
        if new:
            await self.connection.execute(insert(table), new)
        return ids

    async def _known(self) -> tuple[dict[str, Any], set[str]]:
        """The rows that came from the file, and the keys of those that are in its way."""
        table = table_of(self.kind)
        everywhere = self.kind in (e.Device, e.Number)  # these are unique across accounts
        where: list[ColumnElement[bool]] = [] if everywhere else [table.c.account_id == DEFAULT_ACCOUNT]
        rows = (await self.connection.execute(select(table).where(*where))).mappings().all()
        ours = {row[self.key]: row for row in rows if row["account_id"] == DEFAULT_ACCOUNT and row["origin"] == FILE}
        others = {row[self.key] for row in rows if ours.get(row[self.key]) is not row}
        return ours, others


async def _import_users(connection: AsyncConnection, config: Config) -> dict[str, str]:
    wanted = {each.name: {"role": str(each.role)} for each in config.users}
    ids = await _Section(connection, e.User, "users").take(wanted)
    known = {each.name: each.devices for each in await repository.users(connection, DEFAULT_ACCOUNT)}
    for user in config.users:
        devices = tuple(dict.fromkeys(user.devices))
        if known[user.name] != devices:
            try:
                await repository.set_devices(connection, DEFAULT_ACCOUNT, ids[user.name], devices)
            except Unknown as error:
                raise ImportConflict(f"users: {user.name!r}: {error}") from None
    return ids


async def _import_groups(connection: AsyncConnection, config: Config) -> dict[str, str]:
    for group in config.groups:
        try:
            await repository.check_members(connection, DEFAULT_ACCOUNT, group.members)
        except Unknown as error:
            raise ImportConflict(f"groups: {group.name!r}: {error}") from None
    wanted = {each.name: {"members": list(each.members)} for each in config.groups}
    return await _Section(connection, e.Group, "groups").take(wanted)


async def _import_flows(
    connection: AsyncConnection, config: Config, documents: Documents
) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The ids of the flows by file and dialect, and of those that the file had before. A known flow keeps its name."""
    flows = await repository.all_of(connection, e.Flow, DEFAULT_ACCOUNT)
    ours = {(flow.source, flow.dialect): flow for flow in flows if flow.origin == FILE}
    taken = {flow.name for flow in flows}
    ids: dict[tuple[str, str], str] = {}
    for source, dialect in flow_files(config):
        known = ours.get((source, dialect))
        name = known.name if known is not None else _free_name(source, dialect, taken)
        taken.add(name)
        try:
            saved = await repository.save_flow(
                connection,
                DEFAULT_ACCOUNT,
                name,
                documents[source],
                dialect=dialect,
                source=source,
                origin=FILE,
            )
        except Taken as error:
            raise ImportConflict(f"numbers: {source}: {error}") from None
        ids[source, dialect] = saved.flow.id
    return ids, [flow.id for key, flow in ours.items() if key not in ids]


def _free_name(source: str, dialect: str, taken: set[str]) -> str:
    """The file's name if it is free, else its path, else its path with the dialect."""
    choices = (Path(source).name, source, f"{source} ({dialect or 'any dialect'})")
    return next((name for name in choices if name not in taken), choices[-1])


_USED_AS = {e.Flow: "flow_id", e.User: "user_id", e.Group: "group_id"}


async def _drop_unused(connection: AsyncConnection, kind: type[e.Owned], ids: Sequence[str]) -> None:
    """Delete what the file has no more, but for that on which rows hang that were made otherwise."""
    if not ids:
        return
    kept: dict[str, list[str]] = {}
    column = _USED_AS.get(kind, "")
    for table in (table_of(e.Number), table_of(e.Extension)):
        if column in table.c:
            query = select(table.c[column], table.c.number).where(table.c[column].in_(ids), table.c.origin != FILE)
            for used, number in await connection.execute(query):
                kept.setdefault(used, []).append(number)
    for used, numbers in kept.items():
        log.warning("gone_from_file_but_used", kind=kind.__name__.lower(), id=used, by=numbers)
    table = table_of(kind)
    await connection.execute(delete(table).where(table.c.id.in_([each for each in ids if each not in kept])))
