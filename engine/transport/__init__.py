"""Sockets and timers under the SIP core: asyncio, and nothing but bytes, flows and the time."""

from engine.transport.shell import SipTransport, TransportError
from engine.transport.tcp import TcpLimits

__all__ = ["SipTransport", "TcpLimits", "TransportError"]
