"""Session descriptions (RFC 8866), read tolerantly and written strictly.

Read: line ends of any kind, a missing last one, missing ``s=`` and ``t=`` lines, lines in another
order, unknown lines. Refused: what would leave the meaning open (no version 0, an ``m=`` or ``c=``
line that cannot be read).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

Attributes = tuple[tuple[str, str | None], ...]
"""``a=`` lines in order: name and value, ``None`` for a property attribute."""

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

MAX_SIZE = 64 * 1024
MAX_LINES = 1000
MAX_MEDIA = 32
MAX_FORMATS = 128
"""Of one section, repetitions aside: there are no more RTP payload types."""

# media-field = "m=" media SP port ["/" integer] SP proto 1*(SP fmt)
_MEDIA = re.compile(r"([!-~]++)[ \t]++([0-9]{1,5})(?:/([0-9]{1,5}))?[ \t]++([!-~]++)((?:[ \t]++[!-~]++)++)[ \t]*+")
# connection-field = "c=" nettype SP addrtype SP connection-address
_CONNECTION = re.compile(r"IN[ \t]++(IP[46])[ \t]++([0-9A-Za-z.:_\-]++)(/[0-9/]++)?[ \t]*+", re.IGNORECASE)
_TIME = re.compile(r"([0-9]{1,20})[ \t]++([0-9]{1,20})[ \t]*+")
_RTPMAP = re.compile(r"[ \t]*+([0-9]{1,3})[ \t]++([!-.0-~]++)/([0-9]{1,9})(?:/([0-9]{1,3}))?[ \t]*+")


class SdpError(ValueError):
    """A body that is no session description."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A ``c=`` line: ``family`` is ``IP4`` or ``IP6``; ``address`` is without the multicast TTL."""

    family: str
    address: str
    is_multicast: bool = False


@dataclass(frozen=True, slots=True)
class RtpMap:
    """What a payload type stands for: ``encoding`` in lower case, ``rate`` in Hz."""

    encoding: str
    rate: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` section. ``connection`` is its own ``c=`` line, if it has one."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: Attributes = ()

    def attribute(self, name: str) -> str | None:
        """Value of the first attribute ``name``, ``""`` if it has none, ``None`` if it is absent."""
        return _attribute(self.attributes, name)

    def rtpmaps(self) -> dict[str, RtpMap]:
        """The ``a=rtpmap`` lines by payload type, the first of each; lines that cannot be read count as absent."""
        maps: dict[str, RtpMap] = {}
        for name, value in self.attributes:
            if name == "rtpmap" and value is not None:
                match = _RTPMAP.fullmatch(value)
                if match is not None and match[1] not in maps:
                    maps[match[1]] = RtpMap(match[2].lower(), int(match[3]), int(match[4] or 1))
        return maps

    def rtpmap(self, payload_type: str) -> RtpMap | None:
        """The ``a=rtpmap`` of one payload type."""
        return self.rtpmaps().get(payload_type)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """``origin`` and ``name`` are the text of their lines; ``time`` is start and stop of the ``t=`` line."""

    origin: str
    name: str = "-"
    connection: Connection | None = None
    time: tuple[int, int] = (0, 0)
    attributes: Attributes = ()
    media: tuple[MediaDescription, ...] = ()

    def attribute(self, name: str) -> str | None:
        """Value of the first session-level attribute ``name``, as :meth:`MediaDescription.attribute`."""
        return _attribute(self.attributes, name)

    def direction_of(self, media: MediaDescription) -> str:
        """The direction of a section: its own, else the session's, else ``sendrecv`` (RFC 8866 section 6.7)."""
        for attributes in (media.attributes, self.attributes):
            for name, _ in attributes:
                if name in DIRECTIONS:
                    return name
        return "sendrecv"

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """The connection of a section: its own, else the session's (RFC 8866 section 5.7)."""
        return media.connection or self.connection

    def encode(self) -> bytes:
        """The description as a body, CRLF at the end of every line."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name or '-'}"]
        if self.connection is not None:
            lines.append(_write_connection(self.connection))
        lines.append(f"t={self.time[0]} {self.time[1]}")
        lines += _write_attributes(self.attributes)
        for media in self.media:
            lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}")
            if media.connection is not None:
                lines.append(_write_connection(media.connection))
            lines += _write_attributes(media.attributes)
        return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _attribute(attributes: Attributes, name: str) -> str | None:
    for key, value in attributes:
        if key == name:
            return value or ""
    return None


def _write_connection(connection: Connection) -> str:
    return f"c=IN {connection.family} {connection.address}"


def _write_attributes(attributes: Attributes) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]


def parse(body: bytes) -> SessionDescription:
    """Read a session description. Raises :class:`SdpError` and nothing else."""
    if len(body) > MAX_SIZE:
        raise SdpError("session description too long")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("latin-1")  # a=charset is free; only ASCII means anything to us
    lines = [line for line in text.replace("\r", "\n").split("\n") if line]
    if len(lines) > MAX_LINES:
        raise SdpError("session description has too many lines")
    if not lines or lines[0].rstrip() != "v=0":
        raise SdpError("no SDP version 0")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > MAX_MEDIA:
        raise SdpError("too many media sections")
    starts.append(len(lines))
    session = _read_section(lines[1 : starts[0]])
    return SessionDescription(
        session.origin,
        session.name,
        session.connection,
        session.time,
        tuple(session.attributes),
        tuple([_read_media(lines[start], lines[start + 1 : end]) for start, end in pairwise(starts)]),
    )


class _Section:
    """What the lines of one section said; of lines that may come once, the first counts."""

    __slots__ = ("attributes", "connection", "name", "origin", "time")

    def __init__(self) -> None:
        self.origin = "- 0 0 IN IP4 0.0.0.0"
        self.name = "-"
        self.connection: Connection | None = None
        self.time = (0, 0)
        self.attributes: list[tuple[str, str | None]] = []


def _read_section(lines: list[str]) -> _Section:
    section = _Section()
    for line in lines:
        kind, value = line[:2], line[2:]
        if kind == "a=":
            name, colon, argument = value.rstrip().partition(":")
            section.attributes.append((name, argument if colon else None))
        elif kind == "c=" and section.connection is None:
            section.connection = _read_connection(value)
        elif kind == "o=":
            section.origin = value.strip()
        elif kind == "s=":
            section.name = value.strip()
        elif kind == "t=":
            match = _TIME.fullmatch(value)
            section.time = (int(match[1]), int(match[2])) if match else (0, 0)
    return section


def _read_connection(value: str) -> Connection:
    match = _CONNECTION.fullmatch(value)
    if match is None:
        raise SdpError("malformed c= line")
    return Connection(match[1].upper(), match[2], match[3] is not None)


def _read_media(first: str, lines: list[str]) -> MediaDescription:
    match = _MEDIA.fullmatch(first[2:])
    if match is None:
        raise SdpError("malformed m= line")
    kind, port, _, protocol, listed = match.groups()
    if int(port) > 65535:
        raise SdpError("port of an m= line out of range")
    formats = tuple(dict.fromkeys(listed.split()))
    if len(formats) > MAX_FORMATS:
        raise SdpError("too many formats in an m= line")
    section = _read_section(lines)
    return MediaDescription(kind.lower(), int(port), protocol, formats, section.connection, tuple(section.attributes))
