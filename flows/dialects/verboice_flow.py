"""The compiler of Verboice's own call flows, as its editor makes them.

Verboice turns the steps of its editor into a program; what that program does is written down here as a step graph.
Steps hang together by ``next``; what an option of a menu or a branch leads to comes back, at its end, to the ``next``
of that menu or branch. The call begins at the first root; other roots are only reached by ``goto``.

What was pressed in a step is kept in ``digits.ID``. A variable ``x`` of the flow (``var_x`` in Verboice) is ``var.x``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urljoin

from flows import graph as g
from flows.findings import Findings, has_errors, pointer
from flows.orders import Dial, Target
from flows.targets import is_url, transfer_target, url_problem
from flows.templates import Condition, Operator, Text, var

from .compiling import Compiled
from .twiml import compile_verboice_twiml
from .twiml_flavours import VERBOICE
from .twiml_options import seconds_of
from .verboice_document import Document, Node, Sound, looks_like_verboice, read_verboice, variable
from .verboice_values import Values

LANGUAGE = variable("language")
RESULT = "flow.result"
"""``successful`` or ``failed``, once a step has marked the call so."""
MAX_STEPS = 60_000
END = "end"

_OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "def": "exists", "undef": "absent"}
)


def compile_verboice(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """Compile what Verboice runs: TwiML, or a call flow of its editor. Never raises.

    A call flow is JSON (text or a structure); everything else is read as TwiML.
    """
    text = bytes(document) if isinstance(document, bytearray | memoryview) else document
    start = text.lstrip()[:1] if isinstance(text, str | bytes) else ""
    if not isinstance(text, Mapping | list | tuple) and start not in ("{", "[", b"{", b"["):
        return compile_verboice_twiml(document, name=name, language=language, base=base)
    findings = Findings()
    read = read_verboice(text, language, findings)
    if read is None:
        return Compiled(None, findings.all())
    flow = _Flow(read, findings)
    flow.write()
    if has_errors(findings):
        return Compiled(None, findings.all())
    return Compiled(g.Graph(flow.steps, "start", name=name), findings.all())


class _Flow:
    """Writes the steps of each node once, at the place that leads to it first."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self.document = document
        self.findings = findings
        self.steps: dict[str, g.Step] = {}
        self.behind: dict[int, str] = {}  # of each node that is written: the step behind its last
        self.ahead: deque[Node] = deque()
        self.jumps: list[tuple[Node, Node]] = []
        self.silent: set[str] = set()  # where a resource is asked for that nobody knows

    def write(self) -> None:
        self.add(g.Enter, "start", "", {g.NEXT: "answer"}, path="")
        self.add(g.Answer, "answer", "", {g.NEXT: _first(self.document.roots[0])})
        for root in self.document.roots:
            self.lead(root, END)
        while self.ahead and not has_errors(self.findings):
            node = self.ahead.popleft()
            if len(self.steps) > MAX_STEPS:
                self.findings.error("too-large", node.where, f"the flow comes to more than {MAX_STEPS:,} steps")
                return
            _Writer(self, node).write()
        if any(END in step.exits.values() for step in self.steps.values()):
            self.add(g.HangUp, END, "", {})
        for jump, target in self.jumps:
            if target.number not in self.behind:
                message = f"the step {target.id!r} is in no root's way: nothing can go there"
                self.findings.error("bad-link", pointer(jump.where, "jump"), message)
        for node in self.document.nodes:
            if node.number not in self.behind:
                message = f"nothing leads to the step {node.id!r}, and it is no root"
                self.findings.warning("unreachable", node.where, message)

    def add(self, verb: type[g.Step], identity: str, origin: str, exits: Mapping[str, str], **fields: Any) -> str:
        self.steps[identity] = verb(id=identity, origin=origin, exits=dict(exits), **fields)
        return identity

    def lead(self, node: Node, behind: str) -> str:
        """The first step of ``node``, which at its end goes on with ``behind``."""
        known = self.behind.get(node.number)
        if known is None:
            self.behind[node.number] = behind
            self.ahead.append(node)
        elif known != behind:
            message = f"several steps lead to {node.id!r}: behind it goes on what follows the first of them"
            self.findings.warning("linked-twice", node.where, message, "use a goto")
        return _first(node)


