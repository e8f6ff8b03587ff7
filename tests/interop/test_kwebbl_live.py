"""The Realtime API with others' programs: an OAuth library, a browser, telephones, a web server for events."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit import sound
from kit.api import Api
from kit.baresip import Baresip
from kit.browser import Chromium, Page, page_of
from kit.daemon import Daemon, poll
from kit.hooks import HookServer
from kit.stores import on_both
from pki import Authority

from engine.accounts import clients, repository, tokens
from engine.accounts.secrets import hashed
from engine.api.kwebbl.callids import of_call
from engine.store import Store

pytestmark = pytest.mark.peer("baresip", "chromium", "requests_oauthlib")

PASSWORD = "correct horse"
TONES = {"ada": 500.0, "bob": 700.0, "carl": 1100.0}
"""What a telephone says, in Hz."""

ALL = ["user.info", "company.users", "company.dialplans", "calls.events", "calls.manage", "calls.create"]
PHONE, DESKTOP = (390, 844), (1366, 900)
JUDGE = """(() => {
  const bad = [];
  if (document.documentElement.scrollWidth > window.innerWidth) bad.push("wider than the window");
  for (const field of document.querySelectorAll("input:not([type=hidden])")) {
    if (!field.labels.length) bad.push("no label: " + field.name);
  }
  for (const button of document.querySelectorAll("button")) {
    const at = button.getBoundingClientRect();
    if (at.height < 44 || at.width < 44) bad.push("too small: " + button.innerText);
  }
  if (getComputedStyle(document.querySelector("main")).paddingLeft === "0px") bad.push("no style");
  if (!document.title || !document.documentElement.lang) bad.push("no title or language");
  return bad;
})()"""


@dataclass
class Company:
    """An account with two people and an application; ``server`` is the application's."""

    daemon: Daemon
    server: HookServer
    authority: Authority
    client_id: str
    client_secret: str
    stranger: str
    """An access token of another account, with every scope."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.daemon.http_port}"

    @property
    def own_api(self) -> Api:
        return Api(self.daemon, authority=self.authority.file)

    def live(self) -> list[str]:
        """The calls that live, by the ids that they have here, those that nobody was told of first."""
        connection = sqlite3.connect(self.daemon.folder / "ivrea.db")
        try:
            rows = connection.execute("SELECT id FROM calls WHERE finished_at IS NULL ORDER BY started_at").fetchall()
        finally:
            connection.close()
        return [of_call(row[0]) for row in rows]

    def events(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(hit.body) for hit in list(self.server.hits) if hit.path == path]

    def wait_event(self, path: str, kind: str, count: int = 1, patience: float = 15.0) -> dict[str, Any]:
        """The event of a kind that came as number ``count``."""

        def there() -> dict[str, Any] | None:
            found = [event for event in self.events(path) if event["event_type"] == kind]
            return found[count - 1] if len(found) >= count else None

        came = [event["event_type"] for event in self.events(path)]
        return poll(there, patience, f"no {kind} number {count}; before it {came}", every=0.05)


async def _provide(url: str, redirect_uri: str) -> tuple[str, str, str]:
    store = Store(url)
    kept = hashed(PASSWORD)
    async with store.writing() as connection:
        for user in ("ada", "bob"):
            await repository.set_login(connection, "default", user, email=f"{user}@example.com", password=kept)
        client, secret = await clients.add(connection, "default", "Customer Desk", redirect_uris=[redirect_uri])
        await repository.add_account(connection, "other", id="other")
        await repository.add_user(connection, "other", "ada", role="admin")
        theirs, _ = await clients.add(connection, "other", "Spy", redirect_uris=[redirect_uri])
        token = await tokens.issue(connection, "other", "ada", kind="oauth", scopes=ALL, client_id=theirs.id)
    await store.close()
    return client.id, secret, token


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, store: dict[str, object]) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    authority = Authority(folder / "ca")
    web = authority.sign("web", addresses=("127.0.0.1",))
    unknown = Authority(folder / "unknown", "Nobody").sign("crm", addresses=("127.0.0.1",))  # as good as self-signed
    server = HookServer(certificate=unknown.both).start()
    pause = {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 30}}]}
    daemon = Daemon(
        folder / "daemon",
        {"31101000400": pause},
        settings={
            "http": {"tls_cert": str(web.cert), "tls_key": str(web.key)},
            "sip": {"open": False},
            "store": store,
        },
        devices=[{"name": f"{name}-phone", "password": "geheim"} for name in ("ada", "bob", "carl")],
        more={
            "users": [
                {"name": "ada", "devices": ["ada-phone"], "role": "admin"},
                {"name": "bob", "devices": ["bob-phone"], "role": "agent"},
                {"name": "carl", "devices": ["carl-phone"]},
            ],
            "extensions": [
                {"number": f"20{place}", "user": name} for place, name in enumerate(("ada", "bob", "carl"), 1)
            ],
        },
    )
    with daemon:
        made = asyncio.run(_provide(daemon.store_url, server.url("/cb")))
        yield Company(daemon, server, authority, *made)
    server.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture
async def page(browser: Chromium) -> AsyncIterator[Page]:
    async with page_of(browser) as made:
        yield made


@pytest.fixture
def phones(company: Company, tmp_path: Path) -> Iterator[dict[str, Baresip]]:
    """Telephones that have registered and take calls, by user."""
    made: dict[str, Baresip] = {}
    server = f"127.0.0.1:{company.daemon.sip_port}"
    for name, tone in TONES.items():
        before = company.daemon.log().count("device_registered")
        phone = Baresip(
            tmp_path / name,
            user=f"{name}-phone",
            server=server,
            password="geheim",
            audio=sound.tone(tone, 60.0),
            keep=True,
            answers=True,
        )
        made[name] = phone
        company.daemon.wait_log("device_registered", count=before + 1)
    yield made
    for phone in made.values():
        phone.close()


class Application:
    """A program that knows OAuth by ``requests-oauthlib``."""

    def __init__(self, company: Company, scopes: list[str]) -> None:
        from requests_oauthlib import OAuth2Session

        self.company = company
        self.session = OAuth2Session(
            company.client_id, redirect_uri=company.server.url("/cb"), scope=scopes, pkce="S256"
        )
        self.session.trust_env = False  # a bundle of certificates named there would come first
        self.session.verify = str(company.authority.file)

    def authorize_url(self) -> str:
        url, _ = self.session.authorization_url(f"{self.company.url}/authorize")
        return str(url)

    def fetch_token(self, back: str) -> dict[str, Any]:
        return dict(
            self.session.fetch_token(
                f"{self.company.url}/token", authorization_response=back, client_secret=self.company.client_secret
            )
        )

    def refresh(self) -> dict[str, Any]:
        basic = (self.company.client_id, self.company.client_secret)
        return dict(self.session.refresh_token(f"{self.company.url}/token", auth=basic))

    def ask_as(self, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The same with another token."""
        own, self.session.token = self.session.token, {"access_token": token, "token_type": "Bearer"}
        try:
            return self.ask(method, path, body)
        finally:
            self.session.token = own

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.session.request(method, f"{self.company.url}/v100{path}", json=body, timeout=10)
        return answer.status_code, answer.json() if answer.content else None


