"""All APIs on a web server, with a database behind them and no switch: calls are pretended."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from fastapi import FastAPI

from engine.accounts import clients, repository, tokens
from engine.api.brombler.mount import KIND as BROMBLER
from engine.api.kwebbl.errors import ACCESS
from engine.api.kwebbl.scopes import SCOPES
from engine.api.mounts import mount_all
from engine.api.server import WebServer
from engine.api.services import ApiServices
from engine.callbacks.announcing import Announcements
from engine.config import Config
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT

BACK = "https://client.example/cb"


@dataclass
class House:
    """Of each account the id and the tokens of its owner by kind."""

    url: str
    store: Store
    http: aiohttp.ClientSession
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    client: tuple[str, str] = ("", "")
    calls: dict[str, Any] = field(default_factory=dict)
    """The switch's, by id."""

    async def ask(self, method: str, path: str, token: str = "", **more: Any) -> tuple[int, str]:
        headers = {**({"Authorization": token} if token else {}), **more.pop("headers", {})}
        async with self.http.request(
            method, f"{self.url}{path}", headers=headers, allow_redirects=False, **more
        ) as answer:
            return answer.status, await answer.text()

    def bearer(self, account: str = DEFAULT_ACCOUNT, kind: str = "bearer") -> str:
        return f"Bearer {self.tokens[account][kind]}"


@asynccontextmanager
async def served(store: Store, folder: Path, **api: Any) -> AsyncIterator[House]:
    """``api``: keys of the section ``[api]``."""
    config = Config.given({"http": {"listen": "127.0.0.1:0"}, "store": {"state": str(folder)}, "api": api})
    tasks: list[asyncio.Task[None]] = []

    async def changed() -> None:
        """Nobody routes calls here."""

    async def flushed(_patience: float) -> bool:
        return True

    callbacks = SimpleNamespace(
        store=store, announcements=Announcements(), on_settled=lambda _: None, wake=lambda: None, flush=flushed
    )
    calls: dict[str, Any] = {}
    there: dict[str, Any] = {
        "config": config,
        "callbacks": callbacks,
        "switch": SimpleNamespace(calls=calls, calls_of=lambda _account: []),
        "dialler": SimpleNamespace(preparing=[], wake=lambda: None),
        "directory": lambda: SimpleNamespace(trunks=()),
        "changed": changed,
        "background": lambda work: tasks.append(asyncio.create_task(work)),
    }
    others = {each.name for each in dataclasses.fields(ApiServices) if each.default_factory is dataclasses.MISSING}
    app = FastAPI()
    mount_all(app, ApiServices(**{**dict.fromkeys(others), **there}))
    server = WebServer(app, config.http)
    await server.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            made = House(server.url, store, http, calls=calls)
            async with store.writing() as connection:
                for name in (DEFAULT_ACCOUNT, "other"):
                    await repository.add_account(connection, name, id=name)
                    owner = await tokens.owner_of(connection, name)
                    kinds_of = ("bearer", "access_key", ACCESS, BROMBLER)
                    made.tokens[name] = {
                        kind: await tokens.issue(connection, name, owner.id, kind=kind, scopes=tuple(SCOPES))
                        for kind in kinds_of
                    }
                client, secret = await clients.add(connection, "other", "crm", redirect_uris=[BACK])
                made.client = client.id, secret
            yield made
    finally:
        await server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
