"""What is known of variables on one way through a graph, and which conditions that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.prompts import Draft, Prompt, prompt
from flows.templates import Condition, Template, Text, Var


@dataclass(frozen=True, slots=True)
class Other:
    """Some text, but none of these; it may be empty unless the empty text is among them."""

    than: frozenset[str]
    sample: str = ""
    """One that stands for all of them wherever they are compared; empty where none does."""


Known = Mapping[str, str | Other]


def with_value(known: Known, name: str, value: str | Other | None) -> Known:
    """``known``, and that ``name`` has ``value``; ``None``: nothing is known of it any longer."""
    rest = {other: each for other, each in known.items() if other != name}
    return rest if value is None else {**rest, name: value}


def decided(conditions: tuple[Condition, ...], known: Known) -> bool | None:
    """Whether all ``conditions`` hold; ``None`` when it depends on what is not known."""
    verdicts = [_verdict(condition, known) for condition in conditions]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _verdict(condition: Condition, known: Known) -> bool | None:
    value, compared = known.get(condition.variable), text(condition.value, known)
    if value is None or not isinstance(compared, str):
        return None
    if isinstance(value, str):
        return Condition(condition.variable, condition.operator, compared).holds({condition.variable: value})
    if condition.operator in ("exists", "absent"):
        return condition.operator == "exists" if "" in value.than else None
    if value.sample:
        return Condition(condition.variable, condition.operator, compared).holds({condition.variable: value.sample})
    if compared in value.than:
        return {"==": False, "is": False, "!=": True}.get(condition.operator)
    return None


def text(value: Text, known: Known) -> Text:
    """``value`` with the variables filled in that are known."""
    if isinstance(value, str):
        return value
    parts: list[str | Var] = []
    for part in value.parts:
        found = known.get(part.name) if isinstance(part, Var) else part
        new = found if isinstance(found, str) else part
        if isinstance(new, str) and parts and isinstance(parts[-1], str):
            parts[-1] += new
        else:
            parts.append(new)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else Template(tuple(parts))


def prompts(given: tuple[Prompt | Draft, ...], known: Known) -> tuple[Prompt | Draft, ...]:
    return tuple(
        prompt(text(each.text, known), text(each.media, known), each.voice, each.language)
        if isinstance(each, Draft)
        else each
        for each in given
    )