async def consented(page: Page, application: Application, user: str, pictures: Path | None = None) -> str:
    """Where the browser is sent after a login and a consent with mouse and keys."""
    await page.go(application.authorize_url())
    await _judge(page, pictures, "login")
    await page.type("#email", f"{user}@example.com")
    await page.type("#password", PASSWORD)
    await page.click("button[value=login]")
    await page.until("document.querySelector('button[value=allow]') !== null")
    await _judge(page, pictures, "consent")
    assert application.company.client_id not in await page.js("document.body.innerText")
    await page.click("button[value=allow]")
    await page.until("location.pathname === '/cb'")
    return str(await page.js("location.href"))


async def _judge(page: Page, pictures: Path | None, name: str) -> None:
    """A page is whole and usable at both sizes; pictures of it are kept for whoever wants to look."""
    for width, height in (PHONE, DESKTOP):
        await page.resize(width, height)
        assert await page.js(JUDGE) == []
        if pictures is not None:
            await asyncio.to_thread((pictures / f"{name}-{width}.png").write_bytes, await page.picture())
    assert page.complaints == []


@on_both
async def test_a_day_of_a_customer(company: Company, page: Page, phones: dict[str, Baresip], tmp_path: Path) -> None:
    """A program is let in, subscribes, follows and records a call that comes, and places one; the records are read."""
    application = Application(company, ALL)
    back = await consented(page, application, "ada", tmp_path)
    tokens = application.fetch_token(back)
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    old = tokens["access_token"]
    assert application.refresh()["access_token"] != old
    status, user = application.ask("GET", "/user")
    assert (status, user["name"], [each["number"] for each in user["extensions"]]) == (200, "ada", ["201"])
    _, extensions = application.ask("GET", "/extensions")
    by_number = {each["number"]: each["id"] for each in extensions}
    assert set(by_number) == {"201", "202", "203", "31101000400"}
    _a_call_is_received_and_recorded(company, application, phones, by_number)
    _a_call_is_placed(company, application, phones, by_number)


