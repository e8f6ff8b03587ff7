"""Writing Kazoo callflows: a tree of modules, each the child of the one before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from flows import graph as g
from flows import orders as o
from flows.documents import MAX_DEPTH
from flows.prompts import Prompt

from .kazoo_dialling import ring
from .losses import Losses
from .shape import Act, Block, Fork, Menu
from .writing import KEYPAD, Writer, joined, only_prompts, pressed, rest_of

MAX_TEXT = 1000
"""Characters of one spoken text."""
MAX_SEQUENCE = 6
"""Keys in sequence that a menu knows."""
MAX_RETRIES = 10

Node = dict[str, Any]
Made = tuple[list[Node], bool]
"""Nodes in a row, and whether the call is over behind them."""


class KazooWriter(Writer):
    dialect = "Kazoo"

    def __init__(self, losses: Losses, most: int) -> None:
        super().__init__(losses, most)
        self._weights: dict[int, tuple[Node, int]] = {}

    def refuses(self, step: g.Step) -> bool:
        refused = (o.Enqueue, o.LeaveQueue, o.BridgeSession, o.DetectMachine)
        return isinstance(step, g.Perform) and isinstance(step.order, refused)

    def document(self, block: Block, title: str) -> str:
        node = self.node(block, 1) or make("hangup")
        return json.dumps(node, ensure_ascii=False, indent=2) + "\n"

    def node(self, block: Block, depth: int) -> Node | None:
        """The first node of a block, with all others below it; ``None`` where the call just ends."""
        if self.full:
            return None
        block = self.feasible(block)
        row: list[Node] = []
        number = 0
        over = False
        while number < len(block.acts) and not over:
            act = block.acts[number]
            if isinstance(act.step, g.Say):
                says = [act.step]
                while _goes_with(says[-1], follower := _say_at(block, number + 1)) and follower is not None:
                    says.append(follower)
                    number += 1
                made: Made = (self._say(says), False)
            else:
                made = self._act(act, rest_of(block, number), depth + len(row))
            row += made[0]
            over = made[1]
            number += 1
        if depth + len(row) > MAX_DEPTH:
            self.losses.lost("too-deep", "", f"more than {MAX_DEPTH} steps in a row: what comes after them is lost")
            del row[MAX_DEPTH - depth :]
            over = True
        if not over and (last := self._end(block, depth + len(row))) is not None:
            row.append(last)
        for parent, child in pairwise(row):
            parent.setdefault("children", {})["_"] = child
        return row[0] if row else None

    # --- speaking -----------------------------------------------------------------------------

    def _say(self, says: list[g.Say]) -> list[Node]:
        """Several texts and sounds in a row are one macro."""
        macros: list[Node] = []
        first = says[0]
        for step in says:
            prompts = only_prompts(self.fixed(step, step.prompts))
            if step.times != 1 and len(prompts) == 1:
                return self._repeated(step, prompts[0])
            if step.times == 0:
                self.lost_step(step, "repeating several prompts without end")
            for prompt in prompts * (step.times or 1):
                macros += self._macros(step, prompt)
        stops = {"terminators": [key for key in KEYPAD if key in first.stop_keys]}
        if len(macros) == 1:
            (macro,) = macros
            return [make(macro.pop("macro"), macro | stops)]
        return [make("audio_macro", {"macros": macros, **stops})] if macros else []

    def _repeated(self, step: g.Say, prompt: Prompt) -> list[Node]:
        stops = {"terminators": [key for key in KEYPAD if key in step.stop_keys]}
        if step.times == 0:
            (macro, *_) = self._macros(step, prompt)
            return [make(macro.pop("macro"), macro | {"endless_playback": True} | stops)]
        if prompt.media:
            return [make("play", {"id": prompt.media, "loop_count": min(step.times, 1000)} | stops)]
        return [make("audio_macro", {"macros": self._macros(step, prompt) * step.times, **stops})]

    def _macros(self, step: g.Step, prompt: Prompt) -> list[Node]:
        if prompt.media:
            return [{"macro": "play", "id": prompt.media}]
        more = {name: value for name, value in (("voice", prompt.voice), ("language", prompt.language)) if value}
        pieces = split(prompt.text, MAX_TEXT)
        if len(pieces) > 1:
            message = f"a text of {len(prompt.text):,} characters is spoken in {len(pieces)} pieces of {MAX_TEXT:,}"
            self.losses.changed("text", step.origin, message)
        return [{"macro": "tts", "text": piece, **more} for piece in pieces]

    # --- menus ----------------------------------------------------------------------------------

    def _end(self, block: Block, depth: int) -> Node | None:
        if isinstance(block.end, Menu):
            return self._menu(block.end, depth)
        if isinstance(block.end, Fork):
            return self._fork(block.end, depth)
        return None

    def _menu(self, menu: Menu, depth: int) -> Node | None:
        if not self.room(menu.where):
            return None
        self.lost_words(menu)
        self.told_late(menu)
        asked, before = self._asked(menu)
        children: Node = {}
        for choice in menu.choices:
            for keys in pressed(choice):
                if len(keys) > MAX_SEQUENCE or not set(keys) <= set(KEYPAD):
                    message = f"the keys {keys} cannot be a choice: at most {MAX_SEQUENCE} of {KEYPAD}"
                    self.losses.lost("keys", choice.where or menu.where, message)
                elif keys not in children:
                    children[keys] = self.node(choice.block, depth + 1 + len(before)) or make("hangup")
        node = self._tries(menu, self._data(menu, asked, children), children, depth + len(before))
        for each in before:
            each["children"] = {"_": node}
        return before[0] if before else node

    def _asked(self, menu: Menu) -> tuple[Prompt | None, list[Node]]:
        """What a menu asks, as one prompt, and what is said before it once."""
        step = g.Say(id="", origin=menu.where, prompts=menu.prompts)
        first, again = (only_prompts(self.fixed(step, prompts)) for prompts in (menu.prompts, menu.again))
        asked = again if menu.attempts > 1 else first
        before = first[: len(first) - len(asked)] if first[len(first) - len(asked) :] == asked else first
        if before == first != asked:
            message = "what is asked again is asked the first time too"
            self.losses.changed("prompts", menu.where, message)
            before = ()
        one = joined(asked)
        if one is not None and len(asked) > 1:
            self.losses.changed("prompts", menu.where, "several texts are spoken as one")
        if asked and (one is None or len(one.text) > MAX_TEXT):
            message = (
                f"a menu asks with one sound or one text of at most {MAX_TEXT:,} characters: all else is heard once"
            )
            self.losses.lost("prompts", menu.where, message)
            pieces = [replace(asked[-1], text=piece) for piece in split(asked[-1].text, MAX_TEXT)] or [asked[-1]]
            before, one = (*before, *asked[:-1], *pieces[:-1]), pieces[-1]
        said = g.Say(id="", origin=menu.where, prompts=before, stop_keys=KEYPAD)
        return one, self._say([said]) if before else []

    def _data(self, menu: Menu, asked: Prompt | None, children: Node) -> Node:
        data: Node = {}
        if asked is not None and asked.media:
            data["media"] = {"greeting": asked.media}
        elif asked is not None:
            data = {"text": asked.text, "voice": asked.voice, "language": asked.language}
        return {name: value for name, value in data.items() if value} | {
            "timeout": self._milliseconds(menu.where, menu.seconds, 60_000),
            "interdigit_timeout": self._milliseconds(menu.where, menu.between, 10_000),
            "max_extension_length": max(map(len, children), default=1),
        }

    def _milliseconds(self, where: str, seconds: float, most: int) -> int:
        wanted = round(seconds * 1000)
        taken = min(max(wanted, 1), most)
        if taken != max(wanted, 1):
            self.losses.changed("time", where, f"a menu waits {taken / 1000:g} s, not {seconds:g}")
        return taken

    def _tries(self, menu: Menu, data: Node, children: Node, depth: int) -> Node:
        """One menu where silence and a wrong key lead to the same, else one for each kind of try."""
        attempts = menu.attempts
        if attempts > MAX_RETRIES:
            self.losses.changed("time", menu.where, f"a menu asks {MAX_RETRIES} times, not {attempts}")
            attempts = MAX_RETRIES
        silence, nomatch = self.node(menu.silence, depth + 1), self.node(menu.nomatch, depth + 1)
        if any(choice.any_key for choice in menu.choices):
            nomatch = None
        if silence == nomatch and (menu.insist or attempts == 1) and not menu.invalid:
            return _menu_node(data, attempts, children, {"max_retries": nomatch})
        weight = sum(map(self._weight, children.values())) + self._weight(silence) + self._weight(nomatch)
        if weight * 2**attempts > self.most:
            message = "what a wrong key leads to happens after silence too: there is no room for a menu for each try"
            self.losses.lost("branch", menu.where, message)
            return _menu_node(data, attempts, children, {"max_retries": nomatch})
        node = _menu_node(data, 1, children, {"timeout": silence or make("hangup"), "max_retries": nomatch})
        if menu.insist and attempts > 1 and not menu.invalid:
            return _menu_node(data, attempts - 1, children, {"max_retries": node})
        for _ in range(attempts - 1):
            wrong: Node | None = nomatch
            if menu.invalid:
                (wrong,) = self._say([g.Say(id="", origin=menu.where, prompts=menu.invalid)]) or [node]
                wrong = {**wrong, "children": {"_": node}} if wrong is not node else node
            node = _menu_node(data, 1, children, {"timeout": node, "max_retries": wrong})
        return node

    def _weight(self, node: Node | None) -> int:
        """How many nodes there are in what is written for ``node``: what is used twice is written twice."""
        if node is None:
            return 0
        if id(node) not in self._weights:
            weight = 1 + sum(map(self._weight, node.get("children", {}).values()))
            self._weights[id(node)] = (node, weight)  # kept, so that no other node gets its identity
        return self._weights[id(node)][1]

    def _fork(self, fork: Fork, depth: int) -> Node | None:
        if not self.room(fork.where):
            return None
        otherwise = self.node(fork.otherwise, depth + 1)
        names = {condition.variable for conditions, _ in fork.cases for condition in conditions}
        simple = all(
            len(conditions) == 1
            and conditions[0].operator in ("==", "is")
            and isinstance(conditions[0].value, str)
            and conditions[0].value not in ("", "_")
            for conditions, _ in fork.cases
        )
        name = next(iter(names), "")
        if len(names) == 1 and name.startswith("var.") and simple:
            node = make("branch_variable", {"variable": name.removeprefix("var.")})
            ways = {str(conditions[0].value): way for conditions, way in fork.cases}
            node["children"] = {value: self.node(way, depth + 1) or make("hangup") for value, way in ways.items()}
            if otherwise is not None:
                node["children"]["_"] = otherwise
            return node
        message = "what depends on these conditions is lost: Kazoo asks one variable for one of some values"
        self.losses.lost("condition", fork.where, message)
        return otherwise

    # --- acts -----------------------------------------------------------------------------------

    def _act(self, act: Act, rest: Block, depth: int) -> Made:
        step = act.step
        if not self.room(step.origin):
            return [], True
        if isinstance(step, g.Perform) and isinstance(step.order, o.Dial):
            node = ring(self, step, step.order)
            return ([node], True) if node is not None and self._over(act, node, rest, depth) else ([], False)
        if (ending := self._ending(step)) is not None:
            return ([ending], True) if self._over(act, ending, rest, depth) else ([], False)
        self.lost_exits(act, rest)
        return self._passing(step), isinstance(step, g.Perform) and isinstance(step.order, o.Respond)

    def _over(self, act: Act, node: Node, rest: Block, depth: int) -> bool:
        """Give ``node``, behind which the call is over, the children for when it fails. Always true."""
        children = {name: child for name, way in act.exits.items() if (child := self.node(way, depth + 1))}
        if g.FAILED in children:
            children["_"] = children.pop(g.FAILED)
        if g.FAILED not in act.exits and not rest.empty and (failed := self.node(rest, depth + 1)) is not None:
            children["_"] = failed
        children.pop(g.UNSUPPORTED, None)
        if children:
            node["children"] = children
        self.lost_rest(act.step, rest, "when this has succeeded")
        return True

    def _ending(self, step: g.Step) -> Node | None:
        """The node of a step behind which a callflow is over."""
        match step:
            case g.Transfer():
                target = self.plain(step, step.target, "the target")
                return make("transfer", {"target": target}) if target else None
            case g.Fetch():
                return self._pivot(step)
            case g.Jump():
                flow = self.plain(step, step.flow, "the flow")
                return make("callflow", {"id": flow}) if flow else None
            case g.Perform(order=o.Conference() as order):
                return self._conference(step, order)
            case g.Perform(order=o.Park() as order):
                slot = self.plain(step, order.slot, "the slot")
                called_back = {"default_callback_timeout": round(order.timeout)} if order.timeout else {}
                return make("park", {"action": order.action} | ({"slot": slot} if slot else {}) | called_back)
            case _:
                return None

    def _pivot(self, step: g.Fetch) -> Node | None:
        url = self.plain(step, step.url, "the URL")
        if not url:
            return None
        readers = {reader for _, several in step.readers for reader in several}
        if not readers & {"kazoo", "pivot"}:
            message = f"{url} is asked for a callflow or TwiML, with other parameters: the server must answer so"
            self.losses.lost("request", step.origin, message)
        form = {} if "kazoo" in readers else {"req_format": "twiml"}
        patience = {"req_timeout_ms": round(step.patience * 1000)} if step.patience < 5.0 else {}
        return make("pivot", {"voice_url": url, "method": step.method.lower(), **form, **patience})

    def _conference(self, step: g.Perform, order: o.Conference) -> Node | None:
        room = self.plain(step, order.room, "the room")
        if not room:
            return None
        data: Node = {"moderator": order.moderator}
        for name, tone in (("play_entry_tone", order.entry_tone), ("play_exit_tone", order.exit_tone)):
            if tone != "default":
                data[name] = tone or False
        if order.welcome != "default":
            data["welcome_prompt"] = {"media_id": order.welcome} if order.welcome else {"play": False}
        said = ["room", "stored", "moderator", "entry_tone", "exit_tone", "welcome"]
        if order.stored:
            data["id"] = room
        else:
            own: Node = {"join_muted": order.muted, "join_deaf": order.deaf}
            config: Node = {"name": room[:128], "moderator" if order.moderator else "member": own}
            for who, pins in (("member", order.pins), ("moderator", order.moderator_pins)):
                if pins:
                    config[who] = {**config.get(who, {}), "pins": list(pins)}
            if order.wait_for_moderator:
                config["wait_for_moderator"] = True
            if order.most:
                config["max_participants"] = order.most
            if order.announce_name:
                config["play_name"] = True
            data["config"] = config
            said += ["muted", "deaf", "pins", "moderator_pins", "wait_for_moderator", "most", "announce_name"]
        self.unsaid(step, order, said, {"time_limit": 14_400.0, "most": 250})
        return make("conference", data)

    def _passing(self, step: g.Step) -> list[Node]:
        """The nodes of a step that the flow goes on after."""
        match step:
            case g.Pause():
                return [make("sleep", {"duration": round(step.seconds * 1000), "unit": "ms"})]
            case g.Collect():
                return self._collect(step)
            case g.Flush():
                return [make("flush_dtmf")]
            case g.Record():
                return self._record(step)
            case g.SetVariables():
                return self._variables(step)
            case g.Tell():
                url = self.plain(step, step.url, "the URL")
                message = f"{url} is told what Kazoo's webhooks tell, under other names"
                self.losses.changed("request", step.origin, message)
                return [make("webhook", {"uri": url, "http_verb": step.method.lower()})] if url else []
            case g.Perform():
                return self._order(step, step.order)
            case _:
                self.lost_step(step)
        return []

    def _collect(self, step: g.Collect) -> list[Node]:
        name = step.into.partition(".")[2] or step.into
        before = self._say([g.Say(id="", origin=step.origin, prompts=step.prompts, stop_keys=KEYPAD)])
        data: Node = {
            "max_digits": step.most or 1000,
            "timeout": max(1, round(step.first * 1000)),
            "interdigit_timeout": max(1, round(step.between * 1000)),
            "collection_name": name,
        }
        if step.finish != "#":
            data["terminators"] = list(step.finish)
        if step.secret:
            data["secret"] = True
        if step.repeats or step.least > 1:
            message = "keys are asked for once, and taken however few they are"
            self.losses.changed("keys", step.origin, message)
        return [*before, make("collect_dtmf", data)]

    def _record(self, step: g.Record) -> list[Node]:
        before = self._say([g.Say(id="", origin=step.origin, prompts=step.prompts)]) if step.prompts else []
        url = "" if step.upload is None else self.plain(step, step.upload.url, "the URL of a recording")
        if not url or step.upload is None:
            self.losses.lost("recording", step.origin, "Kazoo records the caller only where there is a URL to send to")
            return before
        data: Node = {"format": step.format, "url": url, "method": step.upload.method.lower()}
        if step.limit:
            data["time_limit"] = min(max(round(step.limit), 5), 3600)
        self.losses.changed("recording", step.origin, "any key ends the recording, silence does not")
        return [*before, make("record_caller", data)]

    def _variables(self, step: g.SetVariables) -> list[Node]:
        nodes = []
        values: dict[str, str] = {}
        for name, value in step.values:
            text = self.plain(step, value, f"the value of {name}")
            if name == "call.language" and text:
                nodes.append(make("language", {"language": text}))
            elif name.startswith("var.") and isinstance(value, str):
                values[name.removeprefix("var.")] = text
        return [*nodes, make("set_variables", {"custom_application_vars": values})] if values else nodes

    def _order(self, step: g.Perform, order: o.Order) -> list[Node]:
        match order:
            case o.SendDigits():
                digits = self.plain(step, order.digits, "the keys")
                duration = min(max(round(order.tone * 1000), 1), 60_000)
                return [make("send_dtmf", {"digits": digits, "duration_ms": duration})] if digits else []
            case o.Presence():
                entity = self.plain(step, order.entity, "the presence")
                return [make("manual_presence", {"presence_id": entity, "status": order.state})] if entity else []
            case o.Respond():
                return [self._respond(step, order)]
            case o.StartRecording():
                return [make("record_call", self._recording(step, order))]
            case o.StopRecording():
                return [make("record_call", {"action": "stop"})]
            case o.Voicemail():
                box = self.plain(step, order.box, "the box")
                data: Node = {"action": order.action, "max_message_length": round(order.limit) or 500}
                if order.between_keys != 2.0:
                    data["interdigit_timeout"] = min(max(round(order.between_keys * 1000), 1), 60_000)
                data |= {"single_mailbox_login": True} if order.single_login else {}
                data |= {"callerid_match_login": True} if order.login_by_caller_id else {}
                return [make("voicemail", data | ({"id": box} if box else {}))]
            case _:
                self.lost_step(step)
                return []

    def _respond(self, step: g.Perform, order: o.Respond) -> Node:
        data: Node = {"code": order.code} | ({"message": order.reason} if order.reason else {})
        prompts = self.fixed(step, order.prompts)
        if prompts and prompts[0].media:
            data["media"] = prompts[0].media
        if len(prompts) > 1 or any(prompt.text for prompt in prompts):
            self.losses.lost("prompts", step.origin, "only one sound can be heard before a SIP status")
        return make("response", data)

    def _recording(self, step: g.Perform, order: o.StartRecording) -> Node:
        data: Node = {"action": "start", "format": order.format}
        if order.limit:
            data["time_limit"] = min(max(round(order.limit), 5), 3600)
        if order.on != "now":
            data[f"record_on_{order.on}"] = True
        if order.upload is not None and (url := self.plain(step, order.upload.url, "the URL of a recording")):
            data |= {"url": url, "method": order.upload.method.lower()}
        data |= {"record_min_sec": round(order.least)} if order.least else {}
        data |= {"record_sample_rate": order.sample_rate} if 0 < order.sample_rate <= 48_000 else {}
        data |= {"label": order.label} if order.label else {}
        self.unsaid(step, order, ("format", "limit", "on", "upload", "least", "sample_rate", "label"))
        return data


def make(module: str, data: Mapping[str, Any] | None = None) -> Node:
    return {"module": module, "data": dict(data or {})}


def _menu_node(data: Node, retries: int, children: Node, others: Mapping[str, Node | None]) -> Node:
    there = {name: node for name, node in others.items() if node is not None}
    return make("menu", {**data, "retries": retries}) | {"children": {**children, **there}}


def _say_at(block: Block, number: int) -> g.Say | None:
    step = block.acts[number].step if number < len(block.acts) else None
    return step if isinstance(step, g.Say) else None


def _goes_with(before: g.Say, after: g.Say | None) -> bool:
    return after is not None and before.times == after.times == 1 and before.stop_keys == after.stop_keys == ""


def split(text: str, most: int) -> list[str]:
    """``text`` in pieces of at most ``most`` characters, at spaces where there are some."""
    pieces = []
    while len(text) > most:
        at = text.rfind(" ", 0, most + 1)
        at = at if at > 0 else most
        pieces.append(text[:at].rstrip())
        text = text[at:].lstrip()
    return [*pieces, text] if text else pieces
