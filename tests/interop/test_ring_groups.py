"""Ring groups of telephones that are SIPp: who rings, in which order, and when, as they saw it themselves."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import sipp
from kit.daemon import Daemon
from kit.phone import Phone
from kit.sipp import Sipp
from test_flows_live import module

pytestmark = pytest.mark.peer("sipp")

SCENARIOS = {"ann": "uas_refuse", "bob": "uas_rings_on", "carl": "uas_talks", "dora": "uas_refuse"}
SLACK = 0.9
"""Seconds that something may come later than it should; nothing may come earlier."""


def ends(**telephones: dict[str, int]) -> list[dict[str, object]]:
    return [{"id": name, "endpoint_type": "device", **more} for name, more in telephones.items()]


FLOWS = {
    "single": module(
        "ring_group",
        module("response", code=480),
        endpoints=ends(ann={}, bob={"timeout": 1}),
        strategy="single",
        repeats=2,
        timeout=20,
    ),
    "delayed": module("ring_group", endpoints=ends(bob={}, carl={"delay": 1}), timeout=20),
    "weighted": module(
        "ring_group",
        module("response", code=480),
        endpoints=ends(ann={"weight": 1}, dora={"weight": 100}),
        strategy="weighted_random",
    ),
    "reject": module(
        "ring_group",
        module("response", code=486),
        endpoints=ends(ann={}, carl={}),
        strategy="single",
        fail_on_single_reject=True,
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    devices = [{"name": name, "password": "secret"} for name in SCENARIOS]
    with Daemon(tmp_path_factory.mktemp("groups"), FLOWS, devices=devices) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def ports(house: Daemon) -> dict[str, int]:
    """From where each telephone has registered."""
    found = {}
    for name in SCENARIOS:
        with Phone(house.address, user=name, password="secret") as phone:
            assert phone.register().status == 200
            found[name] = phone.sip.port
    return found


@pytest.fixture
def phones(ports: dict[str, int], tmp_path: Path) -> Iterator[dict[str, Sipp]]:
    """Ann and Dora refuse, Bob lets it ring, Carl answers."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, port in ports.items():
            fill = {"STATUS": "486 Busy Here"}
            found[name] = sipp.start(SCENARIOS[name], tmp_path / name, port=port, calls=100, fill=fill)
            stack.callback(found[name].stop)
        yield found


def rang(phones: dict[str, Sipp]) -> list[tuple[str, float]]:
    """Who was called, and how long after the first one."""
    found = sorted((at, name) for name, phone in phones.items() for at, _ in phone.received("INVITE sip:"))
    return [(name, at - found[0][0]) for at, name in found]


def call(house: Daemon, folder: Path, number: str, status: str, calls: int = 1) -> None:
    """Call a group and be refused like this, once it has given up."""
    sipp.start(
        "uac_refused", folder, server=house.address, number=number, fill={"STATUS": status}, calls=calls, rate=calls
    ).finish()


def test_one_after_the_other_and_all_of_them_again(house: Daemon, phones: dict[str, Sipp], tmp_path: Path) -> None:
    call(house, tmp_path / "caller", "single", "480")
    found = rang(phones)
    assert [name for name, _ in found] == ["ann", "bob", "ann", "bob"]
    steps = [later - before for (_, before), (_, later) in itertools.pairwise(found)]
    for seconds, step in zip((0.3, 1.0, 0.3), steps, strict=True):  # Ann refuses after 0.3 s, Bob may ring for 1 s
        assert seconds - 0.05 < step < seconds + SLACK
    assert len(phones["bob"].received("CANCEL ")) == 2


def test_who_is_to_ring_later_answers_and_the_others_ring_no_more(
    house: Daemon, phones: dict[str, Sipp], tmp_path: Path
) -> None:
    fill = {"TALK_MS": "300"}
    caller = sipp.start("uac_hangup", tmp_path / "caller", server=house.address, number="delayed", fill=fill)
    caller.finish()
    (bob, at_once), (carl, later) = rang(phones)
    assert (bob, carl, at_once) == ("bob", "carl", 0.0)
    assert 0.95 < later < 1 + SLACK
    ((cancelled, _),) = phones["bob"].received("CANCEL ")
    ((acknowledged, _),) = phones["carl"].received("ACK ")
    assert abs(cancelled - acknowledged) < SLACK
    assert caller.received("SIP/2.0 180")
    assert len(phones["carl"].received("BYE ")) == 1


def test_the_weight_decides_who_rings_first(house: Daemon, phones: dict[str, Sipp], tmp_path: Path) -> None:
    """Ann is named first, Dora weighs a hundred times as much: that she is behind her three times of six has a chance
    of 1 in 50,000.
    """
    call(house, tmp_path / "caller", "weighted", "480", calls=6)
    found = rang(phones)
    assert sorted(name for name, _ in found) == ["ann"] * 6 + ["dora"] * 6
    assert [name for name, _ in found[:6]].count("dora") >= 4


def test_one_who_rejects_ends_the_ringing_of_all(house: Daemon, phones: dict[str, Sipp], tmp_path: Path) -> None:
    call(house, tmp_path / "caller", "reject", "486")
    assert [name for name, _ in rang(phones)] == ["ann"]
