"""Reading a MessageBird call flow: from a document to steps whose options are known to be good.

The schema says what may stand where (:mod:`.messagebird_schema`); here is what a schema cannot say: ids that are there
twice, targets, URLs, names of steps and variables, and what has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flows.findings import Findings, has_errors
from flows.targets import transfer_target, url_problem
from flows.templates import Condition, Operator, Template, Text, Var, parse_template, url_template_problem

from .compiling import kind_of, text_of
from .messagebird_schema import ACTIONS, default_of, near, normalise, options_of, properties, shown, tag, validate
from .values import Path, dotted, plain, pointer_to

HEARING = ("say", "play", "pause", "record")
"""Actions during which keys can be pressed."""
CALL_NAMES = {"callID": "call.id", "source": "call.caller", "destination": "call.callee"}
"""Names in ``{{ }}`` that are not a flow's own."""

_KEYPRESS = ("onKeypressGoto", "onKeypressVar", "endKey", "maxNumKeys", "secret")
_OPERATORS: Mapping[str, Operator] = {"=": "==", "<>": "!="}
_RENAMED = {"en-uk": "en-gb", "es-la": "es-mx"}
_KEYS = re.compile(r"[0-9*#A-Da-d]+\Z")
_MOST_HINTS = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One step, checked. ``number`` counts from 1, ``name`` is its id or, without one, its number."""

    number: int
    where: str
    name: str
    action: str
    options: Mapping[str, Any]
    conditions: tuple[Condition, ...] = ()
    goto: int | None = None
    """The place in the list, from 0, of the step that a key leads to."""
    variable: str = ""
    end_key: str = ""
    most_keys: int = 0
    secret: bool = False

    @property
    def takes_keys(self) -> bool:
        return self.action in HEARING and (self.goto is not None or bool(self.variable))

    def whole(self, option: str) -> int:
        """An option that is a whole number; its default, else 0, when it is not there."""
        return int(self.options.get(option, default_of(self.action, option) or 0))

    def text(self, option: str) -> str:
        """An option as text; its default, else the empty text, when it is not there."""
        return text_of(self.options.get(option, default_of(self.action, option))) or ""

    def template(self, option: str) -> Text:
        return template(self.text(option))


@dataclass(frozen=True, slots=True)
class Flow:
    title: str
    record: bool
    steps: tuple[Step, ...]


def template(text: str) -> Text:
    """``text`` with ``{{callID}}``, ``{{source}}``, ``{{destination}}`` and the flow's own variables in it."""
    return parse_template(text, lambda name: CALL_NAMES.get(name, f"var.{name}"))


def read(document: object, findings: Findings) -> Flow | None:
    """The flow in a document; ``None`` with an error among the findings when there is none."""
    value = plain(document, findings, message=_message)
    if not has_errors(findings) and not isinstance(value, dict):
        hint = 'as in {"title": "Hello", "steps": [{"action": "hangup"}]}'
        findings.error("bad-value", "", f"A call flow must be an object, not {kind_of(value)}.", hint)
    if has_errors(findings):
        return None
    normalise(value, findings)
    validate(value, findings)
    flow = None if has_errors(findings) else _Reader(value, findings).flow()
    return None if has_errors(findings) else flow


