"""Reading a callflow: JSON within its limits, held against the schema, before anything is compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flows.dialects.compiling import kind_of
from flows.dialects.values import plain
from flows.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_POINTER, parse_json
from flows.findings import Findings, has_errors, pointer
from flows.schemas import Problem, problems, schema

MAX_LEVELS = 200
"""Of JSON values: a node takes several."""

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
    value = plain(document, findings, depth=MAX_LEVELS)
    if has_errors(findings):
        return None
    if not isinstance(value, dict):
        message = f"a callflow is an object, not {kind_of(value)}"
        findings.error("wrong-type", "", message, '{"module": "tts", "data": {"text": "Hello"}}')
        return None
    stored = "flow" in value
    node, where = (value["flow"], "/flow") if stored else (value, "")
    if stored:
        _report_wrapper(value, findings)
    _check(node, where, findings)
    return None if has_errors(findings) else (node, where)


def _check(root: Any, where: str, findings: Findings) -> None:
    """Hold each node against the schema, itself alone, so that a finding has its place whatever keys lead there.

    Empty lists, which PHP writes for empty arrays, are made objects first.
    """
    for number, (node, at, depth) in enumerate(_nodes(root, where)):
        if number >= MAX_NODES:
            findings.error("too-many-nodes", at, f"the callflow has more than {MAX_NODES:,} nodes")
            return
        if depth > MAX_DEPTH or len(at) > MAX_POINTER:
            findings.error("too-deep", at, f"nested deeper than {MAX_DEPTH} levels, or under keys that are too long")
            return
        if not isinstance(node, dict):
            hint = 'children stand under a key: {"_": {"module": …}}' if depth > 1 else ""
            findings.error("wrong-type", at, f"{kind_of(node)} where a node should be", hint)
            continue
        for key in ("data", "children"):
            if node.get(key) == []:
                hint = "PHP: write new stdClass() or JSON_FORCE_OBJECT"
                findings.warning("empty-node", pointer(at, key), "an empty list, taken as an empty object", hint)
                node[key] = {}
        alone = {**node, "children": {}} if isinstance(node.get("children"), dict) else node
        for problem in problems("kazoo", alone):
            _report(problem, node, at, findings)
        if findings.full and has_errors(findings):
            return


def _nodes(root: Any, where: str) -> Iterator[tuple[Any, str, int]]:
    """Every node with its pointer and depth, in document order, and no more of them than are asked for."""
    ahead = [("", iter([("", root)]))]
    while ahead:
        below, children = ahead[-1]
        key, node = next(children, (None, None))
        if key is None:
            ahead.pop()
            continue
        at = pointer(below, key) if len(ahead) > 1 else where
        yield node, at, len(ahead)
        inner = node.get("children") if isinstance(node, dict) else None
        if isinstance(inner, dict):
            ahead.append((pointer(at, "children"), iter(inner.items())))


def _report(problem: Problem, node: dict[str, Any], at: str, findings: Findings) -> None:
    """What the schema does not allow, in words: module, field, reason."""
    module = node.get("module")
    what = f"{problem.missing} is missing"
    if not problem.missing:
        what = f"{problem.path[-1]}: {problem.message}" if problem.path else problem.message
    prefix = f"{module}: " if isinstance(module, str) else ""
    findings.error(_CODES.get(problem.keyword, "bad-value"), f"{at}{problem.where}", f"{prefix}{what}")


def _report_wrapper(value: dict[str, Any], findings: Findings) -> None:
    """What stands beside the flow of a stored callflow has no effect: which number leads where is configured."""
    for key in value:
        if key in ("numbers", "patterns"):
            message = f"{key} have no effect here: the daemon's configuration says which number leads to a flow"
            findings.info("ignored-option", pointer("", key), message)
        elif key not in ("flow", "name", "id", "_id"):
            findings.info("ignored-option", pointer("", key), f"{key} has no effect: only the flow is taken")
