"""What a MessageBird call flow may look like: the schema, and what is said when a document does not fit it.

Each finding names the parameter as in ``steps[2].options.voice``. What a client library writes for a field that was
not set (``null``, an empty text) counts as absent; numbers may come as text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from flows.documents import MAX_NODES
from flows.findings import Findings
from flows.schemas import problems, schema

from .compiling import kind_of
from .values import Path, dotted

SCHEMA = "messagebird"
ACTIONS = ("transfer", "say", "play", "pause", "record", "fetchCallFlow", "sendKeys", "hangup")

_SPELLINGS = {"Repeat": "repeat"}  # as the Go library writes it
_WHOLE = re.compile(r"-?[0-9]{1,9}\Z", re.ASCII)
_LONGEST_WORD = 40
_MOST_WORDS = 200


@cache
def properties(definition: str) -> Mapping[str, Any]:
    """Fields and their schemas: of an action's options, of a ``step``, a ``condition``, or (empty) of the flow."""
    whole = schema(SCHEMA)
    found: Mapping[str, Any] = (whole["$defs"][definition] if definition else whole)["properties"]
    return found


def options_of(action: object) -> Mapping[str, Any]:
    """The options of an action; none for what is no action."""
    return properties(action) if isinstance(action, str) and action in ACTIONS else {}


def default_of(action: str, option: str) -> Any:
    """The default of an option, as the schema has it."""
    return options_of(action).get(option, {}).get("default")


def tag(language: str) -> str:
    """A language as it is compared: in lower case, with hyphens."""
    return language.lower().replace("_", "-")


def near(word: object, known: Iterable[str]) -> str:
    """A hint for somebody who wrote ``word`` and may have meant one of ``known``; empty when nothing is near."""
    words = list(known)
    if not isinstance(word, str) or len(word) > _LONGEST_WORD or len(words) > _MOST_WORDS:
        return ""
    found = difflib.get_close_matches(word, words, 1)
    return f"did you mean {found[0]}?" if found else ""


def shown(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}…")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return kind_of(value)


def normalise(flow: dict[str, Any], findings: Findings) -> None:
    """Take out what counts as absent and make numbers of digits, so that the schema sees what was meant."""
    _drop_absent(flow)
    steps = flow.get("steps")
    if not isinstance(steps, list):
        return
    if len(steps) > MAX_NODES:
        findings.error("too-many-steps", "/steps", f"The `steps` parameter has more than {MAX_NODES:,} steps.")
        del steps[MAX_NODES:]
    for step in steps:
        if not isinstance(step, dict):
            continue
        _drop_absent(step)
        options = step.setdefault("options", {})
        if options == []:  # PHP writes an empty array so
            options = step["options"] = {}
        if isinstance(options, dict):
            _drop_absent(options)
            for other, name in _SPELLINGS.items():
                if other in options:
                    options.setdefault(name, options.pop(other))
            _settle(options, options_of(step.get("action")))
        _settle(step, properties("step"))


def _drop_absent(record: dict[str, Any]) -> None:
    for key in [key for key, value in record.items() if value is None or value == ""]:
        del record[key]


def _settle(record: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Numbers that were written as text become numbers, languages get the case that the schema has."""
    for key, value in record.items():
        if isinstance(value, str) and "minimum" in fields.get(key, ()) and _WHOLE.match(value):
            record[key] = int(value)
        elif isinstance(value, str) and key == "transcribeLanguage" and key in fields:
            same = (listed for listed in fields[key]["enum"] if tag(listed) == tag(value))
            record[key] = next(same, value)


def validate(flow: dict[str, Any], findings: Findings) -> None:
    """Put down what in a flow the schema does not allow."""
    told: set[Path] = set()
    for problem in problems(SCHEMA, flow):
        if problem.keyword == "required":
            path = (*problem.path, problem.missing)
            findings.error("missing-parameter", problem.where, f"The `{dotted(path)}` parameter is required.")
        elif problem.path not in told:  # one thing may be wrong with a value in several ways
            told.add(problem.path)
            value, fragment = _at(flow, problem.path), _fragment(problem.path, flow)
            message = f"The `{dotted(problem.path)}` parameter must be {_expected(fragment)}, not {shown(value)}."
            findings.error("bad-value", problem.where, message, near(value, fragment.get("enum", ())))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _fragment(path: Path, flow: dict[str, Any]) -> Mapping[str, Any]:
    """What the schema says of the value at ``path``."""
    match path:
        case ("steps", int(), "conditions", int(), name, *_):
            found = properties("condition").get(str(name), {})
        case ("steps", int(number), "options", name, *more):
            found = options_of(flow["steps"][number].get("action")).get(str(name), {})
            found = found.get("items", found) if more else found
        case ("steps", int(), name, *more):
            found = {"title": "an object"} if more else properties("step").get(str(name), {})
        case ("steps", int()):
            found = {"title": "an object"}
        case (name, *_):
            found = properties("").get(str(name), {})
        case _:
            found = {}
    fragment: Mapping[str, Any] = found
    return fragment


def _expected(fragment: Mapping[str, Any]) -> str:
    values = fragment.get("enum")
    if values:
        return f"one of {', '.join(values)}" if len(values) > 1 else str(values[0])
    return str(fragment.get("title", "as the schema has it"))
