"""Chromium, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kit.daemon import poll

PATIENCE = 20.0


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """What the page reported as errors: what its policy refused, for example."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command, and its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            told = json.loads((await self._socket.receive(timeout=PATIENCE)).data)
            if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.complaints.append(told["params"]["entry"]["text"])
            if told.get("id") == number:
                assert "error" not in told, told
                return dict(told["result"])

    async def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def go(self, url: str) -> None:
        await self.ask("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true. While a page is being left there is nothing to ask."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
            if found.get("result", {}).get("value") is True:
                return
            assert time.monotonic() < deadline, f"not {expression}: {await self.js('document.body.innerText')}"
            await asyncio.sleep(0.05)

    async def type(self, selector: str, text: str) -> None:
        """Type into a field, as a person does."""
        await self.js(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.ask("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click in the middle of something, with the mouse."""
        middle = await self.js(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)}); it.scrollIntoView();"
            " const at = it.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    async def resize(self, width: int, height: int) -> None:
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def picture(self) -> bytes:
        """As PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot"))["data"])


class Chromium:
    """A browser process with a profile of its own in ``folder``, which takes any certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._profile = folder / "chromium.log", folder / "profile"
        command = [shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--ignore-certificate-errors", "--remote-debugging-port=0", "--no-first-run"]
        command += [f"--user-data-dir={self._profile}", "about:blank"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = poll(self._port, PATIENCE, "chromium did not listen")

    def _port(self) -> int | None:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        file = self._profile / "DevToolsActivePort"
        lines = file.read_text().split() if file.exists() else []
        return int(lines[0]) if lines else None

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def page_of(browser: Chromium) -> AsyncIterator[Page]:
    """A new tab of a browser."""
    async with aiohttp.ClientSession() as http:
        async with http.put(f"http://127.0.0.1:{browser.port}/json/new?about:blank") as answer:
            socket = json.loads(await answer.text())["webSocketDebuggerUrl"]
        async with http.ws_connect(socket, max_msg_size=0) as connection:
            page = Page(connection)
            await page.ask("Page.enable")
            await page.ask("Log.enable")
            yield page
