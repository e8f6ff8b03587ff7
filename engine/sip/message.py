"""SIP messages (RFC 3261 section 7): requests, responses, and what could not be understood."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from engine.sip.headers import CSeq, Headers, Via, read_seconds
from engine.sip.uri import Address, Uri

T = TypeVar("T")

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    433: "Anonymity Disallowed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""Reason phrases by status (RFC 3261 section 21 and its extensions)."""

METHODS = frozenset(
    {
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    }
)
"""The methods of the IANA registry."""

_DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY"})
_COPIED = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_COPIED_BY_100 = _COPIED | {"Timestamp"}
_COPIED_BY_A_DIALOG = _COPIED | {"Record-Route"}
_LINE_BREAK = re.compile(r"[\r\n]")


def _one_address(values: list[str]) -> Address:
    if not values:
        raise ValueError("header missing")
    return Address.parse(values[0])


def _addresses(values: list[str]) -> tuple[Address, ...]:
    if len(values) == 1:
        return Address.parse_many(values[0])
    return tuple([address for value in values for address in Address.parse_many(value)])


def _contacts(values: list[str]) -> tuple[Address, ...]:
    if "*" in values:  # Contact: * stands alone (section 10.2.2)
        if len(values) > 1:
            raise ValueError("Contact: * is not alone")
        return ()
    return _addresses(values)


def _vias(values: list[str]) -> tuple[Via, ...]:
    if not values:
        raise ValueError("Via missing")
    if len(values) == 1:
        return Via.parse_many(values[0])
    return tuple([via for value in values for via in Via.parse_many(value)])


def _cseq(values: list[str]) -> CSeq:
    if not values:
        raise ValueError("CSeq missing")
    return CSeq.parse(values[0])


def _media_type(values: list[str]) -> str:
    return values[0].partition(";")[0].replace(" ", "").strip().lower() if values else ""


def _seconds(values: list[str]) -> int | None:
    return read_seconds(values[0]) if values else None


def _hops(values: list[str]) -> int | None:
    hops = _seconds(values)
    return hops if hops is not None and hops <= 255 else None


class Message:
    """What requests and responses have in common.

    Structured headers are read when first asked for and kept until they are changed. Of a
    message that came out of the parser none of these properties raises; of one put together
    here they raise ``ValueError`` when the header is missing or malformed.
    """

    __slots__ = ("body", "headers")

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.body = body

    def _view(self, name: str, read: Callable[[list[str]], T]) -> T:
        return self.headers.view(name, read)

    @property
    def call_id(self) -> str:
        return self.headers.get("Call-ID") or ""

    @property
    def cseq(self) -> CSeq:
        return self._view("CSeq", _cseq)

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return self._view("Via", _vias)[0]

    @property
    def vias(self) -> tuple[Via, ...]:
        return self._view("Via", _vias)

    @property
    def from_(self) -> Address:
        return self._view("From", _one_address)

    @property
    def to(self) -> Address:
        return self._view("To", _one_address)

    @property
    def contacts(self) -> tuple[Address, ...]:
        """All Contact values; none for ``*``, see :attr:`contact_is_wildcard`."""
        return self._view("Contact", _contacts)

    @property
    def contact_is_wildcard(self) -> bool:
        return self.headers.get("Contact") == "*"

    @property
    def routes(self) -> tuple[Address, ...]:
        return self._view("Route", _addresses)

    @property
    def record_routes(self) -> tuple[Address, ...]:
        return self._view("Record-Route", _addresses)

    @property
    def max_forwards(self) -> int | None:
        """``None`` when absent or not within 0 to 255 (then as if absent, RFC 4475 section 3.1.2.4)."""
        return self._view("Max-Forwards", _hops)

    @property
    def expires(self) -> int | None:
        """Seconds; ``None`` when absent or malformed (section 20.19)."""
        return self._view("Expires", _seconds)

    @property
    def content_type(self) -> str:
        """``type/subtype`` in lower case without parameters, empty when absent."""
        return self._view("Content-Type", _media_type)

    def note_source(self, host: str, port: int) -> None:
        """Mark the topmost Via with the address it came from (sections 18.2.1, RFC 3581 section 4).

        Leaves a Via that cannot be read as it is.
        """
        try:
            vias = self.vias
            marked = vias[0].with_source(host, port)
            if marked is vias[0]:
                return
            lines = self.headers.all("Via")
            first = vias if len(lines) == 1 else Via.parse_many(lines[0])
        except ValueError:
            return
        self.headers.replace_first("Via", [str(marked), *(str(via) for via in first[1:])])
        self.headers.prime("Via", (marked, *vias[1:]))

    def _start_line(self) -> str:
        raise NotImplementedError

    def encode(self) -> bytes:
        """The message as it goes over the wire; Content-Length is that of ``body``."""
        start = self._start_line()
        if _LINE_BREAK.search(start):
            raise ValueError("line break in the start line")
        lines = [start, *self.headers.lines(), f"Content-Length: {len(self.body)}\r\n\r\n"]
        return "\r\n".join(lines).encode("utf-8", "replace") + self.body


class Request(Message):
    """A request. ``uri`` is the text of the Request-URI."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"

    @property
    def ruri(self) -> Uri:
        return Uri.parse(self.uri)

    def _start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    def response(self, status: int, reason: str | None = None, *, to_tag: str | None = None) -> Response:
        """A response to this request with the headers of section 8.2.6.2.

        ``to_tag`` is added to a To without a tag, except in a 100. Record-Route is copied where a
        dialog may be formed (section 12.1.1), Timestamp into a 100 (section 8.2.6.1).
        """
        forms_dialog = 100 < status < 300 and self.method in _DIALOG_FORMING
        copied = self.headers.only(
            _COPIED_BY_A_DIALOG if forms_dialog else _COPIED_BY_100 if status == 100 else _COPIED
        )
        if to_tag is not None and status != 100 and not self.to.tag:
            copied.set("To", f"{self.headers.get('To')};tag={to_tag}")
        return Response(status, REASONS.get(status, "Unknown") if reason is None else reason, copied)


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"


class Malformed(ValueError):
    """A message that is no message.

    ``status`` is what to answer, ``None`` to drop it in silence; ``reason`` says in words what is
    wrong; ``response`` is the stateless answer (section 8.2.7), to be sent to where the message came
    from. It is there whenever ``status`` is, and repeats what could be found of Via, From, To,
    Call-ID and CSeq.
    """

    def __init__(self, status: int | None, reason: str, response: Response | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.response = response

    def __repr__(self) -> str:
        return f"<Malformed {self.status or 'drop'}: {self.reason}>"
