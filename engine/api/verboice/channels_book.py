"""Channels: the trunks that an account may call by, its own and those that all may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import repository
from engine.accounts.entities import Trunk
from engine.api.verboice import book
from engine.calls.directory import AccountTrunk
from engine.store import projects as t

_CHANNELS = cast("Table", t.Channel.__table__)
KIND = "custom_sip"


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A trunk as a channel. ``own``: whether it is one of the account's, which may change it."""

    trunk_id: str
    name: str
    settings: Mapping[str, Any]
    own: bool
    from_file: bool
    kind: str = KIND
    flow_id: str | None = None
    enabled: bool = True


async def channels(connection: AsyncConnection, account_id: str, shared: Iterable[AccountTrunk]) -> list[ChannelRow]:
    """All that the account may call by; of trunks with one name its own comes first."""
    trunks = [(trunk, True) for trunk in await repository.all_of(connection, Trunk, account_id)]
    for other in sorted({each.account for each in shared if each.account != account_id}):
        trunks += [(trunk, False) for trunk in await repository.all_of(connection, Trunk, other) if trunk.shared]
    ids = [trunk.id for trunk, _ in trunks]
    rows = (await connection.execute(select(_CHANNELS).where(_CHANNELS.c.trunk_id.in_(ids)))).mappings()
    known = {row["trunk_id"]: row for row in rows}
    return [_channel(trunk, known.get(trunk.id) if own else None, own=own) for trunk, own in trunks]


async def channel_named(
    connection: AsyncConnection, account_id: str, shared: Sequence[AccountTrunk], name: str
) -> ChannelRow | None:
    """A channel by its name."""
    return next((each for each in await channels(connection, account_id, shared) if each.name == name), None)


async def channel_numbered(
    connection: AsyncConnection, account_id: str, shared: Sequence[AccountTrunk], number: int
) -> ChannelRow | None:
    """A channel by its integer."""
    target = await book.target_of(connection, account_id, "trunk", number)
    return next((each for each in await channels(connection, account_id, shared) if each.trunk_id == target), None)


async def set_channel(
    connection: AsyncConnection, trunk_id: str, *, kind: str, flow_id: str | None, enabled: bool
) -> None:
    """What a trunk is as a channel."""
    await connection.execute(delete(_CHANNELS).where(_CHANNELS.c.trunk_id == trunk_id))
    row = {"trunk_id": trunk_id, "kind": kind, "flow_id": flow_id, "enabled": enabled}
    await connection.execute(insert(_CHANNELS), row)


def _channel(trunk: Trunk, row: Any, *, own: bool) -> ChannelRow:
    base = ChannelRow(trunk.id, trunk.name, trunk.settings, own=own, from_file=trunk.origin != "api")
    if row is None:
        return base
    return ChannelRow(
        trunk.id, trunk.name, trunk.settings, own, base.from_file, row["kind"], row["flow_id"], row["enabled"]
    )
