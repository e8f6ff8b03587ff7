"""The journal: one write per record, nothing lost by a kill, a torn line or a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.callbacks import journal as journals
from engine.callbacks import records
from engine.callbacks.journal import Journal, JournalError
from engine.callbacks.records import (
    CallAnswered,
    CallFinished,
    CallStarted,
    DialogChanged,
    Heartbeat,
    Noted,
    Record,
    RecordingStarted,
)
from engine.callbacks.segments import Segment, read, records_of, segments_in
from flows import call as flow_call


def started(call: str, at: float = 1.0) -> CallStarted:
    return CallStarted(at, call=call, caller="+391", callee="1000")


def finished(call: str, at: float = 9.0) -> CallFinished:
    return CallFinished(at, call=call, by="caller", reason="hung up")


def everything(folder: Path) -> list[Record]:
    return [record for segment in segments_in(folder) for record in records_of(folder, segment)]


def payload(folder: Path) -> list[Record]:
    return [record for record in everything(folder) if not isinstance(record, records.SegmentOpened)]


def test_what_was_appended_is_there_at_once_for_another_reader(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append(started("a"))
    assert payload(tmp_path) == [started("a")]  # the file is read anew: nothing waits in our memory
    journal.close()


def test_each_record_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path)
    writes: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or real(fd, data))
    journal.append(started("a"))
    journal.append(finished("a"))
    monkeypatch.undo()
    assert [line.count(b"\n") for line in writes] == [1, 1]
    journal.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    with pytest.raises(JournalError, match="another process"):
        Journal.open(tmp_path)
    journal.close()
    Journal.open(tmp_path).close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(JournalError, match="journal"):
        Journal.open(file / "journal")


def test_unfinished_calls_come_back_with_all_their_notes(tmp_path: Path) -> None:
    note = flow_call.Callback("http://x/?a=1", {"e": "open", "seq": "1"})
    journal = Journal.open(tmp_path, wall=lambda: 77.0)
    journal.append(started("done"))
    journal.append(started("cut"))
    journal.append(CallAnswered(2.0, call="cut", dialog={"tag": "1"}))
    journal.append(DialogChanged(call="cut", dialog={"tag": "1", "cseq": 2}))
    journal.append(Noted(3.0, call="cut", note=records.note_to_data(note)))
    journal.append(RecordingStarted(3.5, call="cut", path="/r/cut.wav"))
    journal.append(finished("done"))
    journal.append(started("ringing"))
    assert journal.unfinished_calls() == []  # calls of this life are not its own leftovers
    journal.heartbeat()
    journal.close()

    again = Journal.open(tmp_path, wall=lambda: 1000.0)
    cut, ringing = again.unfinished_calls()
    assert (cut.call, cut.answered is not None, cut.dialog) == ("cut", True, {"tag": "1", "cseq": 2})
    assert cut.flow_notes() == [note]
    assert list(cut.recordings) == ["/r/cut.wav"]
    assert cut.last_known == 77.0, "the heartbeat, not the next life's start"
    assert (ringing.call, ringing.answered, ringing.dialog) == ("ringing", None, None)
    assert again.live_calls == 2
    again.append(finished("cut"))
    assert [each.call for each in again.unfinished_calls()] == ["ringing"]
    again.close()

    last = Journal.open(tmp_path)
    assert [each.call for each in last.unfinished_calls()] == ["ringing"]
    assert last.unfinished_calls()[0].last_known == 77.0
    last.close()


def test_recovery_that_is_killed_is_found_by_the_next(tmp_path: Path) -> None:
    for at, note in ((1.0, "first"), (50.0, "second")):
        journal = Journal.open(tmp_path, wall=lambda at=at: at)  # type: ignore[misc]
        if not journal.unfinished_calls():
            journal.append(started("a", 2.0))
        journal.append(Noted(3.0, call="a", note={"is": "Entered", "path": note, "step": ""}))
        journal.close()
    journal = Journal.open(tmp_path)
    (history,) = journal.unfinished_calls()
    assert [note.note["path"] for note in history.notes] == ["first", "second"]
    assert history.last_known == 3.0, "of the life in which the call ran"
    journal.close()


def test_heartbeats_only_while_there_are_calls(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, wall=lambda: 5.0)
    journal.heartbeat()
    journal.append(started("a"))
    journal.heartbeat()
    journal.append(finished("a"))
    journal.heartbeat()
    journal.close()
    assert sum(isinstance(record, Heartbeat) for record in everything(tmp_path)) == 1


def test_segments_rotate_and_go_when_stored_and_not_needed(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_size=400)
    journal.append(started("long"))
    for number in range(20):
        journal.append(started(f"short{number}"))
        journal.append(finished(f"short{number}"))
    files = segments_in(tmp_path)
    assert len(files) > 4
    assert journal.forget(files) == [], "the long call began in the first segment"
    journal.append(finished("long"))
    gone = journal.forget(files[:-2])
    assert gone == files[:-2]
    assert segments_in(tmp_path)[:1] == files[-2:-1]
    assert journal.current not in journal.forget(segments_in(tmp_path)), "never the one being written"
    journal.close()


def test_numbers_go_on_and_names_are_never_used_twice(tmp_path: Path) -> None:
    names: list[Segment] = []
    for _ in range(3):
        Journal.open(tmp_path).close()
        names = segments_in(tmp_path)
    assert [segment.number for segment in names] == [1, 2, 3]
    assert len({segment.mark for segment in names}) == 3


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_line_is_left_out_and_nothing_else(tmp_path: Path, cut: int) -> None:
    journal = Journal.open(tmp_path)
    journal.append(started("a"))
    journal.append(started("torn"))
    journal.close()
    (segment,) = segments_in(tmp_path)
    path = tmp_path / segment.name
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal.open(tmp_path)
    again.append(started("b"))
    again.close()
    assert payload(tmp_path) == [started("a"), started("b")]
    piece = read(tmp_path, segment, 0)
    assert piece.torn > 0
    assert piece.at_end


def test_a_damaged_line_costs_itself_only(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for call in "abc":
        journal.append(started(call))
    journal.close()
    (segment,) = segments_in(tmp_path)
    path = tmp_path / segment.name
    lines = path.read_bytes().split(b"\n")
    lines[2] = b"\0\xff" * 20
    path.write_bytes(b"\n".join(lines))
    assert payload(tmp_path) == [started("a"), started("c")]
    damaged = [entry for entry in read(tmp_path, segment, 0).entries if entry.record is None]
    assert [entry.raw for entry in damaged] == [b"\0\xff" * 20]


def test_reading_in_small_pieces_gives_the_same(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for number in range(50):
        journal.append(started(f"call{number}" * (number % 7 + 1)))
    journal.close()
    (segment,) = segments_in(tmp_path)
    found, offset = [], 0
    while True:
        piece = read(tmp_path, segment, offset, limit=64)
        found += [entry.record for entry in piece.entries]
        offset = piece.entries[-1].end if piece.entries else offset
        if piece.at_end:
            break
    assert found == everything(tmp_path)
    assert offset == (tmp_path / segment.name).stat().st_size


# --- a disk that refuses ----------------------------------------------------------------


class Disk:
    """``os.write`` with a disk behind it that has ``room`` bytes left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 40
        self._real = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._real(fd, bytes(data)[: self.room])
        self.room -= taken
        return taken


