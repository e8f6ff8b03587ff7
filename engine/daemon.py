"""The daemon: everything put together, started in order, and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from engine import tasks
from engine.accounts import callbook, tokens
from engine.accounts.media import MediaShelf
from engine.addresses import bracketed, is_wildcard, split_host
from engine.api.mounts import mount_all
from engine.api.ops import make_app
from engine.api.server import WebServer, WebServerError
from engine.api.services import ApiServices
from engine.callbacks import records
from engine.callbacks.fetch import Fetcher
from engine.callbacks.journal import Journal, JournalError
from engine.callbacks.service import CallbackService, StoreError
from engine.calls.admission import Source, TrunkAddress, TrunkBook
from engine.calls.allowance import Allowance
from engine.calls.conference import Conferences
from engine.calls.conversation import Side
from engine.calls.directory import AccountTrunk, Directory, load_directory, read_directory
from engine.calls.flowbook import FlowBook, FlowError
from engine.calls.household import Outside
from engine.calls.identity import Caller
from engine.calls.media import MediaError, MediaPool
from engine.calls.origination import Originator
from engine.calls.outbound import OutgoingCall, Wish
from engine.calls.parking import Lots
from engine.calls.peer import Destination, Peer
from engine.calls.prompts import PromptMaker, PromptTrimmer
from engine.calls.recogniser import RecogniserError, Recognisers
from engine.calls.recovery import Recovery
from engine.calls.routes import Routes
from engine.calls.services import flow_fetcher
from engine.calls.spending import DAY, Spending
from engine.calls.supervisor import CallPlan, Limits, Supervisor
from engine.calls.switch import Switch
from engine.calls.trunking import OutboundTrunk
from engine.calls.voicemail.boxes import Mailboxes
from engine.calls.voicemail.service import VoicemailService, importer_of_messages, render_early
from engine.campaigns.dialler import Dialler
from engine.campaigns.limits import queue_limits
from engine.campaigns.settling import Settler
from engine.captures.shelf import CaptureShelf
from engine.config import Config, ConfigError
from engine.lag import LagMonitor, Lags
from engine.log import get_logger
from engine.loop import about_loop, settle_garbage
from engine.security import OPEN, read_certificates
from engine.sip import events
from engine.sip.client import OutgoingSession
from engine.sip.dialog_info import DialogState
from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.replaces import Replaces
from engine.sip.session import Session
from engine.store.accounts import DEFAULT_ACCOUNT
from engine.store.retention import Retention
from engine.transport import SipTransport, TransportError
from engine.transport.certificates import CertificateError
from engine.trunks import Probes, Registrations, inbound_trunk, outbound_trunk
from media import files
from media.files import MediaImporter
from media.process import SERVING_NICENESS, set_niceness
from media.protocol import MAX_STREAMS
from media.tones import Tones, write_tones
from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

log = get_logger(__name__)

DRAIN_PATIENCE = 30.0
"""Seconds that running calls get after SIGTERM before they are ended."""

HEARTBEAT = 5.0
FILES_PER_CALL = 4
"""RTP, RTCP, and room for a recording and a connection."""

FILES_RESERVED = 200


class StartError(Exception):
    """The daemon cannot start; the text says what and why."""


class Daemon:
    """One Ivrea. ``await start()``, then ``await run()`` until it is told to stop."""

    def __init__(self, config: Config, reload_config: Callable[[], Config] | None = None) -> None:
        self.config = config
        self.lags = Lags()
        self._reload_config = reload_config
        self._stack = contextlib.AsyncExitStack()
        self._stop = asyncio.Event()
        self._reload_asked = asyncio.Event()
        self._reading_accounts = asyncio.Lock()
        self._stopping = False

    # --- start --------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything up, in order. Raises :class:`StartError` and leaves nothing behind."""
        try:
            await self._start()
        except (
            CertificateError,
            FlowError,
            JournalError,
            MediaError,
            RecogniserError,
            StoreError,
            SynthError,
            TransportError,
            WebServerError,
            OSError,
        ) as error:
            await self._stack.aclose()
            raise StartError(str(error)) from error
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        config = self.config
        state = Path(config.store.state)
        self.max_calls = _capacity(config)

        self.journal = Journal.open(state / "journal")
        self._stack.callback(self.journal.close)
        fetcher = Fetcher(allow_private=config.callbacks.allow_private)
        self._stack.push_async_callback(fetcher.close)
        self.callbacks = CallbackService(
            self.journal, config.store.url, config.callbacks, fetcher, most_refused=config.store.refused_mb << 20
        )
        await self.callbacks.start()
        self._stack.push_async_callback(self.callbacks.close)

        prompts = PromptStore(state / "prompts")
        self.synth = Synth(prompts)
        self._stack.push_async_callback(self.synth.close)
        await self.synth.start()
        store = self.callbacks.store
        maker = PromptMaker(prompts, self.synth, fetcher)
        shelf = MediaShelf(state / "media", store)
        self.flows = FlowBook(maker.for_flow, store, shelf)
        self.directory = await load_directory(store, self.flows, config)
        self._srtp = self.directory.srtp(config.rtp)
        self.spending = Spending()
        async with store.reading() as connection:
            self.spending.take_over(await callbook.spent_since(connection, time.time() // DAY * DAY))
        async with store.writing() as connection:
            self.first_token = await tokens.first(connection)

        self.pool = MediaPool(
            config.rtp.port_range,
            _workers(config),
            busy_limit=config.rtp.max_busy,
            late_limit_ms=config.rtp.max_late_ms,
            arguments=("--realtime",) if _may_be_realtime(config) else (),
        )
        self._stack.push_async_callback(self.pool.close)
        await self.pool.start()
        self.recognisers = Recognisers(
            vosk_model=config.speech.vosk_model,
            vosk_processes=config.speech.vosk_processes,
            max_listening=config.speech.max_listening,
            on_new=self.pool.use_recogniser,
        )
        self._stack.push_async_callback(self.recognisers.close)
        await self.recognisers.start()

        self.transport = SipTransport(
            lambda contact_host: Endpoint(
                random=random.SystemRandom(),
                user_agent="Ivrea",
                contact_host=contact_host,
                digest_algorithms=tuple(config.sip.digest),
                devices=self.directory.passwords(),
            ),
            on_event=self._on_event,
            advertise=config.sip.advertised,
            certificates=await asyncio.to_thread(read_certificates, config, self.directory.labelled()),
            name_servers=[split_host(each, 53) for each in config.sip.dns],
        )
        self._stack.push_async_callback(self.transport.close)
        captures = CaptureShelf(state / "captures", every=config.calls.capture)
        self._stack.push_async_callback(captures.close)
        self.transport.tap.ended = captures.ended
        self.transport.endpoint.notifier.group_of = self._account_of
        self._background(captures.keep_clean())
        self.registrations = Registrations(self.transport)
        self.probes = Probes(self.transport)
        self._stack.push_async_callback(self.probes.close)
        trunks = TrunkBook(self._inbound(), self.transport.locator.places)
        await trunks.resolve()
        self.peers: dict[int, Peer] = {}
        self.mailboxes = Mailboxes(self.callbacks.store, self.journal.append, Path(config.store.recordings))
        await self._take_over_mailboxes(config)
        self._background(self.mailboxes.keep_clean())
        if config.mailboxes:
            self._background(
                render_early(PromptMaker(prompts, self.synth, fetcher).for_flow(None, config.speech.voice))
            )
        tones = await self._tones(prompts)
        self.trimmer = PromptTrimmer(prompts, config.store.prompts_mb << 20, lambda: self._held_sounds(tones))
        self.switch = Switch(
            plan=self.directory.plans,
            trunks=trunks,
            devices=self.transport.endpoint.registrar,
            is_open=config.sip.open,
            max_calls=self.max_calls,
            max_lag_ms=config.calls.max_lag_ms,
            pool=self.pool,
            fetch=flow_fetcher(fetcher),
            outside=Outside(
                self._routes,
                self._invite,
                self._media_hosts,
                self._release,
                self._own,
                self.transport.tap,
                tones,
                Conferences(tones),
                Lots(tones),
                VoicemailService(
                    self.mailboxes,
                    tones,
                    await importer_of_messages(state / "voicemail"),
                    lambda account: self.directory.users.get(account, {}),
                ),
                self.transport.flows,
                self._plan_of,
                self.transport.is_ours,
                self._publish,
                self._dialog,
                config.calls.transfers_outside,
                calls=lambda account: len(self.switch.calls_of(account)),
                bring=self._bring,
                lamp=self._lamp,
            ),
            limits_for=self._limits_for,
            append=self._append,
            backlog=lambda: self.journal.backlog,
            pump=self.transport.pump,
            account_of=self._account_of,
        )
        self._background(trunks.keep_resolving())
        self._background(
            Retention(
                store,
                Path(config.store.recordings),
                calls=config.store.keep_calls_days * DAY,
                recordings=config.store.keep_recordings_days * DAY,
            ).run()
        )
        self._background(self._heartbeat())

        self._background(self.trimmer.run())
        self.recovery = Recovery(self.journal.append, self._say_bye)
        app = make_app(self)
        self.web = WebServer(app, config.http)
        originator = Originator(self.switch, self.flows, lambda: self.directory)
        self.dialler = Dialler(
            store,
            originator,
            lambda lane: queue_limits(self.directory, config.queue, lane),
            flush=self.callbacks.flush,
            is_live=self.switch.calls.__contains__,
            is_open=lambda: not self.switch.draining,
        )
        settler = Settler(self.dialler.ended)
        self.callbacks.announcements.add(settler, settler.committed)
        mount_all(
            app,
            ApiServices(
                config=config,
                callbacks=self.callbacks,
                switch=self.switch,
                originator=originator,
                flows=self.flows,
                shelf=shelf,
                captures=captures,
                tap=self.transport.tap,
                fetcher=fetcher,
                directory=lambda: self.directory,
                changed=self.accounts_changed,
                public_url=lambda: self.web.url,
                background=self._background,
                dialler=self.dialler,
            ),
        )
        self.callbacks.begin()  # once everybody who announces is there
        await self.web.start()
        self._stack.push_async_callback(self.web.close)
        await self.transport.listen(config.sip.listen)
        await self.recovery.begin(self.journal.unfinished_calls())
        labelled = self.directory.labelled()
        self.registrations.replace(labelled, self.directory.lines())
        self.probes.replace(labelled)
        self._background(self.dialler.run())
        settle_garbage()
        set_niceness(os.getpid(), SERVING_NICENESS)
        monitor = LagMonitor(self.lags, self._each_second)
        self._stack.callback(monitor.close)
        for what, choice in self.choices():
            log.info("chosen", what=what, choice=choice)

    async def _take_over_mailboxes(self, config: Config) -> None:
        try:
            await self.mailboxes.take_over(config.mailboxes)
        except SQLAlchemyError as error:
            raise StoreError(f"mailboxes: {type(error).__name__}: {error}") from error

    async def _tones(self, prompts: PromptStore) -> Tones:
        """Our own sounds, and the music that is configured. Raises :class:`StartError`."""
        tones = await asyncio.to_thread(write_tones, Path(self.config.store.state) / "tones")
        if not self.config.calls.music:
            return tones
        try:
            return tones._replace(music=await MediaImporter(prompts).add(Path(self.config.calls.music)))
        except files.MediaError as error:
            raise StartError(f"calls.music: {error}") from error

    def _held_sounds(self, tones: Tones) -> set[Path]:
        """Files that are played without being asked for again: of flows, of calls that live, and the music."""
        held = {path for plan in self.directory.plans.every() for path in plan.prompts.values()}
        held |= {path for call in self.switch.calls.values() for path in call.call.sounds}
        return held | self.flows.sounds() | {tones.music}

    def _background(self, work: Any) -> None:
        self._stack.push_async_callback(tasks.end, [asyncio.create_task(work)])

    def _each_second(self) -> None:
        self.switch.each_second(self.lags.last_second())

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self.journal.heartbeat()

    # --- the life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM or SIGINT: drain, then stop. SIGHUP reloads flows and numbers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)
        log.info(
            "ivrea is up",
            sip=[str(address) for address in self.transport.addresses],
            web=self.web.url,
            numbers=len(self.config.numbers),
            max_calls=self.max_calls,
        )
        self._background(self._reload_when_asked())
        try:
            await self._stop.wait()
            await self.stop(patience=DRAIN_PATIENCE)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _asked_to_stop(self) -> None:
        if self._stopping:  # asked a second time: no more patience
            for call in list(self.switch.calls.values()):
                call.call.end("limit", "the server is shutting down")
        self._stopping = True
        self._stop.set()

    async def stop(self, patience: float) -> None:
        """Refuse new calls, let those that run end, end the rest after ``patience`` seconds, leave."""
        self.switch.draining = True
        self.transport.endpoint.available = False
        self.transport.endpoint.notifier.close(asyncio.get_running_loop().time())
        await self.probes.close()
        await self.registrations.unregister()
        await self.switch.drain(patience)
        await self.transport.settle()
        await self._stack.aclose()
        log.info("ivrea is down")

    async def _reload_when_asked(self) -> None:
        """One reload after the other; several wishes during one make one more."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            if not self._stopping:
                await self.reload()

    async def reload(self) -> None:
        """Read configuration and flows again; on any error everything stays as it was. Running calls keep theirs."""
        try:
            config = self._reload_config() if self._reload_config is not None else self.config
            async with self._reading_accounts:
                free = self.config.accounts
                directory = await load_directory(self.callbacks.store, self.flows, config, self.directory, free)
            certificates = await asyncio.to_thread(read_certificates, config, directory.labelled())
            await self._take_over_mailboxes(config)
        except (CertificateError, ConfigError, FlowError, StoreError) as error:
            log.error("reload_failed", error=str(error))
            return
        except Exception:
            log.exception("reload_failed")
            return
        self._use(directory)
        self.transport.streams.certificates = certificates
        log.info("reloaded", numbers=len(config.numbers))

    async def accounts_changed(self) -> None:
        """What accounts have was changed in the database: calls that come from now on find it so.

        Raises SQLAlchemy's errors; everything stays as it was then.
        """
        async with self._reading_accounts:
            free = self.config.accounts
            directory = await read_directory(self.callbacks.store, self.flows, self.directory, free)
            try:
                self.transport.streams.certificates = await asyncio.to_thread(
                    read_certificates, self.config, directory.labelled()
                )
            except CertificateError as error:  # of the file: those that were read before stay
                log.error("certificates_not_read", error=str(error))
            self._use(directory)

    def _use(self, directory: Directory) -> None:
        self.directory = directory
        self._srtp = directory.srtp(self.config.rtp)
        self.switch.plan = directory.plans
        self.switch.trunks.replace(self._inbound())
        self.registrations.replace(directory.labelled(), directory.lines())
        self.probes.replace(directory.labelled())
        self.transport.endpoint.registrar.replace_devices(directory.passwords(), asyncio.get_running_loop().time())
        self.transport.pump()

    # --- what SIP says ------------------------------------------------------------------

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.RegistrationChanged():
                self.registrations.changed(event)
            case events.ByeFinished(call_id=call_id, status=status):
                self.recovery.bye_finished(call_id, status)
            case events.DeviceChanged(name=name, contact=contact):
                log.info("device_registered" if contact else "device_gone", device=name, contact=contact)
            case events.OptionsAnswered():
                self.probes.answered(event)
            case events.SubscriptionChanged():
                pass
            case _ if (peer := self.peers.get(event.session.id)) is not None:
                if isinstance(event, events.Ended):
                    del self.peers[event.session.id]
                peer.take(event)
            case _:
                self.switch.take(event)

    def _say_bye(self, dialog: dict[str, Any]) -> bool:
        return self.transport.resume_bye(dialog, "the server was restarted")

    def _limits_for(self, session: Session | None, source: Source | None) -> Limits:
        """Limits of a call, and what its media has: the addresses that its signalling came over, or as configured.

        Without a session there are none yet: the call is going out.
        """
        bind, told = self._media_hosts(session.flow) if session is not None else ("", "")
        security, policies = OPEN, self._srtp
        if session is not None and source is not None:
            security = policies.allowed(policies.of_source(source.kind, source.name), session.flow)
        return Limits(
            max_duration=self.config.calls.max_duration,
            rtp_timeout=self.config.rtp.timeout,
            settle=self.config.calls.settle_ms / 1000,
            bind_host=bind,
            media_host=told,
            codecs=tuple(self.config.rtp.codecs),
            security=security,
        )

    def _media_hosts(self, flow: Flow) -> tuple[str, str]:
        """For media with the peer of ``flow``: the address to bind ports on, and the one to tell."""
        local = self.transport.local_host(flow)
        bind = local
        if self.config.rtp.advertise:
            bind = "::" if ":" in local else "0.0.0.0"  # noqa: S104 - NAT: any address may be the one
        return bind, self.config.rtp.advertise or local

    def _routes(self, account: str) -> Routes:
        registrar = self.transport.endpoint.registrar
        routes = self.directory.routes(account, registrar, self.transport.contact_host, self._outbound, self._srtp)
        if (owner := self.directory.accounts.get(account)) is not None:
            routes.allowance = Allowance(owner, lambda: self.spending.today(account))
        return routes

    def _append(self, record: records.Record) -> None:
        self.journal.append(record)
        self.spending.watch(record)

    def _outbound(self, trunk: AccountTrunk) -> OutboundTrunk:
        down = trunk.label in self.probes.down
        route, registered = self.registrations.service_route(trunk.label), not self.registrations.failed(trunk.label)
        return outbound_trunk(trunk, route, down=down, registered=registered)

    def _inbound(self) -> Iterator[TrunkAddress]:
        """Those of the operator first: of trunks of which nothing tells them apart they have the call."""
        found = [each for each in self.directory.trunks if each.config.inbound != "none"]
        return (inbound_trunk(each) for each in sorted(found, key=lambda each: each.account != DEFAULT_ACCOUNT))

    def _publish(self, account: str, entity: str, state: str) -> None:
        """A state that a flow of the account sets for those of its devices who watch ``entity`` (RFC 4235)."""
        states: dict[str, DialogState] = {"idle": "terminated", "ringing": "early", "busy": "confirmed"}
        now = asyncio.get_running_loop().time()
        self.transport.endpoint.notifier.publish(entity, states[state], now, group=account, dialog="manual")
        self.transport.pump()

    def _lamp(self, peer: Peer, state: DialogState) -> None:
        """A telephone that was called rings, talks or is free again: told to those of its account who watch its user,
        an extension of that user, or the telephone itself, with the dialog as the telephone has it.
        """
        device, session = peer.destination.device, peer.session
        if not device or session is None or state == (peer.lamp or "terminated"):
            return
        peer.lamp = state
        ids = {"call_id": session.call_id, "remote_tag": session.local_tag}
        if session.has_dialog:
            ids["local_tag"] = session.dialog.remote_tag
        now = asyncio.get_running_loop().time()
        for entity in (device, *self.directory.names.get(device, ())):
            self.transport.endpoint.notifier.publish(
                entity,
                state,
                now,
                group=self._account_of(device),
                dialog=session.call_id,
                direction="recipient" if session.role == "uac" else "initiator",
                remote=str(peer.destination.caller.uri) if session.role == "uac" else "",
                **ids,
            )
        self.transport.pump()

    def _bring(self, to: str, caller: Caller, plan: CallPlan, source: str) -> OutgoingCall:
        return self.switch.originate(Wish(to, caller=caller, source=source), plan)

    def _invite(self, destination: Destination, body: bytes, peer: Peer) -> OutgoingSession:
        session = self.transport.endpoint.invite(
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
        )
        self.peers[session.id] = peer
        self.transport.tap.watch(session.call_id)
        return session

    def _account_of(self, device: str) -> str:
        return self.directory.account_of(device)

    def _dialog(self, replaces: Replaces, account: str) -> tuple[Supervisor, Side] | None:
        session = self.transport.endpoint.session_of(replaces)
        return self.switch.owner_of(session, account) if session is not None else None

    def _plan_of(self, number: str, account: str) -> CallPlan | None:
        return self.directory.plans.own(number, account)

    def _own(self, session: int, peer: Peer) -> None:
        self.peers[session] = peer

    def _release(self, session: int) -> None:
        self.peers.pop(session, None)

    # --- what people ask ----------------------------------------------------------------

    @property
    def sip_port(self) -> int:
        """The first port that SIP is heard on."""
        return self.transport.addresses[0].port

    def welcome(self) -> list[str]:
        """What a person wants to know when the daemon is up: where, and how to try it."""
        lines = [
            f"SIP   {', '.join(str(address) for address in self.transport.addresses)}",
            f"Web   {self.web.url}/healthz",
        ]
        if self.first_token:
            lines += [f"Token {self.first_token} for the API; it is shown this once (ivrea token makes another)"]
        number = next((each.number for each in self.config.numbers if not each.number.endswith("*")), None)
        if number is not None:
            host, port = self.transport.addresses[0].host, self.sip_port
            host = "127.0.0.1" if is_wildcard(host) else bracketed(host)
            where = f"sip:{number}@{host}" + (f":{port}" if port != 5060 else "")
            lines += [
                f"Call  {where} with any softphone, or from another shell:",
                f'      {_command()} dial {where} --script "say yes"',
            ]
        return lines

    def choices(self) -> Iterator[tuple[str, str]]:
        """What was chosen at the start, and what the choice is: a line each."""
        rtp = self.config.rtp
        yield "loop", f"{about_loop()}, niceness {os.getpriority(os.PRIO_PROCESS, 0)}"
        yield "speech", self.synth.unavailable_reason or self.synth.about
        yield "words", self.recognisers.about
        for worker in self.pool.workers:
            yield f"media worker {worker.name}", worker.about
        of_worker = f"{rtp.max_busy:.0%} of a core and {rtp.max_late_ms:g} ms late"
        of_this = f"{self.config.calls.max_lag_ms:g} ms late"
        yield "limits", f"{self.max_calls} calls; each media worker {of_worker}; control process {of_this}"

    def about(self) -> str:
        """What was chosen at the start, in a line."""
        return "; ".join(f"{what}: {choice}" for what, choice in self.choices())

    def health(self) -> dict[str, Any]:
        """For ``/healthz``."""
        workers = sum(worker.ready.is_set() for worker in self.pool.workers)
        whole = workers == len(self.pool.workers) and not self.journal.backlog
        status = "draining" if self.switch.draining else "ok" if whole else "degraded"
        p50, p99, worst = self.lags.percentiles()
        return {
            "status": status,
            "calls": len(self.switch.calls),
            "loop_lag_ms": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(worst, 2)},
            "workers": workers,
            "journal_backlog": self.journal.backlog,
            "import_conflicts": len(self.directory.conflicts),
            **self.callbacks.health(),
        }

    def gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what goes up and down."""
        yield "ivrea_calls", "Calls on this process now.", {}, len(self.switch.calls)
        yield "ivrea_tasks", "Tasks on the control process's loop now.", {}, len(asyncio.all_tasks())
        for what, number in self.transport.endpoint.held().items():
            yield "ivrea_sip_held", "What the SIP core remembers now.", {"what": what}, number
        conflicts = len(self.directory.conflicts)
        yield "ivrea_import_conflicts", "Rows of the configuration file that are not served.", {}, conflicts
        yield "ivrea_journal_backlog", "Records that the disk has not taken.", {}, self.journal.backlog
        for quantile, value in _quantiles(*self.lags.percentiles()):
            yield (
                "ivrea_loop_lag_ms",
                "Lateness of the control process's loop over the last minute; quantile 1 is the worst.",
                {"quantile": quantile},
                value,
            )
        yield "ivrea_prompts_bytes", "Rendered prompts on disk, as last looked at.", {}, self.trimmer.octets
        yield "ivrea_http_connections", "Connections to the web server now.", {}, self.web.connections
        used, down = self.switch.channels.used, self.probes.down
        for each in self.directory.trunks:
            yield "ivrea_trunk_channels", "Calls on the trunk now.", {"trunk": each.label}, used.get(each.label, 0)
            if each.config.probe:
                up = float(each.label not in down)
                yield "ivrea_trunk_up", "1 when the trunk answers OPTIONS.", {"trunk": each.label}, up
        for worker in self.pool.workers:
            labels = {"worker": worker.name}
            yield "ivrea_media_worker_up", "1 when the worker is ready.", labels, float(worker.ready.is_set())
            if worker.load is not None:
                load = worker.load
                yield "ivrea_media_streams", "Streams open.", labels, load.streams
                yield "ivrea_media_busy", "Share of a core that the worker used in the last second.", labels, load.busy
                for quantile, value in _quantiles(load.late_ms_p50, load.late_ms_p99, load.late_ms_max):
                    yield (
                        "ivrea_media_lateness_ms",
                        "Lateness of the tick over the last second; quantile 1 is the worst.",
                        {**labels, "quantile": quantile},
                        value,
                    )
        yield from self.callbacks.gauges()

    def counts(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what only grows."""
        counters = self.switch.counters
        yield "ivrea_calls_offered", "INVITEs that reached the switch.", {}, counters.offered
        for why, number in counters.refused.items():
            yield "ivrea_calls_refused", "Calls refused, by reason.", {"reason": why}, number
        for why, number in self.web.refused.items():
            about = "Connections that the web server did not take or had no more patience with, by reason."
            yield "ivrea_http_refused", about, {"reason": why}, number
        for by, number in counters.ended.items():
            yield "ivrea_calls_ended", "Calls ended, by whom.", {"by": by}, number
        for name, number in self.transport.counts():
            yield "ivrea_sip", "SIP traffic.", {"what": name}, number
        for worker in self.pool.workers:
            labels = {"worker": worker.name}
            yield "ivrea_media_worker_restarts", "Times that the worker died.", labels, worker.restarts
            if worker.load is not None:
                yield "ivrea_media_kernel_drops", "Packets dropped by the kernel.", labels, worker.load.kernel_drops
                yield "ivrea_media_ring_drops", "Recording blocks lost.", labels, worker.load.ring_drops
                yield "ivrea_words_not_heard", "Utterances nobody had time for.", labels, worker.load.not_listening
        for number, process in enumerate(self.recognisers.processes):
            labels = {"recogniser": str(number)}
            yield "ivrea_recogniser_restarts", "Times that the recogniser died.", labels, process.restarts
            for outcome, count in process.outcomes():
                what = {**labels, "outcome": outcome}
                yield "ivrea_utterances", "Utterances that came to the recogniser.", what, count
        yield from self.callbacks.counts()

    def histograms(self) -> Iterable[tuple[str, str, list[tuple[str, float]], float]]:
        """For ``/metrics``: how ended calls sounded."""
        return self.switch.counters.quality.samples()


def _quantiles(median: float, high: float, worst: float) -> tuple[tuple[str, float], ...]:
    """Values with the labels that Prometheus gives to quantiles."""
    return ("0.5", median), ("0.99", high), ("1", worst)


def _command() -> str:
    """How the person who started us would start us again."""
    command = os.path.relpath(sys.argv[0])
    return sys.argv[0] if command.startswith("..") else command


def _capacity(config: Config) -> int:
    """Calls that fit into the port range and the file descriptors, whose limit is raised first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with contextlib.suppress(ValueError, OSError):
            wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1_048_576)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = config.rtp.port_range
    by_ports = (high + 1 - low) // 2
    by_files = _workers(config) * max((soft - FILES_RESERVED) // FILES_PER_CALL, 1)
    return max(1, min(by_ports, by_files, _workers(config) * MAX_STREAMS))


def _workers(config: Config) -> int:
    """No more workers than there are port pairs."""
    low, high = config.rtp.port_range
    return min(config.rtp.worker_count, max((high + 1 - low - low % 2) // 2, 1))


def _may_be_realtime(config: Config) -> bool:
    """Whether real-time workers, however busy, leave a core to this process."""
    return config.rtp.realtime and _workers(config) < len(os.sched_getaffinity(0))
