"""The configuration file as an import into the account ``default``.

Done at every start and reload, and the same every time: rows that came from the file before are made what the file says
now, or go when it does not have them any more. Rows that were made otherwise stay as they are. A name or number of
theirs in the file is a conflict: that row of the file is left out, and all others are served.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.repository import Taken, Unknown, table_of
from engine.addresses import plain_number
from engine.config import Config, DeviceConfig, NumberConfig, TrunkConfig
from engine.config.rows import ExtensionConfig
from engine.log import get_logger
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT, FILE

log = get_logger(__name__)


Documents = Mapping[str, str]
"""The content of the flow files, by their paths."""


@dataclass(slots=True)
class _Conflicts:
    """What of the file is left out, and why."""

    found: list[str] = field(default_factory=list)

    def add(self, section: str, row: str, why: str) -> None:
        self.found.append(f"{section}: {row!r}: {why}")

    def there(self, section: str, row: str, names: Sequence[str], known: Collection[str], what: str) -> tuple[str, ...]:
        """Those of ``names`` that are ``known``, each once; of the others it is told that they are missing."""
        for name in names:
            if name not in known:
                self.add(section, row, f"there is no {what} {name!r}")
        return tuple(dict.fromkeys(name for name in names if name in known))


async def import_file(connection: AsyncConnection, config: Config, documents: Documents) -> tuple[str, ...]:
    """Take over what ``config`` says. A line for each row that cannot be: section, row and reason."""
    conflicts = _Conflicts()
    try:
        await repository.account(connection, DEFAULT_ACCOUNT)
    except Unknown:
        await repository.add_account(connection, DEFAULT_ACCOUNT, id=DEFAULT_ACCOUNT)
    said = {name: value for name, value in config.account.values().items() if name in config.account.model_fields_set}
    if said:
        owner = await repository.account(connection, DEFAULT_ACCOUNT)
        await repository.change_account(connection, DEFAULT_ACCOUNT, name=owner.name, **said)
    devices = {each.name: {"settings": _settings(each)} for each in config.devices}
    await _Section(connection, conflicts, e.Device, "devices").take(devices)
    users = await _import_users(connection, conflicts, config)
    groups = await _import_groups(connection, conflicts, config)
    flows, stale = await _import_flows(connection, conflicts, config, documents)
    numbers: dict[str, dict[str, Any]] = {}
    for number in config.numbers:
        if (flow_id := await _flow_of(connection, conflicts, flows, number)) is not None:
            values = {"flow_id": flow_id, "record": number.record, "voice": number.voice}
            numbers[plain_number(number.number)] = {**values, "callflow": number.callflow()}
    await _Section(connection, conflicts, e.Number, "numbers", "number").take(numbers)
    await repository.drop_callflows(connection, DEFAULT_ACCOUNT)
    extensions: dict[str, dict[str, Any]] = {}
    for extension in config.extensions:
        if (target := _target_of(conflicts, extension, users, groups, flows)) is not None:
            extensions[plain_number(extension.number)] = target
    await _Section(connection, conflicts, e.Extension, "extensions", "number").take(extensions)
    trunks = {each.name: {"shared": each.shared, "settings": _settings(each)} for each in config.trunks}
    await _Section(connection, conflicts, e.Trunk, "trunks").take(trunks)
    await _drop_unused(connection, e.Flow, stale)
    return tuple(conflicts.found)


class _Undone(Exception):
    """Takes a transaction back."""


async def conflicts_of(store: Store, config: Config, documents: Documents) -> tuple[str, ...]:
    """What :func:`import_file` would say; nothing is changed. Raises SQLAlchemy's errors."""
    found: tuple[str, ...] = ()
    with contextlib.suppress(_Undone):
        async with store.writing() as connection:
            found = await import_file(connection, config, documents)
            raise _Undone
    return found


def flow_files(config: Config) -> dict[tuple[str, str], None]:
    """The flow files of ``config`` with their dialects, each once, in order."""
    of_numbers = [(each.flow, each.dialect) for each in config.numbers if each.flow]
    return dict.fromkeys([*of_numbers, *((each.flow, each.dialect) for each in config.extensions if each.flow)])


