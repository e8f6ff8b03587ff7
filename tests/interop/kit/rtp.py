"""A bare RTP endpoint on a thread of its own: paces packets out, keeps every packet that came in.

It shares no code with ``media``: what it sends may be as odd as a test wants, and what it received
carries the kernel's time stamp, so that times on the wire can be judged to the millisecond.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from kit import sound
from kit.sound import FRAME, RATE, Samples

SO_TIMESTAMPNS = 35
T = TypeVar("T")
_HEADER = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet as it was received; ``at`` is the kernel's receive time on the clock of ``time.time``."""

    at: float
    sequence: int
    timestamp: int
    ssrc: int
    payload_type: int
    marker: bool
    payload: bytes


class Pattern:
    """What happens to the datagrams of one direction, one letter each, repeated for ever.

    ``.`` passes, ``x`` is lost, ``2`` arrives twice, ``r`` arrives after its successor.
    """

    def __init__(self, letters: str = ".") -> None:
        self._letters = letters
        self._count = 0
        self._held: list[bytes] = []

    def apply(self, data: bytes) -> list[bytes]:
        letter = self._letters[self._count % len(self._letters)]
        self._count += 1
        if letter == "r":
            self._held.append(data)
            return []
        passed = {"x": [], "2": [data, data]}.get(letter, [data])
        held, self._held = self._held, []
        return passed + held


