"""Collections of keys: counts, finishing keys, times, keys pressed ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.call import Key, PromptEnded
from flows.collecting import Collected, Collecting
from flows.graph import FINISHED, NEXT, NONE, SHORT, Collect


def collect(**fields: object) -> Collecting:
    return Collecting(Collect(id="c", origin="", into="digits.default", **fields))  # type: ignore[arg-type]


def keys(digits: str, *, at: float = 0.0, gap: float = 0.2) -> list[Key]:
    return [Key(digit, at + number * gap) for number, digit in enumerate(digits)]


def feed(collecting: Collecting, digits: str, at: float = 1.0) -> Collected | None:
    for key in keys(digits, at=at):
        if (outcome := collecting.feed(key)) is not None:
            return outcome
    return None


@pytest.mark.parametrize(
    ("fields", "digits", "expected"),
    [
        ({"most": 4}, "1234", ("1234", NEXT)),
        ({"most": 4}, "12#", ("12", NEXT)),
        ({"most": 4, "least": 3}, "12#", ("12", FINISHED)),
        ({"most": 4}, "#", ("", FINISHED)),
        ({"most": 2, "finish": ""}, "#*", ("#*", NEXT)),
        ({"most": 2, "finish": "*"}, "1*", ("1", NEXT)),
        ({"most": 3, "keys": "123"}, "19283", ("123", NEXT)),
    ],
)
def test_what_keys_come_to(fields: dict[str, object], digits: str, expected: tuple[str, str]) -> None:
    collecting = collect(**fields)
    collecting.begin(0.0, playing=False)
    assert feed(collecting, digits) == Collected(*expected)


def test_times_run_from_the_end_of_the_prompt_and_from_each_key() -> None:
    collecting = collect(first=5.0, between=2.0, most=4)
    collecting.begin(0.0, playing=True)
    assert collecting.deadline is None
    assert collecting.feed(PromptEnded(3.0)) is None
    assert collecting.deadline == 8.0
    assert collecting.feed(Key("1", 7.0)) is None
    assert collecting.deadline == 9.0
    assert collecting.expire() == Collected("1", NEXT)


def test_a_key_stops_the_prompt_and_no_later_end_of_it_counts() -> None:
    collecting = collect(most=4)
    collecting.begin(0.0, playing=True)
    collecting.feed(Key("1", 1.0))
    assert not collecting.playing
    collecting.feed(PromptEnded(4.0))
    assert collecting.deadline == 6.0


def test_silence_and_too_few() -> None:
    silent, few = collect(), collect(least=3)
    for each in (silent, few):
        each.begin(0.0, playing=False)
    few.feed(Key("1", 1.0))
    assert silent.expire() == Collected("", NONE)
    assert few.expire() == Collected("1", SHORT)


def test_keys_pressed_ahead_are_taken_up_to_what_is_needed() -> None:
    outcome, taken = collect(most=2).ahead(keys("12345"))
    assert (outcome, taken) == (Collected("12", NEXT), 2)
    outcome, taken = collect(most=4).ahead(keys("12"))
    assert (outcome, taken) == (None, 2)


@given(st.text("0123456789*#ABCD", max_size=20), st.integers(0, 5), st.integers(0, 6), st.sampled_from(["", "#", "*#"]))
def test_nothing_is_taken_that_does_not_count(pressed: str, least: int, most: int, finish: str) -> None:
    collecting = collect(least=least, most=most, finish=finish)
    collecting.begin(0.0, playing=False)
    outcome = feed(collecting, pressed) or collecting.expire()
    assert set(outcome.digits).isdisjoint(finish)
    assert pressed.startswith(outcome.digits)
    assert not most or len(outcome.digits) <= most
    assert outcome.exit != NEXT or len(outcome.digits) >= max(1, min(least, most or least))
