"""What happens to a call when SIP goes wrong on the way, or either side changes its mind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from kit import sound, trees
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.phone import Phone
from kit.sip import SipSocket, reply, sdp
from kit.trees import ONE_HZ, ROOT_HZ, path

LONG = "3000"


@pytest.fixture(scope="module", autouse=True)
def unacknowledged(house: Daemon) -> Iterator[Future[tuple[str, int]]]:
    """A call whose 200 is never acknowledged: 32 s long, so it begins here and is judged at the end of the module."""

    def wait_for_bye() -> tuple[str, int]:
        """Its Call-ID, and how often the 200 came before the BYE."""
        phone = Phone(house.address)
        phone.start_invite(LONG)
        answers, deadline = 0, time.monotonic() + 40
        while (message := phone.sip.receive(deadline - time.monotonic())) is not None:
            if message.status == 200 and message.method == "INVITE":
                answers += 1
            elif message.method == "BYE" and not message.status:
                phone.sip.send(reply(message, 200, "OK"))
                phone.close()
                return phone.call_id, answers
        raise AssertionError(f"no BYE within 40 s after {answers} answers")

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(wait_for_bye)


def test_cancel_that_crosses_the_200(house: Daemon) -> None:
    """CANCEL leaves before the 200 is seen: whichever won, the call is over once, and so it is said."""
    for pause in (0.0, 0.002, 0.01, 0.05):
        phone = Phone(house.address)
        phone.start_invite(LONG)
        time.sleep(pause)
        phone.cancel()
        deadline = time.monotonic() + 5
        statuses: dict[str, int] = {}
        while len(statuses) < 2 and time.monotonic() < deadline:
            message = phone.sip.receive(0.5)
            if message is not None and message.status >= 200:
                statuses[message.method] = message.status
                if message.method == "INVITE":
                    phone.acknowledge(message)
                    if message.status == 200:
                        phone.answer = message
        assert statuses.get("CANCEL") in {200, 481}
        assert statuses.get("INVITE") in {200, 487}
        if statuses["INVITE"] == 200:  # it was on its way: the CANCEL has no effect (RFC 3261 section 9.2)
            assert phone.hangup().status == 200
        assert house.closing(phone.call_id)["by"] == "caller"
        phone.close()


def test_bye_in_the_middle_of_a_prompt(house: Daemon, hooks: HookServer) -> None:
    before = hooks.kinds(f"/{LONG}").count("close")
    with Phone(house.address) as phone:
        assert phone.call(LONG).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        assert phone.hangup().status == 200
        sent = len(phone.rtp.packets)
        phone.serve(0.3)
        assert len(phone.rtp.packets) - sent <= 3, "RTP goes on after the BYE"
    row = house.closing(phone.call_id)
    assert row["by"] == "caller"
    assert row["path"] == ""
    hooks.wait_for("close", f"/{LONG}", count=before + 1)


def test_bye_that_is_repeated_is_answered_again(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(LONG).status == 200
        bye = phone.request("BYE")
        for _ in range(3):
            phone.sip.send(bye)
        answers = [message for message in (phone.sip.receive(1) for _ in range(3)) if message is not None]
        assert [answer.status for answer in answers if answer.method == "BYE"] == [200] * 3
        phone.ended_by_far_end = True
    house.closing(phone.call_id)


def test_both_say_bye_at_the_same_time(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call("3001").status == 200
        for key in "123":
            phone.rtp.press(key, on=0.06, off=0.06)
        phone.wait_for_end()
        phone.sip.send(phone.request("BYE"))
        answer = phone.sip.receive(2)
        assert answer is not None
        assert answer.status in {200, 481}
    house.closing(phone.call_id)


@pytest.mark.parametrize(
    ("sip_out", "sip_in"),
    [("x.", "."), (".", "x."), ("2", "2"), ("x..", "x."), (".", ".x"), ("r.", ".")],
    ids=["requests lost", "first answers lost", "everything twice", "both lost", "200 lost", "reordered"],
)
def test_lost_doubled_and_reordered_messages(house: Daemon, sip_out: str, sip_in: str) -> None:
    with Phone(house.address, sip_out=sip_out, sip_in=sip_in) as phone:
        assert phone.call("3001", patience=20).status == 200
        for key in "15":
            phone.rtp.press(key, on=0.1, off=0.2)
        phone.rtp.drained()
        assert phone.hangup(20).status in {200, 481}
    row = house.closing(phone.call_id)
    assert row["path"] == path("key:1", "key:5")


def test_caller_disappears(daemon_for: Callable[..., Daemon], hooks: HookServer) -> None:
    """No packet any more, no BYE: the RTP timeout ends the call, and the BYE that nobody answers changes nothing."""
    url = hooks.url("/gone")
    tree = trees.two_levels(url, root="long.wav")
    daemon = daemon_for({"1000": tree}, settings={"rtp": {"timeout": 1.0}})
    phone = Phone(daemon.address)
    assert phone.call("1000").status == 200
    phone.rtp.wait_for_sound(ROOT_HZ, 3)
    phone.close()
    row = daemon.closing(phone.call_id, patience=6)
    assert row["by"] == "limit"
    assert hooks.wait_for("close", "/gone")[-1]["answered"] == "true"
    assert hooks.kinds("/gone") == ["open", "close"]


def test_bye_in_the_middle_of_a_callback(daemon_for: Callable[..., Daemon]) -> None:
    """The customer's server hangs: neither the caller nor the end of the call waits for it."""
    hanging = HookServer(status=0).start()
    daemon = daemon_for({"1000": trees.two_levels(hanging.url())}, settings={"callbacks": {"timeout": 1.0}})
    with Phone(daemon.address) as phone:
        assert phone.call("1000").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        hanging.wait_for("open")
        assert phone.hangup().status == 200
    assert daemon.closing(phone.call_id, patience=3)["by"] == "caller"
    hanging.status = 200
    events = hanging.wait_for("close", patience=15)
    assert [event["seq"] for event in events if event["e"] == "close"] == ["2"]
    hanging.stop()


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
def test_hold_and_back(house: Daemon, how: str) -> None:
    """Held, we send nothing (or nothing to 0.0.0.0); taken back, the flow goes on where it was."""
    with Phone(house.address) as phone:
        assert phone.call("3001").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        phone.rtp.wait_for_quiet(0.3)
        if how == "0.0.0.0":
            offer = sdp("127.0.0.1", phone.rtp.port, version=2).replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")
            held = phone.reinvite(offer=offer)
        else:
            held = phone.reinvite(f"a={how}\r\n")
        assert held.status == 200
        answered = {"sendonly": "a=recvonly", "inactive": "a=inactive", "0.0.0.0": "a="}[how]
        assert answered in held.body
        assert "c=IN IP4 127.0.0.1" in held.body
        if how != "0.0.0.0":
            phone.serve(0.1)
            before = len(phone.rtp.packets)
            phone.serve(0.4)
            assert len(phone.rtp.packets) - before <= 1, "RTP was sent to a peer that holds us"
        back = phone.reinvite("a=sendrecv\r\n")
        assert back.status == 200
        assert "a=sendonly" not in back.body
        assert "a=inactive" not in back.body
        for key in "753":
            phone.rtp.press(key, off=0.2)
        phone.wait_for_end()
    assert house.closing(phone.call_id)["path"] == path("key:7", "key:5", "key:3")


