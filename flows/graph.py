"""The step graph: the one model that every dialect compiles to.

A step is one verb with named exits. An exit that a step does not have leads to the
``next`` one; a step without that ends the flow. What differs between dialects is settled
by their compilers: the executor knows verbs only. Graphs never change: a call holds the one
it started with, so a flow can be replaced while calls run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .call import Prompt
from .keywords import Choices

NEXT = "next"
NOMATCH = "$nomatch"
"""Exit of :class:`Listen`: something was said or pressed, up to the last attempt, that no choice matched."""
SILENCE = "$silence"
"""Exit of :class:`Listen`: nothing was said or pressed in the last attempt."""
FAILED = "failed"
"""Exit of :class:`Transfer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb. ``origin`` is the JSON pointer of the part of the document that it came from."""

    id: str
    origin: str
    exits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Step):
    """Answer the call. URLs subscribed before are told ``open``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter(Step):
    """A node of the flow begins: ``path`` is the call's path from here on."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify(Step):
    """Tell every subscribed URL (``tree``) where the call is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe(Step):
    """From here on ``url`` is told about the call; once answered, it is told at once where the call is."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Step):
    """``url`` gets the list of live calls while this call lives."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(Step):
    """Let ``prompts`` be heard to their end. Keys pressed meanwhile wait for the next step that listens."""

    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen(Step):
    """Prompt and listen; exits are those of ``choices``, :data:`NOMATCH` and :data:`SILENCE`.

    ``prompts`` are for the first time, ``again`` for repeats. ``seconds`` (of waiting after the
    prompt) and ``repeats`` are the settings' when ``None``.
    """

    choices: Choices
    prompts: tuple[Prompt, ...] = ()
    again: tuple[Prompt, ...] = ()
    seconds: float | None = None
    repeats: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Step):
    """Send the caller to ``target``, a number or a SIP URI; exits ``next`` and :data:`FAILED`."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp(Step):
    """End the call. Without a ``reason``, what the step before it came to is the reason."""

    reason: str = ""


class Graph:
    """Steps by id, and where to start. Immutable; ``name`` is for people."""

    __slots__ = ("name", "start", "steps")

    def __init__(self, steps: Mapping[str, Step], start: str, *, name: str = "") -> None:
        """``KeyError`` when ``start`` or an exit leads nowhere."""
        self.steps: Mapping[str, Step] = MappingProxyType(dict(steps))
        self.start = start
        self.name = name
        for target in (start, *(target for step in steps.values() for target in step.exits.values())):
            if target not in self.steps:
                raise KeyError(target)

    def follow(self, step: Step, exit_name: str = NEXT) -> Step | None:
        """The step behind an exit of ``step``; ``None`` where the flow ends."""
        target = step.exits.get(exit_name) or step.exits.get(NEXT)
        return None if target is None else self.steps[target]

    def prompts(self) -> tuple[Prompt, ...]:
        """All that may ever be heard, each once, in document order: what to render before a call comes."""
        return tuple(dict.fromkeys(prompt for step in self.steps.values() for prompt in prompts_of(step)))

    def listens(self) -> Iterator[Listen]:
        return (step for step in self.steps.values() if isinstance(step, Listen))


def prompts_of(step: Step) -> tuple[Prompt, ...]:
    if isinstance(step, Say):
        return step.prompts
    if isinstance(step, Listen):
        return step.prompts + step.again
    return ()
