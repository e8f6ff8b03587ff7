"""MP3 files that grow: MPEG-2.5 layer III at 8 kHz, 16 kbit/s for each channel, no bit reservoir.

Every MP3 frame has the same size and can be decoded by itself, so the file is playable wherever it is cut, and its
size says how much sound is in it. The first frame is the "Info" frame of Xing and LAME, silence to decoders that do
not know it; it says how many samples the encoder's delay put before the sound and, in the end, what to leave out after.
"""

from __future__ import annotations

import os
import struct

import av
import numpy as np

from media.frames import Samples
from media.rates import FRAME, RATE
from media.soundfile import SoundFile, put

SAMPLES = 576
"""Samples of each channel in an MP3 frame (ISO/IEC 13818-3, half of those in MPEG-1)."""

ENCODER_DELAY = 576
DELAY = ENCODER_DELAY + 529
"""Samples by which sound comes later out of a decoder: the encoder's delay, and the decoder's own 528 + 1."""

LONGEST_GAP = 60 * RATE
"""Samples of missing sound that are encoded as silence, at some 2 ms of CPU a second."""

_BITRATE = 16000
_INFO = struct.Struct(">4sIII9sBB8xBB3s12x")


class Mp3File(SoundFile):
    """An MP3 file being recorded into; ``resume`` goes on with what is there."""

    def __init__(self, fd: int, channels: int, *, resume: bool) -> None:
        super().__init__(fd, channels)
        self._layout = "stereo" if channels == 2 else "mono"
        self._octets = SAMPLES // 8 * _BITRATE * channels // RATE
        # No frame of sound is kept that the encoder before has not completed.
        self._count = max(0, os.fstat(fd).st_size // self._octets - 1) if resume else 0
        os.ftruncate(fd, self._count and (1 + self._count) * self._octets)
        self._position = self._count * SAMPLES
        self.frames = self._position // FRAME
        self._encoder = self._new_encoder()
        if not self._count:
            put(fd, self._info(0, 0), 0)

    def write(self, index: int, sound: Samples) -> None:
        start = index * FRAME
        if start > self._position:
            self._silence(start - self._position)
        samples = sound.transpose(1, 0, 2).reshape(self.channels, -1)
        self._encode(samples[:, self._position - start :])

    def state(self) -> None:
        """Nothing to do: the size of the file says it."""

    def complete(self, frames: int) -> None:
        samples = frames * FRAME
        self._silence(max(samples - self._position, SAMPLES - self._position, 0))
        self._take(None)
        count = -(-(samples + DELAY) // SAMPLES)
        if count < self._count:
            os.ftruncate(self.fd, (1 + count) * self._octets)
            self._count = count
        put(self.fd, self._info(self._count, self._count * SAMPLES - ENCODER_DELAY - samples), 0)
        self.frames = frames

    def _silence(self, samples: int) -> None:
        if samples > LONGEST_GAP:
            raise OSError(f"{samples / RATE:.0f} s of sound are missing")
        if samples:
            self._encode(np.zeros((self.channels, samples), np.int16))

    def _encode(self, samples: Samples) -> None:
        """``samples``: shape (channels, n)."""
        if not samples.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16p", self._layout)
        frame.sample_rate = RATE
        self._take(frame)
        self._position += samples.shape[1]
        self.frames = self._position // FRAME

    def _take(self, frame: av.AudioFrame | None) -> None:
        """Encode ``frame``, or (``None``) all that the encoder still holds, and write what comes of it."""
        try:
            packets = self._encoder.encode(frame)
        except av.FFmpegError as error:
            raise OSError(f"the MP3 encoder: {error}") from error
        if packets:
            put(self.fd, b"".join(map(bytes, packets)), (1 + self._count) * self._octets)
            self._count += len(packets)

    def _new_encoder(self) -> av.AudioCodecContext:
        encoder = av.CodecContext.create("libmp3lame", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate = RATE
        encoder.layout = self._layout
        encoder.format = "s16p"
        encoder.bit_rate = _BITRATE * self.channels
        # The sides have nothing in common; the fastest of the encoder's ways is also the truest at this rate.
        encoder.options = {"reservoir": "0", "joint_stereo": "0", "compression_level": "9"}
        try:
            encoder.open()
        except av.FFmpegError as error:
            raise OSError(f"the MP3 encoder: {error}") from error
        return encoder

    def _info(self, count: int, padding: int) -> bytes:
        """The Info frame: ``count`` frames follow; ``padding`` samples at the end are none of the sound."""
        stereo = self.channels == 2
        head = bytes([0xFF, 0xE3, 0x48 if stereo else 0x28, 0x04 if stereo else 0xC4])
        side_information = bytes(17 if stereo else 9)
        trims = (ENCODER_DELAY << 12 | max(0, padding)).to_bytes(3, "big")
        flags, lowpass, constant_rate = 3, RATE // 200, 1
        tag = _INFO.pack(
            b"Info", flags, count, count and (1 + count) * self._octets, b"LAME3.100", constant_rate, lowpass, 0,
            _BITRATE * self.channels // 1000, trims,
        )  # fmt: skip
        return (head + side_information + tag).ljust(self._octets, b"\0")
