"""``kill -9`` of the control process, of a media worker, of everything, in the middle of recorded calls."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest
from kit import sound, trees
from kit.daemon import Daemon, alive, command_line, poll
from kit.hooks import HookServer
from kit.phone import Phone
from kit.ports import free_range
from kit.trees import CALLER_HZ, ROOT_HZ

CALLS = 3


@pytest.fixture
def own_hooks() -> Iterator[HookServer]:
    server = HookServer().start()
    yield server
    server.stop()


def running_calls(stack: ExitStack, daemon: Daemon) -> list[Phone]:
    """Calls that have been recorded for a second and a half, both sides talking."""
    phones = []
    for index in range(CALLS):
        phone = Phone(daemon.address, user=f"+3901{index}")
        stack.callback(phone.close)
        assert phone.call("1000").status == 200
        phone.rtp.say(sound.tone(CALLER_HZ, 8.0))
        phones.append(phone)
    for phone in phones:
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
    phones[0].serve(1.7)
    return phones


def every_call_was_closed_once(hooks: HookServer, calls: int = CALLS) -> None:
    hooks.wait_for("close", patience=20, count=calls)
    hooks.nothing_more("close", calls, within=0.5)
    by_call: dict[str, list[tuple[int, str]]] = {}
    for event in hooks.events():
        by_call.setdefault(event["id"], []).append((int(event["seq"]), event["e"]))
    assert len(by_call) == calls
    for call, told in by_call.items():
        distinct = sorted(set(told))  # a repeat has the same id and seq, and is no second event
        assert [kind for _, kind in distinct].count("close") == 1, (call, told)
        assert [number for number, _ in distinct] == list(range(1, len(distinct) + 1)), (call, told)


def recordings_can_be_played(daemon: Daemon, seconds: float) -> None:
    paths = daemon.recordings()
    assert len(paths) == CALLS
    for path in paths:
        rate, (left, right) = sound.read_wav(path)
        assert rate == 8000
        assert len(left) / rate >= seconds, f"{path.name} holds {len(left) / rate:.2f} s"
        assert sound.find_tone(left, CALLER_HZ)
        assert sound.find_tone(right, ROOT_HZ)


def all_ports_are_free(daemon: Daemon) -> None:
    """No socket of the dead is left. The kernel takes an io_uring apart after its process is gone, so a socket that was
    in it may outlive the process by a moment; a daemon that starts in that moment passes over the port.
    """
    for port in range(daemon.rtp_ports[0], daemon.rtp_ports[1] + 1):
        poll(lambda port=port: can_bind(port, socket.SOCK_DGRAM) or None, 5.0, f"RTP port {port} was not given back")
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        assert can_bind(daemon.sip_port, kind, socket.SO_REUSEADDR)


def can_bind(port: int, kind: socket.SocketKind, *options: int) -> bool:
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        for option in options:
            probe.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True


@pytest.mark.parametrize("what", ["control process", "everything"])
def test_kill_and_start_again(daemon_for: Callable[..., Daemon], own_hooks: HookServer, what: str) -> None:
    daemon = daemon_for({"1000": trees.two_levels(own_hooks.url(), root="long.wav")}, record=["1000"])
    with ExitStack() as stack:
        phones = running_calls(stack, daemon)
        if what == "everything":
            daemon.kill_everything()
        else:
            orphans = daemon.kill_control()
            poll(lambda: not any(map(alive, orphans)) or None, 2.0, "children outlived the control process")
        all_ports_are_free(daemon)
        recordings_can_be_played(daemon, seconds=0.5)
        daemon.start()
        for phone in phones:
            phone.wait_for_end()
    every_call_was_closed_once(own_hooks)
    assert len(daemon.ended()) == CALLS


def test_kill_of_a_worker(daemon_for: Callable[..., Daemon], own_hooks: HookServer) -> None:
    """The calls of the worker end, with BYE and all; the next call finds a new worker."""
    daemon = daemon_for({"1000": trees.two_levels(own_hooks.url(), root="long.wav")}, record=["1000"])
    with ExitStack() as stack:
        phones = running_calls(stack, daemon)
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGKILL)
        for phone in phones:
            phone.wait_for_end()
        recordings_can_be_played(daemon, seconds=0.5)
    every_call_was_closed_once(own_hooks)
    assert {row["by"] for row in daemon.wait_ended(CALLS)} == {"error"}

    def up_again() -> bool | None:
        with Phone(daemon.address) as phone:
            if phone.call("1000").status != 200:
                return None
            phone.rtp.wait_for_sound(ROOT_HZ, 3)
            return True

    poll(up_again, 10, "no call after the death of a worker", every=0.3)


def rtp_port(phone: Phone) -> int:
    assert phone.answer is not None
    return phone.answer.media()[1]


def heard_without_a_hole(phone: Phone, since: float, until: float) -> None:
    """The prompt went on all the time: every packet, no two more than 40 ms apart, one tone from end to end."""
    ssrc = phone.rtp.loud_packets()[0].ssrc  # other tests on this machine send to ports that were somebody's
    packets = [packet for packet in phone.rtp.packets if since <= packet.at <= until and packet.ssrc == ssrc]
    assert len(packets) >= 45 * (until - since)
    sequence = np.array([packet.sequence for packet in packets])
    assert set((np.diff(sequence) % 65536).tolist()) == {1}
    assert np.diff([packet.at for packet in packets]).max() <= 0.040
    heard = np.concatenate([phone.rtp.decode(packet) for packet in packets])
    assert len(sound.find_tone(heard, ROOT_HZ)) == 1
    levels = [sound.level(phone.rtp.decode(packet)) for packet in packets]
    assert max(levels) - min(levels) < 1.0


@pytest.mark.alone
def test_kill_of_one_worker_of_two(daemon_for: Callable[..., Daemon], own_hooks: HookServer) -> None:
    """Its calls end with their events, the other's do not notice; started again, it takes calls on the same ports."""
    low, high = free_range(8)  # two pairs for each worker
    daemon = daemon_for(
        {"1000": trees.two_levels(own_hooks.url(), root="long.wav")},
        settings={"rtp": {"workers": 2, "ports": f"{low}-{high}"}},
    )
    with ExitStack() as stack:
        phones = [stack.enter_context(Phone(daemon.address, user=f"+3901{index}")) for index in range(4)]
        for phone in phones:
            assert phone.call("1000").status == 200
        for phone in phones:
            phone.rtp.wait_for_sound(ROOT_HZ, 3)
        lost = [phone for phone in phones if rtp_port(phone) < low + 4]
        kept = [phone for phone in phones if phone not in lost]
        assert len(lost) == len(kept) == 2, "calls are spread over the workers"
        phones[0].serve(1.0)
        (worker,) = [pid for pid in daemon.workers() if f"{low}-{low + 3}" in command_line(pid)]
        killed = time.time()
        os.kill(worker, signal.SIGKILL)
        for phone in lost:
            phone.wait_for_end(5)
            assert time.time() - killed < 2.0
        again = [stack.enter_context(Phone(daemon.address, user=f"+3902{index}")) for index in range(2)]
        for phone in again:
            poll(lambda phone=phone: phone.call("1000").status == 200 or None, 10, "no call after the death", every=0.2)
            phone.rtp.wait_for_sound(ROOT_HZ, 3)
        assert sorted(map(rtp_port, again)) == sorted(map(rtp_port, lost))
        kept[0].serve(max(killed + 2.5 - time.time(), 0.1))
        for phone in kept:
            heard_without_a_hole(phone, killed - 0.8, killed + 2.5)
            assert not phone.ended_by_far_end
    ended = daemon.wait_ended(6)
    assert sorted(row["by"] for row in ended) == ["caller"] * 4 + ["error"] * 2
    assert all("died (signal 9)" in row["reason"] for row in ended if row["by"] == "error")
    every_call_was_closed_once(own_hooks, calls=6)
    assert 'ivrea_calls_refused_total{reason="media full"}' in daemon.get("/metrics"), "until the worker was up again"
    assert daemon.get("/metrics").count('ivrea_media_worker_restarts_total{worker="0"} 1.0') == 1


