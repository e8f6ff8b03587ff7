"""Encrypted media (RFC 3711) of the streams that agreed on it: packets are sealed and opened one by one.

Streams without keys never come here. Everything that cannot be opened is counted and dropped before anything else
looks at it, so what is not from the peer neither is heard nor moves the stream to another address.
"""

from __future__ import annotations

import errno

import numpy as np
from pylibsrtp import Error, Policy, Session

from media import rtp
from media.commands import Srtp
from media.frames import Flags, Octets, Slots

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
"""By the names of RFC 4568 section 6.2. SRTCP has the tag of 80 bits in both (section 6.2.2)."""

WINDOW = 1024
"""Packets before the newest that are told from repetitions; RFC 3711 section 3.3.2 wants 64 at least."""


class NotSealed(OSError):
    """A packet that cannot be sent encrypted: its number was used, or the key is worn out. It is not sent at all."""


class Shield:
    """Both directions of one stream. A direction begins anew only with another key: its roll-over counter goes on."""

    __slots__ = ("_in", "_keys", "_out", "refused", "repeated")

    def __init__(self, keys: Srtp) -> None:
        """Raises ValueError for a suite or key that is none of ours."""
        self.refused = 0
        """Packets that did not come from who has the key."""
        self.repeated = 0
        """Packets that came before (section 3.3.2), or too late to tell."""
        self._keys = keys
        self._out = _session(keys.suite, keys.send, Policy.SSRC_ANY_OUTBOUND)
        self._in = _session(keys.suite, keys.receive, Policy.SSRC_ANY_INBOUND)

    def rekey(self, keys: Srtp) -> None:
        """Another agreement of the same stream."""
        before, self._keys = self._keys, keys
        if (keys.suite, keys.send) != (before.suite, before.send):
            self._out = _session(keys.suite, keys.send, Policy.SSRC_ANY_OUTBOUND)
        if (keys.suite, keys.receive) != (before.suite, before.receive):
            self._in = _session(keys.suite, keys.receive, Policy.SSRC_ANY_INBOUND)

    def seal(self, packet: bytes | memoryview) -> bytes:
        """The SRTP packet. Raises :class:`NotSealed`."""
        try:
            return self._out.protect(bytes(packet))
        except (Error, ValueError) as error:
            raise NotSealed(errno.EPROTO, str(error)) from None

    def seal_control(self, packet: bytes) -> bytes:
        """The SRTCP packet. Raises :class:`NotSealed`."""
        try:
            return self._out.protect_rtcp(packet)
        except (Error, ValueError) as error:
            raise NotSealed(errno.EPROTO, str(error)) from None

    def open(self, packet: bytes, *, control: bool) -> bytes | None:
        """The RTP or RTCP packet within; ``None``, and counted, if there is none to be had."""
        try:
            return self._in.unprotect_rtcp(packet) if control else self._in.unprotect(packet)
        except Error as error:
            if "replay" in str(error) or "too old" in str(error):
                self.repeated += 1
            else:
                self.refused += 1
        except ValueError:  # too long
            self.refused += 1
        return None


def _session(suite: str, key: bytes, direction: int) -> Session:
    profile = PROFILES.get(suite)
    if profile is None:
        raise ValueError(f"crypto suite {suite}: one of {', '.join(PROFILES)}")
    policy = Policy(key, direction, srtp_profile=profile)
    policy.window_size = WINDOW
    return Session(policy)


class Shields:
    """Those of a worker's streams, by slot."""

    def __init__(self, capacity: int) -> None:
        self._shields: dict[int, Shield] = {}
        self.on: Flags = np.zeros(capacity, np.bool_)
        """Which slots have one."""

    def __bool__(self) -> bool:
        """Whether any stream is encrypted."""
        return bool(self._shields)

    def direct(self, slot: int, keys: Srtp | None) -> None:
        """What was agreed on. Raises ValueError for keys that cannot be used."""
        if keys is None:
            self.close(slot)
        elif (shield := self._shields.get(slot)) is not None:
            shield.rekey(keys)
        else:
            self._shields[slot] = Shield(keys)
            self.on[slot] = True

    def close(self, slot: int) -> None:
        self._shields.pop(slot, None)
        self.on[slot] = False

    def counts(self, slot: int) -> tuple[int, int]:
        """Packets refused, and packets that were repeated."""
        shield = self._shields.get(slot)
        return (0, 0) if shield is None else (shield.refused, shield.repeated)

    def sealed(self, slot: int, packet: bytes | memoryview) -> bytes | memoryview:
        """``packet`` as it is to be sent. Raises :class:`NotSealed`."""
        shield = self._shields.get(slot)
        return packet if shield is None else shield.seal(packet)

    def sealed_control(self, slot: int, packet: bytes) -> bytes:
        """The same for RTCP."""
        shield = self._shields.get(slot)
        return packet if shield is None else shield.seal_control(packet)

    def opened_control(self, slot: int, packet: bytes) -> bytes | None:
        """An RTCP packet that came, ``None`` if it is not the peer's."""
        shield = self._shields.get(slot)
        return packet if shield is None else shield.open(packet, control=True)

    def open_rows(self, rows: Octets, slots: Slots, places: Slots, lengths: Slots) -> tuple[Slots, Flags] | None:
        """Open in place the packets of a round that are encrypted: their new lengths, and which are left. ``None`` if
        none of them was.
        """
        secured = np.flatnonzero(self.on[slots])
        if not secured.size:
            return None
        lengths = lengths.copy()
        left = np.ones(slots.size, np.bool_)
        for index in secured.tolist():
            row = rows[places[index]]
            packet = row[: lengths[index]].tobytes()
            opened = self._shields[int(slots[index])].open(packet, control=rtp.is_rtcp(packet))
            if opened is None:
                left[index] = False
            else:
                row[: len(opened)] = np.frombuffer(opened, np.uint8)
                lengths[index] = len(opened)
        return lengths, left
