"""Names that are said: what is kept of them, and until when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from engine.calls import naming, taken
from engine.calls.naming import Names
from flows.call import CallEnded, Input, Key, RecordingOrder, Unsupported


class Caller:
    """Who says a name of so many ``seconds``, and presses a key."""

    def __init__(self, seconds: float = 1.0, why: str = "stopped", *, hangs_up: bool = False) -> None:
        self.seconds, self.why, self.hangs_up = seconds, why, hangs_up
        self.signalling = self
        self.troubles: list[str] = []
        self.listed: list[bool] = []
        self.path = Path()

    def now(self) -> float:
        return 0.0

    def stop(self) -> None: ...

    def trouble(self, what: str) -> None:
        self.troubles.append(what)

    async def next(self, deadline: float | None) -> Input | None:
        if deadline is not None:
            return None
        if self.hangs_up:
            raise CallEnded("caller", "hung up")
        return Key("5", 0.0)

    def begin_recording(self, order: RecordingOrder, path: Path, *, listed: bool) -> str:
        if self.why == "no stream":
            raise Unsupported("there is no media stream to record")
        self.listed.append(listed)
        self.path = path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"sound")
        return "1"

    async def complete_recording(self, recording: str) -> tuple[float, str]:
        return self.seconds, self.why


async def ask(names: Names, caller: Caller) -> Path | None:
    return await names.ask(cast("Any", caller))


async def test_a_name_is_kept_until_it_was_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.Event()

    async def discard(path: Path) -> None:
        await taken.discard(path)
        gone.set()

    monkeypatch.setattr(naming, "KEPT", 0.0)
    monkeypatch.setattr(naming, "discard", discard)
    names, caller = Names(tmp_path / "names"), Caller()
    path = await ask(names, caller)
    assert path is not None
    assert path.is_file()
    assert caller.listed == [False], "it is no recording of the call"
    names.let_go(path)
    await asyncio.wait_for(gone.wait(), 5)
    assert not path.exists()


@pytest.mark.parametrize(
    ("caller", "troubles"),
    [
        (Caller(0.1), []),
        (Caller(0.0, "No space left on device"), ["no name is announced: No space left on device"]),
        (Caller(0.0, "no stream"), ["no name is announced: there is no media stream to record"]),
    ],
)
async def test_what_is_no_name_is_not_kept(tmp_path: Path, caller: Caller, troubles: list[str]) -> None:
    assert await ask(Names(tmp_path / "names"), caller) is None
    assert not caller.path.is_file()
    assert caller.troubles == troubles


async def test_who_hangs_up_leaves_no_name(tmp_path: Path) -> None:
    caller = Caller(hangs_up=True)
    with pytest.raises(CallEnded):
        await ask(Names(tmp_path / "names"), caller)
    assert not caller.path.exists()


async def test_names_of_an_earlier_life_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "old.wav").touch()
    Names(tmp_path / "names")
    assert not (tmp_path / "names").exists()
