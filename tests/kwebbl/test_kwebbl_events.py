"""Events: made of what the journal says, for those who subscribed; and the patience with those who never listen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kwebbl_kit import Company, Office, Template, office_in
from sqlalchemy import select

from engine.api.kwebbl import callids
from engine.api.kwebbl.events import BY_CLICK
from engine.callbacks import records
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.outbox import PLANS, Outcome, Parcel
from engine.callbacks.writer import Writer
from engine.store.models import Delivery

CALL, OTHER = "4a2bcad2c4b9e70a" * 2, "b" * 32
CALLBACK = "http://example.com/callback"


async def told(office: Office, folder: Path, *happened: records.Record) -> list[dict[str, Any]]:
    """What the outbox owes after ``happened``, in order."""
    journal = Journal.open(folder / "journal")
    announcements: Announcements = office.services.callbacks.announcements
    writer = Writer(journal, office.store, announcements=announcements)
    for record in happened:
        journal.append(record)
    while await writer._step():
        pass
    journal.close()
    async with office.store.reading() as connection:
        rows = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id))).mappings().all()
    assert {(row["content_type"], row["plan"], row["any_certificate"]) for row in rows} <= {
        ("application/json", "short", True)
    }
    return [{"url": row["url"], **json.loads(row["body"])} for row in rows]


async def subscribed(office: Office, user: str = "ada", **wanted: Any) -> dict[str, Any]:
    token = await office.token(user)
    body = {"event_types": ["*"], "mode": "detailed", "callback_url": CALLBACK, **wanted}
    status, made = await office.ask("POST", "/subscriptions", token, body)
    assert status == 201, made
    return dict(made)


def from_outside(to: str = "+31101000400", **more: Any) -> records.CallStarted:
    return records.CallStarted(
        1472565726.435, call=CALL, caller="31101111111", callee=to, source="carrier", account="own", **more
    )


def of_leg(company: Company, at: float = 10.0) -> list[records.Record]:
    """A telephone of bob's is dialled for the call and talks."""
    leg = f"{CALL}-leg1"
    return [
        records.CallAnswered(1472565726.5, call=CALL),
        records.LegStarted(1472565727.0, call=CALL, leg=leg, to=f"{company.account}-bob"),
        records.LegAnswered(1472565728.0, call=CALL, leg=leg, dialog={"x": 1}),
        records.LegFinished(1472565729.0, call=CALL, leg=leg, by="remote", reason="hung up", sip_status=200),
        records.CallFinished(
            1472565730.635, call=CALL, by="caller", reason="hung up", sip_status=200, cause="NORMAL_CLEARING"
        ),
    ]


async def test_a_call_from_outside_through_a_dialplan_to_a_user(office: Office, tmp_path: Path) -> None:
    await subscribed(office)
    own = office.own.extensions
    events = await told(office, tmp_path, from_outside(), *of_leg(office.own))
    assert [event["event_type"] for event in events] == [
        "created", "answered", "created", "answered", "terminated", "terminated"
    ]  # fmt: skip
    first = events[0]
    assert first == {
        "url": CALLBACK,
        "id": first["id"],
        "event_type": "created",
        "call_id": "4a2bcad2c4b9-e70a4a2bcad2",
        "from": {"number": "31101111111", "caller_id": "31101111111"},
        "to": {"number": "+31101000400", "extension_id": own["400"]},
        "direction": "inbound",
        "time": "2016-08-30T14:02:06.435Z",
    }
    leg = events[2]
    assert (leg["from"], leg["direction"]) == (first["from"], "outbound")
    assert leg["to"] == {"number": "202", "extension_id": own["202"]}
    assert leg["via"] == {"number": "+31101000400", "extension_id": own["400"]}
    assert leg["call_id"] == callids.of_leg(CALL, f"{CALL}-leg1") != first["call_id"]
    assert (events[4]["reason"], events[5]["reason"]) == ("hangup", "hangup")
    assert len({event["id"] for event in events}) == len(events)


async def test_presence_says_less(office: Office, tmp_path: Path) -> None:
    await subscribed(office, mode="presence", event_types=["created", "terminated"])
    events = await told(office, tmp_path, from_outside(), *of_leg(office.own))
    assert [event["event_type"] for event in events] == ["created", "created", "terminated", "terminated"]
    for event in events:
        assert "via" not in event
        assert "caller_id" not in json.dumps(event)
    assert events[0]["from"] == {"number": "31101111111"}


