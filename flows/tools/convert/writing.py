"""What all writers of dialects have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from flows import graph as g
from flows.orders import Dial, Order, Target
from flows.prompts import Draft, Prompt
from flows.templates import Text

from .losses import Losses
from .shape import Act, Block, Choice, Fork, Menu, Prompts

MAX_PLACES = 5000
"""Steps of a written document: what several ways lead to is written for each of them."""


class Writer:
    """A dialect's writer: shapes in, a document out, what is lost put down."""

    dialect = ""
    """As people call it, in messages."""

    def __init__(self, losses: Losses, most: int = MAX_PLACES) -> None:
        self.losses = losses
        self.most = most
        self._places = 0

    def document(self, block: Block, title: str) -> str:
        """The document that does what ``block`` does."""
        raise NotImplementedError

    def refuses(self, step: g.Step) -> bool:
        """Whether the dialect cannot say at all what a step does that may also fail."""
        return False

    @property
    def full(self) -> bool:
        """No more steps are written."""
        return self._places > self.most

    def room(self, where: str) -> bool:
        """Whether there is room for one more step; the loss is told when there is none."""
        self._places += 1
        if self.full:
            message = f"more than {self.most:,} steps: what several ways lead to is written for each of them"
            self.losses.lost("too-large", "", message)
        return not self.full

    def feasible(self, block: Block) -> Block:
        """``block`` up to the first step that the dialect refuses, and from there on as if that had failed."""
        for number, act in enumerate(block.acts):
            way = act.exits.get(g.UNSUPPORTED) or act.exits.get(g.FAILED)
            if way is not None and self.refuses(act.step):
                self.lost_step(act.step)
                way = self.feasible(way)
                return Block(block.acts[:number] + way.acts, way.end)
        return block

    # --- losses that several dialects have ----------------------------------------------------

    def lost_step(self, step: g.Step, what: str = "") -> None:
        """``what`` this step does cannot be said in the dialect."""
        code = _CODES.get(type(step), "step")
        what = what or _deed(step)
        self.losses.lost(code, step.origin, f"{what} cannot be written in {self.dialect}: it is left out")

    def flushed(self, step: g.Flush) -> None:
        """No dialect but Kazoo says so; what is pressed ahead seldom matters."""
        self.losses.changed("keys", step.origin, "keys that were pressed ahead are not forgotten here")

    def straight(self, block: Block) -> Block:
        """``block`` without forks, for dialects that have none: what is not asked for goes on."""
        block = self.feasible(block)
        while isinstance(fork := block.end, Fork):
            message = f"what depends on conditions is lost: {self.dialect} has none"
            self.losses.lost("condition", fork.where, message)
            otherwise = self.feasible(fork.otherwise)
            block = Block(block.acts + otherwise.acts, otherwise.end)
        return block

    def lost_exits(self, act: Act, rest: Block, *but: str) -> None:
        """Ways on from a step that the dialect has no place for, since it goes on with ``rest`` in any case."""
        for name, block in act.exits.items():
            if name == g.HUNG_UP:
                message = "who is told of the recording when the caller hangs up is lost"
                self.losses.lost("callbacks", act.step.origin, message)
            elif name not in (g.UNSUPPORTED, *but) and not block.empty and block != rest:
                message = f"where the call goes on after {name!r} is lost: {self.dialect} goes on as usual then"
                self.losses.lost("exit", act.step.origin, message)

    def lost_rest(self, step: g.Step, rest: Block, what: str) -> None:
        """What stands after a step that ends the flow in the dialect."""
        if not rest.empty:
            self.losses.lost("after", step.origin, f"in {self.dialect} the call is over {what}: what follows is lost")

    def lost_words(self, menu: Menu) -> None:
        """Words that could be said: the dialect only hears keys."""
        for choice in menu.choices:
            name = choice.pattern or ", ".join(choice.keys)
            if not choice.keys and not choice.any_key:
                message = f"{name!r} has no key: {self.dialect} hears no words, so nothing leads there"
                self.losses.lost("branch", choice.where or menu.where, message, "give it a key: key:1")
            elif choice.pattern and any(not part.strip().startswith("key:") for part in choice.pattern.split("|")):
                message = f"{name!r} can only be pressed ({', '.join(choice.keys)}): {self.dialect} hears no words"
                self.losses.lost("words", choice.where or menu.where, message)

    def told_late(self, menu: Menu) -> None:
        """Where several keys make a choice, a call tree knows of each key whether it can still come to one."""
        if menu.most > 1 and any(choice.pattern for choice in menu.choices):
            message = f"keys are taken {menu.most} at a time, or until no more come: a wrong one is told only then"
            self.losses.changed("sequence", menu.where, message)

    def fixed(self, step: g.Step, prompts: Prompts) -> tuple[Prompt, ...]:
        """Prompts without variables in them; the others are lost."""
        for each in prompts:
            if isinstance(each, Draft):
                what = f"a prompt with variables in it ({each.text or each.media})"
                self.losses.lost("variable", step.origin, f"{what} cannot be written in {self.dialect}: it is left out")
        return tuple(each for each in prompts if isinstance(each, Prompt))

    def plain(self, step: g.Step, text: Text, what: str) -> str:
        """A text without variables; empty, and told as lost, when it has some."""
        if isinstance(text, str):
            return text
        message = f"{what} {text} depends on variables, which {self.dialect} does not know: it is left out"
        self.losses.lost("variable", step.origin, message)
        return ""

    def unsaid(self, step: g.Step, order: Order, said: Collection[str], usual: Mapping[str, Any] | None = None) -> None:
        """Tell what ``order`` asks for beyond the fields ``said``: what differs from the default, or from ``usual``."""
        code, what = ("dial", "a dial") if isinstance(order, Dial) else ("order", _ORDERS[type(order).__name__])
        for name in _differing(order, said, usual or {}):
            message = f"the {name} of {what} cannot be written in {self.dialect}: it is left out"
            self.losses.lost(code, step.origin, message)

    def unsaid_targets(self, step: g.Step, targets: Iterable[Target], *said: str) -> None:
        """The same for those who are rung."""
        names = {name for target in targets for name in _differing(target, ("kind", "value", *said), {})}
        for name in sorted(names):
            message = f"the {name} of one who is rung cannot be written in {self.dialect}: it is left out"
            self.losses.lost("targets", step.origin, message)

    def one_target(self, step: g.Step, targets: tuple[Target, ...]) -> Target | None:
        """The only one who can be rung; others are lost."""
        if len(targets) > 1:
            message = f"only the first of {len(targets)} who are rung is written: {self.dialect} rings one at a time"
            self.losses.lost("targets", step.origin, message)
        return targets[0] if targets else None