_Make = Callable[[str, tuple[Sound, ...]], str]
"""Writes a step under a label, with these prompts; its id."""


def _first(node: Node) -> str:
    return f"{node.number}.enter"


class _Writer:
    """Writes the steps of one node."""

    def __init__(self, flow: _Flow, node: Node) -> None:
        self.flow = flow
        self.node = node
        self.values = Values(node, flow.document, flow.findings)
        self.keys = f"digits.{node.id}"

    def write(self) -> None:
        node = self.node
        behind = self.flow.behind[node.number]
        then = behind if node.kind in ("goto", "hang_up") else self.link(node.fields.get("next"), behind, "next")
        path = f"{node.kind}.{quote(node.id, safe='')}"
        self.add(g.Enter, "enter", {g.NEXT: _KINDS[node.kind](self, then)}, path=path)

    # --- help -----------------------------------------------------------------------------

    def add(self, verb: type[g.Step], label: str, exits: Mapping[str, str], **fields: Any) -> str:
        return self.flow.add(verb, f"{self.node.number}.{label}", self.node.where, exits, **fields)

    def link(self, link: Any, behind: str, *keys: str | int) -> str:
        """The step that ``link`` names, or ``behind`` where it names none."""
        if link is None or not str(link).strip():
            return behind
        target = self.flow.document.by_id.get(str(link).strip())
        if target is None:
            self.flow.findings.error("bad-link", self.where(*keys), f"there is no step with the id {str(link)[:80]!r}")
            return behind
        return self.flow.lead(target, behind)

    def where(self, *keys: str | int) -> str:
        where = self.node.where
        for key in keys:
            where = pointer(where, key)
        return where

    def sounds(self, key: str) -> dict[str, Sound]:
        """What the resource under ``key`` sounds like in each language; empty when there is none."""
        guid = (self.node.fields.get(key) or {}).get("guid")
        if guid is None:
            return {}
        sounds = self.flow.document.sounds.get(str(guid))
        if not sounds and self.where(key) not in self.flow.silent:
            self.flow.silent.add(self.where(key))
            message = f"nothing is known of the resource {str(guid)[:80]!r}"
            hint = "the files of resources in the export belong under resources and localized_resources"
            self.flow.findings.error("missing-resource", self.where(key), message, hint)
        return sounds or {}

    def in_its_language(
        self, label: str, sounds: dict[str, Sound], make: Callable[[str, tuple[Sound, ...]], str]
    ) -> str:
        """A step that ``make`` writes, once for each language that ``sounds`` has, behind a branch by language."""
        variants = list(sounds.items())
        if len(variants) < 2:
            return make(label, tuple(sounds.values()))
        exits = {language: make(f"{label}.{language}", (sound,)) for language, sound in variants[1:]}
        exits[g.NEXT] = make(f"{label}.{variants[0][0]}", (variants[0][1],))
        cases = tuple(
            g.Case(exit=language, conditions=(Condition(LANGUAGE, "==", language),)) for language, _ in variants[1:]
        )
        return self.add(g.Branch, label, exits, cases=cases)

    def say(self, label: str, key: str, then: str) -> str:
        """Let the resource under ``key`` be heard, then go on with ``then``, at once when there is none."""
        sounds = self.sounds(key)
        if not sounds:
            return then
        return self.in_its_language(
            label, sounds, lambda name, prompts: self.add(g.Say, name, {g.NEXT: then}, prompts=prompts)
        )

    def set(self, label: str, then: str, *values: tuple[str, Text]) -> str:
        return self.add(g.SetVariables, label, {g.NEXT: then}, values=values)

    # --- steps: each returns the first of what it wrote, given where to go on --------------

    def play(self, then: str) -> str:
        if (self.node.fields.get("resource") or {}).get("guid") is None:
            self.flow.findings.warning("says-nothing", self.node.where, "nothing is heard here: it has no resource")
        return self.say("say", "resource", then)

    def menu(self, then: str) -> str:
        """One key, several attempts. A key that is an option leads on, and then to what follows the menu."""
        self.unheard("end_call_resource")
        store = self.values.text("store")
        exits: dict[str, str] = {}
        for number, option in enumerate(self.node.fields.get("options") or ()):
            key = str(option["number"]).strip()
            target = self.link(option.get("next"), then, "options", number, "next")
            if len(key) != 1 or key not in "0123456789*#":
                message = f"{key[:80]!r} is not one key: nobody can press it"
                self.flow.findings.warning("unreachable", self.where("options", number, "number"), message)
            elif key in exits:
                message = f"the key {key} was there before: only the first counts"
                self.flow.findings.warning("unreachable", self.where("options", number, "number"), message)
            elif store:
                exits[key] = self.set(f"option.{key}", target, (variable(store), var(self.keys)))
            else:
                exits[key] = target
        if not exits:
            self.flow.findings.warning("unreachable", self.node.where, "a menu without options: nothing is ever chosen")
        cases = tuple(g.Case(exit=key, conditions=(Condition(self.keys, "==", key),)) for key in exits)
        failed = self.link(self.node.fields.get("default"), then, "default")
        if store:
            failed = self.set("forget", failed, (variable(store), ""))
        timeout = self.values.number("timeout", 5, 3600)
        first = failed
        for attempt in range(self.attempts(), 0, -1):
            again = first
            wrong = self.say(f"invalid{attempt}", "invalid_resource", again)
            chosen = self.add(g.Branch, f"chosen{attempt}", {**exits, g.NEXT: wrong}, cases=cases)
            first = self.collect(
                *(attempt, "options_resource", {g.NEXT: chosen, g.NONE: again}),
                timeout=timeout,
                least=1,
                most=1,
                finish="",
            )
        return self.say("explain", "explanation_resource", first)

    def capture(self, then: str) -> str:
        """Digits, several attempts. Valid ones, or the default after the last attempt, lead to what follows."""
        self.unheard("end_call_resource")
        least = self.values.number("min_input_length", 1, 1000)
        most = self.values.number("max_input_length", 1, 1000)
        cases = tuple(g.Case(exit="valid", conditions=each) for each in self.values.valid(self.keys))
        store = self.values.text("store")
        first = self.link(self.node.fields.get("default"), then, "default")
        for attempt in range(self.attempts(), 0, -1):
            again = first
            wrong = self.say(f"invalid{attempt}", "invalid_resource", again)
            given = then
            if cases:
                given = self.add(g.Branch, f"chosen{attempt}", {"valid": then, g.NEXT: wrong}, cases=cases)
            kept: tuple[tuple[str, Text], ...] = ((variable(store), var(self.keys)),) if store else ()
            if store:
                given = self.set(f"keep{attempt}", given, *kept)
            none = self.set(f"none{attempt}", then if least == 0 else again, (self.keys, ""), *kept)
            first = self.collect(
                *(attempt, "instructions_resource", {g.NEXT: given, g.NONE: none}),
                timeout=self.values.number("timeout", 5, 3600),
                least=max(least, 1),
                most=most if most >= max(least, 1) else 0,
                finish=self.values.keys("finish_on_key", "#"),
                secret=self.values.flag("secret"),
            )
        return first

    def attempts(self) -> int:
        return max(self.values.number("number_of_attempts", 3, 10), 1)

    def collect(
        self,
        attempt: int,
        key: str,
        exits: dict[str, str],
        *,
        timeout: int,
        least: int,
        most: int,
        finish: str,
        secret: bool = False,
    ) -> str:
        """Take keys. Too few, or the finishing key alone, are as good as none."""
        exits = {**exits, g.SHORT: exits[g.NONE], g.FINISHED: exits[g.NONE]}
        options: dict[str, Any] = {"least": least, "most": most, "finish": finish, "secret": secret}
        options |= {"first": float(timeout), "between": float(timeout)}
        return self.in_its_language(
            f"ask{attempt}",
            self.sounds(key),
            lambda label, prompts: self.add(g.Collect, label, exits, into=self.keys, prompts=prompts, **options),
        )

    def record(self, then: str) -> str:
        then = self.say("confirm", "confirmation_resource", then)
        recorded = self.add(
            *(g.Record, "record", {g.NEXT: then}),
            limit=float(max(self.values.number("timeout", 10, 3600), 1)),
            stop_keys=self.values.keys("stop_key", VERBOICE.record_keys),
        )
        return self.say("explain", "explanation_resource", recorded)

    def branch(self, then: str) -> str:
        exits = {g.NEXT: then}
        cases: list[g.Case] = []
        for number, option in enumerate(self.node.fields.get("options") or ()):
            name = str(number + 1)
            exits[name] = self.link(option.get("next"), then, "options", number, "next")
            conditions: list[Condition] = []
            for count, condition in enumerate(option.get("conditions") or ()):
                where = self.where("options", number, "conditions", count)
                conditions += self.values.conditions(condition, _OPERATORS[condition["operator"]], where)
            cases.append(g.Case(exit=name, conditions=tuple(conditions)))
        return self.add(g.Branch, "branch", exits, cases=tuple(cases))

    def transfer(self, then: str) -> str:
        address = str(self.node.fields["address"])
        try:
            value = transfer_target(address)
        except ValueError as error:
            message = f"{address[:200]!r} cannot be dialled: {error}"
            self.flow.findings.error("bad-target", self.where("address"), message)
            return then
        after = self.values.text("successful_after")
        success = seconds_of(after) if after else 0.0
        if success is None:
            message = f"successful_after is {after[:80]!r}: it should be a time as in 30, 30s, 2m or 1h"
            self.flow.findings.error("bad-value", self.where("successful_after"), message)
        order = Dial(
            targets=(Target(kind="uri" if value[:1].isalpha() else "number", value=value),),
            timeout=VERBOICE.dial_timeout,
            trunk=self.values.text("channel"),
            success_after=success or 0.0,
        )
        return self.add(g.Perform, "dial", {g.NEXT: then}, order=order, into="dial")

    def goto(self, then: str) -> str:
        jump = self.node.fields.get("jump")
        if jump is None or not str(jump).strip():
            self.flow.findings.warning("missing-target", self.node.where, "a goto to nowhere: the call ends here")
            return END
        target = self.flow.document.by_id.get(str(jump).strip())
        if target is None:
            self.flow.findings.error("bad-link", self.where("jump"), f"there is no step with the id {str(jump)[:80]!r}")
            return END
        self.flow.jumps.append((self.node, target))
        return _first(target)

    def hang_up(self, then: str) -> str:
        return END

    def mark(self, then: str) -> str:
        return self.set("mark", then, (RESULT, "failed" if self.node.kind == "mark_as_failed" else "successful"))

    def write_variable(self, then: str) -> str:
        name = self.values.text("variable")
        if not name:
            self.flow.findings.warning("missing-variable", self.node.where, "it names no variable: nothing is set")
            return then
        return self.set("set", then, (variable(name), self.values.scalar(self.node.fields.get("value"))))

    def language(self, then: str) -> str:
        """Ask in one language after the other, a second each, ten for the last; its number is the key."""
        languages = self.flow.document.languages
        sounds = self.sounds("resource")
        exits = {
            str(number): self.set(f"language.{language}", then, (LANGUAGE, language))
            for number, language in enumerate(languages[:9], 1)
        }
        cases = tuple(g.Case(exit=key, conditions=(Condition(self.keys, "==", key),)) for key in exits)
        chosen = self.add(g.Branch, "chosen", {**exits, g.NEXT: then}, cases=cases)
        first = then
        for language in reversed(languages):
            sound = sounds.get(language)
            first = self.add(
                *(g.Collect, f"ask.{language}", {g.NEXT: chosen, g.NONE: first}),
                into=self.keys,
                prompts=() if sound is None else (sound,),
                most=1,
                finish="",
                first=10.0 if first == then else 1.0,
            )
        if self.values.flag("force_question"):
            return first
        known = g.Case(exit="known", conditions=(Condition(LANGUAGE, "exists"),))
        return self.add(g.Branch, "known", {"known": then, g.NEXT: first}, cases=(known,))

    def external(self, then: str) -> str:
        """Ask a service. Its answer is TwiML, which comes back here; or nobody looks at it."""
        guid = str(self.node.fields.get("external_step_guid"))
        step = self.flow.document.service_steps.get(guid)
        if step is None:
            message = f"nothing is known of the external step {guid[:80]!r}"
            hint = "the files of services and steps in the export belong under services and steps"
            self.flow.findings.error("missing-service", self.node.where, message, hint)
            return then
        if step.get("kind") == "script":
            return self.not_taken_over(then)
        url = self._service_url(step)
        params = (*VERBOICE.always, g.Param(name="{}", each="param."), *self.values.settings(step))
        if step.get("async") or (step.get("response_type") or "flow") != "flow":
            if step.get("response_type") == "variables":
                self.not_taken_over(then, "the variables that it answers are not set")
            return self.add(g.Tell, "request", {g.NEXT: then}, url=url, params=params)
        lost = self.add(g.HangUp, "lost", {})
        return self.add(
            *(g.Fetch, "request", {g.NEXT: then, g.FAILED: lost}),
            url=url,
            method="POST",
            params=params,
            readers=VERBOICE.readers,
            patience=VERBOICE.patience,
            returns=True,
        )

    def _service_url(self, step: Mapping[str, Any]) -> str:
        service = self.flow.document.services.get(str(step.get("external_service_guid")), {})
        url = str(step.get("callback_url") or "")
        base = str(service.get("base_url") or "")
        if not is_url(url) and is_url(base):
            url = urljoin(f"{base.rstrip('/')}/", url.lstrip("/"))
        if problem := url_problem(url):
            message = f"no request can be made to {url[:200]!r}: {problem}"
            self.flow.findings.error("bad-url", self.node.where, message)
        return url

    def not_taken_over(self, then: str, why: str = "it is skipped") -> str:
        message = f"a {self.node.kind} step is not taken over from Verboice: {why}"
        self.flow.findings.warning("unsupported", self.node.where, message)
        return then

    def call_back(self, then: str) -> str:
        self.not_taken_over(then, "the call ends here and nobody is called back")
        return END

    def unheard(self, key: str) -> None:
        if (self.node.fields.get(key) or {}).get("guid") is not None:
            message = f"{key} is of an older version and not heard"
            self.flow.findings.warning(
                "ignored-option", self.where(key), message, "let a play step under default say it"
            )


_KINDS: Mapping[str, Callable[[_Writer, str], str]] = MappingProxyType(
    {
        "play": _Writer.play,
        "menu": _Writer.menu,
        "capture": _Writer.capture,
        "record": _Writer.record,
        "branch": _Writer.branch,
        "transfer": _Writer.transfer,
        "goto": _Writer.goto,
        "hang_up": _Writer.hang_up,
        "mark_as_successful": _Writer.mark,
        "mark_as_failed": _Writer.mark,
        "write_variable": _Writer.write_variable,
        "language": _Writer.language,
        "external": _Writer.external,
        "nuntium": _Writer.not_taken_over,
        "impersonate": _Writer.not_taken_over,
        "hub": _Writer.not_taken_over,
        "mbuilder": _Writer.not_taken_over,
        "hang_up_and_call_back": _Writer.call_back,
    }
)

__all__ = ["compile_verboice", "looks_like_verboice"]