@pytest.mark.parametrize(
    ("agent", "kinds"),
    [
        ({"number": "202"}, ["created", "answered", "terminated"]),
        ({"number": "202", "field": "to"}, ["created", "answered", "terminated"]),
        ({"number": "202", "field": "from"}, []),
        ({"number": "31101000400", "field": "to"}, ["created", "answered", "terminated"]),
        ({"number": "400", "field": "to"}, ["created", "answered", "terminated"]),
        ({"number": "31101111111", "field": "from"}, ["created", "answered"] * 2 + ["terminated"] * 2),
        ({"number": "201"}, []),
        ({"extension_id": "400"}, ["created", "answered", "terminated"]),
        ({"extension_id": "202", "field": "from"}, []),
    ],
)
async def test_agents_choose(office: Office, tmp_path: Path, agent: dict[str, str], kinds: list[str]) -> None:
    if "extension_id" in agent:
        agent["extension_id"] = office.own.extensions[agent["extension_id"]]
    await subscribed(office, agents=[agent])
    events = await told(office, tmp_path, from_outside(), *of_leg(office.own))
    assert [event["event_type"] for event in events] == kinds


async def test_personal_is_for_calls_of_the_user_and_admins_stay_admins(office: Office, tmp_path: Path) -> None:
    await subscribed(office, "bob", callback_url=f"{CALLBACK}?bob")
    await subscribed(office, "ada", callback_url=f"{CALLBACK}?ada")
    events = await told(office, tmp_path / "one", from_outside(), *of_leg(office.own))
    assert [event["event_type"] for event in events if event["url"].endswith("bob")] == [
        "created", "answered", "terminated"
    ]  # fmt: skip
    assert sum(event["url"].endswith("ada") for event in events) == 6
    async with office.store.writing() as connection:
        await connection.exec_driver_sql("UPDATE users SET role = 'agent' WHERE name = 'ada'")
    later = records.CallStarted(1472565800.0, call=OTHER, caller="1", callee="201", source="t", account="own")
    events = await told(office, tmp_path / "two", later)
    assert sum(event["url"].endswith("ada") for event in events) == 6, "no more than before"


@pytest.mark.parametrize("mode", ["presence", "detailed"])
async def test_who_may_see_no_calls_any_more_is_told_of_none(office: Office, tmp_path: Path, mode: str) -> None:
    """By ``calls.events.presence``, and by ``calls.events.personal``."""
    await subscribed(office, "bob", event_types=["created"], mode=mode)
    for folder, role, count in (("one", "viewer", 1), ("two", "none", 1)):
        async with office.store.writing() as connection:
            await connection.exec_driver_sql(f"UPDATE users SET role = '{role}' WHERE name = 'bob'")
        call = f"{CALL[:-3]}{folder}"
        started = records.CallStarted(1.0, call=call, caller="1", callee="202", source="t", account="own")
        assert len(await told(office, tmp_path / folder, started)) == count, role


async def test_another_company_hears_nothing(office: Office, tmp_path: Path) -> None:
    token = await office.token("ada", company=office.other)
    body = {"event_types": ["*"], "callback_url": CALLBACK}
    assert (await office.ask("POST", "/subscriptions", token, body))[0] == 201
    assert await told(office, tmp_path, from_outside(), *of_leg(office.own)) == []


async def test_a_telephone_of_a_user_calls(office: Office, tmp_path: Path) -> None:
    await subscribed(office)
    started = records.CallStarted(
        1.0, call=CALL, caller="own-ada", callee="202", source="own-ada", account="own", flow="user bob"
    )
    leg = records.LegStarted(2.0, call=CALL, leg="l1", to="own-bob")
    first, second = await told(office, tmp_path, started, leg)
    own = office.own.extensions
    assert first["from"] == {"number": "201", "extension_id": own["201"], "caller_id": "own-ada"}
    assert first["to"] == second["to"] == {"number": "202", "extension_id": own["202"]}
    assert "via" not in second, "nobody was between them"


