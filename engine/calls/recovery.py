"""After a kill: what was still running gets its end.

For every call that the journal knows as begun and not as ended, the next start sends the BYE in
the dialog that was journalled at the answer, tells ``close`` to every URL that the call had
reached and that was not told yet, and puts the end down once the BYE is done: until then another
kill finds the call unfinished again. A peer that is gone does not keep it so for ever: after a few
lives that each said BYE the call is put down as finished without another one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.callbacks import records
from engine.calls.recording import WRITING_PATIENCE, completed, finished_by_file, wait_for_writers
from engine.calls.taken import LEAST, discard
from engine.calls.voicemail.notice import left_of, notice
from engine.log import get_logger
from flows.call import Entered, Note
from flows.events import Narrator

log = get_logger(__name__)

REASON = "the server was killed while the call was running"

BYES = 3
BYES_LAST = 32.0
"""After so many lives that said BYE, the first of them so many seconds ago (64 * T1, RFC 3261 section 17.1.2.2: as long
as one BYE is repeated), nobody is there who would answer.
"""


class Recovery:
    """Unfinished calls of an earlier life, and what is still owed to each."""

    def __init__(self, append: Callable[[records.Record], None], say_bye: Callable[[dict[str, Any]], bool]) -> None:
        """``say_bye`` sends the BYE of a dialog that was journalled; whether that could be done."""
        self._append = append
        self._say_bye = say_bye
        self._waiting: dict[str, list[records.CallHistory]] = {}
        self._recordings: dict[tuple[str, str], records.RecordingFinished] = {}

    async def begin(self, histories: Sequence[records.CallHistory]) -> None:
        """Tell every missing ``close`` and send every BYE. A call is put down as finished when its BYE is done."""
        open_ones = list(
            dict.fromkeys((each.call, path) for each in histories for path in (*each.recordings, *each.messages))
        )
        ends = await asyncio.to_thread(_ends, open_ones)  # the disk may be slow
        short = {path for each in histories for path in each.messages} & {e.path for e in ends if e.seconds < LEAST}
        await asyncio.gather(*(discard(Path(path)) for path in short))
        self._recordings = dict(zip(open_ones, ends, strict=True))
        for history in histories:
            started, answered = history.started, history.answered
            narrator = Narrator.restore(history.call, started.caller, started.callee, notes_of(history))
            for callback in narrator.close(answered.at if answered is not None else None, history.last_known):
                note = records.note_to_data(callback)
                self._append(records.Noted(history.last_known, call=history.call, note=note))
            if given_up(history.byes, time.time()):
                self._finish(history, narrator.path)
                continue
            for dialog in filter(None, history.legs.values()):
                self._say_bye(dialog)
            if history.dialog and self._say_bye(history.dialog):
                self._waiting.setdefault(history.dialog.get("call_id", started.sip_call_id), []).append(history)
                self._append(records.ByeSaid(time.time(), call=history.call))
            else:
                self._finish(history, narrator.path)

    def bye_finished(self, sip_call_id: str, status: int) -> None:
        """The peer knows now, or does not answer: the call is over either way."""
        for history in self._waiting.pop(sip_call_id, []):
            log.info("bye_after_restart", call_id=history.call, status=status)
            path = next((note.path for note in reversed(notes_of(history)) if isinstance(note, Entered)), "")
            self._finish(history, path)

    def _finish(self, history: records.CallHistory, path: str) -> None:
        for path, started in history.recordings.items():
            for each in completed(self._recordings[history.call, path], started):
                self._append(each)
        for begun in history.messages.values():
            self._leave(begun, history.last_known)
        at, answered = history.last_known, history.answered
        for leg in history.legs:
            self._append(records.LegFinished(at, call=history.call, leg=leg, by="error", reason=REASON))
        duration = max(at - answered.at, 0.0) if answered is not None else 0.0
        self._append(
            records.CallFinished(at, call=history.call, by="error", reason=REASON, path=path, duration=duration)
        )
        log.info("call ended", call_id=history.call, how=REASON, by="error", path=path, duration=round(duration, 2))

    def _leave(self, begun: records.MessageBegun, at: float) -> None:
        """A message for a mailbox that was under way is left as it is, if it is worth that."""
        seconds = self._recordings[begun.call, begun.path].seconds
        if seconds < LEAST:
            return
        left = left_of(begun, Path(begun.path).stem, seconds, at)
        self._append(left)
        if (news := notice(begun, left)) is not None:
            self._append(records.Noted(at, call=begun.call, note=records.note_to_data(news)))
        log.info("message_left", call_id=begun.call, box=begun.box, message=left.message, seconds=round(seconds, 1))


def _ends(recordings: Sequence[tuple[str, str]]) -> list[records.RecordingFinished]:
    """Those of recordings (call and path) whose writers are gone, or have had their time to go."""
    wait_for_writers((path for _, path in recordings), time.monotonic() + WRITING_PATIENCE)
    return [finished_by_file(*each) for each in recordings]


def given_up(byes: Sequence[float], now: float) -> bool:
    """Whether BYE was said at ``byes`` often and long enough."""
    return len(byes) >= BYES and now - byes[0] >= BYES_LAST


def notes_of(history: records.CallHistory) -> list[Note]:
    """What the flow told; a note that cannot be read (of a later version) is left out, and logged."""
    notes: list[Note] = []
    for noted in history.notes:
        try:
            notes.append(records.note_from_data(noted.note))
        except ValueError as error:
            log.error("note_not_readable", call_id=history.call, error=str(error))
    return notes