def _a_call_is_received_and_recorded(
    company: Company, application: Application, phones: dict[str, Baresip], by_number: dict[str, str]
) -> None:
    """Bob calls Ada, whose program records what both say from then on, and ends the call."""
    path = "/received"
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": company.server.url(path)}
    assert application.ask("POST", "/subscriptions", wish)[0] == 201
    phones["bob"].dial(company.daemon.uri("201"))
    phones["ada"].wait_event("CALL_ESTABLISHED")
    created = company.wait_event(path, "created")
    call = created["call_id"]
    assert created["from"]["extension_id"] == by_number["202"]
    assert created["to"]["extension_id"] == by_number["201"]
    assert company.wait_event(path, "bridged")["calls"][0]["call_id"] == call

    def act(action: str) -> None:
        status, answer = application.ask("POST", f"/calls/{call}/{action}")
        assert status == 202, answer

    act("start-recording")
    assert company.wait_event(path, "start-recording")["call_id"] == call
    for listener, talker in (("ada", "bob"), ("bob", "ada")):
        heard = phones[listener].seconds_heard(TONES[talker])
        phones[listener].wait_heard(TONES[talker], heard + 1.0)
    act("stop-recording")
    company.wait_event(path, "stop-recording")
    act("terminate")
    for name in ("ada", "bob"):
        phones[name].wait_event("CALL_CLOSED")
    company.wait_event(path, "terminated", 2)
    kinds = [event["event_type"] for event in company.events(path) if event.get("call_id") == call]
    told = [kind for kind in kinds if kind != "ringing"]  # it may be taken before anybody can say that it rings
    assert told == ["created", "answered", "start-recording", "stop-recording", "terminated"], kinds

    record = _record(company, call)
    own, (leg,), (recording,) = record["call"], record["legs"], record["recordings"]
    assert (own["direction"], own["callee"], leg["callee"]) == ("inbound", "201", "ada-phone")
    assert all(each["started_at"] <= each["answered_at"] < each["finished_at"] for each in (own, leg))
    assert (recording["status"], recording["seconds"] >= 1.0) == ("done", True)
    bob, ada = sound.decoded(company.own_api.sound(own["id"]))
    for tone, here, elsewhere in ((TONES["bob"], bob, ada), (TONES["ada"], ada, bob)):
        assert sum(end - start for start, end in sound.find_tone(here, tone)) > 0.9, f"no {tone:g} Hz"
        assert not sound.find_tone(elsewhere, tone), f"{tone:g} Hz on the other channel, too"


def _record(company: Company, call_id: str) -> Any:
    """What the own API has of a call with this id of the Realtime API."""
    _, found = company.own_api.ask("GET", "/calls")
    (ident,) = [each["id"] for each in found["calls"] if of_call(each["id"]) == call_id]
    return company.own_api.record(ident)


