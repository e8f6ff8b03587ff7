"""Which compiler reads a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from flows.markup import is_xml

from .brombler import compile_brombler
from .compiling import Compiled
from .kazoo import compile_kazoo, looks_like_kazoo
from .messagebird import compile_messagebird, looks_like_messagebird
from .twiml import compile_pivot, compile_twiml
from .verboice_flow import compile_verboice, looks_like_verboice

Compiler = Callable[..., Compiled]

DIALECTS: Mapping[str, Compiler] = MappingProxyType(
    {
        "brombler": compile_brombler,
        "kazoo": compile_kazoo,
        "messagebird": compile_messagebird,
        "twiml": compile_twiml,
        "verboice": compile_verboice,
        "pivot": compile_pivot,
    }
)


class UnknownDialect(ValueError):
    """A dialect that no compiler reads."""

    def __init__(self, dialect: str) -> None:
        super().__init__(f"unknown dialect {dialect!r}: known are {', '.join(DIALECTS)}")


def detect(document: object) -> str:
    """The dialect that a document is taken to be written in."""
    if looks_like_kazoo(document):
        return "kazoo"
    if looks_like_verboice(document):  # before MessageBird: an export may have steps (of its services) as well
        return "verboice"
    if looks_like_messagebird(document):
        return "messagebird"
    if is_xml(document):
        return "twiml"
    return "brombler"


def compile_flow(
    document: object, *, name: str = "", dialect: str = "", language: str = "", base: str = ""
) -> Compiled:
    """Compile ``document``; without a ``dialect`` it is found out. ``language`` is that of words and
    prompts where the document names none, ``base`` the URL that it came from.

    :class:`UnknownDialect` is all that it raises.
    """
    compiler = DIALECTS.get(dialect.strip().casefold() or detect(document))
    if compiler is None:
        raise UnknownDialect(dialect)
    return compiler(document, name=name, language=language, base=base)
