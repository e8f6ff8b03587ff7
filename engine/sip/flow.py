"""A flow: the pair of addresses, and on streams the connection, that messages travel on."""

from __future__ import annotations

from typing import NamedTuple


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
    def source(self) -> tuple[str, tuple[str, int]]:
        """What two flows of one peer have in common whichever of our sockets they use."""
        return self.transport, self.remote