async def _flow_of(
    connection: AsyncConnection, conflicts: _Conflicts, flows: Mapping[tuple[str, str], str], number: NumberConfig
) -> str | None:
    """The id of the flow of a number, which is made if it has none of its own."""
    if number.flow:
        return flows.get((number.flow, number.dialect))  # why it is not there has been said
    callflow = number.callflow()
    assert callflow is not None
    try:
        saved = await repository.save_callflow(connection, DEFAULT_ACCOUNT, plain_number(number.number), callflow)
    except Taken as error:
        conflicts.add("numbers", number.number, str(error))
        return None
    return saved.flow.id


def _settings(section: TrunkConfig | DeviceConfig) -> dict[str, Any]:
    """All keys but those that are columns, secrets as they are."""
    data = section.model_dump(mode="python", by_alias=True, exclude={"name", "shared"})
    return {
        key: value.get_secret_value() if hasattr(value, "get_secret_value") else value for key, value in data.items()
    }


def _target_of(
    conflicts: _Conflicts,
    extension: ExtensionConfig,
    users: Mapping[str, str],
    groups: Mapping[str, str],
    flows: Mapping[tuple[str, str], str],
) -> dict[str, Any] | None:
    """The columns by which an extension leads somewhere."""
    nowhere: dict[str, Any] = {"flow_id": None, "user_id": None, "group_id": None}
    if extension.flow:
        flow = flows.get((extension.flow, extension.dialect))
        return {**nowhere, "flow_id": flow} if flow is not None else None
    what, name, ids = ("user", extension.user, users) if extension.user else ("group", extension.group, groups)
    if name not in ids:
        conflicts.add("extensions", extension.number, f"there is no {what} {name!r}")
        return None
    return {**nowhere, f"{what}_id": ids[name]}


@dataclass(frozen=True, slots=True)
class _Section:
    """Rows of one kind. ``key`` is the column that tells them apart."""

    connection: AsyncConnection
    conflicts: _Conflicts
    kind: type[e.Owned]
    section: str
    key: str = "name"

    async def take(self, wanted: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Make the file's rows those of ``wanted``, by key; the ids of those that can be."""
        table = table_of(self.kind)
        ours, others = await self._known()
        for key in wanted:
            if key in others:
                whose = "" if others[key] == DEFAULT_ACCOUNT else f", in the account {others[key]}"
                self.conflicts.add(self.section, key, f"is there already, and was not made by the file{whose}")
        wanted = {key: values for key, values in wanted.items() if key not in others}
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

    async def _known(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The rows that came from the file by key, and the accounts of those that are in its way."""
        table = table_of(self.kind)
        everywhere = self.kind in (e.Device, e.Number)  # these are unique across accounts
        where: list[ColumnElement[bool]] = [] if everywhere else [table.c.account_id == DEFAULT_ACCOUNT]
        rows = (await self.connection.execute(select(table).where(*where))).mappings().all()
        ours = {row[self.key]: row for row in rows if row["account_id"] == DEFAULT_ACCOUNT and row["origin"] == FILE}
        others = {row[self.key]: row["account_id"] for row in rows if ours.get(row[self.key]) is not row}
        return ours, others


async def _import_users(connection: AsyncConnection, conflicts: _Conflicts, config: Config) -> dict[str, str]:
    wanted = {each.name: {"role": str(each.role)} for each in config.users}
    ids = await _Section(connection, conflicts, e.User, "users").take(wanted)
    known = {each.name: each.devices for each in await repository.users(connection, DEFAULT_ACCOUNT)}
    telephones = {each.name for each in await repository.all_of(connection, e.Device, DEFAULT_ACCOUNT)}
    for user in config.users:
        if user.name not in ids:
            continue
        devices = conflicts.there("users", user.name, user.devices, telephones, "device")
        if known[user.name] != devices:
            await repository.set_devices(connection, DEFAULT_ACCOUNT, ids[user.name], devices)
    return ids


async def _import_groups(connection: AsyncConnection, conflicts: _Conflicts, config: Config) -> dict[str, str]:
    known = {each.name for each in await repository.all_of(connection, e.User, DEFAULT_ACCOUNT)}
    known |= {each.name for each in await repository.all_of(connection, e.Device, DEFAULT_ACCOUNT)}
    wanted = {
        each.name: {"members": list(conflicts.there("groups", each.name, each.members, known, "user or device"))}
        for each in config.groups
    }
    return await _Section(connection, conflicts, e.Group, "groups").take(wanted)


async def _import_flows(
    connection: AsyncConnection, conflicts: _Conflicts, config: Config, documents: Documents
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
            conflicts.add("numbers", source, str(error))
            continue
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
