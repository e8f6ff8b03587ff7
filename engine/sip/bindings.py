"""Where devices are: the contacts that each has registered (RFC 3261 10.3, RFC 5626 6), and the flows they came on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from engine.sip.flow import Flow
from engine.sip.timers import Timer, TimerQueue
from engine.sip.uri import Address, Uri

Source = tuple[str, tuple[str, int]]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of a device."""

    name: str
    contact: Uri
    flow: Flow
    """How to reach it: the flow its registration came on if it is behind NAT, otherwise its contact."""
    source: Flow
    """The flow its registration came on."""
    expires_at: float
    call_id: str
    cseq: int
    pinned: bool
    q: float = 1.0
    """How much it is wanted, from 0 to 1 (20.10)."""
    instance: str = ""
    """What stays the same when the contact changes: its ``+sip.instance`` and ``reg-id`` (RFC 5626 4.1)."""
    updated_at: float = 0.0
    domain: str = ""
    """The host of its address of record."""
    path: tuple[Address, ...] = ()
    """The proxies between it and us: the route of requests to it (RFC 3327)."""

    @property
    def next_hop(self) -> Uri:
        """Where requests to it go first, if it is not pinned to a flow."""
        return self.path[0].uri if self.path else self.contact

    def is_same(self, other: Binding) -> bool:
        """Whether ``other`` takes its place: the same contact (10.3 step 7), the same instance, or what the device
        calls itself now at the place where it is. Who was reached twice would ring twice.
        """
        if self.instance and other.instance:
            return self.instance == other.instance
        if self.contact.matches(other.contact):
            return True
        if self.path or other.path:
            return False  # many are behind one proxy
        return self.flow == other.flow and self.contact.user == other.contact.user


class Bindings:
    """All of them, by device and by source. Who adds one says what is to happen when it expires."""

    __slots__ = ("_by_name", "_by_source", "_queue", "_timers")

    def __init__(self, queue: TimerQueue) -> None:
        self._queue = queue
        self._by_name: dict[str, list[Binding]] = {}
        self._by_source: dict[Source, list[Binding]] = {}
        self._timers: dict[int, Timer] = {}  # by identity: equal bindings may follow each other

    def __len__(self) -> int:
        """Devices that have any."""
        return len(self._by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._by_name))

    def of(self, name: str) -> list[Binding]:
        """Those of a device, the most wanted first, of equal ones the latest."""
        return sorted(self._by_name.get(name, ()), key=lambda each: (-each.q, -each.updated_at))

    def count(self, name: str) -> int:
        return len(self._by_name.get(name, ()))

    def from_source(self, flow: Flow) -> list[Binding]:
        """Those that came over ``flow``, the latest last."""
        return list(self._by_source.get(flow.source, ()))

    def add(self, binding: Binding, timer: Timer) -> None:
        self._by_name.setdefault(binding.name, []).append(binding)
        self._by_source.setdefault(binding.source.source, []).append(binding)
        self._timers[id(binding)] = timer

    def remove(self, binding: Binding) -> bool:
        """Forget ``binding``; whether it was there."""
        timer = self._timers.pop(id(binding), None)
        if timer is None:
            return False
        self._queue.cancel(timer)
        _take_out(self._by_name, binding.name, binding)
        _take_out(self._by_source, binding.source.source, binding)
        return True


def _take_out(table: dict[Key, list[Binding]], key: Key, binding: Binding) -> None:
    left = [each for each in table[key] if each is not binding]
    if left:
        table[key] = left
    else:
        del table[key]
