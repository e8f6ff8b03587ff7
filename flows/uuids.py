"""Ids of calls, and of what belongs to them, as UUIDs (RFC 9562), without a table that would remember them.

A call's id is 32 hex digits: the UUID is the same number. The UUID of one of its legs or recordings differs from it in
the last 16 bits, which are those of the call XOR a mark: 1 for the call's own leg, 1 + N for the dialled leg N,
0x8000 for the recording of the whole call, 0x8000 + N for the recording N that its flow made.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

OWN_LEG = 0
WHOLE_CALL = 0

_HEX = re.compile(r"[0-9a-f]{32}\Z")
_NAME = re.compile(r"([0-9a-f]{32})(?:-(leg)?([0-9]{1,5}))?\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z|[0-9a-fA-F]{32}\Z")
_RECORDING = 0x8000
_LOW = 0xFFFF


class Part(NamedTuple):
    """What a UUID may be, besides a call: the leg or the recording ``number`` of the ``call``."""

    kind: Literal["leg", "recording"]
    call: str
    number: int


def dashed(digits: str) -> str:
    """32 hex digits as a UUID; other text stays as it is."""
    if not _HEX.match(digits):
        return digits
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def digits_of(uuid: str) -> str:
    """The 32 hex digits of a UUID, with dashes or without, in small letters; empty for other text."""
    return uuid.replace("-", "").lower() if _UUID.match(uuid) else ""


def leg_uuid(call: str, number: int = OWN_LEG) -> str:
    """The UUID of a call's own leg (0), or of one that was dialled for it."""
    return _marked(call, 1 + number)


def recording_uuid(call: str, number: int = WHOLE_CALL) -> str:
    """The UUID of the recording of the whole call (0), or of one that a flow made."""
    return _marked(call, _RECORDING + number)


def uuid_of(name: str) -> str:
    """The UUID of a call, a leg (``<call>-leg1``) or a recording (``<call>-1``) by its name; other text stays."""
    found = _NAME.match(name)
    if found is None:
        return name
    call, leg, number = found[1], found[2], found[3]
    if number is None:
        return dashed(call)
    return leg_uuid(call, int(number)) if leg else recording_uuid(call, int(number))


def calls_like(digits: str) -> str:
    """What the ids of all calls begin with that may have a part with this UUID, given as 32 hex digits."""
    return digits[:28]


def part_of(call: str, digits: str) -> Part | None:
    """Which part of ``call`` has this UUID, given as 32 hex digits; ``None``: none."""
    if not _HEX.match(call) or not _HEX.match(digits) or call[:28] != digits[:28]:
        return None
    mark = int(call[28:], 16) ^ int(digits[28:], 16)
    if mark == 0:
        return None
    if mark & _RECORDING:
        return Part("recording", call, mark - _RECORDING)
    return Part("leg", call, mark - 1)


def _marked(call: str, mark: int) -> str:
    if not _HEX.match(call) or not 0 < mark <= _LOW:
        return call
    return dashed(f"{call[:28]}{int(call[28:], 16) ^ mark:04x}")
