"""Addresses of this machine, as its peers see them."""

from __future__ import annotations

import ipaddress
import socket


def address_towards(host: str, port: int = 5060) -> str:
    """The local address that packets to ``host`` (an IP literal) leave from. Nothing is sent.

    Falls back to loopback when there is no route. Raises ValueError when ``host`` is a name.
    """
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), port or 5060))
        except OSError:
            return "::1" if address.version == 6 else "127.0.0.1"
        return str(probe.getsockname()[0])
