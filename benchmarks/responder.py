"""The floor of a call set-up: fixed bytes, no parser, no transactions, no dialogs, no media.

One UDP socket. An INVITE is answered with 200, its ACK with BYE.
"""

from __future__ import annotations

import itertools
import socket
from multiprocessing.connection import Connection

_BODY = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


def respond(pipe: Connection) -> None:
    """Say the port down ``pipe``, then answer without end."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    pipe.send(port)
    for number in itertools.count():
        data, source = sock.recvfrom(65535)
        if data.startswith(b"INVITE"):
            sock.sendto(_answer(data, port), source)
        elif data.startswith(b"ACK"):
            sock.sendto(_bye(data, port, number), source)


def _answer(invite: bytes, port: int) -> bytes:
    kept = [line for line in invite.split(b"\r\n") if line.startswith((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))]
    kept = [line + b";tag=1" if line.startswith(b"To") else line for line in kept]
    head = [b"SIP/2.0 200 OK", *kept, b"Contact: <sip:127.0.0.1:%d>" % port, b"Content-Type: application/sdp"]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(_BODY), b"", _BODY])


def _bye(ack: bytes, port: int, number: int) -> bytes:
    lines = ack.split(b"\r\n")
    caller = next(line for line in lines if line.startswith(b"From:"))[5:]
    callee = next(line for line in lines if line.startswith(b"To:"))[3:]
    call = next(line for line in lines if line.startswith(b"Call-ID:"))
    via = b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%d" % (port, number)
    head = [b"BYE sip:caller@127.0.0.1 SIP/2.0", via, b"From:" + callee, b"To:" + caller, call, b"CSeq: 1 BYE"]
    return b"\r\n".join([*head, b"Content-Length: 0", b"", b""])
