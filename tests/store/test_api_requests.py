"""Requests that nobody should be able to harm the switch or others with, to all APIs, on either database."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_house import BACK, House, served
from sqlalchemy import event

from engine.accounts import clients, media, repository, secrets, tokens
from engine.accounts.entities import Trunk
from engine.accounts.media import MediaShelf
from engine.accounts.repository import Taken
from engine.api import call_control
from engine.api.brombler.mount import KIND as BROMBLER
from engine.api.kwebbl.errors import ACCESS
from engine.api.messagebird import door as voice_door
from engine.api.own import capturing, kinds
from engine.api.reading import Unreadable, as_form, as_json, check_json
from engine.api.verboice import book, channels_book, contacts_book
from engine.calls.control import ControlRefused
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT

PASSWORD = "correct horse"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """On SQLite."""
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    await store.migrate()
    async with served(store, tmp_path) as made:
        yield made
    await store.close()


@pytest.fixture
async def either(store: Store, tmp_path: Path) -> AsyncIterator[House]:
    """On either database."""
    await store.migrate()
    async with served(store, tmp_path) as made:
        yield made


# --- texts that nobody can keep ---------------------------------------------------------


async def test_what_no_database_can_keep_is_nobodys_fault_but_the_senders(either: House) -> None:
    house = either
    nul, half = b'{"name": "a\\u0000b"}', b'{"name": "\\ud800", "address": "\\udc00"}'
    basic = "Basic " + base64.b64encode(b"a\0b:c").decode()
    own, realtime, tree = house.bearer(), house.bearer(kind=ACCESS), house.bearer(kind=BROMBLER)
    key = f"AccessKey {house.tokens[DEFAULT_ACCOUNT]['access_key']}"
    for method, path, token, body, status in (
        ("GET", "/api/v1/users/a%00b", own, None, 404),
        ("GET", "/api/v1/calls/a%00b", own, None, 404),
        ("DELETE", "/api/v1/media/a%00b", own, None, 404),
        ("GET", "/api/v1/outbox?call=a%00b", own, None, 400),
        ("POST", "/api/v1/users", own, b'{"name": "anna", "email": "a\\u0000@b"}', 400),
        ("POST", "/api/v1/users", own, b'{"name": "anna", "devices": ["\\u0000"]}', 400),
        ("POST", "/api/v1/flows", own, b'{"name": "f", "document": {"_": "\\u0000"}}', 400),
        ("POST", "/api/v1/calls", own, b'{"to": "1", "flow": "\\u0000"}', 400),
        ("POST", "/api/v1/users", own, half, 400),
        ("GET", "/v100/subscriptions/a%00b", realtime, None, 404),
        ("POST", "/v100/subscriptions", realtime, b'{"callback_url": "http://a/\\u0000"}', 400),
        ("GET", f"/v2/accounts/{DEFAULT_ACCOUNT}/pivot/debug/a%00b", own, None, 404),
        ("GET", f"/authorize?client_id=a%00b&redirect_uri={BACK}", "", None, 400),
        ("POST", "/token", basic, b'{"grant_type": "refresh_token", "refresh_token": "x"}', 401),
        ("POST", "/auth.cas", "", b'{"client_id": "a\\u0000", "client_secret": "b"}', 400),
        ("POST", "/call.cas", tree, b'{"who": "1", "tree": {"_": "\\u0000"}}', 400),
        ("POST", "/v1/call-flows", key, b'{"title": "\\u0000", "steps": []}', 400),
        ("POST", "/v1/webhooks", key, b'{"url": "http://a.example/", "title": "\\udfff"}', 400),
        ("POST", "/v1/call-flows", key, nul, 400),
    ):
        headers = {"Content-Type": "application/json"} if body else {}
        answer = await house.ask(method, path, token, data=body, headers=headers)
        assert answer[0] == status, (method, path, body, answer)


def test_json_has_bounds() -> None:
    for data, says in (
        (b"[" * 500 + b"]" * 500, "nested deeper"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "nested deeper"),
        (b"[1e999]", "too large a number"),
        (b"[-1" + b"0" * 400 + b".5]", "too large a number"),
        (b'["\\u0000"]', "characters that are none"),
        (b'{"\\uD800": 1}', "characters that are none"),
    ):
        with pytest.raises(Unreadable, match=says):
            as_json(data)
    assert as_json(b'["\\ud83d\\ude00", "\\\\u0000", 1e30]') == ["\U0001f600", "\\u0000", 1e30]
    with pytest.raises(Unreadable):
        check_json(b'"\\u0000"')
    check_json(b'"\\\\u0000"')
    with pytest.raises(Unreadable):
        as_form(b"a=%00")
    assert as_form(b"a=%2500") == [("a", "%00")]


async def test_somebody_who_was_first_is_a_conflict(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once pass the look before the constraint does its work: the database is well."""

    async def nobody_there(*_args: Any, **_key: Any) -> None:
        return

    monkeypatch.setattr(repository, "_refuse_taken", nobody_there)
    body = {"name": "anna"}
    assert (await house.ask("POST", "/api/v1/users", house.bearer(), json=body))[0] == 201
    status, text = await house.ask("POST", "/api/v1/users", house.bearer(), json=body)
    assert (status, json.loads(text)["error"]["code"]) == (409, "conflict")