class RtpEndpoint:
    """One RTP stream each way.

    Frames to send are queued in order; silence leaves when the queue is empty (so symmetric RTP
    always has something to latch on) unless ``idle`` is false. ``echo``: what is received goes back
    after ``echo_delay`` seconds, ``echo_db`` louder.
    """

    def __init__(self, host: str = "127.0.0.1", *, alaw: bool = False, event_type: int = 101, seed: int = 1) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.settimeout(0.2)
        self.host, self.port = self.socket.getsockname()[:2]
        self.remote: tuple[str, int] | None = None
        self.packets: list[Packet] = []
        self.sent_at: dict[str, float] = {}
        self.idle = True
        self.mute = False
        self.out_pattern = Pattern()
        self.echo_delay = 0.0
        self.echo_db: float | None = None
        self._alaw = alaw
        self._event_type = event_type
        dice = random.Random(seed)
        self.ssrc = dice.getrandbits(32)
        self._sequence = dice.getrandbits(15)
        self._timestamp = dice.getrandbits(31)
        self._queue: deque[tuple[str, list[tuple[int, bool, int, bytes]]]] = deque()
        self._idle_payload = self.encode(sound.silence(FRAME / RATE))
        self._stopping = threading.Event()
        self._arrived = threading.Condition()
        self._drained = threading.Event()
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._receive, self._send)]

    def start(self, remote: tuple[str, int]) -> None:
        self.remote = remote
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()

    def close(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self.socket.close()

    def change_ssrc(self) -> None:
        self.ssrc ^= 0x5A5A5A5A
        self._sequence = (self._sequence + 20011) & 0xFFFF
        self._timestamp = (self._timestamp + 977_777) & 0xFFFFFFFF

    # --- out ----------------------------------------------------------------------------------

    def encode(self, samples: Samples) -> bytes:
        return sound.to_alaw(samples) if self._alaw else sound.to_ulaw(samples)

    def say(self, samples: Samples, name: str = "") -> None:
        """Queue sound; ``sent_at[name]`` will be the time at which its first packet left."""
        padded = np.concatenate([samples, sound.silence(0)])
        if len(padded) % FRAME:
            padded = np.concatenate([padded, np.zeros(FRAME - len(padded) % FRAME)])
        payload = self.encode(padded)
        kind = 8 if self._alaw else 0
        for start in range(0, len(payload), FRAME):
            self._queue.append((name if start == 0 else "", [(kind, False, 0, payload[start : start + FRAME])]))

    def send_payloads(self, payload_type: int, payloads: Iterable[bytes]) -> None:
        """Queue frames of 20 ms that were encoded elsewhere."""
        for payload in payloads:
            self._queue.append(("", [(payload_type, False, 0, payload)]))

    def press(
        self,
        key: str,
        *,
        on: float = 0.1,
        off: float = 0.1,
        marker: bool = True,
        ends: int = 3,
        name: str = "",
        inband: bool = False,
    ) -> None:
        """Queue a key as RFC 4733 events: one time stamp, growing duration, ``ends`` end packets.

        With ``inband`` the tone itself is sent in the audio at the same time, as some gateways do.
        """
        code = "0123456789*#ABCD".index(key)
        frames = max(1, round(on * RATE / FRAME))
        tone = self.encode(sound.dtmf(key, frames * FRAME / RATE, 0)) if inband else b""
        for index in range(frames):
            last = index == frames - 1
            body = struct.pack("!BBH", code, (0x80 if last else 0) | 10, (index + 1) * FRAME)
            # RFC 4733 section 2.5.1.2: all packets of an event carry the time stamp of its begin.
            packets = [(self._event_type, marker and index == 0, -index * FRAME, body)] * (ends if last else 1)
            if inband:
                packets = [(8 if self._alaw else 0, False, 0, tone[index * FRAME : (index + 1) * FRAME]), *packets]
            self._queue.append((name if index == 0 else "", packets))
        if off:
            self.say(sound.silence(off))

    def drained(self, patience: float = 60.0) -> None:
        """Wait until everything queued has been sent."""
        self._drained.clear()
        assert not self._queue or self._drained.wait(patience), "the RTP endpoint did not send all it was given"

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            for data in self._next_frame():
                with contextlib.suppress(OSError):
                    if self.remote is not None and not self.mute:
                        self.socket.sendto(data, self.remote)
            self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
            due += FRAME / RATE
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def _next_frame(self) -> Iterable[bytes]:
        if self._queue:
            name, packets = self._queue.popleft()
            if not self._queue:
                self._drained.set()
            if name:
                self.sent_at[name] = time.time()
        elif self.echo_db is not None:
            packets = [(8 if self._alaw else 0, False, 0, self._echo())]
        elif self.idle:
            packets = [(8 if self._alaw else 0, False, 0, self._idle_payload)]
        else:
            packets = []
        for kind, marker, offset, payload in packets:
            head = _HEADER.pack(
                0x80, kind | (0x80 if marker else 0), self._sequence, (self._timestamp + offset) & 0xFFFFFFFF, self.ssrc
            )
            self._sequence = (self._sequence + 1) & 0xFFFF
            yield from self.out_pattern.apply(head + payload)

    def _echo(self) -> bytes:
        """The frame received ``echo_delay`` ago, at another level."""
        back = round(self.echo_delay * RATE / FRAME)
        frames = [packet for packet in self.packets[-back - 25 :] if packet.payload_type in {0, 8}]
        if len(frames) <= back:
            return self._idle_payload
        samples = self.decode(frames[-1 - back])
        assert self.echo_db is not None
        return self.encode(samples * 10 ** (self.echo_db / 20))[:FRAME].ljust(FRAME, self._idle_payload[:1])

    # --- in -----------------------------------------------------------------------------------

    def _receive(self) -> None:
        while not self._stopping.is_set():
            try:
                data, ancillary, _, _ = self.socket.recvmsg(2048, 64)
            except TimeoutError:
                continue
            except OSError:  # ECONNREFUSED of an earlier send
                continue
            at = time.time()
            for family, kind, value in ancillary:
                if family == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("@qq", value[:16])
                    at = seconds + nanoseconds * 1e-9
            if len(data) < 12 or data[0] >> 6 != 2:
                continue
            first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
            start = 12 + 4 * (first & 0x0F)
            packet = Packet(at, sequence, timestamp, ssrc, second & 0x7F, bool(second & 0x80), data[start:])
            with self._arrived:
                self.packets.append(packet)
                self._arrived.notify_all()

    @staticmethod
    def decode(packet: Packet) -> Samples:
        return sound.from_alaw(packet.payload) if packet.payload_type == 8 else sound.from_ulaw(packet.payload)

    def audio(self, since: float = 0.0) -> Samples:
        """What was heard, laid out by RTP time stamp from the first packet after ``since`` on."""
        packets = [packet for packet in self.packets if packet.payload_type in {0, 8} and packet.at >= since]
        if not packets:
            return sound.silence(0)
        base = packets[0].timestamp
        placed = [((packet.timestamp - base) & 0xFFFFFFFF, self.decode(packet)) for packet in packets]
        placed = [(at, samples) for at, samples in placed if at < 0x80000000]
        heard = np.zeros(max(at + len(samples) for at, samples in placed))
        for at, samples in placed:
            heard[at : at + len(samples)] = samples
        return heard

    def loud_packets(self, above: float = -40.0) -> list[Packet]:
        return [p for p in list(self.packets) if p.payload_type in {0, 8} and sound.level(self.decode(p)) > above]

    def wait_for(self, what: Callable[[Sequence[Packet]], T | None], patience: float, complaint: str) -> T:
        """Wait until ``what`` of all packets received so far is not ``None``."""
        deadline = time.monotonic() + patience
        with self._arrived:
            while (result := what(self.packets)) is None:
                if (left := deadline - time.monotonic()) <= 0 or not self._arrived.wait(left):
                    raise AssertionError(f"{complaint} within {patience} s ({len(self.packets)} packets received)")
            return result

    def wait_for_sound(self, frequency: float, patience: float = 8.0, *, since: float = 0.0) -> float:
        """Wait until a tone is heard; the receive time of the first packet that carries it."""
        seen = 0

        def heard(packets: Sequence[Packet]) -> float | None:
            nonlocal seen
            while seen < len(packets):
                packet = packets[seen]
                seen += 1
                if packet.at >= since and packet.payload_type in {0, 8}:
                    samples = self.decode(packet)
                    there = sound.power_at(samples, frequency)
                    if there > -35 and there > sound.level(samples) - 3:
                        return packet.at
            return None

        return self.wait_for(heard, patience, f"no {frequency:g} Hz")

    def wait_for_quiet(self, seconds: float = 0.5, patience: float = 10.0, above: float = -45.0) -> None:
        """Wait until nothing louder than ``above`` was received for ``seconds``."""
        frames = round(seconds * RATE / FRAME)

        def quiet(packets: Sequence[Packet]) -> bool | None:
            recent = packets[-frames:]
            still = len(recent) == frames and all(sound.level(self.decode(p)) <= above for p in recent)
            return still or None

        self.wait_for(quiet, patience, "the far end was never quiet")
