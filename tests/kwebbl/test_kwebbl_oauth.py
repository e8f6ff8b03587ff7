"""OAuth 2 of the Realtime API: pages, codes, tokens, scopes, and each error of the document."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from kwebbl_kit import ALL, BACK, Browser, Office, proof
from sqlalchemy import func, insert, select

from engine.accounts import clients, repository, tokens
from engine.accounts.entities import User
from engine.accounts.secrets import MOST_WRONG
from engine.api.own import kinds
from engine.api.own.bodies import UserBody
from engine.callbacks.announcing import owed
from engine.store.models import Delivery
from engine.store.realtime import EventSubscription, delivered_as


@pytest.fixture
async def browser(office: Office) -> Any:
    made = Browser(office)
    yield made
    await made.close()


def answer(location: str) -> dict[str, str]:
    assert location.startswith(f"{BACK}?"), location
    return dict(parse_qsl(urlsplit(location).query))


# --- the pages ----------------------------------------------------------------------------


async def test_login_and_consent_give_a_code_that_gives_tokens(office: Office, browser: Browser) -> None:
    verifier, challenge = proof()
    url = office.authorize_url(scope=ALL, code_challenge=challenge, code_challenge_method="S256")
    page = await browser.open(url)
    assert "own&#x27;s CRM" in page
    page = await browser.send("login", email=" Ada@Own.example", password="correct horse")
    assert "You are signed in as <strong>ada</strong>" in page
    assert "calls.manage.personal" in page
    back = await browser.press("allow")
    assert back["state"] == "xyz"
    status, tokens = await office.exchange(office.own, code=back["code"], code_verifier=verifier)
    assert status == 200
    assert {**tokens, "access_token": "", "refresh_token": ""} == {
        "access_token": "",
        "refresh_token": "",
        "expires_in": 900,
        "token_type": "Bearer",
        "scope": ALL,
        "state": "xyz",
    }
    status, user = await office.ask("GET", "/user", tokens["access_token"])
    assert (status, user["name"], user["role"]) == (200, "ada", "admin")


async def test_pages_bring_nothing_from_elsewhere_and_run_nothing(browser: Browser, office: Office) -> None:
    page = await browser.log_in(office.authorize_url(), "bob@own.example")
    for text in (page, await browser.open(office.authorize_url(client_id="nobody"))):
        assert not re.search(r"<script|<link|src=|@import|url\(|javascript:", text)
        policy = browser.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert (browser.headers["X-Frame-Options"], browser.headers["Cache-Control"]) == ("DENY", "no-store")


async def test_what_an_application_is_called_is_text(office: Office, browser: Browser) -> None:
    async with office.store.writing() as connection:
        client, _ = await clients.add(connection, "own", "<img src=x>{company}", redirect_uris=[BACK])
    page = await browser.open(office.authorize_url(client_id=client.id))
    assert "&lt;img src=x&gt;{company}" in page


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://client.example/cb/"},
        {"redirect_uri": "https://client.example/cb?x=1"},
        {"redirect_uri": "https://evil.example/"},
    ],
)
async def test_a_bad_client_or_redirection_is_told_to_the_person_alone(
    office: Office, browser: Browser, changed: dict[str, str | None]
) -> None:
    page = await browser.open(office.authorize_url(**changed))
    assert browser.status == 400
    assert "cannot be used" in page


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "calls.sing"}, "invalid_request"),
        ({"scope": "user.info  calls.events"}, "invalid_request"),
        ({"state": "\n"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "x" * 43}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
    ],
)
async def test_other_bad_parameters_are_told_to_the_application(
    office: Office, browser: Browser, changed: dict[str, str | None], error: str
) -> None:
    told = answer(await browser.open(office.authorize_url(**changed)))
    assert told["error"] == error
    assert told["error_description"]
    assert told.get("state") == (None if "state" in changed else "xyz")


async def test_a_parameter_that_comes_twice(office: Office, browser: Browser) -> None:
    url = office.authorize_url()
    assert answer(await browser.open(f"{url}&scope=a&scope=b"))["error"] == "invalid_request"
    await browser.open(f"{url}&redirect_uri=https%3A%2F%2Fevil.example")
    assert browser.status == 400


async def test_wrong_credentials_and_a_refusal_are_told_to_the_application(office: Office, browser: Browser) -> None:
    url = office.authorize_url()
    for email in ("ada@own.example", "nobody@own.example", "ada@other.example"):
        await browser.open(url)
        password = "correct horse" if "other" in email else "wrong"
        told = answer(await browser.send("login", email=email, password=password))
        assert (told["error"], told["state"]) == ("invalid_grant", "xyz")
    await browser.open(url)
    assert answer(await browser.send("deny"))["error"] == "access_denied"
    await browser.log_in(url, "ada@own.example")
    assert answer(await browser.send("deny"))["error"] == "access_denied"


async def test_a_login_without_a_password_is_asked_for_again(office: Office, browser: Browser) -> None:
    await browser.open(office.authorize_url())
    page = await browser.send("login", email="ada@own.example", password="")
    assert 'role="alert"' in page or "role=alert" in page
    assert 'value="ada@own.example"' in page


async def test_too_many_wrong_logins_have_to_wait(office: Office, browser: Browser) -> None:
    url = office.authorize_url()
    for _ in range(MOST_WRONG):
        await browser.log_in(url, "ada@own.example", "wrong")
    await browser.log_in(url, "ada@own.example")
    assert browser.status == 429
    assert browser.headers["Retry-After"] == "900"


async def test_a_form_without_its_secret_or_from_another_site_is_not_taken(office: Office, browser: Browser) -> None:
    url = office.authorize_url()
    await browser.log_in(url, "ada@own.example")
    for forged in ({"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "\udcff"}):
        await browser.send(
            "allow", **{name: value.encode("utf-8", "replace").decode() for name, value in forged.items()}
        )
        assert browser.status == 403
        await browser.open(url)
    await browser.send("allow", headers={"Sec-Fetch-Site": "cross-site"})
    assert browser.status == 403
    stranger = Browser(office)
    stranger.url, stranger.page = url, browser.page  # the secret, and not the cookie that it belongs to
    await stranger.send("allow")
    assert stranger.status == 403
    await stranger.close()


async def test_another_account_can_be_used(office: Office, browser: Browser) -> None:
    url = office.authorize_url()
    await browser.log_in(url, "ada@own.example")
    assert "<h1>Sign in</h1>" in await browser.send("leave")
    assert "<strong>bob</strong>" in await browser.log_in(url, "bob@own.example")


async def test_only_admins_grant_what_concerns_everybody(office: Office, browser: Browser) -> None:
    page = await browser.log_in(office.authorize_url(scope=ALL), "bob@own.example")
    assert "more than your role may allow" in page
    granted = await office.tokens("bob", ALL)
    assert granted["scope"].split() == [
        name for name in ALL.split() if name not in ("calls.events", "calls.manage", "calls.create")
    ]
    page = await browser.open(office.authorize_url(scope="calls.events calls.manage"))
    assert 'value="allow"' not in page
    assert "value=allow" not in page
    assert answer(await browser.send("allow"))["error"] == "access_denied"


async def test_scopes_go_no_further_than_the_role(office: Office, browser: Browser) -> None:
    """Who has granted them and has another role since, and who only then asks to grant them."""
    token = await office.token("bob", ALL)
    bob, dialled = office.own.extensions["202"], {"to": {"number": "+31203080700"}}
    shown = {"caller_id": office.own.numbers["Night"]}

    async def answers() -> list[int]:
        asked: list[tuple[str, str, Any]] = [
            ("GET", "/user", None),
            ("GET", "/extensions", None),
            ("GET", "/subscriptions", None),
            ("POST", "/calls", dialled),
            ("POST", "/calls/4a2bcad2c4b9-e70a4a2bcad2/hold", None),
            ("PUT", f"/extensions/{bob}/caller_id", shown),
        ]
        return [(await office.ask(method, path, token, body))[0] for method, path, body in asked]

    assert await answers() == [200, 200, 200, 202, 404, 200]
    for role, found in (("viewer", [200, 200, 200, 403, 403, 403]), ("none", [403] * 6)):
        await has_role(office, "bob", role)
        assert await answers() == found, role
    assert len(office.originator.calls) == 1
    page = await browser.log_in(office.authorize_url(scope=ALL), "bob@own.example")
    assert "value=allow" not in page
    assert answer(await browser.send("allow"))["error"] == "access_denied"
    await has_role(office, "bob", "viewer")
    granted = await office.tokens("bob", ALL)
    assert granted["scope"].split() == [
        "user.info", "company.dialplans", "company.users", "calls.events.personal", "calls.events.presence"
    ]  # fmt: skip


async def has_role(office: Office, user: str, role: str) -> None:
    async with office.store.writing() as connection:
        await connection.exec_driver_sql(f"UPDATE users SET role = '{role}' WHERE name = '{user}'")


async def test_without_a_scope_it_is_all_that_needs_no_admin(office: Office) -> None:
    code = await office.code("ada", "")
    _, tokens = await office.exchange(office.own, code=code)
    assert "calls.events.personal" in tokens["scope"].split()
    assert "calls.events" not in tokens["scope"].split()


# --- tokens -------------------------------------------------------------------------------


async def test_a_code_is_good_once_and_a_second_time_revokes(office: Office) -> None:
    code = await office.code("ada")
    status, tokens = await office.exchange(office.own, code=code)
    assert status == 200
    status, error = await office.exchange(office.own, code=code)
    assert (status, error["error"]) == (401, "invalid_grant")
    assert (await office.ask("GET", "/user", tokens["access_token"]))[0] == 401
    assert (await office.refresh(office.own, tokens["refresh_token"]))[0] == 401


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"redirect_uri": "https://client.example/other"}, 401, "invalid_grant"),
        ({"code_verifier": "y" * 43}, 401, "invalid_grant"),
        ({"code_verifier": "short"}, 401, "invalid_grant"),
        ({}, 401, "invalid_grant"),  # the verifier is missing
        ({"code": "wrong"}, 401, "invalid_grant"),
        ({"code": ""}, 400, "invalid_request"),
        ({"redirect_uri": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "calls.sing"}, 400, "invalid_request"),
    ],
)
async def test_a_code_is_for_whoever_it_was_made_for(
    office: Office, fields: dict[str, str], status: int, error: str
) -> None:
    verifier, challenge = proof()
    code = await office.code("ada", "user.info", code_challenge=challenge, code_challenge_method="S256")
    found, told = await office.exchange(office.own, **{"code": code, **fields})
    assert (found, told["error"]) == (status, error)
    stolen, _ = await office.exchange(office.other, code=code, code_verifier=verifier)
    assert stolen == 401
    assert (await office.exchange(office.own, code=code, code_verifier=verifier))[0] == 200


async def test_a_code_without_a_challenge_takes_no_verifier(office: Office) -> None:
    code = await office.code("ada", "user.info")
    assert (await office.exchange(office.own, code=code, code_verifier="y" * 43))[0] == 401


async def test_refreshing_makes_all_that_came_before_worthless(office: Office) -> None:
    first = await office.tokens("ada", "user.info company.users")
    second = await office.tokens("ada", "user.info company.users")
    bob = await office.token("bob", "user.info")
    status, third = await office.refresh(office.own, second["refresh_token"], scope="user.info", redirect_uri=BACK)
    assert (status, third["scope"]) == (200, "user.info")
    for old in (first, second):
        assert (await office.ask("GET", "/user", old["access_token"]))[0] == 401
        assert (await office.refresh(office.own, old["refresh_token"]))[1]["error"] == "invalid_grant"
    assert (await office.ask("GET", "/user", third["access_token"]))[0] == 200
    assert (await office.ask("GET", "/user", bob))[0] == 200, "others are not concerned"
    status, error = await office.refresh(office.own, third["refresh_token"], scope="company.users")
    assert (status, error["error"]) == (400, "invalid_request"), "it was narrowed"
    assert (await office.refresh(office.own, third["refresh_token"], redirect_uri="https://x.example"))[0] == 401
    assert (await office.refresh(office.other, third["refresh_token"]))[0] == 401
    assert (await office.refresh(office.own, third["access_token"]))[0] == 401


async def test_of_two_refreshes_at_once_one_succeeds(office: Office) -> None:
    tokens = await office.tokens("ada", "user.info")
    found = await asyncio.gather(*(office.refresh(office.own, tokens["refresh_token"]) for _ in range(4)))
    assert sorted(status for status, _ in found) == [200, 401, 401, 401]


async def subscribed(office: Office, access: str) -> None:
    """A subscription with something that it is owed."""
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": "http://127.0.0.1:9/x"}
    status, made = await office.ask("POST", "/subscriptions", access, wish)
    assert status == 201, made
    row = owed("call", 1.0, "http://127.0.0.1:9/x", "{}", subscription=delivered_as(made["id"]), plan="short")
    async with office.store.writing() as connection:
        await connection.execute(insert(Delivery), dict(row))


async def left(office: Office) -> tuple[int, int]:
    """How many subscriptions there are, and deliveries that they are owed."""
    async with office.store.reading() as connection:
        found = [await connection.scalar(select(func.count()).select_from(t)) for t in (EventSubscription, Delivery)]
    return found[0] or 0, found[1] or 0


async def test_a_refresh_token_that_comes_again_was_stolen(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the newer one has nothing any more either (RFC 9700 section 4.14.2)."""
    scopes = "user.info calls.events.personal"
    first = await office.tokens("ada", scopes)
    bob = await office.token("bob", "user.info")
    _, second = await office.refresh(office.own, first["refresh_token"])
    await subscribed(office, second["access_token"])
    assert (await office.refresh(office.own, first["refresh_token"]))[0] == 401
    assert (await office.ask("GET", "/user", second["access_token"]))[0] == 200, "a program asked twice at a time"
    monkeypatch.setattr("engine.api.kwebbl.grants.AT_ONCE", 0.0)
    assert (await office.refresh(office.other, first["refresh_token"]))[0] == 401
    assert (await office.ask("GET", "/user", second["access_token"]))[0] == 200, "another client proves nothing"
    assert (await office.refresh(office.own, first["refresh_token"]))[1]["error"] == "invalid_grant"
    assert (await office.ask("GET", "/user", second["access_token"]))[0] == 401
    assert (await office.refresh(office.own, second["refresh_token"]))[0] == 401
    assert await left(office) == (0, 0)
    assert (await office.ask("GET", "/user", bob))[0] == 200, "others are not concerned"


