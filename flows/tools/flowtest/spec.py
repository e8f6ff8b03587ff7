"""What a flow test says: the call it is about, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flows.call import FetchFailed, Reply, TransferOutcome
from flows.graph import Graph
from flows.listening import Settings
from flows.script import Statement

from .matching import Item, Matcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who calls, and how the world around the call behaves."""

    caller: str = "caller"
    callee: str = "callee"
    answered: bool = True
    outbound: bool = False
    transfer: TransferOutcome | None = None
    settings: Settings = field(default_factory=Settings)
    variables: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Sequence[Reply | FetchFailed]] = field(default_factory=dict)
    flows: Mapping[str, Graph] = field(default_factory=dict)
    media: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class One:
    """One value that is expected; ``line`` says where."""

    matcher: Matcher
    line: int


@dataclass(frozen=True, slots=True)
class Several:
    """A list that is expected, in this order and with nothing else in it than gaps allow."""

    items: tuple[Item, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTest:
    """One test: ``script`` on ``graph``, and what should come of it, by the names of the format."""

    name: str
    line: int
    graph: Graph
    script: tuple[Statement, ...]
    setting: Setting
    expected: Mapping[str, One | Several]
    unfinished: bool = False
    """The flow may end before the caller has done all that the script says."""


Read = Callable[[str], bytes]
"""Reads a file that a document names, relative to the document; ``OSError`` when it cannot."""