def _differing(value: Order | Target, said: Collection[str], usual: Mapping[str, Any]) -> list[str]:
    """The fields of ``value`` in words, without ``said``, that are not as they usually are."""
    found = []
    for each in fields(value):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name not in said and getattr(value, each.name) not in (default, usual.get(each.name, default)):
            found.append(each.name.replace("_", " "))
    return found


def _deed(step: g.Step) -> str:
    """What a step does, in words."""
    match step:
        case g.Perform():
            return _ORDERS.get(type(step.order).__name__, type(step.order).__name__)
        case g.Pause():
            return f"a pause of {step.seconds:g} s"
        case g.Subscribe() | g.Forward():
            return f"telling {step.url} how the call goes"
        case g.Tell():
            return f"telling {step.url} about the call"
        case g.Fetch():
            return f"asking {step.url} for a flow"
        case g.Jump():
            return f"going on with the stored flow {step.flow}"
        case g.SetVariables():
            return f"setting {', '.join(name for name, _ in step.values)}"
        case g.Collect():
            return "taking keys without choosing by them"
        case g.Record():
            return "recording the caller"
        case _:
            return type(step).__name__


_ORDERS = {
    "Dial": "ringing somebody",
    "Conference": "a conference",
    "Voicemail": "voicemail",
    "Park": "parking the call",
    "Enqueue": "waiting in a queue",
    "LeaveQueue": "leaving a queue",
    "SendDigits": "sending keys",
    "Presence": "publishing a presence",
    "Respond": "answering with a SIP status",
    "DetectMachine": "looking for an answering machine",
    "StartRecording": "recording the call",
    "StopRecording": "stopping a recording",
    "BridgeSession": "joining another call",
}
_CODES: dict[type[g.Step], str] = {
    g.Pause: "pause",
    g.Record: "recording",
    g.Perform: "order",
    g.Fetch: "request",
    g.Tell: "request",
    g.Jump: "flow",
    g.SetVariables: "variable",
    g.Collect: "keys",
    g.Flush: "keys",
    g.Subscribe: "callbacks",
    g.Forward: "callbacks",
}

KEYPAD = "0123456789*#"


def rest_of(block: Block, number: int) -> Block:
    """What comes after an act of ``block``."""
    return Block(block.acts[number + 1 :], block.end)


def pressed(choice: Choice) -> tuple[str, ...]:
    """The keys that lead to a choice."""
    return tuple(KEYPAD) if choice.any_key else choice.keys


def only_prompts(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    return tuple(prompt for prompt in prompts if prompt.text or prompt.media)


def joined(prompts: Iterable[Prompt]) -> Prompt | None:
    """Texts one after the other as one text; ``None`` where there is a sound among several."""
    parts = list(prompts)
    if len(parts) == 1:
        return parts[0]
    if not parts or any(part.media for part in parts):
        return None
    return replace(parts[0], text=" ".join(part.text for part in parts))
