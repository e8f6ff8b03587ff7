"""The test caller behind ``ivrea dial`` and ``ivrea doctor``: one call over SIP and RTP, by a script.

It calls from free ports, speaks with the same voices as the daemon, presses keys by any of the
three methods, and says what it heard: when the far end spoke, for how long and how loud.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from engine.addresses import bracketed
from engine.calls.media import MediaError, MediaPool, Stream, StreamReport
from engine.commands.callreport import CallReport
from engine.log import get_logger
from engine.sip import events, offer_answer, sdp
from engine.sip.client import OutgoingSession
from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.session import Session
from engine.sip.uri import Address, Uri
from engine.transport import SipTransport, TransportError
from engine.transport.net import address_towards
from flows.script import Hangup, Press, Say, Statement, Wait
from media import commands, reports
from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

log = get_logger(__name__)

PAUSE_AFTER_SPEECH = 0.7
"""Seconds of far-end silence, after it spoke, before the next statement (docs/flows.md, "Scripts")."""

TURN_PATIENCE = 15.0
"""Seconds after which a statement is made even though the far end never spoke."""

KEY_ON_MS = KEY_OFF_MS = 100

KeyMethod = Literal["rfc4733", "inband", "info"]


class _CallOver(Exception):
    """The call has ended while something was waited for."""


class CallerError(Exception):
    """The call cannot even be tried; the text says why."""


class TestCaller:
    """One call. Make it, ``await run()``, read the report."""

    __test__ = False  # not a test class

    def __init__(
        self,
        target: str,
        script: Sequence[Statement],
        *,
        dtmf: KeyMethod = "rfc4733",
        record: Path | None = None,
        voice: str = "en",
        longest: float = 600.0,
        prompts: Path | None = None,
        caller: str = "ivrea",
    ) -> None:
        try:
            self._uri = Uri.parse(target if ":" in target else f"sip:{target}")
        except ValueError as error:
            raise CallerError(f"{target!r} is not a SIP URI: {error}") from None
        if self._uri.scheme != "sip" or not self._uri.host:
            raise CallerError(f"{target!r}: only sip: URIs can be called")
        self.report = CallReport()
        self._script = script
        self._to_send = sum(not isinstance(statement, Wait) for statement in script)
        self._dtmf = dtmf
        self._record = record
        self._voice = voice
        self._longest = longest
        self._prompts = prompts
        self._caller = caller
        self._session: OutgoingSession | None = None
        self._stream: Stream | None = None
        self._offer: sdp.SessionDescription | None = None
        self._transport: SipTransport | None = None
        self._answered_at: float | None = None
        self._event_type = -1
        self._changed = asyncio.Event()
        self._ended = False
        self._speaking = False
        self._spoke = False
        self._quiet_since = 0.0
        self._playing = 0
        self._recorded = asyncio.Event()

    async def run(self) -> CallReport:
        """Make the call. Raises :class:`CallerError` when it cannot be tried at all."""
        try:
            return await self._run()
        except (MediaError, SynthError, TransportError) as error:
            raise CallerError(str(error)) from error

    async def _run(self) -> CallReport:
        async with contextlib.AsyncExitStack() as stack:
            says = [statement.text for statement in self._script if isinstance(statement, Say)]
            files = await self._synthesise(stack, says)
            host, port = await self._resolve()
            local = address_towards(host, port)
            pool = MediaPool(_free_range(), 1)
            stack.push_async_callback(pool.close)
            await pool.start()
            self._stream = await pool.open(local, self._on_report, self._on_lost)
            transport = await self._start_transport(local)
            stack.push_async_callback(transport.close)
            self._invite(transport, local, (host, port))
            await self._call(files)
            stats = await self._stream.close()
            self.report.lost, self.report.jitter_ms = stats.lost, stats.jitter_ms
        return self.report

    async def _synthesise(self, stack: contextlib.AsyncExitStack, says: Sequence[str]) -> Mapping[str, Path]:
        if not says:
            return {}
        folder = self._prompts or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivrea-caller-")))
        synth = Synth(PromptStore(folder))
        if synth.unavailable_reason:
            raise CallerError(f"`say` needs speech synthesis: {synth.unavailable_reason}")
        stack.push_async_callback(synth.close)
        await synth.start()
        return {text: await synth.render(text, voice=self._voice) for text in says}

    async def _resolve(self) -> tuple[str, int]:
        port = self._uri.port or 5060
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._uri.host.strip("[]"), port)
        except OSError as error:
            raise CallerError(f"{self._uri.host}: {error.strerror or error}") from None
        addresses = [str(info[4][0]) for info in found]
        return min(addresses, key=lambda address: ":" in address), port  # IPv4 first: `localhost` is both

    async def _start_transport(self, local: str) -> SipTransport:
        kind = (self._uri.transport or "udp").lower()
        if kind not in ("udp", "tcp"):
            raise CallerError(f"transport {kind!r} is not supported")
        transport = SipTransport(
            lambda contact: Endpoint(random=random.SystemRandom(), user_agent="Ivrea-dial", contact_host=contact),
            on_event=self._on_event,
        )
        host = bracketed(local)
        await transport.listen([f"udp:{host}:0"] if kind == "udp" else [f"udp:{host}:0", f"tcp:{host}:0"])
        self._transport = transport
        return transport

    def _invite(self, transport: SipTransport, local: str, remote: tuple[str, int]) -> None:
        assert self._stream is not None
        media = offer_answer.LocalMedia(
            host=local,
            port=self._stream.port,
            session_id=time.time_ns() // 1000,
            event_type=101 if self._dtmf == "rfc4733" else -1,
        )
        self._offer = offer_answer.make_offer(media)
        us = Address.parse(f"<sip:{self._caller}@{bracketed(local)}>")
        self._session = transport.endpoint.invite(
            str(self._uri),
            from_=us,
            to=Address(self._uri),
            sdp=self._offer.encode(),
            flow=Flow((self._uri.transport or "udp").lower(), (local, 0), remote),
            now=asyncio.get_running_loop().time(),
        )
        transport.pump()

    # --- the call -----------------------------------------------------------------------

    async def _call(self, files: Mapping[str, Path]) -> None:
        talking: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._longest):
                await self._until(lambda: self._answered_at is not None)
                talking = asyncio.create_task(self._talk(files))
                await self._until(lambda: False)
        except _CallOver:
            pass
        except TimeoutError:
            self.report.end = {"by": "limit", "reason": f"still up after {self._longest:g} s"}
        finally:
            if talking is not None:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
            self.report.finished = self._answered_at is not None and len(self.report.sent) == self._to_send
            self._hang_up("")
            if self._answered_at is not None:
                self.report.duration = (self.report.duration or self._now()) - self._answered_at
            await self._finish_recording()

    async def _talk(self, files: Mapping[str, Path]) -> None:
        """Make the statements. Each counts as made from the moment in which it begins."""
        for statement in self._script:
            match statement:
                case Wait(seconds=seconds):
                    await self._sleep(seconds)
                case Hangup():
                    self._sent("hangup", "")
                    self._over("caller", "the script hung up")
                    self._hang_up("")
                case Say(text=text, now=now):
                    if not now:
                        await self._their_turn_is_over()
                    self._sent("words", text)
                    await self._play(files[text])
                case Press(keys=keys, now=now):
                    if not now:
                        await self._their_turn_is_over()
                    self._sent("key", keys)
                    await self._press(keys)

    async def _their_turn_is_over(self) -> None:
        """Until the far end has spoken since the last statement and is silent, or for as long as patience lasts."""
        until = self._now() + TURN_PATIENCE
        while self._now() < until:
            if self._spoke and not self._speaking:
                over = self._quiet_since + PAUSE_AFTER_SPEECH
                if self._now() >= over:
                    break
                await self._something_until(min(over, until))
            else:
                await self._something_until(until)

    async def _play(self, file: Path) -> None:
        assert self._stream is not None
        self._playing = self._stream.play([file])
        await self._until(lambda: not self._playing)

    async def _press(self, keys: str) -> None:
        assert self._stream is not None
        assert self._session is not None
        each = (KEY_ON_MS + KEY_OFF_MS) / 1000
        method = self._dtmf if self._dtmf != "rfc4733" or self._event_type >= 0 else "inband"
        if method == "info":
            for key in keys:
                body = f"Signal={key}\r\nDuration={KEY_ON_MS}\r\n".encode()
                self._session.info("application/dtmf-relay", body, self._now())
                self._pump()
                await self._sleep(each)
            return
        self._stream.send(commands.SendDigits(self._stream.number, keys, method, KEY_ON_MS, KEY_OFF_MS))
        await self._sleep(each * len(keys))

    def _hang_up(self, reason: str) -> None:
        if self._session is not None and not self._session.ended:
            self._session.terminate(self._now(), reason)
            self._pump()

    async def _finish_recording(self) -> None:
        if self._record is not None and self._stream is not None and self._answered_at is not None:
            self._stream.send(commands.StopRecord(self._stream.number, 0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3.0):
                    await self._recorded.wait()

    # --- what happens -------------------------------------------------------------------

    def _on_event(self, event: events.Event) -> None:
        if self._session is None or getattr(event, "session", None) is not self._session:
            return
        match event:
            case events.Answered(sdp=body):
                self._answered(body)
            case events.Refused(status=status, reason=reason):
                self.report.status, self.report.reason = status, reason
                self._over("far end", f"refused: {status} {reason}")
            case events.Reoffered(session=session, sdp=body):
                self._reoffered(session, body)
            case events.Ended(by=by, status=status, reason=reason):
                if self._answered_at is None:
                    self.report.status = self.report.status or status
                self._over("far end" if by == "remote" else by, reason or "hung up")
            case _:
                pass
        self._changed.set()

    def _answered(self, body: bytes | None) -> None:
        assert self._offer is not None
        if self._answered_at is not None:
            return
        self.report.status, self.report.answered = 200, True
        try:
            agreed = offer_answer.read_answer(self._offer, sdp.parse(body or b""))
        except (offer_answer.NotAcceptable, sdp.SdpError) as error:
            self._over("error", f"the answer cannot be used: {error}")
            self._hang_up("")
            return
        self._answered_at = self._now()
        self._direct(agreed)
        assert self._stream is not None
        self._stream.send(commands.Activity(self._stream.number, on=True))
        if self._record is not None:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._stream.send(commands.Record(self._stream.number, 0, str(self._record.absolute())))

    def _direct(self, agreed: offer_answer.Agreed) -> None:
        assert self._stream is not None
        self._event_type = agreed.event_type
        self._stream.direct(agreed)

    def _reoffered(self, session: Session, body: bytes | None) -> None:
        assert self._stream is not None
        local = offer_answer.LocalMedia(
            host=session.flow.local[0], port=self._stream.port, session_id=time.time_ns() // 1000
        )
        try:
            answer, agreed = offer_answer.make_answer(sdp.parse(body or b""), local)
        except (offer_answer.NotAcceptable, sdp.SdpError):
            session.reject_reoffer(488, self._now())
            return
        session.answer_reoffer(answer.encode(), self._now())
        self._direct(agreed)

    def _on_report(self, report: StreamReport) -> None:
        match report:
            case reports.SpeechStarted():
                self._speaking = self._spoke = True
            case reports.SpeechEnded(since=since, at=at, dbfs=dbfs):
                self._speaking, self._spoke = False, True
                self._quiet_since = at
                start = self._answered_at or 0.0
                self.report.heard.append(
                    {"from": round(since - start, 2), "to": round(at - start, 2), "dbfs": round(dbfs, 1)}
                )
            case reports.PlayEnded(play=play) if play == self._playing:
                self._playing = 0
            case reports.Recorded():
                self._recorded.set()
            case _:
                return
        self._changed.set()

    def _on_lost(self, reason: str) -> None:
        self._over("error", reason)

    def _over(self, by: str, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self.report.duration = self._now() if self._answered_at is not None else 0.0
            if not self.report.end:
                self.report.end = {"by": by, "reason": reason}
        self._changed.set()

    def _sent(self, kind: str, value: str) -> None:
        self._spoke = self._speaking  # what they said before is answered now
        self.report.sent.append(
            {"kind": kind, "value": value, "at": round(self._now() - (self._answered_at or self._now()), 2)}
        )

    # --- waiting ------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _pump(self) -> None:
        if self._transport is not None:
            self._transport.pump()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``. Raises :class:`_CallOver` if the call ends first."""
        while not condition():
            self._raise_if_over()
            self._changed.clear()
            await self._changed.wait()

    async def _sleep(self, seconds: float) -> None:
        until = self._now() + seconds
        while self._now() < until:
            await self._something_until(until)

    async def _something_until(self, deadline: float) -> None:
        """Until something happens, or the clock reads ``deadline``. Raises :class:`_CallOver`."""
        self._raise_if_over()
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        self._raise_if_over()

    def _raise_if_over(self) -> None:
        if self._ended:
            raise _CallOver


def _free_range() -> tuple[int, int]:
    """Sixteen ports above those that daemons and the kernel use; the worker skips what is taken."""
    low = random.SystemRandom().randrange(61000, 65500, 16)
    return low, low + 15
