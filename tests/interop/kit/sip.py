"""Just enough SIP for a scripted phone: messages as text, one UDP socket, retransmission on request.

Deliberately naive and independent of ``engine.sip``: it sends exactly what a test tells it to.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kit.rtp import Pattern

T1 = 0.5


@dataclass(slots=True)
class Message:
    """A message as received: start line, headers in order, body."""

    start: str
    headers: list[tuple[str, str]]
    body: str = ""
    at: float = 0.0

    @classmethod
    def parse(cls, data: bytes, at: float = 0.0) -> Message:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return cls(start, headers, body, at)

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return self.cseq.partition(" ")[2] if self.status else self.start.partition(" ")[0]

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name.lower()]

    def get(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def cseq(self) -> str:
        return self.get("cseq")

    @property
    def tag(self) -> str:
        found = re.search(r";tag=([^;>\s]+)", self.get("to"))
        return found[1] if found else ""

    @property
    def contact(self) -> str:
        found = re.search(r"<([^>]+)>", self.get("contact"))
        return found[1] if found else self.get("contact").partition(";")[0]

    def media(self) -> tuple[str, int]:
        """Host and port of the first media line of the SDP."""
        host = re.search(r"^c=IN IP[46] (\S+)", self.body, re.MULTILINE)
        port = re.search(r"^m=audio (\d+)", self.body, re.MULTILINE)
        if host is None or port is None:
            raise AssertionError(f"no audio in SDP:\n{self.body}")
        return host[1], int(port[1])


def reply(
    request: Message, status: int, reason: str, *, tag: str = "", extra: Sequence[str] = (), body: str = ""
) -> str:
    lines = [f"SIP/2.0 {status} {reason}"]
    for name, value in request.headers:
        if name in {"via", "from", "call-id", "cseq", "record-route"}:
            lines.append(f"{name.title()}: {value}")
        elif name == "to":
            lines.append(f"To: {value}" + (f";tag={tag}" if tag and ";tag=" not in value else ""))
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *extra, *kind, f"Content-Length: {len(body)}", "", body])


@dataclass(slots=True)
class SipSocket:
    """A UDP socket that speaks to one server; impairments are patterns (see :class:`Pattern`)."""

    server: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    out_pattern: Pattern = field(default_factory=Pattern)
    in_pattern: Pattern = field(default_factory=Pattern)
    log: list[Message] = field(default_factory=list)
    _pending: list[Message] = field(default_factory=list)
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, self.port))
        self.port = self._socket.getsockname()[1]

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def close(self) -> None:
        self._socket.close()

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:
        data = text.encode() if isinstance(text, str) else text
        for datagram in self.out_pattern.apply(data):
            self._socket.sendto(datagram, to or self.server)

    def receive(self, patience: float) -> Message | None:
        deadline = time.monotonic() + patience
        while True:
            if self._pending:
                return self._pending.pop(0)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65535)
            except TimeoutError:
                return None
            except ConnectionRefusedError:
                continue
            for datagram in self.in_pattern.apply(data):
                message = Message.parse(datagram, time.time())
                self.log.append(message)
                self._pending.append(message)


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(6)


def digest(challenge: str, method: str, uri: str, username: str, password: str) -> str:
    """``Authorization`` for a challenge, RFC 3261 section 22.4, MD5 with or without qop."""
    parts = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))

    def md5(*items: str) -> str:
        return hashlib.md5(":".join(items).encode()).hexdigest()

    one, two = md5(username, parts["realm"], password), md5(method, uri)
    base = f'Digest username="{username}", realm="{parts["realm"]}", nonce="{parts["nonce"]}", uri="{uri}"'
    if "qop" in parts:
        client = secrets.token_hex(4)
        response = md5(one, parts["nonce"], "00000001", client, "auth", two)
        base += f', qop=auth, nc=00000001, cnonce="{client}"'
    else:
        response = md5(one, parts["nonce"], two)
    if "opaque" in parts:
        base += f', opaque="{parts["opaque"]}"'
    return f'{base}, response="{response}", algorithm=MD5'


def transact(
    sip: SipSocket,
    request: str,
    wanted: Callable[[Message], bool],
    *,
    patience: float = 10.0,
    others: Callable[[Message], None] = lambda message: None,
) -> Message:
    """Send ``request``, again after T1, 2·T1, 4·T1 … (RFC 3261 timers A and E) until ``wanted`` comes."""
    deadline = time.monotonic() + patience
    wait = T1
    while time.monotonic() < deadline:
        sip.send(request)
        again = time.monotonic() + wait
        wait = min(2 * wait, 4.0)
        while (left := min(again, deadline) - time.monotonic()) > 0:
            message = sip.receive(left)
            if message is None:
                break
            if wanted(message):
                return message
            if message.status and message.status < 200:
                again = deadline  # provisional: the server has it
            others(message)
    received = [message.start for message in sip.log]
    raise AssertionError(f"no answer to {request.splitlines()[0]!r} within {patience} s; received {received}")


def sdp(
    host: str, port: int, *, codecs: Iterable[int] = (0,), event_type: int = 101, extra: str = "", version: int = 1
) -> str:
    kinds = [*codecs, *([event_type] if event_type >= 0 else [])]
    events = f"a=rtpmap:{event_type} telephone-event/8000\r\na=fmtp:{event_type} 0-15\r\n" if event_type >= 0 else ""
    family = "IP6" if ":" in host else "IP4"
    return (
        f"v=0\r\no=kit 1 {version} IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {' '.join(map(str, kinds))}\r\n{events}{extra}"
    )
