"""Clients of the web server that are slow on purpose, or many: they lose their connection, and nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from pki import Authority
from starlette.responses import StreamingResponse

from engine.api.server import WebServer
from engine.config import Config

HEAD, BODY = 0.4, 0.4
PIECE = b"x" * 500
BIG = 8 * 1024 * 1024

pytestmark = pytest.mark.both_loops


def app() -> FastAPI:
    """``read`` waits for the body, ``late`` looks at it after a while, ``no`` never; ``poll`` answers late."""
    made = FastAPI()

    @made.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    @made.post("/late")
    async def late(request: Request) -> int:
        await asyncio.sleep(BODY * 2)
        return len(await request.body())

    @made.get("/poll")
    async def poll() -> str:
        await asyncio.sleep(HEAD * 3)
        return "done"

    @made.get("/big")
    async def big() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(BIG // 65536):
                yield b"z" * 65536

        return StreamingResponse(pieces(), headers={"Content-Length": str(BIG)})

    @made.post("/no")
    async def no() -> str:
        return "not read"

    return made


@asynccontextmanager
async def served(**keys: Any) -> AsyncIterator[tuple[WebServer, int]]:
    """A web server with little patience, and its port."""
    http = {"listen": "127.0.0.1:0", "head_timeout": HEAD, "body_timeout": BODY, "send_timeout": 0.5, **keys}
    server = WebServer(app(), Config.given({"http": http}).http)
    await server.start()
    try:
        yield server, int(server.url.rpartition(":")[2])
    finally:
        await server.close()


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int, **more: Any) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port, **more))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def drip(self, data: bytes, every: float) -> None:
        """Octet by octet, until the other side has had enough."""
        with contextlib.suppress(OSError):
            for octet in data:
                self.send(bytes([octet]))
                await self.writer.drain()
                await asyncio.sleep(every)

    async def rest(self, patience: float = 5.0) -> bytes:
        """All that comes until the other side closes."""
        async with asyncio.timeout(patience):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def head(self) -> bytes:
        async with asyncio.timeout(5):
            return (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]


async def emptied(server: WebServer) -> None:
    """No connection is left."""
    async with asyncio.timeout(5):
        while server.connections:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)


def post(path: str, length: int, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_a_head_that_comes_slowly_is_not_waited_for() -> None:
    async with served() as (server, port):
        silent, slow = await Client.to(port), await Client.to(port)
        began = time.monotonic()
        dripping = asyncio.create_task(slow.drip(b"GET /poll HTTP/1.1\r\nX: " + b"y" * 500, 0.02))
        assert await silent.rest() == b""
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
        assert HEAD * 0.8 < time.monotonic() - began < HEAD * 5
        dripping.cancel()
        second = await Client.to(port)
        second.send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\nGET /sl")
        said = await second.rest()
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in said, "the next one on a connection that is kept has no more time"
        assert server.refused["slow_head"] == 3
        await emptied(server)


async def test_a_body_that_comes_slowly_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (server, port):
        slow = await Client.to(port)
        slow.send(post("/read", 10_000))
        dripping = asyncio.create_task(slow.drip(b"z" * 10_000, 0.02))
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()
        answered = await Client.to(port)
        answered.send(post("/no", 10_000))
        dripping = asyncio.create_task(answered.drip(b"z" * 10_000, 0.02))
        assert await answered.head() == b"HTTP/1.1 200 OK"
        await answered.rest()
        dripping.cancel()
        assert server.refused["slow_body"] == 2
        assert "Traceback" not in caplog.text


async def test_long_polls_and_uploads_that_go_on_are_left_alone() -> None:
    async with served() as (server, port):
        poll, upload, late, asking = [await Client.to(port) for _ in range(4)]
        poll.send(b"GET /poll HTTP/1.1\r\nHost: here\r\n\r\n")
        upload.send(post("/read", 500 * 12))
        late.send(post("/late", 300_000) + b"z" * 200_000)  # more than is read before it is wanted
        asking.send(post("/late", 10, "Expect: 100-continue"))
        asked = asyncio.create_task(asking.head())
        asked.add_done_callback(lambda _: asking.send(b"z" * 10))
        for place in range(12):
            upload.send(PIECE)
            if place == 9:
                late.send(b"z" * 100_000)
            await asyncio.sleep(0.1)
        assert await asked == b"HTTP/1.1 100 Continue"
        for client in (poll, upload, late, asking):
            assert await client.head() == b"HTTP/1.1 200 OK"
        assert not server.refused


async def test_who_does_not_take_the_answer_loses_it() -> None:
    async with served() as (server, port):
        stuck, slow = await Client.to(port, limit=1024), await Client.to(port)
        for client in (stuck, slow):
            client.send(b"GET /big HTTP/1.1\r\nHost: here\r\n\r\n")
        taken = 0
        async with asyncio.timeout(20):
            while data := await slow.reader.read(512 * 1024):
                taken += len(data)
                await asyncio.sleep(0.02)
                if taken >= BIG:
                    break
            while not server.refused["slow_answer"]:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.02)
        assert server.refused == {"slow_answer": 1}
        stuck.writer.close()


async def test_how_many_connections_there_may_be() -> None:
    async with served(connections=5, connections_per_address=3, head_timeout=0) as (server, port):
        clients = [await Client.to(port) for _ in range(3)]
        clients[0].send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await clients[0].head() == b"HTTP/1.1 200 OK"
        assert (await (await Client.to(port)).rest()).startswith(b"HTTP/1.1 503 ")
        others = [await Client.to(port, local_addr=("127.0.0.2", 0)) for _ in range(2)]
        others[1].send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await others[1].head() == b"HTTP/1.1 200 OK"
        assert (await (await Client.to(port, local_addr=("127.0.0.3", 0))).rest()).startswith(b"HTTP/1.1 503 ")
        assert server.refused == {"connections_of_address": 1, "connections": 1}
        assert server.connections == 5
        clients[0].writer.close()
        async with asyncio.timeout(5):
            while server.connections == 5:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.01)
        again = await Client.to(port)
        again.send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert (await again.rest()).startswith(b"HTTP/1.1 200 ")


async def test_a_trusted_proxy_brings_many_clients() -> None:
    async with served(connections_per_address=1, trusted_proxies=["127.0.0.1"]) as (server, port):
        clients = [await Client.to(port) for _ in range(4)]
        for client in clients:
            client.send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n")
            assert await client.head() == b"HTTP/1.1 200 OK"
        assert not server.refused


async def test_a_handshake_that_never_ends_is_one_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.sign("localhost", dns=("localhost",))
    tls = {"tls_cert": str(own.cert), "tls_key": str(own.key), "connections": 1}
    async with served(**tls) as (server, port):
        silent = await Client.to(port)
        silent.send(b"\x16\x03")
        async with asyncio.timeout(5):
            while not server.connections:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.01)
        assert await (await Client.to(port)).rest() == b""
        await silent.rest()
        await emptied(server)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        honest = await Client.to(port, ssl=context)
        honest.send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert (await honest.head()) == b"HTTP/1.1 200 OK"
