"""Control of calls that live, in the words of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from engine.api.messagebird.answers import FORBIDDEN, VoiceError, bad_value, impossible
from engine.api.messagebird.finding import Found
from engine.calls.control import Control, ControlRefused, Party
from engine.calls.peer import Peer
from flows.uuids import OWN_LEG


async def controlled(found: Found, act: Callable[[Control], Awaitable[Any]], *, target: str = "destination") -> None:
    """Have something done with a call. Raises :class:`VoiceError`: 25, or 12 for a ``target`` that is nobody."""
    if found.live is None:
        raise impossible("The call has ended already.")
    try:
        await act(Control(found.live))
    except ControlRefused as refused:
        if refused.code == "no_target":
            raise bad_value(target, f"leads nowhere: {refused}") from None
        if refused.code == "not_allowed":
            raise VoiceError(403, FORBIDDEN, f"The call is not allowed: {refused}.") from None
        raise impossible(f"It cannot be done: {refused}.") from None


async def leg_held(found: Found, number: int, by: str, *, hold: bool) -> None:
    """Put a leg on hold, or take it off. Raises :class:`VoiceError` (25)."""
    party: Party = "line" if number == OWN_LEG else "peer"
    if found.live is not None and number != OWN_LEG:
        _talking(found, number)
    if hold:
        await controlled(found, lambda control: control.hold(by=by, party=party))
    else:
        await controlled(found, lambda control: control.resume(by=by, party=party))


async def leg_hung_up(found: Found, number: int, by: str) -> None:
    """End a leg: the call with its own one; after another one its flow goes on. Raises :class:`VoiceError` (25)."""
    if found.live is None or number == OWN_LEG:
        await controlled(found, lambda control: control.hang_up(by=by))
    else:
        _talking(found, number).hang_up(f"hung up by {by}")


def _talking(found: Found, number: int) -> Peer:
    """The peer with whom the call's own leg talks, if it is that one."""
    conversation = found.live.conversation if found.live is not None else None
    if conversation is None or conversation.peer.id != f"{found.row.id}-leg{number}":
        raise impossible("Only a leg that talks can be controlled.")
    return conversation.peer
