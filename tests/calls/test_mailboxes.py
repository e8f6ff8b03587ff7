"""Mailboxes in the database: taken over from the configuration, changed through the journal."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.callbacks.records import Record
from engine.callbacks.rows import Batch
from engine.calls.voicemail import pins
from engine.calls.voicemail.boxes import Box, MailboxError, Mailboxes, Message
from engine.config import MailboxConfig
from engine.store import Store


class Journal:
    """Records that :meth:`store` brings into the database, when the test wants it."""

    def __init__(self, store: Store) -> None:
        self.records: list[Record] = []
        self._store = store

    async def store(self) -> None:
        batch = Batch()
        for record in self.records:
            batch.add(record)
        self.records.clear()
        async with self._store.writing() as connection:
            await batch.store(connection)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}")
    await store.migrate()
    yield store
    await store.close()


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)


@pytest.fixture
async def boxes(store: Store, journal: Journal, tmp_path: Path) -> Mailboxes:
    clock = itertools.count(1_700_000_000)
    boxes = Mailboxes(store, journal.records.append, tmp_path, wall=lambda: float(next(clock)))
    await boxes.take_over([configured("100"), configured("101")])
    return boxes


def configured(box: str, **settings: object) -> MailboxConfig:
    return MailboxConfig.model_validate({"id": box, **settings})


async def box_of(boxes: Mailboxes, box: str = "100") -> Box:
    found = await boxes.find("default", box)
    assert found is not None
    return found


def leave(boxes: Mailboxes, box: Box, caller: str = "39") -> Message:
    begun = boxes.begin("call", box, "100", caller, "")
    path = Path(begun.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    left = boxes.leave(box, begun, 3.0)
    return Message(left.message, left.path, left.caller, left.caller_name, left.seconds, left.at)


def is_there(message: Message) -> bool:
    return Path(message.path).exists()


async def states(boxes: Mailboxes, box: Box) -> list[tuple[str, str]]:
    return [(message.caller, message.state) for message in await boxes.messages(box)]


async def test_the_configuration_comes_again_and_the_telephone_counts(boxes: Mailboxes, journal: Journal) -> None:
    """PIN and greeting of the owner stay, everything else follows the file; a box that is gone there goes."""
    await boxes.take_over([configured("100", pin="1234", time_zone="Europe/Rome"), configured("102", owner="anna")])
    first = await box_of(boxes)
    assert first.time_zone == "Europe/Rome"
    assert pins.matches("1234", first.pin)
    assert await boxes.find("default", "101") is None
    assert await boxes.find("other", "100") is None
    boxes.change_pin("call", first, "scrypt$aa$bb")
    boxes.change_greeting("call", first, Path("/own.wav"))
    await journal.store()
    await boxes.take_over([configured("100", pin="9999", greeting="/file.wav", skip_greeting=True)])
    again = await box_of(boxes)
    assert (again.pin, again.own_greeting, again.greeting) == ("scrypt$aa$bb", "/own.wav", "/file.wav")
    assert again.skip_greeting


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in the journal only"])
async def test_what_was_changed_is_seen_at_once(boxes: Mailboxes, journal: Journal, stored: bool) -> None:
    box = await box_of(boxes)
    one, _, three = (leave(boxes, box, caller) for caller in ("1", "2", "3"))
    if stored:
        await journal.store()
    boxes.mark("call", box, one, "saved")
    boxes.mark("call", box, three, "deleted")
    boxes.change_pin("call", box, "scrypt$cc$dd")
    if stored:
        await journal.store()
    assert await states(boxes, box) == [("1", "saved"), ("2", "new")]
    assert await states(boxes, await box_of(boxes, "101")) == []
    assert (await box_of(boxes)).pin == "scrypt$cc$dd"


async def test_another_process_sees_what_is_stored(
    boxes: Mailboxes, store: Store, journal: Journal, tmp_path: Path
) -> None:
    box = await box_of(boxes)
    boxes.mark("call", box, leave(boxes, box), "saved")
    await journal.store()
    other = Mailboxes(store, lambda record: None, tmp_path)
    assert await states(other, box) == [("39", "saved")]


async def test_the_order_of_messages(boxes: Mailboxes) -> None:
    box = await box_of(boxes)
    for caller in ("1", "2"):
        leave(boxes, box, caller)
    assert [caller for caller, _ in await states(boxes, box)] == ["1", "2"]
    newest_first = Box(box.account, box.id, oldest_first=False)
    assert [caller for caller, _ in await states(boxes, newest_first)] == ["2", "1"]


async def test_the_file_of_a_deleted_message_goes_when_the_database_knows(boxes: Mailboxes, journal: Journal) -> None:
    box = await box_of(boxes)
    kept, deleted = leave(boxes, box), leave(boxes, box)
    await journal.store()
    boxes.mark("call", box, deleted, "deleted")
    assert await boxes.clean() == 0
    assert is_there(deleted)
    await journal.store()
    assert await boxes.clean() == 1
    assert await boxes.clean() == 0
    assert (is_there(kept), is_there(deleted)) == (True, False)


async def test_a_box_that_was_found_once_is_found_without_the_database(boxes: Mailboxes, store: Store) -> None:
    """Messages can be left then; what is in a box nobody knows."""
    box = await box_of(boxes)
    async with store.writing() as connection:
        await connection.exec_driver_sql("ALTER TABLE mailboxes RENAME TO away")
        await connection.exec_driver_sql("ALTER TABLE messages RENAME TO away_too")
    assert await boxes.find("default", "100") == box
    with pytest.raises(MailboxError):
        await boxes.find("default", "101")
    with pytest.raises(MailboxError):
        await boxes.messages(box)


async def test_boxes_are_found_by_their_owner(boxes: Mailboxes) -> None:
    await boxes.take_over([configured("1", owner="anna"), configured("2", owner="phone"), configured("3")])
    assert {box.id for box in await boxes.owned_by("default", {"anna", "phone", "nobody"})} == {"1", "2"}
    assert await boxes.owned_by("default", {""}) == []
    assert await boxes.owned_by("other", {"anna"}) == []


# --- PINs --------------------------------------------------------------------------------


def test_pins_are_salted_and_match_themselves_only() -> None:
    kept = pins.hashed("1234")
    assert pins.matches("1234", kept)
    assert not pins.matches("1235", kept)
    assert kept != pins.hashed("1234")
    for nothing in ("", "scrypt", "scrypt$$", "scrypt$zz$zz", "plain$1234$1234"):
        assert not pins.matches("1234", nothing)
        assert not pins.matches("", nothing)


def test_what_a_pin_is() -> None:
    assert [pins.is_pin(text) for text in ("1234", "123456789012", "123", "1234567890123", "12a4", "١٢٣٤", "")] == [
        *(True, True),
        *(False,) * 5,
    ]


def test_too_many_guesses_lock_a_box_for_a_while() -> None:
    guesses = pins.Guesses()
    for guess in range(pins.MOST_WRONG):
        assert guesses.may_try("100", guess)
        guesses.wrong("100", guess)
    assert not guesses.may_try("100", 10.0)
    assert guesses.may_try("101", 10.0)
    assert guesses.may_try("100", pins.WINDOW + 10.0)
    guesses.wrong("100", 2000.0)
    guesses.right("100")
    assert guesses.may_try("100", 2000.0)
