"""The configuration as an import: the same every time, what it made before goes with it, what others made stays."""

from __future__ import annotations

from typing import Any

import pytest

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.importing import conflicts_of, import_file
from engine.config import Config
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT

HOUSE: dict[str, Any] = {
    "numbers": [{"number": "10-00", "flow": "/f/a.json"}, {"number": "2000", "flow": "/g/a.json", "record": True}],
    "devices": [{"name": "desk", "password": "x"}, {"name": "mobile", "password": "y"}],
    "users": [{"name": "anna", "devices": ["mobile", "desk"], "role": "agent"}],
    "groups": [{"name": "all", "members": ["anna", "desk"]}],
    "extensions": [{"number": "201", "user": "anna"}, {"number": "202", "group": "all"}],
    "trunks": [{"name": "out", "host": "192.0.2.1", "password": "z", "username": "u", "shared": True}],
}
TEXTS = {"/f/a.json": "one", "/g/a.json": "two", "/h.json": "three"}
KINDS: list[type[e.Owned]] = [e.User, e.Device, e.Group, e.Flow, e.Number, e.Extension, e.Trunk]


async def take(store: Store, texts: dict[str, str] = TEXTS, **changed: Any) -> tuple[str, ...]:
    async with store.writing() as connection:
        return await import_file(connection, Config.given({**HOUSE, **changed}), texts)


async def everything(store: Store) -> dict[str, list[Any]]:
    async with store.reading() as connection:
        found = {kind.__name__: await repository.all_of(connection, kind, DEFAULT_ACCOUNT) for kind in KINDS}
        return {**found, "users": await repository.users(connection, DEFAULT_ACCOUNT)}


async def test_the_same_file_changes_nothing(store: Store) -> None:
    await store.migrate()
    await take(store)
    first = await everything(store)
    await take(store)
    assert await everything(store) == first
    assert [(each.name, each.devices, each.role) for each in first["users"]] == [("anna", ("mobile", "desk"), "agent")]
    assert sorted((each.name, each.source, each.version) for each in first["Flow"]) == [
        ("/g/a.json", "/g/a.json", 1),
        ("a.json", "/f/a.json", 1),
    ]
    assert sorted((each.number, each.record) for each in first["Number"]) == [("1000", False), ("2000", True)]
    (trunk,) = first["Trunk"]
    assert (trunk.shared, trunk.settings["password"], trunk.settings["register"]) == (True, "z", False)
    assert all(row.origin == "file" for kind in KINDS for row in first[kind.__name__])


async def test_what_the_file_changes_and_drops(store: Store) -> None:
    await store.migrate()
    await take(store)
    before = await everything(store)
    await take(
        store,
        {**TEXTS, "/f/a.json": "changed"},
        numbers=[{"number": "1000", "flow": "/f/a.json", "voice": "ro"}],
        users=[{"name": "anna", "devices": ["desk"]}],
        devices=[{"name": "desk", "password": "new"}],
        groups=[],
        extensions=[{"number": "201", "flow": "/h.json"}],
        trunks=[],
    )
    after = await everything(store)
    assert [(each.name, each.version) for each in after["Flow"]] == [("a.json", 2), ("h.json", 1)]
    assert [each.id for each in after["Number"]] == [each.id for each in before["Number"] if each.number == "1000"]
    assert [(each.devices, each.role) for each in after["users"]] == [(("desk",), "none")]
    assert [each.settings["password"] for each in after["Device"]] == ["new"]
    assert (after["Group"], after["Trunk"]) == ([], [])
    assert [each.user_id for each in after["Extension"]] == [None]


async def test_what_was_made_otherwise_stays(store: Store) -> None:
    await store.migrate()
    await take(store)
    async with store.writing() as connection:
        await repository.add_device(connection, DEFAULT_ACCOUNT, "fax", {"password": "x"})
        flow = await repository.get(connection, e.Flow, DEFAULT_ACCOUNT, "/g/a.json")
        await repository.add_number(connection, DEFAULT_ACCOUNT, "3000", flow.id)
        anna = await repository.get(connection, e.User, DEFAULT_ACCOUNT, "anna")
        await repository.add_extension(connection, DEFAULT_ACCOUNT, "299", user_id=anna.id)
    await take(store, numbers=[], users=[], groups=[], extensions=[], devices=[])
    after = await everything(store)
    assert [each.name for each in after["Device"]] == ["fax"]
    assert [each.number for each in after["Number"]] == ["3000"]
    assert [each.name for each in after["Flow"]] == ["/g/a.json"], "a number that was made otherwise uses it"
    assert [each.name for each in after["User"]] == ["anna"]
    assert [each.number for each in after["Extension"]] == ["299"]


@pytest.mark.parametrize(
    ("section", "row", "complaint"),
    [
        ("numbers", {"number": "3000", "flow": "/h.json"}, "numbers: '3000': is there already"),
        ("devices", {"name": "fax", "password": "x"}, "devices: 'fax': is there already"),
        ("users", {"name": "bert", "devices": ["nothing"]}, "users: 'bert': there is no device 'nothing'"),
        ("groups", {"name": "some", "members": ["nobody"]}, "groups: 'some': there is no user or device 'nobody'"),
        ("extensions", {"number": "203", "user": "nobody"}, "extensions: '203': there is no user 'nobody'"),
    ],
)
async def test_what_cannot_be_imported_is_told_and_the_rest_is(
    store: Store, section: str, row: dict[str, Any], complaint: str
) -> None:
    await store.migrate()
    await take(store)
    async with store.writing() as connection:
        other = await repository.add_account(connection, "other")
        await repository.add_device(connection, other.id, "fax", {})
        flow = (await repository.save_flow(connection, other.id, "f", "x")).flow
        await repository.add_number(connection, other.id, "3000", flow.id)
    before = await everything(store)
    extension = {"number": "299", "user": "anna"}
    changed: dict[str, Any] = {section: [*HOUSE[section], row]}
    changed["extensions"] = [*changed.get("extensions", HOUSE["extensions"]), extension]
    told = await conflicts_of(store, Config.given({**HOUSE, **changed}), TEXTS)
    assert await everything(store) == before, "nothing was changed by looking"
    assert await take(store, **changed) == told
    (conflict,) = told
    assert conflict.startswith(complaint)
    after = await everything(store)
    assert {each.number for each in after["Extension"]} == {"201", "202", "299"}
    for kind in ("Number", "Device", "Trunk"):
        assert after[kind] == before[kind]
    assert await take(store) == (), "it is one no more when the file does not say it"
