"""Keys across a bridge that do not come with the sound: what one telephone sends by INFO, the other one gets once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit import sipp, sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.phone import Phone
from kit.ports import free_port
from test_bridges import transfer_to

pytestmark = pytest.mark.peer("baresip", "sipp")

HUM = 900.0


@dataclass(slots=True)
class Switchboard:
    """A daemon with a baresip, ``bob``, who takes calls and hums: 5000 leads to him, 5001 too, until the caller presses
    ``*``; 5002 to what listens on :attr:`port`.
    """

    house: Daemon
    bob: Baresip
    port: int

    def keys_of(self, phone: Baresip) -> str:
        """All keys that a telephone has been told so far."""
        phone.command("reginfo")  # what it has told before its answer to this has been read then
        return "".join(str(row["param"]) for row in phone.events if row.get("type") == "CALL_DTMF_START")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switchboard]:
    port = free_port()
    folder = tmp_path_factory.mktemp("board")
    with contextlib.ExitStack() as stack:
        bob = stack.enter_context(
            Baresip(folder / "bob", user="bob", audio=sound.tone(HUM, 60), keep=True, answers=True)
        )
        flows = {
            "5000": transfer_to(bob.uri),
            "5001": f'<Response><Dial hangupOn="*"><Sip>{bob.uri}</Sip></Dial><Hangup/></Response>',
            "5002": transfer_to(f"sip:carol@127.0.0.1:{port}"),
        }
        settings = {"rtp": {"workers": 2}}
        house = stack.enter_context(Daemon(folder / "house", flows, sounds=trees.SOUNDS, settings=settings))
        yield Switchboard(house, bob, port)


@pytest.fixture
def bob(board: Switchboard) -> Baresip:
    board.bob.forget_call()
    return board.bob


def test_keys_that_the_caller_sends_by_info_reach_the_callee(board: Switchboard, bob: Baresip, tmp_path: Path) -> None:
    fill = {"FIRST_KEY": "7", "SECOND_KEY": "#", "FIRST_MS": "600", "SECOND_MS": "100"}
    caller = sipp.start("uac_info", tmp_path, server=board.house.address, number="5000", fill=fill)
    bob.wait_event("CALL_ESTABLISHED")
    assert bob.wait_event("CALL_DTMF_START")["param"] == "7"
    bob.events[:] = [row for row in bob.events if row.get("type") != "CALL_DTMF_START"]
    assert bob.wait_event("CALL_DTMF_START")["param"] == "#"
    bob.hangup()
    caller.finish()


def test_keys_that_the_callee_sends_by_info_reach_the_caller(board: Switchboard, tmp_path: Path) -> None:
    carol = sipp.start("uas_info", tmp_path / "carol", port=board.port, fill={"KEY": "9", "PAUSE_MS": "600"})
    with Baresip(tmp_path / "alice", user="alice") as alice:
        alice.dial(board.house.uri("5002"))
        alice.wait_event("CALL_ESTABLISHED")
        assert alice.wait_event("CALL_DTMF_START")["param"] == "9"
        alice.hangup()
        carol.finish()


@pytest.mark.parametrize("first", ["rtp", "info"])
def test_a_key_that_is_sent_by_all_three_methods_crosses_once(board: Switchboard, bob: Baresip, first: str) -> None:
    with Phone(board.house.address) as phone:
        assert phone.call("5000").status == 200
        phone.rtp.wait_for_sound(HUM, 5)
        for key in "36":
            if first == "info":
                phone.info(key, wait=False)
            phone.rtp.press(key, off=0.3, inband=True)
            phone.rtp.drained()
            if first == "rtp":
                phone.info(key, wait=False)
        phone.info("1")  # by INFO alone: what came before has been delivered when this is
        while "1" not in board.keys_of(bob):
            phone.serve(0.05)
        phone.hangup()
    assert board.keys_of(bob) == "361"


def test_a_key_that_ends_the_bridge_does_not_cross(board: Switchboard, bob: Baresip) -> None:
    with Phone(board.house.address) as phone:
        assert phone.call("5001").status == 200
        phone.rtp.wait_for_sound(HUM, 5)
        phone.info("5")
        bob.wait_event("CALL_DTMF_START")
        phone.info("*")
        bob.wait_event("CALL_CLOSED")
        phone.wait_for_end()
    assert board.keys_of(bob) == "5"
    assert board.house.closing(phone.call_id)["by"] == "flow"
