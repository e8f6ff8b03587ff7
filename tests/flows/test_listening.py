"""The decisions of a listening step, input by input."""

import pytest

from flows.call import BargeIn, Heard, Input, Key, PromptEnded, SpeechStarted, Words
from flows.keywords import Choice, Choices, parse_pattern
from flows.listening import Chosen, Interrupt, Listening, Missed, Settings, Verdict


def listening(*patterns: str, playing: bool = True, now: float = 0.0) -> Listening:
    choices = Choices([Choice(p, parse_pattern(p)[0]) for p in patterns])
    machine = Listening(choices, Settings())
    machine.begin(now, playing=playing)
    return machine


def feed(machine: Listening, *inputs: Input) -> Verdict | None:
    verdict = None
    for each in inputs:
        verdict = machine.feed(each)
    return verdict


def test_a_key_decides_at_once_also_during_the_prompt() -> None:
    assert feed(listening("1", "2"), Key("2", 0.4)) == Chosen("2", Heard("key", "2"))


def test_a_key_that_is_no_choice_is_a_miss_at_once() -> None:
    assert feed(listening("1"), Key("9", 0.4)) == Missed("nomatch", again=True, heard=Heard("key", "9"))


def test_a_longer_sequence_is_waited_for_and_wins() -> None:
    machine = listening("1", "12")
    assert feed(machine, Key("1", 1.0)) == Interrupt()
    assert machine.deadline == 3.0
    assert feed(machine, Key("2", 2.9)) == Chosen("12", Heard("key", "12"))


def test_two_seconds_without_a_key_end_the_sequence() -> None:
    machine = listening("1", "12")
    feed(machine, Key("1", 1.0))
    assert machine.expire() == Chosen("1", Heard("key", "1"))


def test_keys_beyond_the_longest_completed_sequence_stay_pressed() -> None:
    machine = listening("1", "123")
    feed(machine, Key("1", 1.0), Key("2", 1.5))
    assert feed(machine, Key("4", 2.0)) == Chosen("1", Heard("key", "1"), (Key("2", 1.5), Key("4", 2.0)))


def test_an_incomplete_sequence_is_a_miss() -> None:
    machine = listening("12")
    feed(machine, Key("1", 1.0))
    assert machine.expire() == Missed("nomatch", again=True, heard=Heard("key", "1"))


def test_words_decide_at_the_end_of_their_utterance() -> None:
    machine = listening("yes", "no")
    assert feed(machine, SpeechStarted(1.0)) is None
    assert machine.playing
    assert feed(machine, BargeIn("yes", 1.3)) == Interrupt()
    assert feed(machine, Words(("yes",), 1.8)) == Chosen("yes", Heard("words", "yes"))


def test_document_order_decides_between_words_of_one_utterance() -> None:
    assert feed(listening("no", "yes"), Words(("yes", "no"), 1.0)) == Chosen("no", Heard("words", "yes no"))


def test_an_utterance_without_a_word_does_not_interrupt() -> None:
    machine = listening("yes")
    assert feed(machine, SpeechStarted(1.0), Words((), 2.0)) is None
    assert machine.playing
    assert machine.deadline is None


def test_words_that_decide_nothing_and_did_not_barge_in_leave_the_prompt_alone() -> None:
    machine = listening("want -not")
    assert feed(machine, SpeechStarted(1.0), Words(("not",), 2.0)) is None
    assert machine.playing


def test_words_that_decide_nothing_after_the_prompt_are_a_miss() -> None:
    machine = listening("want -not", playing=False)
    verdict = feed(machine, SpeechStarted(1.0), Words(("want", "not"), 2.0))
    assert verdict == Missed("nomatch", again=True, heard=Heard("words", "want not"))


def test_the_wait_begins_when_the_prompt_ends() -> None:
    machine = listening("yes")
    assert machine.deadline is None
    feed(machine, PromptEnded(3.0))
    assert machine.deadline == 8.0
    assert machine.expire() == Missed("silence", again=True)


def test_noise_does_not_prolong_the_wait() -> None:
    machine = listening("yes")
    feed(machine, PromptEnded(3.0))
    for second in range(4, 8):
        assert feed(machine, SpeechStarted(second), Words((), second + 0.5)) is None
        assert machine.deadline == 8.0
    assert machine.expire() == Missed("nomatch", again=True)


def test_an_utterance_under_way_at_the_deadline_is_awaited() -> None:
    machine = listening("yes")
    feed(machine, PromptEnded(3.0), SpeechStarted(7.9))
    assert machine.deadline == pytest.approx(16.9)
    assert feed(machine, Words(("yes",), 9.0)) == Chosen("yes", Heard("words", "yes"))


def test_an_empty_utterance_that_outlasts_the_deadline_ends_the_attempt() -> None:
    machine = listening("yes")
    feed(machine, PromptEnded(3.0), SpeechStarted(7.9))
    assert feed(machine, Words((), 9.0)) == Missed("nomatch", again=True)


def test_a_recogniser_that_never_answers_does_not_hold_the_call() -> None:
    machine = listening("yes")
    feed(machine, PromptEnded(3.0), SpeechStarted(3.1))
    assert machine.deadline == pytest.approx(12.1)
    assert isinstance(machine.expire(), Missed)


def test_barge_in_without_words_after_it_waits_from_there() -> None:
    machine = listening("yes")
    assert feed(machine, SpeechStarted(1.0), BargeIn("yes", 2.0), Words((), 2.5)) is None
    assert machine.deadline == 7.0


def test_repeats_are_used_up() -> None:
    machine = listening("1")
    again = []
    for attempt in range(3):
        machine.begin(attempt * 10.0, playing=True)
        verdict = feed(machine, Key("9", attempt * 10.0 + 1))
        assert isinstance(verdict, Missed)
        again.append(verdict.again)
    assert again == [True, True, False]


def ahead(*patterns: str) -> Listening:
    return Listening(Choices([Choice(p, parse_pattern(p)[0]) for p in patterns]), Settings())


def test_a_key_pressed_ahead_decides_before_the_prompt() -> None:
    machine = ahead("1")
    assert machine.deadline == float("-inf")
    assert feed(machine, Key("1", -3.0)) == Chosen("1", Heard("key", "1"))


def test_keys_pressed_ahead_that_match_nothing_cost_no_attempt() -> None:
    machine = ahead("1", "23")
    assert feed(machine, Key("9", -3.0)) is None
    assert feed(machine, Key("2", -2.0)) is None
    assert machine.deadline == 0.0
    assert machine.expire() is None
    assert machine.deadline == float("-inf")
    assert feed(machine, Key("1", -1.0)) == Chosen("1", Heard("key", "1"))


def test_a_long_pause_between_keys_in_line_parts_them() -> None:
    machine = ahead("1", "12")
    feed(machine, Key("1", -9.0))
    assert feed(machine, Key("2", -3.0)) == Chosen("1", Heard("key", "1"), (Key("2", -3.0),))
