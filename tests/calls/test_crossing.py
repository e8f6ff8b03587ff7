"""Which keys by INFO are pressed at the other end of a bridge (:mod:`engine.calls.crossing`)."""

from __future__ import annotations

import asyncio

from engine.calls.crossing import MOST, PATIENCE, CrossingKeys
from engine.calls.keys import PAIRING
from engine.calls.media import Stream
from media import commands, reports
from media.ipc import Message


def test_a_key_by_info_alone_is_pressed() -> None:
    keys = CrossingKeys()
    tickets = [keys.told(digit, 0.1 * place) for place, digit in enumerate("77")]
    assert [keys.due(ticket) for ticket in tickets] == ["7", "7"]


def test_a_key_that_the_stream_has_as_well_is_not_pressed_again_whichever_came_first() -> None:
    keys = CrossingKeys()
    for start in (0.0, 2.0, 4.0):  # a long press: INFO comes when it is let go
        keys.passed("rfc4733", "5", start)
        keys.passed("inband", "5", start + 0.05)
        assert not keys.told("5", start + 1.5)
    for start in (20.0, 22.0):
        ticket = keys.told("6", start)
        keys.passed("rfc4733", "6", start + PATIENCE / 2)
        keys.passed("inband", "6", start + PATIENCE)
        assert keys.due(ticket) == ""


def test_of_two_presses_only_the_one_that_the_stream_lacks_is_pressed() -> None:
    keys = CrossingKeys()
    keys.passed("inband", "1", 0.0)
    assert not keys.told("1", 0.1)
    assert keys.due(keys.told("1", 0.4)) == "1"
    keys.passed("inband", "2", 1.0)
    assert keys.due(keys.told("3", 1.1)) == "3", "another key"
    assert keys.due(keys.told("2", 1.1 + PAIRING)) == "2", "much later"


def test_what_waits_is_for_nobody_else() -> None:
    keys = CrossingKeys()
    ticket = keys.told("#", 0.0)
    keys.disconnected()
    assert keys.due(ticket) == ""


def test_no_more_than_so_many_are_remembered() -> None:
    keys = CrossingKeys()
    assert sum(bool(keys.told("1", 0.0)) for _ in range(2 * MOST)) == MOST
    for _ in range(2 * MOST):
        keys.passed("inband", "2", 0.0)
    assert sum(not keys.told("2", 0.1) for _ in range(MOST)) == MOST


class Worker:
    """What a stream needs of one: it keeps what it is told to do."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.pressed = asyncio.Event()

    def send(self, command: Message) -> None:
        self.told.append(command)
        if isinstance(command, commands.PassKey):
            self.pressed.set()


def nobody_hears(_: object) -> None:
    """Nobody wants to know."""


async def test_a_key_is_pressed_only_where_its_telephone_was_connected_when_it_came() -> None:
    """``#`` has ended what was said with another one: it is not for whom the telephone is back with."""
    worker = Worker()
    stream = Stream(worker, 1, nobody_hears, nobody_hears)  # type: ignore[arg-type]
    stream.pass_key("#")
    stream.relay(None)
    stream.relay(Stream(worker, 2, nobody_hears, nobody_hears))  # type: ignore[arg-type]
    stream.take(reports.DigitHeard(1, "5", "inband", asyncio.get_running_loop().time()))
    for key in "51":
        stream.pass_key(key)
    await asyncio.wait_for(worker.pressed.wait(), 5)
    assert [each.digit for each in worker.told if isinstance(each, commands.PassKey)] == ["1"]
