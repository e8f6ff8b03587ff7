"""Whose certificates are believed: what ``callbacks.certificates`` says of hosts, for all requests alike."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping

import aiohttp
import yarl

from engine.addresses import split_host
from engine.transport.certificates import CertificateError, reason_of

ANY, FINGERPRINT = "any", "sha256:"

Check = ssl.SSLContext | aiohttp.Fingerprint | bool
"""As aiohttp has it: by these authorities, this fingerprint; ``True``: by the system's authorities; ``False``: not."""


class Trust:
    """How the certificate of each server is checked; of those not named, by the authorities of the system."""

    def __init__(self, certificates: Mapping[str, str]) -> None:
        """By host, or host and port: :data:`ANY`, :data:`FINGERPRINT` with 64 hexadecimal digits, or a PEM file.

        Reads the files: blocks. Raises :class:`~engine.transport.certificates.CertificateError`.
        """
        self._checks: dict[tuple[str, int], Check] = {}
        for place, what in certificates.items():
            host, port = split_host(place, 0)
            self._checks[_spelling(host), port] = _check(place, what)

    def check(self, url: yarl.URL, *, any_certificate: bool) -> Check:
        """How to check the server of ``url``: not at all with ``any_certificate``, if nothing is said of it."""
        host = _spelling(url.raw_host or "")
        for port in (url.port or 0, 0):
            if (host, port) in self._checks:
                return self._checks[host, port]
        return not any_certificate


def _check(place: str, what: str) -> Check:
    if what == ANY:
        return False
    if what.startswith(FINGERPRINT):
        return aiohttp.Fingerprint(bytes.fromhex(what.removeprefix(FINGERPRINT)))
    try:
        context = ssl.create_default_context(cafile=what)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise CertificateError(f"callbacks.certificates.{place}: {what}: {reason_of(error)}") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a single certificate may be what is believed
    return context


def _spelling(host: str) -> str:
    """One for each host: names in lower case, addresses of IPv6 as short as they can be."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
