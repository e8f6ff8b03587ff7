"""Callers who wait for each other, without media."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls import parking
from engine.calls.media import MediaError
from engine.calls.parking import Lots
from flows.call import CallEnded


class Caller:
    """A call that waits, as parking sees it. What it is told, and what is shown of it, is put down."""

    def __init__(self, name: str) -> None:
        self.said: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self.signalling = SimpleNamespace(publish=lambda *state: self.shown.append(state))
        self.playing = False
        self.dumb = False
        """Whether there is no voice for it."""
        self.id = self.caller = name
        self.facts = {"call.account": "default"}
        self.ended = False
        self.music = asyncio.Event()
        self.music.set()
        self.played = 0
        self._wake = asyncio.Event()
        self.on_hold = object()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def poke(self) -> None:
        self._wake.set()

    def hang_up(self) -> None:
        self.ended = True
        self.music.set()
        self.poke()

    def _check(self) -> None:
        if self.ended:
            raise CallEnded("caller", "hung up")

    async def prepare(self, prompts: Any) -> Any:
        self.said += (prompt.text for prompt in prompts if prompt.text)
        await self.music.wait()
        self._check()
        return () if self.dumb else prompts

    def start(self, prompts: Any, *, loop: bool = False) -> None:
        self.played += 1

    def play_files(self, files: Any, *, loop: bool = False) -> None:
        self.played += 1

    def stop(self) -> None: ...

    async def key_or_change(self, deadline: float | None) -> str:
        self._check()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), None if deadline is None else max(0.0, deadline - self.now()))
        self._wake.clear()
        self._check()
        return ""


class Bridge:
    """In place of :func:`engine.calls.links.coupled`."""

    problem: MediaError | None = None

    def __init__(self, *_: Any) -> None: ...

    async def __aenter__(self) -> None:
        if self.problem is not None:
            raise self.problem

    async def __aexit__(self, *_: object) -> None: ...


def quiet_lots(monkeypatch: pytest.MonkeyPatch) -> Lots:
    """Whoever is taken hears the other one at once, or :attr:`Bridge.problem` is raised."""
    monkeypatch.setattr(parking, "coupled", Bridge)
    monkeypatch.setattr(parking, "_side", lambda call: call)
    monkeypatch.setattr(Bridge, "problem", None)
    return Lots(cast("Any", SimpleNamespace(music="music.wav")))
