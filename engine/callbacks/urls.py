"""URLs of the outside world: made fit for a request line, and judged by where they lead."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

import yarl

_KEPT = "%:/?#[]@!$&'()*+,;=~"  # RFC 3986 section 2.2, and escapes that are there already
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
MAX_URL = 8192

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """A request that will not be made, now or later; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """An absolute http or https URL, ready to be sent: ``url`` is ASCII, without fragment."""

    url: yarl.URL
    host: str


def with_query(url: str, params: Iterable[tuple[str, str]]) -> str:
    """``url`` with ``params`` after its own query, which stays as it is. The fragment goes."""
    base = url.strip().partition("#")[0]
    query = urlencode(list(params), quote_via=quote, safe="/$", errors="replace")
    if not query:
        return base
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return f"{base}{joint}{query}"


def target(url: str) -> Target:
    """Judge and complete ``url``: what may not stand in a URL (blanks, letters beyond ASCII) is escaped.

    Escapes, case and order of what is there stay. Host names may have underscores.
    Raises :class:`Refused` for anything but http and https, and for what is no URL.
    """
    if len(url) > MAX_URL:
        raise Refused(f"the URL is longer than {MAX_URL} characters")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"not a URL: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise Refused(f"only http and https are spoken, not {scheme or 'nothing'}")
    if not host or "\\" in parts.netloc:  # browsers take a backslash for a slash, and see another host
        raise Refused("the URL has no host")
    host = _ascii_host(host)
    user, at, _ = parts.netloc.rpartition("@")
    authority = f"{quote(user, safe=_KEPT)}{at}{f'[{host}]' if ':' in host else host}"
    path = quote(parts.path, safe=_KEPT, errors="replace") or "/"
    query = f"?{quote(parts.query, safe=_KEPT, errors='replace')}" if parts.query else ""
    try:
        ready = yarl.URL(f"{scheme}://{authority}{'' if port is None else f':{port}'}{path}{query}", encoded=True)
    except ValueError as error:
        raise Refused(f"not a URL: {error}") from error
    return Target(ready, host)


def _ascii_host(host: str) -> str:
    """The name as it is asked for: letters beyond ASCII by IDNA. It may be an IPv6 address."""
    ready = host
    if not host.isascii():
        try:
            ready = yarl.URL(f"http://{host}/").raw_host or ""
        except ValueError as error:
            raise Refused(f"{host!r} is no host name: {error}") from error
    if not _HOST.fullmatch(ready):
        raise Refused(f"{host!r} is no host name")
    return ready


def literal_address(host: str) -> IpAddress | None:
    """The address that ``host`` spells out, ``None`` for a name.

    Raises :class:`Refused` for spellings that some resolvers take for an address
    (``127.1``, ``0x7f000001``, ``2130706433``).
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        socket.inet_aton(host)
    except OSError:
        return None
    raise Refused(f"{host!r} is an unusual spelling of an IP address")


def check_address(address: IpAddress, *, allow_private: bool) -> None:
    """Raise :class:`Refused` when nothing at ``address`` may be asked.

    Only globally reachable unicast addresses (RFC 6890) may, unless ``allow_private``; even
    then no multicast, broadcast or unspecified ones. An IPv4 address inside an IPv6 one
    (mapped, 6to4, Teredo, NAT64) is judged by itself.
    """
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    for each in (mapped,) if mapped else (address, *_embedded(address)):
        if each.is_multicast or each.is_unspecified or str(each) == "255.255.255.255":
            raise Refused(f"{address} is not the address of one host")
        if not allow_private and (not each.is_global or getattr(each, "is_site_local", False)):
            raise Refused(f"{address} is a private address (callbacks.allow_private)")


_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


def _embedded(address: IpAddress) -> list[IpAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[IpAddress | None] = [address.sixtofour]
    if address.teredo:
        inner += address.teredo
    if any(address in network for network in _NAT64):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in inner if each is not None]
