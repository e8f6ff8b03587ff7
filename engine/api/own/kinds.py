"""The kinds of rows that an account has: what each is made of, and how it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import access, repository, rights, secrets
from engine.accounts import entities as e
from engine.api.answers import YES_OR_NO
from engine.api.guard import ApiError
from engine.api.own.bodies import LONGEST_PASSWORD, ExtensionBody, GroupBody, NumberBody, UserBody
from engine.api.own.resources import KEPT, Names, Resource
from engine.callflow import PREFIX
from engine.config import AccountsConfig, DeviceConfig, TrunkConfig
from engine.store.accounts import DEFAULT_ACCOUNT

_Row = TypeVar("_Row")
# --- users ------------------------------------------------------------------------------


def _user(row: e.User, _: Names) -> dict[str, Any]:
    return {
        "name": row.name,
        "role": row.role,
        "devices": list(row.devices),
        "email": row.email or "",
        "logs_in": bool(row.email and row.password),
    }


async def _add_user(connection: AsyncConnection, account: str, body: UserBody) -> e.User:
    made = await repository.add_user(connection, account, body.name, role=body.role, devices=body.devices)
    return await _login(connection, made, body, frozenset({"email", "password"}))


async def _edit_user(
    connection: AsyncConnection, account: str, row: e.User, body: UserBody, given: frozenset[str]
) -> e.User:
    await repository.change(connection, e.User, account, row.id, name=body.name, role=body.role)
    await repository.set_devices(connection, account, row.id, body.devices)
    return await _login(connection, row, body, given)


async def _login(connection: AsyncConnection, row: e.User, body: UserBody, given: frozenset[str]) -> e.User:
    kept = (body.password or None) if "password" in given else row.password
    await repository.set_login(connection, row.account_id, row.id, email=body.email, password=kept)
    if kept != row.password:
        await access.end_of_password(connection, row.id)
    users = await repository.users(connection, row.account_id)
    return next(user for user in users if user.id == row.id)


async def _stretched(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The password as it is kept."""
    password = given.get("password")
    if not isinstance(password, str) or not 0 < len(password) <= LONGEST_PASSWORD:
        return {}
    return {"password": await asyncio.to_thread(secrets.hashed, password)}


USERS = Resource(
    "users",
    "user",
    e.User,
    UserBody,
    _user,
    _add_user,
    _edit_user,
    repository.users,
    stretched=_stretched,
    more={"logs_in": YES_OR_NO},
)


# --- devices, trunks --------------------------------------------------------------------


