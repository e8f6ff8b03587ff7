"""A speaking process that misbehaves, and one that is not there."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

PRELUDE = """
import os, pathlib, sys, time
import numpy as np
from media.ipc import Failed, Ready
from media.servant import Servant
from media.tts.messages import Render, RenderFailed, Rendered
from media.tts.store import PromptStore

folder = pathlib.Path(sys.argv[sys.argv.index("--store") + 1])
servant = Servant(int(sys.argv[sys.argv.index("--fd") + 1]), Render)
lives = len(list(folder.parent.glob("life-*")))
(folder.parent / f"life-{lives}").touch()

def say(request):
    PromptStore(folder).put(request.key, np.ones(8000, np.int16))
    servant.send(Rendered(request.job, 1.0))

def ready():
    servant.send(Ready(os.getpid(), "fake"))
"""

Maker = Callable[..., Synth]


@pytest.fixture
def speaking(tmp_path: Path, store: PromptStore, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """A :class:`Synth` whose process runs ``body``."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("media.tts.synth.missing_extra", lambda: None)
    monkeypatch.setattr("media.tts.synth._version", lambda: "fake")

    def make(body: str, **options: float) -> Synth:
        (tmp_path / "fake_speaker.py").write_text(PRELUDE + body)
        return Synth(store, module="fake_speaker", **options)

    return make


def lives(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("life-*")))


async def test_a_hang_is_killed_and_retried_once(speaking: Maker, tmp_path: Path) -> None:
    body = "ready()\nfor r in servant.requests():\n    time.sleep(1e6) if lives == 0 else say(r)"
    synth = speaking(body, render_timeout=0.3)
    assert (await asyncio.wait_for(synth.render("hello"), 20)).exists()
    assert (lives(tmp_path), synth.restarts) == (2, 1)
    await synth.close()


async def test_a_process_that_always_hangs_is_an_error_with_its_reason(speaking: Maker, tmp_path: Path) -> None:
    synth = speaking("ready()\ntime.sleep(1e6)", render_timeout=0.3)
    with pytest.raises(SynthError, match="no answer within 0 s"):
        await synth.render("hello")
    assert lives(tmp_path) == 2
    await synth.close()


async def test_a_process_that_dies_names_its_status(speaking: Maker, tmp_path: Path) -> None:
    synth = speaking("ready()\nfor r in servant.requests():\n    os._exit(3)")
    with pytest.raises(SynthError, match="ended with status 3"):
        await synth.render("hello")
    assert lives(tmp_path) == 2
    await synth.close()


async def test_a_claim_without_a_prompt_is_not_believed(speaking: Maker) -> None:
    synth = speaking("ready()\nfor r in servant.requests():\n    servant.send(Rendered(r.job, 1.0))")
    with pytest.raises(SynthError, match="delivered no prompt"):
        await synth.render("hello")
    await synth.close()


async def test_a_late_answer_is_not_taken_for_another(speaking: Maker) -> None:
    """The answer to a job that was given up must not complete the next one."""
    body = "ready()\nfor r in servant.requests():\n    servant.send(Rendered(r.job - 1, 1.0)); say(r)"
    synth = speaking(body)
    assert (await synth.render("hello")).exists()
    await synth.close()


async def test_a_final_refusal_is_not_retried(speaking: Maker, tmp_path: Path) -> None:
    body = "ready()\nfor r in servant.requests():\n    servant.send(RenderFailed(r.job, 'no such voice', True))"
    synth = speaking(body)
    with pytest.raises(SynthError, match="no such voice"):
        await synth.render("hello")
    assert (lives(tmp_path), synth.restarts) == (1, 0)
    await synth.close()


async def test_a_process_that_cannot_start_says_why_for_good(speaking: Maker, tmp_path: Path) -> None:
    synth = speaking("servant.send(Failed('the library is broken'))")
    for _ in range(2):
        with pytest.raises(SynthError, match="the library is broken"):
            await (synth.start() if synth.available() else synth.render("hello"))
    assert synth.unavailable_reason == "the library is broken"
    assert lives(tmp_path) == 1
    await synth.close()


async def test_a_process_that_never_gets_ready_is_an_error(speaking: Maker) -> None:
    synth = speaking("time.sleep(1e6)", start_timeout=0.5)
    with pytest.raises(SynthError, match="no answer"):
        await synth.start()
    assert synth.pid is None
    await synth.close()


async def test_a_cancelled_waiter_leaves_the_others_their_prompt(speaking: Maker, tmp_path: Path) -> None:
    synth = speaking("ready()\nfor r in servant.requests():\n    time.sleep(0.3); say(r)")
    impatient, patient = (asyncio.create_task(synth.render("hello")) for _ in range(2))
    await asyncio.sleep(0.1)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert (await patient).exists()
    assert lives(tmp_path) == 1
    await synth.close()


async def test_closing_in_the_middle_fails_the_waiters_and_ends_the_process(speaking: Maker) -> None:
    synth = speaking("ready()\ntime.sleep(1e6)")
    await synth.start()
    pid = synth.pid
    assert pid is not None
    waiters = [asyncio.create_task(synth.render(text)) for text in ("one", "two", "two")]
    await asyncio.sleep(0.1)
    await asyncio.wait_for(synth.close(), 2)
    for waiter in waiters:
        with pytest.raises(SynthError, match="closed"):
            await waiter
    with pytest.raises(SynthError, match="closed"):
        await synth.render("three")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_process_goes_within_a_second_of_its_killed_parent(speaking: Maker, tmp_path: Path) -> None:
    speaking("(folder.parent / 'pid').write_text(str(os.getpid()))\nready()\ntime.sleep(1e6)")
    code = (
        "import asyncio, pathlib, media.tts.synth as s\n"
        "s.missing_extra = lambda: None\n"
        "s._version = lambda: 'fake'\n"
        "async def main():\n"
        f"    synth = s.Synth(s.PromptStore(pathlib.Path({str(tmp_path / 'prompts')!r})), module='fake_speaker')\n"
        "    await synth.start()\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"up\n"
    child = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    deadline = time.monotonic() + 1.0
    while running(child):
        assert time.monotonic() < deadline, "the speaking process outlived its parent"
        await asyncio.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process lives; a zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_without_the_extra_texts_are_refused_and_say_how_to_get_it(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyttsx3" else found(name))
    synth = Synth(store)
    await synth.start()
    assert not synth.available()
    assert "ivrea[tts]" in (synth.unavailable_reason or "")
    with pytest.raises(SynthError, match="pyttsx3 missing"):
        await synth.render("hello")
    assert synth.pid is None
    await synth.close()


def test_the_daemon_never_imports_the_engine() -> None:
    code = (
        "import sys, media.tts.synth, media.tts.store, media.tts.voices, media.files\n"
        "print(sorted({'pyttsx3', 'espeakng_loader', 'av', 'soxr'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"
