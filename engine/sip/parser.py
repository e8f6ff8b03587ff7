"""Bytes into messages: one datagram, or a stream framed by Content-Length (RFC 3261 sections 7, 18.3).

The parser checks all that every element must understand (section 16.3 item 1, section 8.2.2):
whoever gets a message from here can read its structured headers without an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.sip.grammar import TOKEN
from engine.sip.headers import USUAL, Headers, header_item
from engine.sip.message import METHODS, REASONS, Malformed, Message, Request, Response
from engine.sip.uri import Uri

MAX_HEAD = 64 * 1024
"""Bytes of start line and headers, on a stream."""
MAX_DATAGRAM_HEAD = 16 * 1024
"""The same in a datagram: an answer, which repeats much of it, must fit into one as well."""
MAX_BODY = 64 * 1024
MAX_HEADERS = 256

# Request-Line = Method SP Request-URI SP SIP-Version CRLF: single spaces, none inside the URI.
_REQUEST_LINE = re.compile(rf"({TOKEN}) ([^\s<>\"]++) SIP/([0-9]++)\.([0-9]++)", re.IGNORECASE)
# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF; the last SP is forgotten by some.
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.IGNORECASE)
_LOOKS_LIKE_REQUEST = re.compile(rf"({TOKEN})\s.*\sSIP/[0-9.]++\s*", re.IGNORECASE)
_HEADER = re.compile(rf"({TOKEN})[ \t]*+:[ \t]*+(.*)", re.DOTALL)
_FOLD = re.compile(r"\r\n[ \t]++")
_STRAY_BREAK = re.compile(r"\r(?!\n)|(?<!\r)\n")
# A control character outside a quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F).
_CONTROL = re.compile(r"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# "a field that must occur once": section 7.3.1 lets only lists be repeated.
_SINGLE = frozenset(
    {
        "Call-ID",
        "Content-Length",
        "Content-Type",
        "CSeq",
        "Event",
        "Expires",
        "From",
        "Max-Forwards",
        "Min-Expires",
        "Refer-To",
        "Referred-By",
        "Session-Expires",
        "Subscription-State",
        "To",
    }
)
# Section 8.1.1; Max-Forwards is left out, as RFC 2543 did not have it (RFC 4475 section 3.4.1).
_MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")
_STRUCTURED = (
    ("Via", "vias"),
    ("From", "from_"),
    ("To", "to"),
    ("CSeq", "cseq"),
    ("Contact", "contacts"),
    ("Route", "routes"),
    ("Record-Route", "record_routes"),
)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """A CRLF CRLF between messages of a stream: the peer wants a CRLF back (RFC 5626 section 3.5.1)."""


def is_keep_alive(datagram: bytes) -> bool:
    """True for the datagrams that keep a NAT binding open: line ends, zeros, or nothing at all."""
    return len(datagram) <= 8 and not datagram.strip(b"\r\n\0 \t")


def parse(data: bytes | memoryview) -> Request | Response:
    """The message in one datagram. Bytes after its Content-Length are ignored (section 18.3).

    Raises :class:`Malformed` and nothing else.
    """
    data = bytes(data)
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")  # section 7.5
    head, blank, rest = data.partition(b"\r\n\r\n")
    if len(head) > MAX_DATAGRAM_HEAD:
        raise Malformed(None, "headers too long")
    message = _read_head(head, ended=bool(blank))
    length = _content_length(message)
    if length is None:
        message.body = rest
    elif length > len(rest):
        raise _refuse(message, 400, "Content-Length is beyond the end of the datagram")
    else:
        message.body = rest[:length]
    return message


def _read_head(head: bytes, *, ended: bool = True) -> Request | Response:
    """Start line and headers, checked; the body is empty yet. Raises :class:`Malformed`."""
    if len(head) > MAX_HEAD:
        raise Malformed(None, "headers too long")
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("latin-1")  # what old phones write names in; every octet is a letter there
    stray = not text.count("\r\n") == text.count("\r") == text.count("\n")
    if stray:  # a lone CR or LF ends a line for some and not for others: refused, and never repeated
        text = _STRAY_BREAK.sub(" ", text)
    start, _, lines = text.partition("\r\n")
    items, fault = _split_headers(lines)
    headers = Headers.received(items)
    message = _read_start_line(start, headers)
    if stray:
        fault = "stray CR or LF"
    elif not ended:
        fault = fault or "no blank line ends the headers"
    if fault:
        raise _refuse(message, 400, fault)
    _check(message)
    return message


def _split_headers(text: str) -> tuple[list[tuple[str, str, str]], str]:
    """Header lines unfolded (section 7.3.1): key, name, value; and what was wrong with one of them, if anything."""
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    items: list[tuple[str, str, str]] = []
    fault = ""
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        if name in USUAL:  # as most are spelled
            items.append((name, name, value.strip(" \t")))
            continue
        match = _HEADER.fullmatch(line)
        if match is not None:
            items.append(header_item(match[1], match[2].rstrip(" \t")))
        elif line:
            fault = "a header line without a name"
    if len(items) > MAX_HEADERS:
        return items[:MAX_HEADERS], "too many headers"
    if _CONTROL.search(text):
        fault = "control character in a header"
    return items, fault


def _read_start_line(line: str, headers: Headers) -> Request | Response:
    match = _REQUEST_LINE.fullmatch(line)
    if match is not None:
        method, uri, major, minor = match.groups()
        request = Request(method, uri, headers)
        if (major, minor) != ("2", "0"):
            raise _refuse(request, 505, "version of SIP not supported")  # section 21.5.6
        return request
    if line[:4].upper() == "SIP/":
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise Malformed(None, "malformed status line")
        return Response(int(match[1]), match[2] or "", headers)
    match = _LOOKS_LIKE_REQUEST.fullmatch(line)
    if match is None:
        raise Malformed(None, "not SIP")
    raise _refuse(Request(match[1], "sip:unreadable.invalid", headers), 400, "malformed request line")


def _check(message: Request | Response) -> None:
    """What every element must find right. Raises :class:`Malformed`."""
    counts = message.headers.counts()
    for name in _MANDATORY:
        if name not in counts:
            raise _refuse(message, 400, f"{name} missing")
    for name, count in counts.items():
        if count > 1 and name in _SINGLE and not _harmless(message.headers, name):
            raise _refuse(message, 400, f"more than one {name}")
    try:
        _check_structure(message, counts)
    except ValueError as error:
        raise _refuse(message, 400, str(error)) from None
    if isinstance(message, Request):
        _check_request(message)
    elif len(message.vias) > 1:
        # Section 8.1.3.3: a response with more than one Via was not for us.
        raise Malformed(None, "response with more than one Via")


def _harmless(headers: Headers, name: str) -> bool:
    """Whether a field that may come once came twice without a doubt about what it says."""
    return name == "Content-Type" and len(set(headers.all(name))) == 1


def _check_structure(message: Message, counts: dict[str, int]) -> None:
    """Read every structured header once, so that nobody meets a ``ValueError`` later."""
    for name, attribute in _STRUCTURED:
        if name in counts:
            try:
                getattr(message, attribute)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    call_id = message.call_id
    if not call_id or " " in call_id or "\t" in call_id:
        raise ValueError("Call-ID: not a word")
    # Section 8.1.1.7: the magic cookie alone identifies nothing.
    if message.via.branch.lower() == "z9hg4bk":
        raise ValueError("Via: branch without an identifier")


def _check_request(request: Request) -> None:
    if request.cseq.method != request.method:
        # RFC 4475 section 3.1.2.18: of an unknown method say that first.
        status = 400 if request.method in METHODS else 501
        raise _refuse(request, status, "CSeq method differs from the request's")
    if request.contact_is_wildcard and request.method != "REGISTER":
        raise _refuse(request, 400, "Contact: * outside REGISTER")
    try:
        uri = Uri.parse(request.uri)
    except ValueError as error:
        raise _refuse(request, 400, f"Request-URI: {error}") from None
    if uri.headers:
        raise _refuse(request, 400, "headers in the Request-URI")  # table of section 19.1.1


def _content_length(message: Request | Response) -> int | None:
    text = message.headers.get("Content-Length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise _refuse(message, 400, "malformed Content-Length")
    return int(text)


def _refuse(message: Request | Response, status: int, reason: str) -> Malformed:
    """The error for ``message``: with a stateless answer for a request, dropped otherwise."""
    # Section 17.1.1.3: an ACK is never answered. Without a Via nobody waits for an answer.
    if isinstance(message, Response) or message.method == "ACK" or "Via" not in message.headers:
        return Malformed(None, reason)
    headers = Headers()
    for name, value in message.headers:
        if name == "Via" or (name in ("From", "To", "Call-ID", "CSeq") and name not in headers):
            headers.add(name, value)
    phrase = REASONS[status] if status != 400 else f"{REASONS[400]} ({reason})"
    return Malformed(status, reason, Response(status, phrase, headers))


_LENGTH_LINE = re.compile(rb"^(?:content-length|l)[ \t]*+:[ \t]*+([0-9]{1,9})[ \t]*+\r?$", re.IGNORECASE | re.MULTILINE)


class StreamBroken(Exception):
    """More was fed to a :class:`StreamParser` that had lost its framing."""


class StreamParser:
    """Messages out of a byte stream, framed by Content-Length (section 18.3).

    Work is linear in the bytes fed. After a framing error (``broken`` says which) nothing that
    follows can be trusted: send what answers there are and close the connection.
    """

    def __init__(self, *, max_head: int = MAX_HEAD, max_body: int = MAX_BODY) -> None:
        self.broken = ""
        self._buffer = bytearray()
        self._searched = 0
        self._head: Request | Response | None = None
        self._refusal: Malformed | None = None
        self._length = 0
        self._max_head = max_head
        self._max_body = max_body

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return self._head is not None or self._refusal is not None or bool(self._buffer.strip(b"\r\n"))

    def feed(self, data: bytes) -> list[Request | Response | Malformed | KeepAlive]:
        """All that ``data`` completes, in order. Raises :class:`StreamBroken` once ``broken`` is set.

        A message that is malformed but well framed is given as :class:`Malformed`, and the stream goes on.
        """
        if self.broken:
            raise StreamBroken(self.broken)
        self._buffer += data
        found: list[Request | Response | Malformed | KeepAlive] = []
        while not self.broken:
            if self._head is None and self._refusal is None and not self._next_head(found):
                break
            if self.broken or len(self._buffer) < self._length:
                break
            found.append(self._finish())
        return found

    def _next_head(self, found: list[Request | Response | Malformed | KeepAlive]) -> bool:
        """Take start line and headers off the buffer, if they are complete."""
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            if buffer[2:4] == b"\r\n":
                found.append(KeepAlive())
                del buffer[:4]
            elif len(buffer) == 2 or buffer[2:] == b"\r":
                return False  # the first half of a keep-alive, or an answer to ours
            else:
                del buffer[:2]  # section 7.5: CRLF before the start line is ignored
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 3)
            if len(buffer) > self._max_head:
                self.broken = "headers too long"
            return False
        if end > self._max_head:
            self.broken = "headers too long"
            return False
        head = bytes(buffer[:end])
        del buffer[: end + 4]
        self._searched = 0
        self._begin(head, found)
        return not self.broken

    def _begin(self, head: bytes, found: list[Request | Response | Malformed | KeepAlive]) -> None:
        """Start on a message: what it is, and how long its body."""
        # With a lone CR or LF in it nobody can tell what is a line: nothing to go on from.
        lengths = _LENGTH_LINE.findall(head) if head.count(b"\n") == head.count(b"\r\n") == head.count(b"\r") else []
        try:
            self._head = _read_head(head)
            length = _content_length(self._head)
            if length is None:  # section 20.14: it must be there on a stream
                raise _refuse(self._head, 400, "Content-Length missing on a stream")
            if length > self._max_body:
                lengths.clear()
                raise _refuse(self._head, 513, "body too long")
            self._length = length
        except Malformed as error:
            self._head = None
            if len(lengths) != 1 or int(lengths[0]) > self._max_body:
                self.broken = error.reason
                found.append(error)
            else:
                self._refusal = error
                self._length = int(lengths[0])

    def _finish(self) -> Request | Response | Malformed:
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        message, refusal = self._head, self._refusal
        self._head = self._refusal = None
        self._length = 0
        if message is None:
            assert refusal is not None
            return refusal
        message.body = body
        return message
