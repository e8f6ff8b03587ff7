"""Keys of SRTP in session descriptions: ``a=crypto`` (RFC 4568).

Read are the two suites that every SRTP telephone has, without a key identifier (MKI) and without session parameters
that change how packets look. Other lines are passed over, as RFC 4568 section 5.1.2 wants it. Keys are never shown
by ``repr``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.sip.sdp import MediaDescription

SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
"""What we have, the one that we like best first."""

KEY_SIZE = 30
"""Octets of a master key and its salt, one after the other (RFC 4568 section 6.2)."""

SECURE_PROFILES = frozenset({"RTP/SAVP", "RTP/SAVPF"})

# attribute = "crypto:" tag 1*WSP crypto-suite 1*WSP key-params *(1*WSP session-param), section 9.2
_CRYPTO = re.compile(r"[ \t]*+([0-9]{1,9})[ \t]++([A-Za-z0-9_]++)[ \t]++([!-~]++)((?:[ \t]++[!-~]++)*+)[ \t]*+")
# key-info = key-salt ["|" lifetime] ["|" mki]
_INLINE = re.compile(r"(?i:inline):([A-Za-z0-9+/]++={0,2})(?:\|((?:2\^)?[0-9]{1,20}))?(\|[0-9]{1,38}:[0-9]{1,3})?")
# Section 6.3: those that leave packets as they are, or concern only who offers.
_HARMLESS = re.compile(r"(?i)(?:KDR=0|WSH=[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Crypto:
    """One ``a=crypto`` line: what its author sends with."""

    tag: int
    suite: str
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        """The value of the attribute."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Agreed keys: ``send`` is ours, ``receive`` theirs; both are key and salt."""

    suite: str
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


def fresh(random_bytes: Callable[[int], bytes]) -> tuple[Crypto, ...]:
    """New keys, a line for each suite. ``random_bytes`` has to be unpredictable (RFC 4568 section 6.1)."""
    return tuple(Crypto(tag, suite, random_bytes(KEY_SIZE)) for tag, suite in enumerate(SUITES, 1))


def read(section: MediaDescription) -> list[Crypto]:
    """The lines of a section that we can do something with, in its order; of lines with one tag the first."""
    found: dict[int, Crypto] = {}
    tags: set[int] = set()
    for name, value in section.attributes:
        if name != "crypto" or value is None:
            continue
        match = _CRYPTO.fullmatch(value)
        if match is None or int(match[1]) in tags:
            continue
        tags.add(int(match[1]))
        crypto = _read(int(match[1]), match[2], match[3], match[4].split())
        if crypto is not None:
            found[crypto.tag] = crypto
    return list(found.values())


def _read(tag: int, suite: str, parameters: str, session: Iterable[str]) -> Crypto | None:
    if suite.upper() not in SUITES or not all(_HARMLESS.fullmatch(each) for each in session):
        return None
    inline = _INLINE.fullmatch(parameters)  # several keys need an MKI to tell them apart
    if inline is None or inline[3] is not None:
        return None
    try:
        key = base64.b64decode(inline[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(tag, suite.upper(), key) if len(key) == KEY_SIZE else None


def choose(offered: Iterable[Crypto], ours: Iterable[Crypto]) -> tuple[Crypto, SrtpKeys] | None:
    """Our line in the answer to ``offered``, and what both lines agree on: their first suite that we have."""
    by_suite = {crypto.suite: crypto for crypto in ours}
    for theirs in offered:
        own = by_suite.get(theirs.suite)
        if own is not None:
            # Section 5.1.2: the tag is that of the offer.
            return Crypto(theirs.tag, own.suite, own.key), SrtpKeys(own.suite, own.key, theirs.key)
    return None


def accepted(ours: Iterable[Crypto], answered: Iterable[Crypto]) -> SrtpKeys | None:
    """What the answer took of ``ours``: one line with a tag and suite of the offer (section 5.1.3)."""
    for theirs in answered:
        for own in ours:
            if (own.tag, own.suite) == (theirs.tag, theirs.suite):
                return SrtpKeys(own.suite, own.key, theirs.key)
    return None
