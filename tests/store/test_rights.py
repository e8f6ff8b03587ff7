"""What customers may take for themselves: numbers and addresses that are assigned to them, and nothing of others."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from test_api_requests import House, either, house  # noqa: F401 - fixtures

from engine.accounts import repository, rights, secrets
from engine.accounts.entities import Account, Number
from engine.store.accounts import DEFAULT_ACCOUNT

LINE = {"name": "line", "host": "192.0.2.9"}


def told(answer: tuple[int, str]) -> tuple[int, str, str]:
    """Status, code and field of a refusal; of anything else the status."""
    status, text = answer
    error = json.loads(text).get("error", {}) if text else {}
    return status, error.get("code", ""), error.get("field", "")


@pytest.mark.parametrize(
    ("assigned", "number", "covered"),
    [
        ("+39011*", "+390115550100", True),
        ("+39011*", "+39011*", True),
        ("+39011*", "+3901*", False),
        ("+39011", "+39011", True),
        ("+39011", "+39011*", False),
        ("*", "+1*", True),
    ],
)
def test_what_an_assignment_covers(assigned: str, number: str, covered: bool) -> None:
    assert rights.covers(assigned, number) == covered


def test_the_longest_assignment_counts() -> None:
    wide, narrow = Account("a", "a", assigned_numbers=("+39*",)), Account("b", "b", assigned_numbers=("+39011*",))
    assert rights.assignee("+3902", [wide, narrow]) == ("a",)
    assert rights.assignee("+390115", [wide, narrow]) == ("b",)
    assert rights.assignee("+44", [wide, narrow]) == ()


async def test_numbers_are_taken_by_assignment(either: House) -> None:  # noqa: F811
    house, owner, operator = either, either.bearer("other"), either.bearer()  # noqa: F811

    async def take(number: str, who: str = owner, **more: Any) -> tuple[int, str, str]:
        return told(await house.ask("POST", "/api/v1/numbers", who, json={"number": number, "flow": "f", **more}))

    async def assign(account: str, **keys: Any) -> tuple[int, str, str]:
        return told(await house.ask("PATCH", f"/api/v1/accounts/{account}", operator, json=keys))

    for who in (owner, operator):
        flow = {"name": "f", "document": {"_": "Hello"}}
        async with house.store.writing() as connection:
            account = "other" if who == owner else DEFAULT_ACCOUNT
            await repository.save_flow(connection, account, flow["name"], json.dumps(flow["document"]))
    assert await take("+39 011 5550100") == (403, "not_assigned", "number")
    assert (await take("+390115550100", operator))[0] == 201, "who runs the switch takes what is free"
    assert (await assign("other", assigned_numbers=["+39 011 555*", "100"], assigned_addresses=["192.0.2.7/24"]))[
        0
    ] == 200
    status, text = await house.ask("GET", "/api/v1/account", owner)
    mine = json.loads(text)
    assert (mine["assigned_numbers"], mine["assigned_addresses"]) == (["+39011555*", "100"], ["192.0.2.0/24"])
    assert await take("+390115550100") == (409, "taken", ""), "assigned, but somebody has it"
    assert (await take("+390115550101"))[0] == 201
    assert (await take("100"))[0] == 201
    assert [await take(each) for each in ("101", "+39*", "*")] == [(403, "not_assigned", "number")] * 3
    changed = await house.ask("PATCH", "/api/v1/numbers/100", owner, json={"number": "+3902"})
    assert told(changed) == (403, "not_assigned", "number")
    assert (await assign("other", assigned_numbers=[]))[0] == 200
    for change in ({"record": True}, {"number": "1-0-0"}):
        status, _ = await house.ask("PATCH", "/api/v1/numbers/100", owner, json=change)
        assert status == 200, "what it has it may go on changing"
    for wrong in ({"assigned_numbers": ["a b/"]}, {"assigned_addresses": ["pbx.example"]}):
        assert (await assign("other", **wrong))[0] == 400
    status, text = await house.ask("PATCH", "/api/v1/account", owner, json={"assigned_numbers": ["*"]})
    assert status in (404, 405)


async def test_free_numbers_are_for_all_where_that_is_configured(house: House) -> None:  # noqa: F811
    free = rights.AccountsConfig(free_numbers=True)
    async with house.store.writing() as connection:
        await repository.change_account(connection, DEFAULT_ACCOUNT, name="default", assigned_numbers=["+44*"])
        await rights.refuse_number(connection, "other", "+39011", free)
        with pytest.raises(rights.NotAssigned):
            await rights.refuse_number(connection, "other", "+44163", free)
        with pytest.raises(rights.NotAssigned):
            await rights.refuse_number(connection, "other", "+39011", rights.AccountsConfig())


async def test_the_other_apis_keep_to_it(house: House) -> None:  # noqa: F811
    """MessageBird's numbers and Verboice's channels, in their own words."""
    async with house.store.writing() as connection:
        owner = next(each for each in await repository.users(connection, "other") if each.role == "owner")
        kept = secrets.hashed("correct horse")
        await repository.set_login(connection, "other", owner.id, email="o@example.com", password=kept)
        document = {"title": "t", "steps": [{"id": "1", "action": "pause", "options": {"length": 1}}]}
        saved = await repository.save_flow(connection, "other", "t", json.dumps(document), dialect="messagebird")
    key = f"AccessKey {house.tokens['other']['access_key']}"
    path = f"/v1/call-flows/{saved.flow.id}/numbers"
    status, text = await house.ask("POST", path, key, json={"numbers": ["390115550100"]})
    assert (status, "cannot be had" in text) == (400, True), text
    async with house.store.reading() as connection:
        assert await repository.all_of(connection, Number, "other") == []
    basic = "Basic " + base64.b64encode(b"o@example.com:correct horse").decode()
    channel: dict[str, Any] = {"name": "c", "config": {"domain": "192.0.2.9", "username": "u", "password": "p"}}
    status, text = await house.ask("POST", "/api/channels.json", basic, json=channel)
    assert (status, list(json.loads(text)["properties"][0])) == (200, ["direction"]), text
    for name, more in (("out", {"direction": "outbound"}), ("line", {"register": "1"})):
        config = {**channel["config"], **more}
        status, text = await house.ask("POST", "/api/channels.json", basic, json={"name": name, "config": config})
        made = json.loads(text)
        assert made["config"]["direction"] == more.get("direction", "both"), text


async def test_trunks_are_known_by_addresses_that_are_assigned(either: House) -> None:  # noqa: F811
    house, owner, operator = either, either.bearer("other"), either.bearer()  # noqa: F811

    async def make(who: str = owner, **keys: Any) -> tuple[int, str, str]:
        answer = await house.ask("POST", "/api/v1/trunks", who, json={**LINE, **keys})
        return told(answer)

    me = {"username": "acme", "password": "x"}
    assert await make() == (403, "not_assigned", "inbound")
    assert (await make(name="out", inbound="none"))[0] == 201
    assert (await make(name="registered", register=True, **me))[0] == 201
    assert (await make(name="proving", inbound="digest", **me))[0] == 201
    assert (await make(operator, name="any"))[0] == 201
    change = await house.ask("PATCH", "/api/v1/trunks/out", owner, json={"inbound": "address"})
    assert told(change) == (403, "not_assigned", "inbound")
    rows = {"assigned_addresses": ["192.0.2.0/28"]}
    assert (await house.ask("PATCH", "/api/v1/accounts/other", operator, json=rows))[0] == 200
    assert (await make(name="in"))[0] == 201
    assert (await make(name="named", host="pbx.example"))[0] == 201, "judged by what the name stands for, call by call"
    assert await make(name="elsewhere", host="198.51.100.1") == (403, "not_assigned", "host")
    assert await make(name="behind", outbound_proxy="198.51.100.1") == (403, "not_assigned", "outbound_proxy")
    async with house.store.writing() as connection:
        flow = (await repository.save_flow(connection, DEFAULT_ACCOUNT, "f", '{"_": "Hello"}')).flow
        await repository.add_number(connection, DEFAULT_ACCOUNT, "+39011*", flow.id)
    assert await make(name="thief", numbers=["1", "+39 011 55"]) == (409, "taken", "")
    change = await house.ask("PATCH", "/api/v1/trunks/in", owner, json={"numbers": ["+3901155"]})
    assert told(change) == (409, "taken", "")
    assert (await house.ask("PATCH", "/api/v1/trunks/in", owner, json={"numbers": ["+3902"]}))[0] == 200


async def test_nobody_proves_themselves_by_the_name_of_somebody_else(house: House) -> None:  # noqa: F811
    owner, operator = house.bearer("other"), house.bearer()
    me = {"username": "acme", "password": "x", "inbound": "digest"}

    async def make(kind: str, who: str, **keys: Any) -> int:
        return (await house.ask("POST", f"/api/v1/{kind}", who, json=keys))[0]

    assert await make("trunks", operator, **LINE, **me) == 201
    assert await make("trunks", owner, **LINE, **me) == 409
    assert await make("devices", owner, name="acme", password="x") == 409
    assert await make("devices", owner, name="desk", password="x") == 201
    assert await make("trunks", operator, **{**LINE, "name": "two"}, **{**me, "username": "desk"}) == 409
    assert (await house.ask("PATCH", "/api/v1/trunks/line", operator, json={"username": "acme"}))[0] == 200
    assert (await house.ask("PATCH", "/api/v1/devices/desk", owner, json={"name": "acme"}))[0] == 409
