"""The HTTP client, against a real server: where it may go, what it takes, how long it waits."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.callbacks import fetch as fetching
from engine.callbacks.fetch import Fetcher, FetchFailed
from engine.callbacks.urls import Refused, check_address

Until = Callable[..., Awaitable[None]]
NAMES = {"name_with.example": "127.0.0.1", "inside.example": "10.1.2.3", "both.example": "10.1.2.3 127.0.0.1"}


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allow_private=True)
    yield fetcher
    await fetcher.close()


@pytest.fixture
async def guarded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fetcher]:
    """A client for which 127.0.0.1 is the public internet, and 127.0.0.2 and the rest are as always."""

    def check(address: Any, *, allow_private: bool) -> None:
        if str(address) != "127.0.0.1":
            check_address(address, allow_private=allow_private)

    monkeypatch.setattr(fetching, "check_address", check)
    fetcher = Fetcher(allow_private=False)
    yield fetcher
    await fetcher.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name server of the test's own; the list says what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *rest: Any) -> Any:
        asked.append(host)
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in NAMES[host].split() for found in real(address, port, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def redirect(to: str, status: int = 302) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/end":
            return web.Response(text=request.method)
        return web.Response(status=status, headers={"Location": to})

    return answer


async def test_an_answer(server: Any, fetcher: Fetcher) -> None:
    answer = await fetcher.fetch("GET", f"{server.url}/a?b=c", timeout=5)
    assert (answer.status, answer.body, answer.complete) == (200, b"ok", True)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.url == f"{server.url}/a?b=c"
    (request,) = server.requests
    assert request.headers["User-Agent"] == "Ivrea"


async def test_names_with_underscores(server: Any, guarded: Fetcher, names: list[str]) -> None:
    answer = await guarded.fetch("GET", f"http://name_with.example:{server.port}/", timeout=5)
    assert answer.status == 200
    assert server.requests[0].headers["Host"] == f"name_with.example:{server.port}"
    assert names == ["name_with.example"]


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "127.1"])
async def test_private_addresses_are_refused_before_any_packet(guarded: Fetcher, host: str) -> None:
    with pytest.raises(Refused):
        await guarded.fetch("GET", f"http://{host}:9/", timeout=5)


async def test_names_that_lead_inside_are_refused(guarded: Fetcher, names: list[str]) -> None:
    with pytest.raises(Refused, match=r"inside\.example: 10\.1\.2\.3 is a private address"):
        await guarded.fetch("GET", "http://inside.example:9/", timeout=5)


async def test_of_several_addresses_only_the_public_are_asked(server: Any, guarded: Fetcher, names: list[str]) -> None:
    started = time.monotonic()
    answer = await guarded.fetch("GET", f"http://both.example:{server.port}/", timeout=5)
    assert answer.status == 200
    assert time.monotonic() - started < 1, "10.1.2.3 was tried first"


@pytest.mark.parametrize(
    "to", ["http://127.0.0.2:{port}/end", "http://10.0.0.1/", "//[::1]:{port}/", "file:///etc/passwd", "http://inside.example/"]
)  # fmt: skip
async def test_redirects_are_judged_anew(server: Any, guarded: Fetcher, names: list[str], to: str) -> None:
    server.answer = redirect(to.format(port=server.port))
    with pytest.raises(Refused):
        await guarded.fetch("GET", f"{server.url}/", timeout=5)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [("GET", 301, b"GET"), ("GET", 307, b"GET"), ("POST", 302, b"GET"), ("POST", 303, b"GET"), ("POST", 308, b"POST")],
)
async def test_redirects_are_followed(server: Any, fetcher: Fetcher, method: str, status: int, expected: bytes) -> None:
    server.answer = redirect("/end", status)
    answer = await fetcher.fetch(method, f"{server.url}/a/b", timeout=5, data=b"x" if method == "POST" else None)
    assert answer.body == expected
    assert server.bodies[-1] == (b"x" if expected == b"POST" else b"")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_who_insists_sends_method_and_body_again(
    server: Any, fetcher: Fetcher, method: str, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "sound.wav"
    file.write_bytes(b"x" * 100_000)
    server.answer = redirect("/end", status)
    for data, sent in ((b"told", b"told"), (file, file.read_bytes())):
        kind = {"Content-Type": "text/x-told"}
        answer = await fetcher.fetch(method, f"{server.url}/a", timeout=5, data=data, headers=kind, insist=True)
        assert (answer.status, answer.body) == (200, method.encode())
        assert server.bodies[-2:] == [sent, sent]
        assert server.requests[-1].headers["Content-Type"] == "text/x-told"


async def test_who_insists_takes_see_other_for_the_answer(server: Any, fetcher: Fetcher) -> None:
    """303 leads to something to be read (RFC 9110 section 15.4.4): there nothing can be told. Who asks follows it."""
    server.answer = redirect("/end", 303)
    for method in ("POST", "PUT"):
        answer = await fetcher.fetch(method, f"{server.url}/a", timeout=5, data=b"told", insist=True)
        assert (answer.status, answer.url) == (303, f"{server.url}/a")
    assert (await fetcher.fetch("GET", f"{server.url}/a", timeout=5, insist=True)).body == b"GET"


async def test_a_password_does_not_follow_a_redirect_to_another_host(server: Any, fetcher: Fetcher) -> None:
    """What proves us to a web server is told to that one alone; what says what a body is goes on."""
    secret = {"Authorization": "Basic c2VjcmV0", "Content-Type": "text/x-told"}
    for to, kept in (("/end", True), (f"http://localhost:{server.port}/end", False)):
        server.requests.clear()
        server.answer = redirect(to, 307)
        await fetcher.fetch("POST", f"{server.url}/", timeout=5, data=b"x", headers=secret)
        first, last = server.requests
        assert first.headers["Authorization"] == secret["Authorization"]
        assert ("Authorization" in last.headers, last.headers["Content-Type"]) == (kept, "text/x-told")


async def test_redirects_come_to_an_end(server: Any, fetcher: Fetcher) -> None:
    server.answer = redirect("/again")
    with pytest.raises(FetchFailed, match="more than 5 redirects"):
        await fetcher.fetch("GET", f"{server.url}/", timeout=5)
    assert len(server.requests) == 6


async def test_large_answers_are_cut(server: Any, fetcher: Fetcher) -> None:
    sent = 0

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1 << 26:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    server.answer = endless
    answer = await fetcher.fetch("GET", f"{server.url}/", timeout=5, body_limit=1000)
    assert (answer.body, answer.complete) == (b"x" * 1000, False)
    assert sent < 1 << 26


async def test_compressed_answers_are_not_blown_up(server: Any, fetcher: Fetcher) -> None:
    async def bomb(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(1 << 22)), headers={"Content-Encoding": "gzip"})

    server.answer = bomb
    answer = await fetcher.fetch("GET", f"{server.url}/", timeout=5)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"
    assert len(answer.body) < 10_000


async def test_one_budget_for_everything(server: Any, fetcher: Fetcher) -> None:
    async def trickle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.02)
        return response

    for answer in (server.hang, trickle):
        server.answer = answer
        started = time.monotonic()
        with pytest.raises(FetchFailed, match=r"no answer within 0\.2 s"):
            await fetcher.fetch("GET", f"{server.url}/", timeout=0.2)
        assert time.monotonic() - started < 1.5


async def test_a_name_server_that_hangs_delays_nobody_else(
    server: Any, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any) -> Any:
        if host.startswith("slow"):
            time.sleep(1)
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    slow = [
        asyncio.ensure_future(fetcher.fetch("GET", f"http://slow{number}.example:{server.port}/", timeout=0.5))
        for number in range(40)  # more than the default executor has threads
    ]
    await asyncio.sleep(0)
    started = time.monotonic()
    assert (await fetcher.fetch("GET", f"http://quick.example:{server.port}/", timeout=0.9)).status == 200
    assert time.monotonic() - started < 0.9
    assert all(isinstance(each, FetchFailed) for each in await asyncio.gather(*slow, return_exceptions=True))


@pytest.mark.parametrize("raw", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
async def test_broken_servers_are_failures(fetcher: Fetcher, raw: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(FetchFailed):
        await fetcher.fetch("GET", f"http://127.0.0.1:{port}/", timeout=5)
    server.close()


async def test_nobody_there(fetcher: Fetcher, names: list[str]) -> None:
    with pytest.raises(FetchFailed):
        await fetcher.fetch("GET", "http://127.0.0.1:1/", timeout=5)
    with pytest.raises(FetchFailed, match=r"nowhere\.example"):
        await fetcher.fetch("GET", "http://nowhere.example/", timeout=5)


async def test_no_cookies_are_kept(server: Any, fetcher: Fetcher) -> None:
    async def cookie(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"Set-Cookie": "who=a"})

    server.answer = cookie
    for _ in range(2):
        await fetcher.fetch("GET", f"{server.url}/", timeout=5)
    assert "Cookie" not in server.requests[1].headers
