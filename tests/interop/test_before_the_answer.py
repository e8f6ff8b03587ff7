"""What a caller hears before the answer, and the codec that the answer has: telephones that are not ours ring."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit import sipp, sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.phone import Phone
from kit.ports import free_port
from kit.rtp import Packet
from kit.sip import Message
from kit.web import WebServer
from test_wideband import WIDE, WIDE_HZ, share_of, tone

EARLY_HZ, RINGBACK_HZ = 900.0, 425.0

TAKEN = [
    ("8 0", "", "8 0", "0", "PCMU", "0"),
    ("9 8 0", "", "9 8 0", "8", "PCMA", "8"),
    ("8 9", "", "8 9 0", "9", "G722", "9"),
    ("107 0", "a=rtpmap:107 L16/8000\r\n", "96 0 8", "96", "L16", "107"),
]
"""Formats of a caller with their meanings, those that the callee is offered, the one that it takes, what that is, and
its number in the answer to the caller.
"""


@dataclass
class Street:
    """A daemon, and those whom its flows dial."""

    house: Daemon
    peers: dict[str, sipp.Sipp]
    wide_port: int


def dials(uri: str, **data: object) -> dict[str, object]:
    """A flow that dials and does not answer before."""
    return {"module": "resources", "data": {"to_did": uri, **data}, "children": {}}


def wait_status(phone: Phone, status: int, patience: float = 5.0) -> Message:
    """Wait until the INVITE is answered so."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        message = phone.sip.receive(left)
        if message is not None and message.status == status and message.method == "INVITE":
            return message
    raise AssertionError(f"no {status}; received {[m.start for m in phone.sip.log]}")


def give_up(phone: Phone) -> None:
    phone.cancel()
    phone.acknowledge(wait_status(phone, 487))


def statuses(phone: Phone) -> list[int]:
    """What the INVITE was answered with, 100 aside."""
    return [each.status for each in phone.sip.log if each.method == "INVITE" and each.status > 100]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    voice = sound.tone(EARLY_HZ, 10.0)
    peers = {
        "bell": sipp.start("uas_rings_on", folder / "bell", calls=4),
        "failing": sipp.start("uas_early", folder / "failing", fill={"STATUS": "503 Sorry"}, audio=voice),
        "busy": sipp.start("uas_early", folder / "busy", fill={"STATUS": "486 Busy Here"}),
    }
    for _, _, _, number, name, _ in TAKEN:
        fill = {"FORMAT": number, "MEANING": name}
        peers[name] = sipp.start("uas_takes", folder / name, fill=fill, arguments=["-rtp_echo"])
    uris = {name: f"sip:{name}@127.0.0.1:{peer.port}" for name, peer in peers.items()}
    wide_port = free_port(following=1)
    one = sound.write_wav(folder / "one.wav", trees.SOUNDS["one.wav"]).read_bytes()
    play = {"module": "play", "data": {"id": "one.wav", "answer": False}, "children": {"_": dials(uris["bell"])}}
    with WebServer({"/one.wav": (200, "audio/wav", one)}) as web:
        ringback = web.url("/one.wav")
        flows = {
            "ringback": dials(uris["bell"], ringback="one.wav"),
            "plain": dials(uris["bell"]),
            "play": play,
            "trunks": dials("+390222"),
            "busy": dials(uris["busy"], ringback=ringback),
            "wide": dials(f"sip:wide@127.0.0.1:{wide_port}"),
            **{name: dials(uris[name]) for _, _, _, _, name, _ in TAKEN},
        }
        trunks = [
            {"name": name, "host": f"127.0.0.1:{peers[name].port}", "inbound": "none", "order": order}
            for order, name in enumerate(("failing", "bell"))
        ]
        with Daemon(folder / "daemon", flows, sounds=trees.SOUNDS, trunks=trunks) as house:
            yield Street(house, peers, wide_port)
    for peer in peers.values():
        peer.stop()


@pytest.mark.peer("baresip", "sipp")
def test_a_caller_who_is_not_answered_hears_the_sound_that_the_flow_rings_with(street: Street, tmp_path: Path) -> None:
    with Baresip(tmp_path / "alice", user="alice", keep=True) as alice:
        alice.dial(street.house.uri("ringback"))
        alice.wait_heard(trees.ONE_HZ, 1.0)
        assert "CALL_ESTABLISHED" not in [row["type"] for row in alice.events]
        alice.hangup()
        street.house.wait_log("cancelled before the answer")


