"""A NAT between telephone and daemon: of the telephone, which is only where its packets come from, or of the daemon,
which tells the address that its router forwards to it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import sipp, sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.network import Nat, NoNetwork
from test_bridges import tone_in, transfer_to

INSIDE, OUTSIDE = 600.0, 900.0
ALICE = "701"


@pytest.fixture
def nat() -> Iterator[Nat]:
    try:
        network = Nat().__enter__()
    except NoNetwork as why:
        pytest.skip(f"no NAT can be made here: {why}")
    try:
        yield network
    finally:
        network.__exit__(None, None, None)


@contextmanager
def talking(nat: Nat, folder: Path, house: Daemon) -> Iterator[tuple[Baresip, Baresip]]:
    """alice, behind the NAT and registered, and bob, who is not behind it."""
    bob = Baresip(folder / "bob", user="bob", host=nat.here, audio=sound.tone(OUTSIDE, 60), keep=True, answers=True)
    with bob:
        house.write_flow("5000", transfer_to(bob.uri))
        with (
            house,
            Baresip(
                folder / "alice",
                user=ALICE,
                host=nat.private,
                place=nat.inside,
                server=f"{house.host}:{house.sip_port}",
                password="geheim",
                audio=sound.tone(INSIDE, 60),
                keep=True,
                answers=True,
            ) as alice,
        ):
            house.wait_log("device_registered")
            yield alice, bob


@contextmanager
def mapping_of(nat: Nat) -> Iterator[tuple[socket.socket, socket.socket, tuple[str, int]]]:
    """A socket behind the NAT that spoke once, one outside, and where that reaches it while the router remembers."""
    with nat.inside:
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with silent, outside:
        outside.bind((nat.here, 0))
        for each in (silent, outside):
            each.settimeout(5.0)
        silent.sendto(b"here I am", outside.getsockname())
        _, mapping = outside.recvfrom(100)
        assert reaches(outside, mapping, silent)
        yield silent, outside, mapping


def reaches(outside: socket.socket, mapping: tuple[str, int], silent: socket.socket) -> bool:
    outside.sendto(b"are you there", mapping)
    try:
        return bool(silent.recv(100))
    except TimeoutError:
        return False


@pytest.mark.peer("baresip")
def test_a_telephone_behind_a_nat_calls_and_is_called(nat: Nat, tmp_path: Path) -> None:
    """The router gives every flow another port. Registered by what the answer's ``rport`` says and not by the private
    Contact, the telephone is rung through the mapping that its REGISTER made; its sound is found by where it comes
    from. Both hear each other, each way round, and either hangs up.
    """
    house = Daemon(
        tmp_path / "daemon",
        {"5000": "", "5001": transfer_to(ALICE)},
        devices=[{"name": ALICE, "password": "geheim"}],
        host=nat.here,
    )
    with talking(nat, tmp_path, house) as (alice, bob):
        alice.dial(house.uri("5000"))
        for phone in (alice, bob):
            phone.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(OUTSIDE)
        bob.wait_heard(INSIDE)
        bob.hangup()
        alice.wait_event("CALL_CLOSED")
        house.wait_ended()
        for phone in (alice, bob):
            phone.forget_call()
        bob.dial(house.uri("5001"))
        for phone in (alice, bob):
            phone.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(OUTSIDE)
        bob.wait_heard(INSIDE)
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        house.wait_ended(2)
        (registered,) = [row for row in house.events() if row.get("event") == "device_registered"]
    assert nat.private in alice.log(), "the telephone says its private address"
    assert nat.private not in str(registered.get("remote", ""))


@pytest.mark.peer("baresip")
def test_a_telephone_behind_a_nat_that_forgets_is_asked_in_time(nat: Nat, tmp_path: Path) -> None:
    """It is called after more than what its router remembers; what nobody asks for is out of reach by then."""
    nat.forget_after(2)
    house = Daemon(
        tmp_path / "daemon",
        {"5000": "", "5001": transfer_to(ALICE)},
        devices=[{"name": ALICE, "password": "geheim"}],
        host=nat.here,
        settings={"sip": {"keep_alive": 1}},
    )
    with talking(nat, tmp_path, house) as (alice, bob), mapping_of(nat) as (silent, outside, mapping):
        silent.settimeout(0.3)
        poll(lambda: None if reaches(outside, mapping, silent) else True, 20, "the router forgets", every=3.5)
        bob.dial(house.uri("5001"))
        for phone in (alice, bob):
            phone.wait_event("CALL_ESTABLISHED")
        bob.wait_heard(INSIDE)
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        house.wait_ended()


@pytest.mark.peer("baresip")
def test_a_daemon_behind_a_nat_tells_the_address_of_its_router(nat: Nat, tmp_path: Path) -> None:
    """``sip.advertise`` and ``rtp.advertise``: the private address stands in no message, and sound comes both ways."""
    house = Daemon(
        tmp_path / "daemon",
        {"2000": trees.two_levels(root="long.wav")},
        sounds=trees.SOUNDS,
        host=nat.private,
        place=nat.inside,
        settings={"sip": {"advertise": nat.public}, "rtp": {"advertise": nat.public}},
    )
    nat.forward(str(house.sip_port))
    nat.forward("-".join(map(str, house.rtp_ports)))
    with house, Baresip(
        tmp_path / "bob", user="bob", host=nat.here, audio=sound.dtmf("1", 0.15), keep=True
    ) as bob:  # fmt: skip
        bob.dial(f"sip:2000@{nat.public}:{house.sip_port}")
        bob.wait_event("CALL_ESTABLISHED")
        bob.wait_heard(trees.ONE_HZ)
        bob.hangup()
        bob.wait_event("CALL_CLOSED")
        (end,) = house.wait_ended()
    assert (end["by"], end["path"]) == ("caller", trees.path("key:1"))
    said = re.findall(r"^(?:Contact|c=|o=).*$", bob.log(), re.MULTILINE)
    assert any(nat.public in line for line in said)
    assert not any(nat.private in line for line in said)
    assert tone_in(bob.heard(), trees.ONE_HZ)


@pytest.mark.peer("sipp")
def test_keep_alives_hold_the_way_of_a_trunk_open_through_a_nat_that_forgets(nat: Nat, tmp_path: Path) -> None:
    """Registered once, the daemon behind it is reached by the trunk's call after more than what the router remembers;
    what is not kept alive is not.
    """
    nat.forget_after(2)
    trunk = sipp.start(
        "registrar_calls_later", tmp_path / "sipp", host=nat.here, fill={"PAUSE_MS": "3500"}, patience=90
    )
    house = Daemon(
        tmp_path / "daemon",
        {"1000": trees.two_levels()},
        sounds=trees.SOUNDS,
        host=nat.private,
        place=nat.inside,
        settings={"sip": {"open": False, "keep_alive": 1}},
        trunks=[
            {
                "name": "trunk",
                "host": f"{nat.here}:{trunk.port}",
                "register": True,
                "username": "ivrea",
                "password": "geheim",
            }
        ],
    )
    with house, mapping_of(nat) as (silent, outside, mapping):
        house.wait_log("registered")
        trunk.finish(20)
        silent.settimeout(0.3)
        assert not reaches(outside, mapping, silent)
        (end,) = house.wait_ended()
    assert end["by"] == "caller"
    assert trunk.messages().count("\nREGISTER sip:") == 1
