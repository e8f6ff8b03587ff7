"""Certificates for SIP over TLS: whom we show ours to, whose we believe, and for which names one speaks (RFC 5922)."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.sip.uri import Uri

Verification = Literal["name", "wildcard", "none"]
"""What a server has to prove: its name as RFC 5922 section 7.2 wants it, its name or one that ``*.`` stands for, or
nothing at all.
"""


class CertificateError(Exception):
    """A certificate, key or authority cannot be used; the text has field, file and reason."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files of ``[sip]``, empty for none. ``authorities``: whom we believe, the system's if empty."""

    certificate: str = ""
    key: str = ""
    authorities: str = ""
    verify_clients: bool = False


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a connection to one host is made with. ``place`` names it in errors, as in ``trunks[provider]``."""

    place: str
    verification: Verification = "name"
    authorities: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """How to connect: the context, and what the server's certificate has to say."""

    context: ssl.SSLContext
    verification: Verification = "name"


@dataclass(frozen=True, slots=True)
class CertificateBook:
    """Everything that was read from files. A new one takes the place of the old one; connections keep theirs."""

    server: ssl.SSLContext | None = None
    """For those who connect to us; ``None`` without a certificate."""
    fallback: Client | None = None
    clients: Mapping[tuple[str, int], Client] = field(default_factory=dict)
    """By host (lower case) and port, for those with settings of their own."""

    def client(self, host: str, port: int) -> Client:
        """How to connect to ``host``."""
        found = self.clients.get((host.lower(), port)) or self.fallback
        return found or Client(_client_context("sip", ClientFiles("sip")))


def load(server: ServerFiles, clients: Mapping[tuple[str, int], ClientFiles]) -> CertificateBook:
    """Read all files: blocks. Raises :class:`CertificateError`."""
    own = None
    if server.certificate:
        own = _context(ssl.PROTOCOL_TLS_SERVER)
        own.options |= ssl.OP_NO_RENEGOTIATION
        _load_chain(own, "sip", server.certificate, server.key)
        if server.verify_clients:
            own.verify_mode = ssl.CERT_REQUIRED
            _load_authorities(own, "sip", server.authorities, ssl.Purpose.CLIENT_AUTH)
    common = ClientFiles("sip", authorities=server.authorities)
    return CertificateBook(
        own,
        Client(_client_context("sip", common)),
        {
            (host.lower(), port): Client(_client_context(files.place, files), files.verification)
            for (host, port), files in clients.items()
        },
    )


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context


def _client_context(place: str, files: ClientFiles) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    # Names are compared by :func:`speaks_for`, as SIP has rules of its own for them.
    context.check_hostname = False
    if files.verification == "none":
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a single certificate may be what is believed
        _load_authorities(context, place, files.authorities, ssl.Purpose.SERVER_AUTH)
    if files.certificate:
        _load_chain(context, place, files.certificate, files.key)
    return context


def _load_authorities(context: ssl.SSLContext, place: str, file: str, purpose: ssl.Purpose) -> None:
    if not file:
        context.load_default_certs(purpose)
        return
    try:
        context.load_verify_locations(file)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise CertificateError(f"{place}.tls_ca: {file}: {reason_of(error)}") from error


def _load_chain(context: ssl.SSLContext, place: str, certificate: str, key: str) -> None:
    try:
        # The password is never asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise CertificateError(f"{place}.tls_cert, {place}.tls_key: {certificate}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Why a file cannot be used, from what reading or loading it raised."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a certificate and its key").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


# --- names ------------------------------------------------------------------------------


def identities(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The SIP domains that a certificate (as ``getpeercert`` has it) speaks for, in lower case: RFC 5922 section 7.1.

    URIs in subjectAltName if there are any with ``sip``, else DNS names, else the common name; and IP addresses.
    """
    alternatives: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    alternatives = tuple(alternatives)
    domains = [domain for kind, value in alternatives if kind == "URI" and (domain := _sip_domain(value))]
    names = domains or [value for kind, value in alternatives if kind == "DNS"]
    if not names and not any(kind in ("DNS", "URI") for kind, _ in alternatives):
        subject = certificate.get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
    addresses = [value for kind, value in alternatives if kind == "IP Address"]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in (*names, *addresses)))


def _sip_domain(text: str) -> str:
    """The domain of a ``sip:`` URI without a user; a certificate for one user speaks for no domain."""
    try:
        uri = Uri.parse(text)
    except ValueError:
        return ""
    return uri.host if uri.scheme == "sip" and uri.user is None else ""


def speaks_for(names: Iterable[str], host: str, *, wildcards: bool = False) -> bool:
    """Whether a certificate with these :func:`identities` speaks for ``host``.

    RFC 5922 section 7.2 compares whole names; ``wildcards`` lets ``*.`` stand for one label (RFC 6125 section 6.4.3).
    """
    wanted = host.strip("[]").rstrip(".").lower()
    address = _address(wanted)
    for name in names:
        if name == wanted or (address is not None and _address(name) == address):
            return True
        if wildcards and address is None and name.startswith("*.") and "." in name[2:]:
            label, _, rest = wanted.partition(".")
            if label and rest == name[2:]:
                return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def why(error: BaseException) -> str:
    """Why a handshake failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "no answer"
    return getattr(error, "strerror", None) or str(error) or "connection lost"