class _Reader:
    """Makes steps of values that fit the schema."""

    def __init__(self, value: dict[str, Any], findings: Findings) -> None:
        self.value = value
        self.findings = findings
        self.places: dict[str, int] = {}  # of steps, by id
        self._hints = _MOST_HINTS

    def flow(self) -> Flow:
        self._unknown(self.value, "", ())
        steps: list[dict[str, Any]] = self.value["steps"]
        if not steps:
            self.findings.warning("says-nothing", "/steps", "The `steps` parameter is empty: the call just ends.")
        for place, step in enumerate(steps):
            name = text_of(step.get("id")) or ""
            if name and (first := self.places.setdefault(name, place)) != place:
                self._bad(("steps", place, "id"), f"must be unique: steps[{first}] has the same")
        record = self.value.get("record") is True
        return Flow(self.value["title"], record, tuple(self._step(place, step) for place, step in enumerate(steps)))

    def _bad(self, path: Path, why: str, hint: str = "") -> None:
        self.findings.error("bad-value", pointer_to(path), f"The `{dotted(path)}` parameter {why}.", hint)

    def _unused(self, path: Path, why: str, hint: str = "") -> None:
        message = f"The `{dotted(path)}` parameter has no effect: {why}."
        self.findings.warning("ignored-option", pointer_to(path), message, hint)

    def _unknown(self, record: Mapping[str, Any], kind: str, path: Path) -> None:
        for key in record:
            if key not in properties(kind):
                self._unused((*path, key), "it is not known", self._near(key, properties(kind)))

    def _near(self, word: str, known: Iterable[str]) -> str:
        """A hint; only for the first of many, since each takes its time."""
        self._hints -= 1
        return near(word, known) if self._hints >= 0 else ""

    def _step(self, place: int, step: dict[str, Any]) -> Step:
        path: Path = ("steps", place)
        self._unknown(step, "step", path)
        action: str = step["action"]
        read = Step(
            place + 1,
            pointer_to(path),
            text_of(step.get("id")) or str(place + 1),
            action,
            self._options(path, action, step["options"]),
            self._conditions((*path, "conditions"), step.get("conditions", [])),
            self._goto((*path, "onKeypressGoto"), text_of(step.get("onKeypressGoto"))),
            self._variable((*path, "onKeypressVar"), step.get("onKeypressVar", "")),
            text_of(step.get("endKey")) or "",
            int(step.get("maxNumKeys", 0)),
            bool(step.get("secret", False)),
        )
        self._check_keys(path, read, [key for key in _KEYPRESS if key in step])
        return read

    def _options(self, path: Path, action: str, options: dict[str, Any]) -> dict[str, Any]:
        """Those that mean something."""
        path = (*path, "options")
        known = options_of(action)
        for key, value in options.items():
            if key in known or value in (0, False, []):  # what client libraries write for nothing
                continue
            others = [other for other in ACTIONS if key in properties(other)]
            if key in properties("step"):
                why, hint = "it belongs to the step", "write it beside action"
            elif others:
                why, hint = f"it is an option of {', '.join(others)}", ""
            else:
                why, hint = f"{action} has no such option", self._near(key, known)
            self._unused((*path, key), why, hint)
        kept = {key: value for key, value in options.items() if key in known}
        self._check_options(path, action, kept)
        return kept

    def _check_options(self, path: Path, action: str, kept: dict[str, Any]) -> None:
        """Check them, and put languages into the form that is spoken."""
        match action:
            case "transfer":
                self._transfer(path, kept)
            case "say":
                self._say(path, kept)
            case "play":
                self._play((*path, "media"), kept["media"])
            case "pause" if kept["length"] == 0:
                self._unused((*path, "length"), "a pause of 0 seconds is none")
            case "record":
                self._record(path, kept)
            case "fetchCallFlow":
                self._url((*path, "url"), kept["url"])
            case "sendKeys":
                keys = text_of(kept["keys"]) or ""
                if not _KEYS.match(_sample(keys)):
                    self._bad((*path, "keys"), f"must be keys of 0-9 * # A-D, not {shown(keys)}")

    def _transfer(self, path: Path, options: dict[str, Any]) -> None:
        try:
            transfer_target(_sample(text_of(options["destination"]) or ""))
        except ValueError as error:
            self._bad((*path, "destination"), f"must be a telephone number or a SIP URI: {error}")
            return
        target = template(text_of(options["destination"]) or "")
        if ":" in str(target) and (problem := url_template_problem(target)):
            self._bad((*path, "destination"), f"must be a SIP URI whose host is known: {problem}")
        self._machine(path, options, "transfer")

    def _say(self, path: Path, options: dict[str, Any]) -> None:
        language = tag(options["language"])
        listed = properties("say")["language"]["examples"]
        if language not in listed and language not in _RENAMED:
            path_of_it = (*path, "language")
            message = f"The `{dotted(path_of_it)}` parameter is {language}, which is none of the documented ones."
            self.findings.warning("unlisted-value", pointer_to(path_of_it), message, self._near(language, listed))
        options["language"] = _RENAMED.get(language, language)
        if options.get("loop") and "repeat" in options:
            self._unused((*path, "repeat"), "loop says how often")
        self._machine(path, options, "say")

    def _machine(self, path: Path, options: dict[str, Any], action: str) -> None:
        if "machineTimeout" in options and options.get("ifMachine", default_of(action, "ifMachine")) == "continue":
            self._unused((*path, "machineTimeout"), "it needs ifMachine to be delay or hangup")

    def _play(self, path: Path, media: str | list[str]) -> None:
        if isinstance(media, str):
            self._url(path, media)
        else:
            for number, url in enumerate(media):
                self._url((*path, number), url)

    def _record(self, path: Path, options: dict[str, Any]) -> None:
        if "onFinish" in options:
            self._url((*path, "onFinish"), options["onFinish"])
        if "transcribeLanguage" in options:
            language = tag(options["transcribeLanguage"])
            options["transcribeLanguage"] = _RENAMED.get(language, language)
            if not options.get("transcribe"):
                self._unused((*path, "transcribeLanguage"), "transcribe is not true")

    def _url(self, path: Path, url: str) -> None:
        if problem := url_problem(_sample(url)):
            self._bad(path, f"must be a URL: {problem}")
        elif problem := url_template_problem(template(url)):
            self._bad(path, f"must be a URL whose host is known: {problem}")

    # --- what any step may have

    def _conditions(self, path: Path, conditions: list[dict[str, Any]]) -> tuple[Condition, ...]:
        read = []
        for number, each in enumerate(conditions):
            self._unknown(each, "condition", (*path, number))
            name: str = each["variable"]
            match template(name if "{{" in name else f"{{{{{name}}}}}"):
                case Template((Var(variable),)):
                    operator = _OPERATORS.get(each["operator"], each["operator"])
                    value = each.get("value", "")
                    text = str(value).lower() if isinstance(value, bool) else text_of(value) or ""
                    read.append(Condition(variable, operator, template(text)))
                    if "value" in each and operator in ("exists", "absent"):
                        self._unused((*path, number, "value"), f"{operator} compares with nothing")
                case _:
                    self._bad((*path, number, "variable"), f"must be the name of one variable, not {shown(name)}")
        return tuple(read)

    def _goto(self, path: Path, name: str | None) -> int | None:
        if name is not None and name not in self.places:
            self._bad(path, f"must be the id of a step, not {shown(name)}", self._near(name, self.places))
        return None if name is None else self.places.get(name)

    def _variable(self, path: Path, name: str) -> str:
        if name in CALL_NAMES:
            self._bad(path, f"must not be {name}, which is the call's own")
        return name

    def _check_keys(self, path: Path, read: Step, given: list[str]) -> None:
        if read.action not in HEARING:
            why = f"{read.action} takes no keys"
        elif not {"onKeypressGoto", "onKeypressVar"} & set(given):
            why = "there is neither onKeypressGoto nor onKeypressVar"
        elif read.action == "record":
            why, given = "a recording ends with its first key", [key for key in given if key in _KEYPRESS[2:]]
        else:
            return
        for key in given:
            self._unused((*path, key), why)


def _message(path: Path, what: str) -> str:
    """What is said of a place, as the API has it."""
    return f"The `{dotted(path)}` parameter {what}." if path else f"The document {what}."


def _sample(text: str) -> str:
    """``text`` with a digit in place of each variable, to check the rest of it."""
    found = template(text)
    return found if isinstance(found, str) else "".join(part if isinstance(part, str) else "0" for part in found.parts)
