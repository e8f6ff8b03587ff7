"""Registrations with the trunks that want one, kept alive from start to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from engine.addresses import bracketed, plain_number
from engine.calls.routes import OutboundTrunk
from engine.config import TrunkConfig
from engine.log import get_logger
from engine.sip.digest import Credentials
from engine.sip.events import RegistrationChanged
from engine.sip.flow import Flow
from engine.sip.registration import Registration, RegistrationConfig
from engine.sip.routing import default_port
from engine.sip.uri import Address, Uri
from engine.transport import SipTransport

log = get_logger(__name__)

UNREGISTER_PATIENCE = 2.0


class Registrations:
    """One registration for each trunk with ``register = true``; they are told apart by labels."""

    def __init__(self, transport: SipTransport, trunks: Mapping[str, TrunkConfig]) -> None:
        self._transport = transport
        self._trunks = {label: trunk for label, trunk in trunks.items() if trunk.registers}
        self._running: dict[str, Registration] = {}
        self._removed = asyncio.Event()

    def start(self) -> None:
        """Send the first REGISTER of each; what comes of it is told to :meth:`changed`."""
        now = asyncio.get_running_loop().time()
        for label, trunk in self._trunks.items():
            self._running[label] = self._transport.endpoint.register(_configuration(label, trunk), now)
        self._transport.pump()

    def changed(self, event: RegistrationChanged) -> None:
        """A registration succeeded, failed or was removed."""
        name = event.registration.config.name
        if event.registration.removed:
            self._running.pop(name, None)
            if not self._running:
                self._removed.set()
            return
        if event.registered and event.status < 300:
            log.info("registered", trunk=name)
            return
        flow = event.registration.config.flow
        if event.status in (408, 500, 503):  # RFC 3263 section 4.3: elsewhere, the next time
            self._transport.locator.demote(flow.remote[0], flow.transport)
        pause = None if event.retry_at is None else round(event.retry_at - asyncio.get_running_loop().time(), 1)
        log.warning("not_registered", trunk=name, status=event.status, reason=event.reason, next_try_in=pause)

    def states(self) -> dict[str, bool]:
        """By trunk name, whether it is registered."""
        return {name: registration.registered for name, registration in self._running.items()}

    async def unregister(self) -> None:
        """Take all registrations back; a registrar that does not answer is not waited for long."""
        if not self._running:
            return
        now = asyncio.get_running_loop().time()
        for registration in list(self._running.values()):
            registration.remove(now)
        self._transport.pump()
        try:
            await asyncio.wait_for(self._removed.wait(), UNREGISTER_PATIENCE)
        except TimeoutError:
            log.warning("not_unregistered", trunks=sorted(self._running))


def outbound_trunk(trunk: TrunkConfig) -> OutboundTrunk:
    """The trunk as calls go out by it."""
    address = trunk.address
    credentials = Credentials(trunk.username, trunk.password.get_secret_value()) if trunk.username else None
    return OutboundTrunk(
        trunk.name,
        Flow(address.transport, ("", 0), trunk.remote),
        trunk.order,
        tuple(plain_number(prefix) for prefix in trunk.prefixes),
        trunk.caller_id,
        credentials,
    )


def _configuration(label: str, trunk: TrunkConfig) -> RegistrationConfig:
    address = trunk.address
    host = bracketed(address.host)
    port = f":{address.port}" if address.port != default_port(address.transport) else ""
    transport = f";transport={address.transport}" if address.transport != "udp" else ""
    return RegistrationConfig(
        name=label,
        registrar=Uri.parse(f"sip:{host}{port}{transport}"),
        aor=Address(Uri.parse(f"sip:{trunk.username}@{host}{port}")),
        flow=Flow(address.transport, ("", 0), trunk.remote),
        credentials=Credentials(trunk.username, trunk.password.get_secret_value()),
        contact_user=trunk.username,
    )
