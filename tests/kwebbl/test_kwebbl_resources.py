"""Extensions, numbers to show, subscriptions and placing calls: every sample of the document, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from kwebbl_kit import ALL, Office
from sqlalchemy import select

from engine.accounts import entities as e
from engine.api.kwebbl.agents import make_agents
from engine.api.kwebbl.events import BY_CLICK
from engine.store import Store
from engine.store.accounts import AuditEntry
from flows.graph import Perform
from flows.orders import Dial

CALLBACK = "http://example.com/callback"


# --- extensions ---------------------------------------------------------------------------


async def test_users_and_dialplans_are_extensions(office: Office) -> None:
    token, own = await office.token("bob"), office.own
    status, found = await office.ask("GET", "/extensions", token)
    assert status == 200
    assert found == [
        {"id": own.extensions["201"], "name": "ada", "number": "201", "type": "user"},
        {"id": own.extensions["202"], "name": "bob", "number": "202", "type": "user"},
        {"id": own.extensions["300"], "name": "sales", "number": "300", "type": "dialplan"},
        {
            "id": own.extensions["400"],
            "name": "Reception",
            "number": "400",
            "type": "dialplan",
            "external_number": "31101000400",
        },
        {
            "id": own.numbers["Night"],
            "name": "Night",
            "number": "31101000500",
            "type": "dialplan",
            "external_number": "31101000500",
        },
    ]
    for each in found:
        assert await office.ask("GET", f"/extensions/{each['id']}", token) == (200, each)


async def test_a_scope_shows_what_it_is_for(office: Office) -> None:
    for scope, kind, other in (("company.users", "user", "400"), ("company.dialplans", "dialplan", "201")):
        token = await office.token("bob", scope)
        _, found = await office.ask("GET", "/extensions", token)
        assert {each["type"] for each in found} == {kind}
        status, error = await office.ask("GET", f"/extensions/{office.own.extensions[other]}", token)
        assert (status, error["error_code"]) == (403, "access_denied")


async def test_a_number_to_show_is_chosen(office: Office) -> None:
    own = office.own
    ada, bob = await office.token("ada"), await office.token("bob")
    path = f"/extensions/{own.extensions['202']}"
    status, numbers = await office.ask("GET", f"{path}/multiple_caller_ids", bob)
    assert (status, numbers) == (
        200,
        [
            {"caller_id": own.numbers["Reception"], "caller_number": "31101000400"},
            {"caller_id": own.numbers["Night"], "caller_number": "31101000500"},
        ],
    )
    for token, wanted in ((bob, own.numbers["Night"]), (ada, own.numbers["Reception"])):
        answer = await office.ask("PUT", f"{path}/caller_id", token, {"caller_id": wanted})
        assert answer == (200, {"extension_id": own.extensions["202"], "caller_id": wanted})
    refused = await office.ask("PUT", f"/extensions/{own.extensions['201']}/caller_id", bob, {"caller_id": wanted})
    assert (refused[0], refused[1]["error_code"]) == (403, "access_denied")
    cases: list[tuple[str, Any]] = [
        (own.extensions["202"], {"caller_id": office.other.numbers["Night"]}),
        (own.extensions["202"], {"caller_id": 5}),
        (own.extensions["202"], {}),
        (own.extensions["202"], []),
        (own.extensions["400"], {"caller_id": wanted}),
    ]
    for extension, body in cases:
        status, error = await office.ask("PUT", f"/extensions/{extension}/caller_id", ada, body)
        assert (status, error["error_code"]) == (400, "validation"), body
    readers = await office.token("bob", "company.dialplans")
    assert (await office.ask("PUT", f"{path}/caller_id", readers, {"caller_id": wanted}))[0] == 403
    assert await _audited(office.store, "caller id chosen") == 2


async def _audited(store: Store, action: str) -> int:
    table = AuditEntry.__table__
    async with store.reading() as connection:
        return len((await connection.execute(select(table.c.id).where(table.c.action == action))).all())


# --- subscriptions ------------------------------------------------------------------------


async def test_the_samples_of_subscriptions(office: Office) -> None:
    token = await office.token("ada")
    everything = {"event_types": ["*"], "mode": "detailed", "callback_url": CALLBACK}
    status, made = await office.ask("POST", "/subscriptions", token, everything)
    assert status == 201
    anybody = {"field": "*", "extension_id": "*", "number": "*"}
    assert made == {
        "id": made["id"],
        "event_types": ["*"],
        "agents": [anybody],
        "mode": "detailed",
        "callback_url": CALLBACK,
        "callback_content_type": "application/json",
        "status": "active",
        "failures": 0,
        "last_error": None,
    }
    assert len(made["id"]) == 32
    status, least = await office.ask("POST", "/subscriptions", token, {"callback_url": CALLBACK})
    assert (least["event_types"], least["mode"], least["agents"]) == (
        ["created", "ringing", "answered", "terminated"],
        "presence",
        [anybody],
    )
    narrow = {
        "id": "f" * 32,
        "event_types": ["created", "terminated"],
        "mode": "presence",
        "agents": [{"field": "from", "number": "001"}],
        "callback_url": CALLBACK,
        "callback_content_type": "application/json",
    }
    status, third = await office.ask("POST", "/subscriptions", token, narrow)
    assert (status, third["agents"]) == (201, [{"field": "from", "extension_id": "*", "number": "001"}])
    assert third["id"] != "f" * 32, "an id in the body is ignored"
    assert await office.ask("GET", "/subscriptions", token) == (200, [made, least, third])
    assert await office.ask("GET", f"/subscriptions/{third['id']}", token) == (200, third)
    assert await office.ask("DELETE", f"/subscriptions/{third['id']}", token) == (200, {"ok": True})
    for method in ("GET", "DELETE"):
        status, error = await office.ask(method, f"/subscriptions/{third['id']}", token)
        assert (status, error["error_code"]) == (404, "entity_not_exist")


async def test_notes_about_agents_and_spellings(office: Office) -> None:
    token, own = await office.token("ada"), office.own
    agents: list[dict[str, Any]] = [
        {"field": "to"},
        {"field": "from", "extension_id": own.extensions["201"], "number": "202"},
        {"number": 202},
        {},
    ]
    kinds = ["start-recording", "stop_recording", "resumed", "resume", "bridged"]
    body = {"events": kinds, "agents": agents, "callback_url": CALLBACK}
    status, made = await office.ask("POST", "/subscriptions", token, body)
    assert status == 201
    assert made["event_types"] == ["start_recording", "stop_recording", "resume", "bridged"]
    assert made["agents"] == [
        {"field": "*", "extension_id": "*", "number": "*"},
        {"field": "from", "extension_id": own.extensions["201"], "number": "*"},
        {"field": "*", "extension_id": "*", "number": "202"},
        {"field": "*", "extension_id": "*", "number": "*"},
    ]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"callback_url": None}, "callback_url"),
        ({"callback_url": ""}, "callback_url"),
        ({"callback_url": "example.com/callback"}, "callback_url"),
        ({"callback_url": "ftp://example.com/"}, "callback_url"),
        ({"callback_url": "http://0.0.0.0/"}, "callback_url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["created", "sung"]}, "event_types[1]"),
        ({"event_types": "created"}, "event_types"),
        ({"mode": "loud"}, "mode"),
        ({"callback_content_type": "text/xml"}, "callback_content_type"),
        ({"agents": {}}, "agents"),
        ({"agents": [{"field": "via"}]}, "agents[0].field"),
        ({"agents": [{}, {"number": "12"}]}, "agents[1].number"),
        ({"agents": [{"number": True}]}, "agents[0].number"),
        ({"agents": [{"extension_id": "f" * 32}]}, "agents[0].extension_id"),
        ({"agents": [{"extension_id": 1}]}, "agents[0].extension_id"),
        ({"agents": [{"extension_ld": "f" * 32}]}, "agents[0].extension_ld"),
        ({"agents": [{}] * 101}, "agents"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_bad_subscription_names_the_field(office: Office, changed: dict[str, Any], field: str) -> None:
    token = await office.token("ada", "calls.events")
    body = {"callback_url": CALLBACK, **changed}
    status, error = await office.ask("POST", "/subscriptions", token, body)
    assert (status, error["status_code"], error["error_code"]) == (400, 400, "validation")
    assert error["message"].startswith(f"{field}: ")


async def test_a_sample_that_is_no_json_is_refused(office: Office) -> None:
    token = await office.token("ada", "calls.events")
    body = '{"event_types": ["created"], "callback_url": "http://example.com/callback",}'
    headers = {"Authorization": f"Bearer {token}"}
    async with office.http.post(f"{office.url}/v100/subscriptions", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "line 1" in (await answer.json())["message"]
    async with office.http.post(f"{office.url}/v100/subscriptions", data=b"x" * 1048577, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (413, "too_large")


async def test_scopes_say_how_far_a_subscription_reaches(office: Office) -> None:
    own = office.own
    presence = await office.token("bob", "calls.events.presence")
    detailed = {"mode": "detailed", "callback_url": CALLBACK}
    for body in (detailed, {"event_types": ["bridged"], "callback_url": CALLBACK}):
        assert (await office.ask("POST", "/subscriptions", presence, body))[0] == 403
    assert (await office.ask("POST", "/subscriptions", presence, {"callback_url": CALLBACK}))[0] == 201
    personal = await office.token("bob", "calls.events.personal")
    status, made = await office.ask("POST", "/subscriptions", personal, detailed)
    assert (status, made["agents"]) == (201, [{"field": "*", "extension_id": own.extensions["202"], "number": "*"}])
    own_number = {**detailed, "agents": [{"field": "to", "number": "202"}]}
    assert (await office.ask("POST", "/subscriptions", personal, own_number))[0] == 201
    for agent in ({"number": "201"}, {"number": "*"}, {"extension_id": own.extensions["201"]}, {}):
        status, error = await office.ask(
            "POST", "/subscriptions", personal, {**detailed, "agents": [{"number": "202"}, agent]}
        )
        assert (status, error["error_code"]) == (403, "access_denied"), agent
    nowhere = await office.token("eve", "calls.events.personal")
    assert (await office.ask("POST", "/subscriptions", nowhere, detailed))[0] == 400


async def test_whose_subscriptions_are_seen(office: Office) -> None:
    bob = await office.token("bob", "calls.events.presence")
    _, made = await office.ask("POST", "/subscriptions", bob, {"callback_url": CALLBACK})
    eve = await office.token("eve", "calls.events.presence")
    ada = await office.token("ada", "calls.events")
    assert await office.ask("GET", "/subscriptions", eve) == (200, [])
    assert await office.ask("GET", "/subscriptions", ada) == (200, [made])
    assert (await office.ask("DELETE", f"/subscriptions/{made['id']}", eve))[0] == 404
    assert (await office.ask("DELETE", f"/subscriptions/{made['id']}", ada))[0] == 200


# --- calls --------------------------------------------------------------------------------


def _dial(flow: Any) -> Dial:
    (step,) = flow.graph.steps.values()
    assert isinstance(step, Perform)
    assert isinstance(step.order, Dial)
    return step.order


async def test_a_user_is_rung_and_talks_with_the_other(office: Office) -> None:
    own = office.own
    token = await office.token("bob")
    night = {"caller_id": own.numbers["Night"]}
    assert (await office.ask("PUT", f"/extensions/{own.extensions['202']}/caller_id", token, night))[0] == 200
    assert await office.ask("POST", "/calls", token, {"to": {"number": "+31203080700"}}) == (202, None)
    account, wish, flow = office.originator.calls.pop()
    assert (account, wish.to, wish.caller.number, wish.source) == ("own", "bob", "+31203080700", f"{BY_CLICK}bob")
    order = _dial(flow)
    assert [(each.kind, each.value) for each in order.targets] == [("number", "+31203080700")]
    assert order.caller_id == "31101000500", "the number that bob chose to show"
    body = {"from": {"extension_id": own.extensions["202"]}, "to": {"extension_id": own.extensions["201"]}}
    assert (await office.ask("POST", "/calls", token, body))[0] == 202
    _, wish, flow = office.originator.calls.pop()
    order = _dial(flow)
    assert (wish.to, wish.caller.number, order.caller_id) == ("bob", "201", "202")
    assert [(each.kind, each.value) for each in order.targets] == [("user", "ada")]


async def test_calls_of_dialplans_are_turned_round(office: Office) -> None:
    token = await office.token("ada")
    for caller, callee, rung in (
        ("400", "202", "bob"),
        ("202", "400", "bob"),
        ("400", "+31203080700", "+31203080700"),
        ("+31203080700", "31101000400", "+31203080700"),
    ):
        body = {"from": {"number": caller}, "to": {"number": callee}}
        assert (await office.ask("POST", "/calls", token, body))[0] == 202
        _, wish, _ = office.originator.calls.pop()
        assert wish.to == rung
    assert (await office.ask("POST", "/calls", token, {"from": {"number": "300"}, "to": {"number": "202"}}))[0] == 202
    _, wish, flow = office.originator.calls.pop()
    assert (wish.to, [each.value for each in _dial(flow).targets]) == ("bob", ["sales"])


async def test_calls_that_are_not_placed(office: Office) -> None:
    ada, bob, eve = [await office.token(user) for user in ("ada", "bob", "eve")]
    own, other = office.own.extensions, office.other.extensions
    cases: list[tuple[str, Any, int, str]] = [
        (ada, {"from": {"number": "+31201111111"}, "to": {"number": "+31203080700"}}, 400, "two external numbers"),
        (ada, {"from": {"number": "400"}, "to": {"number": "300"}}, 400, "dialplan"),
        (ada, {"from": {"number": "201"}, "to": {"extension_id": own["201"]}}, 400, "the same"),
        (ada, {"from": {"number": "201"}}, 400, "to: is required"),
        (ada, {"to": {}}, 400, "to: number or extension_id"),
        (ada, {"to": {"number": "20"}}, 400, "to.number"),
        (ada, {"to": {"number": "sip:x@y"}}, 400, "to.number"),
        (ada, {"to": {"extension_id": other["201"]}}, 400, "to.extension_id"),
        (ada, {"to": "202"}, 400, "to: must be a JSON object"),
        (ada, {"to": {"number": "202", "trunk": "x"}}, 400, "to.trunk"),
        (ada, [], 400, "the body"),
        (bob, {"from": {"number": "201"}, "to": {"number": "202"}}, 403, "calls.create.personal"),
        (bob, {"from": {"number": "400"}, "to": {"number": "202"}}, 403, "calls.create.personal"),
        (eve, {"to": {"number": "202"}}, 400, "no extension"),
    ]
    for token, body, status, text in cases:
        found, error = await office.ask("POST", "/calls", token, body)
        assert (found, error["status_code"]) == (status, status), body
        assert text in error["message"], body
    assert office.originator.calls == []


async def test_another_company_is_not_there(office: Office) -> None:
    stranger = await office.token("ada", ALL, office.other)
    token, own = await office.token("ada"), office.own
    _, made = await office.ask("POST", "/subscriptions", token, {"callback_url": CALLBACK})
    extension, call = own.extensions["201"], "0123456789ab-0123456789ab"
    missing = "f" * 32
    for method, path, of_own, of_nobody in (
        ("GET", "/extensions/{}", extension, missing),
        ("GET", "/extensions/{}/multiple_caller_ids", extension, missing),
        ("PUT", "/extensions/{}/caller_id", extension, missing),
        ("GET", "/subscriptions/{}", made["id"], missing),
        ("DELETE", "/subscriptions/{}", made["id"], missing),
        ("POST", "/calls/{}/terminate", call, call),
    ):
        body = {"caller_id": own.numbers["Night"]} if method == "PUT" else None
        found = await office.ask(method, path.format(of_own), stranger, body)
        assert found[0] == 404, (method, path)
        assert found == await office.ask(method, path.format(of_nobody), stranger, body) or path.startswith("/calls")
    for path in ("/extensions", "/subscriptions"):
        _, seen = await office.ask("GET", path, stranger)
        assert not {each["id"] for each in seen} & {extension, made["id"], *own.numbers.values()}
    for agent in ({"extension_id": extension}, {"extension_id": missing}):
        body = {"agents": [agent], "callback_url": CALLBACK}
        status, error = await office.ask("POST", "/subscriptions", stranger, body)
        assert (status, error["message"]) == (400, "agents[0].extension_id: there is no such extension")


def test_an_extension_whose_user_is_just_going_is_left_out() -> None:
    gone = e.Extension("1" * 32, "own", "api", 1.0, "201", "nobody", None, None)
    number = e.Number("2" * 32, "own", "api", 1.0, "+31101", "no-flow", record=False, voice="")
    agents = make_agents({}, {}, {}, [gone], [number])
    assert (agents.extensions, agents.numbers, agents.by_number("201")) == ((), (), None)