def test_codec_change_and_offerless_reinvite(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(LONG).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        changed = phone.reinvite(offer=sdp("127.0.0.1", phone.rtp.port, codecs=(8,), version=2))
        assert changed.status == 200
        phone.serve(0.2)
        since = time.time()
        phone.serve(0.3)
        assert {packet.payload_type for packet in phone.rtp.packets if packet.at > since} == {8}
    with Phone(house.address) as phone:
        late = phone.call(LONG, offer="", start_rtp=False)
        assert late.status == 200
        assert "m=audio" in late.body


def test_offer_without_common_codec_and_unknown_number(house: Daemon) -> None:
    with Phone(house.address) as phone:
        video = sdp("127.0.0.1", phone.rtp.port).replace("m=audio", "m=video")
        assert phone.call(LONG, offer=video).status == 488
    with Phone(house.address) as phone:
        g729 = sdp("127.0.0.1", phone.rtp.port, codecs=(18,), event_type=-1)
        assert phone.call(LONG, offer=g729).status == 488
    with Phone(house.address) as phone:
        assert phone.call("7777").status == 404


def test_options_and_what_it_does_not_do(house: Daemon) -> None:
    probe = Phone(house.address)
    probe.number = LONG
    for method, statuses in (("OPTIONS", {200}), ("PUBLISH", {405, 501}), ("BYE", {481}), ("INFO", {481})):
        extra = ["Event: presence"] if method == "PUBLISH" else []
        text = probe.request(method, extra=extra)
        if method in {"BYE", "INFO"}:
            text = text.replace(f"To: <{probe.uri}>", f"To: <{probe.uri}>;tag=nobody")
        probe.sip.send(text)
        answer = probe.sip.receive(2)
        assert answer is not None, method
        assert answer.status in statuses, f"{method}: {answer.start}"
        if method == "OPTIONS":
            assert "INVITE" in answer.get("allow")
            assert "application/sdp" in answer.get("accept")
    probe.close()


def test_garbage_is_survived(house: Daemon) -> None:
    dice = np.random.default_rng(7)
    noise = SipSocket(house.address, host="127.0.0.2")  # another source: its rate limit is its own
    for _ in range(200):
        noise.send(dice.bytes(int(dice.integers(1, 1400))))
    noise.send(b"INVITE sip:1000@x SIP/2.0\r\nVia: rubbish\r\n\r\n")
    noise.send(b"SIP/2.0 200 OK\r\n\r\n")
    noise.close()
    with Phone(house.address) as phone:
        assert phone.call(LONG).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        phone.rtp.press("1")
        phone.rtp.wait_for_sound(ONE_HZ, 3)
    assert sound.find_tone(phone.rtp.audio(), ROOT_HZ)


def test_no_ack_ends_the_call(house: Daemon, unacknowledged: Future[tuple[str, int]]) -> None:
    """The 200 is repeated until the ACK comes; after 64·T1 the daemon says BYE (RFC 3261 section 13.3.1.4)."""
    call_id, answers = unacknowledged.result(45)
    assert 8 <= answers <= 12
    assert house.closing(call_id)["duration"] < 40
