"""Finding the session description in a message body, also inside multipart/mixed (RFC 5621)."""

from __future__ import annotations

import re

from engine.sip.message import Message

SDP = "application/sdp"
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_MAX_PARTS = 16


class UnsupportedBody(ValueError):
    """A body that we must not ignore and cannot read: 415 (RFC 3261 8.2.3)."""


def session_description(message: Message) -> bytes | None:
    """The SDP of ``message``, ``None`` if it has no body. Raises :class:`UnsupportedBody`."""
    if not message.body:
        return None
    encoding = message.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        raise UnsupportedBody(f"content encoding {encoding}")
    kind = message.content_type
    if kind == SDP:
        return message.body
    if kind.startswith("multipart/"):
        return _part_of(message)
    if _optional(message.headers.get("Content-Disposition")):
        return None
    raise UnsupportedBody(f"content type {kind or 'missing'}")


def _optional(disposition: str | None) -> bool:
    """Whether the sender lets us ignore the body (RFC 3261 20.11)."""
    return disposition is not None and re.search(r";\s*handling\s*=\s*optional", disposition, re.IGNORECASE) is not None


def _part_of(message: Message) -> bytes | None:
    match = _BOUNDARY.search(message.headers.get("Content-Type") or "")
    if match is None:
        raise UnsupportedBody("multipart without boundary")
    delimiter = b"--" + (match[1] or match[2]).encode("utf-8", "replace")
    for part in message.body.split(delimiter, _MAX_PARTS + 1)[1:]:
        head, blank, content = part.partition(b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n")
        lines = [line.partition(b":") for line in head.strip().split(b"\n")]
        kinds = [value for name, _, value in lines if name.strip().lower() in {b"content-type", b"c"}]
        if blank and kinds and kinds[0].partition(b";")[0].strip().lower() == SDP.encode():
            return content
    raise UnsupportedBody("multipart without session description")


def readable_description(message: Message) -> bytes | None:
    """As :func:`session_description`, but what cannot be read counts as absent: for responses and ACKs."""
    try:
        return session_description(message)
    except UnsupportedBody:
        return None
