"""What calls have of the daemon: limits, ways to reach others, and who is told of what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.calls.admission import Source, TrunkAddress
from engine.calls.allowance import Allowance
from engine.calls.changing import Side
from engine.calls.conference import Conferences
from engine.calls.directory import AccountTrunk
from engine.calls.household import Outside
from engine.calls.identity import Caller
from engine.calls.naming import Names
from engine.calls.outbound import OutgoingCall, Wish
from engine.calls.parking import Lots
from engine.calls.peer import Destination, Peer
from engine.calls.plans import CallPlan, Limits
from engine.calls.routes import Routes
from engine.calls.supervisor import Supervisor
from engine.calls.trunking import OutboundTrunk
from engine.calls.voicemail.service import VoicemailService
from engine.captures.media import MediaCaptures
from engine.security import OPEN
from engine.serving.trunks import inbound_trunk, outbound_trunk
from engine.sip.client import OutgoingSession
from engine.sip.dialog_info import DialogState
from engine.sip.flow import Flow
from engine.sip.replaces import Replaces
from engine.sip.session import Session
from engine.store.accounts import DEFAULT_ACCOUNT
from media.tones import Tones

if TYPE_CHECKING:
    from engine.serving.daemon import Daemon


class Wiring:
    """Between calls and the parts of the daemon, which are looked up as they are at the time: a reload changes some."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.peers: dict[int, Peer] = {}
        """By their sessions: who is told of the events of those that calls have dialled."""

    def outside(self, tones: Tones, voicemail: VoicemailService, captures: MediaCaptures) -> Outside:
        """All of it, as calls know it."""
        daemon = self._daemon
        return Outside(
            self._routes,
            self._invite,
            self._media_hosts,
            self._release,
            self._own,
            daemon.transport.tap,
            tones,
            Conferences(tones, Names(Path(daemon.config.store.state) / "names")),
            Lots(tones),
            voicemail,
            daemon.transport.flows,
            self._plan_of,
            daemon.transport.is_ours,
            self._publish,
            self._dialog,
            self._live_call,
            daemon.config.calls.transfers_outside,
            calls=lambda account: len(daemon.switch.calls_of(account)),
            bring=self._bring,
            captures=captures,
            lamp=self._lamp,
            recording_url=self._recording_url,
        )

    def _recording_url(self, call: str, recording: str) -> str:
        return f"{self._daemon.web.url}/api/v1/calls/{call}/recordings/{recording}"

    def limits_for(self, session: Session | None, source: Source | None) -> Limits:
        """Limits of a call, and what its media has: the addresses that its signalling came over, or as configured.

        Without a session there are none yet: the call is going out.
        """
        bind, told = self._media_hosts(session.flow) if session is not None else ("", "")
        security, policies = OPEN, self._daemon.srtp
        if session is not None and source is not None:
            security = policies.allowed(policies.of_source(source.kind, source.name), session.flow)
        calls, rtp = self._daemon.config.calls, self._daemon.config.rtp
        return Limits(
            max_duration=calls.max_duration,
            rtp_timeout=rtp.timeout,
            max_silence=calls.max_silence,
            settle=calls.settle_ms / 1000,
            bind_host=bind,
            media_host=told,
            codecs=tuple(rtp.codecs),
            security=security,
        )

    def _media_hosts(self, flow: Flow) -> tuple[str, str]:
        """For media with the peer of ``flow``: the address to bind ports on, and the one to tell."""
        local = self._daemon.transport.local_host(flow)
        bind = local
        if self._daemon.config.rtp.advertise:
            bind = "::" if ":" in local else "0.0.0.0"  # noqa: S104 - NAT: any address may be the one
        return bind, self._daemon.config.rtp.advertise or local

    def _routes(self, account: str) -> Routes:
        registrar = self._daemon.transport.endpoint.registrar
        contact_host = self._daemon.transport.contact_host
        routes = self._daemon.directory.routes(account, registrar, contact_host, self._outbound, self._daemon.srtp)
        if (owner := self._daemon.directory.accounts.get(account)) is not None:
            routes.allowance = Allowance(owner, lambda: self._daemon.spending.today(account))
        return routes

    def _outbound(self, trunk: AccountTrunk) -> OutboundTrunk:
        down = trunk.label in self._daemon.probes.down
        registrations = self._daemon.registrations
        route, registered = registrations.service_route(trunk.label), not registrations.failed(trunk.label)
        return outbound_trunk(trunk, route, down=down, registered=registered)

    def inbound(self) -> Iterator[TrunkAddress]:
        """Those of the operator first: of trunks of which nothing tells them apart they have the call."""
        found = [each for each in self._daemon.directory.trunks if each.config.inbound != "none"]
        return (inbound_trunk(each) for each in sorted(found, key=lambda each: each.account != DEFAULT_ACCOUNT))

    def _publish(self, account: str, entity: str, state: str) -> None:
        """A state that a flow of the account sets for those of its devices who watch ``entity`` (RFC 4235)."""
        states: dict[str, DialogState] = {"idle": "terminated", "ringing": "early", "busy": "confirmed"}
        now = asyncio.get_running_loop().time()
        self._daemon.transport.endpoint.notifier.publish(entity, states[state], now, group=account, dialog="manual")
        self._daemon.transport.pump()

    def _lamp(self, device: str, session: Session, state: DialogState, remote: str) -> None:
        """A telephone calls or rings, talks or is free again: told to those of its account who watch its user, an
        extension of that user, or the telephone itself, with the dialog as the telephone has it.
        """
        ids = {"call_id": session.call_id, "remote_tag": session.local_tag}
        if session.has_dialog:
            ids["local_tag"] = session.dialog.remote_tag
        now = asyncio.get_running_loop().time()
        for entity in (device, *self._daemon.directory.names.get(device, ())):
            self._daemon.transport.endpoint.notifier.publish(
                entity,
                state,
                now,
                group=self.account_of(device),
                dialog=session.call_id,
                direction="recipient" if session.role == "uac" else "initiator",
                remote=remote,
                **ids,
            )
        self._daemon.transport.pump()

    def _bring(self, to: str, caller: Caller, plan: CallPlan, source: str) -> OutgoingCall:
        return self._daemon.switch.originate(Wish(to, caller=caller, source=source), plan)

    def _invite(self, destination: Destination, body: bytes, peer: Peer) -> OutgoingSession:
        session = self._daemon.transport.endpoint.invite(
            destination.uri,
            from_=destination.caller,
            to=destination.to,
            sdp=body,
            flow=destination.flow,
            now=asyncio.get_running_loop().time(),
            headers=destination.headers,
            credentials=destination.credentials,
            route=destination.route,
            trail=destination.trail,
            respond_within=destination.respond_within,
        )
        self.peers[session.id] = peer
        self._daemon.transport.tap.watch(session.call_id)
        return session

    def account_of(self, device: str) -> str:
        """Whose telephone it is."""
        return self._daemon.directory.account_of(device)

    def _dialog(self, replaces: Replaces, account: str) -> tuple[Supervisor, Side] | None:
        session = self._daemon.transport.endpoint.session_of(replaces)
        return self._daemon.switch.owner_of(session, account) if session is not None else None

    def _live_call(self, account: str, call_id: str) -> Supervisor | None:
        call = self._daemon.switch.calls.get(call_id)
        return call if call is not None and call.plan.account == account else None

    def _plan_of(self, number: str, account: str) -> CallPlan | None:
        return self._daemon.directory.plans.own(number, account)

    def _own(self, session: int, peer: Peer) -> None:
        self.peers[session] = peer

    def _release(self, session: int) -> None:
        self.peers.pop(session, None)
