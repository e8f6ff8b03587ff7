"""Transcriptions, webhooks and fallback flows in the database: SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

from engine.accounts import callbook, repository
from engine.accounts.entities import Flow
from engine.api.messagebird.events import Events
from engine.callbacks.announcing import Announcements
from engine.callbacks.records import CallFinished, CallStarted, Record, RecordingFinished, RecordingStarted
from engine.callbacks.rows import Batch
from engine.store import Store, transcriptions, webhooks
from engine.transcription import LanguageNotInstalled, Transcriber, Transcript
from engine.transcripts import Transcripts

CALL = uuid.uuid4().hex


async def stored(store: Store, *records: Record, announcements: Announcements | None = None) -> int:
    batch = Batch()
    for record in records:
        batch.add(record)
    async with store.writing() as connection:
        await batch.store(connection)
        return await announcements.store(connection, batch.records) if announcements is not None else 0


async def two_accounts(store: Store) -> tuple[str, str]:
    await store.migrate()
    async with store.writing() as connection:
        return (
            (await repository.add_account(connection, "one")).id,
            (await repository.add_account(connection, "two")).id,
        )


async def test_a_recording_that_a_flow_wants_transcribed_is_owed_to_the_account_of_its_call(store: Store) -> None:
    one, two = await two_accounts(store)
    path = f"/tmp/{CALL}-2.wav"
    await stored(
        store,
        CallStarted(1.0, call=CALL, caller="a", callee="b", account=one),
        RecordingStarted(2.0, call=CALL, path=path),
        RecordingFinished(3.0, call=CALL, path=path, seconds=1.0, transcribe="xx", number=2),
        RecordingFinished(3.0, call="unknown", path="x", seconds=1.0, transcribe="xx", number=1),
    )
    async with store.reading() as connection:
        (text,) = await transcriptions.all_of(connection, one, CALL, 2)
        assert (text.status, text.language, text.path) == ("created", "xx", path)
        assert await transcriptions.next_open(connection) == text
        assert await transcriptions.all_of(connection, two, CALL, 2) == []
        assert await transcriptions.get(connection, two, text.id) is None
        assert await callbook.recordings(connection, two, CALL) == []
        assert [row.path for row in await callbook.recordings(connection, one, CALL)] == [path]
        assert [row.id for row in await callbook.calls_beginning(connection, one, CALL[:28])] == [CALL]
        assert await callbook.calls_beginning(connection, two, CALL[:28]) == []
        assert await callbook.calls_beginning(connection, one, "%") == []


async def test_webhooks_are_told_of_the_calls_of_their_account_as_they_were(store: Store) -> None:
    one, two = await two_accounts(store)
    announcements, events = Announcements(), Events()
    announcements.add(events)
    began = CallStarted(1.0, call=CALL, caller="+31", callee="+32", account=one)
    assert await stored(store, began, announcements=announcements) == 0
    assert not events.wants()  # there are no webhooks at all: nothing is read
    async with store.writing() as connection:
        await webhooks.add(connection, one, "http://a/", "secret")
        await webhooks.add(connection, one, "http://c/", "", call_id=CALL)
        await webhooks.add(connection, one, "http://d/", "", call_id="another")
        await webhooks.add(connection, two, "http://b/", "secret")
        assert [each.url for each in await webhooks.all_of(connection, one)] == ["http://a/"]
    events.added()
    other = uuid.uuid4().hex
    owed = await stored(
        store,
        CallStarted(2.0, call=other, caller="+31", callee="+32", account=one),
        CallFinished(3.0, call=other, by="flow", reason=""),
        CallFinished(3.0, call=CALL, by="flow", reason=""),
        announcements=announcements,
    )
    assert owed == 4  # two of the other call and the end of the first for a, that end for c


async def test_one_flow_of_an_account_is_the_fallback(store: Store) -> None:
    one, two = await two_accounts(store)
    async with store.writing() as connection:
        flows = [(await repository.save_flow(connection, one, name, "{}")).flow for name in ("a", "b")]
        theirs = (await repository.save_flow(connection, two, "a", "{}")).flow
        for flow in (*flows, theirs):
            await repository.set_fallback(connection, flow.account_id, flow.id)
        assert {each.id for each in await repository.fallbacks(connection)} == {flows[1].id, theirs.id}
        await repository.set_fallback(connection, one, theirs.id)  # somebody else's
        await repository.set_fallback(connection, one, None)
        assert [each.id for each in await repository.fallbacks(connection)] == [theirs.id]
        assert (await repository.get(connection, Flow, two, "a")).fallback


class Ears(Transcriber):
    """Hears the name of the file; knows one language."""

    async def transcribe(self, path: Path, language: str = "en", *, channel: int | None = None) -> Transcript:
        if language != "en":
            raise LanguageNotInstalled(language)
        return Transcript(path.stem, (), "ears", language, 1.0)


async def test_what_was_left_by_an_earlier_life_is_transcribed(store: Store) -> None:

    one, _ = await two_accounts(store)
    async with store.writing() as connection:
        left = await transcriptions.add(connection, one, CALL, 1, "/x/words.wav", "en")
        await transcriptions.move(connection, left.id, "transcribing")
        bad = await transcriptions.add(connection, one, CALL, 1, "/x/worte.wav", "de")
    moved: list[tuple[str, str]] = []
    made = asyncio.Event()

    async def told(connection: object, changed: transcriptions.Transcription, *, new: bool) -> list[dict[str, object]]:
        moved.append((changed.id, changed.status))
        if changed.id == bad.id and changed.status == "failed":
            made.set()
        return []

    transcripts = Transcripts(store, Ears(), lambda: None)
    transcripts.told.append(told)
    task = asyncio.create_task(transcripts.run())
    await asyncio.wait_for(made.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert moved == [(left.id, "done"), (bad.id, "transcribing"), (bad.id, "failed")]
    async with store.reading() as connection:
        found = await transcriptions.all_of(connection, one, CALL, 1)
    assert [(each.text, each.error) for each in found] == [
        ("words", None), (None, "the language 'de' is not installed"),
    ]  # fmt: skip
    assert all(each.updated_at <= time.time() for each in found)
