"""G.711: µ-law and A-law by table, over arrays of any shape.

The tables are computed from the Recommendation's segments. Samples are 16-bit with the 14-bit (µ-law) or
13-bit (A-law) value in the upper bits, as everywhere outside the Recommendation itself.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from media.frames import Octets, Samples


class Law(IntEnum):
    """The two laws, by their static RTP payload type (RFC 3551 6)."""

    PCMU = 0
    PCMA = 8


LAWS = tuple((int(law), law) for law in Law)
"""Numbers and laws: NumPy takes six times as long to compare an array with a member of an enumeration."""

SILENCE = {Law.PCMU: 0xFF, Law.PCMA: 0xD5}
"""The code of the smallest positive value: what silence is sent as."""

_BIAS = 0x84
_CLIP = 32635


def _mulaw_decoding() -> Samples:
    code = ~np.arange(256) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = (((mantissa << 3) + _BIAS) << exponent) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _mulaw_encoding() -> Octets:
    sample = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    code = ~(np.where(sample < 0, 0x80, 0) | exponent << 4 | mantissa) & 0xFF
    return np.asarray(code, np.uint8)


def _alaw_decoding() -> Samples:
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _alaw_encoding() -> Octets:
    sample = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(sample < 0, -sample - 1, sample)
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.maximum(exponent, 1)) & 15
    return ((exponent << 4 | mantissa) ^ np.where(sample < 0, 0x55, 0xD5)).astype(np.uint8)


_DECODING = {Law.PCMU: _mulaw_decoding(), Law.PCMA: _alaw_decoding()}
_ENCODING = {Law.PCMU: _mulaw_encoding(), Law.PCMA: _alaw_encoding()}


def decode(codes: Octets, law: Law) -> Samples:
    """Samples of ``codes``, in the same shape."""
    return _DECODING[law].take(codes)


def encode(samples: Samples, law: Law) -> Octets:
    """Codes of ``samples`` (which must be C-contiguous), in the same shape."""
    return _ENCODING[law].take(samples.view(np.uint16))
