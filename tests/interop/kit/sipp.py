"""SIPp as a peer: scenarios are XML files in ``scenarios/``, ``@NAME@`` in them is filled in per run.

What many have in common is in ``scenarios/parts/``: ``<?press 2 7?>`` stands for the text of ``press.xml``, in which
``%1%`` is the first word behind the name, and ``%2+%`` everything from the second word on.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kit import sound
from kit.daemon import poll
from kit.ports import free_port, free_range
from kit.sound import Samples

SCENARIOS = Path(__file__).parents[1] / "scenarios"
_PART = re.compile(r"<\?(?!xml)(\w+)\s*(.*?)\?>", re.DOTALL)
_WORD = re.compile(r"%(\d)(\+?)%")

MOST_TOGETHER = 200
"""Calls at a time that there are ports for, unless it is said how many there may be."""


@dataclass(slots=True)
class Sipp:
    """A running SIPp. Its messages, errors and log lie in its folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    host: str = "127.0.0.1"

    def finish(self, patience: float = 40.0) -> None:
        """Wait for the end of all calls; a failed call fails the test with what SIPp has to say."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"SIPp was not done within {patience} s\n{self.story()}") from None
        assert status == 0, f"SIPp left with {status}\n{self.story()}"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def story(self) -> str:
        parts = [path.read_text(errors="replace")[-6000:] for path in sorted(self.folder.glob("sipp_*"))]
        return "\n".join(parts)

    def messages(self) -> str:
        return (self.folder / "sipp_messages").read_text(errors="replace")

    def received(self, beginning: str = "") -> list[tuple[float, str]]:
        """The messages that came, in order, whose first line begins like this; each with its time, in seconds since the
        epoch.
        """
        marks = re.split(r"^-+ (\S+ \S+)\n", self.messages(), flags=re.MULTILINE)
        came = [
            (datetime.fromisoformat(at).timestamp(), text.partition("\n\n")[2])
            for at, text in zip(marks[1::2], marks[2::2], strict=True)
            if " message received " in text
        ]
        return [each for each in came if each[1].startswith(beginning)]

    def log(self) -> str:
        path = self.folder / "sipp_logs"
        return path.read_text(errors="replace") if path.exists() else ""


def with_parts(text: str) -> str:
    """A scenario with its parts put in, and theirs."""

    def part(found: re.Match[str]) -> str:
        body = (SCENARIOS / "parts" / f"{found[1]}.xml").read_text().rstrip("\n")
        words = found[2].split()

        def word(wanted: re.Match[str]) -> str:
            first = int(wanted[1]) - 1
            if not wanted[2]:
                return words[first]
            return found[2].split(maxsplit=first)[-1] if len(words) > first else ""

        return with_parts(_WORD.sub(word, body))

    return _PART.sub(part, text)


def start(
    scenario: str,
    folder: Path,
    *,
    server: tuple[str, int] | None = None,
    number: str = "1000",
    fill: dict[str, str] | None = None,
    audio: Samples | None = None,
    calls: int = 1,
    rate: float = 1.0,
    together: int = 0,
    transport: str = "u1",
    host: str = "127.0.0.1",
    port: int = 0,
    patience: int = 120,
    traced: bool = True,
    arguments: Sequence[str] = (),
) -> Sipp:
    """Start ``scenario``: towards ``server`` as a caller, or listening when there is none.

    ``audio`` becomes ``caller.ul`` in the folder, which is what the scenarios play. ``host``: its own address, at which
    it also wants its sound; ``port`` 0: any. After ``patience`` seconds it gives up.
    Not ``traced``: no copy of each message is kept, for runs of many calls.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = with_parts((SCENARIOS / f"{scenario}.xml").read_text())
    for name, value in (fill or {}).items():
        text = text.replace(f"@{name}@", value)
    (folder / "scenario.xml").write_text(text)
    if "caller.ul" in text:
        (folder / "caller.ul").write_bytes(sound.to_ulaw(audio if audio is not None else sound.silence(60.0)))
    port = port or free_port(host=host)
    low, high = free_range(2 * min(calls, together or MOST_TOGETHER) + 10)
    while low <= port <= high:  # it would take its own port for sound
        low, high = free_range(2 * calls + 10)
    command = ["sipp", "-sf", "scenario.xml", "-i", host, "-p", str(port), "-m", str(calls), "-t", transport]
    command += ["-nostdin", "-timeout", str(patience), "-timeout_error", "-bind_local", "-mi", host, "-mp", str(low)]
    if traced:
        command += ["-trace_msg", "-message_file", "sipp_messages"]
    command += ["-trace_err", "-error_file", "sipp_errors"]
    command += ["-trace_logs", "-log_file", "sipp_logs", "-skip_rlimit", *arguments]
    if server is not None:
        there = f"[{server[0]}]" if ":" in server[0] else server[0]
        command += ["-s", number, "-r", str(rate), "-l", str(together or calls), f"{there}:{server[1]}"]
    with (folder / "sipp_output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    running = Sipp(process, folder, port, host)
    if server is None:
        kind = socket.SOCK_DGRAM if transport.startswith("u") else socket.SOCK_STREAM
        poll(lambda: _listens(running, kind), 5, "SIPp did not listen")
    return running


def _listens(sipp: Sipp, kind: socket.SocketKind) -> bool | None:
    if sipp.process.poll() is not None:
        raise AssertionError(f"SIPp left with {sipp.process.returncode}\n{sipp.story()}")
    with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
        try:
            probe.bind((sipp.host, sipp.port))
        except OSError:
            return True
    return None


def write_dtmf_pcap(path: Path, key: str, *, at: float = 0.0, marker: bool = True) -> None:
    """:func:`dtmf_pcap` in a file."""
    path.write_bytes(dtmf_pcap(key, at=at, marker=marker))


def dtmf_pcap(key: str, *, at: float = 0.0, on: float = 0.1, marker: bool = True, event_type: int = 101) -> bytes:
    """An Ethernet capture of one RFC 4733 key, ``at`` seconds into its stream, for ``play_pcap_audio``."""
    sequence, timestamp = 1000 + round(at * 50), 48000 + round(at * 8000)
    code = "0123456789*#ABCD".index(key)
    frames = max(1, round(on / 0.02))
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for index in range(frames + 2):
        body = struct.pack("!BBH", code, (0x80 if index >= frames - 1 else 0) | 10, min(index + 1, frames) * 160)
        first = 0x80 if marker and index == 0 else 0
        rtp = struct.pack("!BBHII", 0x80, first | event_type, sequence + index, timestamp, 0x1234) + body
        udp = struct.pack("!HHHH", 40000, 40002, 8 + len(rtp), 0) + rtp
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + udp
        frame = b"\0" * 12 + b"\x08\0" + ip
        microseconds = min(index, frames - 1) * 20_000
        records.append(struct.pack("<IIII", 0, microseconds, len(frame), len(frame)) + frame)
    return b"".join(records)
