"""The list of live calls as Brombler has it: by id, with identity, direction of the invitation, parties, time, path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.api.answers import TEXT, WHOLE, shape
from engine.calls.supervisor import Supervisor

LISTED = shape(account=TEXT, isInvite=WHOLE, to=TEXT, callDuration=WHOLE, path=TEXT, **{"from": TEXT})
"""The schema of a call in the list."""


def listed(calls: Iterable[Supervisor], now: float) -> dict[str, Any]:
    """``list`` of ``list.cas``. ``now`` in seconds since the epoch; ``callDuration`` is in milliseconds."""
    return {call.id: _call(call, now) for call in calls}


def _call(call: Supervisor, now: float) -> dict[str, Any]:
    answered = call.answered_wall()
    return {
        "account": call.parties.source,
        "isInvite": 1 if answered is None else 0,
        "from": call.parties.caller,
        "to": call.parties.callee,
        "callDuration": 0 if answered is None else max(0, int((now - answered) * 1000)),
        "path": call.call.path,
    }
