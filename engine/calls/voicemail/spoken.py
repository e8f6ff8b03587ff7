"""Numbers, dates and times as they are said in English. Pure: the time is an argument.

What comes back is in pieces that recur (a digit, a day, a time of day), so that each is rendered once.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth"}
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_SIGNS = {"+": "plus", "*": "star", "#": "hash"}

LARGEST = 999_999


def number(value: int) -> str:
    """A whole number from 0 to :data:`LARGEST`, without "and". Raises ValueError for others."""
    if not 0 <= value <= LARGEST:
        raise ValueError(f"{value}: from 0 to {LARGEST}")
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    size, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    high, low = divmod(value, size)
    return f"{number(high)} {name}" + (f" {number(low)}" if low else "")


def ordinal(value: int) -> str:
    """The place in a row: "first", "twenty-second"."""
    head, joint, last = number(value).rpartition("-")
    if not joint:
        head, joint, last = number(value).rpartition(" ")
    return f"{head}{joint}{_ORDINALS.get(last, f'{last}th')}"


def count(value: int, what: str) -> str:
    """So many of something: "no new messages", "one new message"."""
    if not value:
        return f"no {what}s"
    return f"{number(value)} {what}" + ("s" if value != 1 else "")


def digits(text: str) -> list[str]:
    """A telephone number or the like, sign by sign; signs that separate are left out."""
    said: list[str] = []
    for sign in text:
        if sign.isascii() and sign.isdigit():
            said.append(_ONES[int(sign)])
        elif sign in _SIGNS:
            said.append(_SIGNS[sign])
        elif sign.isalpha():
            said.append(sign)
    return said


def day(then: date, today: date) -> str:
    """A day as seen from ``today``: "today", "yesterday", "Thursday, November twenty-sixth", with the year if it is
    another one.
    """
    if then == today:
        return "today"
    if then == today - timedelta(days=1):
        return "yesterday"
    said = f"{_WEEKDAYS[then.weekday()]}, {_MONTHS[then.month - 1]} {ordinal(then.day)}"
    return said if then.year == today.year else f"{said}, {number(then.year)}"


def clock(then: time) -> str:
    """A time of day on the clock of twelve hours: "nine oh five p.m."."""
    hour = number((then.hour - 1) % 12 + 1)
    half = "a.m." if then.hour < 12 else "p.m."
    if not then.minute:
        return f"{hour} {half}"
    minute = f"oh {number(then.minute)}" if then.minute < 10 else number(then.minute)
    return f"{hour} {minute} {half}"


def moment(at: float, now: float, zone: str) -> list[str]:
    """When something was, as said in a time zone: its day and its time. ``at`` and ``now`` are seconds since the epoch.

    Raises ZoneInfoNotFoundError for a zone that is not known.
    """
    there = ZoneInfo(zone)
    then = datetime.fromtimestamp(at, there)
    return [day(then.date(), datetime.fromtimestamp(now, there).date()), f"at {clock(then.time())}"]
