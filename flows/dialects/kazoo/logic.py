"""Modules that decide where to go on, and what that is decided by.

``branch_variable``, ``set_variable``, ``set_variables``, ``temporal_route`` and ``callflow``.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from flows import graph as g
from flows.dialects.options import Options
from flows.findings import has_errors
from flows.templates import Condition, Text, var

from .node import USUAL, Module, Node, written

_EPOCH = 62_167_219_200
"""Gregorian seconds (since the year 0) of 1970-01-01."""
_DAY = 86_400
"""Seconds of a day: the last one is :data:`_DAY` - 1."""
_LEAP_YEAR = 2000
_MISSPELT = {"wensday": "wednesday"}
"""As older rules have it."""


def _branch_variable(node: Node, options: Options) -> None:
    name = f"var.{options.text('variable')}"
    choices = {key: node.child(key) for key in node.children if key != USUAL}
    if choices:
        cases = tuple(g.Case(exit=key, conditions=(Condition(name, "is", key),)) for key in choices)
        node.branch(node.add(g.Branch, "branch", cases=cases), choices)
    node.go_on()


def _set_variable(node: Node, options: Options) -> None:
    _set(node, {options.text("variable"): options.values["value"]})


def _set_variables(node: Node, options: Options) -> None:
    _set(node, options.values["custom_application_vars"])


def _set(node: Node, values: Mapping[str, Any]) -> None:
    if values:
        node.add(g.SetVariables, "set", values=tuple((f"var.{name}", written(value)) for name, value in values.items()))
    node.go_on()


def _callflow(node: Node, options: Options) -> None:
    """Go on with a stored flow, which replaces this one; `_` when there is none (as Kazoo's callflow does)."""
    flow: Text = options.text("id")
    if not flow and (name := options.text("var")):
        flow = var(f"var.{name}")
    if not flow:
        node.missing("id", "no flow is gone on with")
        node.go_on()
        return
    jump = node.add(g.Jump, "jump", flow=flow)
    node.end()
    node.branch(jump, {g.FAILED: node.child(USUAL)})


# --- time ---------------------------------------------------------------------------------


def _temporal_route(node: Node, options: Options) -> None:
    """The first rule that holds names the child. A stored rule (an id alone) is not known, and never holds."""
    cases: list[g.Case] = []
    exits: dict[str, str | None] = {}
    plain = options.texts("rules")
    for number, rule in enumerate(options.groups("rules")):
        if not rule.values:
            message = f"the stored rule {plain[number]!r} is not known here: it never holds"
            node.findings.warning("unknown-rule", rule.where, message, "give the rule itself: its id, cycle and times")
            continue
        rule.report_ignored()
        key = rule.text("id")
        if (child := node.child(key)) is None:
            node.findings.warning("missing-child", rule.where, f"there is no child {key!r}: the rule leads to `_`")
            child = node.child(USUAL)
        if child is not None:
            exits[key] = child
            cases += (g.Case(exit=key, conditions=conditions) for conditions in _when(node, rule))
            _warn_of_never(node, rule)
    if cases:
        node.branch(node.add(g.Branch, "time", cases=tuple(cases)), exits)
    node.go_on()


def _warn_of_never(node: Node, rule: Options) -> None:
    """A rule that no time of any day fits."""
    if "enabled" in rule or has_errors(node.findings):
        return
    start, stop = rule.whole("time_window_start"), rule.whole("time_window_stop")
    if start >= _DAY:
        _never(node, rule, "time_window_start", f"the last second of a day is {_DAY - 1}")
    elif start > stop:
        hint = f"two rules: from {start} to {_DAY}, and from 0 to {stop}"
        _never(node, rule, "time_window_start", f"a window from {start} to {stop} would go over midnight", hint)
    first, last = rule.whole("start_date"), rule.whole("end_date")
    if last and _day(last) < _day(first):
        _never(node, rule, "end_date", f"it ends on {_day(last)}, before it begins on {_day(first)}")
    days = [int(day) for day in rule.texts("days")]
    if rule.text("cycle") == "yearly" and days and min(days) > monthrange(_LEAP_YEAR, rule.whole("month"))[1]:
        _never(node, rule, "days", f"the month {rule.whole('month')} has no day {min(days)}")


def _never(node: Node, rule: Options, option: str, why: str, hint: str = "") -> None:
    message = f"the rule {rule.text('id')!r} never holds: {why}"
    node.findings.warning("never-holds", rule.at(option), message, hint)


def _when(node: Node, rule: Options) -> Iterator[tuple[Condition, ...]]:
    """The alternatives under which a rule holds."""
    if "enabled" in rule:
        yield from ((),) if rule.flag("enabled") else ()
        return
    always = (
        Condition("call.clock", ">=", str(rule.whole("time_window_start"))),
        Condition("call.clock", "<=", str(rule.whole("time_window_stop"))),
        *_between(rule),
    )
    cycle = rule.text("cycle")
    days = [f"{int(day):02d}" for day in rule.texts("days")]
    if cycle == "daily":
        yield always
    elif cycle == "date":
        yield (*always, Condition("call.date", "is", _day(rule.whole("start_date"))))
    elif cycle == "weekly":
        for name in rule.texts("wdays"):
            yield (*always, Condition("call.weekday", "is", _MISSPELT.get(name, name)))
    elif cycle == "monthly":
        for day in days:
            yield (*always, Condition("call.date", "ends", f"-{day}"))
    else:
        for day in days:
            yield (*always, Condition("call.date", "ends", f"-{rule.whole('month'):02d}-{day}"))
    if not {"daily": True, "date": rule.whole("start_date"), "weekly": rule.texts("wdays")}.get(cycle, days):
        node.findings.warning("missing-option", rule.where, f"a {cycle} rule without days never holds")


def _between(rule: Options) -> Iterator[Condition]:
    if rule.text("cycle") != "date" and rule.whole("start_date"):
        yield Condition("call.date", ">=", _day(rule.whole("start_date")))
    if rule.whole("end_date"):
        yield Condition("call.date", "<=", _day(rule.whole("end_date")))


def _day(gregorian: int) -> str:
    """The date of Gregorian seconds; of what no calendar has, the nearest it has."""
    days = (gregorian - _EPOCH) // 86_400
    first = date(1970, 1, 1)
    lowest, highest = (date.min - first).days, (date.max - first).days
    return (first + timedelta(days=min(max(days, lowest), highest))).isoformat()


MODULES: Mapping[str, Module] = {
    "branch_variable": _branch_variable,
    "set_variable": _set_variable,
    "set_variables": _set_variables,
    "callflow": _callflow,
    "temporal_route": _temporal_route,
}
