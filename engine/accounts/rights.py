"""What customers may take for themselves: numbers, and addresses that calls come from.

Whoever runs the switch assigns both to an account (``assigned_numbers``, ``assigned_addresses``); the account
``default`` is its own, and may take whatever is free. Without that an account could have the calls of another one by
naming its provider, or a number before its owner does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.repository import Taken, table_of
from engine.addresses import Network, is_literal, plain_number, within
from engine.config import AccountsConfig, TrunkConfig
from engine.store.accounts import DEFAULT_ACCOUNT


class NotAssigned(Exception):
    """The account may not take it; the text says what and what would help, ``field`` where it stands."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


# --- numbers ----------------------------------------------------------------------------


def covers(assigned: str, number: str) -> bool:
    """Whether ``assigned`` (a number, or the beginning of numbers with a ``*``) has all that ``number`` stands for."""
    if assigned.endswith("*"):
        return number.removesuffix("*").startswith(assigned[:-1])
    return assigned == number


def assignee(number: str, accounts: Iterable[e.Account]) -> tuple[str, ...]:
    """The ids of the accounts that ``number`` is assigned to: those whose assignment says most of it."""
    fitting = [
        (len(assigned), account.id)
        for account in accounts
        for assigned in account.assigned_numbers
        if covers(assigned, number)
    ]
    longest = max((length for length, _ in fitting), default=0)
    return tuple(account for length, account in fitting if length == longest)


async def refuse_number(connection: AsyncConnection, account_id: str, number: str, free: AccountsConfig) -> None:
    """Raises :class:`NotAssigned` when the account may not have ``number``, whether it is free or not."""
    if account_id == DEFAULT_ACCOUNT:
        return
    assigned = assignee(plain_number(number), await repository.accounts(connection))
    if account_id in assigned or (free.free_numbers and not assigned):
        return
    raise NotAssigned("number", f"{number} is not assigned to the account: who runs the switch does that")


async def holder(connection: AsyncConnection, number: str) -> str:
    """The id of the account that calls to ``number`` from outside are for; empty: nobody's."""
    plain = plain_number(number)
    written = [plain, *(f"{plain[:length]}*" for length in range(1, len(plain) + 1))]
    table = table_of(e.Number)
    query = select(table.c.number, table.c.account_id).where(table.c.number.in_(written))
    found = {row.number: row.account_id for row in await connection.execute(query)}
    return next((found[each] for each in (plain, *reversed(written[1:])) if each in found), "")


# --- trunks -----------------------------------------------------------------------------


def networks(account: e.Account | None, free: AccountsConfig) -> tuple[Network, ...] | None:
    """Where calls may come from that are believed to be by trunks of the account; ``None``: from anywhere."""
    if account is None:
        return ()
    if account.id == DEFAULT_ACCOUNT or free.free_addresses:
        return None
    return tuple(ipaddress.ip_network(each) for each in account.assigned_addresses)


async def refuse_trunk(
    connection: AsyncConnection, account_id: str, trunk: TrunkConfig, free: AccountsConfig, *, trunk_id: str = ""
) -> None:
    """Raises :class:`NotAssigned` for addresses that the account may not be called from, and
    :class:`~engine.accounts.repository.Taken` for numbers of others and for a name that somebody else proves itself by.

    ``trunk_id``: the row that ``trunk`` is to take the place of.
    """
    if trunk.inbound == "digest":
        await _refuse_username(connection, trunk.username, trunk_id)
    if account_id == DEFAULT_ACCOUNT or trunk.inbound == "none":
        return
    if trunk.inbound == "address" and not trunk.registers:
        _refuse_hosts(trunk, networks(await repository.account(connection, account_id), free))
    for number in trunk.numbers:
        if (await holder(connection, number)) not in ("", account_id):
            raise Taken(f"numbers: {number!r} is another account's")


def _refuse_hosts(trunk: TrunkConfig, allowed: tuple[Network, ...] | None) -> None:
    """A name is looked at when it is resolved, again and again: what it stands for may change."""
    if allowed is None:
        return
    other = "use inbound = digest or none, or register"
    if not allowed:
        raise NotAssigned("inbound", f"no addresses are assigned to the account that calls could be known by: {other}")
    for field, host in (("host", trunk.address.host), ("outbound_proxy", trunk.hop[1][0])):
        if is_literal(host) and not within(host, allowed):
            raise NotAssigned(field, f"{host} is none of the addresses that are assigned to the account: {other}")


async def _refuse_username(connection: AsyncConnection, username: str, trunk_id: str) -> None:
    for each in await repository.all_of(connection, e.Trunk, None):
        if each.id != trunk_id and _proves_itself_as(each, username):
            raise Taken(f"username: a trunk proves itself as {username!r} already")
    if any(each.name == username for each in await repository.all_of(connection, e.Device, None)):
        raise Taken(f"username: a device has the name {username!r}")


async def refuse_device(connection: AsyncConnection, name: str) -> None:
    """Raises Taken when a trunk proves itself by this name: both answer the same challenge."""
    if any(_proves_itself_as(each, name) for each in await repository.all_of(connection, e.Trunk, None)):
        raise Taken(f"a trunk proves itself as {name!r}")


def _proves_itself_as(trunk: e.Trunk, username: str) -> bool:
    return trunk.settings.get("inbound") == "digest" and trunk.settings.get("username") == username
