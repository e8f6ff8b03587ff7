"""What is said of numbers, days and times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from engine.calls.voicemail import spoken


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (21, "twenty-one"),
        (100, "one hundred"),
        (342, "three hundred forty-two"),
        (2026, "two thousand twenty-six"),
        (999_999, "nine hundred ninety-nine thousand nine hundred ninety-nine"),
    ],
)
def test_numbers(value: int, said: str) -> None:
    assert spoken.number(value) == said


def test_numbers_have_ends() -> None:
    for value in (-1, 1_000_000):
        with pytest.raises(ValueError, match=str(value)):
            spoken.number(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1, "first"),
        (2, "second"),
        (3, "third"),
        (4, "fourth"),
        (8, "eighth"),
        (9, "ninth"),
        (12, "twelfth"),
        (20, "twentieth"),
        (21, "twenty-first"),
        (30, "thirtieth"),
        (31, "thirty-first"),
        (105, "one hundred fifth"),
    ],
)
def test_places(value: int, said: str) -> None:
    assert spoken.ordinal(value) == said


def test_counts() -> None:
    assert [spoken.count(value, "new message") for value in (0, 1, 2)] == [
        "no new messages",
        "one new message",
        "two new messages",
    ]


def test_telephone_numbers_go_digit_by_digit() -> None:
    assert spoken.digits("+39 (02) 1*#a") == ["plus", "three", "nine", "zero", "two", "one", "star", "hash", "a"]
    assert spoken.digits("") == []


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (date(2026, 11, 26), "today"),
        (date(2026, 11, 25), "yesterday"),
        (date(2026, 11, 24), "Tuesday, November twenty-fourth"),
        (date(2026, 11, 27), "Friday, November twenty-seventh"),
        (date(2025, 1, 1), "Wednesday, January first, two thousand twenty-five"),
    ],
)
def test_days(then: date, said: str) -> None:
    assert spoken.day(then, date(2026, 11, 26)) == said


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (time(0, 0), "twelve a.m."),
        (time(0, 5), "twelve oh five a.m."),
        (time(9, 15), "nine fifteen a.m."),
        (time(12, 0), "twelve p.m."),
        (time(12, 59), "twelve fifty-nine p.m."),
        (time(23, 40), "eleven forty p.m."),
    ],
)
def test_times_of_day(then: time, said: str) -> None:
    assert spoken.clock(then) == said


def test_a_moment_is_said_in_the_time_zone_of_the_box() -> None:
    """Half past eleven at night in London is past midnight in Rome: another day, and yesterday's there."""
    at = datetime(2026, 7, 1, 22, 30, tzinfo=UTC).timestamp()
    now = datetime(2026, 7, 1, 23, 30, tzinfo=UTC).timestamp()
    assert spoken.moment(at, now, "Europe/London") == ["yesterday", "at eleven thirty p.m."]
    assert spoken.moment(at, now, "Europe/Rome") == ["today", "at twelve thirty a.m."]


def test_the_hour_that_comes_twice_and_the_one_that_is_left_out() -> None:
    """Rome, 25 October 2026 at 1 a.m. UTC: clocks go back; 29 March: 1 a.m. UTC is 3 a.m."""
    for month, day, hour, said in ((10, 25, 0, "two"), (10, 25, 1, "two"), (3, 29, 0, "one"), (3, 29, 1, "three")):
        at = datetime(2026, month, day, hour, tzinfo=UTC).timestamp()
        assert spoken.moment(at, at, "Europe/Rome") == ["today", f"at {said} a.m."]
