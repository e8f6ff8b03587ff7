"""The Reason header (RFC 3326): why a call was ended or refused, with the ISDN cause (ITU-T Q.850) if given."""

from __future__ import annotations

import re
from typing import NamedTuple

from engine.sip.headers import Headers

_CAUSE = re.compile(r";\s*cause\s*=\s*(\d{1,5})", re.IGNORECASE)
_TEXT = re.compile(r';\s*text\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s]+))', re.IGNORECASE)
_VALUES = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST = 512


class Reason(NamedTuple):
    """``q850`` is ``None`` and ``text`` empty when the peer did not say."""

    q850: int | None
    text: str


def read_reason(headers: Headers) -> Reason:
    """What the Reason headers say. Never raises: what cannot be read is not there."""
    q850: int | None = None
    text = ""
    for header in headers.all("Reason"):
        for value in _VALUES.findall(header[:_LONGEST]):
            cause, words = _CAUSE.search(value), _TEXT.search(value)
            isdn = value.lstrip()[:5].upper() == "Q.850"
            if isdn and cause is not None and int(cause[1]) < 128:
                q850 = int(cause[1])
            if words is not None and (isdn or not text):
                text = re.sub(r"\\(.)", r"\1", words[1]) if words[1] is not None else words[2]
    return Reason(q850, text)


def write_reason(text: str, protocol: str = "SIP", cause: int = 200) -> str:
    """A Reason value that gives ``text``, if there is any; one that already names its protocol is taken as it is."""
    clean = _UNSAFE.sub(" ", text).strip()
    if re.match(r"(SIP|Q\.850)\s*;", clean, re.IGNORECASE):
        return clean
    quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f"{protocol};cause={cause}" + (f';text="{quoted}"' if quoted else "")
