"""Reading a callflow: JSON within its limits, held against the schema, before anything is compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flows.dialects.compiling import kind_of
from flows.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_POINTER, Number, decode, parse_json, plain
from flows.findings import Findings, has_errors, pointer
from flows.schemas import Problem, problems, schema

_CODES = {"required": "missing-option", "type": "wrong-type"}


def modules() -> frozenset[str]:
    """The names of all modules that the schema has options for."""
    rules = schema("kazoo")["$defs"]["node"]["allOf"]
    return frozenset(rule["if"]["properties"]["module"]["const"] for rule in rules)


def looks_like_kazoo(document: Any) -> bool:
    """Whether a document is a callflow rather than a flow of another dialect, valid or not."""
    if isinstance(document, bytes | bytearray | memoryview):
        document = bytes(document).decode("utf-8", "replace")
    if isinstance(document, str):
        text = document.lstrip("\ufeff \t\r\n")
        if not text.startswith("{"):
            return False
        document = parse_json(text, Findings()) if len(text) <= MAX_BYTES else None
        if document is None:  # not valid JSON: what it was meant to be shows all the same
            return bool(re.search(r'"module"\s*:\s*"', text) and re.search(r'"(data|children)"\s*:', text))
    if not isinstance(document, dict) or "_" in document:
        return False
    node = document.get("flow", document)
    if not isinstance(node, dict) or not isinstance(module := node.get("module"), str):
        return False
    return module in modules() or "data" in node or "children" in node


def read_callflow(document: object, findings: Findings) -> tuple[dict[str, Any], str] | None:
    """The root node of ``document`` and its JSON pointer; ``None`` with errors among the findings.

    ``document`` is JSON text, or a structure. A stored callflow (``{"flow": {…}, "numbers": […]}``) is unwrapped.
    """
    value = plain(_parsed(document, findings), findings)
    if has_errors(findings):
        return None
    if not isinstance(value, dict):
        message = f"a callflow is an object, not {kind_of(value)}"
        findings.error("wrong-type", "", message, '{"module": "tts", "data": {"text": "Hello"}}')
        return None
    stored = "flow" in value
    node, where = (value["flow"], "/flow") if stored else (value, "")
    _tidy(node, where, findings)
    if not has_errors(findings):
        for problem in problems("kazoo", value):
            _report(problem, value, findings)
    if has_errors(findings):
        return None
    if stored:
        _report_wrapper(value, findings)
    return node, where


def _parsed(document: object, findings: Findings) -> Any:
    if isinstance(document, bytearray | memoryview):
        document = bytes(document)
    if not isinstance(document, str | bytes) or isinstance(document, Number):
        return document
    text = decode(document, findings)
    return None if text is None else parse_json(text, findings)


def _tidy(root: Any, where: str, findings: Findings) -> None:
    """Count nodes and depth, and make objects of the empty lists that PHP writes for empty arrays."""
    for number, (node, at, depth) in enumerate(_nodes(root, where)):
        if number >= MAX_NODES:
            findings.error("too-many-nodes", at, f"the callflow has more than {MAX_NODES:,} nodes")
            return
        if depth > MAX_DEPTH or len(at) > MAX_POINTER:
            findings.error("too-deep", at, f"nested deeper than {MAX_DEPTH} levels, or under keys that are too long")
            return
        for key in ("data", "children"):
            if node.get(key) == []:
                hint = "PHP: write new stdClass() or JSON_FORCE_OBJECT"
                findings.warning("empty-node", pointer(at, key), "an empty list, taken as an empty object", hint)
                node[key] = {}


def _nodes(root: Any, where: str) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Every node with its pointer and depth, in document order, and no more of them than are asked for."""
    ahead = [(where, "", iter([("", root)]))]
    while ahead:
        below, slash, children = ahead[-1]
        key, node = next(children, (None, None))
        if key is None:
            ahead.pop()
        elif isinstance(node, dict):
            at = pointer(below, key) if slash else below
            yield node, at, len(ahead)
            inner = node.get("children")
            if isinstance(inner, dict):
                ahead.append((pointer(at, "children"), "/", iter(inner.items())))


def _report(problem: Problem, document: dict[str, Any], findings: Findings) -> None:
    """What the schema does not allow, in words: module, field, reason."""
    module = _module_at(document, problem.path)
    names = [str(key) for key in problem.path]
    prefix = f"{module}: " if module else ""
    code = _CODES.get(problem.keyword, "bad-value")
    if problem.missing:
        findings.error(code, problem.where, f"{prefix}{problem.missing} is missing")
        return
    hint = ""
    if problem.keyword == "type" and names[-2:-1] == ["children"]:
        hint = 'children stand under a key: {"_": {"module": …}}'
    field = f"{names[-1]}: " if names else ""
    findings.error(code, problem.where, f"{prefix}{field}{problem.message}", hint)


def _module_at(document: dict[str, Any], path: tuple[str | int, ...]) -> str:
    """The module of the innermost node on the way to a place."""
    module = ""
    value: Any = document
    for step, key in enumerate((None, *path)):
        value = document if key is None else value[key]
        is_node = isinstance(value, dict) and isinstance(value.get("module"), str)
        if is_node and (step < 1 or path[step - 1] != "children"):
            module = value["module"]
    return module


def _report_wrapper(value: dict[str, Any], findings: Findings) -> None:
    """What stands beside the flow of a stored callflow has no effect: which number leads where is configured."""
    for key in value:
        if key in ("numbers", "patterns"):
            message = f"{key} have no effect here: the daemon's configuration says which number leads to a flow"
            findings.info("ignored-option", pointer("", key), message)
        elif key not in ("flow", "name", "id", "_id"):
            findings.info("ignored-option", pointer("", key), f"{key} has no effect: only the flow is taken")