# --- who may ----------------------------------------------------------------------------


async def test_a_program_that_asks_users_for_consent_has_no_tokens_without_it(house: House) -> None:
    name, secret = house.client
    form = {"client_id": name, "client_secret": secret}
    status, text = await house.ask("POST", "/auth.cas", data=form)
    assert (status, "consent" in text) == (403, True)
    async with house.store.writing() as connection:
        owner = await tokens.owner_of(connection, "other")
        own, own_secret = await clients.add(connection, "other", "dialler")
        both, both_secret = await clients.add(connection, "other", "both", user_id=owner.id, redirect_uris=[BACK])
    for each, its_secret in ((own, own_secret), (both, both_secret)):
        status, text = await house.ask("POST", "/auth.cas", data={"client_id": each.id, "client_secret": its_secret})
        assert status == 200, text


async def test_tokens_last_as_long_as_was_wished_up_to_30_days(house: House) -> None:
    async with house.store.writing() as connection:
        own, secret = await clients.add(connection, "other", "dialler")
    form = {"client_id": own.id, "client_secret": secret}
    for wished, lasts in (("2592000", 2_592_000), ("1", 1)):
        status, text = await house.ask("POST", "/auth.cas", data={**form, "exp": wished})
        assert (status, json.loads(text)["expires_in"]) == (200, lasts)
    for wished in ("0.5", "2592001"):
        status, text = await house.ask("POST", "/auth.cas", data={**form, "exp": wished})
        says = "Bad Request: exp: must be seconds, at least 1 and at most 2592000"
        assert (status, json.loads(text)["responseText"]) == (400, says)


async def test_bodies_in_chunks_are_read_like_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live call is put on hold; a body may be left out, with or without a length of none."""
    house.calls["live"] = SimpleNamespace(plan=SimpleNamespace(account=DEFAULT_ACCOUNT))
    held: list[str] = []

    class Noting:
        def __init__(self, _call: Any) -> None:
            """Of whatever call."""

        async def hold(self, *, by: str, party: str) -> None:
            held.append(party)
            raise ControlRefused("not_answered", f"{by} is early")

    monkeypatch.setattr(call_control, "Control", Noting)

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def post(what: str, data: Any) -> int:
        return (await house.ask("POST", f"/api/v1/calls/live/{what}", house.bearer(), data=data))[0]

    asked = [(b'{"party": "peer"}', 409), (b"", 409), (b'{"party": "nobody"}', 400), (b"{", 400)]
    for data, status in asked:
        assert [await post("hold", chunks(data)), await post("hold", data)] == [status, status], data
    assert held == ["peer"] * 2 + [call_control.PartyWish().party] * 2
    for what in ("resume", "record", "stop-record"):
        assert await post(what, chunks(b'{"unknown": 1}')) == 400, what


async def test_pages_of_calls_have_bounds(house: House) -> None:
    for limit in (0, 201):
        status, text = await house.ask("GET", f"/api/v1/calls?limit={limit}", house.bearer())
        assert (status, json.loads(text)["error"]["field"]) == (400, "limit")


async def test_only_who_runs_the_switch_lets_others_use_a_trunk_or_names_files(house: House) -> None:
    owner = house.bearer("other")
    trunk = {"name": "out", "host": "192.0.2.1", "inbound": "none"}
    for more in ({"shared": True}, {"tls_ca": "/etc/ssl/x.pem"}, {"tls_cert": "/etc/c.pem", "tls_key": "/etc/k.pem"}):
        status, text = await house.ask("POST", "/api/v1/trunks", owner, json={**trunk, **more})
        assert (status, json.loads(text)["error"]["code"]) == (403, "forbidden")
    assert (await house.ask("POST", "/api/v1/trunks", owner, json=trunk))[0] == 201
    for more in ({"shared": True}, {"tls_ca": "/etc/ssl/x.pem"}):
        assert (await house.ask("PATCH", "/api/v1/trunks/out", owner, json=more))[0] == 403
    assert (await house.ask("PATCH", "/api/v1/trunks/out", owner, json={"order": 3, "shared": False}))[0] == 200
    shared = {**trunk, "shared": True, "tls_ca": "/etc/ssl/x.pem"}
    assert (await house.ask("POST", "/api/v1/trunks", house.bearer(), json=shared))[0] == 201
    async with house.store.reading() as connection:
        assert [each.shared for each in await repository.all_of(connection, Trunk, "other")] == [False]


async def test_who_has_no_password_yet_is_asked_for_one_however_often(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that wait to be challenged are no guesses, and cost nothing."""
    monkeypatch.setattr(secrets, "matches", lambda *_: pytest.fail("a password was looked at"))
    for token in [""] * 12 + ["Basic !", "Basic " + base64.b64encode(b"a@b:").decode(), house.bearer()]:
        assert (await house.ask("GET", "/api/projects.json", token))[0] == 401


