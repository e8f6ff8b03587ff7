"""The kinds of rows that an account has: what each is made of, and how it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import entities as e
from engine.accounts import repository, secrets
from engine.addresses import plain_number
from engine.api.guard import ApiError
from engine.api.own.resources import KEPT, Names, Resource
from engine.config import DeviceConfig, TrunkConfig

_Row = TypeVar("_Row")
_NAME = r"^[^\s/?#%\x00-\x1f\x7f][^/?#%\x00-\x1f\x7f]{0,63}$"

Name = Annotated[str, Field(pattern=_NAME)]
"""What stands in a path without being written otherwise."""


def _number(text: str) -> str:
    plain = plain_number(text)
    if not plain or len(plain) > 64 or any(char.isspace() or char in "/?#%" for char in plain.replace("#", "")):
        raise ValueError("must be a number, or the beginning of numbers with a * behind it")
    return plain


def _address(text: str) -> str:
    if text and ("@" not in text.strip("@") or any(char.isspace() for char in text)):
        raise ValueError("must be a mail address")
    return text.casefold()


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- users ------------------------------------------------------------------------------


class UserBody(_Body):
    """A person."""

    name: Name
    role: e.Role = "none"
    """What they may ask of the API: ``owner``, ``admin``, ``agent``, ``viewer`` or ``none``."""
    devices: Annotated[list[str], Field(max_length=100)] = []
    """Their telephones, by name, in order."""
    email: Annotated[str, Field(max_length=254), AfterValidator(_address)] = ""
    """By which they log in."""
    password: Annotated[str, Field(max_length=256)] = ""
    """Empty: they do not log in."""


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
    kept = row.password
    if "password" in given:
        kept = await asyncio.to_thread(secrets.hashed, body.password) if body.password else None
    await repository.set_login(connection, row.account_id, row.id, email=body.email, password=kept)
    users = await repository.users(connection, row.account_id)
    return next(user for user in users if user.id == row.id)


USERS = Resource("users", "user", e.User, UserBody, _user, _add_user, _edit_user, repository.users)


# --- devices, trunks --------------------------------------------------------------------


def _settings(body: DeviceConfig | TrunkConfig, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
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
    return await repository.add_device(connection, account, body.name, _settings(body))


async def _edit_device(
    connection: AsyncConnection, account: str, row: e.Device, body: DeviceConfig, _: frozenset[str]
) -> e.Device:
    settings = _settings(body, row.settings)
    return await repository.change(connection, e.Device, account, row.id, name=body.name, settings=settings)


def _trunk(row: e.Trunk, _: Names) -> dict[str, Any]:
    return {"name": row.name, "shared": row.shared, **_without_secrets(row.settings)}


async def _add_trunk(connection: AsyncConnection, account: str, body: TrunkConfig) -> e.Trunk:
    return await repository.add_trunk(connection, account, body.name, _settings(body), shared=body.shared)


async def _edit_trunk(
    connection: AsyncConnection, account: str, row: e.Trunk, body: TrunkConfig, _: frozenset[str]
) -> e.Trunk:
    values = {"name": body.name, "shared": body.shared, "settings": _settings(body, row.settings)}
    return await repository.change(connection, e.Trunk, account, row.id, **values)


def _all_of(kind: type[_Row]) -> Any:
    async def all_of(connection: AsyncConnection, account: str) -> list[_Row]:
        return await repository.all_of(connection, kind, account)

    return all_of


DEVICES = Resource("devices", "device", e.Device, DeviceConfig, _device, _add_device, _edit_device, _all_of(e.Device))
TRUNKS = Resource("trunks", "trunk", e.Trunk, TrunkConfig, _trunk, _add_trunk, _edit_trunk, _all_of(e.Trunk))


# --- groups, extensions, numbers --------------------------------------------------------


class GroupBody(_Body):
    """Users and devices that ring together."""

    name: Name
    members: Annotated[list[str], Field(max_length=1000)]
    """Names of users and devices."""


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


class NumberBody(_Body):
    """A number that can be called from outside."""

    number: Annotated[str, AfterValidator(_number)]
    """The number, or a prefix that ends in ``*``. Separators are ignored."""
    flow: str
    """The flow that runs on calls to it, by name or id."""
    record: bool = False
    """Record calls to it from the answer on."""
    voice: Annotated[str, Field(max_length=64)] = ""
    """Voice for text. Empty: ``speech.voice``."""


def _number_told(row: e.Number, names: Names) -> dict[str, Any]:
    return {"number": row.number, "flow": names.get(row.flow_id, row.flow_id), "record": row.record, "voice": row.voice}


async def _add_number(connection: AsyncConnection, account: str, body: NumberBody) -> e.Number:
    flow = await repository.get(connection, e.Flow, account, body.flow)
    return await repository.add_number(connection, account, body.number, flow.id, record=body.record, voice=body.voice)


async def _edit_number(
    connection: AsyncConnection, account: str, row: e.Number, body: NumberBody, _: frozenset[str]
) -> e.Number:
    flow = await repository.get(connection, e.Flow, account, body.flow)
    values = {"number": body.number, "flow_id": flow.id, "record": body.record, "voice": body.voice}
    return await repository.change(connection, e.Number, account, row.id, **values)


NUMBERS = Resource(
    "numbers", "number", e.Number, NumberBody, _number_told, _add_number, _edit_number, _all_of(e.Number), (e.Flow,)
)


class ExtensionBody(_Body):
    """A number within the account; one of ``user``, ``group`` and ``flow`` is needed."""

    number: Annotated[str, AfterValidator(_number)]
    user: str | None = None
    """The user who rings, by name or id."""
    group: str | None = None
    """The group that rings, by name or id."""
    flow: str | None = None
    """The flow that runs, by name or id."""


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
