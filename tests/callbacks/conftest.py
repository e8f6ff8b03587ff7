"""A database with its tables, a journal, and a web server that can be told how to behave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from engine.callbacks.journal import Journal
from engine.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}")
    await store.migrate()
    yield store
    await store.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "journal")
    yield journal
    journal.close()


class WebServer:
    """Keeps what was asked; ``answer`` decides what is said."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self.ok
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()

    async def ok(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="ok")

    async def hang(self, _request: web.BaseRequest) -> web.StreamResponse:
        await self._stopping.wait()
        return web.Response()

    async def fail(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests]

    async def start(self) -> None:
        self._stopping.clear()
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            self._stopping.set()
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await self.answer(request)


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    server = WebServer()
    await server.start()
    yield server
    await server.stop()


async def until(true: Callable[[], bool], patience: float = 5.0) -> None:
    """Wait for a condition of another task; fail when it does not come."""
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110 - the condition is any
            await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[None]]:
    return until
