"""TLS and SRTP as they are configured: which certificates, and who has to speak how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from engine.sip.flow import Flow
from engine.transport.certificates import CertificateBook, ClientFiles, ServerFiles, load

if TYPE_CHECKING:
    from engine.config import Config

Policy = Literal["off", "optional", "required"]


def read_certificates(config: Config) -> CertificateBook:
    """All certificates of the configuration, read from their files: blocks.

    Raises :class:`~engine.transport.certificates.CertificateError`.
    """
    sip = config.sip
    clients: dict[tuple[str, int], ClientFiles] = {}
    for trunk in config.trunks:
        if trunk.address.transport == "tls":
            files = ClientFiles(
                f"trunks[{trunk.name}]",
                trunk.tls_verify,
                trunk.tls_ca or sip.tls_ca,
                trunk.tls_cert,
                trunk.tls_key,
            )
            clients.setdefault((trunk.address.host, trunk.address.port), files)
    return load(ServerFiles(sip.tls_cert, sip.tls_key, sip.tls_ca, sip.tls_verify_clients), clients)


@dataclass(frozen=True, slots=True)
class MediaSecurity:
    """What of SRTP and plain RTP a leg may use: ``keys``: SRTP, ``plain``: RTP."""

    keys: bool
    plain: bool


OPEN = MediaSecurity(keys=False, plain=True)


@dataclass(frozen=True, slots=True)
class SrtpPolicies:
    """Who has to encrypt sound, by name of trunk or device; ``common`` counts for all others."""

    common: Policy = "optional"
    without_tls: bool = False
    trunks: Mapping[str, Policy] = field(default_factory=dict)
    devices: Mapping[str, Policy] = field(default_factory=dict)

    def of_source(self, kind: str, name: str) -> Policy:
        """The policy of a ``trunk`` or ``device``; ``anyone`` has the common one."""
        return {"trunk": self.trunks, "device": self.devices}.get(kind, {}).get(name, self.common)

    def offers(self, kind: str, name: str, flow: Flow) -> bool:
        """Whether SRTP is the first thing that we offer: where it is required, to telephones and URIs over TLS, and to
        trunks of which it is said.
        """
        policy = self.of_source(kind, name)
        wished = name in self.trunks if kind == "trunk" else flow.transport == "tls"
        return self.allowed(policy, flow).keys and (policy == "required" or wished)

    def allowed(self, policy: Policy, flow: Flow) -> MediaSecurity:
        """What ``policy`` comes to with the peer of ``flow``.

        Keys stand in SDP as they are (RFC 4568 section 7 leaves their protection to TLS): without it there are none,
        and where SRTP is required nothing is left.
        """
        keys = policy != "off" and (flow.transport == "tls" or self.without_tls)
        return MediaSecurity(keys, policy != "required")


NO_SRTP = SrtpPolicies("off")
