"""Turns, limits and overload of the recogniser's process, with a recogniser that only takes notes."""

from collections.abc import Mapping, Sequence

from media.speech.engine import Key, Spotted
from media.speech.messages import Audio, Begin, Cancel, End, FromRecogniser, HeardWord, UtteranceEnded, WordSpotted
from media.speech.recogniser import LONGEST, MOST_WORDS, TURN, Desk

SECOND = b"\0" * 16000


class Notes:
    about = "notes"

    def __init__(self) -> None:
        self.heard: dict[Key, int] = {}
        self.order: list[int] = []
        self.cancelled: list[Key] = []
        self.spot = ""

    def begin(self, key: Key, words: Sequence[str], language: str, at: float) -> None:
        self.heard[key] = 0

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        self.heard[key] += len(pcm)
        self.order.append(key.stream)
        return [Spotted(self.spot, 0.9, 1.5)] if self.spot else []

    def advance(self, sounds: Mapping[Key, bytes]) -> list[tuple[Key, Spotted]]:
        return [(key, found) for key, pcm in sounds.items() for found in self.audio(key, pcm)]

    def finish(self, keys: Sequence[Key]) -> list[list[HeardWord]]:
        return [self.end(key) for key in keys]

    def end(self, key: Key) -> list[HeardWord]:
        return [HeardWord("yes", 0.8, 0.1, self.heard.pop(key) / 16000)]

    def cancel(self, key: Key) -> None:
        self.heard.pop(key)
        self.cancelled.append(key)


def begin(stream: int, words: Sequence[str] = ("yes",)) -> Begin:
    return Begin(stream, 1, list(words), "en", 0.0)


def drain(desk: Desk) -> list[tuple[int, FromRecogniser]]:
    answers = []
    while desk.busy:
        answers += desk.turn()
    return answers


def test_a_long_utterance_does_not_hold_up_a_short_one() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    desk.take(1, begin(1))
    desk.take(1, Audio(1, 1, SECOND * 8))
    desk.take(1, begin(2))
    desk.take(1, Audio(2, 1, SECOND[: 2 * TURN]))
    desk.take(1, End(2, 1, 2.0))
    turns = 0
    while not any(isinstance(answer, UtteranceEnded) for _, answer in desk.turn()):
        turns += 1
    assert turns <= 2
    assert notes.order[:4] == [1, 2, 1, 2]


def test_a_turn_works_on_all_utterances_together() -> None:
    together: list[list[int]] = []

    class Together(Notes):
        def advance(self, sounds: Mapping[Key, bytes]) -> list[tuple[Key, Spotted]]:
            together.append([key.stream for key in sounds])
            return super().advance(sounds)

    desk = Desk(Together(), 10)
    for stream in (1, 2, 3):
        desk.take(1, begin(stream))
        desk.take(1, Audio(stream, 1, SECOND[: stream * TURN]))
        desk.take(1, End(stream, 1, 2.0))
    assert len(drain(desk)) == 3
    assert together == [[1, 2, 3], [2, 3], [3]]


def test_the_end_waits_for_the_sound_before_it() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    desk.take(1, begin(1))
    desk.take(1, Audio(1, 1, SECOND))
    desk.take(1, End(1, 1, 9.0))
    desk.take(1, Audio(1, 1, SECOND))  # after the end: not part of it
    desk.take(1, End(1, 1, 10.0))
    assert drain(desk) == [(1, UtteranceEnded(1, 1, [HeardWord("yes", 0.8, 0.1, 1.0)], 9.0))]
    assert (desk.utterances, desk.waiting_bytes, desk.counters.decided) == (0, 0, 1)


def test_spotted_words_go_to_the_connection_they_came_from() -> None:
    notes = Notes()
    notes.spot = "no"
    desk = Desk(notes, 10)
    desk.take(5, begin(1))
    desk.take(5, Audio(1, 1, SECOND[:TURN]))
    assert drain(desk) == [(5, WordSpotted(1, 1, "no", 0.9, 1.5))]


def test_over_the_limit_an_utterance_is_refused_counted_and_still_ended() -> None:
    notes = Notes()
    desk = Desk(notes, 1)
    for stream in (1, 2):
        desk.take(1, begin(stream))
    desk.take(1, Audio(2, 1, SECOND))
    desk.take(1, End(2, 1, 3.0))
    assert drain(desk) == [(1, UtteranceEnded(2, 1, [], 3.0))]
    assert desk.counters.refused == 1
    desk.take(1, begin(3))  # the refused one has left, the first is still there
    assert desk.counters.refused == 2


def test_refused_utterances_take_no_places() -> None:
    notes = Notes()
    desk = Desk(notes, 2)
    for stream in (1, 2, 3, 4):
        desk.take(1, begin(stream))
    assert desk.counters.refused == 2
    desk.take(1, Cancel(1, 1))  # the refused ones are still there
    desk.take(1, begin(5))
    desk.take(1, End(2, 1, 3.0))
    drain(desk)
    desk.take(1, begin(6))
    assert desk.counters.refused == 2
    assert sorted(key.stream for key in notes.heard) == [5, 6]
    desk.take(1, begin(6))  # anew, in its own place
    desk.take(1, begin(7))
    assert desk.counters.refused == 3
    assert sorted(key.stream for key in notes.heard) == [5, 6]


def test_too_much_waiting_sound_refuses_new_utterances() -> None:
    desk = Desk(Notes(), 100)
    for stream in range(4):
        desk.take(1, begin(stream))
        desk.take(1, Audio(stream, 1, SECOND * 9))
    desk.take(1, begin(9))
    assert desk.counters.refused == 1
    drain(desk)
    desk.take(1, begin(10))
    assert desk.counters.refused == 1


def test_an_endless_utterance_is_cut() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    desk.take(1, begin(1))
    for _ in range(30):
        desk.take(1, Audio(1, 1, SECOND))
        drain(desk)
    assert notes.heard == {Key(1, 1, 1): LONGEST * 16000}
    assert desk.counters.cut == 1


def test_too_many_words_are_refused() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    desk.take(1, begin(1, ["yes"] * (MOST_WORDS + 1)))
    assert desk.counters.refused == 1
    assert notes.heard == {}


def test_cancel_a_second_begin_and_a_lost_connection_forget() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    for stream in (1, 2, 3):
        desk.take(1, begin(stream))
        desk.take(1, Audio(stream, 1, SECOND))
    desk.take(1, Cancel(1, 1))
    desk.take(1, begin(2))
    desk.disconnect(1)
    assert drain(desk) == []
    assert (desk.utterances, desk.waiting_bytes) == (0, 0)
    assert notes.heard == {}
    assert len(notes.cancelled) == 4


def test_strangers_and_odd_bytes_are_harmless() -> None:
    notes = Notes()
    desk = Desk(notes, 10)
    desk.take(1, Audio(9, 9, SECOND))
    desk.take(1, End(9, 9, 1.0))
    desk.take(1, Cancel(9, 9))
    desk.take(1, begin(1))
    desk.take(1, Audio(1, 1, b""))
    desk.take(1, Audio(1, 1, b"\0"))
    desk.take(1, Audio(1, 1, b"\0\0\0"))
    drain(desk)
    assert notes.heard == {Key(1, 1, 1): 2}