@pytest.mark.parametrize("how", ["secret", "removed", "password"])
async def test_nobody_is_told_of_calls_by_a_grant_that_has_ended(office: Office, how: str) -> None:
    ada = await office.tokens("ada", "user.info calls.events.personal")
    await subscribed(office, ada["access_token"])
    bob = await office.tokens("bob", "user.info calls.events.personal")
    await subscribed(office, bob["access_token"])
    assert await left(office) == (2, 2)
    async with office.store.writing() as connection:
        match how:
            case "secret":
                await clients.new_secret(connection, "own", office.own.client_id)
            case "removed":
                await clients.remove(connection, "own", office.own.client_id)
            case "password":
                row = await repository.get(connection, User, "own", "ada")
                given = frozenset({"password"})
                same = UserBody(name="ada", role="admin", devices=["own-ada"], email="ada@own.example")
                await kinds._edit_user(connection, "own", row, same, frozenset({"email"}))
                assert await tokens.verify(connection, ada["access_token"], "oauth") is not None
                changed = same.model_copy(update={"password": "scrypt$00$00"})
                await kinds._edit_user(connection, "own", row, changed, given)
    assert await left(office) == ((1, 1) if how == "password" else (0, 0))
    assert (await office.ask("GET", "/user", ada["access_token"]))[0] == 401
    assert (await office.refresh(office.own, ada["refresh_token"]))[0] == 401
    assert (await office.ask("GET", "/user", bob["access_token"]))[0] == (200 if how == "password" else 401)