@pytest.mark.peer("sipp")
def test_it_rings_again_when_early_media_is_over(street: Street) -> None:
    """The first trunk is heard and fails, the second one only rings: nobody else tells the caller so."""
    with Phone(street.house.address) as phone:
        phone.start_invite("trunks")
        phone.rtp.start(wait_status(phone, 183).media())
        phone.rtp.wait_for_sound(EARLY_HZ)
        phone.rtp.wait_for_sound(RINGBACK_HZ)
        give_up(phone)
        assert statuses(phone) == [183, 487]
    street.peers["failing"].finish()


@pytest.mark.peer("sipp")
def test_a_prompt_before_the_answer_is_followed_by_ringing(street: Street) -> None:
    """Kazoo's play with ``answer: false`` has agreed on early media: no telephone rings by itself after that."""
    with Phone(street.house.address) as phone:
        phone.start_invite("play")
        phone.rtp.start(wait_status(phone, 183).media())
        phone.rtp.wait_for_sound(trees.ONE_HZ)
        phone.rtp.wait_for_sound(RINGBACK_HZ)
        give_up(phone)
        assert statuses(phone) == [183, 487]


@pytest.mark.peer("sipp")
def test_who_only_rings_needs_no_early_media(street: Street) -> None:
    with Phone(street.house.address) as phone:
        phone.start_invite("plain")
        assert not wait_status(phone, 180).body
        give_up(phone)
        assert statuses(phone) == [180, 487]


@pytest.mark.peer("sipp")
def test_early_media_for_who_left_the_offer_to_us_is_ringing(street: Street) -> None:
    with Phone(street.house.address) as phone:
        assert phone.call("busy", offer="").status == 486
        assert statuses(phone) == [180, 486]
        assert not any(message.body for message in phone.sip.log)
    street.peers["busy"].finish()


@pytest.mark.peer("sipp")
@pytest.mark.parametrize(("formats", "meanings", "offered", "number", "name", "answered"), TAKEN)
def test_the_caller_is_answered_in_the_codec_of_the_callee(
    street: Street, formats: str, meanings: str, offered: str, number: str, name: str, answered: str
) -> None:
    """What the caller sends comes back from the callee octet by octet: it was not transcoded on either way. Keys have
    another number on each leg.
    """
    with Phone(street.house.address, codecs=[int(each) for each in formats.split()], event_type=98) as phone:
        answer = phone.call(name, offer=phone.offer(meanings), start_rtp=False)
        assert answer.status == 200
        assert f"RTP/AVP {answered} 98\r\n" in answer.body
        said = [bytes([40 + place]) * (320 if name == "L16" else 160) for place in range(60)]
        phone.rtp.idle = False
        phone.rtp.send_payloads(int(answered), said)
        phone.rtp.start(answer.media())
        back = phone.rtp.wait_for(lambda packets: last_of(packets, said[20:]), 5.0, "nothing came back as it was")
        assert back.payload_type == int(answered)
        phone.rtp.press("5")
        phone.rtp.wait_for(
            lambda packets: next((each for each in packets if each.payload_type == 98), None), 5.0, "no key"
        )
    callee = street.peers[name]
    callee.finish()
    assert re.findall(r"m=audio \d+ RTP/AVP ([\d ]+)", callee.messages()) == [f"{offered} 101", f"{number} 101"]


def last_of(packets: Sequence[Packet], payloads: Sequence[bytes]) -> Packet | None:
    return next((packet for packet in packets[::-1] if packet.payload in payloads), None)


@pytest.mark.peer("baresip")
def test_two_wideband_phones_talk_wideband(street: Street, tmp_path: Path) -> None:
    """Both speak G.722 and nothing else."""
    port, voice = street.wide_port, tone(WIDE_HZ, 10.0)
    with (
        Baresip(tmp_path / "wide", user="wide", port=port, wide=True, audio=voice, answers=True) as callee,
        Baresip(tmp_path / "alice", user="alice", wide=True) as alice,
    ):
        alice.dial(street.house.uri("wide"))
        alice.wait_event("CALL_ESTABLISHED")
        time.sleep(1.5)  # two who talk
        alice.hangup()
        callee.wait_event("CALL_CLOSED")
    rate, heard = alice.heard()
    assert rate == WIDE
    assert share_of(heard, WIDE_HZ) > 0.9
