"""From a graph to its shape (:mod:`.shape`): every way that a call can go is followed once.

What is known on a way (which keys were pressed, which variables were set) decides the branches on it. Menus are found
by what is asked of the keys that a collection took; several tries of one menu become one menu with attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from flows import graph as g
from flows.listening import Settings
from flows.orders import DetectMachine
from flows.prompts import Draft, Prompt
from flows.templates import Condition

from . import knowing
from .knowing import Known, Other
from .living import living
from .losses import Losses
from .shape import Act, Block, Choice, Fork, Menu

MAX_STEPS = 20_000
"""Steps that are followed in all, those that several ways lead to counted for each."""
MAX_DEPTH = 60
"""Menus and other partings, one inside the other."""
SETTLE = 0.1
"""Seconds of pause that are no more than the breath after an answer."""

_OWN = ("var.", "call.", "param.")
"""Variables that a flow's author sets; all others are a compiler's."""


def read(graph: g.Graph, settings: Settings, losses: Losses) -> Block:
    """The shape of ``graph``; ``settings`` are those where it does not say."""
    reader = _Reader(graph, settings, losses)
    return reader.block(graph.start, {"call.direction": "inbound", "machine.found": ""})


class _Reader:
    def __init__(self, graph: g.Graph, settings: Settings, losses: Losses) -> None:
        self.graph = graph
        self.settings = settings
        self.losses = losses
        self._blocks: dict[tuple[str, frozenset[Any]], Block] = {}
        self._alike: dict[Any, Block] = {}
        self._open: set[tuple[str, frozenset[Any]]] = set()
        self._depth = 0
        self._count = 0
        self._alive = living(graph)

    def block(self, start: str | None, known: Known) -> Block:
        """What happens from ``start`` on."""
        if start is None:
            return Block()
        known = self._mattering(start, known)
        place = (start, frozenset(known.items()))
        if place in self._blocks:
            return self._blocks[place]
        if self._depth >= MAX_DEPTH:
            where = self.graph.steps[start].origin
            self.losses.lost("too-deep", where, f"more than {MAX_DEPTH} menus one inside the other: the call ends here")
            return Block()
        self._depth += 1
        opened: list[tuple[str, frozenset[Any]]] = []
        block = self._same(self._follow(start, known, opened))
        self._open.difference_update(opened)
        self._depth -= 1
        self._blocks[place] = block
        return block

    def _mattering(self, start: str, known: Known) -> Known:
        alive = self._alive[start]
        return {name: value for name, value in known.items() if name in alive}

    def _same(self, block: Block) -> Block:
        """The one block for all that are equal, so that comparing them takes no time."""
        end: Any = block.end
        if isinstance(end, Menu):
            inner = (end.nomatch, end.silence, *(choice.block for choice in end.choices))
            plain = replace(end, where="", nomatch=Block(), silence=Block(), choices=())
            choices = [replace(choice, where="", block=Block()) for choice in end.choices]
            end = (repr(plain), repr(choices), _identities(inner))
        elif isinstance(end, Fork):
            inner = (end.otherwise, *(way for _, way in end.cases))
            end = (repr([conditions for conditions, _ in end.cases]), _identities(inner))
        acts = tuple((_deed(act.step), *act.exits, *_identities(act.exits.values())) for act in block.acts)
        return self._alike.setdefault((acts, end), block)

    def _follow(self, start: str, known: Known, opened: list[tuple[str, frozenset[Any]]]) -> Block:
        acts: list[Act] = []
        step: g.Step | None = self.graph.steps[start]
        while step is not None:
            known = self._mattering(step.id, known)
            place = (step.id, frozenset(known.items()))
            self._count += 1
            if place in self._open:
                self.losses.lost("loop", step.origin, "the flow goes back to here: the call ends instead")
                break
            if self._count > MAX_STEPS:
                self.losses.lost("too-large", "", f"more than {MAX_STEPS:,} steps to follow: some ways end early")
                break
            self._open.add(place)
            opened.append(place)
            exit_name = g.NEXT
            match step:
                case g.HangUp():
                    break
                case g.Listen():
                    return Block(tuple(acts), self._listen(step, known))
                case g.Collect() if (menu := self._collect(step, known)) is not None:
                    return Block(tuple(acts), menu)
                case g.Branch():
                    found = self._branch(step, known)
                    if isinstance(found, Fork):
                        return Block(tuple(acts), found)
                    exit_name = found
                case g.SetVariables():
                    known = self._set(step, known, acts)
                case g.Enter() | g.Notify() | g.Answer():
                    pass
                case g.Pause() if step.seconds <= SETTLE:
                    pass
                case _:
                    known = self._act(step, known, acts)
            step = self.graph.follow(step, exit_name)
        return Block(tuple(acts))

    # --- steps that something comes after -----------------------------------------------------

    def _act(self, step: g.Step, known: Known, acts: list[Act]) -> Known:
        """Put a step down; what is known after it."""
        following = step.exits.get(g.NEXT)
        ways = {
            name: self.block(target, known)
            for name, target in step.exits.items()
            if name != g.NEXT and target != following
        }
        match step:
            case g.Say() | g.Record():
                step = replace(step, prompts=knowing.prompts(step.prompts, known))
            case g.Collect():
                step = replace(step, prompts=knowing.prompts(step.prompts, known))
                known = knowing.with_value(known, step.into, None)
            case g.Fetch() | g.Tell():
                step = replace(step, url=knowing.text(step.url, known))
        acts.append(Act(step, ways))
        return known

    def _set(self, step: g.SetVariables, known: Known, acts: list[Act]) -> Known:
        values = tuple((name, knowing.text(value, known)) for name, value in step.values)
        for name, value in values:
            known = knowing.with_value(known, name, value if isinstance(value, str) else None)
        own = tuple((name, value) for name, value in step.values if name.startswith(_OWN))
        if own:
            acts.append(Act(replace(step, values=own)))
        return known

    # --- where the row parts ------------------------------------------------------------------

    def _branch(self, step: g.Branch, known: Known) -> str | Fork:
        """The exit that is taken, or, where nobody knows, all of them."""
        cases = []
        for case in step.cases:
            verdict = knowing.decided(case.conditions, known)
            if verdict is None:
                cases.append(case)
            elif verdict:
                if not cases:
                    return case.exit
                break
            else:
                self._report_machine(step, case)
        else:
            if not cases:
                return g.NEXT
            case = g.Case(exit=g.NEXT, conditions=())
        ways = []
        for each in cases:
            then = known
            for condition in each.conditions:
                if condition.operator in ("==", "is") and isinstance(condition.value, str):
                    then = knowing.with_value(then, condition.variable, condition.value)
            ways.append((each.conditions, self.block(self._target(step, each.exit), then)))
            if len(each.conditions) == 1:
                known = _without(known, each)
        return Fork(step.origin, tuple(ways), self.block(self._target(step, case.exit), known))

    def _target(self, step: g.Step, exit_name: str) -> str | None:
        found = self.graph.follow(step, exit_name)
        return None if found is None else found.id

    def _report_machine(self, step: g.Branch, case: g.Case) -> None:
        """Looking for a machine, which is done on calls that we make: the shape is that of a call that comes in."""
        asking = self.graph.follow(step, case.exit)
        if isinstance(asking, g.Perform) and isinstance(asking.order, DetectMachine):
            message = "on calls that we make, nobody finds out whether a machine has picked up"
            if asking.order.wait:
                self.losses.changed("machine", step.origin, message)
            else:
                self.losses.lost("machine", step.origin, message)

    def _listen(self, step: g.Listen, known: Known) -> Menu:
        choices = tuple(
            Choice(
                keys=choice.pattern.keys,
                block=self.block(self._target(step, choice.exit), known),
                where=choice.origin,
                pattern=choice.pattern.source,
                words=tuple(each.source for each in choice.pattern.alternatives if not each.keys),
            )
            for choice in step.choices.items
        )
        repeats = self.settings.repeats if step.repeats is None else step.repeats
        return Menu(
            where=step.origin,
            prompts=step.prompts,
            again=step.again if repeats else step.prompts,
            choices=choices,
            nomatch=self.block(self._target(step, g.NOMATCH), known),
            silence=self.block(self._target(step, g.SILENCE), known),
            seconds=self.settings.listen if step.seconds is None else step.seconds,
            between=self.settings.between_keys,
            attempts=1 + repeats,
            most=max((len(keys) for choice in choices for keys in choice.keys), default=1),
        )

    def _collect(self, step: g.Collect, known: Known) -> Menu | None:
        """A collection as a menu; ``None`` when the call goes the same way whatever is pressed."""
        asked, other = _told_apart(step, self._asked(step))
        pressed, silent = step.exits.get(g.NEXT), step.exits.get(g.NONE, step.exits.get(g.NEXT))
        if not asked and pressed == silent:
            return None
        silence = self.block(silent, knowing.with_value(known, step.into, ""))
        nomatch = self.block(pressed, knowing.with_value(known, step.into, other if asked else None))
        choices = list(
            _grouped(
                Choice((keys,), self.block(pressed, knowing.with_value(known, step.into, keys)), step.origin)
                for keys in asked
            )
        )
        choices = [choice for choice in choices if choice.block != nomatch]
        if not choices and nomatch == silence:
            return None
        if not choices:
            choices = [Choice((), nomatch, step.origin, any_key=True)]
        if step.secret:
            self.losses.changed("keys", step.origin, "a menu is no secret: what is pressed is put down")
        prompts = knowing.prompts(step.prompts, known)
        menu = Menu(
            where=step.origin,
            prompts=prompts,
            again=prompts if step.again is None else knowing.prompts(step.again, known),
            choices=tuple(choices),
            nomatch=nomatch,
            silence=silence,
            seconds=step.first,
            between=step.between,
            attempts=1 + step.repeats,
            insist=step.repeats == 0,
            most=step.most,
            finish=step.finish,
        )
        return _merged(menu, self.losses)

    def _asked(self, step: g.Collect) -> Iterator[Condition]:
        """What the keys of a collection are held against before they are collected anew."""
        ahead = deque(step.exits.values())
        seen = set(ahead)
        while ahead:
            found = self.graph.steps[ahead.popleft()]
            if isinstance(found, g.Collect) and found.into == step.into:
                continue
            if isinstance(found, g.Branch):
                conditions = (condition for case in found.cases for condition in case.conditions)
                yield from (each for each in conditions if each.variable == step.into and isinstance(each.value, str))
            for target in found.exits.values():
                if target not in seen:
                    seen.add(target)
                    ahead.append(target)


def _identities(blocks: Iterable[Block]) -> tuple[int, ...]:
    return tuple(map(id, blocks))


def _deed(step: g.Step) -> str:
    """What a step does, whichever it is."""
    return repr(replace(step, id="", origin="", exits={}))


def _told_apart(step: g.Collect, conditions: Iterable[Condition]) -> tuple[tuple[str, ...], Other]:
    """The keys that are told apart from others by ``conditions``, and those others."""
    several = tuple(conditions)
    possible = [key for key in step.keys if key not in step.finish]
    same = ("==", "is", "!=", "exists", "absent")
    if step.most == 1 and any(condition.operator not in same for condition in several):
        alike: dict[tuple[bool, ...], list[str]] = {}
        for key in possible:
            alike.setdefault(tuple(each.holds({step.into: key}) for each in several), []).append(key)
        most = max(alike.values(), key=len)
        asked = tuple(key for key in possible if key not in most)
        return asked, Other(frozenset(("", *asked)), most[0])
    values = (str(each.value) for each in several if each.operator in same)
    asked = tuple(dict.fromkeys(value for value in values if set(value) <= set(possible) and _fits(value, step)))
    return asked, Other(frozenset(("", *asked)))


def _fits(keys: str, step: g.Collect) -> bool:
    return max(step.least, 1) <= len(keys) <= (step.most or len(keys))


def _grouped(choices: Iterable[Choice]) -> Iterator[Choice]:
    """Keys that lead to the same as one choice."""
    ways: dict[int, Choice] = {}
    for choice in choices:
        before = ways.get(id(choice.block))
        ways[id(choice.block)] = choice if before is None else replace(before, keys=before.keys + choice.keys)
    yield from ways.values()


def _without(known: Known, case: g.Case) -> Known:
    """What is known where a case with one condition did not hold."""
    (condition,) = case.conditions
    if condition.operator not in ("==", "is") or not isinstance(condition.value, str):
        return known
    before = known.get(condition.variable)
    if isinstance(before, str):
        return known
    than = frozenset() if before is None else before.than
    return knowing.with_value(known, condition.variable, Other(than | {condition.value}))


def _follower(menu: Menu) -> tuple[Menu, tuple[Prompt | Draft, ...]] | None:
    """The next attempt at ``menu``, if silence and a wrong choice lead to it, and what is said after the latter."""
    follower = menu.silence.end
    if not isinstance(follower, Menu) or (follower, follower.choices) != (menu.nomatch.end, menu.choices):
        return None
    if any(not isinstance(act.step, g.Flush) for act in menu.silence.acts):
        return None
    acts = [act for act in menu.nomatch.acts if not isinstance(act.step, g.Flush)]
    said = [act.step.prompts for act in acts if isinstance(act.step, g.Say) and act.step.times == 1]
    return (follower, sum(said, ())) if len(said) == len(acts) else None


def _waiting(menu: Menu) -> Menu | None:
    """A menu behind ``menu`` that does no more than wait for its keys."""
    follower = menu.silence.end
    if menu.seconds or menu.silence.acts or not isinstance(follower, Menu) or follower.prompts:
        return None
    return follower if (follower.choices, follower.nomatch) == (menu.choices, menu.nomatch) else None


def _merged(menu: Menu, losses: Losses) -> Menu:
    """``menu`` and those that follow it as one, where they are no more than waiting or another attempt."""
    if (waiting := _waiting(menu)) is not None:
        if menu.attempts > 1:
            message = f"waits {waiting.seconds:g} s after each time that it asks, not after the last one only"
            losses.changed("time", menu.where, message)
        menu = replace(menu, seconds=waiting.seconds, silence=waiting.silence, between=waiting.between)
    if (found := _follower(menu)) is None:
        return menu
    follower, invalid = found
    alike = (follower.seconds, follower.insist) == (menu.seconds, menu.insist)
    asked = follower.prompts in (menu.again, menu.prompts) and follower.again == follower.prompts
    if not (alike and asked and menu.attempts == 1 and follower.invalid in ((), invalid)):
        return menu
    if follower.attempts > 1 and follower.invalid != invalid:
        return menu
    for act in menu.silence.acts:
        losses.changed("keys", act.step.origin, "keys that were pressed ahead are not forgotten between two attempts")
    return replace(
        menu,
        again=follower.prompts,
        invalid=invalid,
        attempts=1 + follower.attempts,
        nomatch=follower.nomatch,
        silence=follower.silence,
    )
