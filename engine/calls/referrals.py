"""REFER from a telephone that talks with somebody: the other one is to be connected to somebody else (RFC 3515, 5589).

It hears by NOTIFY how that goes, and failure leaves both talking. With Replaces (RFC 3891) the other is whom the
same telephone talks with on another call of ours: both calls become one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.calls.conversation import Side, UnderWay
from engine.calls.handing_on import Tell, hand_on, join
from engine.calls.targets import find_aim
from engine.sip.referred import IncomingReferral
from engine.sip.uri import Uri

if TYPE_CHECKING:
    from engine.calls.peer import Peer
    from engine.calls.supervisor import Supervisor
    from engine.sip.session import Session


def follow_referral(call: Supervisor, peer: Peer | None, referral: IncomingReferral) -> None:
    """Do what the telephone of ``peer``, or that on the line, asks for, as far as it may; tell it otherwise.

    403: it may not hand calls on to outside. 404: nobody is there. 481: there is no such call to be replaced. 486:
    another transfer is under way. 603: nobody talks with it, or with the other call.
    """
    loop = asyncio.get_running_loop()

    def tell(status: int, reason: str) -> None:
        referral.notify(status, loop.time(), reason)
        call.pump()

    conversation = call.conversation
    if conversation is None or (peer is not None and conversation.peer is not peer):
        tell(603, "Decline")
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
    wanted = str(target)
    if target.scheme == "tel" or _same_place(target, session.dialog.local_uri) or call.outside.is_ours(target):
        wanted = target.user or ""
    aim = find_aim(wanted, call.plan.account, call.outside)
    if aim is None:
        tell(404, "Not Found")
        return
    policy = call.outside.transfers_outside
    if not aim.inside and policy != "anybody" and not (device and policy == "telephones"):
        call.log.warning("transfer_not_allowed", by=by, target=str(target))
        tell(403, "Forbidden")
        return
    hand_on(call, leaves, aim, by=by, tell=tell)


def _replace(call: Supervisor, leaves: Side, referral: IncomingReferral, *, by: str, tell: Tell) -> None:
    """Attended: who the telephone talks with on another call takes its place on this one."""
    assert referral.replaces is not None
    found = call.outside.dialog(referral.replaces, call.plan.account)
    if found is None:
        tell(481, "Call/Transaction Does Not Exist")
        return
    other, side = found
    if other is call or other.conversation is None:
        tell(603, "Decline")
        return
    join(call, leaves, other, "peer" if side == "line" else "line", by=by, tell=tell)


def _same_place(one: Uri, other: Uri) -> bool:
    """Whether both URIs lead to the same host and port."""
    return (one.host.lower(), one.port) == (other.host.lower(), other.port)
