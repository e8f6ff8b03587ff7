"""Companies with users and dialplans behind the Realtime API, on a real web server; calls are pretended."""

from __future__ import annotations

import asyncio
import base64
import copy
import dataclasses
import hashlib
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
from fastapi import FastAPI

from engine.accounts import clients, repository, tokens
from engine.accounts.secrets import hashed
from engine.api.kwebbl.errors import ACCESS
from engine.api.kwebbl.mounting import mount
from engine.api.server import WebServer
from engine.api.services import ApiServices
from engine.callbacks.announcing import Announcements
from engine.calls.services import FlowError
from engine.config import Config
from engine.store import Store

PASSWORD = "correct horse"
BACK = "https://client.example/cb"
ALL = (
    "user.info company.dialplans company.users calls.events calls.events.personal calls.events.presence"
    " calls.manage calls.manage.personal calls.create calls.create.personal"
)


class Originator:
    """Notes the calls that it is to make."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []

    async def stored(self, account: str, flow: str) -> Any:
        if not flow:
            raise FlowError("there is no flow")
        return SimpleNamespace(name=flow, graph=None)

    def call(self, account: str, wish: Any, flow: Any) -> Any:
        self.calls.append((account, wish, flow))
        return SimpleNamespace(id="c" * 32)


@dataclass
class Company:
    """Ids of what an account has, by name."""

    account: str
    client_id: str
    client_secret: str
    users: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)


@dataclass
class Office:
    """The web server, with two companies: ``own``, and ``other``, whose ids are tried where they do not belong."""

    url: str
    store: Store
    services: ApiServices
    http: aiohttp.ClientSession
    own: Company
    other: Company
    originator: Originator
    settled: list[Any]

    async def idle(self) -> None:
        """Until what was said of deliveries is counted."""
        queue = self.settled[0].__self__._heard
        await asyncio.wait_for(queue.join(), 10)

    async def ask(self, method: str, path: str, token: str = "", body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(
            method, f"{self.url}/v100{path}", headers=headers, json=body, allow_redirects=False, **more
        ) as answer:
            text = await answer.read()
            return answer.status, await answer.json() if text else None

    def authorize_url(self, company: Company | None = None, **changed: str | None) -> str:
        wanted: dict[str, str | None] = {
            "response_type": "code",
            "client_id": (company or self.own).client_id,
            "redirect_uri": BACK,
            "state": "xyz",
            **changed,
        }
        pairs = {name: value for name, value in wanted.items() if value is not None}
        return f"{self.url}/authorize?{urlencode(pairs)}"

    async def token(self, user: str, scope: str = ALL, company: Company | None = None) -> str:
        """An access token of a user, without the way over the pages."""
        company = company or self.own
        about = {"kind": ACCESS, "scopes": scope.split(), "client_id": company.client_id}
        async with self.store.writing() as connection:
            return await tokens.issue(connection, company.account, company.users[user], **about)

    async def tokens(self, user: str, scope: str = ALL, company: Company | None = None) -> dict[str, Any]:
        """A pair of tokens, by way of the pages."""
        company = company or self.own
        code = await self.code(user, scope, company)
        status, answer = await self.exchange(company, code=code)
        assert status == 200, answer
        return cast("dict[str, Any]", answer)

    async def code(self, user: str, scope: str = ALL, company: Company | None = None, **more: str) -> str:
        browser = Browser(self)
        try:
            url = self.authorize_url(company, scope=scope, **more)
            await browser.log_in(url, f"{user}@{(company or self.own).account}.example")
            back = await browser.press("allow")
        finally:
            await browser.close()
        return back["code"]

    async def exchange(self, company: Company, **fields: str) -> tuple[int, Any]:
        body = {"grant_type": "authorization_code", "redirect_uri": BACK, **fields}
        basic = {"Authorization": aiohttp.encode_basic_auth(company.client_id, company.client_secret)}
        async with self.http.post(f"{self.url}/token", json=body, headers=basic) as answer:
            return answer.status, await answer.json()

    async def refresh(self, company: Company, token: str, **fields: str) -> tuple[int, Any]:
        body = {"grant_type": "refresh_token", "refresh_token": token, **fields}
        basic = {"Authorization": aiohttp.encode_basic_auth(company.client_id, company.client_secret)}
        async with self.http.post(f"{self.url}/token", data=body, headers=basic) as answer:
            return answer.status, await answer.json()


class Browser:
    """Cookies, and the page that is open; its forms are read out of the HTML."""

    def __init__(self, office: Office) -> None:
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.office = office
        self.url, self.page, self.status = "", "", 0
        self.headers: Any = {}

    async def close(self) -> None:
        await self._http.close()

    async def open(self, url: str) -> str:
        """The page at ``url``, or where it sends the browser."""
        async with self._http.get(url, allow_redirects=False) as answer:
            return await self._taken(url, answer)

    async def _taken(self, url: str, answer: aiohttp.ClientResponse) -> str:
        self.status, self.headers = answer.status, answer.headers
        location = answer.headers.get("Location", "")
        if location.startswith("/"):
            return await self.open(f"{self.office.url}{location}")
        if location:
            return location
        self.url, self.page = url, await answer.text()
        return self.page

    async def send(self, action: str, headers: dict[str, str] | None = None, **fields: str) -> str:
        form = {**self.hidden(), "action": action, **fields}
        async with self._http.post(self.url, data=form, headers=headers, allow_redirects=False) as answer:
            return await self._taken(self.url, answer)

    def hidden(self) -> dict[str, str]:
        return dict(re.findall(r'<input type="?hidden"? name="(\w+)" value="([^"]*)">', self.page))

    async def log_in(self, url: str, email: str, password: str = PASSWORD) -> str:
        await self.open(url)
        return await self.send("login", email=email, password=password)

    async def press(self, action: str) -> dict[str, str]:
        """What comes back to the application."""
        location = await self.send(action)
        assert location.startswith(BACK), location
        return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


def proof() -> tuple[str, str]:
    """A code_verifier and its code_challenge."""
    verifier = secrets.token_urlsafe(48)
    return verifier, base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


_KEPT = hashed(PASSWORD)


async def make_company(store: Store, name: str) -> Company:
    """``ada`` (admin, 201), ``bob`` (agent, 202), ``eve`` (agent, no extension), the group 300, the flow 400 with a
    number from outside, and a flow that has only such a number.
    """
    async with store.writing() as connection:
        account = await repository.add_account(connection, name, id=name)
        client, secret = await clients.add(connection, account.id, f"{name}'s CRM", redirect_uris=[BACK])
        company = Company(account.id, client.id, secret)
        for user, role, number in (("ada", "admin", "201"), ("bob", "agent", "202"), ("eve", "agent", "")):
            await repository.add_device(connection, name, f"{name}-{user}", {})
            made = await repository.add_user(connection, name, user, role=role, devices=[f"{name}-{user}"])
            await repository.set_login(connection, name, made.id, email=f"{user}@{name}.example", password=_KEPT)
            company.users[user] = made.id
            if number:
                row = await repository.add_extension(connection, name, number, user_id=made.id)
                company.extensions[number] = row.id
        group = await repository.add_group(connection, name, "sales", ["ada", "bob"])
        company.extensions["300"] = (await repository.add_extension(connection, name, "300", group_id=group.id)).id
        prefix = "31101" if name == "own" else "31102"
        for flow, extension, number in (("Reception", "400", f"+{prefix}000400"), ("Night", "", f"{prefix}000500")):
            stored = await repository.save_flow(connection, name, flow, "{}")
            row = await repository.add_number(connection, name, number, stored.flow.id)
            company.numbers[flow] = row.id
            if extension:
                made_extension = await repository.add_extension(connection, name, extension, flow_id=stored.flow.id)
                company.extensions[extension] = made_extension.id
    return company


@dataclass(frozen=True)
class Template:
    """A database with two companies, to be copied."""

    file: Path
    own: Company
    other: Company


async def make_template(folder: Path) -> Template:
    store = Store(f"sqlite+aiosqlite:///{folder}/ivrea.db")
    await store.migrate()
    made = Template(folder / "ivrea.db", await make_company(store, "own"), await make_company(store, "other"))
    await store.close()
    return made


@asynccontextmanager
async def office_in(folder: Path, template: Template, **realtime: Any) -> AsyncIterator[Office]:
    """An office with a database in ``folder``."""
    shutil.copy(template.file, folder / "ivrea.db")
    store = Store(f"sqlite+aiosqlite:///{folder}/ivrea.db")
    config = Config.given(
        {"http": {"listen": "127.0.0.1:0"}, "callbacks": {"allow_private": True}, "realtime": realtime}
    )
    settled: list[Any] = []
    tasks: list[asyncio.Task[None]] = []
    originator = Originator()

    async def changed() -> None:
        """Nobody routes calls here."""

    callbacks = SimpleNamespace(store=store, announcements=Announcements(), on_settled=settled.append)
    there: dict[str, Any] = {
        "config": config,
        "callbacks": callbacks,
        "switch": SimpleNamespace(calls={}, calls_of=lambda _account: [], check_number=lambda _account, _number: None),
        "originator": originator,
        "changed": changed,
        "public_url": lambda: "",
        "background": lambda work: tasks.append(asyncio.create_task(work)),
    }
    others = {each.name for each in dataclasses.fields(ApiServices) if each.default_factory is dataclasses.MISSING}
    services = ApiServices(**{**dict.fromkeys(others), **there})
    app = FastAPI()
    app.include_router(mount(services))
    server = WebServer(app, config.http)
    await server.start()
    try:
        own, other = copy.deepcopy(template.own), copy.deepcopy(template.other)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            yield Office(server.url, store, services, http, own, other, originator, settled)
    finally:
        await server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
