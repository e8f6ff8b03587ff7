"""Networks of their own, with a NAT between them and this one: namespaces of the kernel, iproute2 and nftables.

Nothing here outlives its context; who may not make a namespace, or lacks a program, gets :class:`NoNetwork`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


class NoNetwork(Exception):
    """No such network can be made here; the text says why."""


def run(*command: str) -> str:
    """What a command says. Raises :class:`NoNetwork` if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise NoNetwork(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise NoNetwork(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Namespace:
    """A network namespace by name; without one, that of this process. As a context: this thread is in it."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._home = -1

    @property
    def prefix(self) -> Sequence[str]:
        """What runs a command in it."""
        return ("ip", "netns", "exec", self.name) if self.name else ()

    def __enter__(self) -> Self:
        if self.name:
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._home >= 0:
            _enter(self._home)
            os.close(self._home)
            self._home = -1


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Nat:
    """A private network behind a router that translates addresses and ports, the latter at random.

    ``inside`` is where its hosts are, at :attr:`private`; :attr:`here` is our end of the line to the router, whose
    address is :attr:`public`. From here the private network cannot be reached but by what the router has translated,
    and by :meth:`forward`.
    """

    def __init__(self) -> None:
        number = next(_numbers)
        name = f"ivr{os.getpid() % 100_000}n{number}"
        outer, inner = (f"10.{200 + os.getpid() % 50}.{number % 120 * 2 + half}" for half in (0, 1))
        self.here, self.public = f"{outer}.1", f"{outer}.2"
        self._gate, self.private = f"{inner}.1", f"{inner}.2"
        self.router, self.inside = Namespace(f"{name}r"), Namespace(f"{name}i")
        self._link = f"{name}h"[-15:]
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if os.geteuid():
            raise NoNetwork("only root makes network namespaces")
        for program in ("ip", "nft", "sysctl"):
            if shutil.which(program) is None:
                raise NoNetwork(f"program {program} is not installed")
        try:
            self._make()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def _make(self) -> None:
        for space in (self.router, self.inside):
            run("ip", "netns", "add", space.name)
            self._undo.callback(run, "ip", "netns", "del", space.name)
            run("ip", "-n", space.name, "link", "set", "lo", "up")
        run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "out", "netns", self.router.name)
        router, inside = self.router.name, self.inside.name
        run("ip", "-n", router, "link", "add", "in", "type", "veth", "peer", "name", "eth", "netns", inside)
        run("ip", "address", "add", f"{self.here}/24", "dev", self._link)
        run("ip", "link", "set", self._link, "up")
        for space, device, address in (
            (router, "out", self.public),
            (router, "in", self._gate),
            (inside, "eth", self.private),
        ):
            run("ip", "-n", space, "address", "add", f"{address}/24", "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        run("ip", "-n", inside, "route", "add", "default", "via", self._gate)
        run(*self.router.prefix, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._nft("add table ip nat")
        self._nft("add chain ip nat coming { type nat hook prerouting priority -100 ; }")
        self._nft("add chain ip nat going { type nat hook postrouting priority 100 ; }")
        self._nft("add rule ip nat going oifname out masquerade fully-random")
        self._nft("add table ip filter")
        self._nft("add chain ip filter passing { type filter hook forward priority 0 ; policy drop ; }")
        self._nft("add rule ip filter passing iifname in accept")
        self._nft("add rule ip filter passing ct state established,related accept")
        self._nft("add rule ip filter passing ct status dnat accept")

    def _nft(self, command: str) -> None:
        run(*self.router.prefix, "nft", command)

    def forget_after(self, seconds: int) -> None:
        """Have the router forget what it has translated by UDP once nothing has gone through for so long."""
        for what in ("timeout", "timeout_stream"):
            run(*self.router.prefix, "sysctl", "-qw", f"net.netfilter.nf_conntrack_udp_{what}={seconds}")

    def forward(self, ports: str, protocol: str = "udp") -> None:
        """Have ``ports`` (one, or ``low-high``) of the router lead to the private host."""
        self._nft(f"add rule ip nat coming iifname out {protocol} dport {ports} dnat to {self.private}")
