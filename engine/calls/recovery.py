"""After a kill: what was still running gets its end.

For every call that the journal knows as begun and not as ended, the next start sends the BYE in
the dialog that was journalled at the answer, tells ``close`` to every URL that the call had
reached and that was not told yet, and puts the end down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.callbacks import records
from engine.log import get_logger
from flows.events import Narrator

log = get_logger(__name__)

REASON = "the server was killed while the call was running"


def close_unfinished(
    histories: Sequence[records.CallHistory],
    append: Callable[[records.Record], None],
    say_bye: Callable[[records.CallHistory], None],
) -> int:
    """Give every history its end. Returns how many there were."""
    for history in histories:
        if history.dialog is not None:
            say_bye(history)
        started, answered, at = history.started, history.answered, history.last_known
        duration = max(at - answered.at, 0.0) if answered is not None else 0.0
        notes = history.flow_notes()
        narrator = Narrator.restore(history.call, started.caller, started.callee, notes)
        for callback in narrator.close(answered.at if answered is not None else None, at):
            append(records.Noted(at, call=history.call, note=records.note_to_data(callback)))
        path = narrator.path
        append(records.CallFinished(at, call=history.call, by="error", reason=REASON, path=path, duration=duration))
        log.info("call ended", call_id=history.call, how=REASON, by="error", path=path, duration=round(duration, 2))
    return len(histories)