async def test_a_form_with_a_strange_secret_is_not_taken(house: House) -> None:
    path = f"/authorize?client_id={house.client[0]}&redirect_uri={BACK}&response_type=code"
    for secret in ("é", "\U0001f600", "x", ""):
        form = {"action": "deny", "csrf": secret}
        assert (await house.ask("POST", path, headers={"Cookie": "ivrea-form=abc"}, data=form))[0] == 403


async def test_a_trunk_that_all_share_has_one_number_for_all(store: Store) -> None:
    await store.migrate()
    async with store.writing() as connection:
        for name in ("one", "other"):
            await repository.add_account(connection, name, id=name)
        trunk = await repository.add_trunk(connection, "one", "carrier", {"host": "192.0.2.1"}, shared=True)
        shared = [SimpleNamespace(account="one", shared=True)]
        numbers = [
            (await book.numbers_of(connection, account, "trunk", [trunk.id]))[trunk.id] for account in ("one", "other")
        ]
        assert numbers[0] == numbers[1]
        for account in ("one", "other"):
            found = await channels_book.channel_numbered(connection, account, shared, numbers[0])  # type: ignore[arg-type]
            assert found is not None
            assert found.name == "carrier"
        private = await repository.add_trunk(connection, "one", "private", {"host": "192.0.2.2"})
        number = (await book.numbers_of(connection, "one", "trunk", [private.id]))[private.id]
        assert await channels_book.channel_numbered(connection, "other", shared, number) is None  # type: ignore[arg-type]


# --- what takes its time ----------------------------------------------------------------


