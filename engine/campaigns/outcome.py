"""What the end of a call means for the one that asked for it: done, or once more, or given up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from types import MappingProxyType
from typing import Literal

from engine.campaigns.schedule import Schedule
from flows.causes import cause_of, remedy_of

State = Literal["queued", "active", "completed", "failed", "cancelled", "expired"]
"""The states of a queued call; all but the first two are final."""

Result = Literal[
    "completed",
    "busy",
    "no-answer",
    "failed",
    "hangup",
    "too-long",
    "unsuccessful",
    "canceled",
    "no-flow",
    "refused",
    "expired",
]
"""How an attempt went. ``hangup``: the one called hung up before the flow had come to its end; ``too-long``: a limit
ended the call before; ``unsuccessful``: the flow has marked the call so; ``refused``: the account may not call there.
"""

Success = Literal["answered", "finished"]
"""When a call is done: once it was answered, or once its flow has come to its end or marked it as successful."""

RETRIED: frozenset[Result] = frozenset({"busy", "no-answer", "failed", "hangup", "too-long", "unsuccessful"})


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a call, as its record has it. ``marked``: what the flow has marked it as, empty if it has not."""

    answered: bool
    by: str
    reason: str
    cause: str
    sip_status: int | None = None
    q850: int | None = None
    sip_reason: str | None = None
    marked: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that follows, its ``result``, and for ``queued`` when to try again (seconds since the epoch)."""

    state: State
    result: Result
    due: float | None = None


_BROKEN_OFF: Mapping[str, Result] = MappingProxyType({"caller": "hangup", "limit": "too-long"})


def result_of(end: Ended, success: Success) -> Result:
    """How the attempt went."""
    if not end.answered:
        cause = cause_of(end.sip_status, end.q850, end.cause)
        return cause.status if cause.status != "completed" else "failed"
    if end.marked:
        return "completed" if end.marked == "successful" else "unsuccessful"
    if success == "finished" and end.by != "flow":
        return _BROKEN_OFF.get(end.by, "failed")
    return "completed"


def is_for_good(end: Ended) -> bool:
    """Whether another attempt would come to the same end: a number that is nobody's, or somebody who does not want to
    be called.
    """
    return not end.answered and remedy_of(end.sip_status, end.q850) == "none"


def judge(
    result: Result,
    *,
    attempt: int,
    now: float,
    schedule: Schedule | None,
    zone: tzinfo,
    not_after: float | None = None,
    given_up: bool = False,
    for_good: bool = False,
) -> Verdict:
    """What follows from the result of ``attempt`` (the first is 1). ``given_up``: it was cancelled meanwhile;
    ``for_good``: :func:`is_for_good`, which a schedule may want to be tried again all the same.
    """
    if result == "completed":
        return Verdict("completed", result)
    if given_up or result == "canceled":
        return Verdict("cancelled", result)
    if schedule is not None and result in RETRIED and (schedule.retry_all or not for_good):
        due = schedule.retry(attempt, now, zone, not_after)
        if due is not None:
            return Verdict("queued", result, due)
    return Verdict("failed", result)
