"""After a kill: what was still running gets its end.

For every call that the journal knows as begun and not as ended, the next start sends the BYE in
the dialog that was journalled at the answer, tells ``close`` to every URL that the call had
reached and that was not told yet, and puts the end down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from engine.callbacks import records
from engine.callbacks.journal import CallHistory
from flows.call import Entered
from flows.events import Narrator

log = structlog.get_logger(__name__)

REASON = "the server was killed while the call was running"


def close_unfinished(
    histories: Sequence[CallHistory],
    append: Callable[[records.Record], None],
    say_bye: Callable[[CallHistory], None],
) -> int:
    """Give every history its end. Returns how many there were."""
    for history in histories:
        if history.dialog is not None:
            say_bye(history)
        duration = max(history.last_at - history.answered_at, 0.0) if history.answered_at is not None else 0.0
        narrator = Narrator.restore(
            history.call,
            history.started.caller,
            history.started.callee,
            history.notes,
            answered_at=0.0 if history.answered_at is not None else None,
        )
        for callback in narrator.close(duration):
            append(records.Noted(call=history.call, at=history.last_at, note=records.note_to_dict(callback)))
        path = next((note.path for note in reversed(history.notes) if isinstance(note, Entered)), "")
        append(
            records.CallFinished(
                call=history.call,
                at=history.last_at,
                by="error",
                reason=REASON,
                sip_status=0,
                q850=None,
                path=path,
                duration=duration,
                stats={},
            )
        )
        log.info("call ended", call_id=history.call, how=REASON, by="error", path=path, duration=round(duration, 2))
    return len(histories)
