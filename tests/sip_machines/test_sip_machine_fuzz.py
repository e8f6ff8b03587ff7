"""Random and mangled messages in random order: nothing raises, nothing leaks, every session ends once."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sip_network import ALICE, ANSWER, BOB, OFFER

from engine.sip.endpoint import Endpoint
from engine.sip.events import Ended, Invited, ReferRequested, Reoffered
from engine.sip.flow import Flow
from engine.sip.session import Session
from engine.sip.uri import Address

METHODS = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "NOTIFY",
    "REFER",
    "REGISTER",
    "PRACK",
    "SUBSCRIBE",
    "FOO",
]
STATUSES = [100, 180, 183, 200, 202, 302, 401, 407, 408, 422, 423, 481, 487, 491, 500, 503, 603]
EXTRA = [
    "Require: 100rel",
    "Require: precondition",
    "Supported: 100rel",
    "RSeq: 1",
    "Supported: timer",
    "Session-Expires: 90;refresher=uas",
    "Session-Expires: 100;refresher=uac",
    "Session-Expires: 1",
    "Min-SE: 2000",
    "Allow: UPDATE",
    "RSeq: 2",
    "RAck: 1 1 INVITE",
    "RAck: 4294967295 2 INVITE",
    "Event: refer",
    "Event: refer;id=2",
    "Event: dialog",
    "Subscription-State: terminated",
    "Subscription-State: active;expires=99999999999",
    'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"',
    'Proxy-Authenticate: Digest realm="r", nonce="n"',
    "WWW-Authenticate: nonsense",
    "Authorization: Digest realm=ivrea",
    "Expires: 0",
    "Expires: 3",
    "Retry-After: x",
    "Min-Expires: 9999",
    "Record-Route: <sip:p1;lr>, <sip:p2>",
    "Reason: Q.850;cause=16",
    "Refer-Sub: false",
    "Refer-To: <sip:c@d>",
    "Refer-To: <sip:c@d?Replaces=c1%3Bto-tag%3D1%3Bfrom-tag%3D2>",
    "Refer-To: nonsense",
    "Replaces: c1;to-tag=1;from-tag=2",
    "Replaces: x",
    "Contact: *",
    "Content-Encoding: gzip",
    "Info-Package: x",
]

message = st.fixed_dictionaries(
    {
        "method": st.sampled_from(METHODS),
        "status": st.sampled_from([0, 0, *STATUSES]),
        "branch": st.integers(0, 5),
        "ours": st.booleans(),
        "from_tag": st.integers(0, 2),
        "to_tag": st.integers(0, 3),
        "cseq": st.integers(0, 6),
        "extra": st.lists(st.sampled_from(EXTRA), max_size=3),
        "body": st.sampled_from([b"", ANSWER, b"SIP/2.0 200 OK\r\n", b"\xff"]),
        "kind": st.sampled_from(["application/sdp", "application/dtmf", "message/sipfrag", "multipart/mixed"]),
        "contact": st.booleans(),
        "wait": st.sampled_from([0.0, 0.0, 0.1, 1.0, 10.0]),
        "mangle": st.sampled_from([0, 0, 0, 1, 2]),
    }
)


class Bench:
    """One endpoint with a call out, a registration and devices, and what a hostile peer knows of them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.flow = Flow("udp", ALICE, BOB)
        self.endpoint = Endpoint(random=Random(seed), contact_host=lambda flow: flow.local, devices={"desk": "x"})
        self.sessions: list[Session] = []
        self.ended: list[int] = []
        self.branches: list[str] = []
        self.tags: list[str] = [""]
        self.calls: list[str] = ["c1"]

    def call(self) -> None:
        session = self.endpoint.invite(
            "sip:bob@192.0.2.2", from_=Address.parse("<sip:a@a>"), to=Address.parse("<sip:b@b>"), sdp=OFFER,
            flow=self.flow, now=self.now,
        )  # fmt: skip
        self.sessions.append(session)
        self.calls.append(session.call_id)
        self.tags.append(session.local_tag)

    def pump(self) -> None:
        for _, data in self.endpoint.outgoing():
            for line in data.split(b"\r\n"):
                if line.startswith(b"Via: ") and b"branch=" in line and not data.startswith(b"SIP/2.0"):
                    self.branches.append(line.partition(b"branch=")[2].decode())
        for event in self.endpoint.events():
            if isinstance(event, Invited):
                self.sessions.append(event.session)
                self.tags.append(event.session.local_tag)
                session = event.session
                deeds = [session.ringing, partial(session.accept, ANSWER), session.terminate]
                self.random.choice([*deeds, partial(session.ringing, status=183, sdp=ANSWER)])(self.now)
            elif isinstance(event, Reoffered):
                self.random.choice([event.session.answer_reoffer, lambda sdp, now: None])(ANSWER, self.now)
            elif isinstance(event, ReferRequested):
                event.referral.notify(self.random.choice([180, 200, 486]), self.now)
            elif isinstance(event, Ended):
                self.ended.append(event.session.id)

    def text(self, parts: dict[str, object]) -> bytes:
        method, status = parts["method"], parts["status"]
        known = self.branches[-int(str(parts["branch"])) :] if self.branches and parts["ours"] else []
        branch = known[0] if known else f"z9hG4bKx{parts['branch']}"
        call = self.calls[-1] if parts["ours"] else "c1"
        tag = self.tags[-1 - int(str(parts["to_tag"])) % len(self.tags)]
        first = f"SIP/2.0 {status} X" if status else f"{method} sip:alice@192.0.2.1 SIP/2.0"
        lines = [
            first,
            f"Via: SIP/2.0/UDP 192.0.2.2:5060;branch={branch}",
            f"From: <sip:x@y>;tag={parts['from_tag']}",
            "To: <sip:alice@a>" + (f";tag={tag}" if tag else ""),
            f"Call-ID: {call}",
            f"CSeq: {parts['cseq']} {method}",
            *parts["extra"],  # type: ignore[misc]
        ]
        if parts["contact"] and "Contact: *" not in lines:
            lines.append("Contact: <sip:x@192.0.2.2:5060>")
        if parts["body"]:
            lines.append(f"Content-Type: {parts['kind']}")
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + bytes(parts["body"])  # type: ignore[call-overload]
        if parts["mangle"] == 1:
            place = self.random.randrange(len(data))
            data = data[:place] + bytes([self.random.randrange(256)]) + data[place + 1 :]
        elif parts["mangle"] == 2:
            data = data[: self.random.randrange(len(data))]
        return data

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.endpoint.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.endpoint.handle_timers(self.now)
            self.pump()
        self.now = end


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1000), st.lists(message, max_size=25), st.lists(st.integers(0, 30), max_size=6))
def test_random_messages(seed: int, parts: list[dict[str, object]], actions: list[int]) -> None:
    bench = Bench(seed)
    bench.call()
    bench.pump()
    for index, item in enumerate(parts):
        bench.endpoint.receive(bench.text(item), bench.flow, bench.now)
        bench.pump()
        bench.pass_time(float(str(item["wait"])))
        for action in actions:
            if action == index:
                act(bench)
                bench.pump()
    for session in bench.sessions:
        session.terminate(bench.now)
    bench.pump()
    bench.pass_time(7300)  # longer than any registration
    for session in bench.sessions:
        session.terminate(bench.now)
    bench.pump()
    bench.pass_time(400)
    assert sorted(bench.ended) == sorted(session.id for session in bench.sessions)
    assert bench.endpoint.idle
    assert not bench.endpoint._core.sessions
    assert not bench.endpoint._reception._merging


