"""What becomes of a message that came in: the transaction it belongs to, the dialog, or a refusal of our own.

RFC 3261 8.2 (UAS behaviour outside of dialogs), 12.2.2, 17.1.3 and 17.2.3 (matching).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from engine.sip.body import UnsupportedBody, session_description
from engine.sip.core import ACCEPT, ALLOW, MAGIC_COOKIE, Core
from engine.sip.events import Invited
from engine.sip.flow import Flow
from engine.sip.message import METHODS, Malformed, Request, Response
from engine.sip.registrar import Registrar
from engine.sip.routing import response_flow
from engine.sip.server import IncomingSession
from engine.sip.transaction import InviteServer, NonInviteServer, ServerKey, ServerTransaction

MAX_TRANSACTIONS = 200_000
"""Server transactions at once; new calls beyond that are refused without remembering them."""

SCHEMES = frozenset({"sip", "sips", "tel"})

_MergeKey = tuple[str, str, int, str]


class Reception:
    """Sorts what comes in. Nothing here raises, whatever a peer sends."""

    def __init__(self, core: Core, registrar: Registrar) -> None:
        self.available = True
        self._registrar = registrar
        self._core = core
        self._merging: set[_MergeKey] = set()

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
        transaction = NonInviteServer(core, key, request, response_flow(request.via, flow))
        invite = core.servers.get((*key[:-1], "INVITE"))
        if not isinstance(invite, InviteServer):
            core.counters.strays += 1
            self._answer(transaction, 481, now)
            return
        transaction.to_tag = invite.to_tag
        self._answer(transaction, 200, now)
        if invite.state == "proceeding" and invite.user is not None:
            invite.user.on_cancel(request, now)

    def _new(self, request: Request, key: ServerKey, flow: Flow, now: float) -> None:
        core = self._core
        reply_to = response_flow(request.via, flow)
        if len(core.servers) >= MAX_TRANSACTIONS:
            core.counters.dropped += 1
            core.transmit(reply_to, core.response(request, 503, headers=[("Retry-After", "5")]).encode())
            return
        machine = InviteServer if request.method == "INVITE" else NonInviteServer
        transaction = machine(core, key, request, reply_to)
        tag = request.to.tag
        if not tag:
            if self._merge(request, transaction):
                self._outside(request, transaction, flow, now)
            else:
                core.counters.merged += 1
                self._answer(transaction, 482, now)  # 8.2.2.2: it came here over two paths
            return
        owner = core.dialogs.get((request.call_id, tag))
        if owner is None:
            self._refuse(transaction, 481, now)
            return
        if isinstance(transaction, InviteServer):
            transaction.to_tag = tag
            transaction.respond(core.response(request, 100), now)
        owner.on_request(request, transaction, now)

    def _merge(self, request: Request, transaction: ServerTransaction) -> bool:
        """Whether no other path has brought ``request`` here already."""
        cseq = request.cseq
        key = (request.call_id, request.from_.tag, cseq.number, cseq.method)
        if key in self._merging:
            return False
        self._merging.add(key)
        transaction.on_gone = partial(self._merging.discard, key)
        return True

    def _outside(self, request: Request, transaction: ServerTransaction, flow: Flow, now: float) -> None:
        """A request that belongs to no dialog, in the order of 8.2."""
        method = request.method
        if method not in METHODS:
            self._refuse(transaction, 501, now, (("Allow", ALLOW),))
        elif method not in {"INVITE", "OPTIONS", "REGISTER"}:
            # Methods that exist within dialogs only, and those that we do not serve at all.
            status = 481 if method in {"BYE", "INFO", "NOTIFY", "UPDATE", "PRACK"} else 405
            self._refuse(transaction, status, now, (("Allow", ALLOW),) if status == 405 else ())
        elif request.ruri.scheme not in SCHEMES:
            self._refuse(transaction, 416, now)
        elif required := request.headers.tokens("Require"):
            self._refuse(transaction, 420, now, (("Unsupported", ", ".join(required)),))
        elif method == "OPTIONS":
            self._options(transaction, now)
        elif method == "REGISTER":
            self._register(request, transaction, flow, now)
        else:
            assert isinstance(transaction, InviteServer)
            self._invite(request, transaction, flow, now)

    def _options(self, transaction: ServerTransaction, now: float) -> None:
        headers = (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", ""))
        self._answer(transaction, 200 if self.available else 503, now, headers)

    def _register(self, request: Request, transaction: ServerTransaction, flow: Flow, now: float) -> None:
        if not self._registrar.has_devices:
            self._refuse(transaction, 405, now, (("Allow", ALLOW),))
            return
        response = self._registrar.register(request, flow, now)
        if response is None:
            transaction.abandon()
        else:
            transaction.respond(response, now)

    def _invite(self, request: Request, transaction: InviteServer, flow: Flow, now: float) -> None:
        if not request.contacts:
            self._refuse(transaction, 400, now, reason="Contact Is Missing")
            return
        try:
            session_description(request)
        except UnsupportedBody:
            self._refuse(transaction, 415, now, (("Accept", ACCEPT),))
            return
        transaction.respond(self._core.response(request, 100), now)
        self._core.emit(Invited(IncomingSession(self._core, transaction, flow, now)))

    # --- answers of our own -----------------------------------------------------------------

    def _refuse(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        headers: Iterable[tuple[str, str]] = (),
        reason: str | None = None,
    ) -> None:
        self._core.counters.refused += 1
        self._answer(transaction, status, now, headers, reason)

    def _answer(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        headers: Iterable[tuple[str, str]] = (),
        reason: str | None = None,
    ) -> None:
        core = self._core
        response = core.response(transaction.request, status, reason, to_tag=transaction.to_tag, headers=headers)
        transaction.respond(response, now)


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
