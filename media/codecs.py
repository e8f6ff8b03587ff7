"""The codecs of calls, by their names in SDP: PCMU, PCMA, G.722 at 64 kbit/s, L16 at 8 kHz (RFC 3551 section 4.5).

A codec makes an encoder and a decoder for each stream, as G.722 has a memory. All have an RTP clock of 8 kHz: a frame
of 20 ms is 160 timestamp units, also of G.722, whose sound has 16 kHz (RFC 3551 section 4.5.2).

G.722 is libg722, bit for bit what FFmpeg makes and reads (a test). A frame of 20 ms takes 14 µs to encode, 11 µs to
decode, and 5.5 µs to decode the lower band alone, which is the same sound at 8 kHz (what lies above is damped by 11 dB
at 4.6 kHz, 20 dB at 5 kHz, 60 dB at 6 kHz); PyAV's contexts take 22 and 14 µs and a filter, and bring 17 MiB of
libraries into the process where libg722 has 60 KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from G722 import G722 as LibG722  # noqa: N811 (a class)

from media import g711
from media.frames import Samples
from media.g711 import Law
from media.rates import FRAME_SECONDS, RATE, WIDE_RATE

MAX_FRAMES = 10
"""Most that one payload may hold, in frames: 200 ms (RFC 3551 section 4.2). What is beyond is not decoded."""

DYNAMIC = -1
"""In place of a payload type: it has no static one, SDP gives it a number."""


class Encoder(Protocol):
    """One direction of one stream."""

    def encode(self, samples: Samples) -> bytes:
        """The payload of ``samples`` (one row of an even length)."""

    def silence(self) -> bytes:
        """The payload of 20 ms of silence. G.722 must be asked for every such frame, for its far end adapts to it."""


class Decoder(Protocol):
    """One direction of one stream."""

    def decode(self, payload: bytes | memoryview) -> Samples:
        """The sound of ``payload``, whatever it holds: what is no whole sample, or too long, is left out."""


@dataclass(frozen=True, slots=True)
class Codec:
    """``rate`` is that of its sound in Hz, ``octets`` the size of 20 ms, ``payload_type`` its static number."""

    name: str
    payload_type: int
    rate: int
    octets: int
    _encoder: Callable[[int], Encoder]
    _decoder: Callable[[int], Decoder]

    @property
    def is_g711(self) -> bool:
        """Whether it is one of the two laws, which go by table in batches."""
        return self.payload_type in _LAWS

    def encoder(self) -> Encoder:
        """For a new stream of sound at :attr:`rate`."""
        return self._encoder(self.rate)

    def decoder(self, rate: int = RATE) -> Decoder:
        """For a new stream, whose sound is wanted at ``rate``: 8 kHz, or :attr:`rate`."""
        if rate not in (RATE, self.rate):
            raise ValueError(f"{self.name} is not decoded at {rate} Hz")
        return self._decoder(rate)


class _G711:
    """Encoder and decoder of a G.711 law; it has no memory."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._silence = bytes([g711.SILENCE[law]]) * _OCTETS

    def encode(self, samples: Samples) -> bytes:
        return g711.encode(np.ascontiguousarray(samples), self._law).tobytes()

    def silence(self) -> bytes:
        return self._silence

    def decode(self, payload: bytes | memoryview) -> Samples:
        return g711.decode(np.frombuffer(payload[: MAX_FRAMES * _OCTETS], np.uint8), self._law)


class _L16:
    """Encoder and decoder of plain samples in network byte order (RFC 3551 section 4.5.11)."""

    def encode(self, samples: Samples) -> bytes:
        return samples.astype(">i2").tobytes()

    def silence(self) -> bytes:
        return bytes(2 * _OCTETS)

    def decode(self, payload: bytes | memoryview) -> Samples:
        size = min(len(payload), MAX_FRAMES * 2 * _OCTETS)
        return np.frombuffer(payload[: size - size % 2], ">i2").astype(np.int16)


class _G722:
    """Encoder or decoder of one stream (ITU-T G.722, mode 1); at 8 kHz it does the lower band alone."""

    def __init__(self, rate: int) -> None:
        self._codec = LibG722(rate, 64000, use_numpy=False)
        self._nothing = np.zeros(round(rate * FRAME_SECONDS), np.int16)

    def encode(self, samples: Samples) -> bytes:
        payload: bytes = self._codec.encode(np.ascontiguousarray(samples).data)
        return payload

    def silence(self) -> bytes:
        return self.encode(self._nothing)

    def decode(self, payload: bytes | memoryview) -> Samples:
        return np.frombuffer(self._codec.decode(bytes(payload[: MAX_FRAMES * _OCTETS])), np.int16)


_LAWS = frozenset(Law)
_OCTETS = round(RATE * FRAME_SECONDS)

PCMU = Codec("PCMU", Law.PCMU, RATE, _OCTETS, lambda _: _G711(Law.PCMU), lambda _: _G711(Law.PCMU))
PCMA = Codec("PCMA", Law.PCMA, RATE, _OCTETS, lambda _: _G711(Law.PCMA), lambda _: _G711(Law.PCMA))
G722 = Codec("G722", 9, WIDE_RATE, _OCTETS, _G722, _G722)
L16 = Codec("L16", DYNAMIC, RATE, 2 * _OCTETS, lambda _: _L16(), lambda _: _L16())

CODECS = {codec.name: codec for codec in (PCMU, PCMA, G722, L16)}
"""All of them, by name, in the order in which we offer them unless configured otherwise."""


def codec_of(name: str, payload_type: int) -> Codec:
    """The codec ``name``, or that of a static payload type when it is empty. Raises :class:`ValueError`."""
    if name:
        found = CODECS.get(name)
    else:
        found = next((codec for codec in CODECS.values() if codec.payload_type == payload_type >= 0), None)
    if found is None:
        raise ValueError(f"no codec {name!r} for payload type {payload_type}")
    return found
