"""Conversion of flows between dialects, by way of the graph: :func:`convert`.

What the other dialect cannot say is listed, never dropped in silence: a ``warning`` for what is lost, an ``info`` for
what is done in another way. Codes are those of ``docs/conversion.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flows.documents import MAX_BYTES
from flows.findings import Finding
from flows.graph import Graph
from flows.listening import Settings

from .brombler import BromblerWriter
from .kazoo import KazooWriter
from .losses import Losses
from .messagebird import MessageBirdWriter
from .reading import read
from .twiml import TwimlWriter
from .writing import Writer

__all__ = ["TARGETS", "Converted", "convert"]

_USUAL = Settings()
_SIZES = (5000, 4000, 3000, 2000, 1000, 500, 200, 50, 8)
"""Steps of a document, tried until it is not too large to be read."""

TARGETS: Mapping[str, Callable[[Losses, Settings, int], Writer]] = MappingProxyType(
    {
        "kazoo": lambda losses, settings, most: KazooWriter(losses, most),
        "messagebird": lambda losses, settings, most: MessageBirdWriter(losses, most),
        "twiml": lambda losses, settings, most: TwimlWriter(losses, most),
        "brombler": BromblerWriter,
    }
)
"""Dialects that can be written."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The document in the other dialect, and what it does not say or says in another way."""

    document: str
    findings: tuple[Finding, ...]

    @property
    def lost(self) -> tuple[Finding, ...]:
        """What the document does not do at all."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")


def convert(graph: Graph, to: str, settings: Settings = _USUAL) -> Converted:
    """Write ``graph`` in the dialect ``to`` (one of :data:`TARGETS`; ``KeyError`` for any other).

    ``settings`` say how calls behave where the flow does not. The document compiles without an error.
    """
    for most in _SIZES:
        losses = Losses()
        block = read(graph, settings, losses)
        document = TARGETS[to](losses, settings, most).document(block, graph.name)
        if len(document.encode()) <= MAX_BYTES:
            break
    return Converted(document, losses.all())
