"""What the next start makes of calls that a killed process left behind."""

from __future__ import annotations

import time
import wave
from pathlib import Path
from typing import Any

import pytest

from engine.callbacks import records
from engine.calls.recovery import REASON, Recovery
from flows.call import Callback, Entered, Note, Subscribed

URL = "http://127.0.0.1/hook"
DIALOG = {"call_id": "sip-1"}


def history(*notes: Note, answered: bool = True, dialog: bool = True) -> records.CallHistory:
    made = records.CallHistory(
        records.CallStarted(100.0, call="c1", caller="+39", callee="1000", sip_call_id="sip-1"),
        answered=records.CallAnswered(101.0, call="c1", dialog=DIALOG) if answered else None,
        dialog=DIALOG if answered and dialog else None,
        last_known=109.9,
    )
    made.notes = [records.Noted(102.0, call="c1", note=records.note_to_data(note)) for note in notes]
    return made


class House:
    def __init__(self, *, bye: bool = True) -> None:
        self.journal: list[records.Record] = []
        self.byes: list[str] = []
        self._bye = bye
        self.recovery = Recovery(self.journal.append, self._say_bye)

    def _say_bye(self, dialog: dict[str, Any]) -> bool:
        self.byes.append(dialog["call_id"])
        return self._bye

    def closes(self) -> list[Callback]:
        notes = [records.note_from_data(record.note) for record in self.journal if isinstance(record, records.Noted)]
        return [note for note in notes if isinstance(note, Callback)]

    def finished(self) -> list[records.CallFinished]:
        return [record for record in self.journal if isinstance(record, records.CallFinished)]


def opened(seq: int, event: str = "open") -> Callback:
    return Callback(URL, {"e": event, "seq": str(seq)})


async def test_the_close_is_told_at_once_and_the_end_after_the_bye():
    house = House()
    await house.recovery.begin(
        [history(Subscribed(URL), Entered("", "1"), opened(1), Entered("yes", "2"), opened(2, "tree"))]
    )
    assert house.byes == ["sip-1"]
    [close] = house.closes()
    assert close.url == URL
    assert dict(close.params) == {
        "e": "close",
        "path": "yes",
        "from": "+39",
        "to": "1000",
        "id": "c1",
        "answered": "true",
        "duration": "8",
        "seq": "3",
    }
    assert house.finished() == []
    house.recovery.bye_finished("sip-1", 200)
    house.recovery.bye_finished("sip-1", 200)
    [end] = house.finished()
    assert (end.by, end.reason, end.path) == ("error", REASON, "yes")
    assert abs(end.duration - 8.9) < 1e-6


async def test_a_second_kill_before_the_bye_is_done_tells_no_second_close():
    first = House()
    past = history(Subscribed(URL), opened(1))
    await first.recovery.begin([past])
    past.notes += [record for record in first.journal if isinstance(record, records.Noted)]
    second = House()
    await second.recovery.begin([past])
    assert second.byes == ["sip-1"]
    assert second.closes() == []
    second.recovery.bye_finished("sip-1", 481)
    assert len(second.finished()) == 1


async def test_a_peer_that_is_gone_is_given_up_after_a_few_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills that come faster than a BYE is given up must not pile up calls that each start says BYE to again."""
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    journal: list[records.Record] = [
        records.CallStarted(100.0, call="c1", caller="+39", callee="1000", sip_call_id="sip-1"),
        records.LegStarted(100.0, call="c1", leg="c1-leg1", to="desk"),
        records.LegAnswered(101.0, call="c1", leg="c1-leg1", dialog={"call_id": "leg"}),
        records.CallAnswered(101.0, call="c1", dialog=DIALOG),
    ]
    said = []
    while lives := records.calls_of(journal):
        house = House()
        await house.recovery.begin(lives)
        journal += [records.decode(records.encode(record)) for record in house.journal]
        said.append(house.byes)
        now += 11.0
    assert said == [["leg", "sip-1"]] * 3 + [[]]
    assert [type(record).__name__ for record in house.journal] == ["LegFinished", "CallFinished"]


async def test_byes_of_one_moment_are_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lives there were: the peer may have been out of reach for some seconds."""
    monkeypatch.setattr(time, "time", lambda: 1031.0)
    house = House()
    past = history()
    for at in (1000.0, 1001.0, 1002.0, 1003.0):
        past.add(records.ByeSaid(at, call="c1"))
    await house.recovery.begin([past])
    assert house.byes == ["sip-1"]


async def test_a_call_that_was_never_answered_gets_no_bye_and_a_close_without_answered():
    house = House()
    await house.recovery.begin([history(Subscribed(URL), answered=False)])
    assert house.byes == []
    [close] = house.closes()
    assert "answered" not in close.params
    assert close.params["duration"] == "0"
    assert house.finished()[0].duration == 0.0


async def test_a_damaged_dialog_does_not_keep_the_call_open():
    house = House(bye=False)
    await house.recovery.begin([history()])
    assert len(house.finished()) == 1


