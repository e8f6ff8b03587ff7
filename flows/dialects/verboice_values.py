"""Values in the steps of a Verboice call flow: numbers that may be texts, keys, ranges, conditions, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flows import graph as g
from flows.findings import Findings, pointer
from flows.templates import Condition, Operator, Text, var

from .compiling import text_of
from .twiml_flavours import ALL_KEYS
from .verboice_document import Document, Node, variable

MAX_CLAUSES = 20_000
"""Numbers and ranges in all ``valid_values`` of a document together."""
_CLAUSE = re.compile(r"\s*([0-9*#]{1,30})\s*(?:-\s*([0-9*#]{1,30})\s*)?\Z", re.ASCII)


class Values:
    """Reads the fields of one node; what is wrong with them is among the findings."""

    def __init__(self, node: Node, document: Document, findings: Findings) -> None:
        self.node = node
        self.document = document
        self.findings = findings
        self._told: set[str] = set()

    def text(self, key: str) -> str:
        return (text_of(self.node.fields.get(key)) or "").strip()

    def number(self, key: str, default: int, most: int) -> int:
        """A whole number, brought below ``most``."""
        text = self.text(key)
        value = int(text) if text else default
        if value > most and key not in self._told:
            self._told.add(key)
            where = pointer(self.node.where, key)
            self.findings.warning("out-of-range", where, f"{key} is {value}: it is taken as {most}")
        return min(value, most)

    def flag(self, key: str) -> bool:
        value = self.node.fields.get(key)
        return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)

    def keys(self, key: str, default: str) -> str:
        text = self.text(key).upper() if self.node.fields.get(key) is not None else default
        if any(each not in ALL_KEYS for each in text):
            where = pointer(self.node.where, key)
            self.findings.error("bad-value", where, f"{key} is {text[:80]!r}: keys are 0-9 * # A-D")
        return "".join(dict.fromkeys(text))

    def scalar(self, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return text_of(value) or ""

    def valid(self, keys: str) -> list[tuple[Condition, ...]]:
        """``valid_values``, as in ``1, 3-5; 9``: each clause as conditions on ``keys``; empty when all is valid."""
        text = self.text("valid_values")
        clauses = re.split(r"[,;]", text) if text else []
        conditions: list[tuple[Condition, ...]] = []
        self.document.clauses += len(clauses)
        if self.document.clauses > MAX_CLAUSES:
            where = pointer(self.node.where, "valid_values")
            self.findings.error("too-large", where, f"more than {MAX_CLAUSES:,} numbers and ranges in all")
            return []
        for clause in clauses:
            found = _CLAUSE.match(clause)
            if found is None:
                where = pointer(self.node.where, "valid_values")
                message = f"{clause.strip()[:80]!r} is neither a number nor a range"
                self.findings.error("bad-value", where, message, "as in 1, 3-5; 9")
                break
            if found[2] is None:
                conditions.append((Condition(keys, "==", found[1]),))
            else:
                conditions.append((Condition(keys, ">=", found[1]), Condition(keys, "<=", found[2])))
        return conditions

    def conditions(self, written: Mapping[str, Any], operator: Operator, where: str) -> Iterator[Condition]:
        """What ``written`` asks: both sides must be there, and compare as it says."""
        left = self._named(written, "")
        right = self._named(written, "rhs_")
        if left is None:
            message = "the condition is on nothing that is taken over: it never holds"
            self.findings.warning("unsupported", where, message)
            yield Condition("flow.nothing", "exists")
            return
        if operator in ("exists", "absent"):
            yield Condition(left, operator)
            return
        yield Condition(left, "exists")
        if right is not None:
            yield Condition(right, "exists")
            yield Condition(left, operator, var(right))
            return
        value = written["rhs_value"] if written.get("rhs_value") is not None else written.get("value")
        yield Condition(left, operator, self.scalar(value))

    def settings(self, service_step: Mapping[str, Any]) -> tuple[g.Param, ...]:
        """Parameters of a request to an external service: the step's settings, and variables of the session."""
        params: list[g.Param] = []
        for setting in self.node.fields.get("settings") or ():
            named = self._named(setting, "")
            value: Text = var(named) if named is not None else self.scalar(setting.get("value"))
            params.append(g.Param(name=setting["name"], value=value))
        session = service_step.get("session_variables") or ()
        return (*params, *(g.Param(name=name, value=var(_session(name))) for name in session))

    def _named(self, written: Mapping[str, Any], prefix: str) -> str | None:
        """The variable that a side names: the keys of a step, or a variable of the flow."""
        step = written.get(f"{prefix}step")
        if step is not None and str(step).strip():
            return f"digits.{str(step).strip()}"
        name = written.get(f"{prefix}variable")
        return variable(name) if name and name.strip() else None


def _session(name: str) -> str:
    """The call's variable for one of Verboice's session: ``var_x``, ``value_ID``, or a fact of the call."""
    if name.startswith("var_"):
        return variable(name.removeprefix("var_"))
    if name.startswith("value_"):
        return f"digits.{name.removeprefix('value_')}"
    return {"digits": "digits.default"}.get(name, variable(name))
