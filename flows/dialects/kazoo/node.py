"""One node of a callflow on its way into steps: what all modules are written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows import graph as g
from flows.dialects.compiling import Chain, text_of
from flows.dialects.options import Options
from flows.findings import Findings, pointer
from flows.targets import url_problem

if TYPE_CHECKING:
    from .compiler import Compiler

SETTLE = 0.1
"""Seconds between the answer and the first sound, as Kazoo waits (CONTRACTS §3.3)."""
USUAL = "_"
"""The child that is taken when no other is meant: not the prompt that ``_`` is in call trees (CONTRACTS §0)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a node hands down to its children."""

    language: str = ""
    answered: bool = False
    """The call is answered by the time it comes here."""


class Node:
    """One node: its options, its children, and the chain of steps that it becomes."""

    def __init__(
        self, compiler: Compiler, value: Mapping[str, Any], where: str, path: str, depth: int, scope: Scope
    ) -> None:
        self.compiler = compiler
        self.module: str = value["module"]
        self.where = where
        self.path = path
        self.depth = depth
        self.scope = scope
        self.data: Mapping[str, Any] = value.get("data", {})
        self.children: Mapping[str, Any] = value.get("children", {})
        self.chain = compiler.chain(where)
        self._taken: dict[str, str | None] = {}

    @property
    def findings(self) -> Findings:
        return self.compiler.findings

    def options(self) -> Options:
        return Options(self.data, "kazoo", self.module, pointer(self.where, "data"), self.findings)

    # --- steps ------------------------------------------------------------------------------

    def add(self, verb: type[g.Step], label: str, *, origin: str | None = None, **fields: Any) -> str:
        """Put a step at the end of the node; its id."""
        return self.chain.add(verb, label, origin=origin, **fields)

    def apart(self) -> Chain:
        """A chain of the same node that does not follow on the other."""
        return self.compiler.chain(self.where)

    def answer(self, label: str = "answer") -> None:
        """Answer the call, unless it is sure to be answered here."""
        if not self.scope.answered:
            self.add(g.Answer, label)
            self.add(g.Pause, "settle", seconds=SETTLE)
            self.scope = replace(self.scope, answered=True)

    def child(self, key: str) -> str | None:
        """The first step of a child; ``None`` when there is none. What comes before it is in the scope by now."""
        if key not in self._taken:
            self._taken[key] = self.compiler.child(self, key) if key in self.children else None
        return self._taken[key]

    def go_on(self) -> None:
        """Go on with the usual child; without one, the call is hung up (CONTRACTS §3.3)."""
        if (usual := self.child(USUAL)) is not None:
            self.chain.to(usual)
        else:
            self.add(g.HangUp, "hangup")

    def branch(self, step: str, exits: Mapping[str, str | None]) -> None:
        """Lead exits of a step to where they have something to lead to."""
        self.chain.link(step, {name: target for name, target in exits.items() if target is not None})

    def end(self) -> None:
        """The call ends here, whatever children there are."""
        self.add(g.HangUp, "hangup")

    def report_unreachable(self) -> None:
        """Warn of children that no exit of the module leads to."""
        for key in self.children:
            if key not in self._taken:
                at = pointer(pointer(self.where, "children"), key)
                self.findings.warning("unreachable", at, f"{self.module} never goes to its child {key!r}")

    # --- options that several modules have --------------------------------------------------

    def missing(self, name: str, what: str) -> None:
        """Warn of an option without which the module can do nothing."""
        at = pointer(self.where, "data")
        self.findings.warning("missing-option", at, f"{self.module}: {name} is missing: {what}")

    def url(self, options: Options, name: str) -> str:
        """An HTTP URL; an error among the findings when no request can be made to it."""
        url = options.text(name)
        if problem := url_problem(url):
            self.findings.error("bad-url", options.at(name), f"{name}: no request can be made to {url!r}: {problem}")
        return url

    def language(self, options: Options) -> str:
        return options.text("language") or self.scope.language


Module = Callable[[Node, Options], None]
"""Writes the steps of a node: all of them, up to where the call goes on or ends."""


def written(value: Any) -> str:
    """A JSON text, number or truth value as text."""
    return str(value).lower() if isinstance(value, bool) else text_of(value) or ""