def test_kill_before_the_answer_is_closed_as_unanswered(
    daemon_for: Callable[..., Daemon], own_hooks: HookServer
) -> None:
    """Killed at some point of the first 60 ms of calls: whatever was begun is closed once, nothing else is told.

    A call whose flow had not come to its URL yet owes it nothing.
    """
    daemon = daemon_for({"1000": trees.two_levels(own_hooks.url())})
    phones = [Phone(daemon.address, user=f"+390{index}") for index in range(20)]
    for phone in phones:
        phone.start_invite("1000")
        time.sleep(0.003)
    daemon.kill_everything()
    begun = len([row for row in daemon.events() if row.get("event") == "call started"])
    daemon.start()
    for phone in phones:
        phone.close()

    def all_told() -> set[str] | None:
        """The calls that had come to their URL, once each of them has its ``close``."""
        reached = daemon.calls_with("Subscribed")
        closed = {event["id"] for event in own_hooks.events() if event["e"] == "close"}
        return reached if reached and closed >= reached else None

    reached = poll(all_told, 20, "not every call got its close") if begun else set()
    seen = {(event["id"], event["seq"], event["e"]) for event in own_hooks.events()}
    closed = [call for call, _, kind in seen if kind == "close"]
    assert sorted(closed) == sorted(reached)
    assert set(closed) >= {call for call, _, kind in seen if kind == "open"}