async def test_another_secret_of_the_client_ends_everything(office: Office) -> None:
    tokens = await office.tokens("ada", "user.info")
    async with office.store.writing() as connection:
        await clients.new_secret(connection, "own", office.own.client_id)
    assert (await office.ask("GET", "/user", tokens["access_token"]))[0] == 401
    status, error = await office.refresh(office.own, tokens["refresh_token"])
    assert (status, error["error"]) == (401, "invalid_client")


async def test_who_is_no_admin_any_more_has_less(office: Office) -> None:
    token = await office.token("ada", "calls.create")
    assert (await office.ask("POST", "/calls", token, {"from": {"number": "202"}, "to": {"number": "201"}}))[0] == 202
    async with office.store.writing() as connection:
        await connection.exec_driver_sql("UPDATE users SET role = 'agent' WHERE name = 'ada'")
    assert (await office.ask("POST", "/calls", token, {"to": {"number": "202"}}))[0] == 403


async def test_clients_authenticate_in_one_place(office: Office) -> None:
    own = office.own
    body = {"client_id": own.client_id, "client_secret": own.client_secret}
    basic = {"Authorization": aiohttp.encode_basic_auth(own.client_id, own.client_secret)}
    wrong = {"Authorization": aiohttp.encode_basic_auth(own.client_id, "wrong")}
    refresh = {"grant_type": "refresh_token", "refresh_token": (await office.tokens("ada"))["refresh_token"]}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"json": {**refresh, **body}, "headers": basic}, 400, "invalid_request"),
        ({"json": refresh, "headers": wrong}, 401, "invalid_client"),
        ({"json": refresh}, 401, "invalid_client"),
        ({"json": refresh, "headers": {"Authorization": "Basic %%%"}}, 401, "invalid_client"),
        ({"json": refresh, "headers": {"Authorization": "Bearer x"}}, 401, "invalid_client"),
        ({"json": {**refresh, **body, "client_secret": "wrong"}}, 401, "invalid_client"),
        ({"data": "grant_type=a&grant_type=b", "headers": _FORM}, 400, "invalid_request"),
        ({"data": "[1]", "headers": _JSON}, 400, "invalid_request"),
        ({"data": "{", "headers": _JSON}, 400, "invalid_request"),
        ({"json": {**refresh, "refresh_token": 1}, "headers": basic}, 400, "invalid_request"),
        ({"data": "<x/>", "headers": {"Content-Type": "text/xml"}}, 400, "invalid_request"),
        ({"data": b"\xff", "headers": _FORM}, 400, "invalid_request"),
        ({"data": {**refresh, **body}}, 200, ""),
    ]
    for request, status, error in cases:
        async with office.http.post(f"{office.url}/v100/token", **request) as told:
            found = await told.json()
            assert (told.status, found.get("error", "")) == (status, error), request
            assert told.headers["Cache-Control"] == "no-store"
            challenged = "Authorization" in request.get("headers", {})
            assert ("WWW-Authenticate" in told.headers) == (challenged and status != 200)
            if challenged and status != 200:
                assert f'error="{error}"' in told.headers["WWW-Authenticate"]


