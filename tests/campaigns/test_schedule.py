"""When calls may be made: days, hours, time zones with their changes of the clock, delays of retries."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.campaigns.schedule import (
    DAY,
    Schedule,
    clock_text,
    first_slot,
    parse_clock,
    parse_days,
    parse_retries,
    window,
)
from engine.campaigns.zones import RAILS, iso, parse_moment, zone_named

ROME = ZoneInfo("Europe/Rome")
OFFICE = Schedule(frozenset({1, 2, 3, 4, 5}), 9 * 3600, 17 * 3600 + 1800)


def at(text: str, zone: str = "Europe/Rome") -> float:
    return parse_moment(text, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-03-02 08:00", "2026-03-02 09:00"),  # a Monday
        ("2026-03-02 09:00", "2026-03-02 09:00"),
        ("2026-03-02 17:30", "2026-03-02 17:30"),  # the end is included
        ("2026-03-02 17:30:01", "2026-03-03 09:00"),
        ("2026-03-06 18:00", "2026-03-09 09:00"),  # Friday evening
        ("2026-03-27 18:00", "2026-03-30 09:00"),  # over the change to summer time
        ("2026-10-24 12:00", "2026-10-26 09:00"),  # and back
    ],
)
def test_the_next_slot(moment: str, opens: str) -> None:
    assert OFFICE.next(at(moment), ROME) == at(opens)


def test_a_window_in_the_hour_that_the_clock_leaves_out() -> None:
    night = Schedule(start=2 * 3600 + 900, end=3 * 3600 + 600)  # 2:15 to 3:10; 2:00 to 3:00 is not there on 29 March
    assert night.next(at("2026-03-29 01:00"), ROME) == at("2026-03-29 03:00")
    gone = Schedule(start=2 * 3600, end=2 * 3600 + 1800)
    assert gone.next(at("2026-03-29 01:00"), ROME) == at("2026-03-30 02:00")


def test_a_window_in_the_hour_that_comes_twice() -> None:
    night = Schedule(start=2 * 3600, end=2 * 3600 + 1800)
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp()
    assert night.next(first - 60, ROME) == first
    assert night.next(first + 1860, ROME) == first + 3600  # it is 2:31, and will be 2:00 once more


ZONES = st.sampled_from(["UTC", "Europe/Rome", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])
MINUTES = st.integers(0, 24 * 60 - 2)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    start = draw(MINUTES)
    end = draw(st.integers(start + 1, 24 * 60))
    return Schedule(frozenset(draw(st.sets(st.integers(0, 6)))), start * 60, end * 60)


@given(schedules(), st.integers(1_700_000_000, 1_900_000_000), ZONES)
def test_the_next_slot_is_open_and_nothing_before_it_is(schedule: Schedule, moment: int, name: str) -> None:
    zone = ZoneInfo(name)
    opens = schedule.next(float(moment), zone)
    assert opens is not None
    assert moment <= opens <= moment + 15 * DAY
    assert schedule.is_open(opens, zone)
    between = range(moment, int(opens) - 1, max(61, int(opens - moment) // 500))
    assert not [each for each in between if schedule.is_open(float(each), zone)]


@given(schedules())
def test_a_schedule_comes_back_from_its_data(schedule: Schedule) -> None:
    assert Schedule.of(schedule.as_data()) == schedule


def test_retries() -> None:
    assert parse_retries("15m, 2, 3h, 4d") == (900.0, 7200.0, 10_800.0, 345_600.0)
    assert parse_retries(" 0.5 ,1 day,2 hours, 3 minutes") == (1800.0, 86_400.0, 7200.0, 180.0)
    assert parse_retries("") == ()
    for bad in ("x", "1,,2", "-1", "5w", "1.5m", "99999999", "999999d", "١", "1m" + ",1m" * 100):
        with pytest.raises(ValueError, match="retr"):
            parse_retries(bad)


def test_a_retry_waits_for_its_delay_then_for_the_window() -> None:
    schedule = Schedule(OFFICE.days, OFFICE.start, OFFICE.end, (3600.0, 7200.0))
    ended = at("2026-03-06 15:00")
    assert schedule.retry(1, ended, ROME, None) == at("2026-03-06 16:00")
    assert schedule.retry(2, at("2026-03-06 16:00"), ROME, None) == at("2026-03-09 09:00")
    assert schedule.retry(2, at("2026-03-06 16:00"), ROME, at("2026-03-08 00:00")) is None
    assert schedule.retry(3, ended, ROME, None) is None


def test_the_first_slot() -> None:
    now = at("2026-03-02 08:00")
    assert first_slot(None, ROME, now, None, None) == now
    assert first_slot(None, ROME, now, now + 60, None) == now + 60
    assert first_slot(OFFICE, ROME, now, None, None) == at("2026-03-02 09:00")
    for before, after, why in (
        (None, now - 1, "in the past"),
        (now + 60, now + 30, "before not_before"),
        (None, now + 60, "next slot"),
    ):
        with pytest.raises(ValueError, match=why):
            first_slot(OFFICE, ROME, now, before, after)


def test_clocks_and_days() -> None:
    assert [parse_clock(each) for each in ("9:05", "09:05", "17:30:10", "24:00")] == [32_700, 32_700, 63_010, DAY]
    assert [clock_text(each) for each in (32_700, 63_000, 0)] == ["9:05", "17:30", "0:00"]
    assert window("", "") == (0, DAY)
    for bad in ("25:00", "24:01", "9", "9:5", "nine", "٩:00"):
        with pytest.raises(ValueError, match="time of the day"):
            parse_clock(bad)
    with pytest.raises(ValueError, match="End time must be greater"):
        window("10:00", "9:00")
    assert parse_days("0,6") == parse_days([6, 0]) == {0, 6}
    for wrong in ("7", "1;2", "mon", [7]):
        with pytest.raises(ValueError, match="days from 0"):
            parse_days(wrong)


def test_every_name_of_rails_is_a_zone() -> None:
    assert len(RAILS) > 145
    for name, zone in RAILS.items():
        assert zone_named(name).key == zone
    assert zone_named("Europe/Rome") == ROME
    for bad in ("Atlantis", "", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 300):
        with pytest.raises(ValueError, match="not supported"):
            zone_named(bad)


def test_moments() -> None:
    buenos_aires = zone_named("Buenos Aires")
    assert iso(parse_moment("2012-01-02 10:11:12", buenos_aires)) == "2012-01-02T13:11:12Z"
    assert iso(parse_moment("2012-01-02T10:11:12+02:00", buenos_aires)) == "2012-01-02T08:11:12Z"
    assert iso(parse_moment("2012/01/02", buenos_aires)) == "2012-01-02T03:00:00Z"


@given(st.text(max_size=30) | st.from_regex(r"\d{1,5}-\d\d-\d\d[ T]\d\d:\d\d([+-]\d\d:\d\d)?", fullmatch=True))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_moment(text, ROME), float)


def test_a_schedule_of_before_retries_were_told_apart_is_read() -> None:
    kept = Schedule(frozenset({1}), 3600, 7200, (60.0,), retry_all=True)
    assert Schedule.of(kept.as_data()) == kept
    older = {name: value for name, value in kept.as_data().items() if name != "retry_all"}
    assert Schedule.of(older) == Schedule(frozenset({1}), 3600, 7200, (60.0,))
