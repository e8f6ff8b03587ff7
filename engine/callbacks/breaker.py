"""Which web servers are down: they are left alone for a while, and then asked with one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FAILURES = 10
"""Failures in a row after which a host is left alone."""

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0
"""Seconds; twice as many after each probe that failed."""

MOST_HOSTS = 5000
"""Hosts of which something is remembered: of more, those that failed longest ago are taken for well."""


@dataclass(slots=True)
class _Host:
    failures: int = 0
    pause: float = 0.0
    until: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.pause > 0


class Breakers:
    """One breaker for each host. Pure: times are those of the caller's clock, in seconds.

    A breaker that is open is *paused* until its time has come, and then *probing*: one request at a time, until one
    is answered.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def failed(self, host: str, now: float, at_least: float = 0.0) -> float | None:
        """A request was not answered, or with an error of the server. The seconds of the pause that begins by that.

        ``at_least``: how long the server asks to be left alone. Requests that were under way when a pause began do not
        prolong it.
        """
        state = self._hosts.pop(host, None) or _Host()
        self._hosts[host] = state
        if len(self._hosts) > MOST_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        state.failures += 1
        if now < state.until or (not state.is_open and state.failures < FAILURES):
            return None
        state.pause = min(state.pause * 2, LONGEST_PAUSE) if state.is_open else FIRST_PAUSE
        seconds = max(state.pause, at_least)
        state.until = now + seconds
        return seconds

    def answered(self, host: str) -> bool:
        """The host is well. Whether it was left alone until now."""
        state = self._hosts.pop(host, None)
        return state is not None and state.is_open

    def failures(self, host: str) -> int:
        """How many there were in a row."""
        state = self._hosts.get(host)
        return state.failures if state is not None else 0

    def paused(self, now: float) -> dict[str, float]:
        """Hosts that get nothing now, and until when."""
        return {host: state.until for host, state in self._hosts.items() if now < state.until}

    def room(self, host: str, usual: int) -> int:
        """How many requests ``host`` may have under way: ``usual``, or one that tries whether it is back."""
        state = self._hosts.get(host)
        return 1 if state is not None and state.is_open else usual

    def open(self) -> Iterator[str]:
        """Hosts that are paused or probed."""
        return (host for host, state in self._hosts.items() if state.is_open)
