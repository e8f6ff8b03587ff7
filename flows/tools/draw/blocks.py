"""From a graph to what is drawn: blocks of steps that follow each other, and the ways between them.

A block is a run of steps of which each can only follow the one before. Plumbing (:attr:`~flows.graph.Step.quiet`)
is small print of the step behind it. Where a way leads to nothing but the end of the call, that is said at the
exit itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows import graph as g

from .words import Described, cases, describe, exit_in_words

MAX_ENTRIES = 8
"""Steps of one block; a longer run goes on in the next column."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step as it is drawn; ``steps`` are its own id and those of the plumbing folded into it."""

    step: g.Step
    described: Described
    small: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """An exit of a block's last step: to the block ``target``, or to the end of the call (``ends`` says how).

    ``names`` are the exits that lead there. ``told`` is empty for the only way on.
    """

    names: tuple[str, ...]
    told: str
    target: str = ""
    ends: str = ""
    away: bool = False
    """It goes on in another flow."""


@dataclass(slots=True)
class Block:
    """Some steps, one below the other; ``id`` is that of the first."""

    id: str
    entries: list[Entry] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)


def blocks_of(graph: g.Graph) -> dict[str, Block]:
    """The blocks of ``graph`` that can be reached, in the order of their reaching, and last those that cannot."""
    return _Maker(graph).all()


class _Maker:
    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.before: dict[str, int] = {graph.start: 1}
        for step in graph.steps.values():
            for target in step.exits.values():
                self.before[target] = self.before.get(target, 0) + 1
        self.blocks: dict[str, Block] = {}
        self.placed: set[str] = set()

    def all(self) -> dict[str, Block]:
        self._reach(self.graph.start)
        unreached = [name for name in self.graph.steps if name not in self.placed]
        heads = [name for name in unreached if not self.before.get(name)]
        for name in heads + unreached:
            if name not in self.placed:
                self._reach(name)
        return self.blocks

    def _reach(self, first: str) -> None:
        """Make blocks from ``first`` on, depth first, in the order of the exits."""
        ahead = [first]
        while ahead:
            name = ahead.pop()
            if name not in self.placed:
                block = self._block(name)
                self.blocks[name] = block
                ahead += [way.target for way in reversed(block.ways) if way.target]

    def _block(self, first: str) -> Block:
        block = Block(first)
        step: g.Step = self.graph.steps[first]
        small: list[str] = []
        folded: list[str] = []
        while True:
            self.placed.add(step.id)
            follower = self._only_follower(step)
            described = describe(step)
            full = len(block.entries) == MAX_ENTRIES - 1
            if step.quiet and follower is not None:
                small += _small(step, described)
                folded.append(step.id)
            else:
                block.entries.append(Entry(step, described, tuple(small), (*folded, step.id)))
                small, folded = [], []
                if follower is None or full:
                    block.ways = self._ways(step)
                    return block
            step = follower

    def _only_follower(self, step: g.Step) -> g.Step | None:
        """The step that can only come behind this one; ``None`` when there is a choice, or another way to it."""
        if list(step.exits) != [g.NEXT]:
            return None
        target = step.exits[g.NEXT]
        if self.before[target] > 1 or target in self.placed or self._end(target):
            return None
        return self.graph.steps[target]

    def _ways(self, step: g.Step) -> list[Way]:
        """The exits of ``step``, those with the same end together."""
        conditions = cases(step) if isinstance(step, g.Branch) else {}
        found: dict[tuple[str, str], Way] = {}
        only = list(step.exits) == [g.NEXT] and not isinstance(step, g.Fetch | g.Jump)
        for name, target in step.exits.items():
            if name == g.NEXT and isinstance(step, g.Listen) and step.exits.keys() >= {g.NOMATCH, g.SILENCE}:
                self._end(target)  # never taken
                continue
            told = "" if only else conditions.get(name) or exit_in_words(step, name)
            ends = self._end(target)
            key = (target, told if ends else "")
            if (before := found.get(key)) is not None:
                found[key] = Way((*before.names, name), f"{before.told}, {told}", before.target, ends)
            else:
                found[key] = Way((name,), told, "" if ends else target, ends)
        ways = _otherwise_last(list(found.values()))
        if isinstance(step, g.Fetch | g.Jump):
            ways.append(Way((), "goes on in that flow", away=True))
        if g.NEXT not in step.exits and not set(step.leads) <= step.exits.keys():
            told = exit_in_words(step, g.NEXT) if step.exits or isinstance(step, g.Fetch | g.Jump) else ""
            ways.append(Way((), told, ends="end of the flow"))
        return ways

    def _end(self, target: str) -> str:
        """How the call ends at once behind ``target``; empty when it does not. What is told here is not drawn."""
        steps: list[str] = []
        step: g.Step | None = self.graph.steps[target]
        while isinstance(step, g.Enter | g.Notify | g.Answer) and len(steps) < 8:
            steps.append(step.id)
            step = self.graph.follow(step)
        if not isinstance(step, g.HangUp):
            return ""
        self.placed.update((*steps, step.id))
        return f"hangs up: {step.reason}" if step.reason else "hangs up"


def _small(step: g.Step, described: Described) -> list[str]:
    """The small print that a folded step leaves."""
    match step:
        case g.Enter() | g.Notify() | g.Answer():
            return []
        case g.SetVariables() | g.Subscribe() | g.Forward():
            return list(described.details)
        case _:
            return [" ".join((described.title.lower(), *described.details))]


def _otherwise_last(ways: list[Way]) -> list[Way]:
    """The way of ``next`` behind all others, and it alone is taken when none of them is."""
    return [way for way in ways if g.NEXT not in way.names] + [way for way in ways if g.NEXT in way.names]


def entry_of(blocks: Mapping[str, Block]) -> dict[str, tuple[str, int]]:
    """Where each step is drawn: its block, and its place in there."""
    return {
        name: (block.id, place)
        for block in blocks.values()
        for place, entry in enumerate(block.entries)
        for name in entry.steps
    }
