"""The daemon: everything put together, started in order, and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from engine import tasks
from engine.accounts import callbook, tokens
from engine.accounts.media import MediaShelf
from engine.addresses import split_host
from engine.api.mounts import mount_all
from engine.api.ops import make_app
from engine.api.server import WebServer, WebServerError
from engine.api.services import ApiServices
from engine.callbacks import records
from engine.callbacks.fetch import Fetcher
from engine.callbacks.journal import Journal, JournalError
from engine.callbacks.service import CallbackService, StoreError
from engine.callbacks.trust import Trust
from engine.calls.admission import TrunkBook
from engine.calls.directory import Directory, load_directory, read_directory
from engine.calls.flowbook import FlowBook, FlowError
from engine.calls.media import MediaError, MediaPool
from engine.calls.origination import Originator
from engine.calls.prompts import PromptMaker, PromptTrimmer
from engine.calls.recogniser import RecogniserError, Recognisers
from engine.calls.recovery import Recovery
from engine.calls.services import flow_fetcher
from engine.calls.spending import DAY, Spending
from engine.calls.switch import Switch
from engine.calls.voicemail.boxes import Mailboxes
from engine.calls.voicemail.service import VoicemailService, importer_of_messages, render_early
from engine.campaigns.dialler import Dialler
from engine.campaigns.limits import queue_limits
from engine.campaigns.settling import Settler
from engine.captures.shelf import CaptureShelf
from engine.config import Config, ConfigError
from engine.log import get_logger
from engine.loop import settle_garbage
from engine.security import read_certificates
from engine.serving.capacity import may_be_realtime, media_workers, most_calls
from engine.serving.figures import Figures
from engine.serving.lag import LagMonitor, Lags
from engine.serving.memory import share_heap
from engine.serving.trunks import Probes, Registrations
from engine.serving.welcome import choices
from engine.serving.wiring import Wiring
from engine.sip import events
from engine.sip.endpoint import Endpoint
from engine.store.retention import Retention
from engine.transport import SipTransport, TransportError
from engine.transport.certificates import CertificateError
from media import files
from media.files import MediaImporter
from media.process import SERVING_NICENESS, set_niceness
from media.tones import Tones, write_tones
from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

log = get_logger(__name__)

DRAIN_PATIENCE = 30.0
"""Seconds that running calls get after SIGTERM before they are ended."""

HEARTBEAT = 5.0


class StartError(Exception):
    """The daemon cannot start; the text says what and why."""


class Daemon:
    """One Ivrea. ``await start()``, then ``await run()`` until it is told to stop."""

    def __init__(self, config: Config, reload_config: Callable[[], Config] | None = None) -> None:
        self.config = config
        self.lags = Lags()
        self.wiring = Wiring(self)
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
        share_heap()
        config = self.config
        state = Path(config.store.state)
        self.max_calls = most_calls(config)

        self.journal = Journal.open(state / "journal")
        self._stack.callback(self.journal.close)
        trust = Trust(config.callbacks.certificates)
        fetcher = Fetcher(allow_private=config.callbacks.allow_private, trust=trust)
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
        self.srtp = self.directory.srtp(config.rtp)
        self.spending = Spending()
        async with store.reading() as connection:
            self.spending.take_over(await callbook.spent_since(connection, time.time() // DAY * DAY))
        async with store.writing() as connection:
            self.first_token = await tokens.first(connection)

        self.pool = MediaPool(
            config.rtp.port_range,
            media_workers(config),
            busy_limit=config.rtp.max_busy,
            late_limit_ms=config.rtp.max_late_ms,
            arguments=("--realtime",) if may_be_realtime(config) else (),
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
                keep_alive=config.sip.keep_alive,
            ),
            on_event=self._on_event,
            advertise=config.sip.advertised,
            certificates=await asyncio.to_thread(read_certificates, config, self.directory.labelled()),
            name_servers=[split_host(each, 53) for each in config.sip.dns],
        )
        self._stack.push_async_callback(self.transport.close)
        captures = CaptureShelf(
            state / "captures",
            every=config.calls.capture,
            media=config.calls.capture_media,
            most_media=config.calls.capture_media_mib << 20,
        )
        captures.media.streams = self.pool.streams_of
        for worker in self.pool.workers:
            worker.on_captured = captures.media.done
        self._stack.push_async_callback(captures.close)
        self.transport.tap.ended = captures.ended
        self.transport.endpoint.notifier.group_of = self.wiring.account_of
        self._background(captures.keep_clean())
        self.registrations = Registrations(self.transport, keep_alive=config.sip.keep_alive)
        self.probes = Probes(self.transport)
        self._stack.push_async_callback(self.probes.close)
        trunks = TrunkBook(self.wiring.inbound(), self.transport.locator.places)
        await trunks.resolve()
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
            outside=self.wiring.outside(
                tones,
                VoicemailService(
                    self.mailboxes,
                    tones,
                    await importer_of_messages(state / "voicemail"),
                    lambda account: self.directory.users.get(account, {}),
                ),
                captures.media,
            ),
            limits_for=self.wiring.limits_for,
            append=self._append,
            backlog=lambda: self.journal.backlog,
            pump=self.transport.pump,
            account_of=self.wiring.account_of,
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
        app = make_app(Figures(self))
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
        for what, choice in choices(self):
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
        self.srtp = directory.srtp(self.config.rtp)
        self.switch.plan = directory.plans
        self.switch.trunks.replace(self.wiring.inbound())
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
            case _ if (peer := self.wiring.peers.get(event.session.id)) is not None:
                if isinstance(event, events.Ended):
                    del self.wiring.peers[event.session.id]
                peer.take(event)
            case _:
                self.switch.take(event)

    def _say_bye(self, dialog: dict[str, Any]) -> bool:
        return self.transport.resume_bye(dialog, "the server was restarted")

    def _append(self, record: records.Record) -> None:
        self.journal.append(record)
        self.spending.watch(record)

    # --- what people ask ----------------------------------------------------------------

    @property
    def sip_port(self) -> int:
        """The first port that SIP is heard on."""
        return self.transport.addresses[0].port
