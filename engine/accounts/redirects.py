"""Where a browser may be sent back to after a login: redirect URIs of programs (RFC 6749 section 3.1.2)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_URI = re.compile(r"[a-z][a-z0-9+.-]*:[\x21\x24-\x7e]+")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def redirect_problem(uri: str) -> str:
    """What is wrong with a redirect URI; empty: nothing.

    ``https`` with a host; ``http`` on the browser's own machine alone, for programs of desktops (RFC 8252 section 7.3;
    RFC 9700 section 2.6); or a scheme of an app, which is a domain name in reverse (RFC 8252 section 7.1). No fragment
    (RFC 6749 section 3.1.2), no user.
    """
    if "#" in uri:
        return "must have no fragment"
    if not _URI.fullmatch(uri):
        return "must be an absolute URI of printable ASCII characters"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is no URI"
    if parts.scheme not in ("http", "https"):
        return "" if "." in parts.scheme else "must begin with https://, or a scheme of an app such as com.example.app:"
    if not _AUTHORITY.fullmatch(parts.netloc):
        return "must have a host, and nothing but a port behind it"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must begin with https://: http is for 127.0.0.1, [::1] and localhost alone"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