@pytest.fixture
def writers(house: House, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Transactions that write and are open, one more for each in the list."""
    open_now: list[int] = []
    writing = house.store.writing

    @asynccontextmanager
    async def counted() -> AsyncIterator[Any]:
        async with writing() as connection:
            open_now.append(1)
            try:
                yield connection
            finally:
                open_now.pop()

    monkeypatch.setattr(house.store, "writing", counted)
    return open_now


async def test_nobody_waits_for_a_password_or_a_file_with_a_transaction_open(
    house: House, writers: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    hashed, write = secrets.hashed, media._write

    def slow_hash(secret: str) -> str:
        seen.append(len(writers))
        return hashed(secret)

    def slow_write(*args: Any) -> None:
        seen.append(len(writers))
        write(*args)

    monkeypatch.setattr(kinds.secrets, "hashed", slow_hash)
    monkeypatch.setattr(media, "_write", slow_write)
    user = {"name": "anna", "email": "anna@example.com", "password": "first"}
    assert (await house.ask("POST", "/api/v1/users", house.bearer(), json=user))[0] == 201
    for change in ({"password": PASSWORD}, {"role": "viewer"}):
        assert (await house.ask("PATCH", "/api/v1/users/anna", house.bearer(), json=change))[0] == 200
    async with house.store.reading() as connection:
        kept = await repository.user_by_email(connection, "anna@example.com")
    assert kept is not None
    assert secrets.matches(PASSWORD, kept.password or "")
    basic = "Basic " + base64.b64encode(f"anna@example.com:{PASSWORD}".encode()).decode()
    assert (await house.ask("GET", "/api/projects.json", basic))[0] == 200
    status, text = await house.ask("PATCH", "/api/v1/users/anna", house.bearer(), json={"password": ""})
    assert (status, json.loads(text)["logs_in"]) == (200, False)
    shelf = MediaShelf(tmp_path / "media", house.store)
    stored = await shelf.add("other", "moo", b"RIFF", content_type="audio/wav")
    with pytest.raises(Taken):
        await shelf.add("other", "moo", b"other", content_type="audio/wav")
    assert [path.name for path in shelf.folder.iterdir()] == [stored.digest]
    assert seen == [0, 0, 0, 0]


async def test_strangers_never_have_the_database_write(house: House) -> None:
    before = house.store.writing
    house.store.writing = lambda: pytest.fail("a stranger made us write")  # type: ignore[method-assign]
    try:
        wrong = {"client_id": house.client[0], "client_secret": "wrong"}
        assert (await house.ask("POST", "/auth.cas", data=wrong))[0] == 401
        form = {**wrong, "grant_type": "refresh_token", "refresh_token": "x"}
        assert (await house.ask("POST", "/token", data=form))[0] == 401
    finally:
        house.store.writing = before  # type: ignore[method-assign]


async def test_many_contacts_are_changed_by_few_statements(store: Store) -> None:
    await store.migrate()
    statements: list[str] = []
    event.listen(
        store.engine.sync_engine, "before_cursor_execute", lambda _c, _r, statement, *_: statements.append(statement)
    )
    async with store.writing() as connection:
        await repository.add_account(connection, "one", id="one")
        project = await book.add_project(connection, "one", "first")
        names = {name: await book.add_variable(connection, project.id, name) for name in ("age", "town")}
        made = [await contacts_book.add(connection, project.id, [str(number)]) for number in range(30)]
        ids = [each.id for each in made]
        values = {names["age"]: "38", names["town"]: "Ivrea"}
        await contacts_book.set_values(connection, ids[:5], {names["age"]: "1"})
        statements.clear()
        await contacts_book.set_values(connection, ids, values)
        assert len(statements) == 2
        await contacts_book.set_values(connection, ids, {})
        found = await contacts_book.contacts(connection, project.id)
    assert [each.vars for each in found] == [{"age": "38", "town": "Ivrea"}] * 30


def test_a_method_in_the_query_is_found_at_once_however_long_that_is() -> None:
    """Every route is asked: what takes a hundredth of a second here takes seconds for one request."""
    query = b"&".join([b"a=%41"] * 10_000)
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query + b"&_method=delete"}
    began = time.process_time()
    found = {voice_door._overridden(scope) for _ in range(100)}
    assert time.process_time() - began < 0.2
    assert found == {"DELETE"}
    for other, method in ((b"_method=PUT", "PUT"), (b"x_method=PUT", ""), (b"_method=TRACE", ""), (b"", "")):
        assert voice_door._overridden({**scope, "query_string": other}) == method


async def test_two_archives_are_made_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And they are files, not memory."""
    under_way, most = 0, 0

    def slowly(out: Any, *_args: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.05)
        out.write(b"z" * (capturing._PIECE + 1))
        under_way -= 1

    async def record(*_args: Any) -> dict[str, Any]:
        return {}

    async def messages(*_args: Any) -> list[Any]:
        return [None]

    monkeypatch.setattr(capturing, "archive", slowly)
    monkeypatch.setattr(capturing, "record_of", record)
    monkeypatch.setattr(capturing._Captures, "_messages", messages)
    monkeypatch.setattr(capturing._Captures, "_media", messages)
    path = f"/api/v1/calls/{'0' * 32}/capture"
    answers = await asyncio.gather(*(house.ask("GET", path, house.bearer()) for _ in range(6)))
    assert {(status, len(text)) for status, text in answers} == {(200, capturing._PIECE + 1)}
    assert most <= capturing.AT_ONCE
