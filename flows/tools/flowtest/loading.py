"""From a YAML document to flow tests: read, held against its schema, flows compiled, scripts parsed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flows.call import TransferOutcome
from flows.dialects import UnknownDialect, compile_flow
from flows.findings import Finding, Findings, has_errors
from flows.graph import Graph
from flows.listening import Settings
from flows.schemas import Problem, problems
from flows.script import ScriptError, Statement, parse_script
from flows.tools.replies import Replies, RepliesError, read_replies

from .expecting import expectations
from .spec import FlowTest, Read, Setting
from .yamltext import Document, Path, read_yaml

WORLD = (
    *("caller", "callee", "answered", "outbound", "transfer", "listen", "repeats", "variables"),
    *("servers", "flows", "media"),
)
"""What a document says of all its tests, and a test of itself."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The tests of a document; none when there is an error among the findings."""

    tests: tuple[FlowTest, ...]
    findings: tuple[Finding, ...]


def load(source: str | bytes, read: Read) -> Loaded:
    """The tests in ``source``. Never raises: what is wrong with them is among the findings, each with its line."""
    findings = Findings()
    document = read_yaml(source, findings)
    if document is not None:
        for problem in sorted(problems("flowtest", document.value), key=lambda each: document.line(each.path)):
            _report(problem, document, findings)
    if document is None or has_errors(findings):
        return Loaded((), findings.all())
    tests = _Loader(document, read, findings).tests()
    return Loaded(() if has_errors(findings) else tests, findings.all())


def _report(problem: Problem, document: Document, findings: Findings) -> None:
    names = ".".join(str(key) for key in problem.path)
    where = f"line {document.line(problem.path)}"
    message, hint = problem.message, ""
    if problem.missing:
        message = f"{problem.missing} is missing"
    elif problem.keyword == "additionalProperties" and "(" in message:
        message, hint = _unknown(message)
    elif problem.keyword == "oneOf" and not problem.path:
        message = "there must be either flow (a file) or document (the flow itself)"
    elif problem.keyword == "oneOf":
        hint = "a text, contains: TEXT or like: TEXT; a number, or least and most"
    findings.error("bad-test", where, f"{names}: {message}" if names else message, hint)


def _unknown(message: str) -> tuple[str, str]:
    """What is said of fields that there are not."""
    names = [part for number, part in enumerate(message.split("'")) if number % 2]
    near = [hit for name in names[:3] for hit in difflib.get_close_matches(name, _FIELDS, 1)]
    known = f"{', '.join(names)}: there is no such field here" if names else message
    return known, f"did you mean {', '.join(dict.fromkeys(near))}?" if near else ""


_FIELDS = (
    *("flow", "document", "dialect", "base", "tests", "name", "script", "unfinished", "expect", *WORLD),
    *("path", "spoken", "heard", "callbacks", "fetches", "recordings", "orders", "trouble", "end", "duration"),
    *("contains", "like", "text", "voice", "language", "event", "url", "method", "params", "status", "problem"),
    *("format", "sides", "reason", "order", "story", "by", "least", "most"),
    *("type", "file", "body", "json", "fail", "at"),
)


