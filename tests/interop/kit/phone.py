"""A scripted telephone over plain UDP and RTP, for what no ready-made softphone does on request."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from kit.rtp import Pattern, RtpEndpoint
from kit.sip import Message, SipSocket, digest, new_branch, reply, sdp, transact


class Phone:
    """One telephone, one call at a time.

    ``sip_out``/``sip_in`` and ``rtp_out`` are impairment patterns. Requests that come in while it
    waits for something else (BYE, REFER, re-INVITE) are answered as a good phone would and kept
    in ``requests``; set ``bye_status`` to 0 to leave a BYE unanswered.
    """

    def __init__(
        self,
        server: tuple[str, int],
        *,
        user: str = "+390111",
        host: str = "127.0.0.1",
        codecs: Sequence[int] = (0,),
        event_type: int = 101,
        password: str = "",
        sip_out: str = ".",
        sip_in: str = ".",
        rtp_out: str = ".",
    ) -> None:
        self.sip = SipSocket(server, host, out_pattern=Pattern(sip_out), in_pattern=Pattern(sip_in))
        self.rtp = RtpEndpoint(host, alaw=codecs[0] == 8, event_type=event_type)
        self.rtp.out_pattern = Pattern(rtp_out)
        self.user, self.password = user, password
        self.codecs, self.event_type = codecs, event_type
        self.call_id = f"{secrets.token_hex(8)}@{host}"
        self.tag = secrets.token_hex(4)
        self.number = ""
        self.answer: Message | None = None
        self.answered_at = 0.0
        self.requests: list[Message] = []
        self.ended_by_far_end = False
        self._cseq = 0
        self._sdp_version = 0
        self._invite_branch = ""
        self._server_host = f"[{server[0]}]" if ":" in server[0] else server[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.answer is not None and not self.ended_by_far_end:
            if kind is None:
                self.hangup()
            else:
                self.sip.send(self.request("BYE"))
        self.close()

    def close(self) -> None:
        self.rtp.close()
        self.sip.close()

    # --- requests -----------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        return f"sip:{self.number}@{self._server_host}:{self.sip.server[1]}"

    def offer(self, extra: str = "") -> str:
        self._sdp_version += 1
        return sdp(
            self.rtp.host,
            self.rtp.port,
            codecs=self.codecs,
            event_type=self.event_type,
            extra=extra,
            version=self._sdp_version,
        )

    def request(
        self,
        method: str,
        *,
        uri: str = "",
        cseq: int = 0,
        branch: str = "",
        body: str = "",
        kind: str = "application/sdp",
        extra: Sequence[str] = (),
        dialog: Message | None = None,
    ) -> str:
        """The text of a request of this call, in the dialog that ``dialog`` (default: the answer) made."""
        dialog = dialog or self.answer
        if not cseq:
            self._cseq += 1
            cseq = self._cseq
        target = uri or (dialog.contact if dialog else self.uri)
        to_tag = f";tag={dialog.tag}" if dialog else ""
        routes = [f"Route: {route}" for route in reversed(dialog.all("record-route"))] if dialog else []
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.sip.address};rport;branch={branch or new_branch()}",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@{self.sip.address}>;tag={self.tag}",
            f"To: <{self.uri}>{to_tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.user}@{self.sip.address}>",
            *routes,
            *extra,
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return "\r\n".join([*lines, "", body])

    def register(self, *, expires: int = 300) -> Message:
        """Register as a device, answering the challenge."""
        self.number = self.user
        uri = f"sip:{self._server_host}:{self.sip.server[1]}"
        contact = [f"Expires: {expires}"]
        text = self.request("REGISTER", uri=uri, extra=contact)
        answer = transact(self.sip, text, self._final("REGISTER"))
        if answer.status == 401:
            proof = digest(answer.get("www-authenticate"), "REGISTER", uri, self.user, self.password)
            text = self.request("REGISTER", uri=uri, extra=[*contact, f"Authorization: {proof}"])
            answer = transact(self.sip, text, self._final("REGISTER"))
        return answer

    def start_invite(self, number: str, *, offer: str | None = None) -> str:
        """Send INVITE and return at once; its text."""
        self.number = number
        self._invite_branch = new_branch()
        text = self.request("INVITE", branch=self._invite_branch, body=self.offer() if offer is None else offer)
        self.sip.send(text)
        return text

    def call(self, number: str, *, offer: str | None = None, patience: float = 10.0, start_rtp: bool = True) -> Message:
        """INVITE to ``number``; ACK of whatever comes. Returns the final response; RTP runs when it is 200."""
        self.number = number
        self._invite_branch = new_branch()
        text = self.request("INVITE", branch=self._invite_branch, body=self.offer() if offer is None else offer)
        answer = transact(self.sip, text, self._final("INVITE"), patience=patience, others=self._serve)
        self.acknowledge(answer)
        if answer.status == 200:
            self.established(answer, start_rtp=start_rtp)
        return answer

    def established(self, answer: Message, *, start_rtp: bool = True) -> None:
        self.answer = answer
        self.answered_at = answer.at
        if start_rtp:
            self.rtp.start(answer.media())

    def acknowledge(self, answer: Message, *, body: str = "") -> None:
        """ACK of a final response to the INVITE."""
        number = int(answer.cseq.split()[0])
        if answer.status < 300:  # RFC 3261 section 13.2.2.4: a transaction of its own, to the Contact
            text = self.request("ACK", cseq=number, dialog=answer, body=body)
        else:  # section 17.1.1.3: part of the INVITE's transaction, its Request-URI and branch
            uri = self.answer.contact if self.answer else self.uri
            text = self.request("ACK", cseq=number, dialog=answer, uri=uri, branch=self._invite_branch)
        self.sip.send(text)

    def cancel(self) -> None:
        number = self._cseq
        self.sip.send(self.request("CANCEL", uri=self.uri, cseq=number, branch=self._invite_branch))

    def reinvite(self, extra: str = "", *, offer: str | None = None) -> Message:
        """A re-INVITE with ``extra`` SDP lines; its final response, acknowledged."""
        self._invite_branch = new_branch()
        body = self.offer(extra) if offer is None else offer
        answer = transact(
            self.sip,
            self.request("INVITE", branch=self._invite_branch, body=body),
            self._final("INVITE"),
            others=self._serve,
        )
        self.acknowledge(answer)
        return answer

    def info(self, key: str, *, duration_ms: int = 100, wait: bool = True) -> None:
        """A key by INFO, in the form most gateways use."""
        body = f"Signal={key}\r\nDuration={duration_ms}\r\n"
        text = self.request("INFO", body=body, kind="application/dtmf-relay")
        if wait:
            answer = transact(self.sip, text, self._final("INFO"), others=self._serve)
            assert answer.status == 200, answer.start
        else:
            self.sip.send(text)

    def hangup(self, patience: float = 8.0) -> Message:
        answer = transact(self.sip, self.request("BYE"), self._final("BYE"), patience=patience, others=self._serve)
        self.ended_by_far_end = True
        return answer

    # --- what comes in ------------------------------------------------------------------------

    def _final(self, method: str) -> Callable[[Message], bool]:
        number = self._cseq

        def wanted(message: Message) -> bool:
            return (
                message.status >= 200
                and message.cseq == f"{number} {method}"
                and message.get("call-id") == self.call_id
            )

        return wanted

    def _serve(self, message: Message) -> None:
        """Answer what a good phone answers by itself."""
        if message.status >= 200 and message.method == "INVITE" and message.status < 300 and self.answer is not None:
            self.acknowledge(message)  # a retransmitted 200: its ACK was lost
            return
        if message.status:
            return
        self.requests.append(message)
        if message.method == "BYE":
            self.ended_by_far_end = True
        if message.method in {"BYE", "INFO", "OPTIONS", "NOTIFY"}:
            self.sip.send(reply(message, 200, "OK"))
        elif message.method == "REFER":
            self.sip.send(reply(message, 202, "Accepted", extra=[f"Contact: <sip:{self.user}@{self.sip.address}>"]))
        elif message.method == "INVITE" and message.body:  # within the call: hold, resume
            answer = self.offer("a=recvonly\r\n" if "a=sendonly" in message.body else "")
            contact = [f"Contact: <sip:{self.user}@{self.sip.address}>"]
            self.sip.send(reply(message, 200, "OK", extra=contact, body=answer))

    def serve(self, seconds: float) -> None:
        """Answer requests for ``seconds``."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self.sip.receive(left)
            if message is not None:
                self._serve(message)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests while something else is done."""
        over = threading.Event()

        def answer() -> None:
            while not over.is_set():
                self.serve(0.1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_for(self, method: str, patience: float = 15.0) -> Message:
        """Wait for a request of the far end (it is answered)."""
        seen = len(self.requests)
        found = next((request for request in self.requests if request.method == method), None)
        deadline = time.monotonic() + patience
        while found is None and (left := deadline - time.monotonic()) > 0:
            message = self.sip.receive(left)
            if message is not None:
                self._serve(message)
            found = next((request for request in self.requests[seen:] if request.method == method), None)
        assert found is not None, f"no {method} within {patience} s; received {[m.start for m in self.sip.log]}"
        return found

    def wait_for_end(self, patience: float = 15.0) -> Message:
        """Wait for the far end's BYE."""
        return self.wait_for("BYE", patience)
