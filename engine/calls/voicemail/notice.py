"""The news of a message for the customer's server."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.callbacks import records
from flows.call import Callback


def notice(begun: records.MessageBegun, left: records.MessageLeft) -> Callback | None:
    """What is owed to the server that wants to know of messages of this box; ``None`` if none does."""
    if not begun.notify_url:
        return None
    return Callback(
        begun.notify_url,
        {
            "event": "voicemail",
            "account": left.account,
            "mailbox": left.box,
            "message": left.message,
            "call": left.call,
            "from": left.caller,
            "from_name": left.caller_name,
            "to": begun.to,
            "at": datetime.fromtimestamp(left.at, UTC).isoformat(timespec="seconds"),
            "seconds": f"{left.seconds:.1f}",
            "emails": begun.notify_emails,
            "transcribe": "true" if begun.transcribe else "false",
        },
        "POST",
        "json",
    )


def left_of(begun: records.MessageBegun, message: str, seconds: float, at: float) -> records.MessageLeft:
    """The message that was begun, ``seconds`` long."""
    return records.MessageLeft(
        at,
        call=begun.call,
        account=begun.account,
        box=begun.box,
        message=message,
        path=begun.path,
        caller=begun.caller,
        caller_name=begun.caller_name,
        seconds=seconds,
    )