def act(bench: Bench) -> None:
    session = bench.random.choice(bench.sessions)
    if session.state not in {"answered", "confirmed"}:
        return
    if not session.transferring:
        bench.random.choice(
            [
                lambda: session.refer("sip:c@d", bench.now),
                lambda: session.reinvite(OFFER, bench.now),
                lambda: session.can_update and session.update(OFFER, bench.now),
                lambda: session.info("application/dtmf", b"1", bench.now),
            ]
        )()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    bench = Bench(1)
    bench.endpoint.receive(data, bench.flow, 0.0)
    bench.pump()


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_a_message(seed: int) -> None:
    random = Random(seed)
    bench = Bench(seed)
    base = bench.text(
        {"method": "INVITE", "status": 0, "branch": 1, "ours": False, "from_tag": 1, "to_tag": 0, "cseq": 1,
         "extra": [], "body": OFFER, "kind": "application/sdp", "contact": True, "mangle": 0}
    )  # fmt: skip
    for _ in range(100):
        data = bytearray(base)
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        bench.endpoint.receive(bytes(data), bench.flow, bench.now)
        bench.pump()
    for session in bench.sessions:
        session.terminate(bench.now)
    bench.pump()
    bench.pass_time(200)
    assert sorted(bench.ended) == sorted(session.id for session in bench.sessions)
    assert bench.endpoint.idle
