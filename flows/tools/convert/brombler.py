"""Writing Brombler call trees: nodes that speak and listen, leaves that speak and hang up."""

from __future__ import annotations

import json
import re
from typing import Any

from flows import graph as g
from flows import orders as o
from flows.documents import MAX_DEPTH
from flows.listening import Settings
from flows.prompts import Prompt
from flows.targets import is_media, transfer_target
from flows.templates import Text

from .losses import Losses
from .shape import Act, Block, Choice, Menu
from .writing import Writer, joined, only_prompts, pressed, rest_of

MAX_REPEATS = 5
"""How often a text is written out that is repeated."""

Value = str | dict[str, Any]

_ACTION = re.compile(r"\$[A-Za-z]+(\s|\Z)")


class BromblerWriter(Writer):
    dialect = "a call tree"

    def __init__(self, losses: Losses, settings: Settings, most: int) -> None:
        super().__init__(losses, most)
        self._settings = settings

    def document(self, block: Block, title: str) -> str:
        value = self.value(block, 1, "", "")
        tree = value if isinstance(value, dict) else {value: ""} if _ACTION.match(value) else {"_": value}
        return json.dumps(tree, ensure_ascii=False, indent=4) + "\n"

    def refuses(self, step: g.Step) -> bool:
        match step:
            case g.Perform(order=o.Dial(targets=targets)):
                return not any(target.kind in ("number", "uri") for target in targets)
            case g.Transfer():
                return False
            case _:
                return isinstance(step, g.Perform | g.Fetch | g.Jump)

    def value(self, block: Block, depth: int, voice: str, language: str) -> Value:
        """The value for a branch; ``voice`` and ``language`` are those of the nodes above it."""
        if self.full:
            return ""
        block = self.straight(block)
        node: dict[str, Any] = {}
        said: list[Prompt] = []
        for number, act in enumerate(block.acts):
            if not self.room(act.step.origin):
                break
            if (target := self._target(act)) is not None:
                return self._redirect(node, act, rest_of(block, number), target, said, depth, voice, language)
            self._act(act, rest_of(block, number), node, said)
            if isinstance(act.step, g.Perform) and isinstance(act.step.order, o.Respond):
                return self._leaf(node, said, voice, language)
        end = block.end
        if not isinstance(end, Menu):
            return self._leaf(node, said, voice, language)
        if depth >= MAX_DEPTH:
            self.losses.lost("too-deep", end.where, f"more than {MAX_DEPTH} menus one inside the other")
            return self._leaf(node, said, voice, language)
        return self._menu(node, said, end, depth, voice, language)

    # --- prompts --------------------------------------------------------------------------------

    def _leaf(self, node: dict[str, Any], said: list[Prompt], voice: str, language: str) -> Value:
        self._speak(node, "_", said, voice, language)
        return node["_"] if list(node) == ["_"] else node or ""

    def _speak(self, node: dict[str, Any], key: str, said: list[Prompt], voice: str, language: str) -> tuple[str, str]:
        """Put what is said into ``node``; the voice and language that hold there."""
        prompts = only_prompts(said)
        one = joined(prompts)
        if one is None and prompts:
            self.losses.lost("prompts", "", "a node speaks a text or plays a sound, not one after the other")
            texts = [prompt for prompt in prompts if prompt.text]
            one = joined(texts) or prompts[0]
        if one is None:
            return voice, language
        if len(prompts) > 1:
            self.losses.changed("prompts", "", "several texts are spoken as one")
        if one.media:
            if not is_media(one.media):
                message = f"{one.media} would be spoken: what a call tree plays ends in .wav, .mp3 or .ogg"
                self.losses.lost("media", "", message)
            else:
                node[key] = one.media
            return voice, language
        if is_media(one.text) or _ACTION.match(one.text.strip()):
            self.losses.lost("text", "", f"the text {one.text[:60]!r} would not be spoken: it is left out")
            return voice, language
        if any((each.voice, each.language) != (one.voice, one.language) for each in prompts):
            self.losses.lost("voice", "", "a node has one voice and one language: those of its first text")
        settings = (("$voice", one.voice, voice), ("$language", one.language, language))
        node |= {setting: value for setting, value, above in settings if value not in ("", above)}
        node[key] = one.text
        return one.voice or voice, one.language or language

    def _act(self, act: Act, rest: Block, node: dict[str, Any], said: list[Prompt]) -> None:
        step = act.step
        self.lost_exits(act, rest)
        match step:
            case g.Say():
                said += self._said(step)
            case g.Subscribe():
                node[f"$api {step.url}"] = ""
            case g.Forward():
                node[f"$forward {step.url}"] = ""
            case g.Flush():
                self.flushed(step)
            case _:
                if isinstance(step, g.Collect | g.Record):
                    said += self.fixed(step, step.prompts)
                elif isinstance(step, g.Perform) and isinstance(step.order, o.Respond):
                    said += self.fixed(step, step.order.prompts)
                self.lost_step(step)

    def _said(self, step: g.Say) -> list[Prompt]:
        if step.stop_keys:
            self.losses.changed("keys", "", "keys do not end what is said before a call tree listens")
        times = step.times
        if not 1 <= times <= MAX_REPEATS:
            self.losses.lost("repeat", step.origin, f"said {times or 'endlessly many'} times: here once")
            times = 1
        return list(self.fixed(step, step.prompts)) * times

    # --- menus ----------------------------------------------------------------------------------

    def _menu(
        self, node: dict[str, Any], said: list[Prompt], menu: Menu, depth: int, voice: str, language: str
    ) -> Value:
        step = g.Say(id="", origin=menu.where, prompts=menu.prompts)
        asked = self.fixed(step, menu.prompts)
        if said and menu.attempts > 1:
            message = "what is said before the choices is said again with them"
            self.losses.changed("prompts", menu.where, message)
        if menu.invalid:
            self.losses.lost("prompts", menu.where, "what is said after a wrong key is lost")
        if menu.again != menu.prompts:
            self.losses.changed("prompts", menu.where, "what is asked again is what was asked the first time")
        voice, language = self._speak(node, "_", [*said, *asked], voice, language)
        self._compare(menu)
        for choice in menu.choices:
            pattern = choice.pattern or " | ".join(f"key:{keys}" for keys in self._keys(menu, choice))
            if pattern:
                node[pattern] = self.value(choice.block, depth + 1, voice, language)
        if any(choice.any_key for choice in menu.choices) or menu.nomatch == menu.silence:
            if not menu.silence.empty:
                node["$timeout"] = self.value(menu.silence, depth + 1, voice, language)
            return node
        for key, block in (("$nomatch", menu.nomatch), ("$silence", menu.silence)):
            if not block.empty:
                node[key] = self.value(block, depth + 1, voice, language)
        return node

    def _keys(self, menu: Menu, choice: Choice) -> tuple[str, ...]:
        if choice.any_key and menu.most != 1:
            message = "what several keys lead to, whichever they are, is lost: a call tree names its keys"
            self.losses.lost("keys", choice.where or menu.where, message)
            return ()
        return pressed(choice)

    def _compare(self, menu: Menu) -> None:
        """Times and tries are settings of the call, not of a node."""
        settings = self._settings
        if menu.attempts != 1 + settings.repeats:
            message = f"asked {1 + settings.repeats} times, not {menu.attempts}: calls.repeats says how often"
            self.losses.changed("time", menu.where, message)
        if menu.seconds != settings.listen:
            message = f"waits {settings.listen:g} s for the caller, not {menu.seconds:g}: calls.listen says how long"
            self.losses.changed("time", menu.where, message)
        if not menu.insist and menu.nomatch != menu.silence:
            self.losses.changed("time", menu.where, "keys that lead nowhere are asked for again")
        if menu.finish and menu.most != 1:
            self.losses.changed("keys", menu.where, f"the key {menu.finish} does not end the entry")

    # --- redirects --------------------------------------------------------------------------------

    def _target(self, act: Act) -> str | None:
        """The number or URI of a transfer or a dial; ``None`` for all else."""
        step = act.step
        target: Text = ""
        if isinstance(step, g.Transfer):
            target = step.target
        elif isinstance(step, g.Perform) and isinstance(step.order, o.Dial):
            reachable = tuple(each for each in step.order.targets if each.kind in ("number", "uri"))
            first = self.one_target(step, reachable)
            target = "" if first is None else first.value
        if not target or not (text := self.plain(step, target, "the target")):
            return None
        try:
            return transfer_target(text)
        except ValueError as error:
            self.losses.lost("targets", step.origin, f"no call tree can redirect to {text!r}: {error}")
            return None

    def _redirect(
        self,
        node: dict[str, Any],
        act: Act,
        rest: Block,
        target: str,
        said: list[Prompt],
        depth: int,
        voice: str,
        language: str,
    ) -> Value:
        key = f"$redirect {target}"
        if isinstance(act.step, g.Perform):
            message = "the caller is transferred, and gone from here, where the two were bridged"
            self.losses.changed("transfer", act.step.origin, message)
        failed = act.exits.get(g.FAILED, rest)
        self.lost_exits(act, rest, g.FAILED)
        self.lost_rest(act.step, rest, "once it is transferred")
        if not said and not node and failed.empty:
            return key
        self._speak(node, key, said, voice, language)
        node.setdefault(key, "")
        if not failed.empty:
            node["$fail"] = self.value(failed, depth + 1, voice, language)
        return node
