"""Which flow a message leaves on: RFC 3261 8.1.2 for requests, 18.2.2 and RFC 3581 for responses.

Host names stay names; the transport resolves them.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from engine.sip.flow import Flow
from engine.sip.headers import Via
from engine.sip.uri import Uri

TRANSPORTS = frozenset({"udp", "tcp", "tls"})
"""What requests of ours can be sent over."""
DEFAULT_PORTS = {"tls": 5061, "wss": 443, "ws": 80}


@lru_cache(maxsize=4096)
def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an IP address, ``None`` for a name. IPv6 with or without brackets."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def same_host(one: str, other: str) -> bool:
    """Whether two hosts are one: addresses by value, names by letters."""
    first = address(one)
    return one.lower() == other.lower() if first is None else first == address(other)


def default_port(transport: str) -> int:
    return DEFAULT_PORTS.get(transport, 5060)


def towards(uri: Uri, flow: Flow) -> Flow:
    """The flow on which to reach ``uri``, for a peer first met on ``flow``.

    A URI without a transport parameter stays on the transport that is known to work. As long as a stream
    connection lasts, the peer's host decides: it is used again whatever port the Contact names (RFC 5923).
    TLS (``sips``, ``transport=tls``) of a peer that was met over UDP or TCP is the business of the proxy that took it
    off: what came that way is answered there. So is a transport that we lack.
    """
    transport = transport_of(uri, flow.transport)
    if transport not in TRANSPORTS or (transport == "tls" != flow.transport):
        return flow
    host = (uri.param("maddr") or uri.host).strip("[]")
    port = uri.port or default_port(transport)
    if transport == flow.transport and same_host(host, flow.remote[0]) and (flow.connection or port == flow.remote[1]):
        return flow
    local = flow.local if transport == flow.transport else (flow.local[0], 0)
    return Flow(transport, local, (host, port))


def transport_of(uri: Uri, default: str = "udp") -> str:
    """The transport to reach ``uri`` by, in lower case; ``default`` if it leaves that open.

    ``sips`` is TLS on every hop (RFC 3261 26.2.2, RFC 5630 3.1), whatever stream its parameter names.
    """
    return "tls" if uri.scheme == "sips" else (uri.transport or default).lower()


def response_flow(via: Via, flow: Flow) -> Flow:
    """Where to respond to a request that came on ``flow`` with ``via`` on top.

    ``maddr`` is not followed: it would let anybody aim our responses at anybody.
    """
    if flow.reliable or via.rport is not None:
        return flow  # RFC 3581 4: source address and port, from the address the request came to
    return flow._replace(remote=(flow.remote[0], via.port or default_port(flow.transport)))


def behind_nat(contact: Uri, source: str, sent_by: str = "") -> bool:
    """Whether ``contact`` is an address that only the peer itself or its own network can reach.

    ``sent_by`` is the host in the peer's own Via, if it spoke to us directly. True for no address at all (unspecified,
    or a name in ``.invalid``), for loopback given from elsewhere, for a private address given by a peer whose messages
    come from a public one, and for an address that is not where its messages come from although its Via says so, too.
    """
    if contact.host.lower().endswith(".invalid"):  # RFC 2606; browsers know no better (RFC 7118)
        return True
    inner, outer = address(contact.host), address(source)
    if inner is None:
        return False
    if inner.is_unspecified:
        return True
    if outer is None or inner == outer or outer.is_loopback:
        return False
    return inner.is_loopback or (inner.is_private and not outer.is_private) or inner == address(sent_by)
