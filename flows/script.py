"""What a test caller does: ``say yes; wait 2; press! 12; hangup``.

Statements are separated by ``;``. ``say TEXT`` and ``press KEYS`` wait for their turn (until the
other side has finished speaking), ``say! TEXT`` and ``press! KEYS`` do not; ``wait SECONDS``;
``hangup``. A text that contains ``;`` stands in double quotes.

Others than the caller take part too: the next leg that is dialled does as ``answer [SECONDS]`` (the bridge lasts so
long), ``busy``, ``noanswer`` or ``reject CODE`` says; machine detection finds a ``machine [SECONDS]`` (of greeting) or
a ``human``; the next request for a flow fails with ``fail [STATUS]`` (no answer at all without one). Each waits for its
turn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from .keywords import KEYS

MAX_WAIT = 86_400.0

KEY_ON = 0.1
"""Seconds that ``press`` holds each key down."""
KEY_OFF = 0.1
"""Seconds after each key."""

TALK = 10.0
"""Seconds that a bridge lasts when the script does not say."""
GREETING = 6.0
"""Seconds of a machine's greeting when the script does not say."""


@dataclass(frozen=True, slots=True)
class Say:
    """Say ``text``: when the other side has finished, or ``now``."""

    text: str
    now: bool = False

    def __str__(self) -> str:
        text = f'"{self.text}"' if ";" in self.text else self.text
        return f"say{'!' if self.now else ''} {text}"


@dataclass(frozen=True, slots=True)
class Press:
    """Press ``keys`` one after the other: when the other side has finished, or ``now``."""

    keys: str
    now: bool = False

    def __str__(self) -> str:
        return f"press{'!' if self.now else ''} {self.keys}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for ``seconds``."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:g}"


@dataclass(frozen=True, slots=True)
class Hangup:
    """Hang up."""

    def __str__(self) -> str:
        return "hangup"


@dataclass(frozen=True, slots=True)
class Leg:
    """What a dialled leg does: ``status`` 200 answers and talks for ``seconds``, 0 rings on, others refuse."""

    status: int
    seconds: float = TALK

    def __str__(self) -> str:
        if self.status == 200:
            return f"answer {self.seconds:g}"
        return {486: "busy", 0: "noanswer"}.get(self.status, f"reject {self.status}")


@dataclass(frozen=True, slots=True)
class Machine:
    """An answering machine picked up, whose greeting takes ``seconds``; a person if that is 0."""

    seconds: float

    def __str__(self) -> str:
        return f"machine {self.seconds:g}" if self.seconds else "human"


@dataclass(frozen=True, slots=True)
class Fail:
    """The next request for a flow is answered with ``status``, or not at all (0)."""

    status: int = 0

    def __str__(self) -> str:
        return f"fail {self.status}" if self.status else "fail"


Statement = Say | Press | Wait | Hangup | Leg | Machine | Fail
OTHERS = (Leg, Machine, Fail)
"""Statements about others than the caller."""


class ScriptError(ValueError):
    """A script that cannot be read. ``position`` counts characters from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"character {position} of the script: {message}")
        self.position = position


_STATEMENT = re.compile(r'(?:[^;"]|"[^"]*")+')
_VERB = re.compile(r"\s*(?P<verb>[^\s!\"]+)(?P<now>!?)\s*(?P<rest>.*?)\s*\Z", re.DOTALL)


def _say(rest: str, *, now: bool) -> Statement:
    text = " ".join(rest.replace('"', " ").split())
    if not text:
        raise ValueError("say needs a text, as in: say yes")
    return Say(text, now)


def _press(rest: str, *, now: bool) -> Statement:
    keys = "".join(rest.split()).upper()
    if not keys:
        raise ValueError("press needs keys, as in: press 1")
    for key in keys:
        if key not in KEYS:
            raise ValueError(f"there is no key {key!r}: keys are 0-9 * # A-D")
    return Press(keys, now)


def _wait(rest: str, *, now: bool) -> Statement:
    try:
        seconds = float(rest.removesuffix("s").rstrip())
    except ValueError:
        seconds = math.nan
    if now or not 0 <= seconds <= MAX_WAIT:
        raise ValueError("wait needs seconds, as in: wait 2.5")
    return Wait(seconds)


def _hangup(rest: str, *, now: bool) -> Statement:
    if rest or now:
        raise ValueError("hangup stands alone")
    return Hangup()


def _seconds(rest: str, usual: float, example: str) -> float:
    if not rest:
        return usual
    try:
        seconds = float(rest.removesuffix("s").rstrip())
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_WAIT:
        raise ValueError(f"seconds are a number above 0, as in: {example}")
    return seconds


def _status(rest: str, lowest: int, example: str) -> int:
    if not (rest.isascii() and rest.isdigit() and lowest <= int(rest[:4]) <= 699 and len(rest) == 3):
        raise ValueError(f"a status from {lowest} to 699 is missing, as in: {example}")
    return int(rest)


def _alone(verb: str, statement: Statement) -> Callable[..., Statement]:
    def make(rest: str, *, now: bool) -> Statement:
        if rest or now:
            raise ValueError(f"{verb} stands alone")
        return statement

    return make


def _answer(rest: str, *, now: bool) -> Statement:
    return Leg(200, _seconds(rest, TALK, "answer 20"))


def _reject(rest: str, *, now: bool) -> Statement:
    return Leg(_status(rest, 300, "reject 603"))


def _machine(rest: str, *, now: bool) -> Statement:
    return Machine(_seconds(rest, GREETING, "machine 5"))


def _fail(rest: str, *, now: bool) -> Statement:
    return Fail(_status(rest, 100, "fail 500")) if rest else Fail()


_VERBS: dict[str, Callable[..., Statement]] = {
    "say": _say,
    "press": _press,
    "wait": _wait,
    "hangup": _hangup,
    "answer": _answer,
    "busy": _alone("busy", Leg(486)),
    "noanswer": _alone("noanswer", Leg(0)),
    "reject": _reject,
    "machine": _machine,
    "human": _alone("human", Machine(0.0)),
    "fail": _fail,
}


_OF_OTHERS = "answer, busy, noanswer, reject, machine, human, fail"


def parse_script(text: str) -> tuple[Statement, ...]:
    """Read a script; an empty one is a silent caller. :class:`ScriptError` says what and where."""
    if text.count('"') % 2:
        raise ScriptError("a quotation mark without its partner", text.rindex('"') + 1)
    statements: list[Statement] = []
    for found in _STATEMENT.finditer(text):
        part = found.group()
        if not part.strip():
            continue
        position = found.start() + len(part) - len(part.lstrip()) + 1
        parts = _VERB.match(part)
        make = _VERBS.get(parts["verb"].lower()) if parts else None
        if parts is None or make is None:
            word = parts["verb"] if parts else part.strip()
            raise ScriptError(f"{word!r} is none of say, say!, press, press!, wait, hangup, {_OF_OTHERS}", position)
        if statements and isinstance(statements[-1], Hangup):
            raise ScriptError("nothing can follow hangup", position)
        try:
            statements.append(make(parts["rest"], now=bool(parts["now"])))
        except ValueError as error:
            raise ScriptError(str(error), position) from None
    return tuple(statements)