def settings_of(body: DeviceConfig | TrunkConfig, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All keys but those that are columns, secrets as they are: those that a change keeps from ``before``."""
    data = body.model_dump(mode="python", by_alias=True, exclude={"name", "shared"})
    for name, value in data.items():
        if isinstance(value, SecretStr):
            told = value.get_secret_value()
            data[name] = str((before or {}).get(name, "")) if told == KEPT else told
    return data


def _without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "password"}


def _device(row: e.Device, _: Names) -> dict[str, Any]:
    return {"name": row.name, **_without_secrets(row.settings)}


async def _add_device(connection: AsyncConnection, account: str, body: DeviceConfig) -> e.Device:
    return await repository.add_device(connection, account, body.name, settings_of(body))


async def _edit_device(
    connection: AsyncConnection, account: str, row: e.Device, body: DeviceConfig, _: frozenset[str]
) -> e.Device:
    settings = settings_of(body, row.settings)
    return await repository.change(connection, e.Device, account, row.id, name=body.name, settings=settings)


def _trunk(row: e.Trunk, _: Names) -> dict[str, Any]:
    return {"name": row.name, "shared": row.shared, **_without_secrets(row.settings)}


_OF_OPERATORS = ("shared", "tls_ca", "tls_cert", "tls_key")
"""Keys of trunks by which calls of others come and go, or files of this machine are read."""


def _refuse_customers(account: str, body: TrunkConfig) -> None:
    """Raises :class:`ApiError` (403) for what only those who run the switch may have a trunk do."""
    for name in _OF_OPERATORS:
        if getattr(body, name) and account != DEFAULT_ACCOUNT:
            raise ApiError(403, "forbidden", f"{name}: only owners of the account default may set it", field=name)


async def _add_trunk(connection: AsyncConnection, account: str, body: TrunkConfig) -> e.Trunk:
    _refuse_customers(account, body)
    return await repository.add_trunk(connection, account, body.name, settings_of(body), shared=body.shared)


async def _edit_trunk(
    connection: AsyncConnection, account: str, row: e.Trunk, body: TrunkConfig, given: frozenset[str]
) -> e.Trunk:
    if given & set(_OF_OPERATORS):
        _refuse_customers(account, body)
    values = {"name": body.name, "shared": body.shared, "settings": settings_of(body, row.settings)}
    return await repository.change(connection, e.Trunk, account, row.id, **values)


_OF_ORIGIN = frozenset({"host", "outbound_proxy", "inbound", "register", "username", "numbers"})
"""Keys of trunks that say whose calls they bring."""


async def _judge_trunk(
    connection: AsyncConnection,
    account: str,
    body: TrunkConfig,
    free: AccountsConfig,
    row: e.Trunk | None,
    given: frozenset[str],
) -> None:
    if row is None or given & _OF_ORIGIN:
        await rights.refuse_trunk(connection, account, body, free, trunk_id=row.id if row is not None else "")


async def _judge_device(
    connection: AsyncConnection,
    _a: str,
    body: DeviceConfig,
    _f: AccountsConfig,
    row: e.Device | None,
    _g: frozenset[str],
) -> None:
    if row is None or row.name != body.name:
        await rights.refuse_device(connection, body.name)


def _all_of(kind: type[_Row]) -> Any:
    async def all_of(connection: AsyncConnection, account: str) -> list[_Row]:
        return await repository.all_of(connection, kind, account)

    return all_of


DEVICES = Resource(
    "devices",
    "device",
    e.Device,
    DeviceConfig,
    _device,
    _add_device,
    _edit_device,
    _all_of(e.Device),
    judge=_judge_device,
)
TRUNKS = Resource(
    "trunks", "trunk", e.Trunk, TrunkConfig, _trunk, _add_trunk, _edit_trunk, _all_of(e.Trunk), judge=_judge_trunk
)


# --- groups, extensions, numbers --------------------------------------------------------


def _group(row: e.Group, _: Names) -> dict[str, Any]:
    return {"name": row.name, "members": list(row.members)}


async def _add_group(connection: AsyncConnection, account: str, body: GroupBody) -> e.Group:
    return await repository.add_group(connection, account, body.name, body.members)


async def _edit_group(
    connection: AsyncConnection, account: str, row: e.Group, body: GroupBody, _: frozenset[str]
) -> e.Group:
    await repository.check_members(connection, account, body.members)
    return await repository.change(connection, e.Group, account, row.id, name=body.name, members=list(body.members))


GROUPS = Resource("groups", "group", e.Group, GroupBody, _group, _add_group, _edit_group, _all_of(e.Group))


def _number_told(row: e.Number, names: Names) -> dict[str, Any]:
    told = {"number": row.number, "flow": "", "record": row.record, "voice": row.voice}
    if row.callflow is None:
        return {**told, "flow": names.get(row.flow_id, row.flow_id)}
    return {**told, **{f"{PREFIX}{name}": value for name, value in row.callflow.items()}}


async def _flow_of(connection: AsyncConnection, account: str, body: NumberBody) -> str:
    """The id of the flow that a number is to have."""
    if bool(body.flow) == bool(body.callflow_url):
        raise ApiError(400, "bad_request", "one of flow and callflow_url is needed, and not both", field="flow")
    if (callflow := body.callflow()) is not None:
        return (await repository.save_callflow(connection, account, body.number, callflow)).flow.id
    return (await repository.get(connection, e.Flow, account, body.flow)).id


async def _add_number(connection: AsyncConnection, account: str, body: NumberBody) -> e.Number:
    flow, callflow = await _flow_of(connection, account, body), body.callflow()
    return await repository.add_number(
        connection, account, body.number, flow, record=body.record, voice=body.voice, callflow=callflow
    )


async def _edit_number(
    connection: AsyncConnection, account: str, row: e.Number, body: NumberBody, given: frozenset[str]
) -> e.Number:
    one, other = ("flow", "callflow_url") if "flow" in given else ("callflow_url", "flow")
    if one in given and other not in given:  # it takes the place of what was there before
        body = body.model_copy(update={other: ""})
    flow = await _flow_of(connection, account, body)
    values = {"flow_id": flow, "record": body.record, "voice": body.voice, "callflow": body.callflow()}
    changed = await repository.change(connection, e.Number, account, row.id, number=body.number, **values)
    await repository.drop_callflows(connection, account)
    return changed


async def _judge_number(
    connection: AsyncConnection,
    account: str,
    body: NumberBody,
    free: AccountsConfig,
    row: e.Number | None,
    _: frozenset[str],
) -> None:
    if row is None or row.number != body.number:
        await rights.refuse_number(connection, account, body.number, free)


NUMBERS = Resource(
    "numbers",
    "number",
    e.Number,
    NumberBody,
    _number_told,
    _add_number,
    _edit_number,
    _all_of(e.Number),
    (e.Flow,),
    judge=_judge_number,
)


def _extension(row: e.Extension, names: Names) -> dict[str, Any]:
    targets = {"user": row.user_id, "group": row.group_id, "flow": row.flow_id}
    return {"number": row.number, **{what: names.get(wanted or "", wanted) for what, wanted in targets.items()}}


async def _target(connection: AsyncConnection, account: str, body: ExtensionBody) -> dict[str, Any]:
    if sum(each is not None for each in (body.user, body.group, body.flow)) != 1:
        raise ApiError(400, "bad_request", "one of user, group and flow is needed, and no more", field="user")
    kinds: tuple[tuple[str, type[e.Owned], str | None], ...] = (
        ("user_id", e.User, body.user),
        ("group_id", e.Group, body.group),
        ("flow_id", e.Flow, body.flow),
    )
    return {
        column: (await repository.get(connection, kind, account, wanted)).id if wanted is not None else None
        for column, kind, wanted in kinds
    }


async def _add_extension(connection: AsyncConnection, account: str, body: ExtensionBody) -> e.Extension:
    return await repository.add_extension(connection, account, body.number, **await _target(connection, account, body))


async def _edit_extension(
    connection: AsyncConnection, account: str, row: e.Extension, body: ExtensionBody, given: frozenset[str]
) -> e.Extension:
    named = given & {"user", "group", "flow"}
    if named:  # another target takes the place of the one before
        body = body.model_copy(update=dict.fromkeys({"user", "group", "flow"} - named))
    target = await _target(connection, account, body)
    return await repository.change(connection, e.Extension, account, row.id, number=body.number, **target)


EXTENSIONS = Resource(
    "extensions",
    "extension",
    e.Extension,
    ExtensionBody,
    _extension,
    _add_extension,
    _edit_extension,
    _all_of(e.Extension),
    (e.User, e.Group, e.Flow),
)

RESOURCES: tuple[Resource[Any, Any], ...] = (USERS, DEVICES, GROUPS, EXTENSIONS, NUMBERS, TRUNKS)
