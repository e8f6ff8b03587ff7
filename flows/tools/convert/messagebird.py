"""Writing MessageBird call flows: one list of steps.

The steps of a way that only some take have conditions, and each such way ends with a hangup of its own; so what stands
behind it in the list is for those who were not on it. A menu keeps the keys in a variable: its tries ask while the
variable has none of the choices in it, the ways of the choices ask for theirs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from flows import graph as g
from flows import orders as o
from flows.prompts import Draft, Prompt
from flows.schemas import schema
from flows.targets import is_url
from flows.templates import Condition, Template, Text, Var

from .losses import Losses
from .shape import Act, Block, Fork, Menu
from .writing import KEYPAD, Writer, pressed, rest_of

MAX_CONDITIONS = 32
LANGUAGE = "en-gb"
"""Of texts that do not name theirs: every say has one."""
VOICE = "female"

Step = dict[str, Any]
Conditions = tuple[Step, ...]

_CONDITION = re.compile(r'\{\s+("variable": "[^"]*"),\s+("operator": "[^"]*")(,\s+"value": "[^"\\]*")?\s+\}')
_NAMES = {"call.id": "callID", "call.caller": "source", "call.callee": "destination"}
_OPERATORS = {"is": "=="}


class MessageBirdWriter(Writer):
    dialect = "MessageBird"

    def __init__(self, losses: Losses, most: int) -> None:
        super().__init__(losses, most)
        self.steps: list[Step] = []
        self.record = False
        self._menus = 0

    def document(self, block: Block, title: str) -> str:
        self.block(block, ())
        flow = {"title": title or "Flow", **({"record": True} if self.record else {}), "steps": self.steps}
        return _CONDITION.sub(_on_one_line, json.dumps(flow, ensure_ascii=False, indent=2)) + "\n"

    def refuses(self, step: g.Step) -> bool:
        match step:
            case g.Perform(order=o.Dial(targets=targets)):
                return not any(target.kind in ("number", "uri") for target in targets)
            case g.Perform(order=order):
                return not isinstance(order, o.SendDigits | o.StartRecording | o.Respond)
            case _:
                return isinstance(step, g.Jump)

    def block(self, block: Block, when: Conditions) -> None:
        """Write down a block for calls on which the conditions ``when`` hold, up to its end."""
        if self.full:
            return
        block = self.feasible(block)
        for number, act in enumerate(block.acts):
            if self._act(act, rest_of(block, number), when):
                return
        if isinstance(block.end, Menu):
            self._menu(block.end, when)
        elif isinstance(block.end, Fork):
            self._fork(block.end, when)
        else:
            self.add(when, "hangup")

    def add(self, when: Conditions, action: str, options: Mapping[str, Any] | None = None, **fields: Any) -> None:
        if not self.room(""):
            return
        if len(when) > MAX_CONDITIONS:
            message = f"more than {MAX_CONDITIONS} conditions for one step: what stands under them is lost"
            self.losses.lost("condition", "", message)
            return
        step: Step = {"id": str(len(self.steps) + 1), "action": action}
        step |= {"options": dict(options)} if options else {}
        self.steps.append(step | fields | ({"conditions": list(when)} if when else {}))

    # --- speaking -----------------------------------------------------------------------------

    def _heard(self, where: str, prompt: Prompt | Draft, when: Conditions, *, times: int = 1, **fields: Any) -> None:
        """One text or sound, for keys to be pressed in if ``fields`` say so."""
        media, text = self._template(where, prompt.media), self._template(where, prompt.text)
        if media:
            if not is_url(media):
                self.losses.lost("media", where, f"MessageBird plays URLs only: {media} is left out")
                return
            options: Step = {"media": media} | ({"loop": True if times == 0 else min(times, 100)} if times != 1 else {})
            self.add(when, "play", options, **fields)
            return
        if not text:
            return
        options = {"payload": text, "language": self._language(where, prompt.language)}
        options["voice"] = self._voice(where, prompt.voice)
        options["ifMachine"] = "continue"
        if times == 0 or times > 10:
            options["loop"] = True if times == 0 else min(times, 100)
        elif times > 1:
            options["repeat"] = times
        self.add(when, "say", options, **fields)

    def _language(self, where: str, language: str) -> str:
        listed: list[str] = schema("messagebird")["$defs"]["say"]["properties"]["language"]["examples"]
        tag = language.lower().replace("_", "-")
        if not tag:
            self.losses.changed("language", "", f"texts that name no language are in {LANGUAGE}")
            return LANGUAGE
        if tag in listed:
            return tag
        base = tag.partition("-")[0]
        near = LANGUAGE if base == "en" else next((each for each in listed if each.partition("-")[0] == base), "")
        if near:
            self.losses.changed("language", where, f"the language {language} becomes {near}")
            return near
        self.losses.lost("language", where, f"MessageBird does not speak {language}: {LANGUAGE} stands in its place")
        return LANGUAGE

    def _voice(self, where: str, voice: str) -> str:
        if voice in ("male", "female"):
            return voice
        if voice:
            message = f"the voice {voice} is not known there: {VOICE} stands in its place"
            self.losses.lost("voice", where, message)
        else:
            self.losses.changed("voice", "", f"texts that name no voice are spoken by the voice {VOICE}")
        return VOICE

    def _template(self, where: str, text: Text) -> str:
        """``text`` with its variables as MessageBird writes them."""
        if isinstance(text, str):
            return text
        return "".join(part if isinstance(part, str) else self._variable(where, part.name) for part in text.parts)

    def _variable(self, where: str, name: str) -> str:
        if name in _NAMES:
            return f"{{{{{_NAMES[name]}}}}}"
        if name.startswith("var."):
            return f"{{{{{name.removeprefix('var.')}}}}}"
        self.losses.lost("variable", where, f"MessageBird does not know the variable {name}: it is left out")
        return ""

    # --- menus ----------------------------------------------------------------------------------

    def _menu(self, menu: Menu, when: Conditions) -> None:
        self.lost_words(menu)
        self.told_late(menu)
        self._menus += 1
        name = f"choice{self._menus}"
        chosen: list[tuple[Step, Block]] = []
        for choice in menu.choices:
            if choice.any_key:
                chosen.append((_condition(name, "exists"), choice.block))
            for keys in () if choice.any_key else pressed(choice):
                if set(keys) <= set(KEYPAD):
                    chosen.append((_condition(name, "==", keys), choice.block))
                else:
                    self.losses.lost("keys", choice.where or menu.where, f"the keys {keys} are not all of {KEYPAD}")
        self._tries(menu, name, when, [condition for condition, _ in chosen])
        for condition, block in chosen:
            self.block(block, (*when, condition))
        self._missed(menu, name, when)

    def _tries(self, menu: Menu, name: str, when: Conditions, chosen: list[Step]) -> None:
        """Ask, and wait, as often as there are attempts, until one of the choices was made."""
        keys: Step = {"onKeypressVar": name}
        keys |= _entry(menu.finish, menu.most)
        numeric = [each["value"] for each in chosen if each.get("value", "").isdigit()]
        if len({int(value) for value in numeric}) < len(numeric):
            self.losses.lost("keys", menu.where, "MessageBird compares numbers: 01 and 1 are the same choice")
        until = tuple(_condition(name, "!=", each["value"]) for each in chosen if each["operator"] == "==")
        if not menu.insist or any(each["operator"] == "exists" for each in chosen):
            until = (_condition(name, "absent"),)
        for attempt in range(menu.attempts):
            asking = (*when, *until) if attempt else when
            for prompt in menu.invalid if attempt else ():
                self._heard(menu.where, prompt, (*asking, _condition(name, "exists")))
            waiting = (*when, _condition(name, "absent"))
            for number, prompt in enumerate(menu.again if attempt else menu.prompts):
                self._heard(menu.where, prompt, waiting if number else asking, **keys)
            bare = not (menu.again if attempt else menu.prompts)
            seconds = self._seconds(menu.where, menu.seconds)
            if seconds or bare:
                self.add(asking if bare else waiting, "pause", {"length": seconds}, **keys)

    def _missed(self, menu: Menu, name: str, when: Conditions) -> None:
        """What follows when no choice was made: for wrong keys, and for none at all."""
        if menu.nomatch == menu.silence or any(choice.any_key for choice in menu.choices):
            self.block(menu.silence, when)
        else:
            self.block(menu.nomatch, (*when, _condition(name, "exists")))
            self.block(menu.silence, when)

    def _seconds(self, where: str, seconds: float) -> int:
        whole = math.ceil(seconds)
        if whole != seconds:
            self.losses.changed("time", where, f"{seconds:g} seconds become {whole}: MessageBird knows whole ones")
        return whole

    def _fork(self, fork: Fork, when: Conditions) -> None:
        for conditions, way in fork.cases:
            written = [self._written(fork.where, condition) for condition in conditions]
            if all(written):
                self.block(way, (*when, *(each for each in written if each)))
            else:
                self.losses.lost("condition", fork.where, "what depends on these conditions is lost")
        self.block(fork.otherwise, when)

    def _written(self, where: str, condition: Condition) -> Step | None:
        name = self._variable(where, condition.variable).strip("{}")
        if not name:
            return None
        operator = _OPERATORS.get(condition.operator, condition.operator)
        if operator in ("exists", "absent"):
            return _condition(name, operator)
        return _condition(name, operator, self._template(where, condition.value))

    # --- acts -----------------------------------------------------------------------------------

    def _act(self, act: Act, rest: Block, when: Conditions) -> bool:
        """Write an act; whether the flow is over behind it."""
        step = act.step
        if isinstance(step, g.Fetch):
            return self._fetch(step, act, rest, when)
        self.lost_exits(act, rest)
        match step:
            case g.Say():
                self._say(step, when)
            case g.Pause():
                self.add(when, "pause", {"length": self._seconds(step.origin, step.seconds)})
            case g.Collect():
                self._collect(step, when)
            case g.Record():
                self._record(step, when)
            case g.Transfer():
                self._transfer(step, step.target, {}, when)
                message = "MessageBird connects the caller and stays in the call; it goes on when that is over"
                self.losses.changed("transfer", step.origin, message)
            case g.Perform():
                return self._order(step, step.order, when)
            case g.Flush():
                self.flushed(step)
            case _:
                self.lost_step(step)
        return False

    def _say(self, step: g.Say, when: Conditions) -> None:
        if step.stop_keys:
            message = "keys do not end what is heard; they wait for the next step that takes some"
            self.losses.changed("keys", "", message)
        if len(step.prompts) > 1 and step.times == 0:
            self.lost_step(step, "repeating several prompts without end")
        rounds, times = (step.times or 1, 1) if len(step.prompts) > 1 else (1, step.times)
        for prompt in step.prompts * min(rounds, 100):
            self._heard(step.origin, prompt, when, times=times)

    def _collect(self, step: g.Collect, when: Conditions) -> None:
        name = step.into.partition(".")[2]
        keys: Step = {"onKeypressVar": name, **_entry(step.finish, step.most)}
        if step.secret:
            keys["secret"] = True
        message = f"the keys are kept as {name}, and waited for in a pause after the prompt"
        self.losses.changed("keys", step.origin, message)
        for number, prompt in enumerate(step.prompts):
            self._heard(step.origin, prompt, (*when, _condition(name, "absent")) if number else when, **keys)
        waiting = (*when, _condition(name, "absent")) if step.prompts else when
        self.add(waiting, "pause", {"length": self._seconds(step.origin, step.first)}, **keys)

    def _record(self, step: g.Record, when: Conditions) -> None:
        for prompt in step.prompts:
            self._heard(step.origin, prompt, when)
        if step.upload is not None:
            self.losses.lost("recording", step.origin, "MessageBird keeps recordings, it does not send them")
        stops = {"": "none", "#": "#", "*": "*"}.get(step.stop_keys, "any")
        if stops == "any" and set(step.stop_keys) < set(KEYPAD):
            self.losses.changed("keys", step.origin, f"any key ends the recording, not only {step.stop_keys}")
        options: Step = {"maxLength": self._seconds(step.origin, step.limit), "finishOnKey": stops}
        if step.silence:
            options["timeout"] = self._seconds(step.origin, step.silence)
        if step.beep:
            self.losses.changed("recording", step.origin, "there is no beep before the recording")
        if step.transcribe:
            known = schema("messagebird")["$defs"]["record"]["properties"]["transcribeLanguage"]["enum"]
            same = [each for each in known if each.lower() == step.transcribe.lower()]
            if same:
                options |= {"transcribe": True, "transcribeLanguage": same[0]}
            else:
                message = f"MessageBird does not transcribe {step.transcribe}"
                self.losses.lost("recording", step.origin, message)
        self.add(when, "record", options)

    def _fetch(self, step: g.Fetch, act: Act, rest: Block, when: Conditions) -> bool:
        url = self._template(step.origin, step.url)
        if not any("messagebird" in several for _, several in step.readers) or step.method != "GET":
            message = f"{url} is asked by GET for a MessageBird flow: the server must answer so"
            self.losses.lost("request", step.origin, message)
        self.add(when, "fetchCallFlow", {"url": url})
        self.lost_exits(act, rest)
        if step.returns:
            self.lost_rest(step, rest, "when the fetched flow is")
        return True

    def _transfer(self, step: g.Step, target: Text, more: Step, when: Conditions) -> None:
        destination = self._template(step.origin, target)
        if destination:
            self.add(when, "transfer", {"destination": destination, **more})

    def _order(self, step: g.Perform, order: o.Order, when: Conditions) -> bool:
        match order:
            case o.Dial():
                self._dial(step, order, when)
            case o.SendDigits():
                digits = self._template(step.origin, order.digits)
                tone = min(max(round(order.tone * 1000), 40), 6000)
                gap = min(round(order.gap * 1000), 10_000)
                self.add(when, "sendKeys", {"keys": digits, "duration": tone, "interval": gap})
            case o.StartRecording() if not self.steps:
                self.record = True
                if order.upload is not None or order.format != "wav":
                    message = "the whole call is recorded as WAV and kept, not sent"
                    self.losses.changed("recording", step.origin, message)
                self.unsaid(step, order, ("upload", "format", "on", "sides"), {"limit": 3600.0})
            case o.Respond():
                for prompt in order.prompts:
                    self._heard(step.origin, prompt, when)
                message = f"the call is hung up, not answered with {order.code}"
                self.losses.lost("order", step.origin, message)
                self.add(when, "hangup")
                return True
            case _:
                self.lost_step(step)
        return False

    def _dial(self, step: g.Perform, order: o.Dial, when: Conditions) -> None:
        reachable = tuple(target for target in order.targets if target.kind in ("number", "uri"))
        if len(reachable) < len(order.targets):
            message = "MessageBird connects to numbers and SIP URIs: devices, users, groups and queues are left out"
            self.losses.lost("targets", step.origin, message)
        first = self.one_target(step, reachable)
        if first is None:
            return
        more: Step = {"timeout": self._seconds(step.origin, order.timeout)} if order.timeout else {}
        sides = {"caller": "out", "peer": "in", "each": "both", "stereo": "both"}
        more |= {"record": sides[order.record]} if order.record else {}
        if order.caller_id == Template((Var("call.callee"),)):
            more["mask"] = True
        elif order.caller_id:
            self.losses.lost("dial", step.origin, f"the caller id {order.caller_id} is left out")
        said = (
            "targets",
            "strategy",
            "timeout",
            "record",
            "caller_id",
            "normalize",
            "ignore_forwards",
            "stop_on_reject",
        )
        self.unsaid(step, order, said, {"time_limit": 14_400.0, "resources": "local"})
        self.unsaid_targets(step, (first,), "weight")
        self._transfer(step, first.value, more, when)


def _entry(finish: str, most: int) -> Step:
    """How an entry of keys ends; one key, without these."""
    end = {"endKey": finish[0]} if finish else {}
    return {**end, "maxNumKeys": min(most or 64, 64)} if finish or most != 1 else {}


def _on_one_line(condition: re.Match[str]) -> str:
    return "{" + ", ".join(part.lstrip(", \n") for part in condition.groups() if part) + "}"


def _condition(name: str, operator: str, value: str | None = None) -> Step:
    condition = {"variable": name, "operator": operator}
    return condition if value is None else {**condition, "value": value}
