"""A graph the way a person would draw it: what is done in a row, and where it parts.

What compilers add for the engine's sake (paths, answers, tries of a menu one after the other) is gone; conditions that
follow from what was pressed are decided. Writers of dialects work on this and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows import graph as g
from flows.prompts import Draft, Prompt
from flows.templates import Condition

Prompts = tuple[Prompt | Draft, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """A step that something comes after. ``exits`` lead elsewhere than the row goes on, by their names."""

    step: g.Step
    exits: Mapping[str, Block] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """The call ends."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way out of a menu, by keys or by words. With ``any_key`` every key that is pressed leads there."""

    keys: tuple[str, ...]
    block: Block
    where: str = field(default="", compare=False)
    pattern: str = ""
    """As a call tree has it; empty where only keys count."""
    words: tuple[str, ...] = ()
    """Alternatives of the pattern that can only be said."""
    any_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """The caller is asked and chooses; ``attempts`` times if need be.

    With ``insist`` a wrong choice is asked for again as silence is; without, it leads to ``nomatch`` at once.
    """

    where: str = field(compare=False)
    prompts: Prompts
    again: Prompts
    invalid: Prompts = ()
    """Said after a wrong choice, before it is asked for again."""
    choices: tuple[Choice, ...]
    nomatch: Block
    silence: Block
    seconds: float
    between: float
    attempts: int = 1
    insist: bool = True
    most: int = 1
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Fork:
    """Variables decide where the call goes on: the first of ``cases`` whose conditions hold, else ``otherwise``."""

    where: str = field(compare=False)
    cases: tuple[tuple[tuple[Condition, ...], Block], ...]
    otherwise: Block


@dataclass(frozen=True, slots=True)
class Block:
    """Acts in a row, and how the row ends."""

    acts: tuple[Act, ...] = ()
    end: Stop | Menu | Fork = field(default_factory=Stop)

    @property
    def empty(self) -> bool:
        """The call just ends here."""
        return not self.acts and isinstance(self.end, Stop)
