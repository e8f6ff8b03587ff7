"""The records of calls that flows ask for (``cdr_url`` of a pivot): a POST of a form, owed when the call has ended.

The names are those of Kazoo's own records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import callbook
from engine.accounts.callbook import CallRow
from engine.callbacks import records
from engine.callbacks.announcing import Happening, owed
from engine.callbacks.rows import Row
from flows.requests import FORM

GREGORIAN = 62_167_219_200
"""Seconds from the year 0 to 1970."""


class CallRecords:
    """Owes them (an announcer)."""

    def wants(self) -> bool:
        """Always: any flow may ask for one."""
        return True

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """The records of the calls that have ended."""
        ended = {each.call.id: each for each in happenings if isinstance(each.record, records.CallFinished)}
        urls = await callbook.records_owed(connection, ended) if ended else []
        return [
            owed(call_id, ended[call_id].record.at, url, urlencode(record_of(ended[call_id].call)), content_type=FORM)
            for call_id, url in urls
        ]


def record_of(call: CallRow) -> dict[str, str]:
    """The record of a call that has ended."""
    finished = call.finished_at or call.started_at
    talked = max(0.0, call.duration or 0.0)
    rang = max(0.0, (call.answered_at or finished) - call.started_at)
    found = {
        "Account-ID": call.account_id,
        "Call-ID": call.id,
        "Timestamp": str(int(call.started_at) + GREGORIAN),
        "Call-Direction": call.direction,
        "Caller-ID-Number": call.caller,
        "Callee-ID-Number": call.callee,
        "From": call.caller,
        "To": call.callee,
        "Disposition": "ANSWER" if call.answered_at is not None else "NO_ANSWER",
        "Hangup-Cause": call.cause or "",
        "Hangup-Code": f"sip:{call.sip_status}" if call.sip_status else "",
        "Duration-Seconds": str(round(max(0.0, finished - call.started_at))),
        "Billing-Seconds": str(round(talked)),
        "Ringing-Seconds": str(round(rang)),
    }
    return {name: value for name, value in found.items() if value}
