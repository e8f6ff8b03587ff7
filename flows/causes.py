"""Why a leg was not connected: one table from hangup cause to Q.850, SIP status, word, and what may help.

Names are those of ITU-T Q.850 as switches write them; SIP statuses map as RFC 3398, section 7.2.4.1 does. A cause that
came over SIP (Reason, RFC 3326) says more than the status that it came with: a gateway may tell of a telephone that is
busy by a 503.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .orders import Dial, Outcome

Status = Literal["completed", "busy", "no-answer", "failed", "canceled"]

Remedy = Literal["way", "time", "none"]
"""What may help: another way there (the trunk failed, not who was called), another time, or nothing."""


class Cause(NamedTuple):
    """``q850`` is the number of the cause, ``sip`` the status that stands for it."""

    name: str
    q850: int
    sip: int
    status: Status
    remedy: Remedy


CAUSES: tuple[Cause, ...] = (
    Cause("UNALLOCATED_NUMBER", 1, 404, "failed", "none"),
    Cause("NO_ROUTE_TRANSIT_NET", 2, 404, "failed", "way"),
    Cause("NO_ROUTE_DESTINATION", 3, 404, "failed", "way"),
    Cause("NORMAL_CLEARING", 16, 200, "completed", "time"),
    Cause("USER_BUSY", 17, 486, "busy", "time"),
    Cause("NO_USER_RESPONSE", 18, 408, "no-answer", "time"),
    Cause("NO_ANSWER", 19, 480, "no-answer", "time"),
    Cause("SUBSCRIBER_ABSENT", 20, 480, "no-answer", "time"),
    Cause("CALL_REJECTED", 21, 603, "failed", "none"),
    Cause("NUMBER_CHANGED", 22, 410, "failed", "none"),
    Cause("REDIRECTION_TO_NEW_DESTINATION", 23, 410, "failed", "none"),
    Cause("EXCHANGE_ROUTING_ERROR", 25, 483, "failed", "way"),
    Cause("DESTINATION_OUT_OF_ORDER", 27, 502, "failed", "way"),
    Cause("INVALID_NUMBER_FORMAT", 28, 484, "failed", "none"),
    Cause("FACILITY_REJECTED", 29, 501, "failed", "way"),
    Cause("NORMAL_UNSPECIFIED", 31, 500, "failed", "time"),
    Cause("NORMAL_CIRCUIT_CONGESTION", 34, 503, "failed", "way"),
    Cause("NETWORK_OUT_OF_ORDER", 38, 503, "failed", "way"),
    Cause("NORMAL_TEMPORARY_FAILURE", 41, 503, "failed", "way"),
    Cause("SWITCH_CONGESTION", 42, 503, "failed", "way"),
    Cause("REQUESTED_CHAN_UNAVAIL", 44, 503, "failed", "way"),
    Cause("FACILITY_NOT_SUBSCRIBED", 50, 503, "failed", "way"),
    Cause("OUTGOING_CALL_BARRED", 52, 403, "failed", "way"),
    Cause("INCOMING_CALL_BARRED", 54, 403, "failed", "time"),
    Cause("BEARERCAPABILITY_NOTAUTH", 57, 403, "failed", "way"),
    Cause("BEARERCAPABILITY_NOTAVAIL", 58, 503, "failed", "way"),
    Cause("SERVICE_UNAVAILABLE", 63, 503, "failed", "way"),
    Cause("BEARERCAPABILITY_NOTIMPL", 65, 488, "failed", "way"),
    Cause("FACILITY_NOT_IMPLEMENTED", 69, 501, "failed", "way"),
    Cause("SERVICE_NOT_IMPLEMENTED", 79, 501, "failed", "way"),
    Cause("INCOMPATIBLE_DESTINATION", 88, 488, "failed", "time"),
    Cause("RECOVERY_ON_TIMER_EXPIRE", 102, 504, "failed", "way"),
    Cause("PROTOCOL_ERROR", 111, 500, "failed", "way"),
    Cause("INTERWORKING", 127, 500, "failed", "time"),
    Cause("ORIGINATOR_CANCEL", 487, 487, "canceled", "time"),
)

_BY_NAME = {cause.name: cause for cause in CAUSES}
_BY_Q850 = {cause.q850: cause for cause in CAUSES if cause.q850 not in (16, 31, 127, 487)}
"""Without those that say nothing of a refusal: gateways write them for want of something better."""
_BY_SIP: dict[int, str] = {
    401: "CALL_REJECTED",
    402: "CALL_REJECTED",
    403: "CALL_REJECTED",
    404: "UNALLOCATED_NUMBER",
    407: "CALL_REJECTED",
    408: "NO_USER_RESPONSE",
    410: "NUMBER_CHANGED",
    480: "NO_ANSWER",
    482: "INTERWORKING",
    484: "INVALID_NUMBER_FORMAT",
    486: "USER_BUSY",
    487: "ORIGINATOR_CANCEL",
    488: "INCOMPATIBLE_DESTINATION",
    502: "DESTINATION_OUT_OF_ORDER",
    503: "NORMAL_TEMPORARY_FAILURE",
    504: "RECOVERY_ON_TIMER_EXPIRE",
    600: "USER_BUSY",
    603: "CALL_REJECTED",
    604: "UNALLOCATED_NUMBER",
    606: "INCOMPATIBLE_DESTINATION",
}


_FOR_GOOD = frozenset({404, 410, 484, 603, 604})
"""Statuses of numbers that are nobody's, and of people who do not want the call. 401 to 403 and 407 are not of them: it
is us whom the trunk refuses there.
"""


def dial_outcome(
    cause: Cause,
    *,
    sip: int = 0,
    q850: int | None = None,
    duration: float = 0.0,
    leg: str = "",
    story: str = "",
) -> Outcome:
    """The outcome of a dial: facts and exits are those that :class:`~flows.orders.Dial` names.

    ``q850``: the number that the other side sent, if it did.
    """
    facts = {
        "status": cause.status,
        "cause": cause.name,
        "q850": str(cause.q850 if q850 is None else q850),
        "sip": str(sip) if sip else "",
        "duration": str(int(duration)),
        "id": leg,
    }
    if cause.status == "completed":
        return Outcome((), facts, story)
    return Outcome((cause.name, f"sip:{sip}", "failed") if sip else (cause.name, "failed"), facts, story, q850)


def bridge_outcome(order: Dial, *, duration: float, leg: str = "", story: str = "") -> Outcome:
    """The outcome of ``order`` whose bridge lasted ``duration`` seconds. If that is less than counts as success it is a
    failure: facts are those of the bridge, but for ``status``, and the exit is ``failed``.
    """
    outcome = dial_outcome(_BY_NAME["NORMAL_CLEARING"], sip=200, duration=duration, leg=leg, story=story)
    return counted(order, outcome, duration)


def counted(order: Dial, outcome: Outcome, duration: float) -> Outcome:
    """``outcome``, or a failure in place of a bridge of ``duration`` seconds that is too short for ``order``."""
    if outcome.exits or duration >= order.success_after:
        return outcome
    short = f"{outcome.story}: less than the {order.success_after:g} s that count as success"
    return Outcome(("failed",), {**outcome.facts, "status": "failed"}, short)


def cause_named(name: str) -> Cause | None:
    return _BY_NAME.get(name)


def cause_of(sip: int | None, q850: int | None = None, name: str | None = None) -> Cause:
    """The cause of a call or leg that ended so: that of the ``name`` which was put down, else that of the Q.850 number
    which came, if it says something, else that which the final SIP status stands for.
    """
    if (found := _BY_NAME.get(name or "") or _BY_Q850.get(q850 or 0)) is not None:
        return found
    sip = sip or 0
    if 200 <= sip < 300:
        return _BY_NAME["NORMAL_CLEARING"]
    return _BY_NAME[_BY_SIP.get(sip, "NORMAL_TEMPORARY_FAILURE" if 500 <= sip < 600 else "NORMAL_UNSPECIFIED")]


def remedy_of(sip: int | None, q850: int | None = None) -> Remedy:
    """What may help after a refusal by the other side, by the cause that came, if it says something, else the status.

    A 6xx is the last word of who was called (RFC 3261 section 21.6): no other way helps.
    """
    sip = sip or 0
    told = _BY_Q850.get(q850 or 0)
    if told is not None and (told.remedy != "way" or sip < 600):
        return told.remedy
    if sip in _FOR_GOOD:
        return "none"
    return "way" if sip == 408 or 500 <= sip < 600 else "time"
