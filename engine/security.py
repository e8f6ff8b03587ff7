"""TLS and SRTP as they are configured: which certificates, and who has to speak how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from engine.addresses import parse_peer
from engine.log import get_logger
from engine.sip.flow import Flow
from engine.transport.certificates import CertificateBook, CertificateError, ClientFiles, ServerFiles, load

if TYPE_CHECKING:
    from engine.config import Config, TrunkConfig

log = get_logger(__name__)

Policy = Literal["off", "optional", "required"]


def read_certificates(config: Config, trunks: Mapping[str, TrunkConfig] | None = None) -> CertificateBook:
    """All certificates of the configuration, and of the ``trunks`` of the database by label, read from files: blocks.

    Raises :class:`~engine.transport.certificates.CertificateError`; trunks that the file does not have are logged
    instead, and nothing is believed of them that is not of all.
    """
    sip = config.sip
    clients: dict[tuple[str, int], ClientFiles] = {}
    of_file = {trunk.name: trunk for trunk in config.trunks}
    for label, trunk in {**(trunks or {}), **of_file}.items():
        transport, host, port = parse_peer(trunk.outbound_proxy or trunk.host)
        if transport != "tls":
            continue
        files = ClientFiles(
            f"trunks[{label}]", trunk.tls_verify, trunk.tls_ca or sip.tls_ca, trunk.tls_cert, trunk.tls_key
        )
        if label not in of_file:
            try:
                load(ServerFiles(), {(host, port): files})
            except CertificateError as error:
                log.error("trunk_certificates_not_usable", trunk=label, error=str(error))
                continue
        clients.setdefault((host, port), files)
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
