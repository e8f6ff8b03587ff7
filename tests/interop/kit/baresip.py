"""baresip as a softphone: a configuration folder of its own, driven over its TCP control socket."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from kit import sound
from kit.daemon import poll
from kit.network import Namespace
from kit.ports import free_port, free_range
from kit.sound import Samples

MODULE_FOLDERS = (
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
    "/usr/local/lib/baresip/modules",
)


class Baresip:
    """One baresip process. ``audio`` is played to the far end from the answer on, once, from 8 kHz, or 16 kHz if it is
    ``wide``: it speaks G.722 then, and nothing else. With ``keep`` it keeps what it :meth:`heard`; with ``answers`` it
    takes calls; with a ``server`` (host:port) and a ``password`` it registers there, by ``transport``. With a
    ``certificate`` (PEM, key included) it speaks TLS, and verifies by ``authority``; ``srtp`` is its media encryption:
    ``srtp`` (if the other end wants it), ``srtp-mand``. What it asks goes to ``proxy`` (a SIP URI), if there is one.
    ``host`` and ``place``: its address, in a network of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str = "baresip",
        audio: Samples | None = None,
        wide: bool = False,
        keep: bool = False,
        answers: bool = False,
        server: str = "",
        password: str = "",
        certificate: Path | None = None,
        authority: Path | None = None,
        srtp: str = "",
        transport: str = "",
        port: int = 0,
        proxy: str = "",
        host: str = "127.0.0.1",
        place: Namespace | None = None,
    ) -> None:
        self._host, self._place = host, place or Namespace()
        self._keep = keep or wide
        self._certificate, self._authority, self._srtp = certificate, authority, srtp
        transport = "tls" if certificate else transport
        kind = f";transport={transport}" if transport else ""
        own = f"<sip:{user}@{server}{kind}>;auth_pass={password};regint=60" if server else ""
        more = [";answermode=auto"] if answers else []
        more += [f";mediaenc={srtp}"] if srtp else []
        more += [f';outbound="{proxy}"'] if proxy else []
        self._account = (own, "".join(more))
        self.folder = folder
        self._rate = 16000 if wide else sound.RATE
        self._codecs = "G722/16000/1" if wide else "PCMU/8000/1,PCMA/8000/1"
        folder.mkdir(parents=True, exist_ok=True)
        self.user = user
        self.control_port = free_port(socket.SOCK_STREAM)
        self.sip_port = port or free_port(following=1)  # TLS is on the next one
        self._low, self._high = free_range(20)
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._write_configuration(audio if audio is not None else sound.silence(30.0), wide=wide)
        self._log = (folder / "baresip.log").open("wb")
        self.process = subprocess.Popen(
            [*self._place.prefix, shutil.which("baresip") or "baresip", "-f", str(folder), "-s"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._control = poll(self._connect, 10, "baresip's control socket did not open")

    def _connect(self) -> socket.socket | None:
        if self.process.poll() is not None:
            raise AssertionError(f"baresip left with {self.process.returncode}:\n{self.log()}")
        try:
            with self._place:
                return socket.create_connection(("127.0.0.1", self.control_port), timeout=1)
        except OSError:
            return None

    def _write_configuration(self, audio: Samples, *, wide: bool) -> None:
        modules = next((Path(folder) for folder in MODULE_FOLDERS if Path(folder).is_dir()), None)
        assert modules is not None, "baresip's modules were not found"
        sound.write_wav(self.folder / "caller.wav", audio, rate=self._rate)
        lines = [
            f"sip_listen {self._host}:{self.sip_port}",
            f"rtp_ports {self._low}-{self._high}",
            f"audio_source aufile,{self.folder / 'caller.wav'}",
            "audio_player aufile,/dev/null",
            "audio_alert aufile,/dev/null",
            f"audio_srate {self._rate}-{self._rate}",
            "audio_channels 1-1",
            "audio_buffer 20-160",
            f"module_path {modules}",
            "module g711.so",
            "module g722.so",
            "module aufile.so",
            *(["module sndfile.so", f"snd_path {self.folder}"] if self._keep else []),
            *(["module srtp.so"] if self._srtp else []),
            *([f"sip_certificate {self._certificate}"] if self._certificate else []),
            *([f"sip_cafile {self._authority}", "sip_verify_server yes"] if self._authority else []),
            "module_tmp uuid.so",
            "module_tmp account.so",
            "module_app menu.so",
            "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen 127.0.0.1:{self.control_port}",
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        own, mode = self._account
        own = own or f"<sip:{self.user}@{self._host}:{self.sip_port}>;regint=0"
        (self.folder / "accounts").write_text(f"{own}{mode};audio_codecs={self._codecs}\n")
        (self.folder / "contacts").write_text("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is not None:
            print(f"--- baresip:\n{self.log()[-4000:]}")

    def close(self) -> None:
        self._control.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    @property
    def uri(self) -> str:
        """TLS is on the port after the others'."""
        if self._certificate is not None:
            return f"sip:{self.user}@{self._host}:{self.sip_port + 1};transport=tls"
        return f"sip:{self.user}@{self._host}:{self.sip_port}"

    def heard(self) -> tuple[int, Samples]:
        """Rate and sound of what was decoded; to be asked when the call is over."""
        (dump,) = self.folder.glob("dump-*-dec.wav")
        rate, channels = sound.read_wav(dump)
        return rate, channels[0]

    def forget_call(self) -> None:
        """Forget what happened so far, and what was heard: the next call is on its own."""
        self.events.clear()
        for dump in self.folder.glob("dump-*-dec.wav"):
            dump.unlink()

    def seconds_heard(self, frequency: float) -> float:
        """How long a tone was heard so far, also in the middle of a call; it must keep what it hears."""
        seconds = 0.0
        for dump in self.folder.glob("dump-*-dec.wav"):
            whole = dump.read_bytes()[44:]  # of which the header says nothing until the call is over
            samples = np.frombuffer(whole[: len(whole) & ~1], "<i2") / 32768
            found = sound.find_tone(samples, frequency) if len(samples) > sound.RATE // 10 else []
            seconds += sum(end - start for start, end in found)
        return seconds

    def wait_heard(self, frequency: float, seconds: float = 0.5, patience: float = 15.0) -> None:
        """Wait until a tone was heard for so long."""
        complaint = f"{self.user} did not hear {frequency:g} Hz for {seconds:g} s"
        poll(lambda: self.seconds_heard(frequency) >= seconds or None, patience, complaint, every=0.1)

    def log(self) -> str:
        return (self.folder / "baresip.log").read_text(errors="replace")

    # --- control: JSON in netstrings ------------------------------------------------------------

    def command(self, command: str, parameters: str = "", patience: float = 5.0) -> dict[str, Any]:
        """Run a command of baresip's menu; its answer."""
        token = f"{time.monotonic_ns()}"
        body = json.dumps({"command": command, "params": parameters, "token": token}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))
        return self._read_until(
            lambda row: row.get("response") and row.get("token") == token, patience, f"answer to {command}"
        )

    def wait_event(self, kind: str, patience: float = 10.0) -> dict[str, Any]:
        """Wait for an event such as ``CALL_ESTABLISHED`` or ``CALL_CLOSED``."""
        for row in self.events:
            if row.get("type") == kind:
                return row
        return self._read_until(lambda row: row.get("type") == kind, patience, kind)

    def _read_until(self, wanted: Any, patience: float, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while True:
            rows = self._rows()
            self.events += [row for row in rows if row.get("event")]  # those behind the wanted one too
            found = next(filter(wanted, rows), None)
            if found is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                kinds = [row.get("type") for row in self.events]
                raise AssertionError(
                    f"no {what} from baresip within {patience} s; events {kinds}\n{self.log()[-3000:]}"
                )
            self._control.settimeout(left)
            try:
                data = self._control.recv(65536)
            except TimeoutError:
                continue
            assert data, f"baresip closed its control socket\n{self.log()[-3000:]}"
            self._buffer += data

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        while b":" in self._buffer:
            size, _, rest = self._buffer.partition(b":")
            if len(rest) <= int(size):
                break
            rows.append(json.loads(rest[: int(size)]))
            self._buffer = rest[int(size) + 1 :]
        return rows

    # --- a call ---------------------------------------------------------------------------------

    def dial(self, uri: str) -> None:
        answer = self.command("dial", uri)
        assert answer.get("ok"), answer

    def press(self, key: str) -> None:
        self.command("sndcode", key)

    def hangup(self) -> None:
        self.command("hangup")
