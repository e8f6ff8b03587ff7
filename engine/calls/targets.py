"""Whom a call may be handed on to: somebody to ring, or a flow of the account's own dial plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.calls.identity import Caller
from engine.sip.uri import Uri
from flows.orders import Dial, Target

if TYPE_CHECKING:
    from engine.calls.household import Outside
    from engine.calls.plans import CallPlan

RING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Aim:
    """Either ``order``, which rings somebody, or ``plan``, which a caller is given. ``inside``: both are the account's
    own, nobody outside is called for it.
    """

    name: str
    order: Dial | None = None
    plan: CallPlan | None = None
    inside: bool = False


def find_aim(wanted: str, account: str, outside: Outside, headers: tuple[tuple[str, str], ...] = ()) -> Aim | None:
    """Who ``wanted`` is for the account: a number, an extension, a user, a group, a device, or a SIP URI; a URI of ours
    stands for its user part. ``None`` if it is nobody.

    Raises :class:`~engine.calls.allowance.NotAllowed` for somebody outside whom the account may not call.
    """
    routes = outside.routes(account)
    if wanted.lower().startswith(("sip:", "sips:", "tel:")):
        try:
            uri = Uri.parse(wanted)
        except ValueError:
            return None
        if uri.is_sip and not outside.is_ours(uri):
            order = _order("uri", wanted, headers)
            return Aim(wanted, order) if routes.find(order.targets[0], order, Caller("")) else None
        wanted = uri.user or ""
    if not wanted:
        return None
    if routes.knows(wanted):
        return Aim(wanted, _order("any", wanted, headers), inside=True)
    plan = outside.plan(wanted, account)
    if plan is not None:
        return Aim(wanted, plan=plan, inside=True)
    order = _order("number", wanted, headers)
    return Aim(wanted, order) if routes.find(order.targets[0], order, Caller("")) else None


def _order(kind: str, value: str, headers: tuple[tuple[str, str], ...]) -> Dial:
    target = Target(kind="uri" if kind == "uri" else "any" if kind == "any" else "number", value=value)
    return Dial(targets=(target,), timeout=RING_SECONDS, headers=dict(headers))
