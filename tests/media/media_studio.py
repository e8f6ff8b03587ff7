"""A media plane under virtual time, over real loopback sockets, with a phone at the other end."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random

import av
import numpy as np

from media import commands, g711, ipc, reports, rtp, writer
from media.arena import Arena, BadClip
from media.g711 import Law
from media.plane import Plane
from media.ports import PortPool
from media.rates import FRAME, PHASE_SECONDS, RATE, WIDE_RATE
from media.recorder import Recorder
from media.ring import Ring
from media.ringsockets import RingSockets
from media.sockets import Sockets

Tone = Callable[..., str]

SILENCE = np.zeros(FRAME)


class Inline(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BadClip as error:
            future.set_exception(error)
        return future


class InlineWriter:
    """The writer of recordings, in this process: runs when pumped."""

    def __init__(self) -> None:
        self.link: ipc.Link | None = None
        self.writer: writer.Writer | None = None
        self.ring_fd = -1

    def connect(self, ring_fd: int):
        self.ring_fd = ring_fd
        ours, theirs = socket.socketpair()
        self.link = ipc.Link(theirs, writer.ToWriter)
        self.writer = writer.Writer(Ring(ring_fd))
        return ours, None

    def pump(self, now: float) -> None:
        assert self.link is not None
        assert self.writer is not None
        for message in self.link.receive():
            self.writer.handle(message)
        self.writer.state(now)
        for finished in self.writer.finished:
            self.link.send(finished)
        self.writer.finished.clear()
        self.link.flush()


class Phone:
    """A far end: sends and takes RTP packets, one socket for RTP and one for RTCP."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host = host
        self.sock, self.control = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.sock, self.control):
            sock.bind((host, 0))
            sock.setblocking(False)
        self.port, self.control_port = (sock.getsockname()[1] for sock in (self.sock, self.control))
        self.to = 0
        self.law = Law.PCMU
        self.sequence, self.timestamp, self.ssrc = 65530, 2**32 - 800, 0xABCD

    def packet(self, payload: bytes, payload_type: int, *, timestamp: int | None = None, marker: bool = False) -> bytes:
        stamp = self.timestamp if timestamp is None else timestamp
        second = payload_type | marker << 7
        head = struct.pack("!BBHII", 0x80, second, self.sequence & 0xFFFF, stamp & 0xFFFFFFFF, self.ssrc)
        self.sequence += 1
        return head + payload

    def raw(self, data: bytes) -> None:
        self.sock.sendto(data, (self.host, self.to))

    def sound(self, samples: np.ndarray) -> bytes:
        """The packet for the next frame."""
        payload = g711.encode(np.ascontiguousarray(samples, dtype=np.int16), self.law).tobytes()
        data = self.packet(payload, self.law)
        self.timestamp += len(samples)
        return data

    def event(self, digit: int, duration: int, timestamp: int, *, end: bool = False, payload_type: int = 101) -> bytes:
        payload = struct.pack("!BBH", digit, 10 | end << 7, duration)
        return self.packet(payload, payload_type, timestamp=timestamp)

    def take(self) -> list[bytes]:
        return list(drain(self.sock))

    def take_control(self) -> list[bytes]:
        return list(drain(self.control))

    def close(self) -> None:
        self.sock.close()
        self.control.close()


def drain(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(4096)
        except BlockingIOError:
            return


def samples_of(packet: bytes, law: Law = Law.PCMU) -> np.ndarray:
    return g711.decode(np.frombuffer(packet[12:], np.uint8), law).astype(float)


def headers(packets: list[bytes]) -> list[rtp.Packet]:
    return [rtp.parse(packet) for packet in packets]


def sounds(packets: list[bytes], law: Law = Law.PCMU) -> np.ndarray:
    """The sound of packets that lie one after the other."""
    return np.concatenate([samples_of(packet, law) for packet in packets]) if packets else np.zeros(0)


def assert_continuous(packets: list[bytes], samples: int = FRAME) -> None:
    """One source, one packet of ``samples`` after the other, time running on."""
    assert packets
    for one, two in itertools.pairwise(headers(packets)):
        assert rtp.sequence_delta(two.sequence, one.sequence) == 1
        assert rtp.timestamp_delta(two.timestamp, one.timestamp) == samples
        assert two.ssrc == one.ssrc


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(samples, float) ** 2))) if len(samples) else 0.0


def tone_power(samples: np.ndarray, hertz: float) -> float:
    """Amplitude of the component at ``hertz``."""
    time = np.arange(len(samples)) / RATE
    return float(2 * abs(np.mean(samples * np.exp(-2j * np.pi * hertz * time))))