class _Loader:
    def __init__(self, document: Document, read: Read, findings: Findings) -> None:
        self.document = document
        self.read = read
        self.findings = findings
        self._graphs: dict[str, Graph | None] = {}

    def _error(self, path: Path, message: str, code: str = "bad-test") -> None:
        self.findings.error(code, f"line {self.document.line(path)}", message)

    def tests(self) -> tuple[FlowTest, ...]:
        value: dict[str, Any] = self.document.value
        graph = self._flow(value)
        usual = self._setting(Setting(), value, ())
        tests: list[FlowTest] = []
        lines: dict[str, int] = {}
        for number, each in enumerate(value["tests"]):
            path: Path = ("tests", number)
            name, line = self.document.text((*path, "name")), self.document.line((*path, "name"))
            if lines.setdefault(name, line) != line:
                self._error((*path, "name"), f"the test of line {lines[name]} is called {name!r} as well")
            script = self._script((*path, "script"), each.get("script", ""))
            expected = expectations(self.document, (*path, "expect"))
            if graph is not None:
                test = FlowTest(
                    name=name,
                    line=line,
                    graph=graph,
                    script=script,
                    setting=self._setting(usual, each, path),
                    expected=expected,
                    unfinished=each.get("unfinished", False),
                )
                tests.append(test)
        return tuple(tests)

    def _script(self, path: Path, text: str) -> tuple[Statement, ...]:
        try:
            return parse_script(text)
        except ScriptError as error:
            self._error(path, str(error), "bad-script")
            return ()

    # --- flows ------------------------------------------------------------------------------

    def _flow(self, value: Mapping[str, Any]) -> Graph | None:
        dialect, base = self.document.text(("dialect",)), self.document.text(("base",))
        if "flow" in value:
            return self._stored(value["flow"], ("flow",), dialect, base)
        written = value["document"]
        document = self._plain(("document",), written) if isinstance(written, dict) else written
        return self._compiled(document, "", ("document",), dialect, base)

    def _plain(self, path: Path, value: Any) -> Any:
        """A value of a flow that is written here: texts as they were written, so that no number is changed."""
        if isinstance(value, dict):
            return {key: self._plain((*path, key), each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._plain((*path, place), each) for place, each in enumerate(value)]
        return value if value is None or isinstance(value, bool | int | float) else self.document.text(path)

    def _stored(self, name: str, path: Path, dialect: str = "", base: str = "") -> Graph | None:
        if name not in self._graphs:
            body = self._file(name, path)
            self._graphs[name] = None if body is None else self._compiled(body, name, path, dialect, base)
        return self._graphs[name]

    def _compiled(self, document: object, name: str, path: Path, dialect: str, base: str) -> Graph | None:
        try:
            compiled = compile_flow(document, name=name, dialect=dialect, base=base)
        except UnknownDialect as error:
            self._error(("dialect",), str(error))
            return None
        for finding in compiled.findings:
            if finding.severity == "error":
                place = f"{name or 'the flow'}: {finding.where or 'the document'}"
                self._error(path, f"{place}: {finding.message}", finding.code)
        return compiled.graph

    def _file(self, name: str, path: Path) -> bytes | None:
        try:
            return self.read(name)
        except OSError as error:
            self._error(path, f"{name}: {error.strerror or error}", "no-file")
            return None

    # --- the world ------------------------------------------------------------------------------

    def _setting(self, usual: Setting, value: Mapping[str, Any], path: Path) -> Setting:
        """``usual``, with what ``value`` says of the world; maps are added to."""
        changes: dict[str, Any] = {}
        for name in ("caller", "callee"):
            if name in value:
                changes[name] = self.document.text((*path, name))
        for name in ("answered", "outbound"):
            if name in value:
                changes[name] = value[name]
        if "transfer" in value:
            status = value["transfer"]
            changes["transfer"] = TransferOutcome(200 <= status < 300, status, "" if status else "no answer")
        settings: Settings = usual.settings
        if "listen" in value:
            settings = replace(settings, listen=float(value["listen"]))
        if "repeats" in value:
            settings = replace(settings, repeats=value["repeats"])
        variables = {
            name if "." in name else f"var.{name}": self.document.text((*path, "variables", name))
            for name in value.get("variables", ())
        }
        flows = {
            identity: graph
            for identity, name in value.get("flows", {}).items()
            if (graph := self._stored(name, (*path, "flows", identity))) is not None
        }
        return replace(
            usual,
            **changes,
            settings=settings,
            variables={**usual.variables, **variables},
            servers={**usual.servers, **self._servers((*path, "servers"), value.get("servers", {}))},
            flows={**usual.flows, **flows},
            media={**usual.media, **value.get("media", {})},
        )

    def _servers(self, path: Path, table: Mapping[str, Any]) -> Replies:
        """The answers of web servers, with texts as they were written."""
        written = {url: self._answers((*path, url), answers) for url, answers in table.items()}
        try:
            return read_replies(written, self.read)
        except RepliesError as error:
            self._error((*path, *error.path), str(error), "no-file" if error.no_file else "bad-test")
            return {}

    def _answers(self, path: Path, value: Any) -> Any:
        if isinstance(value, list):
            return [self._answers((*path, place), each) for place, each in enumerate(value)]
        if not isinstance(value, dict):
            return self.document.text(path)
        return {
            name: self._plain((*path, name), each) if name in ("json", "status") else self.document.text((*path, name))
            for name, each in value.items()
        }
