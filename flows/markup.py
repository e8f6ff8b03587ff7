"""Reading an XML document that somebody wrote by hand, or sent with bad intent.

No document type, no entities but the five of XML and character references, nothing from outside: a document that
has any of these is refused (defusedxml). Size, depth, number of elements and of attributes are bounded as those of
JSON documents are (:mod:`flows.documents`). Every element knows the line it begins on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from .documents import MAX_DEPTH, MAX_NODES, fits, well_formed
from .findings import Findings

MAX_ATTRIBUTES = 64
"""Of one element."""

_CHUNK = 64 * 1024


@dataclass(slots=True)
class Element:
    """One element. ``name`` and the names of ``attributes`` are without a namespace's prefix."""

    name: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    content: list[str | Element] = field(default_factory=list)
    """Text and elements in document order."""
    foreign: tuple[str, ...] = ()
    """Names of attributes that belong to a namespace, as ``xsi:schemaLocation`` does."""

    @property
    def where(self) -> str:
        return f"line {self.line}"

    @property
    def children(self) -> list[Element]:
        return [each for each in self.content if isinstance(each, Element)]

    @property
    def own_text(self) -> str:
        """The text that stands in it directly, white space folded."""
        return " ".join("".join(each for each in self.content if isinstance(each, str)).split())

    @property
    def text(self) -> str:
        """All text in it, that of inner elements too, white space folded."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for each in self.content:
            if isinstance(each, str):
                yield each
            else:
                yield from each._texts()


class _Refused(Exception):
    """A limit was passed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Builder:
    """What the parser tells, put together to :class:`Element`."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self.expat: Any = None
        self.skipped = 0  # lines that the parser was not given
        self._open: list[Element] = []
        self._count = 0

    @property
    def line(self) -> int:
        return self.skipped + int(self.expat.CurrentLineNumber)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise _Refused("too-many-nodes", f"the document has more than {MAX_NODES:,} elements")
        if len(self._open) >= MAX_DEPTH:
            raise _Refused("too-deep", f"nested deeper than {MAX_DEPTH} levels")
        if len(attributes) > MAX_ATTRIBUTES:
            raise _Refused("too-large", f"<{_local(tag)[:80]}> has more than {MAX_ATTRIBUTES} attributes")
        own = {name: value for name, value in attributes.items() if not name.startswith("{")}
        foreign = tuple(_local(name) for name in attributes if name.startswith("{"))
        element = Element(_local(tag), self.line, own, foreign=foreign)
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        self._open[-1].content.append(text)

    def close(self) -> Element | None:
        return self.root


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def parse_xml(document: str | bytes, findings: Findings) -> Element | None:
    """The root element of ``document``; ``None`` with an error among the findings when there is none."""
    if not fits(document, findings):
        return None
    builder = _Builder()
    document, builder.skipped = _from_its_start(document)
    if not document:
        findings.error("bad-xml", "", "the document is empty", "as in <Response><Say>Hello</Say></Response>")
        return None
    parser = DefusedXMLParser(target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    builder.expat = parser.parser
    try:
        for start in range(0, len(document), _CHUNK):  # so that a limit stops a large document early
            parser.feed(document[start : start + _CHUNK])
        parser.close()
    except _Refused as error:
        findings.error(error.code, f"line {builder.line}", str(error))
    except DefusedXmlException:
        findings.error(
            "forbidden-xml",
            f"line {builder.line}",
            "a document type or entities are not allowed",
            "remove <!DOCTYPE …>",
        )
    except ParseError as error:
        line, column = error.position
        message = str(error).partition(": line")[0]
        findings.error(
            "bad-xml",
            f"line {builder.skipped + line}, column {column + 1}",
            f"not valid XML: {message}",
            _hint(message),
        )
    except (LookupError, ValueError) as error:  # an encoding that nobody knows, or that is not the document's
        findings.error("bad-xml", "line 1", f"not valid XML: {error}", "save the file as UTF-8")
    else:
        return builder.root
    return None


def _from_its_start(document: str | bytes) -> tuple[str | bytes, int]:
    """``document`` without white space before it, where XML allows none, and how many lines that was."""
    if isinstance(document, bytes):
        rest = document.lstrip(b" \t\r\n")
        return rest, document.count(b"\n", 0, len(document) - len(rest))
    document = well_formed(document.removeprefix("\ufeff"))
    start = document.lstrip()
    return start, document.count("\n", 0, len(document) - len(start))


def _hint(message: str) -> str:
    """What people usually did when this error shows."""
    if "undefined entity" in message:
        return "write characters as they are, or as &#160;; only &amp; &lt; &gt; &quot; &apos; have names"
    if "not well-formed" in message:
        return "& is written &amp;, < is written &lt;, and values of attributes stand in quotes"
    if "mismatched tag" in message or "no element found" in message:
        return "an element is not closed: each <Say> needs its </Say>, or ends with />"
    return ""


def is_xml(document: object) -> bool:
    """Whether ``document`` begins as XML does: with a declaration, a comment, a document type or ``<Response``."""
    if isinstance(document, bytes | bytearray):
        start = bytes(document[:512]).decode("latin-1").removeprefix("\xef\xbb\xbf")
    elif isinstance(document, str):
        start = document[:512].removeprefix("\ufeff")
    else:
        return False
    return start.lstrip().startswith(("<?xml", "<!", "<Response"))