def _a_call_is_placed(
    company: Company, application: Application, phones: dict[str, Baresip], by_number: dict[str, str]
) -> None:
    """Ada's telephone rings, then Bob's."""
    path = "/placed"
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": company.server.url(path)}
    status, subscription = application.ask("POST", "/subscriptions", wish)
    assert status == 201
    for phone in phones.values():
        phone.forget_call()
    assert application.ask("POST", "/calls", {"to": {"number": "202"}})[0] == 202
    phones["ada"].wait_event("CALL_ESTABLISHED")
    phones["bob"].wait_event("CALL_ESTABLISHED")
    company.wait_event(path, "answered", 2)
    own, leg = [event for event in company.events(path) if event["event_type"] == "created"]
    assert own["from"]["extension_id"] == leg["from"]["extension_id"] == by_number["201"]
    assert own["to"]["extension_id"] == leg["to"]["extension_id"] == by_number["202"]
    assert own["call_id"] != leg["call_id"]
    phones["bob"].hangup()
    phones["ada"].wait_event("CALL_CLOSED")
    company.wait_event(path, "terminated", 2)
    ends = [event for event in company.events(path) if event["event_type"] == "terminated"]
    assert {event["reason"] for event in ends} == {"hangup"}
    ids = [event["id"] for event in company.events(path)]
    assert len(ids) == len(set(ids))
    assert {hit.method for hit in company.server.hits if hit.path == path} == {"POST"}
    _, listed = application.ask("GET", "/subscriptions")
    assert subscription["id"] in [each["id"] for each in listed]
    assert application.ask("DELETE", f"/subscriptions/{subscription['id']}")[0] in (200, 204)
    record = _record(company, own["call_id"])
    assert record["call"]["direction"] == "outbound"
    assert [leg["callee"] for leg in record["legs"]] == ["ada-phone", "bob-phone"]
    assert all(each["answered_at"] < each["finished_at"] for each in (record["call"], *record["legs"]))
    assert record["recordings"] == []


async def test_a_live_call_is_managed(company: Company, page: Page, phones: dict[str, Baresip]) -> None:
    """Ada's program holds, records, hands on and ends what she talks about with others."""
    application = Application(company, ["calls.events", "calls.manage", "company.users"])
    application.fetch_token(await consented(page, application, "ada"))
    path = "/managed"
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": company.server.url(path)}
    assert application.ask("POST", "/subscriptions", wish)[0] == 201
    phones["bob"].dial(company.daemon.uri("201"))
    phones["ada"].wait_event("CALL_ESTABLISHED")
    call = company.wait_event(path, "created")["call_id"]
    bridged = company.wait_event(path, "bridged")
    assert bridged["calls"][0]["call_id"] == call
    assert company.wait_event(path, "ringing")["direction"] in ("inbound", "outbound")

    def act(action: str, body: Any = None) -> None:
        status, answer = application.ask("POST", f"/calls/{call}/{action}", body)
        assert status == 202, answer

    act("start-recording")
    act("start-recording")
    company.wait_event(path, "start-recording")
    act("hold")
    assert company.wait_event(path, "holding")["call_id"] == call, "bob, who is on the line, waits"
    act("resume")
    act("resume")
    company.wait_event(path, "resumed")
    phones["ada"].command("hold")  # of her own, with the telephone
    company.wait_event(path, "holding", 2)
    phones["ada"].command("resume")
    company.wait_event(path, "resumed", 2)
    events = [event for event in company.events(path) if event["event_type"] in ("holding", "resumed")]
    own = bridged["calls"][1]["call_id"]
    assert [event["call_id"] for event in events] == [call, call, own, own]
    leg = bridged["calls"][1]["call_id"]
    for action in ("terminate", "hangup", "transfer", "hold", "resume", "start-recording", "stop-recording"):
        for wanted in (call, leg, f"{call[:12]}-{'0' * 12}", "nothing"):
            token = company.stranger if wanted in (call, leg) else application.session.token["access_token"]
            body = {"target": {"number": "203"}}
            status, answer = application.ask_as(token, "POST", f"/calls/{wanted}/{action}", body)
            assert (status, answer["error_code"], answer["message"]) == (
                404,
                "entity_not_exist",
                "the call does not exist",
            )
    status, refused = application.ask("POST", f"/calls/{call}/transfer", {"target": {"number": "+31999999999"}})
    assert (status, refused["error_code"]) == (400, "validation")
    carl = next(each["id"] for each in application.ask("GET", "/extensions")[1] if each["number"] == "203")
    act("transfer", {"target": {"extension_id": carl}, "transfer_type": "blind"})
    phones["carl"].wait_event("CALL_ESTABLISHED")
    phones["ada"].wait_event("CALL_CLOSED")
    moved = company.wait_event(path, "transferred")
    assert (moved["before"]["to"]["number"], moved["after"]["to"]["number"]) == ("201", "203")
    assert (moved["before"]["from"], moved["transfer_type"]) == (moved["after"]["from"], "blind")
    assert moved["initiator"]["number"] == "201"
    act("stop-recording")
    company.wait_event(path, "stop-recording")
    act("terminate")
    for name in ("bob", "carl"):
        phones[name].wait_event("CALL_CLOSED")
    company.wait_event(path, "terminated", 3)
    kinds = [event["event_type"] for event in company.events(path)]
    for kind in ("start-recording", "stop-recording", "transferred"):
        assert kinds.count(kind) == 1, kinds
    assert application.ask("POST", f"/calls/{call}/hangup")[0] == 404
    own = call.replace("-", "")
    (recording,) = [path for path in company.daemon.recordings() if path.stem.startswith(own)]
    assert recording.stat().st_size > 8000