async def test_a_call_that_was_placed_comes_from_who_is_rung_first(office: Office, tmp_path: Path) -> None:
    await subscribed(office)
    own = office.own.extensions
    started = records.CallStarted(
        1.0,
        call=CALL,
        caller="+31203080700",
        callee="bob",
        direction="outbound",
        source=f"{BY_CLICK}ada",
        account="own",
    )
    events = await told(
        office,
        tmp_path,
        started,
        records.LegStarted(1.1, call=CALL, leg="l1", to="own-bob"),
        records.LegAnswered(2.0, call=CALL, leg="l1", dialog={}),
        records.CallAnswered(2.1, call=CALL),
        records.LegStarted(3.0, call=CALL, leg="l2", to="+31203080700 via carrier", trunk="carrier"),
        records.LegFinished(4.0, call=CALL, leg="l2", by="remote", reason="Busy Here", sip_status=486),
        records.LegFinished(5.0, call=CALL, leg="l1", by="local", reason="", sip_status=200),
        records.CallFinished(5.1, call=CALL, by="flow", reason="", sip_status=200),
    )
    assert [(event["event_type"], event.get("reason")) for event in events] == [
        ("created", None), ("answered", None), ("created", None), ("terminated", "busy"), ("terminated", "hangup")
    ]  # fmt: skip
    for event in events:
        assert event["from"]["extension_id"] == own["202"]
        assert event["to"] == {"number": "+31203080700"}
        assert event["direction"] == "outbound"


async def test_two_who_talk_and_one_who_is_replaced(office: Office, tmp_path: Path) -> None:
    await subscribed(office, event_types=["bridged", "holding", "resume", "transferred"])
    own, first, second = office.own.extensions, f"{CALL}-leg1", f"{CALL}-leg2"
    bridged, holding, resumed, transferred = await told(
        office,
        tmp_path,
        from_outside(),
        records.CallAnswered(1472565726.5, call=CALL),
        records.LegStarted(1472565727.0, call=CALL, leg=first, to="own-bob"),
        records.LegStarted(1472565729.0, call=CALL, leg=second, to="own-ada"),
        records.Bridged(1472565730.0, call=CALL, leg=first, party="31101111111", peer="own-bob"),
        records.Held(1472565731.0, call=CALL, by="ada"),
        records.Resumed(1472565732.0, call=CALL, leg=first, by="ada"),
        records.Transferred(
            1472565733.0,
            call=CALL,
            kind="attended",
            before=("31101111111", "own-bob"),
            after=("31101111111", "own-ada"),
            leg=second,
        ),
    )
    outside = {"number": "31101111111", "caller_id": "31101111111"}
    bob, ada = ({"number": number, "extension_id": own[number]} for number in ("202", "201"))
    reception = {"number": "+31101000400", "extension_id": own["400"]}
    assert [{name: each for name, each in call.items() if name != "call_id"} for call in bridged["calls"]] == [
        {"from": outside, "to": reception, "direction": "inbound"},
        {"from": outside, "to": bob, "direction": "outbound"},
    ]
    assert [call["call_id"] for call in bridged["calls"]] == [callids.of_call(CALL), callids.of_leg(CALL, first)]
    assert not {"call_id", "from", "to", "direction"} & bridged.keys()
    assert (holding["event_type"], holding["call_id"], holding["to"]) == ("holding", callids.of_call(CALL), reception)
    assert (resumed["event_type"], resumed["call_id"], resumed["to"]) == ("resumed", callids.of_leg(CALL, first), bob)
    assert {name: transferred[name] for name in ("call_id", "before", "after", "initiator", "transfer_type")} == {
        "call_id": callids.of_call(CALL),
        "before": {"from": outside, "to": bob},
        "after": {"from": outside, "to": ada},
        "initiator": bob,
        "transfer_type": "attended",
    }
    assert "from" not in transferred


async def test_a_cancelled_subscription_is_owed_nothing(office: Office, tmp_path: Path) -> None:
    gone = await subscribed(office, callback_url=f"{CALLBACK}?gone")
    await subscribed(office, callback_url=f"{CALLBACK}?stays")
    assert len(await told(office, tmp_path / "one", from_outside())) == 2
    token = await office.token("ada")
    assert (await office.ask("DELETE", f"/subscriptions/{gone['id']}", token))[0] == 200
    ended = records.CallFinished(1472565730.0, call=CALL, by="caller", reason="", sip_status=200)
    assert [event["url"] for event in await told(office, tmp_path / "two", ended)] == [f"{CALLBACK}?stays"] * 2


async def test_a_line_that_becomes_a_leg_is_nothing_new(office: Office, tmp_path: Path) -> None:
    await subscribed(office)
    started = records.CallStarted(1.0, call=CALL, caller="own-ada", callee="202", source="own-ada", account="own")
    moved = records.LegStarted(2.0, call=CALL, leg="l2", to="own-ada")
    assert [event["event_type"] for event in await told(office, tmp_path, started, moved)] == ["created"]


