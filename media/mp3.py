"""MP3 files that grow: no bit reservoir, so that every frame can be decoded by itself.

A file is playable wherever it is cut, and its size says how much sound is in it. LAME leaves half a decibel of room:
the sound is that much softer than in a WAV file.
"""

from __future__ import annotations

import os

import av
import numpy as np

from media.frames import Samples
from media.mp3info import BITRATE, DELAY, ENCODER_DELAY, SAMPLES, info, octets
from media.rates import FRAME, RATE
from media.soundfile import SoundFile, put

LONGEST_GAP = 60 * RATE
"""Samples of missing sound that are encoded as silence, at some 2 ms of CPU a second."""


class Mp3File(SoundFile):
    """An MP3 file being recorded into; ``resume`` goes on with what is there."""

    def __init__(self, fd: int, channels: int, *, resume: bool) -> None:
        super().__init__(fd, channels)
        self._layout = "stereo" if channels == 2 else "mono"
        self._octets = octets(channels)
        # No frame of sound is kept that the encoder before has not completed.
        self._count = max(0, os.fstat(fd).st_size // self._octets - 1) if resume else 0
        os.ftruncate(fd, self._count and (1 + self._count) * self._octets)
        self._position = self._count * SAMPLES
        self.frames = self._position // FRAME
        self._encoder = self._new_encoder()
        if not self._count:
            put(fd, info(channels), 0)

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
        padding = self._count * SAMPLES - ENCODER_DELAY - samples
        put(self.fd, info(self.channels, self._count, padding), 0)
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
        encoder.bit_rate = BITRATE * self.channels
        # The sides have nothing in common; the fastest of the encoder's ways is also the truest at this rate.
        encoder.options = {"reservoir": "0", "joint_stereo": "0", "compression_level": "9"}
        try:
            encoder.open()
        except av.FFmpegError as error:
            raise OSError(f"the MP3 encoder: {error}") from error
        return encoder
