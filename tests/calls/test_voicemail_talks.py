"""Talks about messages with a caller who presses keys when certain words are heard, without waiting for anything."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.callbacks.records import MailboxChanged, MessageLeft, MessageMarked, Record
from engine.calls.voicemail import pins
from engine.calls.voicemail.boxes import Mailboxes
from engine.calls.voicemail.service import VoicemailService
from engine.config import MailboxConfig
from engine.store import Store
from flows.call import Callback, CallEnded, Input, Key, Note, RecordingEnded, RecordingOrder
from flows.orders import Outcome, Voicemail
from flows.prompts import Prompt
from media.files import MediaImporter
from media.tts.store import PromptStore

PIN = "4711"
HANG_UP, SILENCE = "!", "."
"""Instead of a key: the caller hangs up, or says nothing until that ends the recording."""


class Caller:
    """A call whose caller hears everything at once. ``script``: when these words are heard, these keys are pressed."""

    def __init__(self, *script: tuple[str, str], caller: str = "3901", device: str = "", speaks: bool = True) -> None:
        self.id, self.caller, self.callee = "call", caller, "7000"
        self.facts = {"call.account": "default", "call.caller_name": "Anna", "call.user": device}
        self.heard: list[str] = []
        self.notes: list[Note] = []
        self.orders: list[RecordingOrder] = []
        self.recorded: list[Path] = []
        self.seconds, self.why = 5.0, ""
        self.playing = False
        self.signalling = self
        self._script = deque(script)
        self._keys: deque[str] = deque()
        self.secret_keys, self.open_keys = "", ""
        self._is_secret = False
        self._time = 0.0
        self._speaks = speaks

    def _hear(self, words: str) -> None:
        self.heard.append(words)
        if self._script and self._script[0][0] in words:
            self._keys.extend(self._script.popleft()[1])

    def _press(self) -> str:
        key = self._keys.popleft()
        if key == HANG_UP:
            raise CallEnded("caller", "hung up")
        if self._is_secret:
            self.secret_keys += key
        else:
            self.open_keys += key
        return key

    # --- what voicemail wants of a live call ------------------------------------------------

    def now(self) -> float:
        return self._time

    @contextlib.contextmanager
    def secret(self) -> Iterator[None]:
        self._is_secret = True
        yield
        self._is_secret = False

    async def sounds_of(self, prompts: Sequence[Prompt]) -> dict[Prompt, Path]:
        return {prompt: Path(prompt.text) for prompt in prompts} if self._speaks else {}

    def play_files(self, files: Sequence[Path]) -> None:
        self._hear(" ".join(map(str, files)))

    def stop(self) -> None:
        """Nothing plays for long."""

    async def played(self) -> None:
        """It has been heard."""

    async def key_or_change(self, deadline: float | None) -> str:
        if self._keys:
            return self._press()
        assert deadline is not None
        self._time = max(self._time, deadline)
        return ""

    async def next(self, deadline: float | None) -> Input | None:
        if deadline is not None:
            return None
        if (key := self._press() if self._keys else SILENCE) == SILENCE:
            self.why = self.why or "silence"
            return RecordingEnded("r", self.seconds, self.why, self._time)
        return Key(key, self._time)

    async def unless_over(self, work: Awaitable[Any]) -> Any:
        return await work

    def trouble(self, what: str) -> None:
        self.heard.append(f"trouble: {what}")

    def tell(self, note: Note) -> None:
        self.notes.append(note)

    def begin_recording(self, order: RecordingOrder, path: Path, *, listed: bool = True) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
        self.orders.append(order)
        self.recorded.append(path)
        self.why = ""
        self._hear("beep")
        return "r"

    async def complete_recording(self, recording: str) -> tuple[float, str]:
        return self.seconds, self.why or "stopped"

    def left(self) -> list[bool]:
        """Which of the recordings are still there."""
        return [path.exists() for path in self.recorded]


class Office:
    def __init__(self, service: VoicemailService, records: list[Record]) -> None:
        self.service, self.records = service, records

    async def set_up(self, **settings: object) -> None:
        await self.service.boxes.take_over([MailboxConfig.model_validate({"id": "100", "pin": PIN, **settings})])

    async def leave(self, caller: Caller, **order: Any) -> Outcome:
        return await self.service.serve(cast("Any", caller), Voicemail(box="100", **order))

    async def check(self, caller: Caller, **order: Any) -> Outcome:
        return await self.service.serve(cast("Any", caller), Voicemail(action="check", **{"box": "", **order}))

    def of(self, kind: type[Record]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}")
    await store.migrate()
    records: list[Record] = []
    boxes = Mailboxes(store, records.append, tmp_path / "recordings")
    tones = SimpleNamespace(entry=Path("<tone>"))
    importer = MediaImporter(PromptStore(tmp_path / "sounds"))
    service = VoicemailService(boxes, cast("Any", tones), importer, lambda _account: {"anna": ("phone",)})
    office = Office(service, records)
    await office.set_up()
    yield office
    await store.close()


# --- leaving a message ------------------------------------------------------------------


async def test_the_hash_key_ends_a_message_and_two_keeps_it(office: Office) -> None:
    await office.set_up(notify_url="http://example.com/new", notify_emails=["anna@example.com"])
    caller = Caller(("beep", "#"), ("To keep it", "2"))
    outcome = await office.leave(caller, limit=60.0)
    assert (outcome.facts, outcome.exits) == ({"status": "completed", "duration": "5"}, ())
    assert caller.heard[0].startswith("The person at extension one zero zero is not available. Please leave")
    (order,) = caller.orders
    assert (order.format, order.sides, order.limit, order.beep) == ("mp3", "caller", 60.0, True)
    (left,) = office.of(MessageLeft)
    assert (left.box, left.caller, left.caller_name, left.path) == ("100", "3901", "Anna", str(caller.recorded[0]))
    (note,) = caller.notes
    assert isinstance(note, Callback)
    assert (note.url, note.method, note.encoding) == ("http://example.com/new", "POST", "json")
    assert note.params["emails"] == "anna@example.com"


@pytest.mark.parametrize("when", ["beep", "To keep it"])
async def test_who_hangs_up_has_left_what_was_said(office: Office, when: str) -> None:
    caller = Caller(("beep", HANG_UP)) if when == "beep" else Caller(("beep", "#"), (when, HANG_UP))
    with pytest.raises(CallEnded):
        await office.leave(caller)
    assert len(office.of(MessageLeft)) == 1
    assert caller.left() == [True]


async def test_too_little_is_no_message(office: Office) -> None:
    caller = Caller(("beep", HANG_UP))
    caller.seconds = 0.5
    with pytest.raises(CallEnded):
        await office.leave(caller)
    assert not office.of(MessageLeft)
    assert caller.left() == [False]


async def test_silence_is_no_message(office: Office) -> None:
    """Six seconds that ended in silence are nothing: the caller is asked again, and then no more."""
    caller = Caller()
    caller.seconds = 6.2
    outcome = await office.leave(caller)
    assert outcome.exits == ("failed",)
    assert caller.heard.count("Nothing was recorded.") == len(caller.recorded) == 5
    assert not any(caller.left())


async def test_listening_recording_again_and_cancelling(office: Office) -> None:
    await office.set_up(format="wav")
    caller = Caller(("beep", "#"), ("To keep it", "1"), ("recordings", "3"), ("beep", "#"), ("To keep it", "7"))
    outcome = await office.leave(caller)
    assert outcome.exits == ("failed",)
    assert str(caller.recorded[0]) in caller.heard
    assert caller.left() == [False, False]
    assert caller.heard[-1] == "Cancelled."


async def test_who_says_nothing_in_the_menu_keeps_the_message(office: Office) -> None:
    caller = Caller(("beep", "#"))
    await office.leave(caller)
    assert len(office.of(MessageLeft)) == 1


async def test_a_box_that_is_full_or_not_there(office: Office) -> None:
    await office.set_up(max_messages=1)
    await office.leave(Caller(("beep", "#")))
    outcome = await office.leave(caller := Caller())
    assert (outcome.exits, outcome.story, caller.heard) == (
        ("failed",),
        "the mailbox 100 is full",
        ["This mailbox is full."],
    )
    await office.set_up(id="200")
    assert (await office.leave(Caller())).story == "there is no mailbox 100"


async def test_settings_of_the_box(office: Office, tmp_path: Path) -> None:
    greeting = tmp_path / "greeting.wav"
    greeting.write_bytes(b"sound")
    await office.set_up(greeting=str(greeting), skip_instructions=True, max_message_length=10, format="wav")
    caller = Caller(("beep", "#"))
    await office.leave(caller, limit=500.0)
    assert caller.heard[0] == str(greeting)
    assert (caller.orders[0].limit, caller.orders[0].format) == (10.0, "wav")
    await office.set_up(skip_greeting=True, skip_instructions=True)
    caller = Caller(("beep", "#"))
    await office.leave(caller)
    assert caller.heard[0] == "beep"


async def test_without_a_voice_tones_lead_through_the_talk(office: Office) -> None:
    caller = Caller(("beep", "#"), ("<tone>", "2"), speaks=False)
    await office.leave(caller)
    assert caller.heard[:3] == ["<tone>", "beep", "<tone>"]
    assert len(office.of(MessageLeft)) == 1


# --- checking a box ---------------------------------------------------------------------


async def filled(office: Office, *callers: str) -> None:
    await office.set_up(format="wav")
    for caller in callers:
        await office.leave(Caller(("beep", "#"), caller=caller))


async def test_the_owner_goes_through_the_messages(office: Office) -> None:
    """Saves one, hears how the next came again, goes back and on, deletes the last; then there is one saved message."""
    await filled(office, "1", "2", "3")
    caller = Caller(
        ("number of your mailbox", "100#"),
        ("enter your PIN", f"{PIN}#"),
        ("three new messages", "1"),
        ("from one", "2"),
        ("from two", "5"),
        ("from two", "4"),
        ("from one", "6"),
        ("from two", "6"),
        ("from three", "7"),
        ("one new message and one saved message", "2"),
        ("from one", "#"),
    )
    outcome = await office.check(caller)
    assert outcome.story == "heard 6 messages of 100"
    assert [mark.state for mark in office.of(MessageMarked)] == ["saved", "deleted"]
    assert caller.heard[-1] == "Goodbye."
    assert (caller.open_keys[:4], caller.secret_keys) == ("100#", f"{PIN}#")
    assert "Received today at " in " ".join(caller.heard)


async def test_a_message_that_was_only_heard_stays_new(office: Office) -> None:
    await filled(office, "1")
    caller = Caller(("enter your PIN", f"{PIN}#"), ("one new message", "1"), ("To hear it again", "6"))
    await office.check(caller, box="100")
    assert not office.of(MessageMarked)
    assert caller.heard[-2].startswith("You have one new message")


async def test_pin_and_greeting_are_changed_by_telephone(office: Office) -> None:
    caller = Caller(
        ("enter your PIN", f"{PIN}#"),
        ("You have no new messages", "5"),
        ("To record your greeting", "3"),
        ("Enter the new PIN", "12345#"),
        ("Enter it again", "12345#"),
        ("To record your greeting", "1"),
        ("beep", "#"),
        ("To keep it", "2"),
        ("To record your greeting", "#"),
        ("You have", "#"),
    )
    await office.check(caller, box="100")
    assert (caller.secret_keys, caller.open_keys) == (f"{PIN}#12345#12345#", "531#2##"), "what captures tell"
    pin, greeting = office.of(MailboxChanged)
    assert pins.matches("12345", pin.pin)
    assert greeting.greeting == str(caller.recorded[0])
    heard = Caller(("beep", "#"))
    await office.leave(heard)
    assert heard.heard[0].startswith(greeting.greeting)
    again = Caller(("enter your PIN", "12345#"), ("You have", "5"), ("To record your greeting", "2"))
    await office.check(again, box="100")
    assert caller.left() == [False]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [(("12#", ""), "A PIN has"), (("1234#", "1235#"), "These were not the same.")],
    ids=["too short", "not the same"],
)
async def test_a_pin_that_is_not_taken(office: Office, keys: tuple[str, str], complaint: str) -> None:
    caller = Caller(
        ("enter your PIN", f"{PIN}#"),
        ("You have", "5"),
        ("To change your PIN", "3"),
        ("Enter the new PIN", keys[0]),
        *((("Enter it again", keys[1]),) if keys[1] else ()),
    )
    await office.check(caller, box="100")
    assert not office.of(MailboxChanged)
    assert any(complaint in words for words in caller.heard)


async def test_three_wrong_pins_and_ten_in_all(office: Office) -> None:
    for _ in range(4):
        caller = Caller(*(("enter your PIN", "0000#"),) * 3)
        assert (await office.check(caller, box="100")).story == "the PIN for 100 was wrong"
    right = Caller(("enter your PIN", f"{PIN}#"))
    assert (await office.check(right, box="100")).exits == ("failed",)


async def test_a_box_that_is_not_there_asks_for_its_pin_like_any_other(office: Office) -> None:
    caller = Caller(*(("number of your mailbox", "999#"), ("enter your PIN", f"{PIN}#")) * 3)
    assert (await office.check(caller)).story == "nobody logged in"
    assert sum("enter your PIN" in words for words in caller.heard) == 3


@pytest.mark.parametrize(
    ("settings", "device", "first"),
    [
        ({"owner": "anna"}, "phone", "enter your PIN"),
        ({"owner": "anna", "require_pin": False}, "phone", "You have"),
        ({"owner": "phone", "require_pin": False}, "phone", "You have"),
        ({"owner": "anna", "pin": ""}, "phone", "You have"),
        ({"owner": "anna", "require_pin": False}, "other", "number of your mailbox"),
    ],
)
async def test_who_has_one_box_need_not_name_it(
    office: Office, settings: dict[str, object], device: str, first: str
) -> None:
    await office.service.boxes.take_over([])
    await office.set_up(**settings)
    caller = Caller(("You have", "#"), device=device)
    outcome = await office.check(caller, single_login=True)
    assert first in caller.heard[0]
    assert (outcome.exits == ()) == (first == "You have")


async def test_the_number_of_the_caller_may_name_the_box(office: Office) -> None:
    caller = Caller(("enter your PIN", f"{PIN}#"), ("You have", "#"), caller="100")
    assert (await office.check(caller, login_by_caller_id=True)).exits == ()


async def test_a_box_without_pin_is_closed_to_strangers(office: Office) -> None:
    await office.service.boxes.take_over([])
    await office.set_up(pin="")
    caller = Caller(*(("enter your PIN", "#"),) * 3)
    assert (await office.check(caller, box="100")).exits == ("failed",)


async def test_the_star_key_in_the_greeting_is_for_the_owner(office: Office) -> None:
    caller = Caller(("Please leave a message", "*"), ("enter your PIN", f"{PIN}#"), ("You have", "#"))
    assert (await office.leave(caller)).story == "heard 0 messages of 100"