def test_a_full_disk_loses_nothing_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    journal = Journal.open(tmp_path)
    journal.append(started("a"))
    disk.room = 20  # part of a line
    for call in "bcd":
        journal.append(started(call))
    assert journal.backlog == 3
    assert payload(tmp_path) == [started("a")]
    (segment,) = segments_in(tmp_path)
    assert (tmp_path / segment.name).read_bytes().endswith(b"\n"), "the part of a line was cut off again"
    disk.room = 1 << 40
    journal.heartbeat()
    assert journal.backlog == 0
    assert [record.call for record in payload(tmp_path) if isinstance(record, CallStarted)] == list("abcd")
    journal.close()


def test_a_full_disk_at_rotation_keeps_the_old_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, segment_size=200)
    real = os.open

    def refuse(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    for number in range(10):
        journal.append(started(f"c{number}"))
    assert journal.backlog == 0
    assert len(segments_in(tmp_path)) == 1
    monkeypatch.undo()
    journal.append(started("last"))
    assert len(segments_in(tmp_path)) == 2
    assert len(payload(tmp_path)) == 11
    journal.close()


def test_a_segment_that_cannot_be_repaired_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    journal = Journal.open(tmp_path)

    def refuse(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", refuse)
    disk.room = 20
    journal.append(started("a"))
    disk.room = 1 << 40
    journal.append(started("b"))
    assert payload(tmp_path) == [started("a"), started("b")]
    assert len(segments_in(tmp_path)) == 2
    journal.close()


def test_memory_is_bounded_while_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "BACKLOG_LIMIT", 3)
    disk = Disk(monkeypatch)
    journal = Journal.open(tmp_path)
    disk.room = 0
    for call in "abcde":
        journal.append(started(call))
    assert (journal.backlog, journal.counters.dropped) == (3, 2)
    disk.room = 1 << 40
    journal.close()
    assert [record.call for record in payload(tmp_path) if isinstance(record, CallStarted)] == list("cde")


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    journal.close()
    journal.append(started("late"))
    assert journal.counters.dropped == 1
    assert payload(tmp_path) == []


# --- records ----------------------------------------------------------------------------

NOTES = st.one_of(
    st.builds(flow_call.Entered, st.text(), st.text()),
    st.builds(flow_call.Subscribed, st.text()),
    st.builds(flow_call.Callback, st.text(), st.dictionaries(st.text(), st.text()), st.sampled_from(["GET", "POST"])),
    st.builds(flow_call.Forwarding, st.text()),
    st.builds(flow_call.Spoke, st.builds(flow_call.Prompt, st.text(), st.text(), st.text(), st.text())),
    st.builds(flow_call.Heard, st.sampled_from(["key", "words"]), st.text()),
)


@given(note=NOTES, call=st.text(), at=st.floats(0, 1e11))
def test_every_note_survives_the_journal(note: flow_call.Note, call: str, at: float) -> None:
    line = records.encode(Noted(at, call=call, note=records.note_to_data(note)))
    assert line.count(b"\n") == 1
    back = records.decode(line[:-1])
    assert isinstance(back, Noted)
    assert (back.call, back.at, records.note_from_data(back.note)) == (call, at, note)


def test_text_that_is_no_unicode_is_written_all_the_same() -> None:
    line = records.encode(CallStarted(1.0, call="a", caller="\udcff7", callee="x"))
    back = records.decode(line[:-1])
    assert isinstance(back, CallStarted)
    assert back.caller == "?7"


@pytest.mark.parametrize("data", [{}, {"is": "Nothing"}, {"is": "Entered"}, {"is": "Entered", "path": 1, "step": ""}])
def test_data_that_is_no_note_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        records.note_from_data(data)