class Studio:
    """A plane and its virtual clock."""

    def __init__(self, io: str = "portable", capacity: int = 32) -> None:
        low = 20000 + os.getpid() % 40 * 200  # suites that run side by side do not meet
        self.now = 1000.0
        self.number = -1
        self.written = InlineWriter()
        pool = PortPool(low, low + 198, Random(1))
        # The kernel's times of arrival are not those of a virtual clock.
        self.sockets = RingSockets(capacity, pool, timed=False) if io == "io_uring" else Sockets(capacity, pool)
        self.recorder = Recorder(capacity, self.written.connect)
        wide = Arena(reader=Inline(), rate=WIDE_RATE)
        self.plane = Plane(self.sockets, self.recorder, Arena(reader=Inline()), Random(2), 1.7e9, wide)
        self.heard: list[reports.Report] = []
        self.open: set[int] = set()
        self.each_tick: Callable[[], None] = lambda: None

    def do(self, *messages: commands.Command) -> None:
        for message in messages:
            self.plane.command(message, self.now)
        self.collect()

    def collect(self) -> None:
        self.heard += self.plane.reports
        self.plane.reports.clear()

    def reports(self, kind: type) -> list:
        return [report for report in self.heard if isinstance(report, kind)]

    def last(self, kind: type):
        found = self.reports(kind)
        assert found, f"no {kind.__name__} among {self.heard}"
        return found[-1]

    def tick(self, skipped: int = 0) -> None:
        self.number += 1 + skipped * 4
        self.plane.tick(self.now, self.number, skipped)
        self.written.pump(self.now)
        self.collect()
        self.each_tick()
        self.now += PHASE_SECONDS

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / PHASE_SECONDS)):
            self.tick()

    def connect(self, phone: Phone, stream: int = 1, **direct: object) -> int:
        """Open a stream towards ``phone`` and let it run."""
        self.do(commands.Open(stream, phone.host))
        port = self.last(reports.Opened).port
        phone.to = port
        self.open.add(stream)
        self.direct(phone, stream, **direct)
        return port

    def direct(self, phone: Phone, stream: int = 1, **changes: object) -> None:
        fields = {"rtcp_port": phone.control_port, "payload_type": int(phone.law), "event_type": 101, **changes}
        self.do(commands.Direct(stream, phone.host, phone.port, **fields))

    def drop(self, stream: int = 1) -> reports.StreamStats:
        """Close a stream; returns its statistics."""
        self.do(commands.Drop(stream))
        self.open.discard(stream)
        return self.last(reports.Closed).stats

    def talk(self, phone: Phone, sound: np.ndarray) -> list[bytes]:
        """Send ``sound`` packet by packet; returns what came back meanwhile."""
        came: list[bytes] = []
        for start in range(0, len(sound) // FRAME * FRAME, FRAME):
            phone.raw(phone.sound(sound[start : start + FRAME]))
            self.run(0.02)
            came += phone.take()
        return came

    def close(self) -> None:
        for stream in self.open:
            self.do(commands.Drop(stream))
        if self.written.ring_fd >= 0:
            os.close(self.written.ring_fd)
            self.written.ring_fd = -1
            if isinstance(self.sockets, RingSockets):
                self.sockets._ring.close()


def write_wav(path: Path, sound: np.ndarray, *, rate: int = RATE, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.asarray(sound).astype("<i2").tobytes())
    return str(path)


def read_wav(path: str | Path, channels: int = 2) -> np.ndarray:
    """Samples of a file: shape (n, channels)."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (channels, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels).astype(float)


def read_mp3(path: str | Path, channels: int = 2) -> np.ndarray:
    """Samples of a file as ffmpeg plays it: shape (n, channels)."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        assert (stream.codec_context.name, stream.channels, stream.rate) == ("mp3float", channels, RATE)
        return 32768.0 * np.concatenate([frame.to_ndarray() for frame in file.decode(stream)], axis=1).T


def read_sound(path: str | Path, channels: int = 2) -> np.ndarray:
    """Samples of a WAV or MP3 file: shape (n, channels)."""
    return (read_mp3 if Path(path).suffix == ".mp3" else read_wav)(path, channels)


def sine(hertz: float, seconds: float, amplitude: float = 8000) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)


def voice(
    seconds: float, pitch: float = 120.0, dbfs: float = -20.0, seed: int = 0, *, syllables: bool = True
) -> np.ndarray:
    """Something like speech: harmonics under wandering formants, in syllables with gaps or in one breath."""
    rng = np.random.default_rng(seed)
    count = round(RATE * seconds)
    time = np.arange(count) / RATE
    glide = pitch * (1 + 0.1 * np.sin(2 * np.pi * (0.7 + 0.3 * rng.random()) * time))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    formants = [500 + 250 * np.sin(2 * np.pi * (1.1 + f) * time + rng.uniform(0, 6)) + 900 * f for f in range(3)]
    sound = np.zeros(count)
    for harmonic in range(1, int(3400 / pitch)):
        weight = sum(np.exp(-(((harmonic * glide - formant) / 150) ** 2)) for formant in formants)
        sound += weight * np.sin(harmonic * phase + rng.uniform(0, 6))
    if syllables:
        sound *= np.clip(np.sin(2 * np.pi * 2.2 * time + 0.3) + 0.4, 0, 1) ** 0.5
    loud = sound[np.abs(sound) > 0.05 * np.abs(sound).max()]
    return sound * (32768 / np.sqrt(2) * 10 ** (dbfs / 20) / np.sqrt(np.mean(loud**2)))
