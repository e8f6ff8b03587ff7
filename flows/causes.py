"""Why a leg was not connected: one table from hangup cause to Q.850, SIP status and word.

Names are those of ITU-T Q.850 as switches write them; SIP statuses map as RFC 3398, section 7.2.4.1 does.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .orders import Dial, Outcome

Status = Literal["completed", "busy", "no-answer", "failed", "canceled"]


class Cause(NamedTuple):
    """``q850`` is the number of the cause, ``sip`` the status that stands for it."""

    name: str
    q850: int
    sip: int
    status: Status


CAUSES: tuple[Cause, ...] = (
    Cause("UNALLOCATED_NUMBER", 1, 404, "failed"),
    Cause("NO_ROUTE_DESTINATION", 3, 404, "failed"),
    Cause("NORMAL_CLEARING", 16, 200, "completed"),
    Cause("USER_BUSY", 17, 486, "busy"),
    Cause("NO_USER_RESPONSE", 18, 408, "no-answer"),
    Cause("NO_ANSWER", 19, 480, "no-answer"),
    Cause("SUBSCRIBER_ABSENT", 20, 480, "failed"),
    Cause("CALL_REJECTED", 21, 603, "failed"),
    Cause("NUMBER_CHANGED", 22, 410, "failed"),
    Cause("DESTINATION_OUT_OF_ORDER", 27, 502, "failed"),
    Cause("INVALID_NUMBER_FORMAT", 28, 484, "failed"),
    Cause("NORMAL_UNSPECIFIED", 31, 500, "failed"),
    Cause("NORMAL_CIRCUIT_CONGESTION", 34, 503, "failed"),
    Cause("NETWORK_OUT_OF_ORDER", 38, 503, "failed"),
    Cause("NORMAL_TEMPORARY_FAILURE", 41, 503, "failed"),
    Cause("BEARERCAPABILITY_NOTAUTH", 57, 403, "failed"),
    Cause("BEARERCAPABILITY_NOTIMPL", 65, 488, "failed"),
    Cause("INCOMPATIBLE_DESTINATION", 88, 488, "failed"),
    Cause("RECOVERY_ON_TIMER_EXPIRE", 102, 504, "failed"),
    Cause("INTERWORKING", 127, 500, "failed"),
    Cause("ORIGINATOR_CANCEL", 487, 487, "canceled"),
)

_BY_NAME = {cause.name: cause for cause in CAUSES}
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


def dial_outcome(cause: Cause, *, sip: int = 0, duration: float = 0.0, leg: str = "", story: str = "") -> Outcome:
    """The outcome of a dial: facts and exits are those that :class:`~flows.orders.Dial` names."""
    facts = {
        "status": cause.status,
        "cause": cause.name,
        "q850": str(cause.q850),
        "sip": str(sip) if sip else "",
        "duration": str(int(duration)),
        "id": leg,
    }
    if cause.status == "completed":
        return Outcome((), facts, story)
    return Outcome((cause.name, f"sip:{sip}", "failed") if sip else (cause.name, "failed"), facts, story)


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


def cause_of(sip: int) -> Cause:
    """The cause that a final SIP status stands for."""
    if 200 <= sip < 300:
        return _BY_NAME["NORMAL_CLEARING"]
    return _BY_NAME[_BY_SIP.get(sip, "NORMAL_UNSPECIFIED" if sip < 500 or sip >= 600 else "NORMAL_TEMPORARY_FAILURE")]