async def test_an_attended_transfer_is_completed_and_taken_back(
    company: Company, page: Page, phones: dict[str, Baresip]
) -> None:
    """Ada consults carl: with ``#`` she goes back to bob, with ``*`` bob and carl talk. The id is that of her leg."""
    application = Application(company, ["calls.events.personal", "calls.manage.personal"])
    application.fetch_token(await consented(page, application, "ada"))
    path = "/attended"
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": company.server.url(path)}
    assert application.ask("POST", "/subscriptions", wish)[0] == 201
    phones["bob"].dial(company.daemon.uri("201"))
    leg = company.wait_event(path, "bridged")["calls"][1]["call_id"]
    for key in ("#", "*"):
        phones["carl"].events.clear()
        body = {"target": {"number": "203"}, "transfer_type": "attended"}
        assert application.ask("POST", f"/calls/{leg}/transfer", body)[0] == 202
        phones["carl"].wait_event("CALL_ESTABLISHED")
        phones["ada"].press(key)
        phones["carl" if key == "#" else "ada"].wait_event("CALL_CLOSED")
    moved = company.wait_event(path, "transferred")
    assert (moved["transfer_type"], moved["initiator"]["number"]) == ("attended", "201")
    assert (moved["before"]["to"]["number"], moved["after"]["to"]["number"]) == ("201", "203")
    phones["bob"].hangup()
    phones["carl"].wait_event("CALL_CLOSED")


async def test_a_person_who_refuses_or_is_wrong_is_sent_back(company: Company, page: Page) -> None:
    application = Application(company, ["user.info"])
    await page.go(application.authorize_url())
    await page.click("button[value=deny]")
    await page.until("location.pathname === '/cb'")
    assert "error=access_denied" in await page.js("location.search")
    await page.go(application.authorize_url())
    await page.type("#email", "ada@example.com")
    await page.type("#password", "wrong")
    await page.click("button[value=login]")
    await page.until("location.search.includes('error=invalid_grant')")
    assert page.complaints == []


async def test_personal_scopes(company: Company, page: Page, phones: dict[str, Baresip]) -> None:
    """Bob is no admin: he follows and places his own calls."""
    application = Application(company, [f"calls.{each}.personal" for each in ("events", "manage", "create")])
    application.fetch_token(await consented(page, application, "bob"))
    path = "/personal"
    wish = {"event_types": ["*"], "mode": "detailed", "callback_url": company.server.url(path)}
    status, made = application.ask("POST", "/subscriptions", wish)
    assert (status, len(made["agents"])) == (201, 1)
    phones["ada"].dial(company.daemon.uri("203"))
    phones["carl"].wait_event("CALL_ESTABLISHED")
    phones["ada"].dial(company.daemon.uri("202"))
    phones["bob"].wait_event("CALL_ESTABLISHED")
    own = company.wait_event(path, "created")["call_id"]
    company.wait_event(path, "created", 2)
    for event in company.events(path):
        assert '"202"' in json.dumps(event)
        assert '"203"' not in json.dumps(event)
    for call in company.live():
        status = application.ask("POST", f"/calls/{call}/hangup")[0]
        assert status == (202 if call == own else 404), "what is not his is not there"
    phones["bob"].wait_event("CALL_CLOSED")
    refused = {"from": {"number": "201"}, "to": {"number": "203"}}
    assert application.ask("POST", "/calls", refused)[0] == 403
