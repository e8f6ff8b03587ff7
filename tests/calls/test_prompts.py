"""Prompts that a flow names by URL: fetched within limits, from where one may, and decoded from their bytes."""

from __future__ import annotations

import asyncio
import io
import os
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import web

from engine.callbacks import fetch as fetching
from engine.callbacks.fetch import Fetcher
from engine.callbacks.urls import check_address
from engine.calls import prompts
from engine.calls.flowbook import PromptError, Renderer
from engine.calls.numbers import Dialplan, NumberPlan
from engine.calls.prompts import PromptMaker, PromptTrimmer
from flows.prompts import Prompt
from media.arena import read_clip
from media.tts.store import PromptStore, content_key

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def sound(hertz: float = 1000.0, rate: int = 44100) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        tone = 4600 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
        file.writeframes(np.rint(tone).astype("<i2").tobytes())
    return buffer.getvalue()


class WebServer:
    """``answer`` decides what is said; ``sent`` counts the octets of an endless answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = 0
        self.answer: Answer = self.tone
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/prompt.wav"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        return await self.answer(request)

    async def tone(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=sound())

    async def endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while self.sent < 1 << 28:
            await response.write(bytes(65536))
            self.sent += 65536
        return response

    async def trickle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for octet in sound():
            await response.write(bytes([octet]))
            await asyncio.sleep(0.02)
        return response


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    server = WebServer()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


@pytest.fixture
async def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Renderer]:
    """For a flow in ``tmp_path``; 127.0.0.1 is the public internet, and the rest is as always."""

    def check(address: Any, *, allow_private: bool) -> None:
        if str(address) != "127.0.0.1":
            check_address(address, allow_private=allow_private)

    monkeypatch.setattr(fetching, "check_address", check)
    fetcher = Fetcher(allow_private=False)
    maker = PromptMaker(PromptStore(tmp_path / "prompts"), cast("Any", None), fetcher)
    yield maker.for_flow(tmp_path, "en")
    await fetcher.close()


def stored(folder: Path) -> list[Path]:
    return list((folder / "prompts").rglob("*.wav"))


async def test_a_prompt_from_the_web_is_kept_wide(server: WebServer, render: Renderer) -> None:
    path = await render(Prompt(media=server.url))
    heard = read_clip(str(path), 16000)[1600:14400]
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() * 16000 / heard.size == pytest.approx(1000, abs=2)
    assert heard.std() == pytest.approx(4600 / np.sqrt(2), rel=0.02)


async def test_a_slow_server_costs_its_own_prompt(
    server: WebServer, render: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prompts, "FETCH_SECONDS", 0.3)
    server.answer = server.trickle
    with pytest.raises(PromptError, match=r"no answer within 0\.3 s"):
        await asyncio.wait_for(render(Prompt(media=server.url)), 5)
    assert stored(tmp_path) == []


async def test_an_endless_answer_is_broken_off(
    server: WebServer, render: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prompts, "MAX_MEDIA_BYTES", 1 << 20)
    server.answer = server.endless
    with pytest.raises(PromptError, match="larger than 1 MiB"):
        await render(Prompt(media=server.url))
    assert server.sent < 1 << 25, "it was read on"
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    "to", ["http://127.0.0.2:{port}/a.wav", "http://10.0.0.1/a.wav", "http://[::1]:{port}/a.wav", "file:///etc/passwd"]
)
async def test_no_redirect_leads_inside(server: WebServer, render: Renderer, to: str) -> None:
    async def redirect(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to.format(port=server.port)})

    server.answer = redirect
    with pytest.raises(PromptError):
        await render(Prompt(media=server.url))
    assert server.asked == ["/prompt.wav"]


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.wav", "http://127.0.0.2:{port}/a.wav"])
async def test_no_url_leads_inside(server: WebServer, render: Renderer, url: str) -> None:
    with pytest.raises(PromptError):
        await render(Prompt(media=url.format(port=server.port)))
    assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/inside.wav\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        b"concat:/etc/passwd",
        b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff" + bytes(100),
        b"OggS" + bytes(100),
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(100),
    ],
)
async def test_what_is_no_sound_is_refused_by_its_content(
    server: WebServer, render: Renderer, content: bytes, tmp_path: Path
) -> None:
    body = content.replace(b"{port}", str(server.port).encode())

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type="audio/wav")

    server.answer = answer
    with pytest.raises(PromptError, match=f"{server.url}: "):
        await render(Prompt(media=server.url))
    assert server.asked == ["/prompt.wav"]
    assert stored(tmp_path) == []


async def test_an_error_of_the_server_is_said(server: WebServer, render: Renderer) -> None:
    async def missing(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404, body=sound())

    server.answer = missing
    with pytest.raises(PromptError, match="the server answered 404"):
        await render(Prompt(media=server.url))


async def test_only_http_is_a_url(render: Renderer, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound())
    assert await render(Prompt(media="a.wav"))
    for name in (f"file://{tmp_path}/a.wav", "ftp://127.0.0.1/a.wav", f"concat:{tmp_path}/a.wav", "pipe:0"):
        with pytest.raises(PromptError, match="No such file"):
            await render(Prompt(media=name))


async def test_sounds_in_use_stay_when_there_is_too_much(tmp_path: Path) -> None:
    store = PromptStore(tmp_path / "prompts")
    paths = [store.put(content_key(str(number)), np.ones(8000, np.int16)) for number in range(5)]
    for number, path in enumerate(paths):
        os.utime(path, (1000.0 + number,) * 2)
    trimmer = PromptTrimmer(store, 40_000, lambda: {paths[0]})
    await trimmer.trim()
    assert [path.exists() for path in paths] == [True, False, False, False, True]
    assert trimmer.octets == 2 * 16_044
    unlimited = PromptTrimmer(store, 0, lambda: ())
    await asyncio.wait_for(unlimited.run(), 5)
    assert paths[0].exists()


def test_all_plans_of_a_dialplan_are_found() -> None:
    plan = Dialplan(NumberPlan([("1", "a"), ("2*", "b")]), {"x": NumberPlan([("1", "a"), ("*", "c")])})
    assert sorted(plan.every()) == ["a", "a", "b", "c"]
