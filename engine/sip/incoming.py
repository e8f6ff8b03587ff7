"""What becomes of a message that came in: the transaction it belongs to, the dialog, or a refusal of our own.

RFC 3261 8.2 (UAS behaviour outside of dialogs), 12.2.2, 17.1.3 and 17.2.3 (matching).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from engine.sip.body import UnsupportedBody, session_description
from engine.sip.core import ACCEPT, ALLOW, MAGIC_COOKIE, SUPPORTED, Core, unsupported
from engine.sip.events import Invited
from engine.sip.flow import Flow
from engine.sip.message import METHODS, Malformed, Request, Response
from engine.sip.notifier import Notifier
from engine.sip.registrar import Registrar
from engine.sip.replaces import NoReplacement, find_replaced
from engine.sip.routing import response_flow
from engine.sip.server import IncomingSession
from engine.sip.session_timer import too_brief
from engine.sip.transaction import InviteServer, NonInviteServer, ServerKey, ServerTransaction

MAX_TRANSACTIONS = 200_000
"""Server transactions at once; new calls beyond that are refused without remembering them."""

SCHEMES = frozenset({"sip", "sips", "tel"})

MergeKey = tuple[str, str, int, str]
HeaderFields = tuple[tuple[str, str], ...]


class Refusal(NamedTuple):
    """A status with what belongs to it."""

    status: int
    headers: HeaderFields = ()
    reason: str | None = None


class Reception:
    """Sorts what comes in. Nothing here raises, whatever a peer sends."""

    def __init__(self, core: Core, registrar: Registrar, notifier: Notifier) -> None:
        self.available = True
        self._registrar = registrar
        self._notifier = notifier
        self._core = core
        self._merging: set[MergeKey] = set()

    # --- what is no message, and responses --------------------------------------------------

    def malformed(self, malformed: Malformed, flow: Flow, now: float) -> None:
        """Refuse statelessly, as long as the source does not make a habit of it."""
        counters = self._core.counters
        counters.malformed += 1
        if malformed.response is None:
            counters.dropped += 1
        elif not self._core.guard.allow(flow.remote[0], now):
            counters.rate_limited += 1
        else:
            self._core.transmit(flow, malformed.response.encode())

    def response(self, response: Response, flow: Flow, now: float) -> None:
        core = self._core
        client = core.clients.get((response.via.branch, response.cseq.method))
        if client is None:
            core.counters.strays += 1
            return
        sent_on = client.flow
        same_way = flow.transport == sent_on.transport and (flow.reliable or flow.remote[1] == sent_on.remote[1])
        if same_way and flow != sent_on:
            client.move(flow)  # a name is resolved and a connection made now: what follows goes the same way
        client.receive(response, now)

    # --- requests ---------------------------------------------------------------------------

    def request(self, request: Request, flow: Flow, now: float) -> None:
        request.note_source(*flow.remote)
        key = server_key(request)
        known = self._core.servers.get(key)
        if known is not None:
            self._known(known, request, now)
        elif request.method == "ACK":
            self._ack(request, request.to.tag, now)
        elif request.method == "CANCEL":
            self._cancel(request, key, flow, now)
        else:
            self._new(request, key, flow, now)

    def _known(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        if request.method != "ACK":
            transaction.retransmitted(now)
        elif isinstance(transaction, InviteServer):
            if transaction.state == "accepted":
                # RFC 6026 7.1: passed to the user. Its branch says whose it is, also where the phone
                # invents a To tag (pyVoIP does).
                self._ack(request, transaction.to_tag or "", now)
            else:
                transaction.acknowledged(now)

    def _ack(self, request: Request, tag: str, now: float) -> None:
        """An ACK for a 2xx, in the dialog with our ``tag``."""
        owner = self._core.dialogs.get((request.call_id, tag))
        if owner is None:
            self._core.counters.strays += 1
        else:
            owner.on_ack(request, now)

    def _cancel(self, request: Request, key: ServerKey, flow: Flow, now: float) -> None:
        """9.2: the CANCEL itself is answered at once, whatever becomes of the INVITE."""
        core = self._core
        reply_to = response_flow(request.via, flow)
        invite = core.servers.get((*key[:-1], "INVITE"))
        if not isinstance(invite, InviteServer):
            core.counters.strays += 1
            self._refuse(request, reply_to, Refusal(481), now)
            return
        transaction = NonInviteServer(core, key, request, reply_to)
        transaction.respond(core.response(request, 200, to_tag=invite.to_tag), now)
        if invite.state == "proceeding" and invite.user is not None:
            invite.user.on_cancel(request, now)

    def _new(self, request: Request, key: ServerKey, flow: Flow, now: float) -> None:
        core = self._core
        reply_to = response_flow(request.via, flow)
        tag = request.to.tag
        if not tag:
            self._outside(request, key, flow, reply_to, now)
            return
        owner = core.dialogs.get((request.call_id, tag))
        if owner is None:
            self._refuse(request, reply_to, Refusal(481), now)
            return
        transaction: ServerTransaction  # however many there are: calls that are up go on
        if request.method == "INVITE":
            transaction = InviteServer(core, key, request, reply_to)
            transaction.to_tag = tag
            transaction.respond(core.response(request, 100), now)
        else:
            transaction = NonInviteServer(core, key, request, reply_to)
        owner.on_request(request, transaction, now)

    # --- requests that belong to no dialog --------------------------------------------------

    def _outside(self, request: Request, key: ServerKey, flow: Flow, reply_to: Flow, now: float) -> None:
        core = self._core
        refusal = check(request, serves_devices=self._registrar.has_devices)
        if refusal is not None:
            self._refuse(request, reply_to, refusal, now)
        elif request.method == "OPTIONS":
            self._options(request, reply_to)
        elif merge_key(request) in self._merging:
            core.counters.merged += 1
            self._refuse(request, reply_to, Refusal(482), now)  # 8.2.2.2: it came here over two paths
        elif len(core.servers) >= MAX_TRANSACTIONS:
            core.counters.dropped += 1
            self._reply(request, reply_to, 503, (("Retry-After", "5"),))
        elif request.method == "INVITE" and (brief := too_brief(request, core.session_timers.minimum)):
            self._reply(request, reply_to, 422, brief)  # RFC 4028 9; no sign of abuse, and no larger than what came
        elif request.method == "REGISTER":
            self._register(request, key, flow, reply_to, now)
        elif request.method == "SUBSCRIBE":
            self._subscribe(request, key, flow, reply_to, now)
        else:
            self._invite(request, key, flow, reply_to, now)

    def _invite(self, request: Request, key: ServerKey, flow: Flow, reply_to: Flow, now: float) -> None:
        core = self._core
        try:
            replaced = find_replaced(request, core)
        except NoReplacement as refusal:
            self._refuse(request, reply_to, Refusal(refusal.status), now)
            return
        transaction = InviteServer(core, key, request, reply_to)
        self._remember(request, transaction)
        core.emit(Invited(IncomingSession(core, transaction, flow, now, replaced)))

    def _options(self, request: Request, reply_to: Flow) -> None:
        headers = (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED), ("Allow-Events", "dialog, refer"))
        self._reply(request, reply_to, 200 if self.available else 503, headers)

    def _register(self, request: Request, key: ServerKey, flow: Flow, reply_to: Flow, now: float) -> None:
        response = self._registrar.register(request, flow, now)
        if response is None:
            return
        if response.status in {401, 403}:
            self._core.transmit(reply_to, response.encode())  # 26.3.2.4: stateless towards who is not authenticated
            return
        transaction = NonInviteServer(self._core, key, request, reply_to)
        self._remember(request, transaction)
        transaction.respond(response, now)

    def _subscribe(self, request: Request, key: ServerKey, flow: Flow, reply_to: Flow, now: float) -> None:
        verdict = self._registrar.authenticate(request, flow, now)
        if verdict.result != "ok":
            refusal = self._registrar.turn_away(request, verdict, request.from_.uri.user or "", flow, now)
            if refusal is not None:
                self._core.transmit(reply_to, refusal.encode())
            return
        transaction = NonInviteServer(self._core, key, request, reply_to)
        self._remember(request, transaction)
        self._notifier.subscribe(request, transaction, flow, verdict.username, now)

    def _remember(self, request: Request, transaction: ServerTransaction) -> None:
        """Refuse ``request`` should it come over another path too, as long as ``transaction`` lives."""
        merging = merge_key(request)
        self._merging.add(merging)
        transaction.on_gone = partial(self._merging.discard, merging)

    # --- answers without a transaction ------------------------------------------------------

    def _refuse(self, request: Request, reply_to: Flow, refusal: Refusal, now: float) -> None:
        """Refuse once, whatever the method (8.2.7, 26.3.2.4): the source may be forged.

        A repeat of the request gets the answer again, with the same tag, as long as its source may have one.
        """
        core = self._core
        if request.method == "REFER":
            core.counters.refers_refused += 1
        if core.guard.allow(reply_to.remote[0], now):
            core.counters.refused += 1
            self._reply(request, reply_to, refusal.status, refusal.headers, refusal.reason)
        else:
            core.counters.rate_limited += 1

    def _reply(
        self, request: Request, reply_to: Flow, status: int, headers: HeaderFields = (), reason: str | None = None
    ) -> None:
        core = self._core
        response = core.response(request, status, reason, to_tag=core.stateless_tag(request), headers=headers)
        core.transmit(reply_to, response.encode())


def check(request: Request, *, serves_devices: bool) -> Refusal | None:
    """Why a request outside of dialogs is refused whoever sent it, in the order of 8.2."""
    method = request.method
    if method not in METHODS:
        return Refusal(501, (("Allow", ALLOW),))
    if method in {"BYE", "INFO", "NOTIFY", "UPDATE", "PRACK"}:
        return Refusal(481)  # these exist within dialogs only
    if method == "REFER":
        return Refusal(403)  # out of the blue: nobody may make us call
    if method not in {"INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE"}:
        return Refusal(405, (("Allow", ALLOW),))
    if request.ruri.scheme not in SCHEMES:
        return Refusal(416)
    if lacking := unsupported(request):
        return Refusal(420, lacking)
    if method in {"REGISTER", "SUBSCRIBE"} and not serves_devices:
        return Refusal(405, (("Allow", ALLOW),))
    return _check_invite(request) if method == "INVITE" else None


def _check_invite(request: Request) -> Refusal | None:
    if not request.contacts:
        return Refusal(400, reason="Contact Is Missing")
    try:
        session_description(request)
    except UnsupportedBody:
        return Refusal(415, (("Accept", ACCEPT),))
    return None


def merge_key(request: Request) -> MergeKey:
    """What the copies of one request have in common that came over different paths (8.2.2.2)."""
    cseq = request.cseq
    return request.call_id, request.from_.tag, cseq.number, cseq.method


def server_key(request: Request) -> ServerKey:
    """What a request is matched by (17.2.3), its method last. An ACK has the key of its INVITE."""
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if branch.startswith(MAGIC_COOKIE) and branch != MAGIC_COOKIE:
        host, port = via.sent_by
        return branch, host, str(port), method
    # A peer of RFC 2543: all that must be the same in an INVITE, its ACK and its CANCEL.
    return (request.uri, request.from_.tag, request.call_id, str(request.cseq.number), str(via), method)
