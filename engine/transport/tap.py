"""The SIP messages of calls that are watched: kept in memory while a call lives, for its timeline and for captures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engine.sip.flow import Flow
from engine.sip.message import Request, Response

MOST_MESSAGES = 200
MOST_OCTETS = 256 * 1024
"""Of one call; what comes beyond is counted, not kept."""

_CALL_ID = re.compile(rb"\r?\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CSEQ = re.compile(rb"\r?\nCSeq[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


_KEY = re.compile(rb"(?i)(?<=inline:)[A-Za-z0-9+/=]++")
_CREDENTIALS = re.compile(
    rb"(?im)^(?P<name>(?:Proxy-)?(?:Authorization|Authentication-Info)[ \t]*+:)(?P<value>(?:[^\r\n]|\r?\n[ \t])*+)"
)
"""Headers with credentials, also over several lines."""
_PROOF = re.compile(rb"""(?i)(\b(?:response|rspauth)[ \t]*+=[ \t]*+"?)([^\s,"]++)""")
_DIGEST = re.compile(rb"(?i)\s*+Digest\s")


class Seen(NamedTuple):
    """One message: ``at`` in seconds since the epoch, ``data`` as it was on the wire, but for the keys of SRTP and what
    proves that somebody knows a password.
    """

    at: float
    direction: Literal["in", "out"]
    flow: Flow
    data: bytes

    @property
    def first_line(self) -> str:
        return self.data.partition(b"\r\n")[0].decode("utf-8", "replace")

    @property
    def cseq(self) -> str:
        found = _CSEQ.search(self.data)
        return found.group(1).strip().decode("utf-8", "replace") if found else ""


@dataclass(slots=True)
class Watch:
    """What was seen of one SIP call."""

    messages: list[Seen] = field(default_factory=list)
    octets: int = 0
    left_out: int = 0

    def add(self, seen: Seen) -> None:
        if len(self.messages) < MOST_MESSAGES and self.octets + len(seen.data) <= MOST_OCTETS:
            self.messages.append(seen)
            self.octets += len(seen.data)
        else:
            self.left_out += 1


class Tap:
    """Messages go by here; those of watched calls are kept."""

    def __init__(self, ended: Callable[[str, str, Watch], None] = lambda _call, _leg, _watch: None) -> None:
        """``ended`` gets the id of a call, that of its leg (empty: the call's own) and what was seen of it."""
        self.ended = ended
        self._watches: dict[bytes, Watch] = {}
        self._current: tuple[Flow, bytes | Request | Response] | None = None

    def received(self, flow: Flow, message: bytes | Request | Response) -> None:
        """A message came and is about to be handled: if it begins a call, the watch that is set meanwhile has it."""
        self._current = (flow, message)
        if self._watches and (watch := self._watches.get(_call_id(message))) is not None:
            watch.add(_seen_now("in", flow, _encoded(message)))

    def sent(self, flow: Flow, data: bytes) -> None:
        if self._watches and (watch := self._watches.get(_call_id(data))) is not None:
            watch.add(_seen_now("out", flow, data))

    def watch(self, call_id: str) -> Watch:
        """Keep the messages of this Call-ID from now on, the one that is being handled included."""
        key = call_id.encode()
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch()
            if self._current is not None and _call_id(self._current[1]) == key:
                watch.add(_seen_now("in", self._current[0], _encoded(self._current[1])))
        return watch

    def forget(self, call_id: str) -> None:
        self._watches.pop(call_id.encode(), None)

    def seen(self, call_id: str) -> list[Seen]:
        """The messages of a Call-ID that is watched, so far."""
        watch = self._watches.get(call_id.encode())
        return list(watch.messages) if watch is not None else []


def _seen_now(direction: Literal["in", "out"], flow: Flow, data: bytes) -> Seen:
    return Seen(time.time(), direction, flow, without_secrets(data))


def without_secrets(data: bytes) -> bytes:
    """``data`` as it may be shown to who asks for a call: without keys, and without responses to challenges, by which a
    password could be guessed at leisure (RFC 7616 section 5.8). Lengths stay.
    """
    plain = data.lower()
    if b"inline:" in plain:
        data = without_keys(data)
    return without_credentials(data) if b"auth" in plain else data


def without_credentials(data: bytes) -> bytes:
    """An asterisk for every octet of ``response`` and ``rspauth``; of schemes that are no Digest all is left out."""
    head, blank, body = data.partition(b"\r\n\r\n")
    return _CREDENTIALS.sub(_without_proof, head) + blank + body


def _without_proof(header: re.Match[bytes]) -> bytes:
    name, value = header["name"], header["value"]
    if b"info" in name.lower() or _DIGEST.match(value):
        return name + _PROOF.sub(lambda found: found[1] + b"*" * len(found[2]), value)
    scheme = re.match(rb"\s*+[^\s]*+\s*+", value)
    known = scheme[0] if scheme is not None else b""
    return name + known + re.sub(rb"[^\s]", b"*", value[len(known) :])


def without_keys(data: bytes) -> bytes:
    """``data`` with an asterisk for every octet of a key (RFC 4568): what is kept must not open what was recorded."""
    return _KEY.sub(lambda key: b"*" * len(key[0]), data)


def _call_id(message: bytes | Request | Response) -> bytes:
    if not isinstance(message, bytes):
        return message.call_id.encode()
    place = message.find(b"\r\nCall-ID: ")  # as it is mostly written: no search by pattern
    if 0 <= place < message.find(b"\r\n\r\n"):
        return message[place + 11 : message.index(b"\r\n", place + 11)].strip()
    found = _CALL_ID.search(message)
    return found.group(1).strip() if found else b""


def _encoded(message: bytes | Request | Response) -> bytes:
    return message if isinstance(message, bytes) else message.encode()
