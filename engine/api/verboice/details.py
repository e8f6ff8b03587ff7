"""How Verboice shows a call: its state, why it failed, what happened on it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.accounts.callbook import CallRow
from engine.api.verboice.calls_book import NumberedCall
from engine.campaigns import queue
from engine.campaigns.outcome import Ended, result_of
from engine.campaigns.queue import Entry
from engine.campaigns.zones import iso

FAIL_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "busy": "busy",
        "no-answer": "no-answer",
        "failed": "error",
        "refused": "error",
        "hangup": "hangup",
        "too-long": "active-for-too-long",
        "unsuccessful": "unknown error",
        "no-flow": "no-call-flow",
    }
)
"""By the result of the last attempt."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call as it is: its place in the queue, if it has one, and its record, once it was made."""

    numbered: NumberedCall
    entry: Entry | None
    call: CallRow | None
    live: bool

    @property
    def state(self) -> str:
        """As Verboice calls it."""
        if self.entry is not None:
            return self.entry.state
        if self.call is None or self.call.finished_at is None:
            return queue.ACTIVE
        return "completed" if self.result == "completed" else "cancelled" if self.result == "canceled" else "failed"

    @property
    def settled(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in queue.FINAL

    @property
    def result(self) -> str | None:
        """How the last attempt went."""
        if self.entry is not None:
            return self.entry.result
        call = self.call
        if call is None or call.finished_at is None:
            return None
        end = Ended(
            answered=call.answered_at is not None,
            by=call.ended_by or "error",
            reason=call.reason or "",
            cause=call.cause or "",
            sip_status=call.sip_status,
            q850=call.q850,
        )
        return result_of(end, "finished")

    @property
    def call_id(self) -> str:
        """Our own id of the last attempt; empty when there was none."""
        return self.call.id if self.call is not None else ""


def details(facts: CallFacts, names: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of ``details.json``; what is not known is left out."""
    entry, call = facts.entry, facts.call
    failed = facts.state == "failed"
    reason, code = (entry.reason, entry.sip_status) if entry is not None else (None, None)
    if entry is None and call is not None:
        reason, code = call.sip_reason or call.reason, call.sip_status
    started = call.started_at if call is not None else None
    over = entry.finished_at if entry is not None else call.finished_at if call is not None else None
    found = {
        "call_id": facts.numbered.id,
        "state": facts.state,
        "started_at": iso(started) if started is not None else None,
        "finished_at": iso(over) if over is not None else None,
        "not_before": iso(entry.not_before) if entry is not None and entry.not_before is not None else None,
        "direction": "incoming" if call is not None and call.direction == "inbound" else "outgoing",
        **names,
        "fail_reason": FAIL_REASONS.get(facts.result or "", "unknown error") if failed else None,
        "fail_code": str(code) if failed and code and code >= 300 else None,
        "fail_details": reason if failed else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def in_words(number: int, at: float, kind: str, detail: Mapping[str, Any]) -> list[Any]:
    """A line of the log of a call."""
    step = detail.get("step") or detail.get("path") or ""
    what = {key: value for key, value in detail.items() if key not in ("step", "path", "messages", "body", "facts")}
    told = "; ".join(f"{key}: {value}" for key, value in what.items() if value not in ("", None, [], {}))
    return [number, iso(at), step, kind, detail.get("verb", ""), told[:2000]]
