"""``ivrea doctor``: the daemon calls itself, and says in a line for each check what works and what does not.

A daemon of its own, with the given configuration but free ports on loopback and a folder of
its own, is called by the test caller: keys by all three methods, a spoken word, the
recording, the callbacks. What can only be known on the real addresses is checked on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from engine.accounts.importing import conflicts_of, flow_files
from engine.addresses import is_wildcard
from engine.calls.flowbook import FlowError, read_flow_files
from engine.commands.caller import CallerError, KeyMethod, TestCaller
from engine.config import Address, Config
from engine.flowcheck import knowledge
from engine.security import read_certificates
from engine.serving.daemon import Daemon, StartError
from engine.serving.welcome import about
from engine.store import Store
from engine.transport.certificates import CertificateError
from engine.transport.net import address_towards
from flows.check import check_document
from flows.findings import has_errors
from flows.script import Press, Say, Statement
from media.tts.synth import missing_extra

State = Literal["ok", "warning", "failed"]

AUDIBLE_DBFS = -45.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    state: State
    detail: str


class Doctor:
    """Runs all checks; ``on_check`` gets each as it is known."""

    def __init__(self, config: Config, on_check: Callable[[Check], None]) -> None:
        self.failed = False
        self._config = config
        self._on_check = on_check
        self._callbacks: list[dict[str, str]] = []
        self._came = asyncio.Condition()

    async def run(self) -> bool:
        """Whether nothing failed."""
        self._check_addresses()
        self._check_flows()
        self._check_folders()
        await self._check_import()
        with tempfile.TemporaryDirectory(prefix="ivrea-doctor-") as folder:
            async with self._callback_server() as url:
                daemon = Daemon(self._own_config(Path(folder), url))
                try:
                    await daemon.start()
                except StartError as error:
                    self._say("start", "failed", str(error))
                    return False
                try:
                    self._say("start", "ok", about(daemon))
                    await self._call_it(daemon, Path(folder))
                finally:
                    await daemon.stop(patience=0.0)
        return not self.failed

    # --- the configured addresses -------------------------------------------------------

    def _check_addresses(self) -> None:
        for address in self._config.sip.addresses:
            problem = _cannot_bind(address)
            if problem:
                self._say(f"listen on {address}", "warning", problem)
            else:
                self._say(f"listen on {address}", "ok", "the address is free")
            if is_wildcard(address.host) and self._config.sip.advertised is None:
                ours = address_towards("192.0.2.1" if ":" not in address.host else "2001:db8::1")
                self._say(
                    "advertise",
                    "warning",
                    f"phones elsewhere will be told {ours}; behind NAT set sip.advertise and rtp.advertise",
                )
        try:
            read_certificates(self._config)
        except CertificateError as error:
            self._say("certificates", "failed", str(error))
        if not self._config.numbers:
            self._say("numbers", "warning", "no [[numbers]]: every call will be refused with 404")

    # --- what is configured -------------------------------------------------------------

    def _check_flows(self) -> None:
        for path, dialect in sorted({(number.flow, number.dialect) for number in self._config.numbers if number.flow}):
            known = knowledge(Path(path).parent, vosk_model=self._config.speech.vosk_model)
            try:
                document = Path(path).read_bytes()
            except OSError as error:
                self._say(f"flow {path}", "failed", error.strerror or str(error))
                continue
            findings = check_document(document, name=Path(path).name, dialect=dialect, knowledge=known)
            serious = [finding for finding in findings if finding.severity != "info"]
            state: State = "failed" if has_errors(findings) else "warning" if serious else "ok"
            self._say(f"flow {path}", state, "; ".join(map(str, serious)) or "good")

    def _check_folders(self) -> None:
        for what, folder in (("recordings", self._config.store.recordings), ("state", self._config.store.state)):
            there = next(each for each in (Path(folder), *Path(folder).parents) if each.exists())
            if there.is_dir() and os.access(there, os.W_OK):
                self._say(what, "ok", folder)
            else:
                self._say(what, "failed", f"{there} cannot be written to")

    async def _check_import(self) -> None:
        """What of the file the database of the daemon has no room for; nothing is changed there."""
        store = Store(self._config.store.url)
        try:
            if not _is_there(store):
                return  # it is made at the first start
            texts = await read_flow_files(path for path, _ in flow_files(self._config))
            conflicts = await conflicts_of(store, self._config, texts)
        except FlowError:
            return  # the check of flows has said so
        except (SQLAlchemyError, OSError) as error:
            self._say("database", "warning", f"cannot be looked at: {type(error).__name__}: {error}".splitlines()[0])
        else:
            for conflict in conflicts:
                self._say("import", "failed", f"{conflict}; it is not served, the rest is")
            if not conflicts:
                self._say("import", "ok", "all rows of the file are served")
        finally:
            await store.close()

    # --- the call to itself -------------------------------------------------------------

    def _own_config(self, folder: Path, url: str) -> Config:
        """The given configuration on free loopback ports, in a folder of its own, with a flow of our own."""
        welcome, thanks, goodbye = "Press one, or say yes.", "Thank you. Press two.", "That was heard. Goodbye."
        if missing_extra():
            welcome = thanks = goodbye = str(_write_tone(folder / "tone.wav"))
        tree = {
            "_": welcome,
            f"$api {url}": "",
            "key:1": {"_": thanks, "key:2": goodbye},
            "yes": goodbye,
        }
        flow = folder / "doctor.json"
        flow.write_text(json.dumps(tree))
        own = {
            "sip": {"listen": ["udp:127.0.0.1:0"], "open": True},
            "rtp": {"ports": self._config.rtp.ports, "workers": 1},
            "http": {"listen": "127.0.0.1:0"},
            "store": {
                "url": f"sqlite+aiosqlite:///{folder}/doctor.db",
                "recordings": f"{folder}/recordings",
                "state": f"{folder}/state",
            },
            "speech": self._config.speech.model_dump(),
            "callbacks": {"allow_private": True},
            "calls": {"settle_ms": self._config.calls.settle_ms, "listen": 3.0, "repeats": 1, "max_duration": 60.0},
            "numbers": [{"number": "*", "flow": str(flow), "record": True}],
        }
        return Config.given(own)

    async def _call_it(self, daemon: Daemon, folder: Path) -> None:
        target = f"sip:doctor@127.0.0.1:{daemon.sip_port}"
        for method in ("rfc4733", "inband", "info"):
            await self._one(
                f"keys by {method}",
                target,
                [Press("1"), Press("2")],
                "key%3A1/key%3A2",
                dtmf=method,
            )
        if missing_extra():
            self._say("a spoken word", "warning", f"not tried: {missing_extra()}")
        else:
            await self._one("a spoken word", target, [Say("yes")], "yes")
        self._check_callbacks()
        self._check_recordings(folder / "recordings")

    async def _one(
        self, name: str, target: str, script: list[Statement], path: str, *, dtmf: KeyMethod = "rfc4733"
    ) -> None:
        before = len(self._callbacks)
        try:
            report = await TestCaller(target, script, dtmf=dtmf, longest=45.0).run()
        except CallerError as error:
            self._say(name, "failed", str(error))
            return
        if not report.answered:
            self._say(name, "failed", f"the call was refused: {report.status} {report.reason}")
            return
        if not report.heard:
            self._say(name, "failed", "nothing was heard of the prompt")
            return
        came_to = await self._closing_path(before)
        if came_to != path:
            self._say(name, "failed", f"the call should have come to {path}, it came to {came_to!r}")
            return
        self._say(name, "ok", f"heard in {report.duration:.1f} s, {report.lost} packets lost")

    async def _closing_path(self, before: int, patience: float = 5.0) -> str | None:
        """The path in the ``close`` that comes after the first ``before`` callbacks; ``None`` if none does."""

        def path() -> str | None:
            return next((each["path"] for each in self._callbacks[before:] if each.get("e") == "close"), None)

        async with self._came:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._came.wait_for(lambda: path() is not None)
        return path()

    def _check_callbacks(self) -> None:
        kinds = [each.get("e") for each in self._callbacks]
        if kinds.count("open") and kinds.count("close") == kinds.count("open"):
            self._say("callbacks", "ok", f"{len(kinds)} came: one open and one close for each call")
        else:
            self._say("callbacks", "failed", f"came: {', '.join(map(str, kinds)) or 'none'}")

    def _check_recordings(self, folder: Path) -> None:
        files = sorted(folder.rglob("*.wav"))
        if not files:
            self._say("recording", "failed", "no recording was written")
            return
        with wave.open(str(files[0]), "rb") as recording:
            seconds = recording.getnframes() / recording.getframerate()
            sound = np.frombuffer(recording.readframes(recording.getnframes()), np.int16).reshape(-1, 2)
        level = 20 * np.log10(max(float(np.sqrt(np.mean(sound[:, 1].astype(float) ** 2))) / 32768, 1e-6))
        if level < AUDIBLE_DBFS:
            self._say("recording", "failed", f"{seconds:.1f} s, but the prompt is not in it ({level:.0f} dBFS)")
        else:
            self._say(
                "recording", "ok", f"{len(files)} files, the first {seconds:.1f} s long, prompt at {level:.0f} dBFS"
            )

    # --- callbacks ----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _callback_server(self) -> AsyncIterator[str]:
        async def take(request: web.Request) -> web.Response:
            async with self._came:
                self._callbacks.append(dict(request.query))
                self._came.notify_all()
            return web.Response()

        app = web.Application()
        app.router.add_get("/doctor", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/doctor"
        finally:
            await runner.cleanup()

    def _say(self, name: str, state: State, detail: str) -> None:
        self.failed |= state == "failed"
        self._on_check(Check(name, state, detail))


def _write_tone(path: Path) -> Path:
    """A second of sound for a daemon that cannot speak."""
    time = np.arange(8000) / 8000
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((3000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes())
    return path


def _is_there(store: Store) -> bool:
    """Whether there is a database to be looked at: that a file is missing is no fault of a server."""
    return not store.is_sqlite or Path(store.url.database or "").is_file()


def _cannot_bind(address: Address) -> str:
    kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return f"{error.strerror} (is the daemon running already?)"
    return ""
