"""Addresses and numbers as people write them in a configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_BEGINNING = re.compile(r"\+?[0-9A-Za-z*#]*", re.ASCII)
_SEPARATORS = re.compile(r"[\s().\-]")


class Address(NamedTuple):
    """A transport address as configured: ``udp:[::1]:5060`` is ``("udp", "::1", 5060)``."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:{bracketed(self.host)}:{self.port}"


def within(host: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the ``networks``; a name is in none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def network_name(host: str) -> str:
    """Whom an address stands for: the address itself, of IPv6 its network of 64 bits; a name as it is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def split_host(text: str, default_port: int | None) -> tuple[str, int]:
    """Take ``host``, ``host:port``, ``[v6]`` or ``[v6]:port`` apart.

    Raises :class:`ValueError` when the host is neither an address nor a name, or when the
    port is missing (``default_port`` is ``None``) or not in 0-65535.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r}: an IPv6 address is written [address]:port")
        ipaddress.IPv6Address(host)
        port_text = rest[1:]
    else:
        host, _, port_text = text.partition(":")
        if ":" in port_text:
            raise ValueError(f"{text!r}: an IPv6 address is written in brackets")
        if not _HOST_NAME.fullmatch(host):
            raise ValueError(f"{text!r}: {host!r} is neither an IP address nor a host name")
    if not port_text and default_port is not None:
        return host, default_port
    if not port_text.isascii() or not port_text.isdigit() or not 0 <= int(port_text) <= 65535:
        raise ValueError(f"{text!r}: a port from 0 to 65535 must follow the host")
    return host, int(port_text)


def parse_address(text: str, default_port: int | None = None) -> Address:
    """Read ``udp:host:port``, ``tcp:host:port`` or ``tls:host:port``. Raises :class:`ValueError`."""
    transport, colon, rest = text.partition(":")
    if not colon or transport.lower() not in ("udp", "tcp", "tls"):
        raise ValueError(f"{text!r}: must begin with udp:, tcp: or tls:, as in udp:127.0.0.1:5060")
    return Address(transport.lower(), *split_host(rest, default_port))


def plain_number(text: str) -> str:
    """A number without its visual separators (RFC 3966 section 5.1.1: ``-``, ``.``, ``(``, ``)``) and blanks."""
    return _SEPARATORS.sub("", text)


def parse_rewrite(text: str) -> tuple[str, str]:
    """Read a rule ``OLD=NEW`` for the beginnings of numbers. Raises :class:`ValueError`."""
    old, equals, new = text.partition("=")
    old, new = plain_number(old), plain_number(new)
    if not equals or not _BEGINNING.fullmatch(old) or not _BEGINNING.fullmatch(new):
        raise ValueError(f"{text!r}: written as OLD=NEW, beginnings of numbers, for example 00=+ or +39=")
    return old, new


def rewritten(number: str, rules: Sequence[tuple[str, str]]) -> str:
    """``number`` by the first of ``rules`` whose old beginning it has; ``rules`` are those of :func:`parse_rewrite`."""
    for old, new in rules:
        if number.startswith(old):
            return new + number[len(old) :]
    return number


@lru_cache(maxsize=4096)
def is_literal(host: str) -> bool:
    """True for an IP address, without brackets."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """``host`` as it stands before a port: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


@lru_cache(maxsize=1024)
def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for all local addresses (0.0.0.0, :: or nothing at all)."""
    if not host:
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def by_dns(text: str) -> bool:
    """Whether a trunk's address leaves the port to DNS: a host name with none (RFC 3263 section 4.2)."""
    address = parse_peer(text)
    written = text.rstrip().endswith(f":{address.port}")
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return not written
    return False


def parse_peer(text: str) -> Address:
    """Read a trunk's address; transport (UDP) and port (5060, TLS 5061) may be left out. Raises :class:`ValueError`."""
    if re.match(r"(?i)(udp|tcp|tls):(?=\D)", text) or re.match(r"(?i)(udp|tcp|tls):\d+\.", text):
        return parse_address(text, 5061 if text[:3].lower() == "tls" else 5060)
    return Address("udp", *split_host(text, 5060))
