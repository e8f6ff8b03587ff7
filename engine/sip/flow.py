"""A flow: the pair of addresses, and on streams the connection, that messages travel on."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Flow(NamedTuple):
    """Where a message came from, or where one should go.

    ``remote`` may hold a host name in a flow that is only sent on: the transport resolves it.
    A ``local`` port of 0 leaves the choice of the listener to the transport. ``connection``
    numbers the stream connections of one transport; 0 is a datagram, or "connect if need be".
    """

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits, so that transactions need not (RFC 3261 17.1.1.1)."""
        return self.transport != "udp"

    @property
    def link(self) -> tuple[str, int | tuple[str, int]]:
        """What breaks as one: a connection, or the way to one address."""
        return self.transport, self.connection or self.remote

    @property
    def source(self) -> tuple[str, tuple[str, int]]:
        """What two flows of one peer have in common whichever of our sockets they use."""
        return self.transport, self.remote


class LinkUser(Protocol):
    """Something that sends on a flow."""

    def on_link_lost(self, flow: Flow, now: float) -> None:
        """Nothing can be sent on ``flow`` any more."""


class Links:
    """Who uses which link, so that the loss of one costs no search."""

    __slots__ = ("_users",)

    def __init__(self) -> None:
        self._users: dict[tuple[str, int | tuple[str, int]], set[LinkUser]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, flow: Flow) -> bool:
        """Whether anything uses the link of ``flow``."""
        return flow.link in self._users

    def attach(self, flow: Flow, user: LinkUser) -> None:
        users = self._users.get(flow.link)
        if users is None:
            self._users[flow.link] = {user}
        else:
            users.add(user)

    def detach(self, flow: Flow, user: LinkUser) -> None:
        """Nothing happens if ``user`` is not attached."""
        users = self._users.get(flow.link)
        if users is not None:
            users.discard(user)
            if not users:
                del self._users[flow.link]

    def lost(self, flow: Flow) -> list[LinkUser]:
        """The users of ``flow``; they are still attached."""
        return list(self._users.get(flow.link, ()))
