"""The frames of our MP3 files: their size, and the "Info" frame of Xing and LAME that stands first.

MPEG-2.5 layer III at 8 kHz, 16 kbit/s for each channel: all frames have the same size. The Info frame is silence to
decoders that do not know it; it says how many samples the encoder's delay put before the sound and, once the file is
complete, how many frames follow and what to leave out at their end.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from media.rates import RATE

BITRATE = 16000
"""Of each channel."""

SAMPLES = 576
"""Samples of each channel in a frame (ISO/IEC 13818-3: half of those in MPEG-1)."""

ENCODER_DELAY = 576
DELAY = ENCODER_DELAY + 529
"""Samples by which sound comes later out of a decoder: the encoder's delay, and the decoder's own 528 + 1."""

_CONSTANT_RATE = 1
_COUNTS = 3
_TAG = struct.Struct(">4sIII9sBB8xBB3s12x")
_HEADERS = {1: bytes([0xFF, 0xE3, 0x28, 0xC4]), 2: bytes([0xFF, 0xE3, 0x48, 0x04])}
_SIDE_INFORMATION = {1: 9, 2: 17}


def octets(channels: int) -> int:
    """The size of a frame."""
    return SAMPLES // 8 * BITRATE * channels // RATE


def info(channels: int, count: int = 0, padding: int = 0) -> bytes:
    """The Info frame: ``count`` frames follow (0: who knows), their last ``padding`` samples are none of the sound."""
    size = octets(channels)
    trims = (ENCODER_DELAY << 12 | max(0, padding)).to_bytes(3, "big")
    tag = _TAG.pack(
        b"Info", _COUNTS, count, count and (1 + count) * size, b"LAME3.100", _CONSTANT_RATE, RATE // 200, 0,
        BITRATE * channels // 1000, trims,
    )  # fmt: skip
    return (_HEADERS[channels] + bytes(_SIDE_INFORMATION[channels]) + tag).ljust(size, b"\0")


def seconds(path: Path) -> float:
    """How long a file of ours plays, also one that was never completed.

    Raises :class:`OSError`, and :class:`ValueError` for other files.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(octets(2))
    channels = next((channels for channels, header in _HEADERS.items() if start.startswith(header)), 0)
    try:
        tag, _, count, _, _, _, _, _, _, trims = _TAG.unpack_from(start, 4 + _SIDE_INFORMATION[channels])
    except (KeyError, struct.error):
        tag = b""
    if tag != b"Info":
        raise ValueError(f"{path} is not one of our MP3 files")
    if count:
        samples = int(count) * SAMPLES - ENCODER_DELAY - (int.from_bytes(trims, "big") & 0xFFF)
    else:
        samples = (size // octets(channels) - 1) * SAMPLES - DELAY
    return max(0, samples) / RATE
