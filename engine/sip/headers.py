"""Header fields: the ordered, case-insensitive collection, and the structured ones of RFC 3261 section 20."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.sip.grammar import (
    TOKEN,
    Params,
    find_param,
    is_token,
    read_params,
    set_param,
    skip_space,
    split_list,
    write_params,
)
from engine.sip.uri import check_ipv6, check_port

T = TypeVar("T")

COMPACT = {
    "a": "Accept-Contact",  # RFC 3841
    "b": "Referred-By",  # RFC 3892
    "c": "Content-Type",
    "d": "Request-Disposition",  # RFC 3841
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",  # RFC 3841
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",  # RFC 6665
    "r": "Refer-To",  # RFC 3515
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",  # RFC 6665
    "v": "Via",
    "x": "Session-Expires",  # RFC 4028
    "y": "Identity",  # RFC 8224
}
"""Compact form to long name (RFC 3261 section 7.3.3 and the RFCs named)."""

# fmt: off
_LONG_NAMES = (
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
    "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition",
    "Content-Encoding", "Content-Language", "Content-Length", "Content-Type", "CSeq", "Date", "Diversion",
    "Error-Info", "Event", "Expires", "Flow-Timer", "From", "History-Info", "Identity", "In-Reply-To",
    "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization", "P-Asserted-Identity",
    "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate", "Proxy-Authorization",
    "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-Sub", "Refer-To", "Referred-By", "Reject-Contact",
    "Remote-Party-ID", "Replaces", "Reply-To", "Request-Disposition", "Require", "Retry-After", "Route", "RSeq",
    "Server", "Service-Route", "Session-Expires", "Subject", "Subscription-State", "Supported", "Timestamp", "To",
    "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate",
)
# fmt: on
USUAL = frozenset(_LONG_NAMES)
"""Names in their usual spelling."""
_KNOWN = {name.lower(): name for name in _LONG_NAMES} | COMPACT
_KNOWN |= {name: name for name in _LONG_NAMES}  # as they are mostly spelled: one lookup


def long_name(name: str) -> str:
    """``name`` as it is usually written: compact forms unfolded, known names in their spelling."""
    return _KNOWN.get(name) or _KNOWN.get(name.lower()) or name


def header_item(name: str, value: str) -> tuple[str, str, str]:
    """A line of which nothing has to be checked, for :meth:`Headers.received`."""
    usual = _KNOWN.get(name) or _KNOWN.get(name.lower())
    return (usual, usual, value) if usual is not None else (name.lower(), name, value)


def _key(name: str) -> str:
    return _KNOWN.get(name) or _KNOWN.get(name.lower()) or name.lower()


class Headers:
    """Header fields in order. Names are case-insensitive; compact and long form are one name.

    Values are text without line breaks, as received (a comma-separated list stays one value).
    """

    __slots__ = ("_items", "_views")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str, str]] = []  # key, name, value
        self._views: dict[str, Any] = {}
        for name, value in items:
            self.add(name, value)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name, value) for _, name, value in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(key, value) for key, _, value in self._items] == [(key, value) for key, _, value in other._items]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

    def items(self) -> list[tuple[str, str]]:
        """(name, value) pairs in order."""
        return [(name, value) for _, name, value in self._items]

    def copy(self) -> Headers:
        twin = Headers()
        twin._items = self._items.copy()
        twin._views = self._views.copy()
        return twin

    def get(self, name: str) -> str | None:
        """The first value, ``None`` when there is none."""
        key = _key(name)
        for item in self._items:
            if item[0] == key:
                return item[2]
        return None

    def all(self, name: str) -> list[str]:
        """All values, one per header line."""
        key = _key(name)
        return [item[2] for item in self._items if item[0] == key]

    def tokens(self, name: str) -> list[str]:
        """The elements of a header that is a list of tokens (Require, Allow, …), commas resolved."""
        return [token for value in self.all(name) for item in value.split(",") if (token := item.strip())]

    def add(self, name: str, value: str) -> None:
        """Append a header line. Raises ``ValueError`` on a line break in it: nothing can be smuggled in."""
        key = _checked_key(name, value)
        self._items.append((key, long_name(name), value))
        self._views.pop(key, None)

    def insert_first(self, name: str, value: str) -> None:
        """Put a header line before all others of its name (and first of all when there is none)."""
        key = _checked_key(name, value)
        place = next((index for index, item in enumerate(self._items) if item[0] == key), 0)
        self._items.insert(place, (key, long_name(name), value))
        self._views.pop(key, None)

    def set(self, name: str, value: str) -> None:
        """Replace the first line of this name, drop the others; append when there is none."""
        key = _checked_key(name, value)
        place = next((index for index, item in enumerate(self._items) if item[0] == key), None)
        if place is None:
            self._items.append((key, long_name(name), value))
        else:
            self._items[place] = (key, self._items[place][1], value)
            rest = [item for item in self._items[place + 1 :] if item[0] != key]
            self._items[place + 1 :] = rest
        self._views.pop(key, None)

    def replace_first(self, name: str, values: Iterable[str]) -> None:
        """Put ``values``, one line each, in place of the first line of this name. Raises ``ValueError`` if none is."""
        key = _key(name)
        place = next((index for index, item in enumerate(self._items) if item[0] == key), None)
        if place is None:
            raise ValueError(f"no {name}")
        self._items[place : place + 1] = [(_checked_key(name, value), long_name(name), value) for value in values]
        self._views.pop(key, None)

    def remove(self, name: str) -> None:
        key = _key(name)
        self._items = [item for item in self._items if item[0] != key]
        self._views.pop(key, None)

    def view(self, name: str, read: Callable[[list[str]], T]) -> T:
        """What ``read`` makes of all values of ``name`` (its long spelling), kept until they change.

        One ``read`` belongs to each name. Its ``ValueError`` passes through.
        """
        try:
            return self._views[name]  # type: ignore[no-any-return]
        except KeyError:
            made = self._views[name] = read([item[2] for item in self._items if item[0] == name])
            return made

    def prime(self, name: str, made: Any) -> None:
        """Say what :meth:`view` would make of ``name``, where it is known: it is read no more."""
        self._views[name] = made

    @classmethod
    def received(cls, items: list[tuple[str, str, str]]) -> Headers:
        """For the parser, which has checked names and values: (key, name, value) of each line, kept as they are."""
        headers = cls.__new__(cls)
        headers._items = items
        headers._views = {}
        return headers

    def only(self, names: Collection[str]) -> Headers:
        """Those of ``names`` (long spelling), in their order."""
        return Headers.received([item for item in self._items if item[0] in names])

    def lines(self) -> list[str]:
        """All lines as they are sent, but for Content-Length."""
        return [f"{name}: {value}" for key, name, value in self._items if key != "Content-Length"]

    def counts(self) -> dict[str, int]:
        """How many lines there are of each name (long spelling; lower case for unknown ones)."""
        counts: dict[str, int] = {}
        for key, _, _ in self._items:
            counts[key] = counts.get(key, 0) + 1
        return counts


def _checked_key(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError(f"line break in the value of {name}")
    key = _KNOWN.get(name) or _KNOWN.get(name.lower())
    if key is None:
        if not is_token(name):
            raise ValueError(f"not a header name: {name!r}")
        key = name.lower()
    return key


# via-parm = sent-protocol LWS sent-by *( SEMI via-params ); slashes may have space around them.
_VIA = re.compile(
    rf"[ \t]*+({TOKEN})[ \t]*+/[ \t]*+({TOKEN})[ \t]*+/[ \t]*+({TOKEN})[ \t]++"
    r"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9_][A-Za-z0-9._\-]*+)(?:[ \t]*+:[ \t]*+([0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (section 20.42). ``transport`` is upper case; ``host`` keeps IPv6 brackets."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()
    version: str = "2.0"

    @staticmethod
    def parse(text: str) -> Via:
        """Read exactly one Via value. Raises ``ValueError``."""
        match = _VIA.match(text)
        if match is None:
            raise ValueError("malformed Via")
        name, version, transport, host, port = match.groups()
        if name.upper() != "SIP":
            raise ValueError("not a SIP Via")
        if host[0] == "[":
            host = check_ipv6(host)
        params, end = read_params(text, match.end())
        if end != len(text) and skip_space(text, end) != len(text):
            raise ValueError("malformed Via parameters")
        return Via(transport.upper(), host, None if port is None else check_port(port), params, version)

    @staticmethod
    def parse_many(text: str) -> tuple[Via, ...]:
        """Read a comma-separated list of one or more. Raises ``ValueError``."""
        vias = tuple([Via.parse(item) for item in split_list(text)])
        if not vias:
            raise ValueError("empty Via")
        return vias

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/{self.version}/{self.transport} {self.host}{port}{write_params(self.params)}"

    @property
    def branch(self) -> str:
        """The branch, empty when there is none (RFC 2543 peers)."""
        return find_param(self.params, "branch") or ""

    @property
    def received(self) -> str | None:
        """The address that the request came from, without brackets (RFC 5118 section 4.5 tells both are sent)."""
        value = find_param(self.params, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """RFC 3581: the source port, 0 when it is asked for and not filled in, ``None`` when absent."""
        value = find_param(self.params, "rport")
        if value is None:
            return None
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else 0

    @property
    def sent_by(self) -> tuple[str, int]:
        """Host in lower case and port, 5060 (5061 for TLS) by default (section 18.2.2)."""
        return self.host.lower(), self.port or (5061 if self.transport in ("TLS", "WSS") else 5060)

    def param(self, name: str) -> str | None:
        return find_param(self.params, name.lower())

    def with_param(self, name: str, value: str | None = None) -> Via:
        return replace(self, params=set_param(self.params, name.lower(), value))

    def with_source(self, host: str, port: int) -> Via:
        """Marked with where it came from, as sections 18.2.1 and RFC 3581 section 4 say."""
        params = self.params
        asked = find_param(params, "rport") is not None
        # "different from the sent-by host, or the sent-by is a name": received; with rport: always.
        if asked or self.host.strip("[]").lower() != host.lower():
            params = set_param(params, "received", host)
        if asked:
            params = set_param(params, "rport", str(port))
        return self if params is self.params else Via(self.transport, self.host, self.port, params, self.version)

    def response_address(self) -> tuple[str, int]:
        """Where a response over an unreliable transport goes (section 18.2.2, RFC 3581 section 4)."""
        port = self.sent_by[1]
        maddr = find_param(self.params, "maddr")
        if maddr:
            return maddr.strip("[]"), port
        return self.received or self.host.strip("[]"), self.rport or port


_CSEQ = re.compile(rf"[ \t]*+([0-9]{{1,24}})[ \t]++({TOKEN})[ \t]*+")


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    @staticmethod
    def parse(text: str) -> CSeq:
        """Raises ``ValueError``, also when the number is not below 2**31 (section 8.1.1.5)."""
        match = _CSEQ.fullmatch(text)
        if match is None:
            raise ValueError("malformed CSeq")
        number = int(match[1])
        if number >= 1 << 31:
            raise ValueError("CSeq number too large")
        return CSeq(number, match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def read_seconds(text: str | None) -> int | None:
    """delta-seconds (section 20.19, 20.33): ``None`` when absent, malformed or beyond 32 bits."""
    if text is None:
        return None
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > 10:
        return None
    seconds = int(digits)
    return seconds if seconds < 1 << 32 else None


__all__ = ["COMPACT", "USUAL", "CSeq", "Headers", "Via", "header_item", "long_name", "read_seconds"]
