"""Reading what Verboice exports of a call flow: its steps, and what can be heard in which language.

An export is an archive of YAML files. Here it is one JSON document (``flows/schemas/verboice.json``): ``workflow``
is ``workflow.yml``, a list of steps; ``resources``, ``localized_resources``, ``services`` and ``steps`` are lists of
what the other files hold. A list alone is a workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.documents import MAX_BYTES, MAX_NODES, parse_json
from flows.findings import Findings, has_errors, pointer
from flows.prompts import Draft, Prompt, prompt
from flows.schemas import problems, schema
from flows.targets import url_problem
from flows.templates import Template, Text, Var

from .values import plain

SCHEMA = "verboice"
AUDIO = ("RecordLocalizedResource", "UploadLocalizedResource")

_VARIABLE = re.compile(r"\{([^{}]{1,64})\}")
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}\Z")

MAX_LANGUAGES = 20

Sound = Prompt | Draft
_Localized = tuple[Mapping[str, Any], str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A step of the workflow. ``fields`` are as they are written, ``where`` points to it."""

    number: int
    id: str
    kind: str
    where: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Document:
    """All that was read. ``sounds`` are those of each resource by language, the default one first."""

    nodes: list[Node] = field(default_factory=list)
    by_id: dict[str, Node] = field(default_factory=dict)
    roots: list[Node] = field(default_factory=list)
    sounds: dict[str, dict[str, Sound]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    services: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    service_steps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    clauses: int = 0
    """Numbers and ranges in all ``valid_values`` that were looked at."""


def looks_like_verboice(document: object) -> bool:
    """Whether ``document`` is an object with a workflow in it."""
    if isinstance(document, bytes | bytearray):
        document = bytes(document).decode("utf-8", "replace")
    if isinstance(document, str):
        if '"workflow"' not in document or document.lstrip("\ufeff \t\r\n")[:1] != "{":
            return False
        document = parse_json(document.removeprefix("\ufeff"), Findings()) if len(document) <= MAX_BYTES else None
    return isinstance(document, Mapping) and isinstance(document.get("workflow"), list | tuple)


def read_verboice(document: object, language: str, findings: Findings) -> Document | None:
    """The document; ``None`` after an error."""
    value = plain(document, findings)
    if has_errors(findings):
        return None
    base = "/workflow"
    if isinstance(value, list):
        value, base = {"workflow": value}, ""
    for problem in problems(SCHEMA, value):
        where = problem.where if base else problem.where.removeprefix("/workflow")
        code = "missing" if problem.keyword == "required" else "bad-value"
        if problem.path[2:3] == ("type",) and problem.keyword == "enum":
            code = "unknown-step"
        findings.error(code, where, problem.message)
    if has_errors(findings):
        return None
    return _Reader(value, base, language, findings).read()


class _Reader:
    def __init__(self, value: Mapping[str, Any], base: str, language: str, findings: Findings) -> None:
        self.value = value
        self.base = base
        self.findings = findings
        self.language = language
        self.document = Document()

    def read(self) -> Document | None:
        _unknown_keys(self.findings, self.value, schema(SCHEMA), "" if self.base else None)
        self._nodes()
        localized = list(self._localized())
        self.document.languages = self._languages([each["language"] for each, *_ in localized])
        self._sounds(localized)
        self.document.services = {str(each["guid"]): each for each in self.value.get("services", ())}
        self.document.service_steps = {str(each["guid"]): each for each in self.value.get("steps", ())}
        return None if has_errors(self.findings) else self.document

    def _nodes(self) -> None:
        steps = self.value["workflow"]
        if len(steps) > MAX_NODES:
            self.findings.error("too-many-nodes", self.base, f"the workflow has more than {MAX_NODES:,} steps")
            return
        for number, fields in enumerate(steps):
            where = pointer(self.base, number)
            node = Node(number, _id(fields["id"]), fields["type"], where, fields)
            if node.id in self.document.by_id:
                message = f"there are two steps with the id {node.id!r}"
                self.findings.error(
                    "duplicate-id", where, message, f"the other is {self.document.by_id[node.id].where}"
                )
            self.document.by_id[node.id] = node
            self.document.nodes.append(node)
            _unknown_keys(self.findings, fields, schema(SCHEMA)["$defs"][node.kind], where)
        roots = [node for node in self.document.nodes if str(node.fields.get("root") or "").strip()]
        self.document.roots = sorted(roots, key=lambda node: _order(node.fields["root"]))
        if not roots:
            message = "no step has a root: nobody knows where a call begins"
            self.findings.error("missing-root", self.base, message, 'write "root": 1 in the first one')

    def _localized(self) -> Iterator[_Localized]:
        """Every localized resource, with the guid of its resource and where it stands."""
        for number, resource in enumerate(self.value.get("resources", ())):
            self.document.sounds.setdefault(str(resource["guid"]), {})
            for count, each in enumerate(resource.get("localized_resources", ())):
                yield each, str(resource["guid"]), f"/resources/{number}/localized_resources/{count}"
        for number, each in enumerate(self.value.get("localized_resources", ())):
            where = f"/localized_resources/{number}"
            if each.get("resource_guid") is None:
                self.findings.error("missing", where, "it needs a resource_guid")
            else:
                yield each, str(each["resource_guid"]), where

    def _languages(self, named: list[str]) -> tuple[str, ...]:
        languages = dict.fromkeys([*self.value.get("languages", ()), *named])
        if len(languages) > MAX_LANGUAGES:
            self.findings.error("too-large", "", f"the flow speaks more than {MAX_LANGUAGES} languages")
        first = self.value.get("default_language") or self.language
        return tuple(sorted(languages, key=lambda language: language != first))

    def _sounds(self, localized: list[_Localized]) -> None:
        for each, guid, where in localized:
            if (sound := self._sound(each, guid, where)) is not None:
                self.document.sounds.setdefault(guid, {})[each["language"]] = sound
        order = self.document.languages.index
        for guid, sounds in self.document.sounds.items():
            self.document.sounds[guid] = dict(sorted(sounds.items(), key=lambda pair: order(pair[0])))

    def _sound(self, each: Mapping[str, Any], guid: str, where: str) -> Sound | None:
        """What is heard: a text, a URL, or a file that is named as in the export."""
        kind, text, url = each.get("type"), each.get("text"), each.get("url")
        language = each["language"]
        if kind in AUDIO:
            if each.get("guid") is None:
                self.findings.error("missing", where, "it needs a guid: its sound is in a file named by that")
            name = f"resource_audio {guid} - {language} - {each.get('guid')}.wav"
            return Prompt(media=name, language=language)
        if url and (kind == "UrlLocalizedResource" or not text):
            if problem := url_problem(url):
                self.findings.error("bad-url", where, f"{url[:200]!r} cannot be played: {problem}")
            return Prompt(media=url, language=language)
        return prompt(with_variables(" ".join(text.split())), language=language) if text and text.strip() else None


def with_variables(text: str) -> Text:
    """``text`` with each ``{name}`` as the variable of that name; braces around anything else are text."""
    parts: list[str | Var] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        if _NAME.match(found[1]):
            parts += [text[at : found.start()], Var(f"var.{found[1]}")]
            at = found.end()
    if not at:
        return text
    return Template(tuple(part for part in (*parts, text[at:]) if part))


def variable(name: str) -> str:
    """The call's variable for one of the flow's: what Verboice calls ``var_NAME`` (CONTRACTS §2.2)."""
    return f"var.{name.strip()[:64]}"


def _id(value: Any) -> str:
    return str(value).strip()


def _order(root: Any) -> tuple[int, str]:
    """Roots in order of their number; others after them."""
    text = str(root).strip()
    return (int(text), "") if text.isascii() and text.isdigit() and len(text) < 10 else (10**9, text)


def _unknown_keys(findings: Findings, fields: Mapping[str, Any], known: Mapping[str, Any], where: str | None) -> None:
    for key in fields:
        if where is not None and key not in known["properties"]:
            message = f"{key[:80]!r} is ignored: no such option is known"
            findings.warning("ignored-option", pointer(where, key), message)
