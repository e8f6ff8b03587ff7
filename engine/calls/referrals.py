"""REFER from a telephone that talks with somebody: the other one is to be connected to somebody else (RFC 3515, 5589).

It hears by NOTIFY how that goes, and failure leaves both talking. With Replaces (RFC 3891) the other is whom the
same telephone talks with on another call of ours: both calls become one. If one of them is a flow that the telephone is
alone with, the other one takes its place there.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from engine.calls.allowance import NotAllowed
from engine.calls.changing import Side, UnderWay
from engine.calls.handing_on import Tell, hand_on, join
from engine.calls.media import MediaError
from engine.calls.taking_over import occupied, take_over
from engine.calls.targets import Aim, find_aim
from engine.sip.referred import IncomingReferral
from engine.sip.replaces import Replaces
from engine.sip.uri import Uri
from flows.graph import Graph, Perform
from flows.orders import BridgeSession, Conference, Dial, Park

if TYPE_CHECKING:
    from engine.calls.peer import Peer
    from engine.calls.supervisor import Supervisor
    from engine.sip.session import Session


def follow_referral(call: Supervisor, peer: Peer | None, referral: IncomingReferral) -> None:
    """Do what the telephone of ``peer``, or that on the line, asks for, as far as it may; tell it otherwise.

    403: it may not hand calls on to outside, or the account may not call there. 404: nobody is there. 481: there is no
    such call to be replaced. 486: another transfer is under way. 603: nobody talks with it, or with the other call, and
    neither is alone with a flow whose caller may be replaced now.
    """
    loop = asyncio.get_running_loop()

    def tell(status: int, reason: str) -> None:
        referral.notify(status, loop.time(), reason)
        call.pump()

    conversation = call.conversation
    if conversation is None and peer is None:
        _bring(call, referral, tell)
        return
    if conversation is None or (peer is not None and conversation.peer is not peer):
        tell(603, "Nobody talks with this telephone")
        return
    leaves: Side = "line" if peer is None else "peer"
    session = call.session if peer is None else peer.session
    device = call.line_device if peer is None else peer.destination.device
    name = call.line_name if peer is None else peer.destination.label
    assert session is not None
    try:
        if referral.replaces is not None:
            _replace(call, leaves, referral, by=name, tell=tell)
        else:
            _hand_on(call, leaves, referral.target, session, device=device, by=name, tell=tell)
    except UnderWay:
        tell(486, "Another transfer is under way")


def _hand_on(
    call: Supervisor, leaves: Side, target: Uri, session: Session, *, device: str, by: str, tell: Tell
) -> None:
    """Blind."""
    if (aim := _aim(call, target, session, device=device, by=by, tell=tell)) is not None:
        hand_on(call, leaves, aim, by=by, tell=tell)


def _aim(call: Supervisor, target: Uri, session: Session, *, device: str, by: str, tell: Tell) -> Aim | None:
    """Who is meant, if there is somebody, and the telephone may hand calls on there; otherwise it is told."""
    wanted = str(target)
    if target.scheme == "tel" or _same_place(target, session.dialog.local_uri) or call.outside.is_ours(target):
        wanted = target.user or ""
    try:
        aim = find_aim(wanted, call.plan.account, call.outside)
    except NotAllowed as error:
        call.log.warning("transfer_not_allowed", by=by, target=str(target), why=str(error))
        tell(403, "Forbidden")
        return None
    if aim is None:
        tell(404, "Not Found")
        return None
    policy = call.outside.transfers_outside
    if not aim.inside and policy != "anybody" and not (device and policy == "telephones"):
        call.log.warning("transfer_not_allowed", by=by, target=str(target))
        tell(403, "Forbidden")
        return None
    return aim


def _bring(call: Supervisor, referral: IncomingReferral, tell: Tell) -> None:
    """Blind, by a telephone that is alone with a flow: whom it names is called, and given what it has.

    In a conference that is the same room, and the telephone stays until it hangs up (RFC 4579 section 5.5). Otherwise
    it is the flow of the call from its beginning, and the telephone gets a BYE once that one has answered.
    """
    doing, session = call.doing, call.session
    assert session is not None
    if referral.replaces is not None:
        try:
            _bring_from(call, referral.replaces, tell)
        except UnderWay:
            tell(486, "Another transfer is under way")
        return
    if isinstance(doing, BridgeSession) or call.outside.lots.talks(call.id):
        tell(603, "The call is bridged with another one")
        return
    if isinstance(doing, Park | Dial):
        tell(603, "The call is parked" if isinstance(doing, Park) else "Others are being called")
        return
    aim = _aim(call, referral.target, session, device=call.line_device, by=call.line_name, tell=tell)
    if aim is None or call.outside.bring is None:
        return
    if aim.order is None:
        tell(603, "A flow is nobody to take a call")
        return
    plan = call.plan
    if isinstance(doing, Conference):  # who brings somebody has shown the PIN
        order = dataclasses.replace(doing, pins=(), moderator_pins=())
        step = Perform(id="join", origin="", order=order, into="")
        plan = dataclasses.replace(plan, graph=Graph({step.id: step}, step.id, name=plan.graph.name))
    try:
        made = call.outside.bring(aim.name, call.known_caller(), plan, call.line_name)
    except NotAllowed as error:
        call.log.warning("transfer_not_allowed", by=call.line_name, target=str(referral.target), why=str(error))
        tell(403, "Forbidden")
        return
    except MediaError as error:
        tell(503, str(error))
        return

    def progress(status: int, reason: str) -> None:
        tell(status, reason)
        if status == 200 and not isinstance(doing, Conference):
            call.call.end("flow", "transferred")

    made.tell = progress
    call.log.info("brought", to=aim.name, call=made.id)


def _bring_from(call: Supervisor, replaces: Replaces, tell: Tell) -> None:
    """Attended, by a telephone that is alone with a flow: whom it talks with on another call takes its place there."""
    found = call.outside.dialog(replaces, call.plan.account)
    if found is None:
        tell(481, "Call/Transaction Does Not Exist")
        return
    other, side = found
    if other is call or other.conversation is None:
        tell(603, "Nobody talks with this telephone")
    elif why := occupied(call):
        tell(603, why)
    else:
        take_over(call, other, _opposite(side), by=call.line_name, tell=tell)


def _replace(call: Supervisor, leaves: Side, referral: IncomingReferral, *, by: str, tell: Tell) -> None:
    """Attended: who the telephone talks with on another call takes its place on this one."""
    assert referral.replaces is not None
    found = call.outside.dialog(referral.replaces, call.plan.account)
    if found is None:
        tell(481, "Call/Transaction Does Not Exist")
        return
    other, side = found
    if other is call:
        tell(603, "Decline")
    elif other.conversation is not None:
        join(call, leaves, other, _opposite(side), by=by, tell=tell)
    elif why := occupied(other):
        tell(603, why)
    else:
        take_over(other, call, _opposite(leaves), by=by, tell=tell)


def _opposite(side: Side) -> Side:
    return "peer" if side == "line" else "line"


def _same_place(one: Uri, other: Uri) -> bool:
    """Whether both URIs lead to the same host and port."""
    return (one.host.lower(), one.port) == (other.host.lower(), other.port)
