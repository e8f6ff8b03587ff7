"""Flows to begin with: one for each dialect, what it says in words, and its flow tests."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

STARTERS = {"brombler": ".json", "kazoo": ".json", "messagebird": ".json", "twiml": ".xml"}
"""Dialects that there is a starter for, and what the names of their files end in."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A flow to begin with. ``explanation`` says for people what JSON has no comments for."""

    document: str
    explanation: str
    tests: str


def starter(dialect: str, flow: str, tests: str) -> Starter:
    """The starter in ``dialect``; ``KeyError`` when there is none. ``flow`` and ``tests`` are names of files to be."""
    document = _read(f"{dialect}{STARTERS[dialect]}")
    named = _read(f"{dialect}.flowtest.yaml").replace("TESTS", tests).replace("FLOW", flow)
    return Starter(document, _read(f"{dialect}.md"), named)


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("starters", name).read_text(encoding="utf-8")
