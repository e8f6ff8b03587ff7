"""The Kazoo compiler: a callflow becomes a step graph.

A node is ``{"module": …, "data": {…}, "children": {…}}``. A module does one thing and goes on with a child: the one
named by what came of it, else ``_``, else the call is hung up. A module that is not known is skipped, with a warning.
Options, defaults and units are in the schema (``flows/schemas/kazoo.json``); CONTRACTS §3 says where they come from.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flows import graph as g
from flows.dialects.compiling import Chain, Compiled
from flows.documents import MAX_NODES, MAX_POINTER
from flows.findings import Findings, has_errors, pointer

from . import bridging, control, listening, logic, recording, requests, services, speaking
from .document import read_callflow
from .node import Module, Node, Scope

MAX_STEPS = 10 * MAX_NODES

MODULES: Mapping[str, Module] = {
    **speaking.MODULES,
    **listening.MODULES,
    **bridging.MODULES,
    **services.MODULES,
    **recording.MODULES,
    **control.MODULES,
    **logic.MODULES,
    **requests.MODULES,
}
"""Every module that is known; all others are skipped."""


def compile_kazoo(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """Compile a callflow. Never raises: what is wrong with ``document`` is among the findings.

    ``document`` is JSON (``str`` or ``bytes``) or a structure: a node, or a stored callflow around one. ``language``
    is that of its texts until the flow says otherwise. ``base`` has no meaning here: URLs of a callflow are absolute.
    """
    findings = Findings()
    root = read_callflow(document, findings)
    if root is None:
        return Compiled(None, findings.all())
    compiler = Compiler(findings)
    start = compiler.node(*root, path="", depth=1, scope=Scope(language=language))
    if has_errors(findings):
        return Compiled(None, findings.all())
    return Compiled(g.Graph(compiler.steps, start, name=name), findings.all())


class Compiler:
    """Writes down the steps of nodes; ``steps`` is the graph in document order."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.steps: dict[str, g.Step] = {}
        self._chains = 0

    def chain(self, where: str) -> Chain:
        self._chains += 1
        return Chain(self.steps, where, self._chains)

    def child(self, parent: Node, key: str) -> str:
        """The first step of a child of ``parent``."""
        where = pointer(pointer(parent.where, "children"), key)
        segment = quote(key, safe="$")
        path = f"{parent.path}/{segment}" if parent.path else segment
        return self.node(parent.children[key], where, path=path, depth=parent.depth + 1, scope=parent.scope)

    def node(self, value: Mapping[str, Any], where: str, *, path: str, depth: int, scope: Scope) -> str:
        """Write the steps of a node and of everything below it; the first one's id."""
        node = Node(self, value, where, path, depth, scope)
        node.add(g.Enter, "enter", path=path)
        if len(self.steps) > MAX_STEPS or len(path) > MAX_POINTER:
            what = f"more than {MAX_STEPS:,} steps" if len(self.steps) > MAX_STEPS else "a path that is too long"
            self.findings.error("too-large", where, f"the callflow has {what}")
            return node.chain.first
        module = MODULES.get(node.module)
        if module is None:
            self._skip_unknown(node)
        elif (options := node.options()).flag("skip_module"):
            node.go_on()
        else:
            module(node, options)
            options.report_ignored()
        node.report_unreachable()
        self._report_fields(value, where)
        return node.chain.first

    def _skip_unknown(self, node: Node) -> None:
        """A module that is not known is skipped (CONTRACTS §3.3)."""
        near = [] if self.findings.full else difflib.get_close_matches(node.module, MODULES, 1)
        hint = f"did you mean {near[0]}?" if near else ""
        at = pointer(node.where, "module")
        self.findings.warning("unknown-module", at, f"the module {node.module!r} is not known: it is skipped", hint)
        node.go_on()

    def _report_fields(self, value: Mapping[str, Any], where: str) -> None:
        for key in value:
            if key not in ("module", "data", "children"):
                self.findings.warning("ignored-option", pointer(where, key), f"a node has no {key}: it has no effect")