async def test_dialled_legs_are_hung_up_too_unless_they_had_ended() -> None:
    house = House()
    past = history()
    for leg in ("c1-leg1", "c1-leg2"):
        past.add(records.LegStarted(103.0, call="c1", leg=leg, to="desk"))
        past.add(records.LegAnswered(104.0, call="c1", leg=leg, dialog={"call_id": leg}))
    past.add(records.LegFinished(105.0, call="c1", leg="c1-leg1", by="remote", reason=""))
    await house.recovery.begin([past])
    assert house.byes == ["c1-leg2", "sip-1"]
    house.recovery.bye_finished("sip-1", 200)
    assert [each.leg for each in house.journal if isinstance(each, records.LegFinished)] == ["c1-leg2"]


async def test_a_call_that_went_out_is_hung_up_once_in_the_dialog_of_its_leg() -> None:
    house = House()
    past = records.CallHistory(records.CallStarted(100.0, call="c1", caller="", callee="+39", direction="outbound"))
    past.add(records.LegStarted(100.0, call="c1", leg="c1-leg1", to="+39"))
    past.add(records.LegAnswered(101.0, call="c1", leg="c1-leg1", dialog={"call_id": "sip-9"}))
    past.add(records.CallAnswered(101.0, call="c1", dialog={"call_id": "sip-9"}))
    past.add(records.LegAnswered(101.0, call="c1", leg="c1-leg1", dialog={}))
    past.last_known = 105.0
    await house.recovery.begin([past])
    assert house.byes == ["sip-9"]
    assert house.finished() == []
    house.recovery.bye_finished("sip-9", 200)
    assert [each.leg for each in house.journal if isinstance(each, records.LegFinished)] == ["c1-leg1"]
    assert len(house.finished()) == 1


async def test_a_recording_that_was_cut_short_is_uploaded_all_the_same(tmp_path: Path):
    paths = [tmp_path / name for name in ("long.wav", "short.wav", "plain.wav")]
    for path, seconds in zip(paths, (3, 1, 2), strict=True):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(16_000 * seconds))
    cut = history()
    for path, upload in zip(paths, ("https://a.example/l", "https://a.example/s", ""), strict=True):
        cut.add(
            records.RecordingStarted(
                103.0, call="c1", path=str(path), upload=upload, method="POST", least=2.0, transcribe="en", number=1
            )
        )
    house = House(bye=False)
    await house.recovery.begin([cut])
    ends = [each for each in house.journal if isinstance(each, records.RecordingFinished)]
    assert [(Path(each.path).name, each.seconds, each.transcribe) for each in ends] == [
        ("long.wav", 3.0, "en"), ("short.wav", 1.0, "en"), ("plain.wav", 2.0, "en"),
    ]  # fmt: skip
    (owed,) = [each for each in house.journal if isinstance(each, records.UploadOwed)]
    assert (owed.url, owed.method, owed.path) == ("https://a.example/l", "POST", str(paths[0]))
    assert house.journal.index(owed) < house.journal.index(house.finished()[0])


def begun(path: Path) -> records.MessageBegun:
    return records.MessageBegun(
        105.0, call="c1", account="default", box="100", path=str(path), caller="+39", to="1000", notify_url=URL
    )


def sound_file(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(round(seconds * 16_000)))
    return path


async def test_a_message_that_was_under_way_is_left(tmp_path: Path) -> None:
    """Its sound as far as it came, and the news for the customer's server; a second kill leaves no second one."""
    path = sound_file(tmp_path / "m.wav", 3.5)
    told = [
        records.CallStarted(100.0, call="c1", caller="+39", callee="1000", sip_call_id="sip-1"),
        begun(path),
        records.RecordingStarted(105.1, call="c1", path=str(path)),
    ]
    house = House(bye=False)
    await house.recovery.begin(records.calls_of(told))
    (left,) = [record for record in house.journal if isinstance(record, records.MessageLeft)]
    assert (left.box, left.message, left.path, left.caller) == ("100", "m", str(path), "+39")
    assert (left.seconds, left.at) == (3.5, 105.1)
    (news,) = house.closes()
    assert (news.url, dict(news.params)["message"], dict(news.params)["seconds"]) == (URL, "m", "3.5")
    again = House(bye=False)
    journal = [record for record in house.journal if not isinstance(record, records.CallFinished)]
    await again.recovery.begin(records.calls_of([*told, *journal]))
    assert not [record for record in again.journal if isinstance(record, records.MessageLeft)]
    assert len(again.finished()) == 1


async def test_too_little_of_a_message_is_none(tmp_path: Path) -> None:
    short, dropped = sound_file(tmp_path / "short.wav", 0.5), tmp_path / "dropped.wav"
    made = history(dialog=False)
    made.messages = {str(path): begun(path) for path in (short, dropped)}
    house = House()
    await house.recovery.begin([made])
    assert not [record for record in house.journal if isinstance(record, records.MessageLeft)]
    assert house.closes() == []
    assert not short.exists()