_JSON, _FORM = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}


async def test_the_access_token_is_looked_at(office: Office) -> None:
    tokens = await office.tokens("ada", "user.info")
    for token in ("", "nothing", tokens["refresh_token"]):
        status, error = await office.ask("GET", "/extensions", token)
        assert (status, error["status_code"], error["error_code"]) == (401, 401, "invalid_grant")
    status, error = await office.ask("GET", "/extensions", tokens["access_token"])
    assert (status, error["error_code"]) == (403, "access_denied")
    assert "company.dialplans" in error["message"]


@pytest.mark.parametrize(
    "registered",
    [
        "javascript:alert(1)",
        "https://a.example;script-src *",
        "https://a b.example/",
        "/relative",
        "https://x.example/#f",
    ],
)
async def test_no_browser_is_sent_to_what_runs_or_is_no_place(
    office: Office, browser: Browser, registered: str
) -> None:
    async with office.store.writing() as connection:
        client, _ = await clients.add(connection, "own", "odd", redirect_uris=[registered])
    await browser.open(office.authorize_url(client_id=client.id, redirect_uri=registered))
    assert browser.status == 400


async def test_a_program_of_a_telephone_or_desktop_is_sent_to(office: Office, browser: Browser) -> None:
    async with office.store.writing() as connection:
        client, _ = await clients.add(connection, "own", "app", redirect_uris=["nl.crm.app:/done?a=1"])
    url = office.authorize_url(client_id=client.id, redirect_uri="nl.crm.app:/done?a=1")
    await browser.log_in(url, "bob@own.example")
    assert "form-action 'self' nl.crm.app:;" in browser.headers["Content-Security-Policy"]
    assert (await browser.send("allow")).startswith("nl.crm.app:/done?a=1&code=")