async def test_ringing_is_told_once(office: Office, tmp_path: Path) -> None:
    await subscribed(office, event_types=["ringing"])
    started = records.CallStarted(
        1.0, call=OTHER, caller="202", callee="ada", direction="outbound", source=f"{BY_CLICK}ada", account="own"
    )
    events = await told(
        office,
        tmp_path,
        started,
        records.LegStarted(1.1, call=OTHER, leg="l1", to="own-ada"),
        records.Rang(1.2, call=OTHER),
        records.Rang(1.2, call=OTHER, leg="l1"),  # of whoever is the call
        from_outside(),
        records.Rang(1472565726.6, call=CALL),
        records.LegStarted(1472565727.0, call=CALL, leg="l2", to="own-bob"),
        records.Rang(1472565727.1, call=CALL, leg="l2"),
    )
    assert [event["call_id"] for event in events] == [
        callids.of_call(OTHER), callids.of_call(CALL), callids.of_leg(CALL, "l2")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "cause", "reason"),
    [
        (486, "USER_BUSY", "busy"),
        (480, "NO_ANSWER", "no-answer"),
        (0, "NO_ANSWER", "no-answer"),
        (603, "CALL_REJECTED", "rejected"),
        (487, "ORIGINATOR_CANCEL", "cancelled"),
        (503, "NORMAL_TEMPORARY_FAILURE", "failed"),
        (404, "UNALLOCATED_NUMBER", "failed"),
    ],
)
async def test_reasons_of_an_end(office: Office, tmp_path: Path, status: int, cause: str, reason: str) -> None:
    await subscribed(office, event_types=["terminated"])
    ended = records.CallFinished(1472565730.0, call=CALL, by="error", reason="", sip_status=status, cause=cause)
    (event,) = await told(office, tmp_path, from_outside(), ended)
    assert event["reason"] == reason


@pytest.mark.parametrize(
    ("spelling", "kinds"),
    [
        ("hyphens", ["start-recording", "stop-recording"]),
        ("underscores", ["start_recording", "stop_recording"]),
    ],
)
async def test_recordings_and_their_spelling(
    tmp_path: Path, template: Template, spelling: str, kinds: list[str]
) -> None:
    async with office_in(tmp_path, template, spelling=spelling) as office:
        await subscribed(office, event_types=["start_recording", "stop_recording"])
        events = await told(
            office,
            tmp_path,
            from_outside(),
            records.RecordingStarted(1472565730.0, call=CALL, path="a.wav"),
            records.RecordingFinished(1472565740.0, call=CALL, path="a.wav", seconds=10.0),
        )
    assert [event["event_type"] for event in events] == kinds


async def test_an_event_is_told_in_the_words_that_it_has(office: Office, tmp_path: Path) -> None:
    """Callers who hide, names, and what is no number at all."""
    await subscribed(office, event_types=["created"])
    odd = records.CallStarted(1.0, call=CALL, caller="", callee="zé\ud800", source="anyone", account="own")
    (event,) = await told(office, tmp_path, odd)
    assert (event["from"], event["to"]) == ({"caller_id": "anonymous"}, {"caller_id": "zé?"})


def _parcel(subscription: str, attempts: int) -> Parcel:
    return Parcel(1, CALL, None, "", "", "POST", CALLBACK, (), "body", None, 0.0, attempts, subscription=subscription)


async def test_who_never_listens_is_told_no_more(tmp_path: Path, template: Template) -> None:
    async with office_in(tmp_path, template, suspend_after=2) as office:
        made = await subscribed(office)
        (settled,) = office.settled
        about, last = f"realtime:{made['id']}", len(PLANS["short"])
        token = await office.token("ada")

        async def state() -> tuple[str, int, str | None]:
            await office.idle()
            _, found = await office.ask("GET", f"/subscriptions/{made['id']}", token)
            return found["status"], found["failures"], found["last_error"]

        settled(_parcel(about, 0), Outcome(error="no answer within 5 s"))  # it is tried again
        assert await state() == ("active", 0, None)
        settled(_parcel(about, last), Outcome(status=500))
        assert await state() == ("active", 1, "HTTP status 500")
        settled(_parcel(about, 0), Outcome(status=204))
        assert await state() == ("active", 0, None)
        settled(_parcel("webhook:7", last), Outcome(status=500))
        for _ in range(2):
            settled(_parcel(about, 0), Outcome(error="a private address", hopeless=True))
        assert await state() == ("suspended", 2, "a private address")
        assert await told(office, tmp_path, from_outside()) == []
