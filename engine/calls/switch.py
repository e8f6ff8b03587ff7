"""The switch: SIP events in, calls out. It decides whether a call is taken, and hands what happens on to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from engine.addresses import plain_number
from engine.callbacks import records
from engine.calls.admission import Source, TrunkBook, likeliest
from engine.calls.capacity import Overload, Strain
from engine.calls.changing import Side, UnderWay
from engine.calls.channels import Channel, Channels
from engine.calls.handing_on import let_in, pick_up
from engine.calls.household import Outside
from engine.calls.identity import read_caller
from engine.calls.inbound import CallSupervisor, Remember
from engine.calls.line import CallLine
from engine.calls.media import MediaError, MediaOverload, MediaPool, Worker
from engine.calls.numbers import Dialplan
from engine.calls.outbound import OutgoingCall, Wish, wanted
from engine.calls.peer import Peer
from engine.calls.plans import CallPlan, Limits, Parties
from engine.calls.quality import QualityCounts
from engine.calls.services import Fetch
from engine.calls.supervisor import SHUTTING_DOWN, Supervisor
from engine.calls.taking_over import come_in
from engine.log import get_logger
from engine.sip import events
from engine.sip.message import Request
from engine.sip.registrar import Registrar
from engine.sip.server import IncomingSession
from engine.sip.session import Session
from flows.requests import LastGood

log = get_logger(__name__)

BUSY_RETRY_AFTER = 5
DRAIN_RETRY_AFTER = 30
"""Seconds that callers are asked to stay away."""


class AccountFull(MediaOverload):
    """The account has as many calls as it may have: whoever calls it finds it busy, not us overloaded."""


@dataclass(slots=True)
class SwitchCounters:
    """Counts since the start, for metrics."""

    offered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    quality: QualityCounts = field(default_factory=QualityCounts)


class Switch:
    """All calls of this process. ``plan`` may be replaced while calls run: they keep what they began with."""

    def __init__(
        self,
        *,
        plan: Dialplan[CallPlan],
        trunks: TrunkBook,
        devices: Registrar,
        is_open: bool,
        max_calls: int,
        max_lag_ms: float,
        pool: MediaPool,
        limits_for: Callable[[IncomingSession | None, Source | None], Limits],
        fetch: Fetch,
        outside: Outside,
        append: Callable[[records.Record], None],
        backlog: Callable[[], int],
        pump: Callable[[], None],
        account_of: Callable[[str], str] = lambda _device: "",
    ) -> None:
        """``limits_for`` a session, or for a call that goes out; ``account_of`` a device."""
        self.plan = plan
        self.trunks = trunks
        self.calls: dict[str, Supervisor] = {}
        """Those that live, by id."""
        self._by_session: dict[int, Supervisor] = {}
        self.draining = False
        self.remember: Remember | None = None
        """Asked what is known of those who call."""
        self.counters = SwitchCounters()
        self.lag = Strain(max_lag_ms)
        self._overload = Overload()
        self._devices = devices
        self._is_open = is_open
        self._max_calls = max_calls
        self._pool = pool
        self._limits_for = limits_for
        self._fetch = fetch
        self._outside = outside
        self._last_good = LastGood()
        self._append = append
        self._backlog = backlog
        self._pump = pump
        self._account_of = account_of
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- SIP events ---------------------------------------------------------------------

    def take(self, event: events.SessionEvent) -> None:
        """An event of the SIP endpoint that belongs to a session."""
        now = self._loop.time()
        if isinstance(event, events.Invited):
            try:
                self._invited(event.session)
            except Exception:
                log.exception("invite_failed", sip_call_id=event.session.call_id)
                event.session.reject(500, now)
            return
        call = self._by_session.get(event.session.id)
        if call is None:
            return
        self._hand_over(call, event, now)

    def _hand_over(self, call: Supervisor, event: events.SessionEvent, now: float) -> None:
        match event:
            case events.Acknowledged(sdp=body):
                call.acknowledged(body)
            case events.Reoffered(sdp=body):
                try:
                    call.reoffered(body)
                except Exception:
                    log.exception("reoffer_failed", call_id=call.id)
                    event.session.reject_reoffer(500, now)
            case events.ReofferAnswered() | events.ReofferRefused():
                call.reoffer_decided(event)
            case events.InfoReceived(content_type=content_type, body=content):
                call.info(content_type, content)
            case events.ReferProgress(status=status, reason=reason, final=final):
                call.refer_progress(status, reason, final=final)
            case events.ReferRefused(status=status, reason=reason):
                call.refer_progress(status, reason, final=True)
            case events.ReferRequested(referral=referral):
                call.referred(None, referral)
            case events.Ended():
                call.sip_ended(event)
            case _:
                pass

    def _invited(self, session: IncomingSession) -> None:
        self.counters.offered += 1
        source = self._source(session)  # first: refusals to strangers are sent once, those below until they arrive
        if source is None:
            return
        if session.replaces is not None:
            self._replace(session, session.replaces, source)
            return
        if self.draining:
            self._refuse(session, 503, "draining", retry_after=DRAIN_RETRY_AFTER)
            return
        if self._backlog():  # the disk takes nothing: what would happen on the call could be lost
            self._refuse(session, 503, "journal cannot be written", retry_after=DRAIN_RETRY_AFTER)
            return
        if not accepts_sdp(session.request):
            self._refuse(session, 406, "no session descriptions accepted")
            return
        number = source.dialled(session.request)
        plan = self.plan.find(number, source.account) if source.delivers(number) else None
        if plan is None:
            log.warning("number_not_found", number=number, source=source.name)
            self._refuse(session, 404, "number not found")
            return
        channel: Channel | None = None
        if source.trunk is not None:
            channel = self._outside.channels.take(source.name, source.trunk.channels)
            if channel is None:
                self._refuse(session, 486, "all channels of the trunk are in use")
                return
        try:
            worker = self._admit(plan)
            self._begin(session, source, number, plan, worker, channel)
            channel = None
        except AccountFull as error:
            self._refuse(session, 486, str(error))
        except MediaError as error:
            self._refuse_for_load(session, str(error))
        finally:
            if channel is not None:
                channel.release()

    def _replace(self, session: IncomingSession, replaced: Session, source: Source) -> None:
        """Who calls takes somebody's place in a call that is up, or takes a call that rings at another telephone (RFC
        3891): a telephone, in a call of its account.
        """
        name, now = source.name, self._loop.time
        security = self._limits_for(session, source).security
        if source.kind == "device":
            if (found := self.owner_of(replaced, source.account)) is not None:
                session.trying(now())
                call, side = found
                try:
                    if side == "line" and call.conversation is None:
                        come_in(call, session, name, security, now=now)
                    else:
                        let_in(call, side, session, name, name, security, now=now)
                except UnderWay:
                    self._refuse(session, 486, "replaces")
                return
            if (ringing := self._ringing(replaced, source.account)) is not None:
                session.trying(now())
                if not pick_up(*ringing, session, name, name, security, now=now):
                    self._refuse(session, 486, "replaces")
                return
        self._refuse(session, 403, "replaces")

    def owner_of(self, session: Session, account: str) -> tuple[Supervisor, Side] | None:
        """The call of ``account`` in which somebody talks by ``session``, and whether that one is on its line."""
        for call in self.calls_of(account):
            if call.session is session:
                return call, "line"
            if call.conversation is not None and call.conversation.peer.session is session:
                return call, "peer"
        return None

    def _ringing(self, session: Session, account: str) -> tuple[Supervisor, Peer] | None:
        """The call of ``account`` for which a telephone was called by ``session``, and that telephone."""
        for call in self.calls_of(account):
            peer = call.peers.rung_by(session)
            if peer is not None and peer.destination.device:
                return call, peer
        return None

    def _admit(self, plan: CallPlan) -> Worker:
        """The media worker for one more call. Raises :class:`MediaError` when those that run would suffer."""
        if len(self.calls) >= self._max_calls:
            raise MediaOverload("too many calls")
        account, most = plan.account, plan.most_calls
        if most and len(self.calls_of(account)) + self._outside.legs.used[account] >= most:
            raise AccountFull("too many calls of the account")
        if self.lag.high:
            raise MediaOverload("control process late")
        return self._pool.admit()

    def _refuse_for_load(self, session: IncomingSession, why: str) -> None:
        if self._overload.refuse(self._loop.time()):
            log.warning("overload: new calls are refused", why=why, calls=len(self.calls))
        self._refuse(session, 503, why, retry_after=BUSY_RETRY_AFTER)

    def each_second(self, lag_ms: float) -> None:
        """To be called every second with the lag of the loop in it, in milliseconds."""
        self.lag.take(lag_ms)
        now = self._loop.time()
        if self._overload.ends(now):
            seconds = round(now - self._overload.since, 1)
            log.info("overload is over", refused=self._overload.refused, seconds=seconds, calls=len(self.calls))

    def _source(self, session: IncomingSession) -> Source | None:
        """Who calls; None when the call was refused or challenged."""
        trunk = self._trunk(session)
        if trunk is not None and trunk.trunk is not None and not trunk.trunk.by_digest:
            return trunk
        device = self._device(session)
        if device is not None:
            return Source(device, "device", account=self._account_of(device))
        request = session.request
        users = (self._devices.challenger.claimed(request), request.from_.uri.user or "")
        if self._is_open and not any(self.trunks.by_user(user) for user in users):
            return Source("anyone", "anyone")
        proving = any(each.trunk is not None and each.trunk.by_digest for each in self._at(session))
        return self._authenticated(session, expected=proving)

    def _at(self, session: IncomingSession) -> tuple[Source, ...]:
        """The trunks that say that they are where the caller is."""
        return self.trunks.at(session.flow.remote[0])

    def _trunk(self, session: IncomingSession) -> Source | None:
        """The trunk at the caller's address by which the call came, of several the likeliest."""
        if not self._at(session):
            return None
        claimed = self._devices.challenger.claimed(session.request)
        found = self.trunks.bringing(session.request, session.flow.remote[0], claimed)
        if len(found) < 2:
            return found[0] if found else None

        def known(number: str, account: str) -> int:
            held = self.plan.held(number)
            if held is not None and account in ("", held.account):
                return 2
            return int(self.plan.find(number, account) is not None)

        return likeliest(found, session.request, session.flow.remote[1], claimed, known)

    def _device(self, session: IncomingSession) -> str | None:
        """The device that registered from where this call comes, if it is who the call says: several may be there,
        lines of one telephone or telephones behind one proxy. Others are asked for their password.
        """
        caller = session.request.from_.uri.user or ""
        if any(binding.source.source == session.flow.source for binding in self._devices.bindings(caller)):
            return caller
        return None

    def _authenticated(self, session: IncomingSession, *, expected: bool) -> Source | None:
        """A device that is not where it registered, or a trunk, by digest. Who is not known is challenged like who is.

        ``expected``: somebody who proves itself by digest is known to be at this address.
        """
        now = self._loop.time()
        known = expected or self._devices.password(session.request.from_.uri.user or "") is not None
        verdict = self._devices.authenticate(session.request, session.flow, now, self._password_of_trunk)
        if verdict.result == "ok":
            if self._devices.password(verdict.username) is None:
                return self.trunks.by_user(verdict.username)
            return Source(verdict.username, "device", account=self._account_of(verdict.username))
        challenges = self._devices.challenger.challenges(now, stale=verdict.result == "stale")
        headers = [("WWW-Authenticate", each) for each in challenges]
        if known and verdict.result in ("missing", "stale"):  # the first round of every honest device
            session.challenge(now, headers)
        else:
            log.warning("caller_not_authorised", host=session.flow.remote[0], verdict=verdict.result)
            self.counters.refused["not authorised"] += 1
            session.refuse_unauthorised(401, now, headers=headers)
        return None

    def _password_of_trunk(self, user: str) -> str | None:
        found = self.trunks.by_user(user)
        return found.trunk.password if found is not None and found.trunk is not None else None

    def _refuse(
        self,
        session: IncomingSession,
        status: int,
        why: str,
        *,
        retry_after: int | None = None,
    ) -> None:
        self.counters.refused[why] += 1
        headers = (("Retry-After", str(retry_after)),) if retry_after is not None else ()
        session.reject(status, self._loop.time(), headers=headers)

    def _begin(
        self,
        session: IncomingSession,
        source: Source,
        number: str,
        plan: CallPlan,
        worker: Worker,
        channel: Channel | None,
    ) -> None:
        session.trying(self._loop.time())
        trunk = source.trunk
        rules = trunk.caller_rules if trunk is not None else ()
        caller = read_caller(session.request, trusted=trunk is not None and trunk.trusted, rules=rules)
        if source.kind != "device":
            caller = replace(caller, came_from=source.kind)
        parties = Parties(
            caller=caller.seen,
            callee=number,
            source=source.name,
            refer_host=source.host or refer_host(session),
            known=caller,
            outside=source.kind != "device",
            device=source.name if source.kind == "device" else "",
        )
        call = CallSupervisor(
            session,
            parties,
            plan,
            self._limits_for(session, source),
            media=worker,
            fetch=self._fetch,
            last_good=self._last_good,
            outside=self._outside,
            append=self._append,
            pump=self._pump,
            adopt=self._adopt,
            remember=self.remember,
        )
        self._by_session[session.id] = call
        self._start(call, channel)

    def _start(self, call: Supervisor, channel: Channel | None = None) -> None:
        """``channel`` is given back when the call has ended."""
        self.calls[call.id] = call
        task = asyncio.create_task(self._run(call, channel), name=f"call {call.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: Supervisor, channel: Channel | None) -> None:
        try:
            await call.run()
        finally:
            if channel is not None:
                channel.release()
            del self.calls[call.id]
            if call.session is not None:
                self._by_session.pop(call.session.id, None)
            self.counters.ended[call.call.ending[0] if call.call.ending else "error"] += 1
            self.counters.quality.note(call.quality, call.stats)
            call.part()

    # --- calls that go out --------------------------------------------------------------

    def originate(self, wish: Wish, plan: CallPlan) -> OutgoingCall:
        """Begin a call that goes out.

        Raises :class:`~engine.calls.media.MediaError` when there is no room for it, and
        :class:`~engine.calls.allowance.NotAllowed` when the account may not call there.
        """
        self._outside.routes(plan.account).find(*wanted(wish), wish.caller)
        if self.draining:
            raise MediaOverload("draining")
        if self._backlog():
            raise MediaOverload("journal cannot be written")
        call = OutgoingCall(
            wish,
            plan,
            self._limits_for(None, None),
            media=self._admit(plan),
            fetch=self._fetch,
            last_good=self._last_good,
            outside=self._outside,
            append=self._append,
            pump=self._pump,
            adopt=self._adopt,
        )
        self._start(call)
        return call

    def check_number(self, account: str, number: str) -> None:
        """Raises :class:`~engine.calls.allowance.NotAllowed` when the account may not call ``number`` by trunks."""
        allowance = self._outside.routes(account).allowance
        if allowance is not None:
            allowance.check_number(plain_number(number), "")

    def _adopt(self, session_id: int, owner: CallLine | Peer) -> None:
        """From now on what SIP says of the session is told to ``owner``."""
        if isinstance(owner, Supervisor):
            self._outside.release(session_id)
            self._by_session[session_id] = owner
        elif isinstance(owner, Peer):
            self._by_session.pop(session_id, None)
            self._outside.own(session_id, owner)

    @property
    def channels(self) -> Channels:
        """How many calls each trunk has."""
        return self._outside.channels

    def calls_of(self, account: str) -> list[Supervisor]:
        """The calls of an account that live."""
        return [call for call in self.calls.values() if call.plan.account == account]

    # --- the end ------------------------------------------------------------------------

    async def drain(self, patience: float) -> None:
        """Take no more calls, let those that run end by themselves, end the rest after ``patience`` seconds."""
        self.draining = True
        if self._tasks:
            log.info("draining", calls=len(self._tasks), patience=patience)
            await asyncio.wait(self._tasks, timeout=patience)
        await self.end_all(SHUTTING_DOWN)

    async def end_all(self, reason: str) -> None:
        """End every call now, and wait until each has said its end."""
        for call in list(self.calls.values()):
            call.call.end("limit", reason)
        if self._tasks:
            await asyncio.wait(self._tasks)


def accepts_sdp(request: Request) -> bool:
    """Whether an Accept header, if there is one, lets us answer with SDP (RFC 3261 20.1; absent means it does)."""
    if not request.headers.all("Accept"):
        return True
    ranges = {token.partition(";")[0].strip().lower() for token in request.headers.tokens("Accept")}
    return bool(ranges & {"application/sdp", "application/*", "*/*"})


def refer_host(session: IncomingSession) -> str:
    """Where a caller who is no trunk's finds numbers: its own domain, or its address if it hides that."""
    host = session.request.from_.uri.host
    return host if host and not host.endswith(".invalid") else session.remote_target.host
